/* sigmoid, silu, gelu, quick_gelu, geglu: against the slow oracle, densely where the three kinds of
 * gelu part, and far out where something might overflow. */
#include <math.h>

#include "../fixture.h"
#include "../slow.h"
#include "ops/ops.h"

enum { DENSE = 4001, FAR = 10, COUNT = DENSE + FAR };

/* What core/vmath.h promises of erfc, beside the rounding of the result; in float64 what the oracle is good
 * to. */
static const double GELU = sizeof(real_t) == sizeof(float) ? 0x1p-33 : 6 * UNIT64;

/* -10 to 10 in steps of 1/200, then the far ends. */
static double *arguments(void) {
    static const double far[FAR] = {-1000, -90,      -40,   40,     90,
                                    1000,  INFINITY, 1e-30, -1e-30, (double)NAN};
    double *x = fixture_bytes(COUNT * sizeof *x);
    for (int i = 0; i < DENSE; i++) x[i] = (double)((float)(i - DENSE / 2) / 200.0f);
    for (size_t i = 0; i < FAR; i++) x[DENSE + i] = (double)(float)far[i];
    return x;
}

static void check(void (*fast)(real_t *, const real_t *, size_t), double (*slow)(double),
                  const char *name) {
    double *x = arguments(), *truth = fixture_bytes(COUNT * sizeof *truth);
    double *size = fixture_bytes(COUNT * sizeof *size);
    for (size_t i = 0; i < COUNT; i++) {
        truth[i] = slow(x[i]);
        /* An argument of exp or erf is off by its last bit, which magnifies into |x| bits of the
         * result; and 1 + erf(x) is good to 2^-53, not to its own last bit, for x far below 0. */
        size[i] = fabs(truth[i]) * (1 + fabs(x[i])) + (fast == gelu ? fabs(x[i]) : 0);
    }
    real_t *in = fixture_reals(x, COUNT), *out = fixture_blank(COUNT);
    fast(out, in, COUNT);
    double spread = fast == gelu ? GELU : 4 * UNIT64;
    fixture_close(fixture_doubles(out, COUNT), truth, size, spread, COUNT, "%s", name);
    fast(in, in, COUNT);
    for (size_t i = 0; i < COUNT; i++)
        assert_true(in[i] == out[i] || (isnan(in[i]) && isnan(out[i])));
}

static void sigmoid_equals_slow(void **state) {
    (void)state;
    check(sigmoid, slow_sigmoid, "sigmoid");
}
static void silu_equals_slow(void **state) {
    (void)state;
    check(silu, slow_silu, "silu");
}
static void gelu_equals_slow(void **state) {
    (void)state;
    check(gelu, slow_gelu, "gelu");
}
static void quick_gelu_equals_slow(void **state) {
    (void)state;
    check(quick_gelu, slow_quick_gelu, "quick_gelu");
}

static void geglu_equals_slow(void **state) {
    static const size_t sizes[][2] = {{1, 1}, {1, 7}, {5, 1}, {6, 33}, {40, 640}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        size_t M = sizes[i][0], N = sizes[i][1];
        double *x = fixture_random(M * 2 * N, 1, 4), *truth = fixture_bytes(M * N * sizeof *truth);
        double *size = fixture_bytes(M * N * sizeof *size);
        slow_geglu(truth, x, M, N);
        for (size_t j = 0; j < M * N; j++) size[j] = 16;
        real_t *out = fixture_blank(M * N);
        geglu(out, fixture_reals(x, M * 2 * N), M, N);
        fixture_close(fixture_doubles(out, M * N), truth, size, GELU, M * N, "geglu %zux%zu", M, N);
        fixture_free(state);
    }
}

