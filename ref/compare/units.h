/* units.h - the rounding that a careful computation makes: of a module, of a stretch of modules, of all
 * before a tap. docs/numbers.md, "The theory of the verdict", derives what is computed here.
 *
 * Rounding is propagated by experiment. Noise of a module's own unit is added to its output in a float64
 * run, in proportion to each element, with the truth forced on the taps that the candidate dumped, and what
 * reaches a tap is measured. Noise is scaled to the size of float32 rounding, where every operation is linear
 * in it, and the result scaled back. */
#ifndef MOLE_COMPARE_UNITS_H
#define MOLE_COMPARE_UNITS_H

#include "compare/passes.h"

/* meta.careful and meta.naive of every row, from the case. */
void units_of_case(comparison_t *c);

/* meta.own of every row, in the row's budget; for types below float32 the module is run with its inputs,
 * weights and results rounded. 0, or -1 and c->err. */
int units_own(comparison_t *c);

/* row.inputs_known of every row, from which rows are forced. */
int units_known(comparison_t *c);
/* row.stretch of every row, after units_known and units_own. */
int units_stretch(comparison_t *c);

/* meta.moved of every row: what noise at every tap before it amounts to. */
int units_cumulative(comparison_t *c);

/* The first row whose tap was not forced and reaches row `at`; `at` itself when there is none. */
int units_first_before(comparison_t *c, size_t at, size_t *first);

/* The rms error that counts as one: `own`, and never less than half a rounding of the tensor's rms (32 in
 * float64). */
double units_floored(double own, double truth_rms, budget_t budget);

#endif
