/* noise.h - the random numbers of torch: same seed, same latents.
 *
 * On the CPU torch draws from mt19937, on a GPU from Philox 4x32-10; one seed gives two unrelated
 * pictures. Facts are those of ATen 2.13 (DistributionTemplates.h, DistributionsHelper.h and
 * TransformationHelper.h, for CPU and CUDA) and cuRAND (curand_normal.h).
 *
 * Read before: mt19937.h, philox.h. */
#ifndef MOLE_SAMPLER_NOISE_H
#define MOLE_SAMPLER_NOISE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/err.h"
#include "sampler/mt19937.h"

/* ---- CPU: torch.Generator -------------------------------------------------------------------- */

/* A generator whose calls go on where the last one stopped, as those of torch.Generator do: a
 * sampler with eta > 0 draws its noise from the generator that drew the latents. Plain memory:
 * copying forks. */
typedef struct {
    mt19937_t engine;
    bool has_spare; /* short requests make normals in pairs and keep the second one */
    double spare;
} generator_t;

/* torch.Generator().manual_seed(seed): also forgets the spare normal. */
void noise_seed(generator_t *noise, uint64_t seed);

/* torch.rand(n, dtype=torch.float32), bit for bit: the low 24 bits of each draw, times 2^-24. */
void noise_rand(float *out, size_t n, generator_t *noise);
/* torch.rand(n, dtype=torch.float64), bit for bit: two draws, the first the upper 32 bits, of which
 * the low 53 bits count, times 2^-53. */
void noise_rand_f64(double *out, size_t n, generator_t *noise);

/* torch.randn(n, dtype=torch.float32) of a contiguous tensor. Its size decides how:
 *
 *   n < 16     one by one in double, from pairs u, v of float64 uniforms:
 *                sqrt(-2 log1p(-v)) cos(2 pi u), and as spare the same with sin
 *              rounded to float32 once. The spare outlives the call.
 *   n >= 16    n float32 uniforms first; then in each block of 16, for j < 8:
 *                r = sqrt(-2 log(1 - x[j])), a = 2 pi x[j+8];  x[j] = r cos a, x[j+8] = r sin a
 *              all in float32. When 16 does not divide n, 16 fresh uniforms then replace the last
 *              16 numbers, some of which had been normal already. The spare is neither used nor
 *              made.
 *
 * Equal bits with torch on x86 with AVX2 or AVX-512 (box_muller.c). Where torch has no AVX2 its
 * blocks call libm: 38% of the numbers then differ, by at most 2.3e-6. */
void noise_randn(float *out, size_t n, generator_t *noise);

/* torch.randn(n, dtype=torch.float64): the same two rules, in double throughout. torch calls libm there,
 * whose last bit depends on libm and processor; core/fmath.h's is the same everywhere. Of 10^6 numbers 0.4
 * % were not torch's (glibc 2.36), by 4 units of 2^-53 at most. Of n < 16 above, rounded to float32, all of
 * 280,000 were. */
void noise_randn_f64(double *out, size_t n, generator_t *noise);

/* ---- CUDA: torch.Generator("cuda") ----------------------------------------------------------- */

enum {
    /* Up to this many numbers every GPU with at least 40 multiprocessors of 1024 threads (a Tesla
     * T4) gives the same ones: each comes from a thread of its own. */
    NOISE_CUDA_SAME = 40 * 1024
};

/* torch.randn(n, dtype=torch.float32, device="cuda") with a generator seeded with `seed`.
 *
 * Element i belongs to thread i mod T; thread t draws from Philox's subsequence t, four normals per
 * round, and uses the q-th of round w for element (4 w + q) T + t. T is the number of threads that
 * the launch has: 256 min(ceil(n / 256), threads / 256), where `threads` is what the GPU can hold
 * at once: multiProcessorCount * floor(maxThreadsPerMultiProcessor / 256) * 256. Above that number
 * the result depends on the GPU model. threads = 0 stands for any GPU of NOISE_CUDA_SAME threads
 * or more; larger n are then refused.
 *
 * offset: the generator's philox offset, 0 after seeding; every randn adds noise_cuda_advance() to
 * it. It must be a multiple of 4.
 *
 * CUDA computes log, sin and cos with its own approximations (sin and cos with the fast ones),
 * whose bits are not to be had elsewhere: here they are exact in double and rounded once, which
 * agrees with every published number (four to eight digits).
 *
 * Returns 0, or -1 and err; out is untouched then. */
int noise_randn_cuda(float *out, size_t n, uint64_t seed, uint64_t offset, size_t threads,
                     err_t *err);

/* What a randn of n numbers adds to the offset. */
uint64_t noise_cuda_advance(size_t n, size_t threads);

#endif
