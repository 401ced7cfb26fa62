/* mole.h in torch's order in and out. Its operations run through their table in tests/ops/test_golden.c; here
 * stands what the table does not show: cases read by hand, so that a wrong row and a wrong function cannot
 * agree, "out may be x", and the functions that no golden case names. */
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

/* ---- the MoLE layer ---------------------------------------------------------------------------- */

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
    read_experts(&c, json_object_get(call->entry, "experts"));
    real_t *out = fixture_blank(c.count);
    good(mole_layer(out, reals(x), &c.args, c.B, c.T, how, &error));
    return compare_layer(&c, out);
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

/* ---- out may be x ------------------------------------------------------------------------------ */

static void in_place_gives_the_same_bits(void **state) {
    (void)state;
    enum { B = 2, C = 6, P = 5, N = B * C * P };
    int (*const each[])(mole_real_t *, const mole_real_t *, size_t,
                        mole_error_t *) = {mole_sigmoid, mole_silu, mole_gelu, mole_quick_gelu};
    const real_t *x = fixture_reals(fixture_random(N, 1, 2), N);
    const real_t *weight = fixture_reals(fixture_random(C, 2, 2), C);
    real_t *out = fixture_blank(N), *same = fixture_blank(N);
#define SAME(apart, in_place)                                                                      \
    memcpy(same, x, N * sizeof *same);                                                             \
    good(apart);                                                                                   \
    good(in_place);                                                                                \
    assert_memory_equal(same, out, N * sizeof *out)
    for (size_t i = 0; i < 4; i++) {
        SAME(each[i](out, x, N, &error), each[i](same, same, N, &error));
    }
    SAME(mole_group_norm(out, x, weight, weight, B, C, P, 3, 1e-5, &error),
         mole_group_norm(same, same, weight, weight, B, C, P, 3, 1e-5, &error));
    SAME(mole_layer_norm(out, x, weight, weight, B * P, C, 1e-5, &error),
         mole_layer_norm(same, same, weight, weight, B * P, C, 1e-5, &error));
    SAME(mole_softmax(out, x, B * P, C, &error), mole_softmax(same, same, B * P, C, &error));
#undef SAME
}

static void conv2d_equals_torch(void **state) {
    (void)state;
    all_calls("conv2d", check_conv2d);
}

static void attention_equals_torch(void **state) {
    (void)state;
    all_calls("attention", check_attention);
}

static void mole_equals_torch(void **state) {
    (void)state;
    all_calls("mole", check_mole);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        fixture_test(conv2d_equals_torch),
        fixture_test(attention_equals_torch),
        fixture_test(mole_equals_torch),
        fixture_test(in_place_gives_the_same_bits),
        fixture_test(the_small_ones_follow_their_equation),
    };
    return cmocka_run_group_tests_name("api/ops " REAL_NAME, tests, NULL, NULL);
}
