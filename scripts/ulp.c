/* ulp.c - how far are the elementary functions from their values, in units of the last place (ULP)?
 *
 * ulp [SAMPLES [STRIDE]]      of float64, per function (default 1000000; 0: none); of float32 every STRIDE-th
 * (default 1)
 *
 * float64 (core/fmath.h): random arguments, a third each evenly over where the function changes, by orders of
 * magnitude, and of any bits; against MPFR with 200 bits. float32 (the operations of ops/ops.h): all 2^32
 * floats against long double, with series where an argument is tiny and limits where it is far out, good to
 * 2^-55 (which 20,000 arguments of each function are held to by MPFR); the worst argument is measured again
 * by MPFR. Prints the table of docs/ulp.txt; status 1 where float64 is not within 0.6 ULP or float32 not
 * within 0.51. */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <mpfr.h>

#include "core/fmath.h"
#include "ops/ops.h"

enum { BITS = 200, BLOCK = 1 << 12, CHECKED = 20000 };

/* ---- values by MPFR --------------------------------------------------------------------------------- */

/* out = 1 / (1 + exp(-slope x)) */
static void sigmoid_by_mpfr(mpfr_t out, const mpfr_t x, double slope) {
    mpfr_mul_d(out, x, -slope, MPFR_RNDN);
    mpfr_exp(out, out, MPFR_RNDN);
    mpfr_add_ui(out, out, 1, MPFR_RNDN);
    mpfr_ui_div(out, 1, out, MPFR_RNDN);
}

static void gelu_by_mpfr(mpfr_t out, const mpfr_t x) {
    mpfr_t z;
    mpfr_init2(z, BITS);
    mpfr_sqrt_ui(z, 2, MPFR_RNDN);
    mpfr_div(z, x, z, MPFR_RNDN);
    mpfr_neg(z, z, MPFR_RNDN);
    mpfr_erfc(out, z, MPFR_RNDN);
    mpfr_mul(out, out, x, MPFR_RNDN);
    mpfr_div_ui(out, out, 2, MPFR_RNDN);
    mpfr_clear(z);
}

typedef enum { EXP, LOG, LOG1P, SIN, COS, ERF, ERFC, SIGMOID, SILU, GELU, QUICK_GELU } function_t;

static void by_mpfr(mpfr_t out, function_t f, const mpfr_t x) {
    switch (f) {
    case EXP: mpfr_exp(out, x, MPFR_RNDN); break;
    case LOG: mpfr_log(out, x, MPFR_RNDN); break;
    case LOG1P: mpfr_log1p(out, x, MPFR_RNDN); break;
    case SIN: mpfr_sin(out, x, MPFR_RNDN); break;
    case COS: mpfr_cos(out, x, MPFR_RNDN); break;
    case ERF: mpfr_erf(out, x, MPFR_RNDN); break;
    case ERFC: mpfr_erfc(out, x, MPFR_RNDN); break;
    case GELU: gelu_by_mpfr(out, x); break;
    case SIGMOID: sigmoid_by_mpfr(out, x, 1); break;
    case SILU:
    case QUICK_GELU:
        sigmoid_by_mpfr(out, x, f == SILU ? 1 : 1.702);
        mpfr_mul(out, out, x, MPFR_RNDN);
    }
}

/* |got - f(x)| in units of the last place that f(x) has among numbers of `places` bits down to 2^least */
static double error_by_mpfr(function_t f, double x, double got, int places, int least) {
    mpfr_t argument, value;
    mpfr_inits2(BITS, argument, value, (mpfr_ptr)0);
    mpfr_set_d(argument, x, MPFR_RNDN);
    by_mpfr(value, f, argument);
    long last = mpfr_zero_p(value) ? least : mpfr_get_exp(value) - places;
    if (last < least) last = least;
    mpfr_sub_d(value, value, got, MPFR_RNDN);
    mpfr_mul_2si(value, value, -last, MPFR_RNDN);
    double error = fabs(mpfr_get_d(value, MPFR_RNDN));
    mpfr_clears(argument, value, (mpfr_ptr)0);
    return error;
}

