/* api_layer.c - one MoLE layer on given tensors: for mole.h the direct form, with every tap; for golden cases
 * in the form of their run.
 *
 * A sink stands between mole_forward and the caller's tap pointers: it knows a tap by the end of its
 * name and copies it, in torch's order, to where the caller wants it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/api_layer.h"
#include "api/op_table.h"

enum { REAL = sizeof(mole_real_t) };

typedef struct {
    tap_sink_t sink;
    const mole_layer_args_t *layer;
} layer_taps_t;

/* Experts have no names here; their taps are ".mole.<index>.expert". */
static void listen(tap_sink_t *self, const char *name, real_t *x, view_t view) {
    const mole_layer_args_t *layer = ((layer_taps_t *)self)->layer;
    if (strcmp(name, ".mole.base") == 0) {
        if (layer->tap_base) view_to_torch(layer->tap_base, x, view);
        return;
    }
    char *what;
    size_t i = strtoul(name + strlen(".mole."), &what, 10);
    const mole_layer_expert_t *e = &layer->expert[i];
    const struct {
        const char *name;
        real_t *out;
    } taps[] = {{".expert", e->tap_expert},
                {".local", e->tap_local},
                {".global", e->tap_global},
                {".out", e->tap_out}};
    for (size_t k = 0; k < sizeof taps / sizeof *taps; k++)
        if (strcmp(what, taps[k].name) == 0 && taps[k].out) view_to_torch(taps[k].out, x, view);
}

static void check_expert(check_t *c, const mole_layer_args_t *layer, size_t i) {
    const mole_layer_expert_t *e = &layer->expert[i];
    check_that(c, e->rank >= 1, "expert %zu has rank 0", i);
    check_that(c, e->alpha == e->alpha && e->alpha - e->alpha == 0, "expert %zu: alpha is %g", i,
               e->alpha);
    check_in(c, "down", e->down, SHAPE2(e->rank, layer->d_in), REAL);
    check_in(c, "up", e->up, SHAPE2(layer->d_out, e->rank), REAL);
    if (layer->local_weight)
        check_in(c, "scale_weight", e->scale_weight, SHAPE1(layer->d_out), REAL);
    else
        check_that(c, !e->tap_local && !e->tap_global && !e->tap_out,
                   "expert %zu: tap_local, tap_global and tap_out need gates", i);
}

static void check_layer(check_t *c, mole_real_t *out, const mole_real_t *x,
                        const mole_layer_args_t *layer, size_t B, size_t T) {
    check_that(c, layer != NULL, "layer is NULL");
    if (c->failed) return;
    check_out(c, "out", out, SHAPE3(B, T, layer->d_out), REAL);
    check_in(c, "x", x, SHAPE3(B, T, layer->d_in), REAL);
    check_in(c, "weight", layer->weight, SHAPE2(layer->d_out, layer->d_in), REAL);
    check_in_or_null(c, "bias", layer->bias, SHAPE1(layer->d_out), REAL);
    check_that(c, layer->expert && layer->experts >= 1, "no experts");
    if (layer->local_weight) {
        check_in(c, "local_weight", layer->local_weight, SHAPE2(layer->experts, layer->d_in), REAL);
        check_in(c, "local_bias", layer->local_bias, SHAPE1(layer->experts), REAL);
    }
    for (size_t i = 0; !c->failed && i < layer->experts; i++) check_expert(c, layer, i);
}

/* The layer as ref/mole knows it; its memory comes from pool. names: NULL for "0", "1", ... */
static mole_layer_t inner_layer(const mole_layer_args_t *layer, const char *const *names,
                                pool_t *pool) {
    mole_layer_t inner = {.d_in = layer->d_in,
                          .d_out = layer->d_out,
                          .experts = layer->experts,
                          .expert = pool_alloc(pool, layer->experts, sizeof *inner.expert),
                          .local_weight = layer->local_weight,
                          .local_bias = layer->local_bias};
    for (size_t i = 0; i < layer->experts; i++) {
        const mole_layer_expert_t *e = &layer->expert[i];
        double alpha = e->alpha != 0 ? e->alpha : (double)e->rank;
        inner.expert[i] = (mole_expert_t){.name = names ? names[i] : pool_printf(pool, "%zu", i),
                                          .rank = e->rank,
                                          .scale = alpha / (double)e->rank,
                                          .down = e->down,
                                          .up = e->up,
                                          .global_weight = e->scale_weight,
                                          .global_bias = e->scale_bias};
    }
    return inner;
}

