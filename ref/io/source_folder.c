/* source_folder.c - see source.h: a diffusers folder. Of the tensors also what single-file checkpoints
 * share: both are in safetensors files. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/file.h"
#include "io/source_internal.h"

enum { SHARDS = 4096 };

static int read_text(const char *path, size_t limit, char **text, size_t *bytes, err_t *err) {
    return file_exists(path) ? file_read(path, limit, text, bytes, err) : 0;
}

/* ---- tensors in files --------------------------------------------------------------------------- */

static const source_files_t *files_of(const source_t *source) {
    return (const source_files_t *)source;
}

static int add_file(source_files_t *f, const char *path, err_t *err) {
    st_file_t *file;
    if (st_open(&file, path, err) != 0) return -1;
    f->file = xrealloc(f->file, (f->files + 1) * sizeof *f->file);
    f->file[f->files++] = file;
    return 0;
}

size_t source_files_find(source_t *source, const char *name, shape_t shape) {
    const source_files_t *f = files_of(source);
    (void)shape;
    for (size_t i = 0, first = 0; i < f->files; first += st_count(f->file[i++])) {
        const st_tensor_t *tensor = st_find(f->file[i], name);
        if (tensor) return first + (size_t)(tensor - st_at(f->file[i], 0));
    }
    return SOURCE_NONE;
}

size_t source_files_count(const source_t *source) {
    const source_files_t *f = files_of(source);
    size_t count = 0;
    for (size_t i = 0; i < f->files; i++) count += st_count(f->file[i]);
    return count;
}

static const st_tensor_t *locate(const source_files_t *f, size_t index, const st_file_t **file) {
    size_t i = 0, rest = index;
    while (i < f->files && rest >= st_count(f->file[i])) rest -= st_count(f->file[i++]);
    REQUIRE(i < f->files, "%s has no tensor %zu", f->source.path, index);
    *file = f->file[i];
    return st_at(f->file[i], rest);
}

source_tensor_t source_files_at(const source_t *source, size_t index) {
    const st_file_t *file;
    const st_tensor_t *t = locate(files_of(source), index, &file);
    return (source_tensor_t){.name = t->name,
                             .file = st_path(file),
                             .dtype = t->dtype,
                             .shape = t->shape,
                             .data = t->data};
}

void source_files_numbers(const source_t *source, size_t index, size_t first, size_t count,
                          real_t *out) {
    source_tensor_t t = source_files_at(source, index);
    dtype_to_real(out, (const char *)t.data + first * dtype_size(t.dtype), t.dtype, count);
}

void source_files_forget(const source_t *source, size_t index) {
    const source_files_t *f = files_of(source);
    const st_file_t *file;
    if (index != SOURCE_NONE) {
        const st_tensor_t *tensor = locate(f, index, &file);
        st_forget_tensor(file, tensor);
    }
    for (size_t i = 0; i < f->files && index == SOURCE_NONE; i++) st_forget(f->file[i]);
}

void source_files_metadata(const source_t *source,
                           void (*visit)(void *who, const char *key, const char *value),
                           void *who) {
    const source_files_t *f = files_of(source);
    for (size_t i = 0; i < f->files; i++) st_metadata_each(f->file[i], visit, who);
}

void source_files_close(source_t *source) {
    source_files_t *f = (source_files_t *)source;
    for (size_t i = 0; i < f->files; i++) st_close(f->file[i]);
    free(f->file);
    free(f->source.path);
    free(f);
}

static source_files_t *files_new(const char *path) {
    source_files_t *f = xcalloc(1, sizeof *f);
    f->source = (source_t){.class = &source_folder,
                           .path = xstrdup(path),
                           .doubt = "does config.json belong to this file?"};
    return f;
}

int source_open_file(source_t **source, const char *path, err_t *err) {
    source_files_t *f = files_new(path);
    int status = add_file(f, path, err);
    *source = status ? NULL : &f->source;
    if (status) source_files_close(&f->source);
    return status;
}

/* ---- shards -------------------------------------------------------------------------------------
 * FOLDER/STEM.safetensors.index.json, of a variant STEM.safetensors.index.fp16.json:
 * {"metadata": ..., "weight_map": {tensor name: file name}}.
 * The map and the shards must say the same: every name is in its file, and every tensor of a file
 * is mapped to it (so no name can be in two). */

static const st_file_t *shard_named(const source_files_t *f, const char *path) {
    for (size_t i = 0; i < f->files; i++)
        if (strcmp(st_path(f->file[i]), path) == 0) return f->file[i];
    return NULL;
}

static int add_mapped(source_files_t *f, const char *folder, const char *name, const json_t *value,
                      err_t *err) {
    char shown[SHOWN_TEXT], shown_file[SHOWN_TEXT];
    const char *file = json_string_value(value);
    text_shown(shown, name);
    if (!file) return err_set(err, "weight_map: '%s' is not a file name", shown);
    if (!file_name_is_plain(file))
        return err_set(err, "weight_map: '%s' is in '%s', which is not a plain file name", shown,
                       text_shown(shown_file, file));
    char *path = file_join(folder, file);
    int status = 0;
    const st_file_t *shard = shard_named(f, path);
    if (!shard && f->files == SHARDS)
        status = err_set(err, "weight_map: more than %d files", SHARDS);
    else if (!shard && (status = add_file(f, path, err)) == 0)
        shard = f->file[f->files - 1];
    if (status == 0 && !st_find(shard, name))
        status = err_set(err, "tensor '%s' is missing in %s", shown, path);
    free(path);
    return status;
}

