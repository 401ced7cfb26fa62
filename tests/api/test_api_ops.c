/* Every operation of mole.h against PyTorch, in torch's order in and out: all calls of
 * golden/ops/<operation>. What the numbers are worth is tested in tests/ops; here, that they arrive. */
#include <stdio.h>
#include <string.h>

#include "../fixture.h"
#include "../golden.h"
#include "api/mole.h"
#include "ops/ops.h"

typedef bool check_t(const golden_call_t *call, mole_how_t how);

static mole_error_t error;

/* The call went well, or the test fails with its message. */
static void good(int status) {
    if (status) fail_msg("%s", error.text);
}

static void all_calls(const char *op, check_t *check) {
    char folder[64];
    snprintf(folder, sizeof folder, "golden/ops/%s", op);
    golden_t *golden = golden_open(folder);
    bool well = true;
    assert_true(golden_call_count(golden) > 0);
    for (size_t i = 0; i < golden_call_count(golden); i++) {
        golden_call_t call = golden_call(golden, i);
        if (!check(&call, MOLE_PLAIN)) well = false;
        if (!check(&call, MOLE_BLAS)) well = false;
        fixture_free(NULL);
    }
    golden_close(golden);
    assert_true(well);
}

static size_t last(shape_t shape) {
    return shape.dim[shape.ndim - 1];
}

static size_t pixels(shape_t shape) {
    size_t count = 1;
    for (int d = 2; d < shape.ndim; d++) count *= shape.dim[d];
    return count;
}

static const real_t *reals(golden_tensor_t t) {
    return fixture_reals(t.x, t.count);
}

static bool compare(const golden_call_t *call, const real_t *out, size_t count, mole_how_t how) {
    return golden_check(call, "out", fixture_doubles(out, count), count,
                        how == MOLE_PLAIN ? GOLDEN_RATIO_PLAIN : GOLDEN_RATIO_BLAS,
                        how == MOLE_PLAIN ? "plain" : "BLAS");
}

static bool check_matmul(const golden_call_t *call, mole_how_t how) {
    golden_tensor_t a = golden_input(call, "a"), b = golden_input(call, "b");
    bool transposed = golden_flag(call, "transpose_b");
    size_t M = a.shape.dim[0], K = a.shape.dim[1], N = b.shape.dim[transposed ? 0 : 1];
    real_t *out = fixture_blank(M * N);
    good(mole_matmul(out, reals(a), reals(b), transposed, 0, M, N, K, how, &error));
    return compare(call, out, M * N, how);
}

static bool check_linear(const golden_call_t *call, mole_how_t how) {
    golden_tensor_t x = golden_input(call, "x"), weight = golden_input(call, "weight");
    golden_tensor_t bias = golden_input(call, "bias");
    size_t K = last(x.shape), M = x.count / K, N = weight.shape.dim[0];
    real_t *out = fixture_blank(M * N);
    good(mole_linear(out, reals(x), reals(weight), reals(bias), M, K, N, how, &error));
    return compare(call, out, M * N, how);
}

static bool check_conv2d(const golden_call_t *call, mole_how_t how) {
    golden_tensor_t x = golden_input(call, "x"), weight = golden_input(call, "weight");
    golden_tensor_t bias = golden_input(call, "bias");
    size_t pad[4], stride = golden_size(call, "stride"), Ho, Wo;
    golden_sizes(call, "padding", pad, 4);
    const size_t *d = x.shape.dim, *w = weight.shape.dim;
    good(mole_conv2d_out(&Ho, d[2], pad[2], pad[3], w[2], stride, &error));
    good(mole_conv2d_out(&Wo, d[3], pad[0], pad[1], w[3], stride, &error));
    mole_padding_t padding = {pad[0], pad[1], pad[2], pad[3]};
    size_t count = d[0] * w[0] * Ho * Wo;
    real_t *out = fixture_blank(count);
    good(mole_conv2d(out, reals(x), reals(weight), reals(bias), d[0], d[1], d[2], d[3], w[0], w[2],
                     w[3], stride, &padding, how, &error));
    return compare(call, out, count, how);
}

static bool check_group_norm(const golden_call_t *call, mole_how_t how) {
    golden_tensor_t x = golden_input(call, "x"), weight = golden_input(call, "weight");
    golden_tensor_t bias = golden_input(call, "bias");
    real_t *out = fixture_blank(x.count), *same = fixture_reals(x.x, x.count);
    size_t B = x.shape.dim[0], C = x.shape.dim[1], P = pixels(x.shape),
           G = golden_size(call, "groups");
    double eps = golden_number(call, "eps");
    good(mole_group_norm(out, same, reals(weight), reals(bias), B, C, P, G, eps, &error));
    good(mole_group_norm(same, same, reals(weight), reals(bias), B, C, P, G, eps, &error));
    assert_memory_equal(same, out, x.count * sizeof *out);
    return compare(call, out, x.count, how);
}

