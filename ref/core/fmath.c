/* fmath.c - see fmath.h.
 *
 * Every function is a leading part that is kept as a double_double and a tail, at most a few hundredths of
 * the result, for which double is enough: the last addition rounds once (0.5 ULP), and what the tail lost
 * adds its hundredths. Coefficients and tables come from scripts/golden/fmath.py (core/fmath_tables.h):
 * polynomials that interpolate the exact function in Chebyshev's points. */
#include "core/fmath.h"

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "core/double_double.h"
#include "core/fmath_tables.h"

static uint64_t bits_of(double x) {
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* e where 2^e <= |x| < 2^(e + 1); x is a normal number */
static int exponent_of(double x) {
    return (int)(bits_of(x) >> 52 & 0x7ff) - 1023;
}

/* 2^e, -1022 <= e <= 1023 */
static double power_of_2(int e) {
    uint64_t bits = (uint64_t)(e + 1023) << 52;
    double power;
    memcpy(&power, &bits, sizeof power);
    return power;
}

/* x 2^e, -2044 <= e <= 2046: exact where the result has the digits */
static double times_power(double x, int e) {
    return x * power_of_2(e / 2) * power_of_2(e - e / 2);
}

/* ((c[n - 1] x + c[n - 2]) x + ...) x + c[0] */
static double polynomial(const double *c, int n, double x) {
    double sum = c[n - 1];
    for (int i = n - 2; i >= 0; i--) sum = sum * x + c[i];
    return sum;
}
#define POLYNOMIAL(c, x) polynomial(c, (int)(sizeof(c) / sizeof *(c)), x)

/* A number (hi + lo) 2^exponent, hi normal: exponentials below the least double keep their digits. */
typedef struct {
    dd_t part;
    int exponent;
} scaled_t;

/* Rounded once. A subnormal result is a multiple of 2^-1074: a sum with the power of two whose last place
 * that is rounds to it, with the low part counted. */
static double rounded(scaled_t x) {
    double sign = x.part.hi < 0 ? -1 : 1, hi = sign * x.part.hi, lo = sign * x.part.lo;
    if (exponent_of(hi) + x.exponent >= -1022) return sign * times_power(hi, x.exponent);
    if (exponent_of(hi) + x.exponent < -1076) return sign * 0.0;
    double big = power_of_2(-1022 - x.exponent);
    dd_t sum = dd_ordered_sum(big, hi);
    return sign * times_power((sum.hi + (sum.lo + lo)) - big, x.exponent);
}

/* ---- exp ---------------------------------------------------------------------------------------------- */

/* exp(x + low), |x| <= 800, |low| <= 2^-53 |x|.
 *
 * With n = round(x / ln 2) and r = x - n ln 2, |r| <= 0.347: exp(x) = 2^n exp(r), where
 *   exp(r) = 1 + r + r^2/2 + r^3 p(r)
 * 1 + r + r^2/2 is exact to 2^-100; the tail is at most 0.0078. ln 2 is the sum of LN2_1, LN2_2 (42 bits
 * each, so that n times them is exact) and LN2_3. The result is within 2^-58 of itself. */
static scaled_t exp_of(double x, double low) {
    const double magic =
        0x1.8p52; /* its last place is 1: a sum with it is rounded to a whole number */
    double n = (x * (1 / 0.69314718055994530942) + magic) - magic;
    dd_t r = dd_sum(x - n * LN2_1, -n * LN2_2);
    r = dd_sum(r.hi, r.lo + (low - n * LN2_3));
    dd_t square = dd_product(r.hi, r.hi);
    double cube = r.hi * square.hi * POLYNOMIAL(exp_tail, r.hi);
    dd_t a = dd_ordered_sum(1, r.hi), b = dd_ordered_sum(a.hi, square.hi / 2);
    double rest = r.lo + (square.lo / 2 + r.hi * r.lo);
    return (scaled_t){dd_ordered_sum(b.hi, cube + (a.lo + (b.lo + rest))), (int)n};
}

double fmath_exp(double x) {
    if (isnan(x)) return x;
    if (x > 709.79) return (double)INFINITY;
    if (x < -745.2) return 0;
    return rounded(exp_of(x, 0));
}

/* ---- log ---------------------------------------------------------------------------------------------- */

/* log(2^power x), x > 0 and x.hi normal.
 *
 * x = 2^k m with m in [sqrt 1/2, sqrt 2). With s = (m - 1) / (m + 1), |s| <= 0.172:
 *   log m = log((1 + s) / (1 - s)) = 2 s + s^3 p(s^2)
 * m - 1 is exact, s is kept to 2^-100; the tail is at most 0.01 of log m. Where k is not 0, the result is at
 * least 0.34 in size: nothing is lost by cancellation. */
static double log_of(dd_t x, int power) {
    int k = exponent_of(x.hi);
    if (times_power(x.hi, -k) >= 1.41421356237309504880) k++;
    double hi = times_power(x.hi, -k), lo = times_power(x.lo, -k);
    dd_t less = dd_sum(hi - 1, lo), more = dd_sum(2, less.hi);
    more.lo += less.lo;
    dd_t s = dd_quotient(less, more);
    double square = s.hi * s.hi, tail = s.hi * square * POLYNOMIAL(log_tail, square);
    double n = k + power;
    dd_t sum = dd_sum(n * LN2_1, 2 * s.hi);
    return sum.hi + (sum.lo + (n * LN2_2 + (2 * s.lo + tail)));
}

double fmath_log(double x) {
    if (isnan(x)) return x;
    if (x <= 0) return x < 0 ? (double)NAN : -(double)INFINITY;
    if (isinf(x)) return x;
    if (x < 0x1p-1022) return log_of((dd_t){x * 0x1p54, 0}, -54);
    return log_of((dd_t){x, 0}, 0);
}

double fmath_log1p(double x) {
    if (isnan(x)) return x;
    if (x <= -1) return x < -1 ? (double)NAN : -(double)INFINITY;
    if (isinf(x) || fabs(x) < 0x1p-54) return x; /* x - x^2/2 */
    return log_of(dd_sum(1, x), 0);
}

/* ---- sin, cos ----------------------------------------------------------------------------------------- */

/* 64 bits of a number in words of 32, lowest first, from bit `at`. */
static uint64_t window(const uint32_t *word, int at) {
    const uint32_t *from = word + at / 32;
    int shift = at % 32;
    uint64_t low = (uint64_t)from[1] << 32 | from[0];
    return shift ? low >> shift | (uint64_t)from[2] << (64 - shift) : low;
}

/* product = m times the WORDS words of 2 / pi from word `first`, lowest word first. */
enum { WORDS = 7, PRODUCT = WORDS + 4 };
static void times_two_over_pi(uint32_t product[PRODUCT], uint64_t m, int first) {
    memset(product, 0, PRODUCT * sizeof *product);
    for (int i = 0; i < 2; i++) {
        uint64_t carry = 0, half = m >> 32 * i & 0xffffffffu;
        for (int j = 0; j < WORDS; j++) {
            carry += half * two_over_pi[first + WORDS - 1 - j] + product[i + j];
            product[i + j] = (uint32_t)carry;
            carry >>= 32;
        }
        product[i + WORDS] = (uint32_t)carry;
    }
}

/* The fraction (high 2^64 + low) 2^-128, at least 2^-64 */
static dd_t fraction(uint64_t high, uint64_t low) {
    int zeros = 0;
    for (; zeros < 63 && !(high >> 63); zeros++) {
        high = high << 1 | low >> 63;
        low <<= 1;
    }
    double hi = (double)(high >> 11), lo = (double)((high & 0x7ff) << 42 | low >> 22);
    return dd_ordered_sum(hi * power_of_2(-53 - zeros), lo * power_of_2(-106 - zeros));
}

/* r with x = n pi/2 + r, |r| <= pi/4, and n mod 4; x > 1/2.
 *
 * In whole numbers (Payne & Hanek 1983, "Radian reduction for trigonometric functions"): x = m 2^e with m
 * below 2^53, and y = x 2 / pi = n + f. Bits of 2 / pi that give multiples of 4 are left out, and those
 * below the next 7 words of 32 bits add less than 2^-137. No double is nearer to a multiple of pi/2 than
 * 2^-62, so that f has 66 bits or more of the 128 that are taken. */
static dd_t reduced(double x, unsigned *quadrant) {
    int e = exponent_of(x) - 52, first = e >= 2 ? (e - 2) / 32 : 0;
    uint64_t m = (bits_of(x) & 0xfffffffffffffu) | 1ull << 52;
    uint32_t product[PRODUCT];
    times_two_over_pi(product, m, first);
    int point = 32 * (first + WORDS) - e; /* so many bits stand behind the point */
    uint64_t high = window(product, point - 64), low = window(product, point - 128);
    bool above_half = high >> 63;
    *quadrant = ((unsigned)window(product, point) + above_half) & 3;
    if (above_half) {
        low = 0 - low;
        high = ~high + (low == 0);
    }
    dd_t f = dd_times(fraction(high, low), PI_2);
    return above_half ? (dd_t){-f.hi, -f.lo} : f;
}

/* sin r = r - r^3/6 + r^5 p(r^2), |r| <= pi/4: the tail is at most 0.004 of it */
static double sine_of(dd_t r) {
    dd_t square = dd_times(r, r), cube = dd_times(dd_times(r, square), MINUS_SIXTH);
    double tail = r.hi * (square.hi * square.hi) * POLYNOMIAL(sin_tail, square.hi);
    dd_t sum = dd_ordered_sum(r.hi, cube.hi);
    return sum.hi + (sum.lo + (r.lo + (cube.lo + tail)));
}

/* cos r = 1 - r^2/2 + r^4 p(r^2), |r| <= pi/4: the tail is at most 0.023 of it */
static double cosine_of(dd_t r) {
    dd_t square = dd_times(r, r), sum = dd_ordered_sum(1, -square.hi / 2);
    double tail = square.hi * square.hi * POLYNOMIAL(cos_tail, square.hi);
    return sum.hi + (sum.lo + (tail - square.lo / 2));
}

/* sin(|x| + shift pi/2) */
static double sine_shifted(double x, unsigned shift) {
    unsigned quadrant = 0;
    dd_t r = {fabs(x), 0};
    if (r.hi > 0.785) r = reduced(r.hi, &quadrant);
    quadrant = (quadrant + shift) & 3;
    double value = quadrant & 1 ? cosine_of(r) : sine_of(r);
    return quadrant & 2 ? -value : value;
}

double fmath_sin(double x) {
    if (isnan(x)) return x;
    if (isinf(x)) return (double)NAN;
    if (fabs(x) < 0x1p-30) return x; /* x - x^3/6 */
    return x < 0 ? -sine_shifted(x, 0) : sine_shifted(x, 0);
}

double fmath_cos(double x) {
    if (isnan(x)) return x;
    if (isinf(x)) return (double)NAN;
    if (fabs(x) < 0x1p-30) return 1; /* 1 - x^2/2 */
    return sine_shifted(x, 1);
}

/* ---- erf, erfc ---------------------------------------------------------------------------------------- */

/* exp(z^2) erfc(z), 0 <= z < 28: falls slowly from 1 as 1 / (z sqrt pi).
 *
 * z = 2^e y. Each sixteenth of y in [0, 1) (e = 0) and in [1, 2) has a polynomial of its own in the
 * distance h from the middle, |h| <= 1/32, whose first coefficient is a double_double; the others give 0.04
 * of the value at most. Within 2^-57 of itself. */
static dd_t erfcx_of(dd_t z) {
    int e = z.hi < 1 ? 0 : exponent_of(z.hi);
    double scale = power_of_2(-e), y = z.hi * scale;
    int sixteenth = (int)(16 * y);
    double h = (y - (sixteenth + 0.5) / 16) + z.lo * scale;
    const double *c = erfcx_row[16 * e + sixteenth];
    return dd_ordered_sum(c[0], c[1] + h * polynomial(c + 2, ERFCX_COLUMNS - 2, h));
}

/* erfc(z), 0 <= z < 28; square is z^2. */
static scaled_t erfc_of(dd_t z, dd_t square) {
    scaled_t e = exp_of(-square.hi, -square.lo);
    return (scaled_t){dd_times(e.part, erfcx_of(z)), e.exponent};
}

/* 2 - x for x in 0..1 */
static dd_t two_less(scaled_t x) {
    dd_t sum = dd_ordered_sum(2, -times_power(x.part.hi, x.exponent));
    return dd_ordered_sum(sum.hi, sum.lo - times_power(x.part.lo, x.exponent));
}

double fmath_erfc(double x) {
    if (isnan(x)) return x;
    if (fabs(x) >= 28) return x < 0 ? 2 : 0;
    double z = fabs(x);
    scaled_t value = erfc_of((dd_t){z, 0}, dd_product(z, z));
    return x < 0 ? two_less(value).hi : rounded(value);
}

/* erf x = 2 / sqrt pi (x - x^3/3) + x^5 p(x^2), 2^-30 <= x < 1/2: the tail is at most 0.006 of it */
static double erf_near_0(double x) {
    dd_t square = dd_product(x, x), first = dd_times(TWO_OVER_ROOT_PI, (dd_t){x, 0});
    dd_t third = dd_times(dd_times(square, (dd_t){x, 0}), ERF_THIRD);
    double tail = x * (square.hi * square.hi) * POLYNOMIAL(erf_tail, square.hi);
    dd_t sum = dd_ordered_sum(first.hi, third.hi);
    return sum.hi + (sum.lo + (first.lo + (third.lo + tail)));
}

double fmath_erf(double x) {
    double z = fabs(x), value = 1;
    if (isnan(x) || x == 0) return x;
    if (z < 0x1p-30) {
        value = rounded((scaled_t){dd_times(TWO_OVER_ROOT_PI, (dd_t){z * 0x1p600, 0}), -600});
    } else if (z < 0.5) {
        value = erf_near_0(z);
    } else if (z < 6) {
        dd_t less = two_less(erfc_of((dd_t){z, 0}, dd_product(z, z)));
        value = (less.hi - 1) + less.lo;
    }
    return x < 0 ? -value : value;
}

/* ---- activations -------------------------------------------------------------------------------------- */

/* 1 / (1 + exp(-x)), |x| <= 1400. The exponential is taken of -|x|: nothing overflows. */
static scaled_t sigmoid_of(dd_t x) {
    bool negative = x.hi < 0;
    scaled_t e = negative ? exp_of(x.hi, x.lo) : exp_of(-x.hi, -x.lo);
    dd_t below = dd_ordered_sum(1, times_power(e.part.hi, e.exponent));
    below.lo += times_power(e.part.lo, e.exponent);
    if (negative) return (scaled_t){dd_quotient(e.part, below), e.exponent};
    return (scaled_t){dd_quotient((dd_t){1, 0}, below), 0};
}

double fmath_sigmoid(double x) {
    if (isnan(x)) return x;
    if (x > 40) return 1;
    if (x < -746) return 0;
    return rounded(sigmoid_of((dd_t){x, 0}));
}

double fmath_gated(double x, double slope) {
    if (isnan(x) || x > 40) return x;
    if (x < -760) return -0.0;
    if (fabs(x) < 0x1p-60) return x / 2;
    scaled_t value = sigmoid_of(dd_product(slope, x));
    return rounded((scaled_t){dd_times(value.part, (dd_t){x, 0}), value.exponent});
}

double fmath_gelu(double x) {
    if (isnan(x) || x > 10) return x;
    if (x < -39.5) return -0.0;
    if (fabs(x) < 0x1p-60) return x / 2;
    dd_t square = dd_product(x, x), half = {x / 2, 0};
    scaled_t tail =
        erfc_of(dd_times((dd_t){fabs(x), 0}, SQRT_HALF), (dd_t){square.hi / 2, square.lo / 2});
    scaled_t factor = x < 0 ? tail : (scaled_t){two_less(tail), 0};
    return rounded((scaled_t){dd_times(factor.part, half), factor.exponent});
}

double fmath_hypot(double a, double b) {
    double most = fabs(a) > fabs(b) ? fabs(a) : fabs(b),
           least = fabs(a) > fabs(b) ? fabs(b) : fabs(a);
    if (isinf(a) || isinf(b)) return (double)INFINITY;
    if (!(most > 0)) return a + b;
    double ratio = least / most;
    return most * sqrt(1 + ratio * ratio);
}
