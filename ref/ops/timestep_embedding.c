/* timestep_embedding.c - a timestep as sines and cosines of falling frequency.
 *
 * Numerical notes. diffusers computes exponent, frequency, angle, sine and cosine in float32
 * whatever the model's type. An angle near 1000 rounded to float32 is off by up to 3e-5, and so
 * is its sine: ANGLES_F32 repeats those roundings, ANGLES_EXACT is what they stand for.
 * ANGLES_F32 rounds each step correctly; torch's float32 exp is good to 1 ULP only, and where it
 * misses, its angle differs from ours by one part in 2^23. */
#include "core/err.h"
#include "core/fmath.h"
#include "ops/ops.h"

/* The angle of frequency j of `half`; divisor is half - freq_shift. */
static double angle_exact(double t, size_t j, double divisor, double max_period) {
    return t * fmath_exp(-fmath_log(max_period) * (double)j / divisor);
}

static double angle_f32(double t, size_t j, double divisor, double max_period) {
    float exponent = (float)-fmath_log(max_period) * (float)j;
    exponent = exponent / (float)divisor;
    float frequency = (float)fmath_exp((double)exponent);
    float angle = (float)t * frequency;
    return (double)angle;
}

void timestep_embedding(real_t *out, const double *t, size_t B, size_t dim, bool flip_sin_to_cos,
                        double freq_shift, double max_period, angles_t angles) {
    size_t half = dim / 2;
    double divisor = (double)half - freq_shift;
    REQUIRE(half == 0 || divisor != 0,
            "timestep_embedding: dim/2=%zu less freq_shift=%g divides by 0", half, freq_shift);
    REQUIRE(max_period > 0, "timestep_embedding: max_period=%g must be above 0", max_period);
    for (size_t b = 0; b < B; b++) {
        real_t *sines = out + b * dim + (flip_sin_to_cos ? half : 0);
        real_t *cosines = out + b * dim + (flip_sin_to_cos ? 0 : half);
        for (size_t j = 0; j < half; j++) {
            double angle = angles == ANGLES_F32 ? angle_f32(t[b], j, divisor, max_period)
                                                : angle_exact(t[b], j, divisor, max_period);
            double sine = fmath_sin(angle), cosine = fmath_cos(angle);
            sines[j] = (real_t)(angles == ANGLES_F32 ? (double)(float)sine : sine);
            cosines[j] = (real_t)(angles == ANGLES_F32 ? (double)(float)cosine : cosine);
        }
        if (dim % 2) out[b * dim + dim - 1] = 0;
    }
}
