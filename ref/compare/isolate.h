/* isolate.h - the reference run on the candidate's own numbers: what each module, or stretch of modules,
 * did itself. */
#ifndef MOLE_COMPARE_ISOLATE_H
#define MOLE_COMPARE_ISOLATE_H

#include "compare/passes.h"

/* row.isolated of every forced row, and what the provable bound needs. 0, or -1 and c->err. */
int isolate_rows(comparison_t *c);
/* row.cause of result.culprit: a second run, up to it. again: hypotheses may ask for runs of their own. */
int isolate_explain(comparison_t *c, size_t culprit, bool again);

#endif
