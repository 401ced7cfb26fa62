/* causes.h - why is this layer wrong? Cheap hypotheses, tried on the culprit.
 *
 * Two families. About the numbers alone: axes permuted, halves swapped, a constant gain or offset, a
 * rounding to a smaller format, a shift, one index wrong ... And, where the module and its input are
 * known, about the operation: another epsilon, another activation, a bias left out, weights transposed,
 * heads for width, gates in another form ... A hypothesis is reported when what it predicts explains the
 * difference: what remains is at most a hundredth of it and within rounding. */
#ifndef MOLE_VERIFY_CAUSES_H
#define MOLE_VERIFY_CAUSES_H

#include "model/modules.h"
#include "mole/run.h"
#include "verify/compare.h"

/* Everything that is known about the culprit, in torch's order, as doubles. `expected` is the reference's
 * output on the candidate's own inputs (or the truth, where those are not known). */
typedef struct {
    const char *name;
    shape_t shape;
    size_t count;
    const double *candidate, *expected;
    const double *previous; /* the same tap one step (or module) earlier, or NULL */
    const module_t *module; /* NULL: unknown */
    const double *input;    /* of the module, candidate's own, in torch's order; NULL: unknown */
    shape_t input_shape;
    double rounding;        /* rms that rounding explains */
    const void *context;    /* compare's access to other candidate taps: cause_tap */
} culprit_t;

/* Another tap of the candidate's, by our name: fresh memory, *shape filled; NULL when it has none. */
double *cause_tap(const culprit_t *culprit, const char *name, shape_t *shape);

/* Fills cause and cause_kind of the row, or leaves them "". */
void causes_find(const run_t *run, const culprit_t *culprit, compare_row_t *row);

#endif
