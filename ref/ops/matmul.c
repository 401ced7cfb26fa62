/* matmul.c - matrix products: the definition, its fast form of the same bits, and the way through BLAS.
 *
 * MATMUL_PLAIN gives the definition's numbers. MATMUL_BLAS leaves the order of a sum to BLAS
 * (matmul_blas.c), but for products that are narrower than its kernels.
 *
 * The product is cut into tiles, and threads take tiles. Where a tile begins depends on M, N and the
 * number of products alone, never on the number of threads or on who calls, so neither does the
 * result. How large a tile? BLAS copies a tile's rows of a and columns of b into an order of its own
 * before it multiplies, so the larger the tile, the less copying per number of the result; but there
 * must be tiles enough to go round. See choose_tiles. */
#include <limits.h>
#include <omp.h>
#include <string.h>

#include "core/err.h"
#include "core/vectorised.h"
#include "ops/definition.h"
#include "ops/matmul_blas.h"

/* The definition: each number is one sum in index order of k, in double, plus what was there before,
 * rounded once. In the float build a product of two floats is exact in double, so that the only rounding
 * that counts is the last one. */
static void tile_definition(const product_t *p, size_t m0, size_t rows, size_t n0, size_t columns) {
    size_t step_k = p->b_transposed ? 1 : p->ldb, step_n = p->b_transposed ? p->ldb : 1;
    for (size_t m = m0; m < m0 + rows; m++)
        for (size_t n = n0; n < n0 + columns; n++) {
            real_t *out = p->out + m * p->ld_out + n;
            double before = p->bias         ? (double)p->bias[n]
                            : p->accumulate ? (double)*out
                                            : 0,
                   sum = 0;
            for (size_t k = 0; k < p->K; k++)
                sum += (double)p->a[m * p->lda + k] * (double)p->b[k * step_k + n * step_n];
            *out = (real_t)(p->scale * sum + before);
        }
}

/* Tiles of out: at most so large, PARTS of them if that leaves them larger than the smallest. */
enum { LARGEST_ROWS = 1024, LARGEST_COLUMNS = 1280, SMALLEST = 128, PARTS = 8 };
/* A product narrower than BLAS's kernels (a gate, an expert of a tiny rank) is a few dot products per
 * row, which in double cost little and are the more exact. */
enum { NARROW = 8 };
/* Below this many multiplications, waking threads costs more than they save. */
enum { PARALLEL_FROM = 1 << 16 };

/* The definition's numbers, faster: a strip of PLAIN_COLUMNS columns, whose sums fit the registers, takes k
 * in pieces of PLAIN_DEPTH, for which that strip of b is copied side by side. Sums stay
 * in double from the first k to the last, so every bit is the definition's. */
enum { PLAIN_ROWS = 32, PLAIN_COLUMNS = 16, PLAIN_DEPTH = 128 };

static void plain_pack(double panel[PLAIN_DEPTH][PLAIN_COLUMNS], const product_t *p, size_t k0,
                       size_t depth, size_t n0, size_t columns) {
    size_t step_k = p->b_transposed ? 1 : p->ldb, step_n = p->b_transposed ? p->ldb : 1;
    for (size_t k = 0; k < depth; k++) {
        const real_t *b = p->b + (k0 + k) * step_k + n0 * step_n;
        for (size_t n = 0; n < columns; n++) panel[k][n] = (double)b[n * step_n];
        for (size_t n = columns; n < PLAIN_COLUMNS; n++) panel[k][n] = 0;
    }
}

static void plain_sum(double sum[PLAIN_COLUMNS], const real_t *a, size_t depth,
                      double panel[PLAIN_DEPTH][PLAIN_COLUMNS]) {
    double s[PLAIN_COLUMNS];
    memcpy(s, sum, sizeof s);
    for (size_t k = 0; k < depth; k++) {
        double ak = (double)a[k];
        for (size_t n = 0; n < PLAIN_COLUMNS; n++) s[n] += ak * panel[k][n];
    }
    memcpy(sum, s, sizeof s);
}

static void plain_store(const product_t *p, double sum[PLAIN_COLUMNS], size_t m, size_t n0,
                        size_t columns) {
    real_t *out = p->out + m * p->ld_out + n0;
    for (size_t n = 0; n < columns; n++) {
        double before = p->bias ? (double)p->bias[n0 + n] : p->accumulate ? (double)out[n] : 0;
        out[n] = (real_t)(p->scale * sum[n] + before);
    }
}

