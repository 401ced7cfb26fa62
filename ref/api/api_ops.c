/* api_ops.c - the operations of mole.h that keep the memory order of their tensors.
 *
 * Those on images, which operations want channels-last, are in api_images.c. */
#include <limits.h>
#include <omp.h>
#include <stdlib.h>

#include "api/api_check.h"

enum { REAL = sizeof(mole_real_t) };

const char MOLE_BUILT_FOR = 1;

const char *mole_version(void) {
    return MOLE_VERSION;
}

const char *mole_precision(void) {
    return REAL_NAME;
}

int mole_set_threads(size_t threads, mole_error_t *error) {
    check_t c = check_start("set_threads", error);
    check_that(&c, threads >= 1 && threads <= 1024, "%zu threads, expected 1 to 1024", threads);
    if (!c.failed) omp_set_num_threads((int)threads);
    return check_result(&c);
}

/* BLAS counts in int. */
static void check_blas(check_t *c, size_t N, size_t K, mole_how_t how) {
    check_how(c, how);
    check_that(c, how == MOLE_PLAIN || (N <= INT_MAX && K <= INT_MAX),
               "N=%zu, K=%zu: too long for BLAS, which counts in int; use MOLE_PLAIN", N, K);
}

int mole_matmul(mole_real_t *out, const mole_real_t *a, const mole_real_t *b, int b_transposed,
                int accumulate, size_t M, size_t N, size_t K, mole_how_t how, mole_error_t *error) {
    check_t c = check_start("matmul", error);
    check_out(&c, "out", out, SHAPE2(M, N), REAL);
    check_in(&c, "a", a, SHAPE2(M, K), REAL);
    check_in(&c, "b", b, b_transposed ? SHAPE2(N, K) : SHAPE2(K, N), REAL);
    check_blas(&c, N, K, how);
    if (!c.failed)
        matmul(out, N, a, K, b, b_transposed ? K : N, b_transposed, accumulate, M, N, K,
               api_how(how));
    return check_result(&c);
}

int mole_linear(mole_real_t *out, const mole_real_t *x, const mole_real_t *weight,
                const mole_real_t *bias, size_t M, size_t K, size_t N, mole_how_t how,
                mole_error_t *error) {
    check_t c = check_start("linear", error);
    check_out(&c, "out", out, SHAPE2(M, N), REAL);
    check_in(&c, "x", x, SHAPE2(M, K), REAL);
    check_in(&c, "weight", weight, SHAPE2(N, K), REAL);
    check_in_or_null(&c, "bias", bias, SHAPE1(N), REAL);
    check_blas(&c, N, K, how);
    if (!c.failed) linear(out, x, weight, bias, M, K, N, api_how(how));
    return check_result(&c);
}

int mole_linear_scaled(mole_real_t *out, const mole_real_t *x, const mole_real_t *weight,
                       double scale, size_t M, size_t K, size_t N, mole_how_t how,
                       mole_error_t *error) {
    check_t c = check_start("linear_scaled", error);
    check_out(&c, "out", out, SHAPE2(M, N), REAL);
    check_in(&c, "x", x, SHAPE2(M, K), REAL);
    check_in(&c, "weight", weight, SHAPE2(N, K), REAL);
    check_blas(&c, N, K, how);
    if (!c.failed) linear_scaled(out, x, weight, scale, M, K, N, api_how(how));
    return check_result(&c);
}

int mole_layer_norm(mole_real_t *out, const mole_real_t *x, const mole_real_t *weight,
                    const mole_real_t *bias, size_t M, size_t C, double eps, mole_error_t *error) {
    check_t c = check_start("layer_norm", error);
    check_out(&c, "out", out, SHAPE2(M, C), REAL);
    check_in_place(&c, "x", x, SHAPE2(M, C), REAL);
    check_in(&c, "weight", weight, SHAPE1(C), REAL);
    check_in(&c, "bias", bias, SHAPE1(C), REAL);
    check_that(&c, eps > 0, "eps is %g, expected a number above 0", eps);
    if (!c.failed) layer_norm(out, x, weight, bias, M, C, eps);
    return check_result(&c);
}

/* ---- element by element ------------------------------------------------------------------------ */

static int activation(const char *name, void (*f)(real_t *, const real_t *, size_t),
                      mole_real_t *out, const mole_real_t *x, size_t n, mole_error_t *error) {
    check_t c = check_start(name, error);
    check_out(&c, "out", out, SHAPE1(n), REAL);
    check_in_place(&c, "x", x, SHAPE1(n), REAL);
    if (!c.failed) f(out, x, n);
    return check_result(&c);
}

int mole_sigmoid(mole_real_t *out, const mole_real_t *x, size_t n, mole_error_t *error) {
    return activation("sigmoid", sigmoid, out, x, n, error);
}

