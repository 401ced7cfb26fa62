/* Every operation against PyTorch: all calls of golden/ops/<operation>. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "../fixture.h"
#include "../golden.h"
#include "ops/ops.h"

/* One call, computed one way: false when PyTorch's numbers are further off than the tolerance. */
typedef bool check_t(const golden_call_t *call, matmul_t how);

static const char *way(matmul_t how) {
    return how == MATMUL_PLAIN ? "plain" : "BLAS";
}

static double ratio(matmul_t how) {
    return how == MATMUL_PLAIN ? GOLDEN_RATIO_PLAIN : GOLDEN_RATIO_BLAS;
}

static bool all_calls(const char *op, matmul_t how, check_t *check) {
    char folder[64];
    snprintf(folder, sizeof folder, "golden/ops/%s", op);
    golden_t *golden = golden_open(folder);
    bool good = true;
    for (size_t i = 0; i < golden_call_count(golden); i++) {
        golden_call_t call = golden_call(golden, i);
        assert_string_equal(call.op, op);
        if (!check(&call, how)) good = false;
        fixture_free(NULL);
    }
    golden_close(golden);
    return good;
}

/* Operations that multiply no matrices: one way, and the strict limit. */
static void one_way(const char *op, check_t *check) {
    assert_true(all_calls(op, MATMUL_PLAIN, check));
}

static void both_ways(const char *op, check_t *check) {
    bool blas = all_calls(op, MATMUL_BLAS, check), plain = all_calls(op, MATMUL_PLAIN, check);
    assert_true(blas && plain);
}

/* A (..., C) tensor is M rows of C. */
static size_t last(shape_t shape) {
    return shape.dim[shape.ndim - 1];
}

static size_t pixels(shape_t shape) {
    size_t count = 1;
    for (int d = 2; d < shape.ndim; d++) count *= shape.dim[d];
    return count;
}

static bool compare(const golden_call_t *call, const real_t *out, size_t count, matmul_t how,
                    bool multiplies) {
    return golden_check(call, "out", fixture_doubles(out, count), count, ratio(how),
                        multiplies ? way(how) : "");
}

static bool compare_last(const golden_call_t *call, const real_t *out, size_t B, size_t C, size_t P,
                         matmul_t how, bool multiplies) {
    return golden_check(call, "out", fixture_doubles_last(out, B, C, P), B * C * P, ratio(how),
                        multiplies ? way(how) : "");
}

static bool check_matmul(const golden_call_t *call, matmul_t how) {
    golden_tensor_t a = golden_input(call, "a"), b = golden_input(call, "b");
    bool transposed = golden_flag(call, "transpose_b");
    size_t M = a.shape.dim[0], K = a.shape.dim[1], N = b.shape.dim[transposed ? 0 : 1];
    real_t *out = fixture_blank(M * N);
    matmul(out, N, fixture_reals(a.x, a.count), K, fixture_reals(b.x, b.count), last(b.shape),
           transposed, false, M, N, K, how);
    return compare(call, out, M * N, how, true);
}

static bool check_linear(const golden_call_t *call, matmul_t how) {
    golden_tensor_t x = golden_input(call, "x"), weight = golden_input(call, "weight");
    golden_tensor_t bias = golden_input(call, "bias");
    size_t K = last(x.shape), M = x.count / K, N = weight.shape.dim[0];
    real_t *out = fixture_blank(M * N);
    linear(out, fixture_reals(x.x, x.count), fixture_reals(weight.x, weight.count),
           fixture_reals(bias.x, bias.count), M, K, N, how);
    return compare(call, out, M * N, how, true);
}

