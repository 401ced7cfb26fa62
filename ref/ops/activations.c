/* activations.c - the element by element functions: computed in double, rounded once.
 *
 * Three of them are easily mistaken for one another, and a picture will not tell. GEGLU and the
 * text encoders of SD v2.1 and XL use gelu with erf, not its tanh approximation; SD v1.5's text
 * encoder uses quick_gelu.
 *
 * Each is a loop over a piece of the numbers that one thread takes. At -Inf silu, gelu and quick_gelu give
 * their limit, -0, where -Inf times a sigmoid of 0 has no value: arguments are held within bounds beyond
 * which nothing changes. */
#include <omp.h>

#include "core/fmath.h"
#include "core/vectorised.h"
#include "core/vmath.h"
#include "ops/ops.h"

enum { PARALLEL_FROM = 1 << 13, PIECE = 1 << 12 };

#ifdef MOLE_F64
/* The truth that others are held against: within 0.6 ULP, number by number. */
static double sigmoid_of(double x) {
    return fmath_sigmoid(x);
}

static double gated_of(double x, double slope) {
    return fmath_gated(x, slope);
}

static double gelu_of(double x) {
    return fmath_gelu(x);
}
#else
/* In double to 2^-33 at least, so that the float is within 0.51 ULP; core/vmath.h says how. */
static const double SQRT_HALF = 0.70710678118654752440; /* 1 / sqrt 2 */

/* Not above, not below; NaN stays NaN. */
static inline float at_most(float x, float most) {
    return x > most ? most : x;
}
static inline float at_least(float x, float least) {
    return x < least ? least : x;
}

static inline double sigmoid_of(float x) {
    return vmath_sigmoid((double)at_most(at_least(x, -200), 200));
}

/* x sigmoid(slope x) */
static inline double gated_of(float x, double slope) {
    float c = at_least(x, -200);
    return (double)c * vmath_sigmoid(slope * (double)at_most(c, 200));
}

/* 1 + erf(y) = erfc(-y), without the cancellation for x far below 0 that torch's 1 + erf has. */
static inline double gelu_of(float x) {
    float c = at_least(x, -20), size = at_most(c < 0 ? -c : c, 20);
    double tail = vmath_erfc(SQRT_HALF * (double)size);
    return 0.5 * (double)c * (c < 0 ? tail : 2 - tail);
}
#endif

static const double QUICK = 1.702;

/* x sigmoid(x) = x / (1 + exp(-x)) */
static inline double silu_of(real_t x) {
    return gated_of(x, 1);
}

static inline double quick_gelu_of(real_t x) {
    return gated_of(x, QUICK);
}

VECTORISED static void sigmoid_piece(real_t *out, const real_t *x, size_t n) {
    for (size_t i = 0; i < n; i++) out[i] = (real_t)sigmoid_of(x[i]);
}

VECTORISED static void silu_piece(real_t *out, const real_t *x, size_t n) {
    for (size_t i = 0; i < n; i++) out[i] = (real_t)silu_of(x[i]);
}

VECTORISED static void gelu_piece(real_t *out, const real_t *x, size_t n) {
    for (size_t i = 0; i < n; i++) out[i] = (real_t)gelu_of(x[i]);
}

VECTORISED static void quick_gelu_piece(real_t *out, const real_t *x, size_t n) {
    for (size_t i = 0; i < n; i++) out[i] = (real_t)quick_gelu_of(x[i]);
}

VECTORISED static void geglu_row(real_t *out, const real_t *value, const real_t *gate, size_t n) {
    for (size_t i = 0; i < n; i++) out[i] = (real_t)((double)value[i] * gelu_of(gate[i]));
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
