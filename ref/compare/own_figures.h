/* own_figures.h - what a golden case states of its taps, found for a model that no PyTorch has measured: their
 * names and shapes, and how far a careful float32 program is off at each of them by itself. */
#ifndef MOLE_COMPARE_OWN_FIGURES_H
#define MOLE_COMPARE_OWN_FIGURES_H

#include "compare/passes.h"

/* One run: a row for every tap that comes by, in the order of execution, and for every NAME.in. The case gets
 * the taps. 0, or -1 and c->err. */
int own_survey(comparison_t *c);
/* isolated_rms, orders_rms and in_rms of the case's taps: of the module by itself, with true inputs that are off by
 * a rounding. Two more runs, each beside one that makes the truth. */
int own_figures(comparison_t *c);

#endif
