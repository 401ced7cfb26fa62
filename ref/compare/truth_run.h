/* truth_run.h - the truth of a case that keeps none: made beside a pass, in step with it.
 *
 * A second run of the reference, free of whatever the pass does, in a thread of its own, which waits when it is some
 * MiB ahead. So a pass over a model of any size sees the whole truth, in the memory of two runs.
 */
#ifndef MOLE_COMPARE_TRUTH_RUN_H
#define MOLE_COMPARE_TRUTH_RUN_H

#include "compare/passes.h"

typedef struct truth_run truth_run_t;

/* 0, or -1 and err; truth_run_end is due on success. */
int truth_run_start(truth_run_t **truth, const comparison_t *c, err_t *err);
/* out = numbers first .. first + count of a row's truth. Rows are asked for in the order of execution, a row any
 * number of times. 0, or -1 and err: the run failed, or does not come by that row any more. */
int truth_run_read(truth_run_t *truth, size_t row, size_t first, size_t count, double *out, err_t *err);
/* NULL is allowed. */
void truth_run_end(truth_run_t *truth);

#endif
