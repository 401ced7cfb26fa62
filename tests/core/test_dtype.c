/* test_dtype.c - every F16, BF16 and 8-bit value against its definition, F64 rounding, integers,
 * names, alignment, the order of bytes. */
#include <math.h>

#include "../unit.h"
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

/* The 8-bit formats, from their definition: some values by hand (what PyTorch 2.13 makes of the same bits),
 * and for all 256 the counts and the sum of magnitudes that PyTorch finds. */
static void every_small_float(void **state) {
    (void)state;
    static const struct {
        dtype_t dtype;
        int nan, inf;
        double sum; /* of |x|, of all finite x */
        struct {
            unsigned bits;
            double value;
        } some[6];
    } formats[] = {
        {DTYPE_F8_E4M3,
         2,
         0,
         10815.75,
         {{0x00, 0}, {0x01, 0x1p-9}, {0x7e, 448}, {0x80, -0.0}, {0xb8, -1}, {0x39, 1.125}}},
        {DTYPE_F8_E5M2,
         6,
         2,
         720895.9995117188,
         {{0x00, 0}, {0x01, 0x1p-16}, {0x7b, 57344}, {0x80, -0.0}, {0xbc, -1}, {0x3d, 1.25}}},
        {DTYPE_F8_E4M3FNUZ,
         1,
         0,
         5887.875,
         {{0x00, 0}, {0x01, 0x1p-10}, {0x7f, 240}, {0x81, -0x1p-10}, {0xc0, -1}, {0x41, 1.125}}},
        {DTYPE_F8_E5M2FNUZ,
         1,
         0,
         720895.9997558594,
         {{0x00, 0}, {0x01, 0x1p-17}, {0x7f, 57344}, {0x81, -0x1p-17}, {0xc0, -1}, {0x41, 1.25}}},
        {DTYPE_F8_E8M0,
         1,
         0,
         0x1p128,
         {{0x00, 0x1p-127},
          {0x01, 0x1p-126},
          {0x7f, 1},
          {0x80, 2},
          {0xfe, 0x1p127},
          {0x70, 0x1p-15}}},
    };
    unsigned char all[256];
    double wide[256];
    for (unsigned i = 0; i < 256; i++) all[i] = (unsigned char)i;
    for (size_t f = 0; f < sizeof formats / sizeof formats[0]; f++) {
        int nan = 0, inf = 0;
        double sum = 0;
        dtype_to_double(wide, all, formats[f].dtype, 256);
        for (size_t i = 0; i < 6; i++)
            assert_same(wide[formats[f].some[i].bits], formats[f].some[i].value,
                        formats[f].some[i].bits);
        for (int i = 0; i < 256; i++) {
            nan += isnan(wide[i]) != 0;
            inf += isinf(wide[i]) != 0;
            if (isfinite(wide[i])) sum += fabs(wide[i]);
        }
        assert_int_equal(nan, formats[f].nan);
        assert_int_equal(inf, formats[f].inf);
        if (!(fabs(sum / formats[f].sum - 1) < 1e-15))
            fail_msg("%s: %.17g, not %.17g", dtype_name(formats[f].dtype), sum, formats[f].sum);
    }
    assert_true(isnan(wide[255]));
    dtype_to_double(wide, all, DTYPE_F8_E5M2, 256);
    assert_true(wide[0x7c] == (double)INFINITY && wide[0xfc] == -(double)INFINITY);
    dtype_to_double(wide, all, DTYPE_F8_E4M3FNUZ, 256);
    assert_true(isnan(wide[0x80]));
}

#define INTEGERS(dtype, type, ...)                                                                 \
    do {                                                                                           \
        const type in[] = {__VA_ARGS__};                                                           \
        double out[8];                                                                             \
        dtype_to_double(out, in, dtype, sizeof in / sizeof in[0]);                                 \
        for (size_t i = 0; i < sizeof in / sizeof in[0]; i++)                                      \
            if (out[i] != (double)in[i]) fail_msg("%s: %g", dtype_name(dtype), out[i]);            \
    } while (0)

