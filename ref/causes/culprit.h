/* culprit.h - the layer whose numbers are wrong, with all that is known about it, and what explains it. */
#ifndef MOLE_CAUSES_CULPRIT_H
#define MOLE_CAUSES_CULPRIT_H

#include "model/replay_module.h"
#include "pipeline/pipeline.h"
#include "sampler/ddim.h"

#define CAUSE_ROUNDINGS 32

enum { CAUSE_TEXT = 512 };
/* So many runs of the reference, with one thing changed, are asked for at most. */
enum { CAUSES_RUNS = 24 };

/* A change of the reference's run: whenever the tap `name` comes by, an input NAME.in too, change(who, x,
 * shape) may alter its numbers in place. */
typedef struct {
    const char *name;
    void (*change)(void *who, double *x, shape_t shape);
    void *who;
} culprit_edit_t;

/* What explains a difference. */
typedef struct {
    char text[CAUSE_TEXT]; /* a sentence for a porter; "" for nothing found */
    char kind[32];         /* its keyword: "epsilon", "gain", ... */
} cause_t;

/* Everything that is known about the culprit, in torch's order, as doubles. `expected` is the
 * reference's output on the candidate's own inputs (or the truth, where those are not known). What
 * is not known stays zero: fewer hypotheses are tried then. */
typedef struct {
    const char *name; /* of the tap: "step.000/unet....to_q.mole.face.expert" */
    shape_t shape;
    size_t count;
    const double *candidate, *expected;
    const double *previous; /* the same tap one step (or module) earlier, or NULL */
    /* The layer that the tap belongs to (for X.mole.* that is X), or NULL; and what the reference
     * puts into it, made from the candidate's own taps, or NULL. */
    const module_t *module;
    const double *input;
    shape_t input_shape;
    double rounding; /* rms that rounding explains */

    /* The layer, also where what goes into it is not known; NULL: the tap is no layer's. */
    const module_t *layer;
    /* The model; NULL: unknown. */
    const pipeline_t *pipeline;
    /* The reference's run on the candidate's own taps once more, with one change: out (count) becomes what it
     * has at the culprit then. False: the run fails or does not come by. NULL: no run can be made.
     * `context` is the caller's. */
    bool (*again)(void *context, const culprit_edit_t *edit, double *out);

    /* Another tap of the candidate's, by our name: fresh memory for free(), *shape filled; NULL
     * when it has none. `context` is the caller's. tap NULL: no other taps. */
    double *(*tap)(void *context, const char *name, shape_t *shape);
    /* Name of the i-th of those that it has before the culprit; NULL: no more. NULL: not known. */
    const char *(*earlier)(void *context, size_t i);
    void *context;

    /* The sampler of a pipeline run, for the latents of step `step`; NULL: unknown. */
    const ddim_plan_t *ddim;
    size_t step;
} culprit_t;

#endif
