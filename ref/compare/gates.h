/* gates.h - the rounding of a global gate in types below float32.
 *
 *   G[b] = sigmoid(w . mean_t E[b,t] + c)
 *
 * Its product has as many terms as the layer has outputs, and they largely cancel: the logit is off by the
 * roundings of the terms, not of their sum. One run with rounded numbers is one draw of that for each of B
 * numbers, which says little; so it is derived. */
#ifndef MOLE_COMPARE_GATES_H
#define MOLE_COMPARE_GATES_H

#include "compare/passes.h"

/* The mean over the tokens of the expert that came by last; {0} at first, gate_free at last. */
typedef struct {
    double *mean; /* (B,d') */
    size_t B, channels, room;
} gate_mean_t;

void gate_free(gate_mean_t *gate);

/* Every tap of a pass with its numbers in torch's order: keeps the mean of NAME.mole.EXPERT.expert, and for
 * NAME.mole.EXPERT.global gives the rms rounding of the gate in a budget below float32. 0 for all others. */
double gate_rounding(gate_mean_t *gate, const comparison_t *c, budget_t budget, const char *name,
                     const double *x, shape_t shape);

#endif
