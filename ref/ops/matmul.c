/* matmul.c - matrix products, and the only file that knows BLAS.
 *
 * The product is cut into tiles of fixed size, and threads take tiles. Where a tile begins depends
 * on M and N alone, never on the number of threads or on who calls, so neither does the result.
 * OpenBLAS itself is held to one thread: its own splitting would change the order of sums with the
 * machine.
 *
 * MATMUL_PLAIN is the definition: each number is one sum in index order of k, in double, plus
 * what was there before (bias, or out when accumulating), rounded once. In the float build a
 * product of two floats is exact in double, so that the only rounding that counts is the last
 * one. */
#include <cblas.h>
#include <limits.h>
#include <omp.h>
#include <pthread.h>
#include <string.h>

#include "core/err.h"
#include "ops/ops.h"

/* Tiles of out: rows enough to repay BLAS for packing b anew in each; columns few enough that a
 * product of two rows (the time embedding) still occupies several threads. */
enum { TILE_ROWS = 128, TILE_COLUMNS = 256 };
/* A product narrower than BLAS's kernels (a gate, an expert of a tiny rank) costs little either way, and
 * the plain sums are the more exact: it takes those. */
enum { NARROW = 8 };
/* Below this many multiplications, waking threads costs more than they save. */
enum { PARALLEL_FROM = 1 << 16 };

/* One product: the arguments of matmul, and a bias that may take the place of accumulating. */
typedef struct {
    real_t *out;
    const real_t *a, *b, *bias;
    double scale;
    size_t ld_out, lda, ldb, K;
    bool b_transposed, accumulate;
} product_t;

static pthread_once_t blas_once = PTHREAD_ONCE_INIT;
static pthread_mutex_t blas_lock = PTHREAD_MUTEX_INITIALIZER;
static bool blas_is_serial;

static void blas_prepare(void) {
    /* An OpenBLAS built on OpenMP passes the number on to omp_set_num_threads: put ours back. */
    int threads = omp_get_max_threads();
    openblas_set_num_threads(1);
    omp_set_num_threads(threads);
    /* An OpenBLAS built without threads hands the same buffer to two callers at once. */
    blas_is_serial = openblas_get_parallel() == OPENBLAS_SEQUENTIAL;
}

/* out tile = before + scale a b, where before is out (accumulate), the bias, or nothing. */
static void tile_blas(const product_t *p, size_t m0, size_t rows, size_t n0, size_t columns) {
    real_t *out = p->out + m0 * p->ld_out + n0;
    const real_t *a = p->a + m0 * p->lda;
    const real_t *b = p->b + (p->b_transposed ? n0 * p->ldb : n0);
    if (p->bias) {
        for (size_t m = 0; m < rows; m++)
            memcpy(out + m * p->ld_out, p->bias + n0, columns * sizeof *out);
    }
    CBLAS_TRANSPOSE turn = p->b_transposed ? CblasTrans : CblasNoTrans;
    real_t beta = p->bias || p->accumulate ? 1 : 0;
    /* An OpenBLAS built on OpenMP asks omp_get_max_threads, whatever openblas_set_num_threads said.
     * The setting belongs to this task of the parallel region in product() and ends with it. */
    omp_set_num_threads(1);
    if (blas_is_serial) pthread_mutex_lock(&blas_lock);
#ifdef MOLE_F64
    cblas_dgemm(CblasRowMajor, CblasNoTrans, turn, (blasint)rows, (blasint)columns, (blasint)p->K,
                (real_t)p->scale, a, (blasint)p->lda, b, (blasint)p->ldb, beta, out,
                (blasint)p->ld_out);
#else
    cblas_sgemm(CblasRowMajor, CblasNoTrans, turn, (blasint)rows, (blasint)columns, (blasint)p->K,
                (real_t)p->scale, a, (blasint)p->lda, b, (blasint)p->ldb, beta, out,
                (blasint)p->ld_out);
#endif
    if (blas_is_serial) pthread_mutex_unlock(&blas_lock);
}

