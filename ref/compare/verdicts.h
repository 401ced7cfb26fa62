/* verdicts.h - a golden case's rows: errors in units of rounding, and the verdicts that follow. */
#ifndef MOLE_COMPARE_VERDICTS_H
#define MOLE_COMPARE_VERDICTS_H

#include "compare/passes.h"

/* Units, ratios and verdicts of rows whose isolated errors are known (isolate_rows). limit: as in
 * compare_options_t. 0, or -1 and c->err. */
int verdicts_of_isolated(comparison_t *c, double limit);

/* The same of a candidate of statistics, whose cumulative errors are what they are at least: the model is
 * opened only where rounding has to be propagated. */
int verdicts_of_statistics(comparison_t *c, double limit);

/* The same from cumulative errors alone. */
int verdicts_of_cumulative(comparison_t *c, double limit);

#endif
