/* operation.h - single operations at the shapes that they have in the UNet of SD v1.5 at 512 x 512
 * pixels with guidance (two rows), to be run again and again on made-up numbers. */
#ifndef MOLE_BENCH_OPERATION_H
#define MOLE_BENCH_OPERATION_H

#include "mole/run.h"

typedef struct operation operation_t;

/* Operations are numbered from 0. */
size_t operation_count(void);
/* "op.conv2d.winograd.320@64": what it is, how it is computed, its size. */
const char *operation_name(size_t index);
/* As the definition counts them, in 10^9; 0 for those that only move or map numbers. */
double operation_gflop(size_t index);

/* Numbers for operation `index`; of `run` matmul counts. Returns NULL and err when memory is out. */
operation_t *operation_open(size_t index, const run_t *run, err_t *err);
void operation_run(operation_t *operation);
void operation_close(operation_t *operation);

#endif
