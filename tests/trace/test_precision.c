/* The grids of computing types: rounding against the conversions of dtype.h, and what grid numbers lie on. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../fixture.h"
#include "core/dtype.h"
#include "trace/precision.h"

/* Every number of the type, numbers between neighbours, and ties, through float32 and dtype_from_f32. */
static void rounded_as_stored(precision_t precision, dtype_t dtype) {
    uint16_t stored;
    for (unsigned bits = 0; bits < 0x7C00; bits++) {
        uint16_t code[2] = {(uint16_t)bits, (uint16_t)(bits + 1)};
        double x[2], back;
        dtype_to_double(x, code, dtype, 2);
        if (!isfinite(x[1])) break;
        const double tries[] = {x[0], x[0] + 0.25 * (x[1] - x[0]), x[0] + 0.5 * (x[1] - x[0]),
                                x[0] + 0.75 * (x[1] - x[0])};
        for (size_t i = 0; i < 4; i++) {
            float single = (float)tries[i];
            if ((double)single != tries[i]) continue;
            dtype_from_f32(&stored, &single, dtype, 1);
            dtype_to_double(&back, &stored, dtype, 1);
            assert_true(precision_round(precision, tries[i]) == back);
            assert_true(precision_round(precision, -tries[i]) == -back);
        }
    }
}

static void half_precisions(void **state) {
    (void)state;
    rounded_as_stored(PRECISION_F16, DTYPE_F16);
    rounded_as_stored(PRECISION_BF16, DTYPE_BF16);
    assert_true(isinf(precision_round(PRECISION_F16, 65520)));
    assert_true(precision_round(PRECISION_F16, 65519) == 65504);
}

static void float32_and_tf32(void **state) {
    (void)state;
    for (int i = 1; i < 100000; i++) {
        double x = ldexp(sqrt(i), i % 200 - 100);
        assert_true(precision_round(PRECISION_F32, x) == (double)(float)x);
        double t = precision_round(PRECISION_TF32, x);
        assert_true(fabs(t - x) <= 0x1p-11 * fabs(x));
        assert_true(precision_round(PRECISION_TF32, t) == t);
    }
    assert_true(precision_round(PRECISION_TF32, 1 + 0x1p-10) ==
                1 + 0x1p-10);                                       /* ten bits behind the point */
    assert_true(precision_round(PRECISION_TF32, 1 + 0x1p-11) == 1); /* a tie goes to even */
    assert_true(precision_round(PRECISION_F64, 0.1) == 0.1);
}

static void grids_are_found(void **state) {
    (void)state;
    double x[64];
    size_t telling;
    for (precision_t p = PRECISION_BF16; p <= PRECISION_F64; p++) {
        /* Within f16's range tf32's numbers are f16's. */
        double size = p == PRECISION_TF32 ? 0x1p40 : 1;
        for (size_t i = 0; i < 64; i++) x[i] = precision_round(p, size * sin((double)i + 1));
        assert_int_equal(precision_of(x, 64, &telling), p);
        assert_true(telling >= 60); /* some are rounded to powers of two */
    }
    const double nothing[] = {0, 1, -0.5, 1024, INFINITY, NAN};
    assert_int_equal(precision_of(nothing, 6, &telling), PRECISION_BF16);
    assert_int_equal(telling, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(half_precisions),
        cmocka_unit_test(float32_and_tf32),
        cmocka_unit_test(grids_are_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