/* ---- float64 ---------------------------------------------------------------------------------------- */

static double silu_f64(double x) {
    return fmath_gated(x, 1);
}

static double quick_gelu_f64(double x) {
    return fmath_gated(x, 1.702);
}

/* Where results are finite and not 0; where the function changes. */
static const struct {
    const char *name;
    double (*of)(double);
    double low, high, from, to;
} wide[] = {
    [EXP] = {"exp", fmath_exp, -745.13, 709.78, -745.13, 709.78},
    [LOG] = {"log", fmath_log, 0x1p-1074, 0x1.fp1023, 0.1, 10},
    [LOG1P] = {"log1p", fmath_log1p, -0x1.fffffffffffffp-1, 0x1.fp1023, -1, 10},
    [SIN] = {"sin", fmath_sin, -0x1.fp1023, 0x1.fp1023, -1000, 1000},
    [COS] = {"cos", fmath_cos, -0x1.fp1023, 0x1.fp1023, -1000, 1000},
    [ERF] = {"erf", fmath_erf, -6.5, 6.5, -6, 6},
    [ERFC] = {"erfc", fmath_erfc, -6.5, 27.22, -6, 27.22},
    [SIGMOID] = {"sigmoid", fmath_sigmoid, -745.13, 45, -745.13, 40},
    [SILU] = {"silu", silu_f64, -751, 45, -751, 40},
    [GELU] = {"gelu", fmath_gelu, -38.5, 11, -38.5, 10},
    [QUICK_GELU] = {"quick_gelu", quick_gelu_f64, -441, 45, -441, 40},
};
enum { FUNCTIONS = sizeof wide / sizeof *wide };

