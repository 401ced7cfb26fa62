/* core/fmath.h against true values (tests/core/fmath_values.txt, made by scripts/golden/fmath.py with
 * mpmath): within 0.6 ULP where the functions change fast, are cut in pieces, or end; and what they give
 * beyond. */
#include <fenv.h>
#include <math.h>
#include <stdio.h>

#include "../fixture.h"
#include "core/fmath.h"

static double silu_of(double x) {
    return fmath_gated(x, 1);
}

static double quick_gelu_of(double x) {
    return fmath_gated(x, 1.702);
}

static struct {
    const char *name;
    double (*of)(double);
    size_t count;
    double worst, at;
} functions[] = {
    {.name = "exp", .of = fmath_exp},
    {.name = "log", .of = fmath_log},
    {.name = "log1p", .of = fmath_log1p},
    {.name = "sin", .of = fmath_sin},
    {.name = "cos", .of = fmath_cos},
    {.name = "erf", .of = fmath_erf},
    {.name = "erfc", .of = fmath_erfc},
    {.name = "sigmoid", .of = fmath_sigmoid},
    {.name = "silu", .of = silu_of},
    {.name = "gelu", .of = fmath_gelu},
    {.name = "quick_gelu", .of = quick_gelu_of},
};
enum { FUNCTIONS = sizeof functions / sizeof *functions };

/* (hi + lo) 2^e, hi in [1, 2) or (-2, -1]: in units of its last place as a double. */
static double error_of(double got, int e, double hi, double lo) {
    double scaled = e < -1000 ? ldexp(ldexp(got, 600), -e - 600) : ldexp(got, -e);
    double unit = e < -1022 ? ldexp(1, -1074 - e) : 0x1p-52;
    return fabs((scaled - hi) - lo) / unit;
}

/* "NAME X E HI LO" */
static void try_line(char *line) {
    char *name = strtok(line, " ");
    double x = strtod(strtok(NULL, " "), NULL);
    int e = (int)strtol(strtok(NULL, " "), NULL, 10);
    double hi = strtod(strtok(NULL, " "), NULL), lo = strtod(strtok(NULL, "\n"), NULL);
    assert_true(fabs(hi) >= 1 && fabs(hi) <= 2);
    for (int i = 0; i < FUNCTIONS; i++) {
        if (strcmp(functions[i].name, name)) continue;
        double error = error_of(functions[i].of(x), e, hi, lo);
        functions[i].count++;
        if (error > functions[i].worst || isnan(error)) {
            functions[i].worst = error;
            functions[i].at = x;
        }
        return;
    }
    fail_msg("no function %s", name);
}

static void true_values(void **state) {
    FILE *file = fopen("tests/core/fmath_values.txt", "r");
    char line[200];
    (void)state;
    assert_non_null(file);
    while (fgets(line, sizeof line, file))
        if (line[0] != '#') try_line(line);
    fclose(file);
    for (int i = 0; i < FUNCTIONS; i++) {
        printf("%-10s %4zu values, worst %.4f ULP, at %a\n", functions[i].name, functions[i].count,
               functions[i].worst, functions[i].at);
        assert_true(functions[i].count >= 300);
    }
    for (int i = 0; i < FUNCTIONS; i++)
        if (!(functions[i].worst <= 0.6)) fail_msg("%s: not within 0.6 ULP", functions[i].name);
}

static void is(double got, double expected) {
    if (got != expected || signbit(got) != signbit(expected))
        fail_msg("%a, should be %a", got, expected);
}

