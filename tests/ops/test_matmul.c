/* matmul and linear: against the slow oracle, against the sum that defines the plain way bit for
 * bit, and their contracts. */
#include <cblas.h>
#include <math.h>
#include <omp.h>
#include <string.h>

#include "../fixture.h"
#include "../slow.h"
#include "ops/ops.h"

/* Ones, odd numbers, and both sides of every block: 16, 32, 128 columns and depths, and of tiles. */
static const size_t sizes[][3] = {
    {1, 1, 1},     {1, 7, 5},      {5, 1, 7},     {7, 5, 1},      {3, 17, 31},    {16, 16, 16},
    {33, 15, 127}, {31, 33, 128},  {32, 32, 129}, {129, 31, 257}, {128, 256, 17}, {127, 257, 33},
    {2, 600, 40},  {300, 300, 40}, {1, 257, 300}, {257, 1, 385},  {77, 40, 300},  {2, 1280, 320},
    {1030, 9, 20}, {9, 1290, 20},  {1, 8, 50},    {3, 7, 50},
};
enum { SIZES = sizeof sizes / sizeof *sizes, GAP = 3 };

/* What went before the last rounding: K products and sums, in double or in the BLAS's own
 * precision. */
static double spread_of(matmul_way_t how, size_t K) {
    return (double)(K + 2) * (how == MATMUL_PLAIN ? UNIT64 : UNIT);
}

/* Rows GAP numbers further apart than they are long; what lies between is NaN. */
static real_t *spaced(const double *x, size_t rows, size_t columns) {
    real_t *out = fixture_blank(rows * (columns + GAP));
    for (size_t i = 0; i < rows * columns; i++)
        out[i / columns * (columns + GAP) + i % columns] = (real_t)x[i];
    return out;
}

static double *unspaced(const real_t *x, size_t rows, size_t columns) {
    double *out = fixture_bytes(rows * columns * sizeof *out);
    for (size_t r = 0; r < rows; r++) {
        for (size_t c = 0; c < columns; c++)
            out[r * columns + c] = (double)x[r * (columns + GAP) + c];
        for (size_t g = 0; g < GAP; g++) assert_true(isnan(x[r * (columns + GAP) + columns + g]));
    }
    return out;
}

static void one_matmul(size_t M, size_t N, size_t K, bool b_transposed, bool accumulate,
                       matmul_way_t how) {
    double *a = fixture_random(M * K, 1, 1), *b = fixture_random(K * N, 2, 1);
    double *before = fixture_random(M * N, 3, 2);
    double *truth = fixture_bytes(M * N * sizeof *truth),
           *size = fixture_bytes(M * N * sizeof *size);
    slow_matmul(truth, size, a, b, b_transposed, accumulate ? before : NULL, M, N, K);
    size_t b_rows = b_transposed ? N : K, b_columns = b_transposed ? K : N;
    real_t *out = accumulate ? spaced(before, M, N) : fixture_blank(M * (N + GAP));
    matmul(out, N + GAP, spaced(a, M, K), K + GAP, spaced(b, b_rows, b_columns), b_columns + GAP,
           b_transposed, accumulate, M, N, K, how);
    fixture_close(unspaced(out, M, N), truth, size, spread_of(how, K), M * N,
                  "matmul %zux%zux%zu%s%s, %s", M, N, K, b_transposed ? ", transposed" : "",
                  accumulate ? ", accumulating" : "", how == MATMUL_PLAIN ? "plain" : "BLAS");
}

static void matmul_equals_slow(void **state) {
    for (size_t i = 0; i < SIZES * 8; i++) {
        const size_t *s = sizes[i / 8];
        one_matmul(s[0], s[1], s[2], i & 1, i & 2, i & 4 ? MATMUL_PLAIN : MATMUL_BLAS);
        fixture_free(state);
    }
}

static void linear_equals_slow(void **state) {
    for (size_t i = 0; i < SIZES * 4; i++) {
        size_t M = sizes[i / 4][0], N = sizes[i / 4][1], K = sizes[i / 4][2];
        matmul_way_t how = i & 1 ? MATMUL_PLAIN : MATMUL_BLAS;
        double *x = fixture_random(M * K, 4, 1), *w = fixture_random(N * K, 5, 1);
        double *bias = i & 2 ? fixture_random(N, 6, 3) : NULL;
        double *truth = fixture_bytes(M * N * sizeof *truth),
               *size = fixture_bytes(M * N * sizeof *size);
        slow_linear(truth, size, x, w, bias, M, K, N);
        real_t *out = fixture_blank(M * N);
        linear(out, fixture_reals(x, M * K), fixture_reals(w, N * K), fixture_reals(bias, N), M, K,
               N, how);
        fixture_close(fixture_doubles(out, M * N), truth, size, spread_of(how, K), M * N,
                      "linear %zux%zux%zu%s, %s", M, K, N, bias ? " with bias" : "",
                      how == MATMUL_PLAIN ? "plain" : "BLAS");
        fixture_free(state);
    }
}

/* The scale takes part before the rounding, so the oracle is given a scaled weight, exact in
 * double. */
