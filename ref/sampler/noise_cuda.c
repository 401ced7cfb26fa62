/* noise_cuda.c - see noise.h: torch's CUDA generator.
 *
 * Each thread of the launch has a Philox subsequence of its own and draws four words at a time,
 * which cuRAND turns into four normals: sin and cos of the first pair, then of the second. */
#include "sampler/noise.h"

#include <math.h>

#include "core/fmath.h"
#include "sampler/philox.h"

enum { THREADS_PER_BLOCK = 256, DRAWN_AT_ONCE = 4 };

/* 2^-32 and 2 pi 2^-32, as curand_normal.h has them: float32. */
static const float scale = 2.3283064e-10f;
static const float angle_scale = 2.3283064e-10f * 6.2831855f;

/* Two words to two normals. u is in (0, 1]; angles are those of the middle of each interval. The
 * multiply-adds are fused, as nvcc compiles them. */
static void curand_box_muller(float normal[2], uint32_t x, uint32_t y) {
    float u = fmaf((float)x, scale, scale / 2);
    float angle = fmaf((float)y, angle_scale, angle_scale / 2);
    double radius = sqrt(-2 * fmath_log((double)u));
    normal[0] = (float)(radius * fmath_sin((double)angle));
    normal[1] = (float)(radius * fmath_cos((double)angle));
}

/* Four normals of a subsequence; `draw` counts from its beginning. */
static void curand_normal4(float normal[DRAWN_AT_ONCE], uint64_t seed, uint64_t subsequence,
                           uint64_t draw) {
    uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    uint32_t word[4] = {(uint32_t)draw, (uint32_t)(draw >> 32), (uint32_t)subsequence,
                        (uint32_t)(subsequence >> 32)};
    philox4x32_10(word, word, key);
    curand_box_muller(normal, word[0], word[1]);
    curand_box_muller(normal + 2, word[2], word[3]);
}

/* Threads of the launch: whole blocks, enough for all elements, at most what the GPU holds. */
static uint64_t launched(size_t n, size_t threads) {
    uint64_t blocks = ((uint64_t)n + THREADS_PER_BLOCK - 1) / THREADS_PER_BLOCK;
    uint64_t most = (threads ? threads : NOISE_CUDA_SAME) / THREADS_PER_BLOCK;
    return THREADS_PER_BLOCK * (blocks < most ? blocks : most);
}

uint64_t noise_cuda_advance(size_t n, size_t threads) {
    if (n == 0) return 0;
    uint64_t per_round = launched(n, threads) * DRAWN_AT_ONCE;
    return (((uint64_t)n - 1) / per_round + 1) * DRAWN_AT_ONCE;
}

static int check(size_t n, uint64_t offset, size_t threads, err_t *err) {
    if (threads % THREADS_PER_BLOCK)
        return err_set(err,
                       "CUDA noise: %zu threads, expected a multiple of %d: multiProcessorCount * "
                       "floor(maxThreadsPerMultiProcessor / %d) * %d of the GPU",
                       threads, THREADS_PER_BLOCK, THREADS_PER_BLOCK, THREADS_PER_BLOCK);
    if (offset % DRAWN_AT_ONCE)
        return err_set(err, "CUDA noise: philox offset %llu is not a multiple of 4",
                       (unsigned long long)offset);
    if (threads == 0 && n > NOISE_CUDA_SAME)
        return err_set(
            err,
            "CUDA noise: %zu numbers, at most %d are the same on every GPU: say how many "
            "threads the GPU holds (multiProcessorCount * "
            "floor(maxThreadsPerMultiProcessor / %d) * %d), or load the latents from a file",
            n, NOISE_CUDA_SAME, THREADS_PER_BLOCK, THREADS_PER_BLOCK);
    return 0;
}

int noise_randn_cuda(float *out, size_t n, uint64_t seed, uint64_t offset, size_t threads,
                     err_t *err) {
    if (check(n, offset, threads, err)) return -1;
    if (n == 0) return 0;
    uint64_t T = launched(n, threads);
    uint64_t round_size = T * DRAWN_AT_ONCE;
    for (uint64_t first = 0, round = 0; first < n; first += round_size, round++) {
        for (uint64_t t = 0; t < T && first + t < n; t++) {
            float normal[DRAWN_AT_ONCE];
            curand_normal4(normal, seed, t, offset / DRAWN_AT_ONCE + round);
            for (uint64_t q = 0; q < DRAWN_AT_ONCE && first + q * T + t < n; q++)
                out[first + q * T + t] = normal[q];
        }
    }
    return 0;
}