static bool check_layer_norm(const golden_call_t *call, mole_how_t how) {
    golden_tensor_t x = golden_input(call, "x"), weight = golden_input(call, "weight");
    golden_tensor_t bias = golden_input(call, "bias");
    size_t C = last(x.shape);
    real_t *out = fixture_blank(x.count);
    good(mole_layer_norm(out, reals(x), reals(weight), reals(bias), x.count / C, C,
                         golden_number(call, "eps"), &error));
    return compare(call, out, x.count, how);
}

static bool elementwise(const golden_call_t *call, mole_how_t how,
                        int (*f)(mole_real_t *, const mole_real_t *, size_t, mole_error_t *)) {
    golden_tensor_t x = golden_input(call, "x");
    real_t *out = fixture_reals(x.x, x.count);
    good(f(out, out, x.count, &error));
    return compare(call, out, x.count, how);
}

static bool check_sigmoid(const golden_call_t *call, mole_how_t how) {
    return elementwise(call, how, mole_sigmoid);
}
static bool check_silu(const golden_call_t *call, mole_how_t how) {
    return elementwise(call, how, mole_silu);
}
static bool check_gelu(const golden_call_t *call, mole_how_t how) {
    return elementwise(call, how, mole_gelu);
}
static bool check_quick_gelu(const golden_call_t *call, mole_how_t how) {
    return elementwise(call, how, mole_quick_gelu);
}

static bool check_geglu(const golden_call_t *call, mole_how_t how) {
    golden_tensor_t x = golden_input(call, "x");
    size_t N = last(x.shape) / 2, M = x.count / (2 * N);
    real_t *out = fixture_blank(M * N);
    good(mole_geglu(out, reals(x), M, N, &error));
    return compare(call, out, M * N, how);
}

static bool check_softmax(const golden_call_t *call, mole_how_t how) {
    golden_tensor_t x = golden_input(call, "x");
    real_t *out = fixture_blank(x.count);
    good(mole_softmax(out, reals(x), x.count / last(x.shape), last(x.shape), &error));
    return compare(call, out, x.count, how);
}

static bool check_attention(const golden_call_t *call, mole_how_t how) {
    golden_tensor_t q = golden_input(call, "q"), k = golden_input(call, "k");
    golden_tensor_t v = golden_input(call, "v");
    size_t NH = golden_size(call, "heads"), D = q.shape.dim[2] / NH;
    real_t *out = fixture_blank(q.count);
    good(mole_attention(out, reals(q), reals(k), reals(v), q.shape.dim[0], q.shape.dim[1],
                        k.shape.dim[1], NH, D, golden_number(call, "scale"),
                        golden_flag(call, "causal"), how, &error));
    return compare(call, out, q.count, how);
}

static bool check_embedding(const golden_call_t *call, mole_how_t how) {
    golden_tensor_t ids = golden_input(call, "ids"), weight = golden_input(call, "weight");
    size_t V = weight.shape.dim[0], C = weight.shape.dim[1];
    int32_t *id = fixture_bytes(ids.count * sizeof *id);
    for (size_t i = 0; i < ids.count; i++) id[i] = (int32_t)ids.x[i];
    real_t *out = fixture_blank(ids.count * C);
    good(mole_embedding(out, id, reals(weight), ids.count, V, C, &error));
    return compare(call, out, ids.count * C, how);
}

static bool check_upsample_nearest(const golden_call_t *call, mole_how_t how) {
    golden_tensor_t x = golden_input(call, "x");
    const size_t *d = x.shape.dim;
    size_t size[2];
    golden_sizes(call, "size", size, 2);
    size_t count = d[0] * d[1] * size[0] * size[1];
    real_t *out = fixture_blank(count);
    good(mole_upsample_nearest(out, reals(x), d[0], d[1], d[2], d[3], size[0], size[1], &error));
    return compare(call, out, count, how);
}

static bool check_concat(const golden_call_t *call, mole_how_t how) {
    golden_tensor_t x = golden_input_at(call, "x", 0);
    size_t B = x.shape.dim[0], C = x.shape.dim[1], P = pixels(x.shape);
    const real_t *sofar = reals(x);
    for (size_t i = 1; i < golden_input_count(call, "x"); i++) {
        golden_tensor_t next = golden_input_at(call, "x", i);
        real_t *out = fixture_blank(B * P * (C + next.shape.dim[1]));
        good(mole_concat(out, sofar, reals(next), B, C, next.shape.dim[1], P, &error));
        sofar = out;
        C += next.shape.dim[1];
    }
    return compare(call, sofar, B * C * P, how);
}

