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
    LAYOUT_CHANNELS_LAST /* shape (B,C,H,W), memory (B,H,W,C): torch.channels_last */
} layout_t;

typedef struct tap_sink tap_sink_t;
struct tap_sink {
    /* x may be read and, by a forcing sink, overwritten in place; it is valid during the call only. */
    void (*tap)(tap_sink_t *self, const char *name, real_t *x, shape_t shape, layout_t layout);
};

/* A tap on tensor x under `name`. */
static inline void tap(tap_sink_t *sink, const char *name, real_t *x, shape_t shape, layout_t layout) {
    if (sink) sink->tap(sink, name, x, shape, layout);
}

/* A tap under "name" + "suffix", as `<module>` + `.mole.base`. */
void tap_suffix(tap_sink_t *sink, const char *name, const char *suffix, real_t *x, shape_t shape,
                layout_t layout);

#endif
