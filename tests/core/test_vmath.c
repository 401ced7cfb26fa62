/* vmath: against libm in long double, densely, to the last unit or so that core/vmath.h promises; and where
 * the numbers end. */
#include <math.h>

#include "../fixture.h"
#include "core/vmath.h"

static void exp_double(void **state) {
    (void)state;
    for (int i = 0; i <= 700 * 1000; i++) {
        double x = -i * 0.001003;
        long double truth = expl((long double)x);
        assert_true(fabsl((long double)vmath_exp_double(x) - truth) <= 1.5L * 0x1p-53L * truth);
    }
}

static void exp_float(void **state) {
    (void)state;
    for (int i = 0; i <= 860 * 1000; i++) {
        float x = (float)(-i * 0.0001003);
        double truth = exp((double)x);
        assert_true(fabs((double)vmath_exp_float(x) - truth) <= 1.5 * 0x1p-24 * truth);
    }
}

static void exp_ends(void **state) {
    (void)state;
    assert_true(vmath_exp_double(0) == 1 && vmath_exp_float(0) == 1);
    assert_true(vmath_exp_double(-709) == 0 && vmath_exp_float(-88) == 0);
    assert_true(vmath_exp_double(-INFINITY) == 0 && vmath_exp_float(-INFINITY) == 0);
    assert_true(isnan(vmath_exp_double((double)NAN)) && isnan(vmath_exp_float(NAN)));
}

static void erfc_for_floats(void **state) {
    (void)state;
    for (int i = 0; i <= 105 * 1000; i++) {
        double z = i * 0.0001;
        long double truth = erfcl((long double)z);
        assert_true(fabsl((long double)vmath_erfc(z) - truth) <= 0x1p-33L * truth);
    }
    for (int i = 105; i <= 150; i++) assert_true(vmath_erfc(i * 0.1) < 0x1p-150);
    assert_true(isnan(vmath_erfc((double)NAN)));
}

static void sigmoid_ends(void **state) {
    (void)state;
    for (int i = -4000; i <= 4000; i++) {
        double x = i * 0.01, truth = x < 0 ? exp(x) / (1 + exp(x)) : 1 / (1 + exp(-x));
        assert_true(fabs(vmath_sigmoid(x) - truth) <= 4 * 0x1p-53 * truth);
    }
    assert_true(vmath_sigmoid(708) == 1 && vmath_sigmoid(0) == 0.5);
    assert_true((float)vmath_sigmoid(-708) == 0 && isnan(vmath_sigmoid((double)NAN)));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        fixture_test(exp_double),      fixture_test(exp_float),    fixture_test(exp_ends),
        fixture_test(erfc_for_floats), fixture_test(sigmoid_ends),
    };
    return cmocka_run_group_tests_name("core/vmath " REAL_NAME, tests, NULL, NULL);
}