/* Known values, so that oracle and operation cannot be wrong together: torch 2.13, float64. */
static void torch_values(void **state) {
    (void)state;
    real_t x[3] = {-1, 0.5, 3}, out[3];
    const double gelus[3] = {-0.15865525393145702, 0.34573123063700656, 2.99595030590511};
    const double quick[3] = {-0.1542042340671787, 0.35038843660638014, 2.981928690292214};
    const double silus[3] = {-0.2689414213699951, 0.3112296656009273, 2.8577223804672998};
    gelu(out, x, 3);
    for (size_t i = 0; i < 3; i++) assert_true(fabs((double)out[i] - gelus[i]) < 4 * UNIT);
    quick_gelu(out, x, 3);
    for (size_t i = 0; i < 3; i++) assert_true(fabs((double)out[i] - quick[i]) < 4 * UNIT);
    silu(out, x, 3);
    for (size_t i = 0; i < 3; i++) assert_true(fabs((double)out[i] - silus[i]) < 4 * UNIT);
}

/* Their limits; torch has NaN for -Inf. */
static void at_infinity(void **state) {
    static void (*const of[])(real_t *, const real_t *, size_t) = {silu, gelu, quick_gelu, sigmoid};
    real_t x[4] = {-(real_t)INFINITY, (real_t)INFINITY, (real_t)NAN, -50000}, out[4];
    (void)state;
    for (int i = 0; i < 4; i++) {
        of[i](out, x, 4);
        assert_true(out[0] == 0 && out[3] == 0 && isnan(out[2]));
        assert_true(of[i] == sigmoid ? out[1] == 1 && !signbit(out[0])
                                     : out[1] == x[1] && signbit(out[0]) && signbit(out[3]));
    }
    real_t two[2] = {2, -(real_t)INFINITY};
    geglu(out, two, 1, 1);
    assert_true(out[0] == 0 && signbit(out[0]));
}

#ifndef MOLE_F64
/* In units of the last place of a float of that size. */
static double ulps_off(float got, long double truth) {
    int exponent;
    frexpl(truth, &exponent);
    int last = exponent - 24 < -149 ? -149 : exponent - 24;
    return (double)ldexpl(fabsl((long double)got - truth), -last);
}

static long double true_sigmoid(long double x) {
    return 1 / (1 + expl(-x));
}
static long double true_silu(long double x) {
    return x / (1 + expl(-x));
}
static long double true_quick_gelu(long double x) {
    return x / (1 + expl(-1.702L * x));
}
static long double true_gelu(long double x) {
    return x / 2 * erfcl(-x * 0.707106781186547524400844362104849L);
}

/* One float in 40503 of all; `make ulp` tries them all. The truth in long double, good to 2^-60. */
static void within_half_a_unit(void **state) {
    static const struct {
        const char *name;
        void (*of)(float *, const float *, size_t);
        long double (*truth)(long double);
    } f[] = {{"sigmoid", sigmoid, true_sigmoid},
             {"silu", silu, true_silu},
             {"gelu", gelu, true_gelu},
             {"quick_gelu", quick_gelu, true_quick_gelu}};
    (void)state;
    for (int i = 0; i < 4; i++) {
        for (uint64_t bits = 0; bits < 1ull << 32; bits += 40503) {
            uint32_t word = (uint32_t)bits;
            float x, out;
            memcpy(&x, &word, sizeof x);
            if (!isfinite(x)) continue;
            f[i].of(&out, &x, 1);
            double off = ulps_off(out, f[i].truth((long double)x));
            if (!(off <= 0.51)) fail_msg("%s(%a) = %a: off by %.3f ULP", f[i].name, x, out, off);
        }
    }
}
#endif

int main(void) {
    const struct CMUnitTest tests[] = {
        fixture_test(sigmoid_equals_slow), fixture_test(silu_equals_slow),
        fixture_test(gelu_equals_slow),    fixture_test(quick_gelu_equals_slow),
        fixture_test(geglu_equals_slow),   fixture_test(torch_values),
        fixture_test(at_infinity),
#ifndef MOLE_F64
        fixture_test(within_half_a_unit),
#endif
    };
    return cmocka_run_group_tests_name("ops/activations " REAL_NAME, tests, NULL, NULL);
}
