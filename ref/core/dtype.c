/* dtype.c - see dtype.h.
 *
 * The formats, as sign / exponent / mantissa bits: F16 1/5/10, BF16 1/8/7, F32 1/8/23, F64 1/11/52.
 * Every value of F16 and BF16 is a value of F32, and every F32 one of F64, so widening never
 * rounds. The formats of 8 bits stand beside small_of. */
#include "core/dtype.h"

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "core/err.h"

#if !defined(__BYTE_ORDER__) ||                                                                    \
    (__BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__ && __BYTE_ORDER__ != __ORDER_BIG_ENDIAN__)
#error "the order of a number's bytes is neither little nor big endian"
#endif
_Static_assert(sizeof(float) == 4 && sizeof(double) == 8, "IEEE 754 float and double");

static const struct {
    const char *name;
    size_t size;
} dtypes[] = {
    [DTYPE_F64] = {"F64", 8},
    [DTYPE_F32] = {"F32", 4},
    [DTYPE_F16] = {"F16", 2},
    [DTYPE_BF16] = {"BF16", 2},
    [DTYPE_I64] = {"I64", 8},
    [DTYPE_I32] = {"I32", 4},
    [DTYPE_U8] = {"U8", 1},
    [DTYPE_BOOL] = {"BOOL", 1},
    [DTYPE_U64] = {"U64", 8},
    [DTYPE_U32] = {"U32", 4},
    [DTYPE_I16] = {"I16", 2},
    [DTYPE_U16] = {"U16", 2},
    [DTYPE_I8] = {"I8", 1},
    [DTYPE_F8_E4M3] = {"F8_E4M3", 1},
    [DTYPE_F8_E5M2] = {"F8_E5M2", 1},
    [DTYPE_F8_E4M3FNUZ] = {"F8_E4M3FNUZ", 1},
    [DTYPE_F8_E5M2FNUZ] = {"F8_E5M2FNUZ", 1},
    [DTYPE_F8_E8M0] = {"F8_E8M0", 1},
};
_Static_assert(sizeof dtypes / sizeof dtypes[0] == DTYPES, "a line for each dtype");

dtype_t dtype_real(void) {
    return sizeof(real_t) == sizeof(double) ? DTYPE_F64 : DTYPE_F32;
}

size_t dtype_size(dtype_t dtype) {
    REQUIRE((size_t)dtype < DTYPES, "dtype_size: no dtype %d", (int)dtype);
    return dtypes[dtype].size;
}

const char *dtype_name(dtype_t dtype) {
    REQUIRE((size_t)dtype < DTYPES, "dtype_name: no dtype %d", (int)dtype);
    return dtypes[dtype].name;
}

int dtype_parse(const char *name, dtype_t *dtype) {
    for (size_t i = 0; i < DTYPES; i++)
        if (strcmp(name, dtypes[i].name) == 0) {
            *dtype = (dtype_t)i;
            return 0;
        }
    return -1;
}

