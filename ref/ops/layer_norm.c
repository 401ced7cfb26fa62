/* layer_norm.c - normalisation over the channels of each token.
 *
 * Numerical notes: as group_norm.c; two passes, sums, root and affine map in acc_t, one
 * rounding. */
#include <math.h>
#include <omp.h>

#include "core/err.h"
#include "ops/ops.h"

enum { PARALLEL_FROM = 1 << 14 };

static void normalise_row(real_t *out, const real_t *x, const real_t *weight, const real_t *bias,
                          size_t C, double eps) {
    acc_t sum = 0, squares = 0;
    for (size_t c = 0; c < C; c++) sum += (acc_t)x[c];
    acc_t mean = sum / (acc_t)C;
    for (size_t c = 0; c < C; c++) {
        acc_t d = (acc_t)x[c] - mean;
        squares += d * d;
    }
    acc_t deviation = sqrt(squares / (acc_t)C + eps);
    for (size_t c = 0; c < C; c++) {
        acc_t normal = ((acc_t)x[c] - mean) / deviation;
        out[c] = (real_t)(normal * (acc_t)weight[c] + (acc_t)bias[c]);
    }
}

void layer_norm(real_t *out, const real_t *x, const real_t *weight, const real_t *bias, size_t M,
                size_t C, double eps) {
    REQUIRE(eps > 0, "layer_norm: eps=%g must be above 0", eps);
#pragma omp parallel for schedule(static) if (M * C >= PARALLEL_FROM && !omp_in_parallel())
    for (size_t m = 0; m < M; m++) normalise_row(out + m * C, x + m * C, weight, bias, C, eps);
}
