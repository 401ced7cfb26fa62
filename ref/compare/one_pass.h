/* one_pass.h - would GroupNorms whose variance is taken in one pass explain the error of a stretch?
 *
 * E[x^2] - mean^2 is off by about (mean^2 + v) u where the deviations' own sum is off by v u: a group whose
 * mean is large against its deviation loses digits (Chan, Golub & LeVeque 1983, "Algorithms for computing
 * the sample variance"). Where the norm itself was dumped, causes/causes_sums.c finds it in the numbers. In a
 * stretch of modules that nobody dumped only its size can be known. */
#ifndef MOLE_COMPARE_ONE_PASS_H
#define MOLE_COMPARE_ONE_PASS_H

#include "compare/passes.h"

/* If the GroupNorms between the dumped taps and the culprit, losing so much, move it by about as much as the
 * candidate is off, that becomes its cause (kind "variance"). Only for a culprit without a cause. 0, or -1
 * and c->err. */
int one_pass_explain(comparison_t *c, size_t culprit);

/* The same of errors that add up where no tap is wrong by itself: a note. */
int one_pass_note(comparison_t *c);

#endif
