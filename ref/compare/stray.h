/* stray.h - tensors that stand under a tap's name and are not what the candidate went on with. */
#ifndef MOLE_COMPARE_STRAY_H
#define MOLE_COMPARE_STRAY_H

#include "compare/passes.h"

/* A hook that keeps a tensor which is changed in place later, or writes it under another tap's name, brings
 * wrong numbers for one tap, while all behind it was computed from the right ones. Forced, they make the
 * reference wrong behind them, and the right taps there are called wrong by themselves.
 *
 * Where taps differ by themselves although nothing is wrong with them against the truth, the reference runs
 * again without the numbers of all taps that differ by themselves: these are held against what the run
 * gives, and do not take its place. What agrees then, and is less than half as far off as before, is
 * innocent, and a note names the stray tensor in front of it. After verdicts_of_isolated. 0, or -1 and
 * c->err. */
int stray_taps(comparison_t *c, double limit);

#endif