static bool check_conv2d(const golden_call_t *call, matmul_t how) {
    golden_tensor_t x = golden_input(call, "x"), weight = golden_input(call, "weight");
    golden_tensor_t bias = golden_input(call, "bias");
    size_t pad[4], stride = golden_size(call, "stride");
    golden_sizes(call, "padding", pad, 4);
    size_t B = x.shape.dim[0], Ci = x.shape.dim[1], H = x.shape.dim[2], W = x.shape.dim[3];
    size_t Co = weight.shape.dim[0], kh = weight.shape.dim[2], kw = weight.shape.dim[3];
    conv2d_t g = {kh, kw, stride, pad[0], pad[1], pad[2], pad[3]};
    size_t P =
        conv2d_out(H, pad[2], pad[3], kh, stride) * conv2d_out(W, pad[0], pad[1], kw, stride);
    real_t *packed = fixture_blank(weight.count), *out = fixture_blank(B * Co * P);
    conv2d_pack_weight(packed, fixture_reals(weight.x, weight.count), Co, Ci, kh, kw);
    conv2d(out, fixture_reals_last(x.x, B, Ci, H * W), packed, fixture_reals(bias.x, bias.count), B,
           Ci, H, W, Co, g, fixture_blank(conv2d_work(B, Ci, H, W, Co, g, CONV_TILES, how)),
           CONV_TILES, how);
    return compare_last(call, out, B, Co, P, how, true);
}

static bool check_group_norm(const golden_call_t *call, matmul_t how) {
    golden_tensor_t x = golden_input(call, "x"), weight = golden_input(call, "weight");
    golden_tensor_t bias = golden_input(call, "bias");
    size_t B = x.shape.dim[0], C = x.shape.dim[1], P = pixels(x.shape);
    real_t *out = fixture_blank(x.count);
    group_norm(out, fixture_reals_last(x.x, B, C, P), fixture_reals(weight.x, C),
               fixture_reals(bias.x, C), B, C, P, golden_size(call, "groups"),
               golden_number(call, "eps"));
    return compare_last(call, out, B, C, P, how, false);
}

static bool check_layer_norm(const golden_call_t *call, matmul_t how) {
    golden_tensor_t x = golden_input(call, "x"), weight = golden_input(call, "weight");
    golden_tensor_t bias = golden_input(call, "bias");
    size_t C = last(x.shape);
    real_t *out = fixture_blank(x.count);
    layer_norm(out, fixture_reals(x.x, x.count), fixture_reals(weight.x, C),
               fixture_reals(bias.x, C), x.count / C, C, golden_number(call, "eps"));
    return compare(call, out, x.count, how, false);
}

static bool check_elementwise(const golden_call_t *call, matmul_t how,
                              void (*f)(real_t *, const real_t *, size_t)) {
    golden_tensor_t x = golden_input(call, "x");
    real_t *out = fixture_blank(x.count);
    f(out, fixture_reals(x.x, x.count), x.count);
    return compare(call, out, x.count, how, false);
}

static bool check_sigmoid(const golden_call_t *call, matmul_t how) {
    return check_elementwise(call, how, sigmoid);
}
static bool check_silu(const golden_call_t *call, matmul_t how) {
    return check_elementwise(call, how, silu);
}
static bool check_gelu(const golden_call_t *call, matmul_t how) {
    return check_elementwise(call, how, gelu);
}
static bool check_quick_gelu(const golden_call_t *call, matmul_t how) {
    return check_elementwise(call, how, quick_gelu);
}

static bool check_geglu(const golden_call_t *call, matmul_t how) {
    golden_tensor_t x = golden_input(call, "x");
    size_t N = last(x.shape) / 2, M = x.count / (2 * N);
    real_t *out = fixture_blank(M * N);
    geglu(out, fixture_reals(x.x, x.count), M, N);
    return compare(call, out, M * N, how, false);
}

static bool check_softmax(const golden_call_t *call, matmul_t how) {
    golden_tensor_t x = golden_input(call, "x");
    size_t N = last(x.shape);
    real_t *out = fixture_blank(x.count);
    softmax(out, fixture_reals(x.x, x.count), x.count / N, N);
    return compare(call, out, x.count, how, false);
}

