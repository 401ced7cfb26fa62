/* The door to libm: each function is the one its name says, and the sigmoid is right to the last bits
 * everywhere, without overflow. */
#include <fenv.h>
#include <math.h>
#include <stdio.h>

#include "../fixture.h"
#include "core/fmath.h"

/* Known values, correctly rounded (from tables, not from this libm); 2 ULP for any libm. */
static void is(double got, double truth) {
    double error = fabs(got - truth) / (fabs(truth) * 0x1p-52);
    if (!(error <= 2)) fail_msg("%.17g, should be %.17g: off by %.1f ULP", got, truth, error);
}

static void known_values(void **state) {
    (void)state;
    is(fmath_exp(1), 2.7182818284590452354);
    is(fmath_exp(-2), 0.13533528323661269189);
    is(fmath_log(10), 2.3025850929940456840);
    is(fmath_log1p(1e-10), 9.9999999995000000000e-11);
    is(fmath_sin(1), 0.84147098480789650665);
    is(fmath_cos(1), 0.54030230586813971740);
    is(fmath_erf(0.5), 0.52049987781304653768);
    is(fmath_erf(-1), -0.84270079294971486934);
    is(fmath_sin(981), sin(981));
    assert_true(fmath_exp(0) == 1 && fmath_log(1) == 0 && fmath_erf(0) == 0);
}

/* The truth in long double, where 1 + exp(-x) keeps its bits. */
static void sigmoid(void **state) {
    (void)state;
    for (double x = -700; x <= 700; x += 0.37) {
        double truth = (double)(1.0L / (1.0L + expl(-(long double)x)));
        is(fmath_sigmoid(x), truth);
    }
    is(fmath_sigmoid(-40), 4.2483542552915889863e-18); /* not 0: 1 / (1 + exp(40)) */
    assert_true(fmath_sigmoid(0) == 0.5);
    assert_true(fmath_sigmoid(-0.0) == 0.5);
}

static void sigmoid_at_the_ends(void **state) {
    (void)state;
    feclearexcept(FE_ALL_EXCEPT);
    assert_true(fmath_sigmoid(1e308) == 1);
    assert_true(fmath_sigmoid(-1e308) == 0);
    assert_true(fmath_sigmoid(800) == 1);
    assert_true(fmath_sigmoid(INFINITY) == 1);
    assert_true(fmath_sigmoid(-INFINITY) == 0);
    assert_false(fetestexcept(FE_OVERFLOW | FE_INVALID | FE_DIVBYZERO));
    assert_true(isnan(fmath_sigmoid(NAN)));
    assert_true(fmath_sigmoid(-740) > 0); /* a subnormal, still a number */
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

int main(void) {
    const struct CMUnitTest tests[] = {
        fixture_test(known_values),
        fixture_test(sigmoid),
        fixture_test(sigmoid_at_the_ends),
        fixture_test(sigmoid_rises),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
