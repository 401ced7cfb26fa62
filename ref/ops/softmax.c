/* softmax.c - softmax over the last dimension.
 *
 * Numerical notes. Subtracting the maximum changes nothing but that exp cannot overflow.
 * Difference, exp and sum are in double; the exponentials rest in out between the passes, so a
 * float result is rounded twice (torch's float32 rounds the difference, the exponential, the sum
 * and the quotient). */
#include <omp.h>

#include "core/err.h"
#include "core/fmath.h"
#include "ops/ops.h"
#include "ops/softmax_row.h"

enum { PARALLEL_FROM = 1 << 13 };

void softmax_row(real_t *out, const real_t *x, size_t N, double scale) {
    double max = scale * (double)x[0];
    for (size_t n = 1; n < N; n++) {
        double v = scale * (double)x[n];
        if (v > max) max = v; /* a NaN is above nothing; it comes back in the exp below */
    }
    acc_t sum = 0;
    for (size_t n = 0; n < N; n++) {
        double e = fmath_exp(scale * (double)x[n] - max);
        out[n] = (real_t)e;
        sum += e;
    }
    for (size_t n = 0; n < N; n++) out[n] = (real_t)((acc_t)out[n] / sum);
}

void softmax(real_t *out, const real_t *x, size_t M, size_t N) {
    REQUIRE(N >= 1, "softmax: rows of N=%zu numbers have no softmax", N);
#pragma omp parallel for schedule(static) if (M * N >= PARALLEL_FROM && !omp_in_parallel())
    for (size_t m = 0; m < M; m++) softmax_row(out + m * N, x + m * N, N, 1.0);
}