/* A block of at most PLAIN_ROWS x PLAIN_COLUMNS numbers of out. */
static void plain_block(const product_t *p, size_t m0, size_t rows, size_t n0, size_t columns) {
    double sum[PLAIN_ROWS][PLAIN_COLUMNS] = {{0}}, panel[PLAIN_DEPTH][PLAIN_COLUMNS];
    for (size_t k0 = 0; k0 < p->K; k0 += PLAIN_DEPTH) {
        size_t depth = p->K - k0 < PLAIN_DEPTH ? p->K - k0 : PLAIN_DEPTH;
        plain_pack(panel, p, k0, depth, n0, columns);
        for (size_t m = 0; m < rows; m++)
            plain_sum(sum[m], p->a + (m0 + m) * p->lda + k0, depth, panel);
    }
    for (size_t m = 0; m < rows; m++) plain_store(p, sum[m], m0 + m, n0, columns);
}

static void tile_plain(const product_t *p, size_t m0, size_t rows, size_t n0, size_t columns) {
    for (size_t n = 0; n < columns; n += PLAIN_COLUMNS) {
        size_t wide = columns - n < PLAIN_COLUMNS ? columns - n : PLAIN_COLUMNS;
        for (size_t m = 0; m < rows; m += PLAIN_ROWS) {
            size_t high = rows - m < PLAIN_ROWS ? rows - m : PLAIN_ROWS;
            plain_block(p, m0 + m, high, n0 + n, wide);
        }
    }
}

/* out tile for N < NARROW, from dot products over LANES interleaved sums in double. */
enum { LANES = 8 };

VECTORISED static double dot(const real_t *a, const real_t *b, size_t step_b, size_t K) {
    double lane[LANES] = {0}, sum = 0;
    size_t k = 0;
    for (; k + LANES <= K; k += LANES)
        for (size_t l = 0; l < LANES; l++) lane[l] += (double)a[k + l] * b[(k + l) * step_b];
    for (; k < K; k++) sum += (double)a[k] * b[k * step_b];
    for (size_t l = 0; l < LANES; l++) sum += lane[l];
    return sum;
}

static void tile_narrow(const product_t *p, size_t m0, size_t rows, size_t n0, size_t columns) {
    size_t step_k = p->b_transposed ? 1 : p->ldb, step_n = p->b_transposed ? p->ldb : 1;
    for (size_t m = m0; m < m0 + rows; m++)
        for (size_t n = n0; n < n0 + columns; n++) {
            real_t *out = p->out + m * p->ld_out + n;
            double before = p->bias ? (double)p->bias[n] : p->accumulate ? (double)*out : 0;
            double sum = dot(p->a + m * p->lda, p->b + n * step_n, step_k, p->K);
            *out = (real_t)(p->scale * sum + before);
        }
}

/* K = 0 is an empty sum; BLAS libraries disagree on it, so it never reaches them. */
static tile_t *choose_way(const product_t *p, size_t N, matmul_way_t how) {
    if (p->K == 0) return tile_definition;
    if (how == MATMUL_PLAIN) return tile_plain;
    return N < NARROW ? tile_narrow : matmul_blas_tile();
}

/* Equal tiles of at most LARGEST_ROWS x LARGEST_COLUMNS; then the longer side is halved until there are
 * PARTS over all products, or the tile is small. */
static void choose_tiles(size_t *rows, size_t *columns, size_t M, size_t N, size_t count) {
    size_t tall = matmul_parts(M, LARGEST_ROWS), wide = matmul_parts(N, LARGEST_COLUMNS);
    *rows = matmul_part_size(M, tall);
    *columns = matmul_part_size(N, wide);
    while (tall * wide * count < PARTS) {
        bool by_rows = *rows >= *columns;
        size_t *longer = by_rows ? rows : columns;
        if (*longer < 2 * SMALLEST) return;
        if (by_rows)
            tall *= 2;
        else
            wide *= 2;
        *longer = matmul_part_size(by_rows ? M : N, by_rows ? tall : wide);
    }
}

static void products(const product_t *all, size_t M, size_t N, matmul_way_t how) {
    if (M == 0 || N == 0 || all->count == 0) return;
    tile_t *tile_way = choose_way(all, N, how);
    size_t high, broad;
    choose_tiles(&high, &broad, M, N, all->count);
    size_t tall = matmul_parts(M, high), wide = matmul_parts(N, broad),
           tiles = tall * wide * all->count;
    bool parallel = tiles > 1 && all->count * M * N * all->K >= PARALLEL_FROM && !omp_in_parallel();
#pragma omp parallel for schedule(dynamic) if (parallel)
    for (size_t tile = 0; tile < tiles; tile++) {
        size_t i = tile / (tall * wide), m = tile / wide % tall * high, n = tile % wide * broad;
        product_t p = *all;
        p.out += i * p.step_out;
        p.a += i * p.step_a;
        p.b += i * p.step_b;
        tile_way(&p, m, M - m < high ? M - m : high, n, N - n < broad ? N - n : broad);
    }
}