static void linear_scaled_equals_slow(void **state) {
    const double scale = 0.375; /* a power of two would hide a second rounding */
    for (size_t i = 0; i < SIZES * 2; i++) {
        size_t M = sizes[i / 2][0], N = sizes[i / 2][1], K = sizes[i / 2][2];
        matmul_way_t how = i & 1 ? MATMUL_PLAIN : MATMUL_BLAS;
        double *x = fixture_random(M * K, 4, 1), *w = fixture_random(N * K, 5, 1);
        double *scaled = fixture_bytes(N * K * sizeof *scaled);
        for (size_t j = 0; j < N * K; j++) scaled[j] = w[j] * scale;
        double *truth = fixture_bytes(M * N * sizeof *truth),
               *size = fixture_bytes(M * N * sizeof *size);
        slow_linear(truth, size, x, scaled, NULL, M, K, N);
        real_t *out = fixture_blank(M * N);
        linear_scaled(out, fixture_reals(x, M * K), fixture_reals(w, N * K), scale, M, K, N, how);
        fixture_close(fixture_doubles(out, M * N), truth, size, spread_of(how, K), M * N,
                      "linear_scaled %zux%zux%zu, %s", M, K, N,
                      how == MATMUL_PLAIN ? "plain" : "BLAS");
        fixture_free(state);
    }
}

/* MATMUL_PLAIN promises one particular number: these loops. */
static void plain_is_the_defining_sum(void **state) {
    (void)state;
    enum { M = 37, N = 270, K = 301 };
    real_t *x = fixture_reals(fixture_random(M * K, 7, 1), M * K);
    real_t *w = fixture_reals(fixture_random(N * K, 8, 1), N * K);
    real_t *bias = fixture_reals(fixture_random(N, 9, 1), N);
    real_t *out = fixture_blank(M * N), *more = fixture_blank(M * N);
    linear(out, x, w, bias, M, K, N, MATMUL_PLAIN);
    memcpy(more, out, M * N * sizeof *out);
    matmul(more, N, x, K, w, K, true, true, M, N, K, MATMUL_PLAIN);
    for (size_t m = 0; m < M; m++) {
        for (size_t n = 0; n < N; n++) {
            double sum = 0;
            for (size_t k = 0; k < K; k++) sum += (double)x[m * K + k] * (double)w[n * K + k];
            assert_true(out[m * N + n] == (real_t)(sum + (double)bias[n]));
            assert_true(more[m * N + n] == (real_t)(sum + (double)out[m * N + n]));
        }
    }
}

static void an_empty_sum_is_zero(void **state) {
    (void)state;
    for (int how = MATMUL_BLAS; how <= MATMUL_PLAIN; how++) {
        real_t nothing[1] = {0}, bias[2] = {3, 4}, out[4];
        memset(out, 0xff, sizeof out);
        matmul(out, 2, nothing, 0, nothing, 2, false, false, 2, 2, 0, (matmul_way_t)how);
        for (size_t i = 0; i < 4; i++) assert_true(out[i] == 0);
        out[3] = 5;
        matmul(out, 2, nothing, 0, nothing, 2, false, true, 2, 2, 0, (matmul_way_t)how);
        assert_true(out[0] == 0 && out[3] == 5);
        linear(out, nothing, nothing, bias, 2, 0, 2, (matmul_way_t)how);
        assert_true(out[0] == 3 && out[1] == 4 && out[2] == 3 && out[3] == 4);
        out[0] = 6;
        matmul(out, 2, nothing, 1, nothing, 2, false, false, 0, 2, 1, (matmul_way_t)how);
        assert_true(out[0] == 6);
    }
}

static void nan_and_inf_propagate(void **state) {
    (void)state;
    for (int how = MATMUL_BLAS; how <= MATMUL_PLAIN; how++) {
        real_t a[4] = {1, (real_t)NAN, (real_t)INFINITY, 1}, b[4] = {1, 0, 0, 1}, out[4];
        matmul(out, 2, a, 2, b, 2, true, false, 2, 2, 2, (matmul_way_t)how);
        assert_true(isnan(out[0]) && isnan(out[1])); /* 1*1 + NaN*0 and 1*0 + NaN*1 */
        assert_true(isinf(out[2]) && isnan(out[3])); /* Inf*1 + 1*0 and Inf*0 + 1*1 */
    }
}

/* OpenBLAS's own threads would split sums differently on every machine; and an OpenBLAS built on
 * OpenMP sets OpenMP's number of threads along with its own, which must come back as it was. */
static void blas_stays_on_one_thread(void **state) {
    (void)state;
    int before = omp_get_max_threads();
    omp_set_num_threads(3);
    real_t a[8] = {2, 3}, out[8]; /* wide enough for BLAS: narrower products never reach it */
    matmul(out, 8, a, 1, a, 8, false, false, 1, 8, 1, MATMUL_BLAS);
    assert_true(out[0] == 4 && out[1] == 6);
    assert_int_equal(openblas_get_num_threads(), 1);
    assert_int_equal(omp_get_max_threads(), 3);
    omp_set_num_threads(before);
}

