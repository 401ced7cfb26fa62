/* softmax.c - softmax over the last dimension: the definition, then the fast form.
 *
 * Numerical notes. Subtracting the maximum changes nothing but that exp cannot overflow. The maximum is
 * subtracted before the scale is applied, which is exact for the numbers that matter, those near it;
 * torch scales first. */
#include <math.h>
#include <omp.h>

#include "core/err.h"
#include "core/fmath.h"
#include "core/vectorised.h"
#include "core/vmath.h"
#include "ops/definition.h"
#include "ops/softmax_row.h"

void softmax_definition(real_t *out, const real_t *x, size_t M, size_t N) {
    for (size_t m = 0; m < M; m++, out += N, x += N) {
        double sum = 0;
        real_t most = x[0];
        for (size_t n = 1; n < N; n++)
            if (x[n] > most) most = x[n];
        for (size_t n = 0; n < N; n++) sum += fmath_exp((double)x[n] - (double)most);
        for (size_t n = 0; n < N; n++)
            out[n] = (real_t)(fmath_exp((double)x[n] - (double)most) / sum);
    }
}

/* The fast form: the exponentials are of type real_t, their sum is in double, in LANES interleaved parts, an
 * order that is the same on every machine. */

enum { PARALLEL_FROM = 1 << 13, LANES = 16 };

/* The largest of sign * x; in which order it is looked for does not matter. A NaN is above nothing; it
 * comes back in the exponentials. */
VECTORISED static real_t largest(const real_t *x, size_t N, real_t sign) {
    real_t most = sign * x[0];
#pragma omp simd reduction(max : most)
    for (size_t n = 1; n < N; n++) most = sign * x[n] > most ? sign * x[n] : most;
    return most;
}

/* out[n] = exp(scale (sign x[n] - most)), scale >= 0 */
VECTORISED static void exponentials(real_t *out, const real_t *x, size_t N, real_t sign,
                                    real_t most, real_t scale) {
    for (size_t n = 0; n < N; n++) out[n] = vmath_exp(scale * (sign * x[n] - most));
}

VECTORISED static double sum_of(const real_t *x, size_t N) {
    double lane[LANES] = {0}, sum = 0;
    size_t n = 0;
    for (; n + LANES <= N; n += LANES)
        for (size_t l = 0; l < LANES; l++) lane[l] += (double)x[n + l];
    for (; n < N; n++) sum += (double)x[n];
    for (size_t l = 0; l < LANES; l++) sum += lane[l];
    return sum;
}

double softmax_row(real_t *out, const real_t *x, size_t N, double scale) {
    real_t sign = scale < 0 ? -1 : 1;
    exponentials(out, x, N, sign, largest(x, N, sign), (real_t)fabs(scale));
    return sum_of(out, N);
}

VECTORISED static void divide(real_t *x, size_t N, double by) {
    for (size_t n = 0; n < N; n++) x[n] = (real_t)((double)x[n] / by);
}

void softmax_divide(real_t *x, size_t N, double sum) {
    divide(x, N, sum);
}

void softmax(real_t *out, const real_t *x, size_t M, size_t N) {
    REQUIRE(N >= 1, "softmax: rows of N=%zu numbers have no softmax", N);
#pragma omp parallel for schedule(static) if (M * N >= PARALLEL_FROM && !omp_in_parallel())
    for (size_t m = 0; m < M; m++)
        softmax_divide(out + m * N, N, softmax_row(out + m * N, x + m * N, N, 1));
}