static int check_shard(const st_file_t *shard, const json_t *map, err_t *err) {
    const char *slash = strrchr(st_path(shard), '/');
    const char *file = slash ? slash + 1 : st_path(shard);
    for (size_t i = 0; i < st_count(shard); i++) {
        char shown[SHOWN_TEXT], shown_map[SHOWN_TEXT];
        const char *name = st_at(shard, i)->name;
        const char *mapped = json_string_value(json_object_get(map, name));
        if (!mapped || strcmp(mapped, file) != 0)
            return err_set(err, "tensor '%s' is in %s, but weight_map has it in '%s'",
                           text_shown(shown, name), st_path(shard),
                           mapped ? text_shown(shown_map, mapped) : "no file");
    }
    return 0;
}

static int add_shards(source_files_t *f, const char *folder, const char *index, err_t *err) {
    json_file_t *json;
    if (json_file_open(&json, index, err) != 0) return -1;
    json_t *map = json_object_get(json_file_root(json).value, "weight_map"), *value;
    const char *name;
    int status = 0;
    if (!json_is_object(map)) status = err_set(err, "weight_map is missing or not an object");
    json_object_foreach(map, name, value) {
        if (status == 0) status = add_mapped(f, folder, name, value, err);
    }
    for (size_t i = 0; status == 0 && i < f->files; i++) status = check_shard(f->file[i], map, err);
    if (status != 0) err_prefix(err, "%s", index);
    json_file_close(json);
    return status;
}

/* ---- a component's folder -------------------------------------------------------------------- */

/* There are no weights: say what is there instead. */
static int refuse_absent(const char *folder, const char *stem, err_t *err) {
    static const struct {
        const char *suffix, *advice;
    } others[] = {
        {".non_ema.safetensors", "rename it to use it"},
        {".bin",
         "a pickled file is refused because loading one runs code from it; save the model with "
         "safe_serialization=True"},
        {".ckpt", "a pickled file is refused because loading one runs code from it; convert it to "
                  "safetensors"},
    };
    char shown[SHOWN_TEXT];
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        char *name = xasprintf("%s%s", stem, others[i].suffix), *path = file_join(folder, name);
        bool there = file_exists(path);
        if (there)
            err_set(err, "%s: %s.safetensors is missing; there is %s: %s", folder, stem,
                    text_shown(shown, name), others[i].advice);
        free(name);
        free(path);
        if (there) return -1;
    }
    return err_set(err, "%s: neither %s.safetensors nor %s.safetensors.index.json is there", folder,
                   stem, stem);
}

static int open_shards(source_t **source, const char *folder, const char *base, const char *index,
                       err_t *err) {
    source_files_t *f = files_new(base);
    int status = add_shards(f, folder, index, err);
    *source = status ? NULL : &f->source;
    if (status) source_files_close(&f->source);
    return status;
}

/* One file STEM<variant>.safetensors, or shards with their index. SOURCE_ABSENT: there is neither. */
enum { SOURCE_ABSENT = 1 };

static int open_variant(source_t **source, const char *folder, const char *stem,
                        const char *variant, err_t *err) {
    char *base = xasprintf("%s/%s%s", folder, stem, variant);
    char *single = xasprintf("%s.safetensors", base);
    char *index = xasprintf("%s/%s.safetensors.index%s.json", folder, stem, variant);
    int status = SOURCE_ABSENT;
    if (file_exists(single) && file_exists(index))
        status = err_set(err, "%s: there is also %s; which of them is meant? Remove the other",
                         single, index);
    else if (file_exists(index))
        status = open_shards(source, folder, base, index, err);
    else if (file_exists(single))
        status = source_open_file(source, single, err);
    free(base);
    free(single);
    free(index);
    return status;
}

/* The plain files first; a folder may have been fetched with those of save_pretrained(variant="fp16")
 * alone. */
static int open_tensors(source_t **source, const char *folder, const char *stem, err_t *err) {
    static const char *const variants[] = {"", ".fp16"};
    int status = SOURCE_ABSENT;
    for (size_t i = 0; status == SOURCE_ABSENT && i < sizeof variants / sizeof *variants; i++)
        status = open_variant(source, folder, stem, variants[i], err);
    return status == SOURCE_ABSENT ? refuse_absent(folder, stem, err) : status;
}

const source_class_t source_folder = {.read = read_text,
                                      .open = open_tensors,
                                      .find = source_files_find,
                                      .count = source_files_count,
                                      .at = source_files_at,
                                      .numbers = source_files_numbers,
                                      .forget = source_files_forget,
                                      .metadata = source_files_metadata,
                                      .close = source_files_close};