/* The float32 form of the angles has a rule of its own in tests/ops: here, the same bits as there. */
static bool check_timestep_embedding(const golden_call_t *call, mole_how_t how) {
    golden_tensor_t t = golden_input(call, "timesteps");
    size_t dim = golden_size(call, "dim"), count = t.count * dim;
    bool f32 = strcmp(golden_text(call, "angles"), "f32") == 0;
    bool flip = golden_flag(call, "flip_sin_to_cos");
    double shift = golden_number(call, "freq_shift"), period = golden_number(call, "max_period");
    real_t *out = fixture_blank(count), *inner = fixture_blank(count);
    good(mole_timestep_embedding(out, t.x, t.count, dim, flip, shift, period, f32, &error));
    timestep_embedding(inner, t.x, t.count, dim, flip, shift, period,
                       f32 ? ANGLES_F32 : ANGLES_EXACT);
    assert_memory_equal(out, inner, count * sizeof *out);
    return f32 || compare(call, out, count, how);
}

/* ---- the MoLE layer ---------------------------------------------------------------------------- */

/* The manifest's entry of a call: its experts are not among the inputs. */
static const json_t *experts_of(const json_t *manifest, const char *id) {
    size_t index;
    json_t *entry;
    json_array_foreach(json_object_get(manifest, "calls"), index, entry) {
        if (strcmp(json_string_value(json_object_get(entry, "id")), id) == 0)
            return json_object_get(entry, "experts");
    }
    fail_msg("%s: no such call", id);
    return NULL;
}

static const real_t *factor(const golden_call_t *call, const json_t *expert, const char *key,
                            size_t *rows) {
    golden_tensor_t t =
        golden_tensor(call->golden, json_string_value(json_object_get(expert, key)));
    if (rows) *rows = t.shape.dim[0];
    return reals(t);
}

typedef struct {
    const golden_call_t *call;
    mole_how_t how;
    size_t B, T, count; /* count: numbers of the output */
    mole_layer_args_t args;
    mole_layer_expert_t expert[4];
    const char *name[4];
} layer_case_t;

static void read_experts(layer_case_t *c, const json_t *experts) {
    c->args.expert = c->expert;
    c->args.experts = json_array_size(experts);
    assert_in_range(c->args.experts, 1, 4);
    for (size_t i = 0; i < c->args.experts; i++) {
        const json_t *e = json_array_get(experts, i);
        mole_layer_expert_t *to = &c->expert[i];
        *to = (mole_layer_expert_t){.alpha = json_number_value(json_object_get(e, "alpha")),
                                    .up = factor(c->call, e, "lora_up", NULL),
                                    .scale_weight = factor(c->call, e, "scale_weight", NULL),
                                    .scale_bias = (double)*factor(c->call, e, "scale_bias", NULL),
                                    .tap_expert = fixture_blank(c->count),
                                    .tap_local = fixture_blank(c->B * c->T),
                                    .tap_global = fixture_blank(c->B),
                                    .tap_out = fixture_blank(c->count)};
        to->down = factor(c->call, e, "lora_down", &to->rank);
        c->name[i] = json_string_value(json_object_get(e, "name"));
    }
}

static bool compare_tap(const layer_case_t *c, const char *name, const real_t *x) {
    golden_tensor_t truth = golden_output(c->call, name, NULL);
    double ratio = c->how == MOLE_PLAIN ? GOLDEN_RATIO_PLAIN : GOLDEN_RATIO_BLAS;
    return golden_check(c->call, name, fixture_doubles(x, truth.count), truth.count, ratio,
                        c->how == MOLE_PLAIN ? "plain" : "BLAS");
}

static bool compare_layer(const layer_case_t *c, const real_t *out) {
    bool well = compare_tap(c, "out", out);
    well = compare_tap(c, "mole.base", c->args.tap_base) && well;
    for (size_t i = 0; i < c->args.experts; i++) {
        const mole_layer_expert_t *e = &c->expert[i];
        const struct {
            const char *what;
            const real_t *x;
        } taps[] = {{"expert", e->tap_expert},
                    {"local", e->tap_local},
                    {"global", e->tap_global},
                    {"out", e->tap_out}};
        for (size_t k = 0; k < 4; k++) {
            char name[64];
            snprintf(name, sizeof name, "mole.%s.%s", c->name[i], taps[k].what);
            well = compare_tap(c, name, taps[k].x) && well;
        }
    }
    return well;
}

