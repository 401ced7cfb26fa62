/* own_figures.h - what a golden case states of its taps, found for a model that no PyTorch has measured:
 * their names and shapes, and how far a careful float32 program is off at each of them by itself. */
#ifndef MOLE_COMPARE_OWN_FIGURES_H
#define MOLE_COMPARE_OWN_FIGURES_H

#include "compare/passes.h"

/* Opens the model, and makes a row for every tap that comes by in the order of execution and for every
 * NAME.in; the case gets the taps and their isolated_rms, orders_rms and in_rms: of the module by itself,
 * with true inputs that are off by a rounding. Three runs, two of them beside one that makes the truth.
 * surveyed: as in compare_options_t. 0, or -1 and c->err. */
int own_taps(comparison_t *c, const own_case_t *own, void (*surveyed)(void *who, size_t taps),
             void *who);

#endif
