/* layer_norm.c - normalisation over the channels of each token: the definition, then the fast form.
 *
 * Numerical notes: as group_norm.c; two passes, sums, root and affine map in acc_t, one rounding. */
#include <math.h>
#include <omp.h>

#include "core/err.h"
#include "core/vectorised.h"
#include "ops/definition.h"

void layer_norm_definition(real_t *out, const real_t *x, const real_t *weight, const real_t *bias,
                           size_t M, size_t C, double eps) {
    for (size_t m = 0; m < M; m++, out += C, x += C) {
        acc_t sum = 0, squares = 0;
        for (size_t c = 0; c < C; c++) sum += (acc_t)x[c];
        acc_t mean = sum / (acc_t)C;
        for (size_t c = 0; c < C; c++) squares += ((acc_t)x[c] - mean) * ((acc_t)x[c] - mean);
        acc_t variance = squares / (acc_t)C, deviation = sqrt(variance + eps);
        for (size_t c = 0; c < C; c++)
            out[c] = (real_t)(((acc_t)x[c] - mean) / deviation * (acc_t)weight[c] + (acc_t)bias[c]);
    }
}

/* The fast form: sums in LANES interleaved parts, an order that is the same on every machine. */

enum { PARALLEL_FROM = 1 << 14, LANES = 16 };

/* sum_c (x[c] - mean)^power, power 1 or 2 */
static inline acc_t sum_of_powers(const real_t *x, acc_t mean, int power, size_t C) {
    acc_t lane[LANES] = {0}, sum = 0;
    size_t c = 0;
    for (; c + LANES <= C; c += LANES)
        for (size_t l = 0; l < LANES; l++) {
            acc_t d = (acc_t)x[c + l] - mean;
            lane[l] += power == 2 ? d * d : d;
        }
    for (; c < C; c++) {
        acc_t d = (acc_t)x[c] - mean;
        sum += power == 2 ? d * d : d;
    }
    for (size_t l = 0; l < LANES; l++) sum += lane[l];
    return sum;
}

VECTORISED static void normalise_row(real_t *out, const real_t *x, const real_t *weight,
                                     const real_t *bias, size_t C, double eps) {
    acc_t mean = sum_of_powers(x, 0, 1, C) / (acc_t)C;
    acc_t inverse = 1 / sqrt(sum_of_powers(x, mean, 2, C) / (acc_t)C + eps);
    for (size_t c = 0; c < C; c++) {
        acc_t normal = ((acc_t)x[c] - mean) * inverse;
        out[c] = (real_t)(normal * (acc_t)weight[c] + (acc_t)bias[c]);
    }
}

void layer_norm(real_t *out, const real_t *x, const real_t *weight, const real_t *bias, size_t M,
                size_t C, double eps) {
    REQUIRE(eps > 0, "layer_norm: eps=%g must be above 0", eps);
#pragma omp parallel for schedule(static) if (M * C >= PARALLEL_FROM && !omp_in_parallel())
    for (size_t m = 0; m < M; m++) normalise_row(out + m * C, x + m * C, weight, bias, C, eps);
}