/* The plain way works on a strip of PLAIN_COLUMNS columns, whose sums fit the registers, and
 * takes k in pieces of PLAIN_DEPTH, for which that strip of b is copied side by side. Sums stay
 * in double from the first k to the last, so the blocking does not touch the result. */
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

static void product(const product_t *p, size_t M, size_t N, matmul_t how) {
    if (M == 0 || N == 0) return;
    /* K = 0 is an empty sum; BLAS libraries disagree on it, so it never reaches them. */
    if (p->K == 0 || N < NARROW) how = MATMUL_PLAIN;
    if (how == MATMUL_BLAS) pthread_once(&blas_once, blas_prepare);
    size_t tall = (M - 1) / TILE_ROWS + 1, wide = (N - 1) / TILE_COLUMNS + 1;
    bool parallel = tall * wide > 1 && M * N * p->K >= PARALLEL_FROM && !omp_in_parallel();
#pragma omp parallel for schedule(dynamic) if (parallel)
    for (size_t tile = 0; tile < tall * wide; tile++) {
        size_t m = tile / wide * TILE_ROWS, n = tile % wide * TILE_COLUMNS;
        size_t rows = M - m < TILE_ROWS ? M - m : TILE_ROWS;
        size_t columns = N - n < TILE_COLUMNS ? N - n : TILE_COLUMNS;
        if (how == MATMUL_BLAS)
            tile_blas(p, m, rows, n, columns);
        else
            tile_plain(p, m, rows, n, columns);
    }
}

void matmul(real_t *out, size_t ld_out, const real_t *a, size_t lda, const real_t *b, size_t ldb,
            bool b_transposed, bool accumulate, size_t M, size_t N, size_t K, matmul_t how) {
    REQUIRE(ld_out >= N && lda >= K && ldb >= (b_transposed ? K : N),
            "matmul: rows overlap: out %zu apart for N=%zu, a %zu apart for K=%zu, b %zu apart for "
            "%s=%zu",
            ld_out, N, lda, K, ldb, b_transposed ? "K" : "N", b_transposed ? K : N);
    REQUIRE(how == MATMUL_PLAIN ||
                (K <= INT_MAX && ld_out <= INT_MAX && lda <= INT_MAX && ldb <= INT_MAX),
            "matmul: K=%zu, rows %zu, %zu and %zu apart: too long for BLAS, which counts in int", K,
            ld_out, lda, ldb);
    product_t p = {.out = out,
                   .a = a,
                   .b = b,
                   .scale = 1,
                   .ld_out = ld_out,
                   .lda = lda,
                   .ldb = ldb,
                   .K = K,
                   .b_transposed = b_transposed,
                   .accumulate = accumulate};
    product(&p, M, N, how);
}

void linear(real_t *out, const real_t *x, const real_t *weight, const real_t *bias, size_t M,
            size_t K, size_t N, matmul_t how) {
    REQUIRE(how == MATMUL_PLAIN || (K <= INT_MAX && N <= INT_MAX),
            "linear: K=%zu, N=%zu: too long for BLAS, which counts in int", K, N);
    product_t p = {.out = out,
                   .a = x,
                   .b = weight,
                   .bias = bias,
                   .scale = 1,
                   .ld_out = N,
                   .lda = K,
                   .ldb = K,
                   .K = K,
                   .b_transposed = true};
    product(&p, M, N, how);
}

void linear_scaled(real_t *out, const real_t *x, const real_t *weight, double scale, size_t M,
                   size_t K, size_t N, matmul_t how) {
    REQUIRE(how == MATMUL_PLAIN || (K <= INT_MAX && N <= INT_MAX),
            "linear_scaled: K=%zu, N=%zu: too long for BLAS, which counts in int", K, N);
    product_t p = {.out = out,
                   .a = x,
                   .b = weight,
                   .scale = scale,
                   .ld_out = N,
                   .lda = K,
                   .ldb = K,
                   .K = K,
                   .b_transposed = true};
    product(&p, M, N, how);
}