static void check_rows(const product_t *p, size_t N, matmul_way_t how) {
    REQUIRE(p->ld_out >= N && p->lda >= p->K && p->ldb >= (p->b_transposed ? p->K : N),
            "matmul: rows overlap: out %zu apart for N=%zu, a %zu apart for K=%zu, b %zu apart for "
            "%s=%zu",
            p->ld_out, N, p->lda, p->K, p->ldb, p->b_transposed ? "K" : "N",
            p->b_transposed ? p->K : N);
    REQUIRE(how == MATMUL_PLAIN ||
                (p->K <= INT_MAX && p->ld_out <= INT_MAX && p->lda <= INT_MAX && p->ldb <= INT_MAX),
            "matmul: K=%zu, rows %zu, %zu and %zu apart: too long for BLAS, which counts in int",
            p->K, p->ld_out, p->lda, p->ldb);
}

static product_t product_of(real_t *out, size_t ld_out, const real_t *a, size_t lda,
                            const real_t *b, size_t ldb, size_t K) {
    return (product_t){.out = out,
                       .a = a,
                       .b = b,
                       .scale = 1,
                       .ld_out = ld_out,
                       .lda = lda,
                       .ldb = ldb,
                       .K = K,
                       .count = 1};
}

void matmul(real_t *out, size_t ld_out, const real_t *a, size_t lda, const real_t *b, size_t ldb,
            bool b_transposed, bool accumulate, size_t M, size_t N, size_t K, matmul_way_t how) {
    product_t p = product_of(out, ld_out, a, lda, b, ldb, K);
    p.b_transposed = b_transposed;
    p.accumulate = accumulate;
    check_rows(&p, N, how);
    products(&p, M, N, how);
}

void matmul_definition(real_t *out, const real_t *a, const real_t *b, bool b_transposed,
                       bool accumulate, size_t M, size_t N, size_t K) {
    product_t p = product_of(out, N, a, K, b, b_transposed ? K : N, K);
    p.b_transposed = b_transposed;
    p.accumulate = accumulate;
    tile_definition(&p, 0, M, 0, N);
}

void matmul_scaled(real_t *out, size_t ld_out, const real_t *a, size_t lda, const real_t *b,
                   size_t ldb, double scale, size_t M, size_t N, size_t K, matmul_way_t how) {
    product_t p = product_of(out, ld_out, a, lda, b, ldb, K);
    p.scale = scale;
    check_rows(&p, N, how);
    products(&p, M, N, how);
}

void matmul_here(real_t *out, size_t ld_out, const real_t *a, size_t lda, const real_t *b,
                 size_t ldb, bool b_transposed, size_t M, size_t N, size_t K, matmul_way_t how) {
    product_t p = product_of(out, ld_out, a, lda, b, ldb, K);
    p.b_transposed = b_transposed;
    check_rows(&p, N, how);
    if (M && N) choose_way(&p, N, how)(&p, 0, M, 0, N);
}

void matmul_batch(real_t *out, const real_t *a, const real_t *b, size_t count, size_t M, size_t N,
                  size_t K, matmul_way_t how) {
    product_t p = product_of(out, N, a, K, b, K, K);
    p.b_transposed = true;
    p.count = count;
    p.step_out = M * N;
    p.step_a = M * K;
    p.step_b = N * K;
    check_rows(&p, N, how);
    products(&p, M, N, how);
}

static void linear_of(real_t *out, const real_t *x, const real_t *weight, const real_t *bias,
                      double scale, size_t M, size_t K, size_t N, matmul_way_t how,
                      const char *name) {
    REQUIRE(how == MATMUL_PLAIN || (K <= INT_MAX && N <= INT_MAX),
            "%s: K=%zu, N=%zu: too long for BLAS, which counts in int", name, K, N);
    product_t p = product_of(out, N, x, K, weight, K, K);
    p.b_transposed = true;
    p.bias = bias;
    p.scale = scale;
    products(&p, M, N, how);
}

void linear(real_t *out, const real_t *x, const real_t *weight, const real_t *bias, size_t M,
            size_t K, size_t N, matmul_way_t how) {
    linear_of(out, x, weight, bias, 1, M, K, N, how, "linear");
}

void linear_scaled(real_t *out, const real_t *x, const real_t *weight, double scale, size_t M,
                   size_t K, size_t N, matmul_way_t how) {
    linear_of(out, x, weight, NULL, scale, M, K, N, how, "linear_scaled");
}
