/* tap.c - see tap.h. */
#include "core/tap.h"

#include <stdarg.h>
#include <stdio.h>

#include "core/err.h"

void tap_suffix(tap_sink_t *sink, const char *name, real_t *x, view_t view, const char *suffix,
                ...) {
    if (!sink) return;
    char full[512];
    int used = snprintf(full, sizeof full, "%s", name);
    REQUIRE(used >= 0 && (size_t)used < sizeof full, "tap: name too long: %s", name);
    va_list args;
    va_start(args, suffix);
    int more = vsnprintf(full + used, sizeof full - (size_t)used, suffix, args);
    va_end(args);
    REQUIRE(more >= 0 && (size_t)more < sizeof full - (size_t)used, "tap: name too long: %s", full);
    sink->tap(sink, full, x, view);
}

static void tap_with_prefix(tap_sink_t *self, const char *name, real_t *x, view_t view) {
    const tap_prefix_t *prefix = (const tap_prefix_t *)self;
    tap_suffix(prefix->to, prefix->prefix, x, view, "%s", name);
}

tap_prefix_t tap_prefix(tap_sink_t *to, const char *prefix) {
    return (tap_prefix_t){{tap_with_prefix, to && to->inputs}, to, prefix};
}

tap_sink_t *tap_prefix_sink(tap_prefix_t *prefix) {
    return prefix->to ? &prefix->sink : NULL;
}

/* A channels-last tensor as (B,P,C) in memory, (B,C,P) for the outside. Row-major ones have C = 1. */
static void split(view_t view, size_t *B, size_t *C, size_t *P) {
    const shape_t *shape = &view.shape;
    bool last = view.layout == LAYOUT_CHANNELS_LAST;
    REQUIRE(!last || shape->ndim >= 3, "channels-last tensor of %d dimensions", shape->ndim);
    *B = last ? shape->dim[0] : 1;
    *C = last ? shape->dim[1] : 1;
    *P = 1;
    for (int i = last ? 2 : 0; i < shape->ndim; i++) *P *= shape->dim[i];
}

void view_to_torch(real_t *out, const real_t *x, view_t view) {
    size_t B, C, P;
    split(view, &B, &C, &P);
    for (size_t b = 0; b < B; b++)
        for (size_t c = 0; c < C; c++)
            for (size_t p = 0; p < P; p++) out[(b * C + c) * P + p] = x[(b * P + p) * C + c];
}

void view_from_torch(real_t *x, const real_t *in, view_t view) {
    size_t B, C, P;
    split(view, &B, &C, &P);
    for (size_t b = 0; b < B; b++)
        for (size_t c = 0; c < C; c++)
            for (size_t p = 0; p < P; p++) x[(b * P + p) * C + c] = in[(b * C + c) * P + p];
}
