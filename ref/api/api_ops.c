/* api_ops.c - the operations of mole.h that keep the memory order of their tensors.
 *
 * Those on images, which operations want channels-last, are in api_images.c. Below each function that a
 * golden case can name stands how op_table.h calls it; the table is at the end. */
#include <limits.h>
#include <omp.h>
#include <stdlib.h>

#include "api/op_table.h"

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

static int run_matmul(op_call_t *c) {
    shape_t a = op_shape(c, 0), b = op_shape(c, 1);
    char text[2][SHAPE_TEXT];
    int transposed = c->attr[0][0] != 0;
    size_t M = a.dim[0], K = a.dim[1], N = b.dim[transposed ? 0 : 1];
    if (b.dim[transposed ? 1 : 0] != K)
        return op_refuse(c, "b's shape %s does not fit a's %s", shape_text(text[0], b),
                         shape_text(text[1], a));
    return mole_matmul(op_result(c, SHAPE2(M, N)), op_x(c, 0), op_x(c, 1), transposed, 0, M, N, K,
                       c->how, &c->error);
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

static int run_linear(op_call_t *c) {
    size_t M = op_size(c, "..."), K = op_size(c, "K"), N = op_size(c, "N");
    return mole_linear(op_result(c, op_with_last(c, 0, N)), op_x(c, 0), op_x(c, 1), op_x(c, 2), M,
                       K, N, c->how, &c->error);
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

static int run_layer_norm(op_call_t *c) {
    return mole_layer_norm(op_result(c, op_shape(c, 0)), op_x(c, 0), op_x(c, 1), op_x(c, 2),
                           op_size(c, "..."), op_size(c, "C"), c->attr[0][0], &c->error);
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

static int run_geglu(op_call_t *c) {
    size_t M = op_size(c, "..."), N = op_size(c, "2N") / 2;
    if (op_size(c, "2N") % 2) return op_refuse(c, "x has no two halves");
    return mole_geglu(op_result(c, op_with_last(c, 0, N)), op_x(c, 0), M, N, &c->error);
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

static int run_softmax(op_call_t *c) {
    return mole_softmax(op_result(c, op_shape(c, 0)), op_x(c, 0), op_size(c, "..."),
                        op_size(c, "N"), &c->error);
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

static int run_attention(op_call_t *c) {
    size_t C = op_size(c, "C"), NH = (size_t)c->attr[0][0];
    if (C % NH) return op_refuse(c, "%zu heads do not divide the %zu channels of q", NH, C);
    return mole_attention(op_result(c, op_shape(c, 0)), op_x(c, 0), op_x(c, 1), op_x(c, 2),
                          op_size(c, "B"), op_size(c, "T"), op_size(c, "S"), NH, C / NH,
                          c->attr[1][0], c->attr[2][0] != 0, c->how, &c->error);
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

static int run_embedding(op_call_t *c) {
    shape_t shape = op_shape(c, 0);
    size_t C = op_size(c, "C");
    const int32_t *ids = op_ids(c, 0);
    if (!ids) return -1;
    if (shape.ndim == SHAPE_DIMS) return op_refuse(c, "ids has too many dimensions");
    shape.dim[shape.ndim++] = C;
    return mole_embedding(op_result(c, shape), ids, op_x(c, 1), shape_count(op_shape(c, 0)),
                          op_size(c, "V"), C, &c->error);
}

int mole_pool_text(mole_real_t *out, const mole_real_t *x, const int32_t *ids, size_t B, size_t T,
                   size_t C, int32_t eos, mole_error_t *error) {
    check_t c = check_start("pool_text", error);
    check_out(&c, "out", out, SHAPE2(B, C), REAL);
    check_in(&c, "x", x, SHAPE3(B, T, C), REAL);
    check_in(&c, "ids", ids, SHAPE2(B, T), sizeof *ids);
    if (!c.failed) pool_text(out, x, ids, B, T, C, eos);
    return check_result(&c);
}

static int run_pool_text(op_call_t *c) {
    size_t B = op_size(c, "B"), C = op_size(c, "C");
    const int32_t *ids = op_ids(c, 1);
    if (!ids) return -1;
    return mole_pool_text(op_result(c, SHAPE2(B, C)), op_x(c, 0), ids, B, op_size(c, "T"), C,
                          (int32_t)c->attr[0][0], &c->error);
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

static int run_timestep_embedding(op_call_t *c) {
    size_t B = op_size(c, "B"), dim = (size_t)c->attr[0][0];
    return mole_timestep_embedding(op_result(c, SHAPE2(B, dim)), c->input[0]->numbers, B, dim,
                                   c->attr[1][0] != 0, c->attr[2][0], c->attr[3][0],
                                   c->attr[4][0] == 0, &c->error);
}

/* ---- the table --------------------------------------------------------------------------------- */

const op_t api_ops[] = {
    {.name = "matmul",
     .input = {TENSOR("a", "M K"), TENSOR("b", "_ _")},
     .attr = {FLAG("transpose_b")},
     .run = run_matmul,
     .multiplies = true},
    {.name = "linear",
     .input = {TENSOR("x", "... K"), TENSOR("weight", "N K"), TENSOR_OR_NULL("bias", "N")},
     .run = run_linear,
     .multiplies = true},
    {.name = "layer_norm",
     .input = {TENSOR("x", "... C"), TENSOR("weight", "C"), TENSOR("bias", "C")},
     .attr = {NUMBER("eps")},
     .run = run_layer_norm},
    {.name = "sigmoid", .input = {TENSOR("x", "...")}, .each = mole_sigmoid},
    {.name = "silu", .input = {TENSOR("x", "...")}, .each = mole_silu},
    {.name = "gelu", .input = {TENSOR("x", "...")}, .each = mole_gelu},
    {.name = "quick_gelu", .input = {TENSOR("x", "...")}, .each = mole_quick_gelu},
    {.name = "geglu", .input = {TENSOR("x", "... 2N")}, .run = run_geglu},
    {.name = "softmax", .input = {TENSOR("x", "... N")}, .run = run_softmax},
    {.name = "attention",
     .input = {TENSOR("q", "B T C"), TENSOR("k", "B S C"), TENSOR("v", "B S C")},
     .attr = {SIZE("heads", 1, 1 << 10), NUMBER("scale"), FLAG("causal")},
     .run = run_attention,
     .multiplies = true},
    {.name = "embedding",
     .input = {TENSOR("ids", "..."), TENSOR("weight", "V C")},
     .run = run_embedding},
    {.name = "pool_text",
     .input = {TENSOR("x", "B T C"), TENSOR("ids", "B T")},
     .attr = {SIZE("eos_token_id", 0, INT32_MAX)},
     .run = run_pool_text},
    {.name = "timestep_embedding",
     .input = {TENSOR("timesteps", "B")},
     .attr = {SIZE("dim", 1, 1 << 20), FLAG("flip_sin_to_cos"), NUMBER("freq_shift"),
              NUMBER("max_period"), WORD("angles", "f32", "f64")},
     .run = run_timestep_embedding},
    {0}};