static bool check_attention(const golden_call_t *call, matmul_t how) {
    golden_tensor_t q = golden_input(call, "q"), k = golden_input(call, "k");
    golden_tensor_t v = golden_input(call, "v");
    size_t B = q.shape.dim[0], T = q.shape.dim[1], S = k.shape.dim[1];
    size_t NH = golden_size(call, "heads"), D = q.shape.dim[2] / NH;
    real_t *out = fixture_blank(q.count);
    attention(out, fixture_reals(q.x, q.count), fixture_reals(k.x, k.count),
              fixture_reals(v.x, v.count), B, T, S, NH, D, golden_number(call, "scale"),
              golden_flag(call, "causal"), fixture_blank(attention_work(B, T, S, NH, D)), how);
    return compare(call, out, q.count, how, true);
}

static bool check_embedding(const golden_call_t *call, matmul_t how) {
    golden_tensor_t ids = golden_input(call, "ids"), weight = golden_input(call, "weight");
    size_t V = weight.shape.dim[0], C = weight.shape.dim[1];
    int32_t *id = fixture_bytes(ids.count * sizeof *id);
    for (size_t i = 0; i < ids.count; i++) id[i] = (int32_t)ids.x[i];
    real_t *out = fixture_blank(ids.count * C);
    embedding(out, id, fixture_reals(weight.x, weight.count), ids.count, V, C);
    return compare(call, out, ids.count * C, how, false);
}

static bool check_upsample_nearest(const golden_call_t *call, matmul_t how) {
    golden_tensor_t x = golden_input(call, "x");
    size_t B = x.shape.dim[0], C = x.shape.dim[1], H = x.shape.dim[2], W = x.shape.dim[3], size[2];
    golden_sizes(call, "size", size, 2);
    real_t *out = fixture_blank(B * C * size[0] * size[1]);
    upsample_nearest(out, fixture_reals_last(x.x, B, C, H * W), B, C, H, W, size[0], size[1]);
    return compare_last(call, out, B, C, size[0] * size[1], how, false);
}

/* A list of any length: joined from the left. */
static bool check_concat(const golden_call_t *call, matmul_t how) {
    golden_tensor_t x = golden_input_at(call, "x", 0);
    size_t B = x.shape.dim[0], C = x.shape.dim[1], P = pixels(x.shape);
    real_t *sofar = fixture_reals_last(x.x, B, C, P);
    for (size_t i = 1; i < golden_input_count(call, "x"); i++) {
        golden_tensor_t next = golden_input_at(call, "x", i);
        size_t more = next.shape.dim[1];
        real_t *out = fixture_blank(B * P * (C + more));
        concat(out, sofar, fixture_reals_last(next.x, B, more, P), B * P, C, more);
        sofar = out;
        C += more;
    }
    return compare_last(call, sofar, B, C, P, how, false);
}

static size_t ulps(double a, double b) {
    int32_t bits[2];
    float x[2] = {(float)a, (float)b};
    memcpy(bits, x, sizeof bits);
    if ((bits[0] < 0) != (bits[1] < 0)) return a == b ? 0 : SIZE_MAX;
    return (size_t)(bits[0] > bits[1] ? bits[0] - bits[1] : bits[1] - bits[0]);
}

typedef struct {
    size_t B, dim, half, sines;
    double divisor, log_period;
    const double *t, *truth;
} angles_case_t;

/* Does frequency j, moved by `step` ULP, give diffusers' sines and cosines to 1 ULP? */
static bool frequency_fits(const angles_case_t *c, size_t j, int step) {
    float product = (float)-c->log_period * (float)j;
    float quotient = product / (float)c->divisor, frequency = (float)exp((double)quotient);
    if (step) frequency = nextafterf(frequency, step > 0 ? 2.0f : 0.0f);
    for (size_t b = 0; b < c->B; b++) {
        float angle = (float)c->t[b] * frequency;
        const double *row = c->truth + b * c->dim + j;
        if (ulps(row[c->sines], sin((double)angle)) > 1) return false;
        if (ulps(row[c->half - c->sines], cos((double)angle)) > 1) return false;
    }
    return true;
}

/* diffusers' own float32 values, to 1 ULP, with one thing to forgive: torch's float32 exp may be
 * 1 ULP off (ours is rounded correctly), so its frequency, and then sine and cosine of up to 999
 * of them, are others. A column may take that neighbouring frequency, in all its rows; one in
 * twenty does at most. The other columns must be ours to 1 ULP. */