static bool check_mole(const golden_call_t *call, mole_how_t how) {
    golden_tensor_t x = golden_input(call, "x"), weight = golden_input(call, "weight");
    bool image = x.shape.ndim == 4;
    layer_case_t c = {.call = call, .how = how, .B = x.shape.dim[0]};
    c.T = image ? pixels(x.shape) : x.shape.dim[1];
    c.count = c.B * c.T * weight.shape.dim[0];
    c.args = (mole_layer_args_t){.d_in = weight.shape.dim[1],
                                 .d_out = weight.shape.dim[0],
                                 .weight = reals(weight),
                                 .bias = reals(golden_input(call, "bias")),
                                 .local_weight = reals(golden_input(call, "gate.Phi.weight")),
                                 .local_bias = reals(golden_input(call, "gate.Phi.bias")),
                                 .image = image,
                                 .tap_base = fixture_blank(c.count)};
    json_t *manifest = json_load_file("golden/ops/mole/manifest.json", 0, NULL);
    read_experts(&c, experts_of(manifest, call->id));
    real_t *out = fixture_blank(c.count);
    good(mole_layer(out, reals(x), &c.args, c.B, c.T, how, &error));
    bool well = compare_layer(&c, out);
    json_decref(manifest);
    return well;
}

/* ---- those without a golden case: against their equation ---------------------------------------- */

static void the_small_ones_follow_their_equation(void **state) {
    (void)state;
    enum { B = 2, C = 3, P = 4, N = B * C * P };
    real_t *x = fixture_reals(fixture_random(N, 1, 1), N),
           *y = fixture_reals(fixture_random(N, 2, 1), N);
    real_t *out = fixture_blank(N), *back = fixture_blank(N);
    good(mole_add(out, x, y, N, &error));
    for (size_t i = 0; i < N; i++) assert_true(out[i] == x[i] + y[i]);
    good(mole_guidance(out, x, y, 7.5, N, &error));
    for (size_t i = 0; i < N; i++)
        assert_true(out[i] == (real_t)((double)x[i] + 7.5 * ((double)y[i] - (double)x[i])));
    good(mole_add_per_channel(out, x, y, B, C, P, &error));
    for (size_t i = 0; i < N; i++) assert_true(out[i] == x[i] + y[i / P]);
    good(mole_to_channels_last(out, x, B, C, P, &error));
    for (size_t b = 0; b < B; b++)
        for (size_t c = 0; c < C; c++)
            for (size_t p = 0; p < P; p++)
                assert_true(out[(b * P + p) * C + c] == x[(b * C + c) * P + p]);
    good(mole_from_channels_last(back, out, B, C, P, &error));
    assert_memory_equal(back, x, N * sizeof *x);
    good(mole_linear_scaled(out, x, y, -0.5, 2, 3, 4, MOLE_PLAIN, &error));
    good(mole_linear(back, x, y, NULL, 2, 3, 4, MOLE_PLAIN, &error));
    for (size_t i = 0; i < 8; i++) assert_true(out[i] == (real_t)-0.5 * back[i]);
    good(mole_matmul(out, x, y, 1, 1, 2, 4, 3, MOLE_PLAIN, &error));
    for (size_t i = 0; i < 8; i++) assert_true(out[i] != back[i]); /* added to what was there */
}

#define GOLDEN_TEST(op)                                                                            \
    static void op##_equals_torch(void **state) {                                                  \
        (void)state;                                                                               \
        all_calls(#op, check_##op);                                                                \
    }
GOLDEN_TEST(matmul)
GOLDEN_TEST(linear)
GOLDEN_TEST(conv2d)
GOLDEN_TEST(group_norm)
GOLDEN_TEST(layer_norm)
GOLDEN_TEST(sigmoid)
GOLDEN_TEST(silu)
GOLDEN_TEST(gelu)
GOLDEN_TEST(quick_gelu)
GOLDEN_TEST(geglu)
GOLDEN_TEST(softmax)
GOLDEN_TEST(attention)
GOLDEN_TEST(embedding)
GOLDEN_TEST(timestep_embedding)
GOLDEN_TEST(upsample_nearest)
GOLDEN_TEST(concat)
GOLDEN_TEST(mole)

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
        fixture_test(mole_equals_torch),
        fixture_test(the_small_ones_follow_their_equation),
    };
    return cmocka_run_group_tests_name("api/ops " REAL_NAME, tests, NULL, NULL);
}
