/* source_formula.c - see source.h: a model without a file. The formula is in synth.c; a tensor is listed once
 * it was asked for, with the shape that the model wants. */
#include <stdlib.h>
#include <string.h>

#include "io/source_internal.h"

typedef struct {
    source_t source;
    synth_spec_t spec;
    char *component; /* "unet", "face": put before each name */
    struct made {
        char *name;
        shape_t shape;
        synth_tensor_t tensor;
    } * made;
    size_t count, room;
} formula_t;

static int read_text(const char *path, size_t limit, char **text, size_t *bytes, err_t *err) {
    (void)limit;
    if (synth_file(text, path, err)) return -1;
    if (*text) *bytes = strlen(*text);
    return 0;
}

/* An expert has the tensors of mole_file.h; whatever else is asked for, a model has. */
static bool has(const source_t *source, const char *name, shape_t *shape) {
    const formula_t *f = (const formula_t *)source;
    *shape = (shape_t){.ndim = SOURCE_OPEN_SHAPE};
    if (f->spec.kind != SYNTH_EXPERT) return true;
    if (text_ends(name, ".lora_down.weight")) *shape = SHAPE2(f->spec.rank, 0);
    return shape->ndim == 2 || text_ends(name, ".lora_up.weight") || text_ends(name, ".alpha");
}

static size_t find(source_t *source, const char *name, shape_t shape) {
    formula_t *f = (formula_t *)source;
    for (size_t i = f->count; i > 0; i--)
        if (strcmp(f->made[i - 1].name, name) == 0) return i - 1;
    if (f->count == f->room) {
        f->room = 2 * f->room + 64;
        f->made = xrealloc(f->made, f->room * sizeof *f->made);
    }
    char *whole = xasprintf("%s.%s", f->component, name);
    f->made[f->count] = (struct made){xstrdup(name), shape, synth_tensor(&f->spec, whole, shape)};
    free(whole);
    return f->count++;
}

static size_t count(const source_t *source) {
    return ((const formula_t *)source)->count;
}

static source_tensor_t at(const source_t *source, size_t index) {
    const formula_t *f = (const formula_t *)source;
    const struct made *made = &f->made[index];
    return (source_tensor_t){
        .name = made->name, .file = source->path, .dtype = DTYPE_F32, .shape = made->shape};
}

/* The one scalar there is: an expert's alpha. */
static void numbers(const source_t *source, size_t index, size_t first, size_t n, real_t *out) {
    const formula_t *f = (const formula_t *)source;
    if (f->made[index].shape.ndim == 0)
        *out = (real_t)f->spec.alpha;
    else
        synth_numbers(out, &f->made[index].tensor, first, n);
}

static void close_formula(source_t *source) {
    formula_t *f = (formula_t *)source;
    for (size_t i = 0; i < f->count; i++) free(f->made[i].name);
    free(f->made);
    free(f->component);
    free(f->source.path);
    free(f);
}

source_t *source_formula_open(const char *path, const synth_spec_t *spec, const char *component) {
    formula_t *f = xcalloc(1, sizeof *f);
    f->spec = *spec;
    f->component = xstrdup(component);
    f->source = (source_t){
        .class = &source_formula, .path = xstrdup(path), .names_only = spec->names, .doubt = ""};
    return &f->source;
}

static int open_tensors(source_t **source, const char *folder, const char *stem, err_t *err) {
    synth_spec_t spec;
    const char *component;
    (void)stem;
    if (synth_parse(&spec, SYNTH_MODEL, folder, &component, err)) return -1;
    *source = source_formula_open(folder, &spec, component);
    return 0;
}

const source_class_t source_formula = {.read = read_text,
                                       .open = open_tensors,
                                       .has = has,
                                       .find = find,
                                       .count = count,
                                       .at = at,
                                       .numbers = numbers,
                                       .close = close_formula};
