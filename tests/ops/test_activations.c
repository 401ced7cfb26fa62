/* sigmoid, silu, gelu, quick_gelu, geglu: against the slow oracle, densely where the three kinds of
 * gelu part, and far out where something might overflow. */
#include <math.h>

#include "../fixture.h"
#include "../slow.h"
#include "ops/ops.h"

enum { DENSE = 4001, FAR = 10, COUNT = DENSE + FAR };

/* What core/vmath.h promises of erfc, beside the rounding of the result. */
static const double GELU = sizeof(real_t) == sizeof(float) ? 0x1p-29 : 6 * UNIT64;

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
    const double silus[3] = {-0.2689414213699951, 0.3112296656009273, 2.8577223804673};
    gelu(out, x, 3);
    for (size_t i = 0; i < 3; i++) assert_true(fabs((double)out[i] - gelus[i]) < 4 * UNIT);
    quick_gelu(out, x, 3);
    for (size_t i = 0; i < 3; i++) assert_true(fabs((double)out[i] - quick[i]) < 4 * UNIT);
    silu(out, x, 3);
    for (size_t i = 0; i < 3; i++) assert_true(fabs((double)out[i] - silus[i]) < 4 * UNIT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        fixture_test(sigmoid_equals_slow), fixture_test(silu_equals_slow),
        fixture_test(gelu_equals_slow),    fixture_test(quick_gelu_equals_slow),
        fixture_test(geglu_equals_slow),   fixture_test(torch_values),
    };
    return cmocka_run_group_tests_name("ops/activations " REAL_NAME, tests, NULL, NULL);
}
