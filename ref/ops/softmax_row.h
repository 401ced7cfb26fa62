/* softmax_row.h - one row of softmax, shared by softmax.c and attention.c. */
#ifndef MOLE_OPS_SOFTMAX_ROW_H
#define MOLE_OPS_SOFTMAX_ROW_H

#include <stddef.h>

#include "core/real.h"

/* out[n] = exp(scale x[n] - max) / sum_n exp(scale x[n] - max), max that of scale x.
 * out, x (N); out may be x; N >= 1. */
void softmax_row(real_t *out, const real_t *x, size_t N, double scale);

#endif