static void integers(void **state) {
    (void)state;
    INTEGERS(DTYPE_I64, int64_t, 0, -1, (int64_t)1 << 53, -((int64_t)1 << 53), 49407);
    INTEGERS(DTYPE_U64, uint64_t, 0, (uint64_t)1 << 53, (uint64_t)1 << 63, 49407);
    INTEGERS(DTYPE_I32, int32_t, INT32_MIN, INT32_MAX, -5);
    INTEGERS(DTYPE_U32, uint32_t, 0, 5, INT32_MAX, UINT32_MAX);
    INTEGERS(DTYPE_I16, int16_t, INT16_MIN, INT16_MAX, -5);
    INTEGERS(DTYPE_U16, uint16_t, 0, 5, INT16_MAX, UINT16_MAX);
    INTEGERS(DTYPE_I8, int8_t, INT8_MIN, INT8_MAX, -5);
    INTEGERS(DTYPE_U8, uint8_t, 0, 1, 127, 255);
    INTEGERS(DTYPE_BOOL, uint8_t, 0, 1);
}

static void bytes_turn_around(void **state) {
    (void)state;
    for (int type = 0; type < DTYPES; type++) {
        const dtype_t dtype = (dtype_t)type;
        size_t size = dtype_size(dtype);
        unsigned char bytes[1 + 3 * 8 + 1]; /* unaligned */
        for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (unsigned char)i;
        dtype_swap_bytes(bytes + 1, dtype, 3);
        for (size_t i = 0; i < 3; i++)
            for (size_t k = 0; k < size; k++)
                assert_int_equal(bytes[1 + i * size + k], 1 + i * size + (size - 1 - k));
        assert_int_equal(bytes[0], 0);
        assert_int_equal(bytes[1 + 3 * size], 1 + 3 * size);
    }
}

/* As the format spells them, with the bytes that it gives each. */
static void names(void **state) {
    (void)state;
    const struct {
        const char *name;
        size_t size;
    } all[] = {{"F64", 8},         {"F32", 4},     {"F16", 2},     {"BF16", 2},
               {"I64", 8},         {"I32", 4},     {"U8", 1},      {"BOOL", 1},
               {"U64", 8},         {"U32", 4},     {"I16", 2},     {"U16", 2},
               {"I8", 1},          {"F8_E4M3", 1}, {"F8_E5M2", 1}, {"F8_E4M3FNUZ", 1},
               {"F8_E5M2FNUZ", 1}, {"F8_E8M0", 1}};
    assert_int_equal(sizeof all / sizeof all[0], DTYPES);
    for (size_t i = 0; i < DTYPES; i++) {
        dtype_t dtype;
        assert_int_equal(dtype_parse(all[i].name, &dtype), 0);
        assert_string_equal(dtype_name(dtype), all[i].name);
        assert_int_equal(dtype_size(dtype), all[i].size);
    }
    dtype_t untouched = DTYPE_U8;
    const char *none[] = {"f32", "", "F8", "C64", "F4", "I4"};
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++)
        assert_int_equal(dtype_parse(none[i], &untouched), -1);
    assert_int_equal(untouched, DTYPE_U8);
    assert_int_equal(dtype_size(dtype_real()), sizeof(real_t));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_f16),
        cmocka_unit_test(every_bf16),
        cmocka_unit_test(f32_is_exact),
        cmocka_unit_test(f64_rounds_to_nearest_even),
        cmocka_unit_test(every_small_float),
        cmocka_unit_test(bytes_turn_around),
        cmocka_unit_test(integers),
        cmocka_unit_test(one_at_a_time_and_unaligned),
        cmocka_unit_test(names),
        cmocka_unit_test(f32_narrows_to_nearest_even),
    };
    return cmocka_run_group_tests_name("dtype", tests, NULL, NULL);
}