int mole_silu(mole_real_t *out, const mole_real_t *x, size_t n, mole_error_t *error) {
    return activation("silu", silu, out, x, n, error);
}

int mole_gelu(mole_real_t *out, const mole_real_t *x, size_t n, mole_error_t *error) {
    return activation("gelu", gelu, out, x, n, error);
}

int mole_quick_gelu(mole_real_t *out, const mole_real_t *x, size_t n, mole_error_t *error) {
    return activation("quick_gelu", quick_gelu, out, x, n, error);
}

int mole_geglu(mole_real_t *out, const mole_real_t *x, size_t M, size_t N, mole_error_t *error) {
    check_t c = check_start("geglu", error);
    check_that(&c, N <= SIZE_MAX / 2, "N is %zu: 2N overflows", N);
    check_out(&c, "out", out, SHAPE2(M, N), REAL);
    check_in(&c, "x", x, SHAPE2(M, 2 * N), REAL);
    if (!c.failed) geglu(out, x, M, N);
    return check_result(&c);
}

int mole_add(mole_real_t *out, const mole_real_t *a, const mole_real_t *b, size_t n,
             mole_error_t *error) {
    check_t c = check_start("add", error);
    check_out(&c, "out", out, SHAPE1(n), REAL);
    check_in_place(&c, "a", a, SHAPE1(n), REAL);
    check_in_place(&c, "b", b, SHAPE1(n), REAL);
    if (!c.failed) add(out, a, b, n);
    return check_result(&c);
}

/* ---- attention --------------------------------------------------------------------------------- */

int mole_softmax(mole_real_t *out, const mole_real_t *x, size_t M, size_t N, mole_error_t *error) {
    check_t c = check_start("softmax", error);
    check_out(&c, "out", out, SHAPE2(M, N), REAL);
    check_in_place(&c, "x", x, SHAPE2(M, N), REAL);
    if (!c.failed) softmax(out, x, M, N);
    return check_result(&c);
}

int mole_attention(mole_real_t *out, const mole_real_t *q, const mole_real_t *k,
                   const mole_real_t *v, size_t B, size_t T, size_t S, size_t NH, size_t D,
                   double scale, int causal, mole_how_t how, mole_error_t *error) {
    check_t c = check_start("attention", error);
    check_out(&c, "out", out, SHAPE4(B, T, NH, D), REAL);
    check_in(&c, "q", q, SHAPE4(B, T, NH, D), REAL);
    check_in(&c, "k", k, SHAPE4(B, S, NH, D), REAL);
    check_in(&c, "v", v, SHAPE4(B, S, NH, D), REAL);
    check_that(&c, !causal || T == S, "causal needs as many queries as keys, not T=%zu and S=%zu",
               T, S);
    check_blas(&c, NH, D, how);
    check_blas(&c, S, NH * D, how);
    real_t *work = check_scratch(&c, c.failed ? 0 : attention_work(B, T, S, NH, D));
    if (!c.failed) attention(out, q, k, v, B, T, S, NH, D, scale, causal, work, api_how(how));
    free(work);
    return check_result(&c);
}

/* ---- tables ------------------------------------------------------------------------------------ */

int mole_embedding(mole_real_t *out, const int32_t *ids, const mole_real_t *table, size_t N,
                   size_t V, size_t C, mole_error_t *error) {
    check_t c = check_start("embedding", error);
    check_out(&c, "out", out, SHAPE2(N, C), REAL);
    check_in(&c, "ids", ids, SHAPE1(N), sizeof *ids);
    check_in(&c, "table", table, SHAPE2(V, C), REAL);
    for (size_t n = 0; !c.failed && n < N; n++)
        check_that(&c, ids[n] >= 0 && (size_t)ids[n] < V,
                   "id %d at position %zu, table of %zu rows", (int)ids[n], n, V);
    if (!c.failed) embedding(out, ids, table, N, V, C);
    return check_result(&c);
}

int mole_timestep_embedding(mole_real_t *out, const double *t, size_t B, size_t dim,
                            int flip_sin_to_cos, double freq_shift, double max_period,
                            int angles_f32, mole_error_t *error) {
    check_t c = check_start("timestep_embedding", error);
    check_out(&c, "out", out, SHAPE2(B, dim), REAL);
    check_in(&c, "t", t, SHAPE1(B), sizeof *t);
    check_that(&c, dim < 2 || (double)(dim / 2) != freq_shift,
               "freq_shift %g: dim/2 - freq_shift is 0", freq_shift);
    check_that(&c, max_period > 0, "max_period is %g, expected a number above 0", max_period);
    if (!c.failed)
        timestep_embedding(out, t, B, dim, flip_sin_to_cos, freq_shift, max_period,
                           angles_f32 ? ANGLES_F32 : ANGLES_EXACT);
    return check_result(&c);
}