/* Steele, Lea & Flood 2014, "Fast splittable pseudorandom number generators": SplitMix64 */
static uint64_t next(uint64_t *state) {
    uint64_t z = *state += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

static double argument(function_t f, uint64_t *state, size_t i) {
    for (;;) {
        uint64_t bits = next(state);
        double x, share = (double)(next(state) >> 11) * 0x1p-53;
        if (i % 3 == 0)
            x = wide[f].from + share * (wide[f].to - wide[f].from);
        else if (i % 3 == 1)
            x = ldexp((bits & 1 ? 1 : -1) * (1 + share), (int)(bits >> 1 & 63) - 48);
        else
            memcpy(&x, &bits, sizeof x);
        if (x >= wide[f].low && x <= wide[f].high && x != 0) return x;
    }
}

static int measure_wide(function_t f, size_t samples) {
    uint64_t state = (uint64_t)f;
    double worst = 0, at = 0;
    for (size_t i = 0; i < samples; i++) {
        double x = argument(f, &state, i);
        double error = error_by_mpfr(f, x, wide[f].of(x), 53, -1074);
        if (error > worst) {
            worst = error;
            at = x;
        }
    }
    printf("| %s | float64 | %zu, random | %.4f | %a |\n", wide[f].name, samples, worst, at);
    fflush(stdout);
    return worst > 0.6;
}

/* ---- float32 ---------------------------------------------------------------------------------------- */

/* Of |x| below 2^-30 a series of two terms, beyond 150 the limit; else by libm. */
static long double by_long_double(function_t f, long double x) {
    long double slope = f == QUICK_GELU ? 1.702 : 1;
    long double tiny = f == SIGMOID ? 0.25L : f == GELU ? 0.398942280401432677939946L : slope / 4;
    if (fabsl(x) < 0x1p-30L) return f == SIGMOID ? 0.5L + tiny * x : x / 2 + tiny * x * x;
    if (x > 150) return f == SIGMOID ? 1 : x;
    if (x < -150) return 0; /* below 2^-200 */
    if (f == GELU) return x / 2 * erfcl(-x * 0.707106781186547524400844362104849L);
    return (f == SIGMOID ? 1 : x) / (1 + expl(-slope * x));
}

/* 2^-last, where `last` is the exponent of the last place of a float of that size */
static long double places_of(long double value) {
    int exponent;
    frexpl(value, &exponent);
    return ldexpl(1, exponent - 24 < -149 ? 149 : 24 - exponent);
}

static float float_of(uint64_t bits) {
    uint32_t word = (uint32_t)bits;
    float x;
    memcpy(&x, &word, sizeof x);
    return x;
}

/* The oracle itself; arguments where the value is a float other than 0 and 1. */
static void check_oracle(function_t f) {
    uint64_t state = 1;
    for (int i = 0; i < CHECKED; i++) {
        double x = (double)(float)ldexp((next(&state) & 1 ? 1 : -1) *
                                            (1 + (double)(next(&state) >> 40) * 0x1p-24),
                                        (int)(next(&state) % 40) - 34);
        long double value = by_long_double(f, (long double)x);
        if (fabsl(value) < 0x1p-149L) continue;
        double hi = (double)
            value; /* long double as two doubles: MPFR measures the first, the rest is exact */
        double error = error_by_mpfr(f, x, hi, 53, -1074);
        if (error > 0.75) {
            fprintf(stderr, "ulp: long double gives another %s(%a) than MPFR\n", wide[f].name, x);
            exit(1);
        }
    }
}

typedef struct {
    double worst;
    float at;
    uint64_t count;
} found_t;

/* STRIDE-th floats from `first`, BLOCK of them. NaN and Inf have no error here. */
static void measure_block(function_t f, void (*of)(float *, const float *, size_t), uint64_t first,
                          uint64_t stride, found_t *found) {
    float x[BLOCK] = {0}, out[BLOCK];
    size_t n = 0;
    for (; n < BLOCK && first + n * stride < 1ull << 32; n++) x[n] = float_of(first + n * stride);
    of(out, x, n);
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(x[i])) continue;
        long double value = by_long_double(f, (long double)x[i]);
        double error = (double)(fabsl((long double)out[i] - value) * places_of(value));
        found->count++;
        if (!(error <= found->worst)) {
            found->worst = error;
            found->at = x[i];
        }
    }
}

static int measure_narrow(function_t f, void (*of)(float *, const float *, size_t),
                          uint64_t stride) {
    found_t all = {0};
    check_oracle(f);
#pragma omp parallel for schedule(dynamic, 64)
    for (uint64_t block = 0; block < (1ull << 32) / stride / BLOCK + 1; block++) {
        found_t found = {0};
        measure_block(f, of, block * BLOCK * stride, stride, &found);
#pragma omp critical
        {
            all.count += found.count;
            if (!(found.worst <= all.worst)) {
                all.worst = found.worst;
                all.at = found.at;
            }
        }
    }
    float out;
    of(&out, &all.at, 1);
    double again = error_by_mpfr(f, (double)all.at, (double)out, 24, -149);
    printf("| %s | float32 | %llu%s | %.4f | %a |\n", wide[f].name, (unsigned long long)all.count,
           stride == 1 ? ", all that are finite" : "", again, (double)all.at);
    fflush(stdout);
    return !(again <= 0.51) || fabs(again - all.worst) > 0x1p-20;
}

int main(int argc, char **argv) {
    size_t samples = argc > 1 ? strtoull(argv[1], NULL, 10) : 1000000;
    uint64_t stride = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    int failed = 0;
    if (stride == 0) stride = 1;
    printf("| function | type | arguments | worst error, ULP | at |\n|---|---|---|---|---|\n");
    for (int f = 0; samples && f < FUNCTIONS; f++) failed |= measure_wide((function_t)f, samples);
    failed |= measure_narrow(SIGMOID, sigmoid, stride) | measure_narrow(SILU, silu, stride) |
              measure_narrow(GELU, gelu, stride) | measure_narrow(QUICK_GELU, quick_gelu, stride);
    return failed;
}
