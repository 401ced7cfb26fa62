/* weights_open.c - see weights.h: finding and opening the files of a component. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "io/file.h"
#include "io/json.h"
#include "io/ldm.h"
#include "io/weights_internal.h"

enum { SHARDS = 4096 };

static int add_file(weights_t *weights, const char *path, err_t *err) {
    st_file_t *file;
    if (st_open(&file, path, err) != 0) return -1;
    size_t n = weights->file_count++;
    weights->files = xrealloc(weights->files, (n + 1) * sizeof *weights->files);
    weights->taken = xrealloc(weights->taken, (n + 1) * sizeof *weights->taken);
    weights->files[n] = file;
    weights->taken[n] = xcalloc(st_count(file) + 1, sizeof **weights->taken);
    return 0;
}

int weights_open_file(weights_t **weights, const char *path, err_t *err) {
    *weights = NULL;
    weights_t *opened = xcalloc(1, sizeof *opened);
    opened->path = xstrdup(path);
    if (add_file(opened, path, err) != 0) {
        weights_close(opened);
        return -1;
    }
    *weights = opened;
    return 0;
}

/* ---- shards -------------------------------------------------------------------------------------
 * FOLDER/STEM.safetensors.index.json: {"metadata": ..., "weight_map": {tensor name: file name}}.
 * The map and the shards must say the same: every name is in its file, and every tensor of a file
 * is mapped to it (so no name can be in two). */

static const st_file_t *shard_named(const weights_t *weights, const char *path) {
    for (size_t f = 0; f < weights->file_count; f++)
        if (strcmp(st_path(weights->files[f]), path) == 0) return weights->files[f];
    return NULL;
}

static int add_mapped(weights_t *weights, const char *folder, const char *name, const json_t *value,
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
    const st_file_t *shard = shard_named(weights, path);
    if (!shard && weights->file_count == SHARDS)
        status = err_set(err, "weight_map: more than %d files", SHARDS);
    else if (!shard && (status = add_file(weights, path, err)) == 0)
        shard = weights->files[weights->file_count - 1];
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

static int add_shards(weights_t *weights, const char *folder, const char *index, err_t *err) {
    json_file_t *json;
    if (json_file_open(&json, index, err) != 0) return -1;
    json_t *map = json_object_get(json_file_root(json).value, "weight_map"), *value;
    const char *name;
    int status = 0;
    if (!json_is_object(map)) status = err_set(err, "weight_map is missing or not an object");
    json_object_foreach(map, name, value) {
        if (status == 0) status = add_mapped(weights, folder, name, value, err);
    }
    for (size_t f = 0; status == 0 && f < weights->file_count; f++)
        status = check_shard(weights->files[f], map, err);
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
        {".fp16.safetensors", "rename it, or pass the whole precision"},
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

/* folder: "synth:ARCH/COMPONENT". */
static int open_made(weights_t **weights, const char *folder, err_t *err) {
    synth_spec_t spec;
    const char *component;
    if (synth_parse(&spec, SYNTH_MODEL, folder, &component, err)) return -1;
    return weights_open_synth(weights, folder, &spec, component);
}

/* A component of a single-file checkpoint. */
static int open_ldm(weights_t **weights, const char *file, const char *component, err_t *err) {
    if (weights_open_file(weights, file, err)) return -1;
    (*weights)->ldm = true;
    (*weights)->component = xstrdup(component);
    return 0;
}

int weights_open(weights_t **weights, const char *folder, const char *stem, err_t *err) {
    *weights = NULL;
    if (synth_is(folder)) return open_made(weights, folder, err);
    char *file;
    const char *component;
    if (ldm_split(folder, &file, &component)) {
        int opened = open_ldm(weights, file, component, err);
        free(file);
        return opened;
    }
    char *base = file_join(folder, stem);
    char *single = xasprintf("%s.safetensors", base), *index = xasprintf("%s.index.json", single);
    int status;
    if (file_exists(single) && file_exists(index)) {
        status = err_set(err, "%s: there is also %s; which of them is meant? Remove the other",
                         single, index);
    } else if (file_exists(index)) {
        weights_t *opened = xcalloc(1, sizeof *opened);
        opened->path = xstrdup(base);
        status = add_shards(opened, folder, index, err);
        if (status == 0)
            *weights = opened;
        else
            weights_close(opened);
    } else if (file_exists(single)) {
        status = weights_open_file(weights, single, err);
    } else {
        status = refuse_absent(folder, stem, err);
    }
    free(base);
    free(single);
    free(index);
    return status;
}

void weights_close(weights_t *weights) {
    if (!weights) return;
    for (size_t f = 0; f < weights->file_count; f++) {
        st_close(weights->files[f]);
        free(weights->taken[f]);
    }
    for (size_t i = 0; i < weights->alias_count; i++) {
        free(weights->aliases[i].name_part);
        free(weights->aliases[i].saved_part);
    }
    for (size_t i = 0; i < weights->ignored_count; i++) free(weights->ignored[i]);
    for (size_t i = 0; i < weights->block_count; i++) free(weights->blocks[i]);
    for (size_t i = 0; i < weights->made_count; i++) free(weights->made[i].name);
    free(weights->made);
    free(weights->synth);
    free(weights->component);
    free(weights->files);
    free(weights->taken);
    free(weights->aliases);
    free(weights->ignored);
    free(weights->blocks);
    free(weights->path);
    free(weights);
}
