/* activations.c - the element by element functions: computed in double, rounded once.
 *
 * Three of them are easily mistaken for one another, and a picture will not tell. GEGLU and the
 * text encoders of SD v2.1 and XL use gelu with erf, not its tanh approximation; SD v1.5's text
 * encoder uses quick_gelu. */
#include <omp.h>

#include "core/fmath.h"
#include "ops/ops.h"

enum { PARALLEL_FROM = 1 << 13 };

static const double SQRT_HALF = 0.70710678118654752440; /* 1 / sqrt 2 */

static double silu_of(double x) {
    return x * fmath_sigmoid(x);
}

/* For x far below 0, 1 + erf cancels to a multiple of 2^-53 while the true value is smaller still:
 * an absolute error of at most |x| 2^-54, as in torch's double. */
static double gelu_of(double x) {
    return 0.5 * x * (1.0 + fmath_erf(x * SQRT_HALF));
}

static double quick_gelu_of(double x) {
    return x * fmath_sigmoid(1.702 * x);
}

void sigmoid(real_t *out, const real_t *x, size_t n) {
#pragma omp parallel for schedule(static) if (n >= PARALLEL_FROM && !omp_in_parallel())
    for (size_t i = 0; i < n; i++) out[i] = (real_t)fmath_sigmoid((double)x[i]);
}

void silu(real_t *out, const real_t *x, size_t n) {
#pragma omp parallel for schedule(static) if (n >= PARALLEL_FROM && !omp_in_parallel())
    for (size_t i = 0; i < n; i++) out[i] = (real_t)silu_of((double)x[i]);
}

void gelu(real_t *out, const real_t *x, size_t n) {
#pragma omp parallel for schedule(static) if (n >= PARALLEL_FROM && !omp_in_parallel())
    for (size_t i = 0; i < n; i++) out[i] = (real_t)gelu_of((double)x[i]);
}

void quick_gelu(real_t *out, const real_t *x, size_t n) {
#pragma omp parallel for schedule(static) if (n >= PARALLEL_FROM && !omp_in_parallel())
    for (size_t i = 0; i < n; i++) out[i] = (real_t)quick_gelu_of((double)x[i]);
}

void geglu(real_t *out, const real_t *x, size_t M, size_t N) {
#pragma omp parallel for schedule(static) if (M * N >= PARALLEL_FROM && !omp_in_parallel())
    for (size_t m = 0; m < M; m++) {
        const real_t *value = x + m * 2 * N, *gate = value + N;
        for (size_t n = 0; n < N; n++)
            out[m * N + n] = (real_t)((double)value[n] * gelu_of((double)gate[n]));
    }
}
