/* softmax_row.h - one row of softmax, shared by softmax.c and attention.c. */
#ifndef MOLE_OPS_SOFTMAX_ROW_H
#define MOLE_OPS_SOFTMAX_ROW_H

#include <stddef.h>

#include "core/real.h"

/* out[n] = exp(scale x[n] - max), max that of scale x; returns their sum, by which the caller divides.
 * out, x (N); out may be x; N >= 1. */
double softmax_row(real_t *out, const real_t *x, size_t N, double scale);

/* x[n] = x[n] / sum */
void softmax_divide(real_t *x, size_t N, double sum);

#endif
