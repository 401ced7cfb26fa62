/* operation.c - see operation.h. */
#include "bench/operation.h"

#include <math.h>
#include <stdlib.h>

#include "mole/mole.h"

typedef enum { LINEAR, CONV, ATTENTION, GROUP_NORM, LAYER_NORM, GEGLU, SILU, MOLE } kind_t;

/* Sizes by kind: LINEAR, MOLE: rows, in, out, rank; CONV: channels in, out, side; ATTENTION: tokens, context,
 * heads, width; norms and maps: rows, channels. Always two images. */
static const struct {
    const char *name;
    kind_t kind;
    size_t a, b, c, d;
    int how; /* conv2d_way_t or mole_form_t */
} list[] = {
    {"op.linear.8192x320-320", LINEAR, 8192, 320, 320, 0, 0},
    {"op.linear.8192x320-2560", LINEAR, 8192, 320, 2560, 0, 0},
    {"op.linear.2048x640-640", LINEAR, 2048, 640, 640, 0, 0},
    {"op.linear.512x1280-1280", LINEAR, 512, 1280, 1280, 0, 0},
    {"op.conv2d.tiles.320-320@64", CONV, 320, 320, 64, 0, CONV_TILES},
    {"op.conv2d.winograd.320-320@64", CONV, 320, 320, 64, 0, CONV_WINOGRAD},
    {"op.conv2d.tiles.640-640@32", CONV, 640, 640, 32, 0, CONV_TILES},
    {"op.conv2d.winograd.640-640@32", CONV, 640, 640, 32, 0, CONV_WINOGRAD},
    {"op.conv2d.tiles.1280-1280@16", CONV, 1280, 1280, 16, 0, CONV_TILES},
    {"op.conv2d.winograd.1280-1280@16", CONV, 1280, 1280, 16, 0, CONV_WINOGRAD},
    {"op.conv2d.tiles.1280-1280@8", CONV, 1280, 1280, 8, 0, CONV_TILES},
    {"op.conv2d.winograd.1280-1280@8", CONV, 1280, 1280, 8, 0, CONV_WINOGRAD},
    {"op.attention.4096x4096.8x40", ATTENTION, 4096, 4096, 8, 40, 0},
    {"op.attention.4096x77.8x40", ATTENTION, 4096, 77, 8, 40, 0},
    {"op.attention.1024x1024.8x80", ATTENTION, 1024, 1024, 8, 80, 0},
    {"op.attention.256x256.8x160", ATTENTION, 256, 256, 8, 160, 0},
    {"op.group_norm.320@64", GROUP_NORM, 4096, 320, 0, 0, 0},
    {"op.layer_norm.8192x320", LAYER_NORM, 8192, 320, 0, 0, 0},
    {"op.geglu.8192x1280", GEGLU, 8192, 1280, 0, 0, 0},
    {"op.silu.8192x320", SILU, 8192, 320, 0, 0, 0},
    {"op.mole_layer.direct.8192x320-320", MOLE, 8192, 320, 320, 256, MOLE_DIRECT},
    {"op.mole_layer.stacked.8192x320-320", MOLE, 8192, 320, 320, 256, MOLE_STACKED},
    {"op.mole_layer.direct.2048x640-640", MOLE, 2048, 640, 640, 256, MOLE_DIRECT},
    {"op.mole_layer.stacked.2048x640-640", MOLE, 2048, 640, 640, 256, MOLE_STACKED},
    {"op.mole_layer.direct.512x1280-1280", MOLE, 512, 1280, 1280, 256, MOLE_DIRECT},
    {"op.mole_layer.stacked.512x1280-1280", MOLE, 512, 1280, 1280, 256, MOLE_STACKED},
};
enum { COUNT = sizeof list / sizeof *list, IMAGES = 2, GROUPS = 32, EXPERTS = 2 };

static const conv2d_geometry_t geometry = {3, 3, 1, 1, 1, 1, 1};

struct operation {
    size_t index;
    run_t run;
    arena_t *arena;
    real_t *out, *x, *y, *z, *work;
    mole_layer_t layer;
    mole_expert_t expert[EXPERTS];
    pool_t pool;
};

size_t operation_count(void) {
    return COUNT;
}

const char *operation_name(size_t index) {
    return list[index].name;
}

double operation_gflop(size_t index) {
    double a = (double)list[index].a, b = (double)list[index].b, c = (double)list[index].c,
           d = (double)list[index].d;
    switch (list[index].kind) {
    case LINEAR: return 2e-9 * a * b * c;
    case CONV: return 2e-9 * IMAGES * c * c * 9 * a * b;
    case ATTENTION: return 4e-9 * IMAGES * a * b * c * d;
    case MOLE: return 2e-9 * a * (b * c + EXPERTS * d * (b + c));
    default: return 0;
    }
}