static inline float float_of_bits(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline uint32_t bits_of_float(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

/* Normal: the exponent's bias goes from 15 to 127. Exponent 0: mantissa * 2^-24, by a conversion
 * that never meets a subnormal float, so that a machine set to flush those still reads right.
 * Exponent 31: Inf and NaN keep their mantissa. Selects instead of branches, for the vectoriser. */
static inline float float_of_f16(uint16_t half) {
    uint32_t magnitude = (uint32_t)half & 0x7fff, sign = ((uint32_t)half & 0x8000) << 16;
    uint32_t normal = (magnitude << 13) + ((uint32_t)(127 - 15) << 23);
    uint32_t special = (magnitude << 13) | 0x7f800000;
    uint32_t tiny = bits_of_float((float)(int32_t)magnitude * 0x1p-24f);
    uint32_t bits = magnitude < 0x0400 ? tiny : magnitude < 0x7c00 ? normal : special;
    return float_of_bits(sign | bits);
}

static inline float float_of_bf16(uint16_t brain) {
    return float_of_bits((uint32_t)brain << 16);
}

/* Formats of 8 bits: sign / exponent / mantissa, bias, and what is no finite number there.
 *
 *   E4M3      1/4/3    7   0x7f and 0xff are NaN; no Inf
 *   E5M2      1/5/2   15   as IEEE 754: exponent 31 is Inf (mantissa 0) or NaN
 *   E4M3FNUZ  1/4/3    8   0x80 is NaN; no Inf, no -0
 *   E5M2FNUZ  1/5/2   16   the same
 *   E8M0      0/8/0  127   2^(bits - 127), never 0; 255 is NaN */
static double small_of(unsigned bits, int places, int bias) {
    int magnitude = (int)(bits & 0x7f), exponent = magnitude >> places;
    int mantissa = magnitude & ((1 << places) - 1);
    double sign = bits & 0x80 ? -1 : 1;
    if (exponent == 0) return sign * ldexp(mantissa, 1 - bias - places);
    return sign * ldexp(mantissa + (1 << places), exponent - bias - places);
}

/* value[bits], for all bits. */
static void list_small(double value[256], dtype_t dtype) {
    bool e4m3 = dtype == DTYPE_F8_E4M3 || dtype == DTYPE_F8_E4M3FNUZ;
    bool fnuz = dtype == DTYPE_F8_E4M3FNUZ || dtype == DTYPE_F8_E5M2FNUZ;
    for (unsigned bits = 0; bits < 256; bits++)
        value[bits] = dtype == DTYPE_F8_E8M0 ? ldexp(1, (int)bits - 127)
                                             : small_of(bits, e4m3 ? 3 : 2, (e4m3 ? 7 : 15) + fnuz);
    if (fnuz) value[0x80] = (double)NAN;
    if (dtype == DTYPE_F8_E8M0) value[0xff] = (double)NAN;
    if (dtype == DTYPE_F8_E4M3) value[0x7f] = value[0xff] = (double)NAN;
    if (dtype != DTYPE_F8_E5M2) return;
    value[0x7c] = (double)INFINITY;
    value[0xfc] = -(double)INFINITY;
    for (unsigned bits = 0x7d; bits <= 0x7f; bits++) value[bits] = value[bits | 0x80] = (double)NAN;
}

static void widen_small(double *out, const unsigned char *in, dtype_t dtype, size_t count) {
    double value[256];
    list_small(value, dtype);
    for (size_t i = 0; i < count; i++) out[i] = value[in[i]];
}

/* One loop per pair of formats: load (memcpy: the source may be unaligned), convert, store. */
#define WIDEN(out_type, in_type, convert)                                                          \
    for (size_t i = 0; i < count; i++) {                                                           \
        in_type value;                                                                             \
        memcpy(&value, (const unsigned char *)in + i * sizeof value, sizeof value);                \
        out[i] = (out_type)convert(value);                                                         \
    }                                                                                              \
    break

void dtype_to_real(real_t *out, const void *in, dtype_t dtype, size_t count) {
    if (dtype == dtype_real()) {
        if (count) memcpy(out, in, count * sizeof *out);
        return;
    }
    switch (dtype) {
    case DTYPE_F64: WIDEN(real_t, double, );
    case DTYPE_F32: WIDEN(real_t, float, );
    case DTYPE_F16: WIDEN(real_t, uint16_t, float_of_f16);
    case DTYPE_BF16: WIDEN(real_t, uint16_t, float_of_bf16);
    default: REQUIRE(0, "dtype_to_real: not for %s", dtype_name(dtype));
    }
}

void dtype_to_double(double *out, const void *in, dtype_t dtype, size_t count) {
    switch (dtype) {
    case DTYPE_F64: WIDEN(double, double, );
    case DTYPE_F32: WIDEN(double, float, );
    case DTYPE_F16: WIDEN(double, uint16_t, float_of_f16);
    case DTYPE_BF16: WIDEN(double, uint16_t, float_of_bf16);
    case DTYPE_I64: WIDEN(double, int64_t, );
    case DTYPE_U64: WIDEN(double, uint64_t, );
    case DTYPE_I32: WIDEN(double, int32_t, );
    case DTYPE_U32: WIDEN(double, uint32_t, );
    case DTYPE_I16: WIDEN(double, int16_t, );
    case DTYPE_U16: WIDEN(double, uint16_t, );
    case DTYPE_I8: WIDEN(double, int8_t, );
    case DTYPE_U8:
    case DTYPE_BOOL: WIDEN(double, uint8_t, );
    case DTYPE_F8_E4M3:
    case DTYPE_F8_E5M2:
    case DTYPE_F8_E4M3FNUZ:
    case DTYPE_F8_E5M2FNUZ:
    case DTYPE_F8_E8M0: widen_small(out, in, dtype, count); break;
    default: REQUIRE(0, "dtype_to_double: no dtype %d", (int)dtype);
    }
}

#define SWAP(type, swapped)                                                                        \
    for (size_t i = 0; i < count; i++) {                                                           \
        type value;                                                                                \
        memcpy(&value, (unsigned char *)data + i * sizeof value, sizeof value);                    \
        value = swapped(value);                                                                    \
        memcpy((unsigned char *)data + i * sizeof value, &value, sizeof value);                    \
    }                                                                                              \
    break

void dtype_swap_bytes(void *data, dtype_t dtype, size_t count) {
    switch (dtype_size(dtype)) {
    case 2: SWAP(uint16_t, __builtin_bswap16);
    case 4: SWAP(uint32_t, __builtin_bswap32);
    case 8: SWAP(uint64_t, __builtin_bswap64);
    default: break;
    }
}

/* Of |x| below 2^-14 the sum with 0.5 has a last place of 2^-24, the smallest F16: the processor rounds. */
static uint16_t to_f16(float x) {
    uint32_t bits, magnitude;
    memcpy(&bits, &x, sizeof bits);
    uint16_t sign = (uint16_t)(bits >> 16 & 0x8000U);
    magnitude = bits & 0x7FFFFFFFU;
    if (magnitude >= 0x47800000U) return (uint16_t)(sign | 0x7C00U); /* 2^16 and more */
    if (magnitude < 0x38800000U) {
        float small;
        memcpy(&small, &magnitude, sizeof small);
        small += 0.5F;
        memcpy(&magnitude, &small, sizeof magnitude);
        return (uint16_t)(sign | (magnitude - 0x3F000000U));
    }
    magnitude += 0xFFFU + (magnitude >> 13 & 1U) - (112U << 23);
    return (uint16_t)(sign | magnitude >> 13);
}

static uint16_t to_bf16(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return (uint16_t)((bits + 0x7FFFU + (bits >> 16 & 1U)) >> 16);
}

void dtype_from_f32(void *out, const float *in, dtype_t dtype, size_t count) {
    REQUIRE(dtype == DTYPE_F32 || dtype == DTYPE_F16 || dtype == DTYPE_BF16,
            "dtype_from_f32: to %s", dtype_name(dtype));
    if (dtype == DTYPE_F32) {
        memmove(out, in, count * sizeof *in);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        uint16_t half = dtype == DTYPE_F16 ? to_f16(in[i]) : to_bf16(in[i]);
        memcpy((char *)out + i * sizeof half, &half, sizeof half);
    }
}
