/* noise.c - see noise.h: torch's CPU generator. */
#include "sampler/noise.h"

#include <math.h>

#include "core/fmath.h"
#include "sampler/box_muller.h"

enum { BLOCK = 16 };

void noise_seed(generator_t *noise, uint64_t seed) {
    mt19937_seed(&noise->engine, seed);
    noise->has_spare = false;
    noise->spare = 0;
}

static float uniform(generator_t *noise) {
    return (float)(mt19937_next(&noise->engine) & 0xffffffu) * 0x1p-24f;
}

static double uniform_f64(generator_t *noise) {
    uint64_t high = mt19937_next(&noise->engine);
    uint64_t bits = high << 32 | mt19937_next(&noise->engine);
    return (double)(bits & 0x1fffffffffffffu) * 0x1p-53;
}

void noise_rand(float *out, size_t n, generator_t *noise) {
    for (size_t i = 0; i < n; i++) out[i] = uniform(noise);
}

void noise_rand_f64(double *out, size_t n, generator_t *noise) {
    for (size_t i = 0; i < n; i++) out[i] = uniform_f64(noise);
}

/* A short request's normal: the spare one, or the first of a fresh pair. */
static double normal(generator_t *noise) {
    if (noise->has_spare) {
        noise->has_spare = false;
        return noise->spare;
    }
    double u = uniform_f64(noise), v = uniform_f64(noise);
    double radius = sqrt(-2 * fmath_log1p(-v));
    double angle = 2 * 3.14159265358979323846 * u;
    noise->spare = radius * fmath_sin(angle);
    noise->has_spare = true;
    return radius * fmath_cos(angle);
}

void noise_randn(float *out, size_t n, generator_t *noise) {
    if (n < BLOCK) {
        for (size_t i = 0; i < n; i++) out[i] = (float)normal(noise);
        return;
    }
    noise_rand(out, n, noise);
    for (size_t i = 0; i + BLOCK <= n; i += BLOCK) box_muller16(out + i);
    if (n % BLOCK) {
        noise_rand(out + n - BLOCK, BLOCK, noise);
        box_muller16(out + n - BLOCK);
    }
}

void noise_randn_f64(double *out, size_t n, generator_t *noise) {
    if (n < BLOCK) {
        for (size_t i = 0; i < n; i++) out[i] = normal(noise);
        return;
    }
    noise_rand_f64(out, n, noise);
    for (size_t i = 0; i + BLOCK <= n; i += BLOCK) box_muller16_f64(out + i);
    if (n % BLOCK) {
        noise_rand_f64(out + n - BLOCK, BLOCK, noise);
        box_muller16_f64(out + n - BLOCK);
    }
}
