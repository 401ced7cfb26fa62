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

#include "causes/culprit.h"
#include "mole/run.h"

/* Fills the cause, or leaves its texts "". The kind is one of the keywords that docs list (causes_kinds).
 * run gives arena and way of multiplying; run->sink is not used. A tensor with NaN or Inf has no cause
 * here. */
void causes_find(const run_t *run, const culprit_t *culprit, cause_t *cause);

/* Every keyword that cause_kind can hold, ended by NULL. */
extern const char *const causes_kinds[];

#endif
