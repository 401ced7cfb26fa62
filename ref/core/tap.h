/* tap.h - the windows through which a run can be watched.
 *
 * Every module calls tap() on its output under its diffusers path. A sink receives it: a trace writer
 * stores it, a checker compares it, a forcing checker also overwrites it with the truth so that the
 * next module starts from right numbers. A NULL sink does nothing and changes no bit.
 *
 * Inside the network, images are channels-last; a sink receives the shape in torch's order and the
 * layout, and never has to guess. */
#ifndef MOLE_CORE_TAP_H
#define MOLE_CORE_TAP_H

#include "core/real.h"
#include "core/shape.h"

typedef enum {
    LAYOUT_TORCH,        /* memory is row-major in the order of the shape */
    LAYOUT_CHANNELS_LAST /* shape (B,C,...), memory (B,...,C): torch.channels_last */
} layout_t;

/* How a tensor looks from outside: shape in torch's order, and how memory holds it. */
typedef struct {
    shape_t shape;
    layout_t layout;
} view_t;

/* Tokens (B,T,C), rows (B,C), an image (B,C,H,W) kept channels-last. */
#define VIEW_TOKENS(B, T, C)   ((view_t){SHAPE3(B, T, C), LAYOUT_TORCH})
#define VIEW_ROWS(B, C)        ((view_t){SHAPE2(B, C), LAYOUT_TORCH})
#define VIEW_IMAGE(B, C, H, W) ((view_t){SHAPE4(B, C, H, W), LAYOUT_CHANNELS_LAST})

typedef struct tap_sink tap_sink_t;
struct tap_sink {
    /* x may be read and, by a forcing sink, overwritten in place; it is valid during the call only. */
    void (*tap)(tap_sink_t *self, const char *name, real_t *x, view_t view);
    /* Whether modules that have weights also show what goes into them, as NAME.in, just before their
     * output. An input may only be read. */
    bool inputs;
};

/* A tap on tensor x under `name`. */
static inline void tap(tap_sink_t *sink, const char *name, real_t *x, view_t view) {
    if (sink) sink->tap(sink, name, x, view);
}

/* A tap under `name` + `suffix`, as <module> + ".mole.base"; formats as printf does. */
void tap_suffix(tap_sink_t *sink, const char *name, real_t *x, view_t view, const char *suffix, ...)
    __attribute__((format(printf, 5, 6)));

/* The input of module `name`, for sinks that want inputs. */
static inline void tap_input(tap_sink_t *sink, const char *name, const real_t *x, view_t view) {
    if (sink && sink->inputs) tap_suffix(sink, name, (real_t *)x, view, ".in");
}

/* A sink that puts `prefix` before every name and passes the tap on. Starts as tap_prefix(to, "..."). */
typedef struct {
    tap_sink_t sink;
    tap_sink_t *to;
    const char *prefix;
} tap_prefix_t;
tap_prefix_t tap_prefix(tap_sink_t *to, const char *prefix);
/* The sink to hand on: NULL when there is nobody behind it. */
tap_sink_t *tap_prefix_sink(tap_prefix_t *prefix);

/* out (in the shape's own order, row-major) = x; both of shape_count(view.shape) numbers. */
void view_to_torch(real_t *out, const real_t *x, view_t view);
/* The inverse: x = in. */
void view_from_torch(real_t *x, const real_t *in, view_t view);

#endif
