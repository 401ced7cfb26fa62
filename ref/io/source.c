/* source.c - see source.h: which implementation a path means. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "io/file.h"
#include "io/source_internal.h"

bool source_is_formula(const char *path) {
    return synth_is(path);
}

bool source_is_single(const char *path) {
    char *file;
    const char *rest;
    if (synth_is(path) || !source_split(path, &file, &rest)) return false;
    free(file);
    return true;
}

static const source_class_t *class_of(const char *path) {
    if (synth_is(path)) return &source_formula;
    return source_is_single(path) ? &source_single : &source_folder;
}

char *source_path(const char *folder, const char *path) {
    return synth_is(path) ? xstrdup(path) : xasprintf("%s/%s", folder, path);
}

static int check_formula(const char *path, err_t *err) {
    synth_spec_t spec;
    const char *part;
    if (synth_parse(&spec, SYNTH_MODEL, path, &part, err)) return -1;
    if (!*part && !strchr(path, '/') && !spec.names) return 0;
    return err_set(err, "%s: expected a whole model, as synth:sd15", path);
}

int source_check(const char *path, err_t *err) {
    struct stat info;
    if (synth_is(path)) return check_formula(path, err);
    if (stat(path, &info))
        return err_set(err, "%s: %s. --model takes a diffusers pipeline folder.", path,
                       strerror(errno));
    if (S_ISDIR(info.st_mode) || source_is_single(path)) return 0;
    return err_set(err,
                   "%s: not a folder. --model takes a diffusers pipeline folder "
                   "or a single-file checkpoint, FILE.safetensors (convert others with "
                   "diffusers: from_single_file, save_pretrained).",
                   path);
}

/* ---- texts -------------------------------------------------------------------------------------- */

int source_read(const char *path, size_t limit, char **text, size_t *bytes, err_t *err) {
    *text = NULL;
    *bytes = 0;
    return class_of(path)->read(path, limit, text, bytes, err);
}

bool source_has(const char *path) {
    char *text;
    size_t bytes;
    bool there = source_read(path, SIZE_MAX, &text, &bytes, NULL) == 0 && text;
    free(text);
    return there;
}

int source_json(json_file_t **file, const char *path, err_t *err) {
    char *text;
    size_t bytes;
    *file = NULL;
    int status = source_read(path, JSON_FILE_MAX, &text, &bytes, err);
    if (!status && !text) { /* opening it says why */
        err_t why;
        file_read(path, 0, &text, &bytes, &why);
        status = err_set(err, "%s. A diffusers model folder has this file.", why.text);
    }
    if (!status) status = json_file_parse(file, path, text, bytes, err);
    free(text);
    return status;
}

/* ---- tensors ------------------------------------------------------------------------------------ */

int source_open(source_t **source, const char *folder, const char *stem, err_t *err) {
    *source = NULL;
    return class_of(folder)->open(source, folder, stem, err);
}

int source_open_part(source_t **source, const char *path, source_part_t part, const char *name,
                     err_t *err) {
    synth_spec_t spec;
    synth_kind_t kind = part == SOURCE_EXPERT ? SYNTH_EXPERT : SYNTH_GATES;
    *source = NULL;
    if (!synth_is(path)) return source_open_file(source, path, err);
    if (synth_parse(&spec, kind, path, NULL, err)) return err_prefix(err, "%s", name);
    *source = source_formula_open(path, &spec, name);
    return 0;
}

void source_close(source_t *source) {
    if (source) source->class->close(source);
}
