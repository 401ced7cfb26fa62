/* vmath.h - exp, erfc and sigmoid as plain arithmetic, for loops over millions of numbers.
 *
 * core/fmath.h has them for single numbers, within 0.6 ULP. These are shorter, a few dozen multiplications
 * and additions without a branch, so that a loop over them is compiled into vector instructions
 * (core/vectorised.h); the same bits come out on every machine.
 *
 * exp. With n = round(x / ln 2) and r = x - n ln 2, |r| <= 0.35: exp(x) = 2^n exp(r), where
 * exp(r) = 1 + r + r^2 q(r) and q is the polynomial nearest to it on that interval (Chebyshev; relative
 * error of exp: 2e-19 in double, 2e-10 in float; what remains is rounding, below one unit in the last
 * place). ln 2 is split in two so that n ln2_high is exact. Adding 1.5 * 2^52 rounds to a whole number and
 * leaves it in the low bits of the sum, from where a shift puts it into an exponent.
 *
 * erfc. With t = 2 / (2 + z) and u = 2 t - 1: erfc(z) = t exp(P(u) - z^2) for z >= 0, where P is smooth,
 * and a polynomial near it for t >= 0.16, z <= 10.5; beyond, the result is below the least float. (The form
 * is that of Numerical Recipes, section 6.2; the coefficients are by scripts/golden/fmath.py.) */
#ifndef MOLE_CORE_VMATH_H
#define MOLE_CORE_VMATH_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "core/real.h"
#include "core/vmath_tables.h"

/* exp(x) for -708 <= x <= 0; NaN stays NaN. */
static inline double vmath_exp_within(double x) {
    const double magic = 0x1.8p52;
    double shifted = x * 0x1.71547652b82fep+0 + magic, n = shifted - magic;
    double r = (x - n * 0x1.62e42fefa3800p-1) - n * 0x1.ef35793c76730p-45;
    double q = 2.09146869680868772e-9;
    q = q * r + 2.51052170047207452e-8;
    q = q * r + 2.75572736431102953e-7;
    q = q * r + 2.75572554002064244e-6;
    q = q * r + 2.48015873255477412e-5;
    q = q * r + 1.98412698748206253e-4;
    q = q * r + 1.38888888888837483e-3;
    q = q * r + 8.33333333332613513e-3;
    q = q * r + 4.16666666666666698e-2;
    q = q * r + 1.66666666666666710e-1;
    q = q * r + 0.5;
    double p = 1 + (r + r * r * q), scale;
    uint64_t bits;
    memcpy(&bits, &shifted, sizeof bits);
    bits = (bits + 1023) << 52;
    memcpy(&scale, &bits, sizeof scale);
    return p * scale;
}

/* exp(x) for x <= 0; 0 below -708, where the result would leave the normal range. NaN stays NaN. */
static inline double vmath_exp_double(double x) {
    const double low = -708;
    double power = vmath_exp_within(x < low ? low : x);
    return x < low ? 0 : power;
}

/* The same in float: exp(x) for x <= 0; 0 below -87. */
static inline float vmath_exp_float(float x) {
    const float low = -87, magic = 0x1.8p23f;
    float c = x < low ? low : x;
    float shifted = c * 0x1.715476p+0f + magic, n = shifted - magic;
    float r = (c - n * 0x1.62e4p-1f) - n * 0x1.7f7d1cp-20f;
    float q = 1.98909908e-4f;
    q = q * r + 1.39336500e-3f;
    q = q * r + 8.33331093e-3f;
    q = q * r + 4.16664649e-2f;
    q = q * r + 1.66666667e-1f;
    q = q * r + 0.5f;
    float p = 1 + (r + r * r * q), scale;
    uint32_t bits;
    memcpy(&bits, &shifted, sizeof bits);
    bits = (bits + 127) << 23;
    memcpy(&scale, &bits, sizeof scale);
    return x < low ? 0 : p * scale;
}

/* The one of the number type. */
static inline real_t vmath_exp(real_t x) {
#ifdef MOLE_F64
    return vmath_exp_double(x);
#else
    return vmath_exp_float(x);
#endif
}

/* 1 / (1 + exp(-x)), |x| <= 708; NaN stays NaN. The exponential is taken of -|x|, so that small results keep
 * their bits. */
static inline double vmath_sigmoid(double x) {
    double e = vmath_exp_within(-fabs(x));
    return (x < 0 ? e : 1) / (1 + e);
}

/* erfc(z) for 0 <= z <= 15: within 2^-33 of itself up to z = 10.5, then below 2^-150. NaN stays NaN. */
static inline double vmath_erfc(double z) {
    enum { TERMS = sizeof erfc_exponent / sizeof *erfc_exponent };
    double t = 2 / (2 + z), u = 2 * t - 1, sum = erfc_exponent[TERMS - 1];
    for (int k = TERMS - 2; k >= 0; k--) sum = sum * u + erfc_exponent[k];
    return t * vmath_exp_within(sum - z * z);
}

#endif
