/* test_dtype.c - every F16 and BF16 value against ldexp, F64 rounding, integers, names,
 * alignment. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/dtype.h"

/* The definition: (-1)^s * (1.m) * 2^(e - bias), e = 0 without the hidden 1, e all ones Inf or
 * NaN. */
static double decode(unsigned bits, int exponent_bits, int mantissa_bits) {
    int bias = (1 << (exponent_bits - 1)) - 1, all_ones = (1 << exponent_bits) - 1;
    int exponent = (int)(bits >> mantissa_bits) & all_ones;
    int mantissa = (int)bits & ((1 << mantissa_bits) - 1);
    double sign = bits >> (exponent_bits + mantissa_bits) & 1 ? -1.0 : 1.0;
    if (exponent == all_ones) return mantissa ? (double)NAN : sign * (double)INFINITY;
    if (exponent == 0) return sign * ldexp(mantissa, 1 - bias - mantissa_bits);
    return sign * ldexp(mantissa + (1 << mantissa_bits), exponent - bias - mantissa_bits);
}

static void assert_same(double found, double expected, unsigned bits) {
    if (isnan(expected) && isnan(found)) return;
    if (found == expected && !signbit(found) == !signbit(expected)) return;
    fail_msg("bits %04x: found %a, expected %a", bits, found, expected);
}

static void check_table(dtype_t dtype, int exponent_bits, int mantissa_bits) {
    static uint16_t in[65536];
    static double wide[65536];
    static real_t real[65536];
    for (unsigned i = 0; i < 65536; i++) in[i] = (uint16_t)i;
    dtype_to_double(wide, in, dtype, 65536);
    dtype_to_real(real, in, dtype, 65536);
    for (unsigned i = 0; i < 65536; i++) {
        double expected = decode(i, exponent_bits, mantissa_bits);
        assert_same(wide[i], expected, i);
        assert_same((double)real[i], expected, i);
    }
}

static void every_f16(void **state) {
    (void)state;
    check_table(DTYPE_F16, 5, 10);
}

static void every_bf16(void **state) {
    (void)state;
    check_table(DTYPE_BF16, 8, 7);
}

static void one_at_a_time_and_unaligned(void **state) {
    (void)state;
    unsigned char bytes[2 * 9 + 1];
    for (unsigned i = 0; i < 9; i++) {
        uint16_t half = (uint16_t)(0x3c00 + 37 * i);
        memcpy(bytes + 1 + 2 * i, &half, 2);
    }
    for (size_t count = 0; count <= 9; count++) {
        real_t out[10];
        for (size_t i = 0; i < 10; i++) out[i] = -7;
        dtype_to_real(out, bytes + 1, DTYPE_F16, count);
        for (unsigned i = 0; i < count; i++)
            assert_same((double)out[i], decode(0x3c00 + 37 * i, 5, 10), i);
        assert_true(out[count] == (real_t)-7);
    }
}

/* Halfway cases of double to float: ties go to the even mantissa; too large is Inf. */
static void f64_rounds_to_nearest_even(void **state) {
    (void)state;
    const double in[] = {
        1.0,      1.0 + 0x1p-24, 1.0 + 0x3p-24, 1.0 + 0x1p-24 + 0x1p-50, -1.0 - 0x1p-24,
        0x1p-149, 0x1p-150,      0x1.8p-150,    0x1.ffffffp127,          -0.0};
    const double as_float[] = {1.0,      1.0, 1.0 + 0x1p-22, 1.0 + 0x1p-23,    -1.0,
                               0x1p-149, 0.0, 0x1p-149,      (double)INFINITY, -0.0};
    enum { N = sizeof in / sizeof in[0] };
    real_t out[N];
    double wide[N];
    dtype_to_real(out, in, DTYPE_F64, N);
    dtype_to_double(wide, in, DTYPE_F64, N);
    for (unsigned i = 0; i < N; i++) {
        assert_same((double)out[i], sizeof(real_t) == 8 ? in[i] : as_float[i], i);
        assert_same(wide[i], in[i], i);
    }
}

static void f32_is_exact(void **state) {
    (void)state;
    const float in[] = {0.1f, -0.0f, 0x1p-149f, 0x1.fffffep127f, INFINITY, -INFINITY, NAN};
    enum { N = sizeof in / sizeof in[0] };
    real_t out[N];
    double wide[N];
    dtype_to_real(out, in, DTYPE_F32, N);
    dtype_to_double(wide, in, DTYPE_F32, N);
    for (unsigned i = 0; i < N; i++) {
        assert_same((double)out[i], (double)in[i], i);
        assert_same(wide[i], (double)in[i], i);
    }
}

