/* attention.c - scaled dot-product attention, heads side by side: the definition, then the fast form.
 *
 * Numerical notes. Softmax's division by the sum of a row is put off until after the product with v:
 * D divisions instead of S. The scale multiplies inside the softmax; torch multiplies q and k by its
 * root beforehand. Causal: a row's softmax ends at its own position, the rest of the row is 0, which
 * is what exp(-inf) would give; columns that no row of the block sees are not computed at all. */
#include <math.h>
#include <omp.h>
#include <string.h>

#include "core/err.h"
#include "core/fmath.h"
#include "ops/definition.h"
#include "ops/softmax_row.h"

/* scale q . k of one query and one key. */
static double score(const real_t *q, const real_t *k, size_t D, double scale) {
    double sum = 0;
    for (size_t d = 0; d < D; d++) sum += (double)q[d] * (double)k[d];
    return scale * sum;
}

/* One query of one head: q and out (D), k and v rows C apart, of which it sees the first S. */
static void attend_definition(real_t *out, const real_t *q, const real_t *k, const real_t *v,
                              size_t S, size_t D, size_t C, double scale) {
    double most = score(q, k, D, scale), total = 0;
    for (size_t s = 1; s < S; s++) most = fmax(most, score(q, k + s * C, D, scale));
    for (size_t s = 0; s < S; s++) total += fmath_exp(score(q, k + s * C, D, scale) - most);
    for (size_t d = 0; d < D; d++) {
        double sum = 0;
        for (size_t s = 0; s < S; s++)
            sum += fmath_exp(score(q, k + s * C, D, scale) - most) * (double)v[s * C + d];
        out[d] = (real_t)(sum / total);
    }
}

void attention_definition(real_t *out, const real_t *q, const real_t *k, const real_t *v, size_t B,
                          size_t T, size_t S, size_t NH, size_t D, double scale, bool causal) {
    size_t C = NH * D;
    for (size_t b = 0; b < B; b++)
        for (size_t t = 0; t < T; t++)
            for (size_t h = 0; h < NH; h++) {
                size_t at = (b * T + t) * C + h * D, from = b * S * C + h * D;
                attend_definition(out + at, q + at, k + from, v + from, causal ? t + 1 : S, D, C,
                                  scale);
            }
}

/* The fast form. The unit of work is one head of one batch entry and BLOCK_ROWS of its queries: scores =
 * q k^T (rows x S), softmax row by row, out = scores v. The heads are not split apart in memory: a head
 * is D neighbouring channels, its rows NH*D apart, and the matrix product takes that distance as it
 * is. Scratch is one block of scores per thread. */

enum { BLOCK_ROWS = 256 };

static size_t block_rows(size_t T) {
    return T < BLOCK_ROWS ? T : BLOCK_ROWS;
}

size_t attention_work(size_t B, size_t T, size_t S, size_t NH, size_t D) {
    (void)B, (void)NH, (void)D;
    return (size_t)omp_get_max_threads() * block_rows(T) * S;
}

/* One block: q and out point at its first row, k and v at token 0, all at the head's first channel;
 * rows are C apart. Query row r stands at token t0 + r. */
static void attend(real_t *out, const real_t *q, const real_t *k, const real_t *v, size_t rows,
                   size_t S, size_t D, size_t C, double scale, bool causal, size_t t0,
                   real_t *scores, matmul_way_t how) {
    size_t seen = causal ? t0 + rows : S;
    double sum[BLOCK_ROWS];
    matmul_here(scores, seen, q, C, k, C, true, rows, seen, D, how);
    for (size_t r = 0; r < rows; r++) {
        real_t *row = scores + r * seen;
        size_t mine = causal ? t0 + r + 1 : S;
        sum[r] = softmax_row(row, row, mine, scale);
        memset(row + mine, 0, (seen - mine) * sizeof *row);
    }
    matmul_here(out, C, scores, seen, v, C, false, rows, D, seen, how);
    for (size_t r = 0; r < rows; r++) softmax_divide(out + r * C, D, sum[r]);
}

void attention(real_t *out, const real_t *q, const real_t *k, const real_t *v, size_t B, size_t T,
               size_t S, size_t NH, size_t D, double scale, bool causal, real_t *work,
               matmul_way_t how) {
    REQUIRE(S >= 1, "attention: no context tokens (S=%zu)", S);
    REQUIRE(!causal || T == S,
            "attention: causal needs as many queries as keys, not T=%zu and S=%zu", T, S);
    size_t C = NH * D, rows = block_rows(T), blocks = (T + BLOCK_ROWS - 1) / BLOCK_ROWS;
    bool parallel = B * NH * blocks > 1 && !omp_in_parallel();
#pragma omp parallel for schedule(dynamic) if (parallel)
    for (size_t unit = 0; unit < B * NH * blocks; unit++) {
        size_t b = unit / (NH * blocks), h = unit / blocks % NH, t = unit % blocks * BLOCK_ROWS;
        size_t high = T - t < rows ? T - t : rows;
        size_t query = (b * T + t) * C + h * D, key = b * S * C + h * D;
        real_t *scores = work + (parallel ? (size_t)omp_get_thread_num() : 0) * rows * S;
        attend(out + query, q + query, k + key, v + key, high, S, D, C, scale, causal, t, scores,
               how);
    }
}
