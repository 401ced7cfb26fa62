/* group_norm.c - normalisation over groups of channels: the definition, then the fast form.
 *
 * Numerical notes. Two passes: the mean first, then the mean of (x - mean)^2. The one-pass form
 * E[x^2] - mean^2 cancels when the mean is large against the deviation, which happens in the
 * VAE. Both sums, the root and the affine map run in acc_t; the result is rounded once. */
#include <math.h>
#include <omp.h>
#include <string.h>

#include "core/err.h"
#include "core/vectorised.h"
#include "ops/definition.h"

void group_norm_definition(real_t *out, const real_t *x, const real_t *weight, const real_t *bias,
                           size_t B, size_t C, size_t P, size_t G, double eps) {
    size_t width = C / G;
    for (size_t group = 0; group < B * G; group++) {
        size_t first = group % G * width, at = group / G * P * C;
        acc_t sum = 0, squares = 0, count = (acc_t)(P * width);
        for (size_t p = 0; p < P; p++)
            for (size_t c = first; c < first + width; c++) sum += (acc_t)x[at + p * C + c];
        acc_t mean = sum / count;
        for (size_t p = 0; p < P; p++)
            for (size_t c = first; c < first + width; c++) {
                acc_t d = (acc_t)x[at + p * C + c] - mean;
                squares += d * d;
            }
        acc_t deviation = sqrt(squares / count + eps);
        for (size_t p = 0; p < P; p++)
            for (size_t c = first; c < first + width; c++) {
                acc_t normal = ((acc_t)x[at + p * C + c] - mean) / deviation;
                out[at + p * C + c] = (real_t)((acc_t)weight[c] * normal + (acc_t)bias[c]);
            }
    }
}

/* The fast form. The channels of a group lie side by side, but there may be as few as four of them. So a
 * thread takes several neighbouring groups, a strip, and keeps one running sum per channel, whose additions
 * do not wait for one another; a group's sum is that of its channels. A strip depends on C and G alone, so
 * the order of all sums is the same for every thread count. */

/* STRIP channels of a strip are enough for the vectors; the sums of at most WIDEST channels are kept at a
 * time, of a wider group in pieces. */
enum { PARALLEL_FROM = 1 << 14, STRIP = 64, WIDEST = 256 };

/* sum[c] = sum_p x[p,c], or with `mean` sum_p (x[p,c] - mean[c])^2; n channels, pixels C apart. */
VECTORISED static void channel_sums(acc_t *restrict sum, const real_t *x, const acc_t *mean,
                                    size_t n, size_t C, size_t P) {
    memset(sum, 0, n * sizeof *sum);
    for (size_t p = 0; p < P; p++, x += C) {
        if (!mean) {
            for (size_t c = 0; c < n; c++) sum[c] += (acc_t)x[c];
            continue;
        }
        for (size_t c = 0; c < n; c++) {
            acc_t d = (acc_t)x[c] - mean[c];
            sum[c] += d * d;
        }
    }
}

/* out[p,c] = (x[p,c] - mean[c]) / deviation[c] * weight[c] + bias[c] */
VECTORISED static void normalise(real_t *out, const real_t *x, const acc_t *mean,
                                 const acc_t *inverse, const real_t *weight, const real_t *bias,
                                 size_t n, size_t C, size_t P) {
    for (size_t p = 0; p < P; p++, x += C, out += C) {
#pragma omp simd
        for (size_t c = 0; c < n; c++) {
            acc_t normal = ((acc_t)x[c] - mean[c]) * inverse[c];
            out[c] = (real_t)(normal * (acc_t)weight[c] + (acc_t)bias[c]);
        }
    }
}

/* value[c] = total over c's group of sum, over `count`, for n channels in groups of `width`. */
static void share_within_groups(acc_t *value, const acc_t *sum, size_t n, size_t width,
                                acc_t count) {
    for (size_t first = 0; first < n; first += width) {
        acc_t total = 0;
        for (size_t c = first; c < first + width; c++) total += sum[c];
        for (size_t c = first; c < first + width; c++) value[c] = total / count;
    }
}

/* Whole groups of `width` channels, n in all, n <= WIDEST. Pointers stand at the first of them. */
static void normalise_strip(real_t *out, const real_t *x, const real_t *weight, const real_t *bias,
                            size_t n, size_t width, size_t C, size_t P, double eps) {
    acc_t sum[WIDEST], mean[WIDEST] = {0}, inverse[WIDEST], count = (acc_t)(P * width);
    channel_sums(sum, x, NULL, n, C, P);
    share_within_groups(mean, sum, n, width, count);
    channel_sums(sum, x, mean, n, C, P);
    share_within_groups(inverse, sum, n, width, count);
    for (size_t c = 0; c < n; c++) inverse[c] = 1 / sqrt(inverse[c] + eps);
    normalise(out, x, mean, inverse, weight, bias, n, C, P);
}

/* The sum of all channels of one group that is wider than WIDEST, piece by piece. */
static acc_t wide_sum(const real_t *x, const acc_t *mean, size_t width, size_t C, size_t P) {
    acc_t total = 0;
    for (size_t first = 0; first < width; first += WIDEST) {
        acc_t sum[WIDEST];
        size_t n = width - first < WIDEST ? width - first : WIDEST;
        channel_sums(sum, x + first, mean, n, C, P);
        for (size_t c = 0; c < n; c++) total += sum[c];
    }
    return total;
}

static void fill(acc_t *value, acc_t with) {
    for (size_t c = 0; c < WIDEST; c++) value[c] = with;
}

static void normalise_wide(real_t *out, const real_t *x, const real_t *weight, const real_t *bias,
                           size_t width, size_t C, size_t P, double eps) {
    acc_t mean[WIDEST], inverse[WIDEST], count = (acc_t)(P * width);
    fill(mean, wide_sum(x, NULL, width, C, P) / count);
    fill(inverse, 1 / sqrt(wide_sum(x, mean, width, C, P) / count + eps));
    for (size_t first = 0; first < width; first += WIDEST) {
        size_t n = width - first < WIDEST ? width - first : WIDEST;
        normalise(out + first, x + first, mean, inverse, weight + first, bias + first, n, C, P);
    }
}

void group_norm(real_t *out, const real_t *x, const real_t *weight, const real_t *bias, size_t B,
                size_t C, size_t P, size_t G, double eps) {
    REQUIRE(G >= 1 && C % G == 0, "group_norm: G=%zu does not divide C=%zu", G, C);
    REQUIRE(eps > 0, "group_norm: eps=%g must be above 0", eps);
    size_t width = C / G, groups = width < STRIP ? (STRIP + width - 1) / width : 1;
    size_t strips = (G + groups - 1) / groups;
#pragma omp parallel for schedule(static) if (B * C * P >= PARALLEL_FROM && !omp_in_parallel())
    for (size_t unit = 0; unit < B * strips; unit++) {
        size_t group = unit % strips * groups, first = group * width;
        size_t n = (G - group < groups ? G - group : groups) * width,
               at = unit / strips * P * C + first;
        if (width <= WIDEST)
            normalise_strip(out + at, x + at, weight + first, bias + first, n, width, C, P, eps);
        else
            normalise_wide(out + at, x + at, weight + first, bias + first, width, C, P, eps);
    }
}