static real_t some[8];
static void out_rows_overlap(void) {
    matmul(some, 1, some + 4, 1, some + 5, 2, false, false, 2, 2, 1, MATMUL_PLAIN);
}
static void a_rows_overlap(void) {
    matmul(some, 2, some + 4, 1, some + 5, 2, true, false, 2, 1, 2, MATMUL_PLAIN);
}
static void b_rows_overlap(void) {
    matmul(some, 2, some + 4, 2, some + 5, 1, true, false, 1, 2, 2, MATMUL_PLAIN);
}
static void too_long_for_blas(void) {
    matmul(some, (size_t)1 << 31, some + 4, 1, some + 5, 1, false, false, 1, 1, 1, MATMUL_BLAS);
}
static void linear_too_long_for_blas(void) {
    linear(some, some, some, NULL, 1, (size_t)1 << 31, 1, MATMUL_BLAS);
}

/* Each product of a batch, and a product in one piece, are those of matmul up to the order of sums. */
static void batch_and_here_equal_slow(void **state) {
    static const size_t shapes[][3] = {{1, 1, 1}, {5, 7, 3}, {130, 40, 33}, {300, 300, 40}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes * 2; i++) {
        enum { COUNT = 3 };
        matmul_way_t how = i & 1 ? MATMUL_PLAIN : MATMUL_BLAS;
        size_t M = shapes[i / 2][0], N = shapes[i / 2][1], K = shapes[i / 2][2];
        double *a = fixture_random(COUNT * M * K, 1, 1), *b = fixture_random(COUNT * N * K, 2, 1);
        real_t *out = fixture_blank(COUNT * M * N), *alone = fixture_blank(M * N);
        real_t *left = fixture_reals(a, COUNT * M * K), *right = fixture_reals(b, COUNT * N * K);
        matmul_batch(out, left, right, COUNT, M, N, K, how);
        for (size_t q = 0; q < COUNT; q++) {
            double *truth = fixture_bytes(M * N * sizeof *truth);
            double *size = fixture_bytes(M * N * sizeof *size);
            slow_linear(truth, size, a + q * M * K, b + q * N * K, NULL, M, K, N);
            fixture_close(fixture_doubles(out + q * M * N, M * N), truth, size, spread_of(how, K),
                          M * N, "batch %zu, product %zu", i, q);
            matmul_here(alone, N, left + q * M * K, K, right + q * N * K, K, true, M, N, K, how);
            fixture_close(fixture_doubles(alone, M * N), truth, size, spread_of(how, K), M * N,
                          "here %zu, product %zu", i, q);
        }
        fixture_free(state);
    }
}

/* Sums in pieces of 64: the error that docs/fast.md promises. Of 640 random products in one chain, or in the
 * 256 to 384 of OpenBLAS's own pieces, it is 2.5e-7 to 3.3e-7 of the norm, and in pieces of 64 1.5e-7 to
 * 1.9e-7 (kernels Haswell and Cooperlake); the bound lies between. */
static void sums_are_in_pieces(void **state) {
    (void)state;
    enum { M = 64, N = 96, K = 640 };
    if (sizeof(real_t) != sizeof(float)) return;
    double *a = fixture_random(M * K, 1, 1), *b = fixture_random(N * K, 2, 1);
    double *truth = fixture_bytes(M * N * sizeof *truth),
           *size = fixture_bytes(M * N * sizeof *size);
    real_t *out = fixture_blank(M * N);
    slow_linear(truth, size, a, b, NULL, M, K, N);
    linear(out, fixture_reals(a, M * K), fixture_reals(b, N * K), NULL, M, K, N, MATMUL_BLAS);
    double error = 0, norm = 0;
    for (size_t i = 0; i < M * N; i++) {
        error += ((double)out[i] - truth[i]) * ((double)out[i] - truth[i]);
        norm += truth[i] * truth[i];
    }
    assert_true(sqrt(error / norm) <= 2.2e-7);
}

static void broken_contracts_abort(void **state) {
    (void)state;
    fixture_aborts(out_rows_overlap, "matmul: rows overlap: out 1 apart for N=2");
    fixture_aborts(a_rows_overlap, "matmul: rows overlap");
    fixture_aborts(b_rows_overlap, "b 1 apart for K=2");
    fixture_aborts(too_long_for_blas, "too long for BLAS");
    fixture_aborts(linear_too_long_for_blas, "linear: K=2147483648");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        fixture_test(blas_stays_on_one_thread), /* first: it wants to see BLAS being set up */
        fixture_test(matmul_equals_slow),        fixture_test(linear_equals_slow),
        fixture_test(linear_scaled_equals_slow), fixture_test(plain_is_the_defining_sum),
        fixture_test(an_empty_sum_is_zero),      fixture_test(nan_and_inf_propagate),
        fixture_test(batch_and_here_equal_slow), fixture_test(sums_are_in_pieces),
        fixture_test(broken_contracts_abort),
    };
    return cmocka_run_group_tests_name("ops/matmul " REAL_NAME, tests, NULL, NULL);
}