static void at_the_ends(void **state) {
    const double inf = (double)INFINITY, least = 0x1p-1074;
    (void)state;
    is(fmath_exp(inf), inf), is(fmath_exp(710), inf);
    is(fmath_exp(-inf), 0), is(fmath_exp(-746), 0), is(fmath_exp(-745), least);
    is(fmath_log(0), -inf), is(fmath_log(-0.0), -inf), is(fmath_log(inf), inf);
    is(fmath_log1p(-1), -inf), is(fmath_log1p(inf), inf), is(fmath_log1p(-least), -least);
    is(fmath_erf(inf), 1), is(fmath_erf(-inf), -1), is(fmath_erf(-least), -least);
    is(fmath_erfc(inf), 0), is(fmath_erfc(-inf), 2), is(fmath_erfc(27.3), 0);
    is(fmath_sin(-least), -least), is(fmath_cos(least), 1);
    is(fmath_sigmoid(inf), 1), is(fmath_sigmoid(-inf), 0), is(fmath_sigmoid(1e308), 1);
    is(silu_of(inf), inf), is(silu_of(-inf), -0.0), is(silu_of(1e308), 1e308);
    is(quick_gelu_of(inf), inf), is(quick_gelu_of(-inf), -0.0), is(quick_gelu_of(-1e308), -0.0);
    is(fmath_gelu(inf), inf), is(fmath_gelu(-inf), -0.0), is(fmath_gelu(-40), -0.0);
    is(silu_of(-least), -0.0), is(fmath_gelu(2 * least), least);
    assert_true(isnan(fmath_log(-1)) && isnan(fmath_log1p(-2)));
    assert_true(isnan(fmath_sin(inf)) && isnan(fmath_cos(-inf)));
    for (int i = 0; i < FUNCTIONS; i++) assert_true(isnan(functions[i].of((double)NAN)));
}

static void at_0(void **state) {
    (void)state;
    for (int sign = -1; sign <= 1; sign += 2) {
        double zero = sign * 0.0;
        is(fmath_exp(zero), 1), is(fmath_cos(zero), 1), is(fmath_erfc(zero), 1);
        is(fmath_log1p(zero), zero), is(fmath_sin(zero), zero), is(fmath_erf(zero), zero);
        is(fmath_sigmoid(zero), 0.5), is(silu_of(zero), zero), is(fmath_gelu(zero), zero);
    }
    is(fmath_log(1), 0);
}

static void hypotenuse(void **state) {
    (void)state;
    is(fmath_hypot(3, -4), 5), is(fmath_hypot(0, -0.0), 0), is(fmath_hypot(-0x1p1000, 0), 0x1p1000);
    is(fmath_hypot(3 * 0x1p1000, 4 * 0x1p1000), 5 * 0x1p1000);
    is(fmath_hypot(3 * 0x1p-1060, 4 * 0x1p-1060), 5 * 0x1p-1060);
    is(fmath_hypot((double)NAN, (double)INFINITY), (double)INFINITY);
    assert_true(isnan(fmath_hypot(1, (double)NAN)) && isnan(fmath_hypot((double)NAN, 0)));
}

/* Rising, and 1 - itself mirrored. */
static void sigmoid_rises(void **state) {
    (void)state;
    double before = 0;
    for (double x = -50; x <= 30; x += 0.25) {
        double y = fmath_sigmoid(x);
        if (!(y > before)) fail_msg("sigmoid(%g) = %.17g is not above %.17g", x, y, before);
        assert_true(fabs(y + fmath_sigmoid(-x) - 1) <= 0x1p-52);
        before = y;
    }
}

static void no_flags(void **state) {
    (void)state;
    feclearexcept(FE_ALL_EXCEPT);
    for (double x = -2000; x <= 2000; x += 7.25) {
        fmath_sigmoid(x), silu_of(x), quick_gelu_of(x), fmath_gelu(x), fmath_erf(x),
            fmath_exp(-fabs(x));
    }
    assert_false(fetestexcept(FE_OVERFLOW | FE_INVALID | FE_DIVBYZERO));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        fixture_test(true_values), fixture_test(at_the_ends),   fixture_test(at_0),
        fixture_test(hypotenuse),  fixture_test(sigmoid_rises), fixture_test(no_flags),
    };
    return cmocka_run_group_tests_name("core/fmath " REAL_NAME, tests, NULL, NULL);
}
