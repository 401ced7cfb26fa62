/* mole_file.c - see mole_file.h. */
#include "mole/mole_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mole/mole_check.h"

/* A file, and whether its names are those of single files. */
typedef struct {
    weights_t *weights;
    bool ldm;
} file_t;

struct mole_set {
    pool_t pool;
    size_t experts;
    file_t expert[MOLE_EXPERTS], gates;
    mole_strengths_t strengths[MOLE_EXPERTS];
    notes_t notes;
};

enum { KEY = 512 };

/* key = prefix + the target's path with '_' for '.' + suffix */
static void make_key(char key[KEY], const file_t *file, const char *prefix,
                     const mole_target_t *target, const char *suffix) {
    const char *path = file->ldm ? target->ldm_path : target->path;
    int length = snprintf(key, KEY, "%s%s%s", prefix, path, suffix);
    REQUIRE(length >= 0 && length < KEY, "mole: key of '%s' is too long", path);
    char *end = key + strlen(prefix) + strlen(path);
    for (char *c = key + strlen(prefix); c < end; c++)
        if (*c == '.') *c = '_';
}

/* A factor (rows, columns), which a convolution's file may hold as (rows, columns, 1, 1). */
static int take_factor(weights_t *w, const char *key, size_t rows, size_t columns,
                       const real_t **out, late_t *late, err_t *err) {
    shape_t stored;
    bool image = weights_shape(w, key, &stored) && stored.ndim == 4;
    shape_t shape = image ? SHAPE4(rows, columns, 1, 1) : SHAPE2(rows, columns);
    return weights_take_late(w, key, shape, out, late, err);
}

static int load_expert(const file_t *file, const mole_target_t *target, mole_expert_t *e,
                       mole_strengths_t *strengths, err_t *err) {
    weights_t *w = file->weights;
    char key[KEY];
    shape_t down;
    make_key(key, file, "lora_unet_", target, "");
    if (mole_check_layer(w, key, err)) return -1;
    make_key(key, file, "lora_unet_", target, ".lora_down.weight");
    if (weights_shape(w, key, &down)) {
        e->rank = down.ndim ? down.dim[0] : 0;
        if (e->rank == 0)
            return err_set(err, "%s: tensor '%s': a factor of rank 0; expected (rank, %zu)",
                           weights_path(w), key, target->d_in);
    } else {
        e->rank = 1; /* missing: let the taking say so */
    }
    if (take_factor(w, key, e->rank, target->d_in, &e->down, &e->late_down, err)) return -1;
    make_key(key, file, "lora_unet_", target, ".lora_up.weight");
    if (take_factor(w, key, target->d_out, e->rank, &e->up, &e->late_up, err)) return -1;

    make_key(key, file, "lora_unet_", target, ".alpha");
    double alpha = 0;
    if (weights_has(w, key) && weights_take_scalar(w, key, &alpha, err)) return -1;
    if (mole_check_alpha(strengths, w, key, alpha, e->rank, err)) return -1;
    e->scale = alpha == 0 ? 1.0 : alpha / (double)e->rank;
    return 0;
}

static int load_gates(const file_t *file, const mole_target_t *target, err_t *err) {
    weights_t *w = file->weights;
    char key[KEY], suffix[128];
    mole_layer_t *layer = target->layer;
    size_t E = layer->experts;
    shape_t phi;
    make_key(key, file, "moe_lora_unet_", target, ".softmoe.Phi_1.weight");
    if (weights_shape(w, key, &phi) && phi.ndim == 2 && phi.dim[0] != E)
        return err_set(err,
                       "%s: tensor '%s' has %zu rows, one for each expert, but %zu expert%s named",
                       weights_path(w), key, phi.dim[0], E, E == 1 ? " is" : "s are");
    if (weights_take(w, key, SHAPE2(E, target->d_in), &layer->local_weight, err)) return -1;
    make_key(key, file, "moe_lora_unet_", target, ".softmoe.Phi_1.bias");
    if (weights_take(w, key, SHAPE1(E), &layer->local_bias, err)) return -1;
    for (size_t i = 0; i < E; i++) {
        mole_expert_t *e = &layer->expert[i];
        snprintf(suffix, sizeof suffix, ".softmoe.%s_scale.weight", e->name);
        make_key(key, file, "moe_lora_unet_", target, suffix);
        if (weights_take(w, key, SHAPE2(1, target->d_out), &e->global_weight, err)) return -1;
        snprintf(suffix, sizeof suffix, ".softmoe.%s_scale.bias", e->name);
        make_key(key, file, "moe_lora_unet_", target, suffix);
        const real_t *bias;
        if (weights_take(w, key, SHAPE1(1), &bias, err)) return -1;
        e->global_bias = (double)*bias;
    }
    return 0;
}

