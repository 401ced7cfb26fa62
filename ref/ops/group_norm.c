/* group_norm.c - normalisation over groups of channels.
 *
 * Numerical notes. Two passes: the mean first, then the mean of (x - mean)^2. The one-pass form
 * E[x^2] - mean^2 cancels when the mean is large against the deviation, which happens in the
 * VAE. Both sums, the root and the affine map run in acc_t; the result is rounded once. The sums
 * go over p outermost, then the group's channels: one fixed order for every thread count. */
#include <math.h>
#include <omp.h>

#include "core/err.h"
#include "ops/ops.h"

enum { PARALLEL_FROM = 1 << 14 };

/* One group of one image: x and out point at its first channel of pixel 0; pixels are C apart. */
static void normalise_group(real_t *out, const real_t *x, const real_t *weight, const real_t *bias,
                            size_t C, size_t P, size_t width, double eps) {
    acc_t count = (acc_t)(P * width), sum = 0, squares = 0;
    for (size_t p = 0; p < P; p++)
        for (size_t c = 0; c < width; c++) sum += (acc_t)x[p * C + c];
    acc_t mean = sum / count;
    for (size_t p = 0; p < P; p++)
        for (size_t c = 0; c < width; c++) {
            acc_t d = (acc_t)x[p * C + c] - mean;
            squares += d * d;
        }
    acc_t deviation = sqrt(squares / count + eps);
    for (size_t p = 0; p < P; p++)
        for (size_t c = 0; c < width; c++) {
            acc_t normal = ((acc_t)x[p * C + c] - mean) / deviation;
            out[p * C + c] = (real_t)(normal * (acc_t)weight[c] + (acc_t)bias[c]);
        }
}

void group_norm(real_t *out, const real_t *x, const real_t *weight, const real_t *bias, size_t B,
                size_t C, size_t P, size_t G, double eps) {
    REQUIRE(G >= 1 && C % G == 0, "group_norm: G=%zu does not divide C=%zu", G, C);
    REQUIRE(eps > 0, "group_norm: eps=%g must be above 0", eps);
    size_t width = C / G;
#pragma omp parallel for schedule(static) if (B * C * P >= PARALLEL_FROM && !omp_in_parallel())
    for (size_t bg = 0; bg < B * G; bg++) {
        size_t first = bg % G * width, at = bg / G * P * C + first;
        normalise_group(out + at, x + at, weight + first, bias + first, C, P, width, eps);
    }
}
