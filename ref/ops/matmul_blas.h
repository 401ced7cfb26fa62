/* matmul_blas.h - what matmul.c and matmul_blas.c share: a product, and a tile of it. */
#ifndef MOLE_OPS_MATMUL_BLAS_H
#define MOLE_OPS_MATMUL_BLAS_H

#include "ops/ops.h"

/* A tile is a whole number of these rows or columns: BLAS's kernels have no ragged edge inside out. */
enum { MATMUL_EDGE = 16 };

/* Products of one shape: the arguments of matmul, and a bias that may take the place of accumulating.
 * Product i begins i * step_* numbers further on. */
typedef struct {
    real_t *out;
    const real_t *a, *b, *bias;
    double scale;
    size_t ld_out, lda, ldb, K;
    bool b_transposed, accumulate;
    size_t count, step_out, step_a, step_b;
} product_t;

/* Computes rows m0 .. m0+rows-1 and columns n0 .. n0+columns-1 of p->out:
 * out = scale a b + before, where before is out (accumulate), the bias, or nothing. */
typedef void tile_t(const product_t *p, size_t m0, size_t rows, size_t n0, size_t columns);

/* The way of a tile through BLAS; the first call prepares the library. K >= 1. */
tile_t *matmul_blas_tile(void);

/* How many parts of at most `of` numbers n makes. */
static inline size_t matmul_parts(size_t n, size_t of) {
    return (n - 1) / of + 1;
}

/* The size of n's parts when there are `count` of them: equal, and whole edges. */
static inline size_t matmul_part_size(size_t n, size_t count) {
    size_t size = matmul_parts(n, count);
    return (size + MATMUL_EDGE - 1) / MATMUL_EDGE * MATMUL_EDGE;
}

#endif
