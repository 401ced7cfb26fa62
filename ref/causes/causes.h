/* causes.h - why is this layer wrong? Cheap hypotheses, tried on the culprit.
 *
 * Each hypothesis predicts the candidate's tensor from what is known: from the expected numbers
 * alone (axes permuted, halves swapped, a gain, a shift, a rounding ...), or, where the module and
 * its input are known, from the operation done in another way (another epsilon, another activation,
 * a bias left out, heads for width, gates in another form ...). It is accepted when it gives the
 * candidate's numbers to rounding, everywhere, and closer than chance would (causes_judge.c).
 *
 * Two kinds of sentences follow. "The bias is left out" names a way of computing that gives these
 * numbers; where two ways of one family give them, both are named. "Each channel is off by its own
 * constant" tells what the numbers show, and no reason.
 *
 * Hypotheses stand in the order of their simplicity and the first one accepted is reported:
 * whole-tensor identities, then layouts, then operations done otherwise (no free parameter, or one
 * that is named), then sums that lose digits, then fitted gains and offsets, then where the error
 * sits. When none is accepted, one that leaves at most a twentieth of the difference is reported as
 * "near, not proven: ... (3 % of the difference remains)". */
#ifndef MOLE_CAUSES_CAUSES_H
#define MOLE_CAUSES_CAUSES_H

#include "model/modules.h"
#include "mole/run.h"
#include "sampler/ddim.h"

#define CAUSE_ROUNDINGS 32

enum { CAUSE_TEXT = 512 };

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

    /* Another tap of the candidate's, by our name: fresh memory for free(), *shape filled; NULL
     * when it has none. `context` is the caller's. tap NULL: no other taps. */
    double *(*tap)(const void *context, const char *name, shape_t *shape);
    const void *context;

    /* The sampler of a pipeline run, for the latents of step `step`; NULL: unknown. */
    const ddim_t *ddim;
    size_t step;
} culprit_t;

/* Fills the cause, or leaves its texts "". The kind is one of the keywords that docs list (causes_kinds).
 * run gives arena and way of multiplying; run->sink is not used. A tensor with NaN or Inf has no cause
 * here. */
void causes_find(const run_t *run, const culprit_t *culprit, cause_t *cause);

/* Every keyword that cause_kind can hold, ended by NULL. */
extern const char *const causes_kinds[];

#endif
