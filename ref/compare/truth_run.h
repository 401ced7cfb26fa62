/* truth_run.h - the truth of a case that keeps none: made beside a pass, in step with it.
 *
 * A second run of the reference, free of whatever the pass does, in a thread of its own, which waits when it
 * is some MiB ahead. So a pass over a model of any size sees the whole truth, in the memory of two runs. */
#ifndef MOLE_COMPARE_TRUTH_RUN_H
#define MOLE_COMPARE_TRUTH_RUN_H

#include "golden/run_case.h"

typedef struct truth_run truth_run_t;

/* What is run, and which row a tap is (SIZE_MAX: none): asked in the run's thread. */
typedef struct {
    const run_t *run;
    const golden_case_t *golden;
    const pipeline_t *pipeline;
    size_t (*row)(const void *who, const char *name, shape_t shape);
    const void *who;
} truth_of_t;

/* 0, or -1 and err; truth_run_end is due on success. */
int truth_run_start(truth_run_t **truth, truth_of_t of, err_t *err);
/* out = numbers first .. first + count of a row's truth. Rows are asked for in the order of execution, a
 * row any number of times. 0, or -1 and err: the run failed, or does not come by that row any more. */
int truth_run_read(truth_run_t *truth, size_t row, size_t first, size_t count, double *out,
                   err_t *err);
/* NULL is allowed. */
void truth_run_end(truth_run_t *truth);

#endif
