/* matmul_blas.c - a tile of a matrix product through BLAS; the only file that knows it.
 *
 * OpenBLAS is held to one thread: its own splitting would change the order of sums with the machine. */
#include "ops/matmul_blas.h"

#include <cblas.h>
#include <omp.h>
#include <pthread.h>
#include <string.h>

#include "ops/blas.h"

/* BLAS sums at most so many products in one go. Roundings of a sum grow with the length of its chain: in
 * pieces of 64 the error is half of that of the kernels' own pieces, at 4 % of the time. */
enum { DEPTH = 64 };

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

/* The one place where BLAS is called: out = beta out + scale a b over `depth` numbers. */
static void gemm(const product_t *p, real_t *out, const real_t *a, const real_t *b, size_t rows,
                 size_t columns, size_t depth, real_t beta) {
    CBLAS_TRANSPOSE turn = p->b_transposed ? CblasTrans : CblasNoTrans;
#ifdef MOLE_F64
    cblas_dgemm(CblasRowMajor, CblasNoTrans, turn, (blasint)rows, (blasint)columns, (blasint)depth,
                (real_t)p->scale, a, (blasint)p->lda, b, (blasint)p->ldb, beta, out,
                (blasint)p->ld_out);
#else
    cblas_sgemm(CblasRowMajor, CblasNoTrans, turn, (blasint)rows, (blasint)columns, (blasint)depth,
                (real_t)p->scale, a, (blasint)p->lda, b, (blasint)p->ldb, beta, out,
                (blasint)p->ld_out);
#endif
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
    /* An OpenBLAS built on OpenMP asks omp_get_max_threads, whatever openblas_set_num_threads said.
     * The setting belongs to this task of the parallel region in products() and ends with it. */
    omp_set_num_threads(1);
    if (blas_is_serial) pthread_mutex_lock(&blas_lock);
    size_t step = matmul_part_size(p->K, matmul_parts(p->K, DEPTH));
    for (size_t k = 0; k < p->K; k += step) {
        bool first = k == 0 && !p->bias && !p->accumulate;
        gemm(p, out, a + k, b + k * (p->b_transposed ? 1 : p->ldb), rows, columns,
             p->K - k < step ? p->K - k : step, first ? 0 : 1);
    }
    if (blas_is_serial) pthread_mutex_unlock(&blas_lock);
}

tile_t *matmul_blas_tile(void) {
    pthread_once(&blas_once, blas_prepare);
    return tile_blas;
}

void matmul_whole(real_t *out, const real_t *a, const real_t *b, size_t N) {
    pthread_once(&blas_once, blas_prepare);
    product_t p = {.scale = 1, .ld_out = N, .lda = N, .ldb = N};
    openblas_set_num_threads(omp_get_max_threads());
    gemm(&p, out, a, b, N, N, N, 0);
    int threads = omp_get_max_threads();
    openblas_set_num_threads(1);
    omp_set_num_threads(threads);
}

const char *matmul_library(void) {
    return openblas_get_config();
}

const char *matmul_kernel(void) {
    return openblas_get_corename();
}