/* x and out as tokens (B,T,...). */
static void forward(const run_t *run, const char *id, const char *const *names, shape_t shape,
                    real_t *out, const real_t *x, const mole_layer_args_t *layer, size_t T) {
    pool_t pool = {0};
    mole_layer_t inner = inner_layer(layer, names, &pool);
    if (run->form != MOLE_DIRECT) mole_layer_prepare(&inner, &pool);
    /* (B,d',...) kept as (B,...,d') is what a channels-last view is. */
    view_t view = {shape, layer->image ? LAYOUT_CHANNELS_LAST : LAYOUT_TORCH};
    mole_forward(run, &inner, id, view, out, x, layer->weight, layer->bias, shape.dim[0], T);
    pool_free(&pool);
}

/* T of a result of this shape: (B,T,d'), or (B,d',...) of an image. */
static size_t tokens_of(shape_t shape, bool image) {
    size_t T = 1;
    for (int d = 1; d < shape.ndim; d++)
        if (d != (image ? 1 : shape.ndim - 1)) T *= shape.dim[d];
    return T;
}

/* In torch's order, with arguments that were checked. */
static int layer_in_run(check_t *c, const run_t *run, const char *id, const char *const *names,
                        shape_t shape, real_t *out, const real_t *x,
                        const mole_layer_args_t *layer) {
    size_t B = shape.dim[0], T = tokens_of(shape, layer->image);
    if (!layer->image) return forward(run, id, names, shape, out, x, layer, T), 0;
    real_t *tokens = check_scratch(c, B * T * layer->d_in);
    real_t *result = check_scratch(c, B * T * layer->d_out);
    if (!c->failed) {
        to_channels_last(tokens, x, B, layer->d_in, T);
        forward(run, id, names, shape, result, tokens, layer, T);
        from_channels_last(out, result, B, layer->d_out, T);
    }
    free(result);
    free(tokens);
    return check_result(c);
}

int api_layer(const run_t *run, const char *id, const char *const *names, shape_t shape,
              mole_real_t *out, const mole_real_t *x, const mole_layer_args_t *layer,
              mole_error_t *error) {
    check_t c = check_start("layer", error);
    check_layer(&c, out, x, layer, shape.dim[0], tokens_of(shape, layer->image));
    return c.failed ? -1 : layer_in_run(&c, run, id, names, shape, out, x, layer);
}

int mole_layer(mole_real_t *out, const mole_real_t *x, const mole_layer_args_t *layer, size_t B,
               size_t T, mole_how_t how, mole_error_t *error) {
    arena_t *arena;
    check_t c = check_start("layer", error);
    check_how(&c, how);
    check_layer(&c, out, x, layer, B, T);
    if (c.failed || arena_create(&arena, 0, api_err(error))) return -1;
    layer_taps_t taps = {{.tap = listen}, layer};
    run_t run = {.arena = arena, .sink = &taps.sink, .matmul = api_how(how), .form = MOLE_DIRECT};
    shape_t shape = layer->image ? SHAPE3(B, layer->d_out, T) : SHAPE3(B, T, layer->d_out);
    int status = layer_in_run(&c, &run, "", NULL, shape, out, x, layer);
    arena_destroy(arena);
    return status;
}

const op_t api_layers[] = {
    {.name = "mole",
     .input = {TENSOR("x", "B _ ..."), TENSOR("weight", "N ..."), TENSOR_OR_NULL("bias", "N"),
               TENSOR("gate.Phi.weight", "E _"), TENSOR("gate.Phi.bias", "E")},
     .multiplies = true},
    {0}};
