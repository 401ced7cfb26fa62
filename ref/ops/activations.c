/* activations.c - the element by element functions: computed in double, rounded once.
 *
 * Three of them are easily mistaken for one another, and a picture will not tell. GEGLU and the
 * text encoders of SD v2.1 and XL use gelu with erf, not its tanh approximation; SD v1.5's text
 * encoder uses quick_gelu.
 *
 * Each is a loop over a piece of the numbers that one thread takes; core/vmath.h says how exp and erfc
 * come about. */
#include <omp.h>

#include "core/vectorised.h"
#include "core/vmath.h"
#include "ops/ops.h"

enum { PARALLEL_FROM = 1 << 13, PIECE = 1 << 12 };

static const double SQRT_HALF = 0.70710678118654752440; /* 1 / sqrt 2 */

static inline double silu_of(double x) {
    return x * vmath_sigmoid(x);
}

/* 1 + erf(y) = erfc(-y), without the cancellation for x far below 0 that torch's 1 + erf has. */
static inline double gelu_of(double x) {
    double tail = vmath_erfc(SQRT_HALF * (x < 0 ? -x : x));
    return 0.5 * x * (x < 0 ? tail : 2 - tail);
}

static inline double quick_gelu_of(double x) {
    return x * vmath_sigmoid(1.702 * x);
}

VECTORISED static void sigmoid_piece(real_t *out, const real_t *x, size_t n) {
    for (size_t i = 0; i < n; i++) out[i] = (real_t)vmath_sigmoid((double)x[i]);
}

VECTORISED static void silu_piece(real_t *out, const real_t *x, size_t n) {
    for (size_t i = 0; i < n; i++) out[i] = (real_t)silu_of((double)x[i]);
}

VECTORISED static void gelu_piece(real_t *out, const real_t *x, size_t n) {
    for (size_t i = 0; i < n; i++) out[i] = (real_t)gelu_of((double)x[i]);
}

VECTORISED static void quick_gelu_piece(real_t *out, const real_t *x, size_t n) {
    for (size_t i = 0; i < n; i++) out[i] = (real_t)quick_gelu_of((double)x[i]);
}

VECTORISED static void geglu_row(real_t *out, const real_t *value, const real_t *gate, size_t n) {
    for (size_t i = 0; i < n; i++) out[i] = (real_t)((double)value[i] * gelu_of((double)gate[i]));
}

typedef void piece_t(real_t *out, const real_t *x, size_t n);

static void each(piece_t *piece, real_t *out, const real_t *x, size_t n) {
#pragma omp parallel for schedule(static) if (n >= PARALLEL_FROM && !omp_in_parallel())
    for (size_t i = 0; i < n; i += PIECE) piece(out + i, x + i, n - i < PIECE ? n - i : PIECE);
}

void sigmoid(real_t *out, const real_t *x, size_t n) {
    each(sigmoid_piece, out, x, n);
}

void silu(real_t *out, const real_t *x, size_t n) {
    each(silu_piece, out, x, n);
}

void gelu(real_t *out, const real_t *x, size_t n) {
    each(gelu_piece, out, x, n);
}

void quick_gelu(real_t *out, const real_t *x, size_t n) {
    each(quick_gelu_piece, out, x, n);
}

void geglu(real_t *out, const real_t *x, size_t M, size_t N) {
#pragma omp parallel for schedule(static) if (M * N >= PARALLEL_FROM && !omp_in_parallel())
    for (size_t m = 0; m < M; m++) {
        const real_t *value = x + m * 2 * N, *gate = value + N;
        geglu_row(out + m * N, value, gate, N);
    }
}