static int load_layer(mole_set_t *set, const mole_files_t *files, const mole_target_t *target,
                      err_t *err) {
    mole_layer_t *layer = target->layer;
    *layer = (mole_layer_t){.d_in = target->d_in, .d_out = target->d_out, .experts = set->experts};
    layer->expert = pool_alloc(&set->pool, set->experts, sizeof *layer->expert);
    for (size_t i = 0; i < set->experts; i++) {
        layer->expert[i].name = files->name[i];
        if (load_expert(&set->expert[i], target, &layer->expert[i], &set->strengths[i], err))
            return -1;
    }
    if (set->gates.weights && load_gates(&set->gates, target, err)) return -1;
    layer->late = files->late;
    if (!weights_names_only(set->expert[0].weights)) mole_layer_prepare(layer, &set->pool);
    return 0;
}

static void note_all(mole_set_t *set, const mole_files_t *files) {
    for (size_t i = 0; i < set->experts; i++) {
        mole_note_strengths(&set->strengths[i], files->name[i], set->expert[i].weights,
                            &set->notes);
        weights_note_unused(set->expert[i].weights, &set->notes);
    }
    if (set->gates.weights) weights_note_unused(set->gates.weights, &set->notes);
}

/* The first layer tells whose names a file has. */
static void choose_names(file_t *file, const char *prefix, const mole_target_t *first,
                         const char *suffix) {
    char key[KEY];
    make_key(key, file, prefix, first, suffix);
    if (!first->ldm_path || weights_has(file->weights, key)) return;
    file->ldm = true;
    make_key(key, file, prefix, first, suffix);
    file->ldm = weights_has(file->weights, key);
}

static family_widths_t widths_of(const mole_target_t *targets, size_t count) {
    family_widths_t w = {0};
    for (size_t i = 0; i < count; i++) {
        size_t d_in = targets[i].d_in;
        if (text_ends(targets[i].path, "attn2.to_k")) w.text = d_in;
        if (text_ends(targets[i].path, ".to_q") && (!w.narrowest || d_in < w.narrowest))
            w.narrowest = d_in;
    }
    return w;
}

static int open_expert(mole_set_t *set, const mole_files_t *files, size_t i,
                       const mole_target_t *targets, size_t count, err_t *err) {
    file_t *file = &set->expert[i];
    if (weights_open_part(&file->weights, files->path[i], SOURCE_EXPERT, files->name[i], err))
        return -1;
    weights_set_widen(file->weights, files->late ? WIDEN_AS_USED : WIDEN_AT_LOAD);
    if (mole_check_file(file->weights, &set->notes, err) ||
        mole_check_base(file->weights, widths_of(targets, count), err))
        return -1;
    weights_ignore(file->weights, "lora_te*");
    choose_names(file, "lora_unet_", &targets[0], ".lora_down.weight");
    return 0;
}

static int open_gates(mole_set_t *set, const mole_files_t *files, const mole_target_t *targets,
                      size_t count, err_t *err) {
    if (weights_open_part(&set->gates.weights, files->gates, SOURCE_GATES, "gates", err) ||
        mole_check_base(set->gates.weights, widths_of(targets, count), err))
        return -1;
    choose_names(&set->gates, "moe_lora_unet_", &targets[0], ".softmoe.Phi_1.weight");
    return 0;
}

int mole_files_load(mole_set_t **out, const mole_files_t *files, mole_target_t *targets,
                    size_t count, bool allow_unused, err_t *err) {
    REQUIRE(files->experts >= 1 && files->experts <= MOLE_EXPERTS, "mole: %zu experts",
            files->experts);
    mole_set_t *set = xcalloc(1, sizeof *set);
    *out = set;
    set->experts = files->experts;
    for (size_t i = 0; i < set->experts; i++)
        if (open_expert(set, files, i, targets, count, err)) goto fail;
    if (files->gates && open_gates(set, files, targets, count, err)) goto fail;
    for (size_t i = 0; i < count; i++)
        if (load_layer(set, files, &targets[i], err)) goto fail;
    for (size_t i = 0; i < set->experts; i++)
        if (weights_finish(set->expert[i].weights, allow_unused, err)) goto fail;
    /* The stacked form has copies of all factors; the direct form reads them again. */
    for (size_t i = 0; i < set->experts; i++) weights_forget(set->expert[i].weights);
    if (set->gates.weights && weights_finish(set->gates.weights, allow_unused, err)) goto fail;
    note_all(set, files);
    return 0;
fail:
    mole_set_free(set);
    *out = NULL;
    return -1;
}

void mole_set_free(mole_set_t *set) {
    if (!set) return;
    for (size_t i = 0; i < set->experts; i++) weights_close(set->expert[i].weights);
    weights_close(set->gates.weights);
    notes_free(&set->notes);
    pool_free(&set->pool);
    free(set);
}

const notes_t *mole_set_notes(const mole_set_t *set) {
    return &set->notes;
}

const weights_t *mole_set_expert(const mole_set_t *set, size_t expert) {
    return set->expert[expert].weights;
}

const weights_t *mole_set_gates(const mole_set_t *set) {
    return set->gates.weights;
}