/* Every F16 and BF16 comes back from the float that it is; halfway goes to even, beyond goes on. */
static void f32_narrows_to_nearest_even(void **state) {
    (void)state;
    for (unsigned bits = 0; bits < 0x10000; bits++) {
        dtype_t types[] = {DTYPE_F16, DTYPE_BF16};
        for (int i = 0; i < 2; i++) {
            uint16_t stored = (uint16_t)bits, back, up, down, next = (uint16_t)(bits + 1);
            double value, above;
            dtype_to_double(&value, &stored, types[i], 1);
            dtype_to_double(&above, &next, types[i], 1);
            if (isnan(value)) continue;
            float exact = (float)value;
            dtype_from_f32(&back, &exact, types[i], 1);
            if (back != stored) fail_msg("%04x became %04x", bits, back);
            if (isnan(above) || isinf(above) || (bits & 0x7FFF) >= (i ? 0x7F7FU : 0x7BFFU))
                continue;
            if (i && (bits & 0x7FFF) < 0x80) continue; /* halfway is not a normal float32 */
            float half = (float)((value + above) / 2);
            float more = nextafterf(half, (float)above), less = nextafterf(half, exact);
            dtype_from_f32(&back, &half, types[i], 1);
            dtype_from_f32(&up, &more, types[i], 1);
            dtype_from_f32(&down, &less, types[i], 1);
            assert_int_equal(back, bits & 1 ? next : bits);
            assert_int_equal(up, next);
            assert_int_equal(down, bits);
        }
    }
    float beyond[] = {65519, 65520, -70000};
    uint16_t found[3];
    dtype_from_f32(found, beyond, DTYPE_F16, 3);
    assert_int_equal(found[0], 0x7BFF);
    assert_int_equal(found[1], 0x7C00);
    assert_int_equal(found[2], 0xFC00);
}

static void integers(void **state) {
    (void)state;
    const int64_t i64[] = {0, -1, (int64_t)1 << 53, -((int64_t)1 << 53), 49407};
    const int32_t i32[] = {INT32_MIN, INT32_MAX, -5};
    const uint8_t u8[] = {0, 1, 255};
    double out[5];
    dtype_to_double(out, i64, DTYPE_I64, 5);
    for (int i = 0; i < 5; i++) assert_true(out[i] == (double)i64[i]);
    dtype_to_double(out, i32, DTYPE_I32, 3);
    for (int i = 0; i < 3; i++) assert_true(out[i] == (double)i32[i]);
    dtype_to_double(out, u8, DTYPE_U8, 3);
    for (int i = 0; i < 3; i++) assert_true(out[i] == (double)u8[i]);
    dtype_to_double(out, u8, DTYPE_BOOL, 2);
    assert_true(out[0] == 0.0 && out[1] == 1.0);
}

static void names(void **state) {
    (void)state;
    const char *all[] = {"F64", "F32", "F16", "BF16", "I64", "I32", "U8", "BOOL"};
    const size_t sizes[] = {8, 4, 2, 2, 8, 4, 1, 1};
    for (size_t i = 0; i < 8; i++) {
        dtype_t dtype;
        assert_int_equal(dtype_parse(all[i], &dtype), 0);
        assert_string_equal(dtype_name(dtype), all[i]);
        assert_int_equal(dtype_size(dtype), sizes[i]);
    }
    dtype_t untouched = DTYPE_U8;
    assert_int_equal(dtype_parse("f32", &untouched), -1);
    assert_int_equal(dtype_parse("", &untouched), -1);
    assert_int_equal(untouched, DTYPE_U8);
    assert_int_equal(dtype_size(dtype_real()), sizeof(real_t));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_f16),    cmocka_unit_test(every_bf16),
        cmocka_unit_test(f32_is_exact), cmocka_unit_test(f64_rounds_to_nearest_even),
        cmocka_unit_test(integers),     cmocka_unit_test(one_at_a_time_and_unaligned),
        cmocka_unit_test(names),        cmocka_unit_test(f32_narrows_to_nearest_even),
    };
    return cmocka_run_group_tests_name("dtype", tests, NULL, NULL);
}