static real_t *numbers(operation_t *o, size_t n, double size) {
    real_t *x = arena_reals(o->arena, n);
    uint32_t state = (uint32_t)n;
    for (size_t i = 0; i < n; i++) {
        state = state * 1664525u + 1013904223u;
        x[i] = (real_t)(size * ((double)(state >> 8) / (1 << 23) - 1));
    }
    return x;
}

static void start_mole(operation_t *o, size_t in, size_t out, size_t rank) {
    for (size_t i = 0; i < EXPERTS; i++)
        o->expert[i] = (mole_expert_t){.name = i ? "hand" : "face",
                                       .rank = rank,
                                       .scale = 0.5,
                                       .down = numbers(o, rank * in, 0.05),
                                       .up = numbers(o, out * rank, 0.05),
                                       .global_weight = numbers(o, out, 0.05)};
    o->layer = (mole_layer_t){.d_in = in, .d_out = out, .experts = EXPERTS, .expert = o->expert};
    o->layer.local_weight = numbers(o, EXPERTS * in, 0.05);
    o->layer.local_bias = numbers(o, EXPERTS, 0.05);
    mole_layer_prepare(&o->layer, &o->pool);
}

/* Inputs, weights and room for operation o->index. */
static void start(operation_t *o) {
    size_t a = list[o->index].a, b = list[o->index].b, c = list[o->index].c, d = list[o->index].d;
    switch (list[o->index].kind) {
    case MOLE:
        start_mole(o, b, c, d);
        /* fallthrough */
    case LINEAR:
        o->x = numbers(o, a * b, 1);
        o->y = numbers(o, b * c, 0.05);
        o->z = numbers(o, c, 0.05);
        o->out = numbers(o, a * c, 0);
        break;
    case CONV:
        o->x = numbers(o, IMAGES * c * c * a, 1);
        o->y = numbers(o, 9 * a * b, 0.05);
        o->z = numbers(o, b, 0.05);
        o->out = numbers(o, IMAGES * c * c * b, 0);
        o->work = numbers(o,
                          conv2d_work(IMAGES, a, c, c, b, geometry,
                                      (conv2d_way_t)list[o->index].how, o->run.matmul),
                          0);
        break;
    case ATTENTION:
        o->x = numbers(o, IMAGES * a * c * d, 1);
        o->y = numbers(o, IMAGES * b * c * d, 1);
        o->z = numbers(o, IMAGES * b * c * d, 1);
        o->out = numbers(o, IMAGES * a * c * d, 0);
        o->work = numbers(o, attention_work(IMAGES, a, b, c, d), 0);
        break;
    default:
        o->x = numbers(o, IMAGES * a * b, 1);
        o->y = numbers(o, b, 1);
        o->out = numbers(o, IMAGES * a * b, 0);
    }
}

operation_t *operation_open(size_t index, const run_t *run, err_t *err) {
    operation_t *o = xcalloc(1, sizeof *o);
    *o = (operation_t){.index = index, .run = *run};
    if (arena_create(&o->arena, 0, err)) {
        free(o);
        return NULL;
    }
    o->run.arena = o->arena;
    if (list[index].kind == MOLE) o->run.form = (mole_form_t)list[index].how;
    start(o);
    return o;
}

void operation_run(operation_t *o) {
    size_t a = list[o->index].a, b = list[o->index].b, c = list[o->index].c, d = list[o->index].d;
    matmul_way_t how = o->run.matmul;
    switch (list[o->index].kind) {
    case LINEAR: linear(o->out, o->x, o->y, o->z, a, b, c, how); break;
    case CONV:
        conv2d(o->out, o->x, o->y, o->z, IMAGES, a, c, c, b, geometry, o->work,
               (conv2d_way_t)list[o->index].how, how);
        break;
    case ATTENTION:
        attention(o->out, o->x, o->y, o->z, IMAGES, a, b, c, d, 1 / sqrt((double)d), false, o->work,
                  how);
        break;
    case GROUP_NORM: group_norm(o->out, o->x, o->y, o->y, IMAGES, b, a, GROUPS, 1e-5); break;
    case LAYER_NORM: layer_norm(o->out, o->x, o->y, o->y, a, b, 1e-5); break;
    case GEGLU: geglu(o->out, o->x, a, b); break;
    case SILU: silu(o->out, o->x, a * b); break;
    case MOLE:
        mole_forward(&o->run, &o->layer, "layer", VIEW_TOKENS(IMAGES, a / IMAGES, c), o->out, o->x,
                     o->y, o->z, IMAGES, a / IMAGES);
        break;
    }
}

void operation_close(operation_t *o) {
    if (!o) return;
    pool_free(&o->pool);
    arena_destroy(o->arena);
    free(o);
}