static bool check_f32_angles(const golden_call_t *call, const angles_case_t *c, const real_t *out) {
    size_t moved = 0, unexplained = 0;
    for (size_t j = 0; j < c->half; j++) {
        size_t worst = 0;
        for (size_t b = 0; b < c->B; b++) {
            for (size_t side = 0; side < 2; side++) {
                size_t i = b * c->dim + side * c->half + j,
                       apart = ulps((double)out[i], c->truth[i]);
                if (apart > worst) worst = apart;
            }
        }
        if (worst <= 1) continue;
        moved++;
        if (!frequency_fits(c, j, 1) && !frequency_fits(c, j, -1)) unexplained++;
    }
    for (size_t b = 0; b < c->B && c->dim % 2; b++)
        if (out[(b + 1) * c->dim - 1] != 0) unexplained++;
    bool good = unexplained == 0 && moved * 20 <= c->half;
    print_message(
        "%s %s/%s: %zu frequencies, %zu where torch's exp is 1 ULP off, %zu unexplained\n",
        good ? "    " : "BAD ", call->op, call->id, c->half, moved, unexplained);
    return good;
}

static bool check_timestep_embedding(const golden_call_t *call, matmul_t how) {
    golden_tensor_t t = golden_input(call, "timesteps"), truth = golden_output(call, "out", NULL);
    size_t dim = golden_size(call, "dim");
    bool f32 = strcmp(golden_text(call, "angles"), "f32") == 0;
    bool flip = golden_flag(call, "flip_sin_to_cos");
    double shift = golden_number(call, "freq_shift"), period = golden_number(call, "max_period");
    real_t *out = fixture_blank(t.count * dim);
    timestep_embedding(out, t.x, t.count, dim, flip, shift, period,
                       f32 ? ANGLES_F32 : ANGLES_EXACT);
    if (!f32) return compare(call, out, t.count * dim, how, false);
    angles_case_t c = {t.count,     dim, dim / 2, flip ? dim / 2 : 0, (double)(dim / 2) - shift,
                       log(period), t.x, truth.x};
    return check_f32_angles(call, &c, out);
}

#define GOLDEN_TEST(op, ways)                                                                      \
    static void op##_equals_torch(void **state) {                                                  \
        (void)state;                                                                               \
        ways(#op, check_##op);                                                                     \
    }
GOLDEN_TEST(matmul, both_ways)
GOLDEN_TEST(linear, both_ways)
GOLDEN_TEST(conv2d, both_ways)
GOLDEN_TEST(group_norm, one_way)
GOLDEN_TEST(layer_norm, one_way)
GOLDEN_TEST(sigmoid, one_way)
GOLDEN_TEST(silu, one_way)
GOLDEN_TEST(gelu, one_way)
GOLDEN_TEST(quick_gelu, one_way)
GOLDEN_TEST(geglu, one_way)
GOLDEN_TEST(softmax, one_way)
GOLDEN_TEST(attention, both_ways)
GOLDEN_TEST(embedding, one_way)
GOLDEN_TEST(timestep_embedding, one_way)
GOLDEN_TEST(upsample_nearest, one_way)
GOLDEN_TEST(concat, one_way)

int main(void) {
    const struct CMUnitTest tests[] = {
        fixture_test(matmul_equals_torch),
        fixture_test(linear_equals_torch),
        fixture_test(conv2d_equals_torch),
        fixture_test(group_norm_equals_torch),
        fixture_test(layer_norm_equals_torch),
        fixture_test(sigmoid_equals_torch),
        fixture_test(silu_equals_torch),
        fixture_test(gelu_equals_torch),
        fixture_test(quick_gelu_equals_torch),
        fixture_test(geglu_equals_torch),
        fixture_test(softmax_equals_torch),
        fixture_test(attention_equals_torch),
        fixture_test(embedding_equals_torch),
        fixture_test(timestep_embedding_equals_torch),
        fixture_test(upsample_nearest_equals_torch),
        fixture_test(concat_equals_torch),
    };
    return cmocka_run_group_tests_name("ops/golden " REAL_NAME, tests, NULL, NULL);
}
