/* profile.h - where the time of a run goes: a tap sink with a watch.
 *
 * Every module shows its input (NAME.in) and its output (NAME). The time between the two is the module's own;
 * what passes from one module to the next belongs to the operations between them: attention, when the next is
 * to_out, else activations, sums and copies. So nothing in the network knows that it is measured.
 *
 * Operations are counted as the definition has them: a multiplication and an addition are two; a
 * convolution directly, whatever way it goes; an expert as its two factors. Keys and values of
 * cross-attention count in the step that computes them. */
#ifndef MOLE_BENCH_PROFILE_H
#define MOLE_BENCH_PROFILE_H

#include "core/tap.h"
#include "model/layers.h"

typedef enum {
    PROFILE_CONV,      /* 3x3 convolutions */
    PROFILE_LINEAR,    /* linear layers and 1x1 convolutions without experts */
    PROFILE_MOLE,      /* those with experts, frozen layer included */
    PROFILE_ATTENTION, /* softmax(q k^T) v */
    PROFILE_GROUP_NORM,
    PROFILE_LAYER_NORM,
    PROFILE_REST, /* activations, sums, copies, whatever is between modules */
    PROFILE_KINDS
} profile_kind_t;

typedef struct {
    double seconds, gflop;
    size_t calls;
} profile_row_t;

typedef struct {
    tap_sink_t sink;  /* hand on &profile.sink */
    tap_sink_t *next; /* also gets every tap that it wants, or NULL */
    profile_row_t row[PROFILE_KINDS];
    /* private */
    struct profile_module
        *module; /* sorted by name; copies, since a model may be closed meanwhile */
    size_t modules, tokens, context, width;
    const struct profile_module *inside;
    double last;
} profile_t;

/* Starts the watch. Up to 3 sets of modules whose names will be seen; a set may be empty. */
void profile_start(profile_t *profile, const modules_t *sets, size_t count, tap_sink_t *next);
void profile_free(profile_t *profile);

const char *profile_kind_name(profile_kind_t kind);
/* The sum of all rows. */
profile_row_t profile_total(const profile_t *profile);

#endif
