/* box_muller.c - see box_muller.h.
 *
 * torch's float32 kernel evaluates log, sin and cos with the polynomials of Moshier's Cephes
 * library (logf, sinf, cosf) on eight lanes of AVX2, compiled so that a product and the sum it
 * feeds become one fused multiply-add. Doing the same roundings in the same places gives the same
 * bits; better functions would not. Which products are fused follows the compiler's rule
 * for a sum of two products: the one written first is fused, the other is rounded. fmaf is exact
 * by definition, with or without hardware for it, and IEEE sqrt is correctly rounded, so nothing
 * here depends on the machine. */
#include "sampler/box_muller.h"

#include <math.h>
#include <stdint.h>

#include "core/fmath.h"

static const float sqrt_half = 0.707106781186547524f;
static const float four_over_pi = 1.27323954473516f;
static const float two_pi = 6.28318530717958648f;
static const double two_pi_f64 = 2 * 3.14159265358979323846;

/* log x = e log 2 + log m, m in [sqrt 1/2, sqrt 2): with y = m - 1,
 *   log(1 + y) = y - y^2/2 + y^3 P(y),  log 2 = 0.693359375 - 2.12194440e-4
 * x is a normal number above 0. */
static float cephes_log(float x) {
    static const float p[9] = {7.0376836292E-2f,  -1.1514610310E-1f, 1.1676998740E-1f,
                               -1.2420140846E-1f, 1.4249322787E-1f,  -1.6668057665E-1f,
                               2.0000714765E-1f,  -2.4999993993E-1f, 3.3333331174E-1f};
    int exponent;
    float y = frexpf(x, &exponent); /* [1/2, 1) */
    if (y < sqrt_half) {
        exponent--;
        y = (y - 1.0f) + y;
    } else {
        y -= 1.0f;
    }
    float e = (float)exponent, y2 = y * y;
    float sum = p[0];
    for (int i = 1; i < 9; i++) sum = fmaf(sum, y, p[i]);
    sum = fmaf(sum * y, y2, e * -2.12194440e-4f);
    sum = fmaf(-0.5f, y2, sum);
    return fmaf(e, 0.693359375f, y + sum);
}

/* a = octant pi/4 + y with an even octant: sin and cos of y by polynomials, then swapped and
 * signed by the octant. pi/4 is subtracted in three parts. 0 <= a < 8192 */
static void cephes_sincos(float a, float *sine, float *cosine) {
    uint32_t octant = ((uint32_t)(a * four_over_pi) + 1) & ~1u;
    float k = (float)octant;
    float y = fmaf(k, -0.78515625f, a);
    y = fmaf(k, -2.4187564849853515625e-4f, y);
    y = fmaf(k, -3.77489497744594108e-8f, y);
    float y2 = y * y;

    float c = fmaf(2.443315711809948E-005f, y2, -1.388731625493765E-003f);
    c = fmaf(c, y2, 4.166664568298827E-002f);
    c = fmaf(c * y2, y2, -0.5f * y2) + 1.0f;
    float s = fmaf(-1.9515295891E-4f, y2, 8.3321608736E-3f);
    s = fmaf(s, y2, -1.6666654611E-1f);
    s = fmaf(s * y2, y, y);

    int swap = (octant & 2) != 0;
    *sine = swap ? c : s;
    *cosine = swap ? s : c;
    if (octant & 4) *sine = -*sine;
    if ((octant + 2) & 4) *cosine = -*cosine;
}

void box_muller16(float x[16]) {
    for (int j = 0; j < 8; j++) {
        float radius = sqrtf(-2.0f * cephes_log(1.0f - x[j]));
        float sine, cosine;
        cephes_sincos(two_pi * x[j + 8], &sine, &cosine);
        x[j] = radius * cosine + 0.0f; /* + mean: turns -0 into 0 */
        x[j + 8] = radius * sine + 0.0f;
    }
}

void box_muller16_f64(double x[16]) {
    for (int j = 0; j < 8; j++) {
        double radius = sqrt(-2 * fmath_log(1 - x[j]));
        double angle = two_pi_f64 * x[j + 8];
        x[j] = radius * fmath_cos(angle) + 0.0;
        x[j + 8] = radius * fmath_sin(angle) + 0.0;
    }
}
