/* The MoLE layer: PyTorch's values with every tap, the numbers of the specification, and what follows from
 * the equations alone. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "../fixture.h"
#include "../golden.h"
#include "mole/mole.h"

static const bool is_f64 = sizeof(real_t) == sizeof(double);

/* ---- a layer from golden inputs --------------------------------------------------------------------- */

typedef struct {
    mole_layer_t layer;
    mole_expert_t expert[8];
    const real_t *x, *weight, *bias; /* x as tokens (B,T,d) */
    size_t B, T, H, W;
    bool conv;
    pool_t pool;
} subject_t;

static const real_t *reals_of(golden_tensor_t t) {
    return fixture_reals(t.x, t.count);
}

static const char *expert_key(const golden_call_t *call, const json_t *expert, const char *what) {
    const char *key = json_string_value(json_object_get(expert, what));
    if (!key) fail_msg("%s: expert without %s", call->id, what);
    return key;
}

static void read_experts(subject_t *s, const golden_call_t *call, const json_t *experts) {
    mole_layer_t *l = &s->layer;
    l->experts = json_array_size(experts);
    l->expert = s->expert;
    assert_in_range(l->experts, 1, 8);
    for (size_t i = 0; i < l->experts; i++) {
        const json_t *e = json_array_get(experts, i);
        golden_tensor_t down = golden_tensor(call->golden, expert_key(call, e, "lora_down"));
        golden_tensor_t up = golden_tensor(call->golden, expert_key(call, e, "lora_up"));
        golden_tensor_t w = golden_tensor(call->golden, expert_key(call, e, "scale_weight"));
        golden_tensor_t c = golden_tensor(call->golden, expert_key(call, e, "scale_bias"));
        size_t rank = down.shape.dim[0];
        double alpha = json_number_value(json_object_get(e, "alpha"));
        s->expert[i] = (mole_expert_t){.name = json_string_value(json_object_get(e, "name")),
                                       .rank = rank,
                                       .scale = alpha / (double)rank,
                                       .down = reals_of(down),
                                       .up = reals_of(up),
                                       .global_weight = reals_of(w),
                                       .global_bias = c.x[0]};
    }
}

static subject_t read_subject(const golden_call_t *call, const json_t *experts) {
    subject_t s = {0};
    golden_tensor_t x = golden_input(call, "x"), weight = golden_input(call, "weight");
    golden_tensor_t bias = golden_input(call, "bias");
    golden_tensor_t phi = golden_input(call, "gate.Phi.weight");
    golden_tensor_t phi_bias = golden_input(call, "gate.Phi.bias");
    s.conv = x.shape.ndim == 4;
    s.B = x.shape.dim[0];
    s.H = s.conv ? x.shape.dim[2] : x.shape.dim[1];
    s.W = s.conv ? x.shape.dim[3] : 1;
    s.T = s.H * s.W;
    size_t d = s.conv ? x.shape.dim[1] : x.shape.dim[2];
    s.layer = (mole_layer_t){.d_in = d, .d_out = weight.shape.dim[0]};
    s.layer.local_weight = reals_of(phi);
    s.layer.local_bias = reals_of(phi_bias);
    s.x = s.conv ? fixture_reals_last(x.x, s.B, d, s.T) : reals_of(x);
    s.weight = reals_of(weight);
    s.bias = bias.x ? reals_of(bias) : NULL;
    read_experts(&s, call, experts);
    mole_layer_prepare(&s.layer, &s.pool);
    return s;
}

/* ---- taps against PyTorch --------------------------------------------------------------------------- */

typedef struct {
    tap_sink_t sink;
    const golden_call_t *call;
    matmul_way_t how;
    bool good;
    size_t taps;
} checker_t;

static bool has_output(const golden_call_t *call, const char *name) {
    for (size_t i = 0; i < json_array_size(call->outputs); i++) {
        const json_t *o = json_array_get(call->outputs, i);
        if (strcmp(json_string_value(json_object_get(o, "name")), name) == 0) return true;
    }
    return false;
}

static void check_output(checker_t *c, const char *name, const real_t *x, view_t view) {
    size_t count = shape_count(view.shape);
    real_t *torch = fixture_blank(count);
    view_to_torch(torch, x, view);
    bool plain = c->how == MATMUL_PLAIN;
    if (!golden_check(c->call, name, fixture_doubles(torch, count), count,
                      plain ? GOLDEN_RATIO_PLAIN : GOLDEN_RATIO_BLAS, plain ? "plain" : "BLAS"))
        c->good = false;
    c->taps++;
}

static void check_tap(tap_sink_t *self, const char *name, real_t *x, view_t view) {
    checker_t *c = (checker_t *)self;
    if (!has_output(c->call, name + 1)) fail_msg("%s: PyTorch has no %s", c->call->id, name + 1);
    check_output(c, name + 1, x, view); /* the module's name is empty: ".mole.base" */
}

/* One call in one way and form, all its taps and its output. */
static bool check_call(const golden_call_t *call, const json_t *experts, matmul_way_t how,
                       mole_form_t form) {
    subject_t s = read_subject(call, experts);
    s.layer.expert = s.expert; /* the copy's own */
    err_t err;
    checker_t c = {.sink = {.tap = check_tap}, .call = call, .how = how, .good = true};
    run_t run = {.sink = &c.sink, .matmul = how, .form = form};
    assert_int_equal(arena_create(&run.arena, 1 << 24, &err), 0);
    real_t *out = fixture_blank(s.B * s.T * s.layer.d_out);
    view_t view =
        s.conv ? VIEW_IMAGE(s.B, s.layer.d_out, s.H, s.W) : VIEW_TOKENS(s.B, s.T, s.layer.d_out);
    mole_forward(&run, &s.layer, "", view, out, s.x, s.weight, s.bias, s.B, s.T);
    check_output(&c, "out", out, view);
    size_t expected = form == MOLE_DIRECT ? 2 + 4 * s.layer.experts : 1 + 2 * s.layer.experts;
    assert_int_equal(c.taps, expected);
    arena_destroy(run.arena);
    pool_free(&s.pool);
    return c.good;
}

static void all_calls(matmul_way_t how, mole_form_t form) {
    json_error_t error;
    json_t *manifest = json_load_file("golden/ops/mole/manifest.json", 0, &error);
    assert_non_null(manifest);
    golden_t *golden = golden_open("golden/ops/mole");
    bool good = true;
    for (size_t i = 0; i < golden_call_count(golden); i++) {
        golden_call_t call = golden_call(golden, i);
        const json_t *entry = json_array_get(json_object_get(manifest, "calls"), i);
        if (!check_call(&call, json_object_get(entry, "experts"), how, form)) good = false;
    }
    golden_close(golden);
    json_decref(manifest);
    assert_true(good);
}

static void direct_equals_pytorch(void **state) {
    (void)state;
    all_calls(MATMUL_BLAS, MOLE_DIRECT);
    all_calls(MATMUL_PLAIN, MOLE_DIRECT);
}

static void stacked_equals_pytorch(void **state) {
    (void)state;
    all_calls(MATMUL_BLAS, MOLE_STACKED);
    all_calls(MATMUL_PLAIN, MOLE_STACKED);
}

/* ---- what the equations say --------------------------------------------------------------------------- */

enum { B = 2, T = 7, D = 12, O = 9, R0 = 3, R1 = 5, MORE = 4 };

/* A layer of two experts with random weights; `run` gets an arena that the caller destroys. With an odd seed
 * the ranks are so high that the stacked form multiplies them out. */
static subject_t random_subject(uint64_t seed, run_t *run) {
    err_t err;
    subject_t s = {.B = B, .T = T};
    *run = (run_t){.matmul = MATMUL_PLAIN, .form = MOLE_DIRECT};
    assert_int_equal(arena_create(&run->arena, 1 << 22, &err), 0);
    s.x = fixture_reals(fixture_random(B * T * D, seed, 1), B * T * D);
    s.weight = fixture_reals(fixture_random(O * D, seed + 1, 1), O * D);
    s.bias = fixture_reals(fixture_random(O, seed + 2, 1), O);
    size_t more = seed % 2 ? MORE : 0, rank[2] = {R0 + more, R1 + more};
    for (size_t i = 0; i < 2; i++) {
        uint64_t k = seed + 10 * (i + 1);
        s.expert[i] =
            (mole_expert_t){.name = i ? "hand" : "face",
                            .rank = rank[i],
                            .scale = i ? 0.5 : 0.25,
                            .down = fixture_reals(fixture_random(rank[i] * D, k, 1), rank[i] * D),
                            .up = fixture_reals(fixture_random(O * rank[i], k + 1, 1), O * rank[i]),
                            .global_weight = fixture_reals(fixture_random(O, k + 2, 1), O),
                            .global_bias = i ? -0.3 : 0.4};
    }
    s.layer = (mole_layer_t){.d_in = D, .d_out = O, .experts = 2};
    s.layer.local_weight = fixture_reals(fixture_random(2 * D, seed + 5, 1), 2 * D);
    s.layer.local_bias = fixture_reals(fixture_random(2, seed + 6, 1), 2);
    return s;
}

static real_t *forward(subject_t *s, run_t *run) {
    s->layer.expert = s->expert;
    mole_layer_prepare(&s->layer, &s->pool);
    real_t *out = fixture_blank(B * T * O);
    mole_forward(run, &s->layer, "", VIEW_TOKENS(B, T, O), out, s->x, s->weight, s->bias, B, T);
    return out;
}

static double distance(const real_t *a, const real_t *b) {
    double worst = 0;
    for (size_t i = 0; i < B * T * O; i++) worst = fmax(worst, fabs((double)a[i] - (double)b[i]));
    return worst;
}

static void done(subject_t *s, run_t *run) {
    pool_free(&s->pool);
    arena_destroy(run->arena);
}

/* up = 0: exactly the frozen layer, whatever the gates. */
static void without_factors(uint64_t seed) {
    run_t run;
    subject_t s = random_subject(seed, &run);
    real_t *base = fixture_blank(B * T * O), zeros[O * (R1 + MORE)] = {0};
    linear(base, s.x, s.weight, s.bias, B * T, D, O, MATMUL_PLAIN);
    s.expert[0].up = s.expert[1].up = zeros;
    assert_memory_equal(forward(&s, &run), base, B * T * O * sizeof *base);
    run.form = MOLE_STACKED;
    assert_memory_equal(forward(&s, &run), base, B * T * O * sizeof *base);
    done(&s, &run);
}

static void no_factor_no_change(void **state) {
    (void)state;
    without_factors(0);
    without_factors(1);
}

/* Gates wide open: the plain sum of two LoRAs; which is also what a layer without gates computes. */
static void open_gates_are_plain_lora(void **state) {
    (void)state;
    run_t run;
    subject_t s = random_subject(3, &run);
    real_t open[2] = {40, 40}, closed_weight[2 * D] = {0}, no_weight[O] = {0};
    s.layer.local_weight = closed_weight;
    s.layer.local_bias = open;
    for (size_t i = 0; i < 2; i++) {
        s.expert[i].global_weight = no_weight;
        s.expert[i].global_bias = 40;
    }
    for (int form = 0; form < 2; form++) {
        run.form = form ? MOLE_STACKED : MOLE_DIRECT;
        real_t *gated = forward(&s, &run);
        subject_t plain = s;
        plain.pool = (pool_t){0};
        plain.layer.local_weight = NULL;
        real_t *ungated = forward(&plain, &run);
        assert_true(distance(gated, ungated) <= (is_f64 ? 1e-14 : 2e-6));
        pool_free(&plain.pool);
    }
    done(&s, &run);
}

/* Direct and stacked: one function. In float64 the difference is a few roundings of sums of up to
 * D + R0 + R1 terms of size about 3: 1e-13 is some hundred of them. */
static void forms_agree(void **state) {
    (void)state;
    for (uint64_t seed = 100; seed < 110; seed++) {
        run_t run;
        subject_t s = random_subject(seed, &run);
        real_t *direct = forward(&s, &run);
        run.form = MOLE_STACKED;
        assert_true(distance(direct, forward(&s, &run)) <= (is_f64 ? 1e-13 : 1e-5));
        assert_int_equal(s.layer.stacked_down == NULL, seed % 2);
        assert_int_equal(s.layer.ranks, seed % 2 ? 2 * D : R0 + R1);
        done(&s, &run);
    }
}

/* A sample's gates see that sample alone: two in a batch are what each is by itself. */
static void samples_are_independent(void **state) {
    (void)state;
    run_t run;
    subject_t s = random_subject(3, &run);
    for (int form = 0; form < 2; form++) {
        run.form = form ? MOLE_STACKED : MOLE_DIRECT;
        real_t *both = forward(&s, &run), *one = fixture_blank(B * T * O);
        for (size_t b = 0; b < B; b++)
            mole_forward(&run, &s.layer, "", VIEW_TOKENS(1, T, O), one + b * T * O, s.x + b * T * D,
                         s.weight, s.bias, 1, T);
        assert_memory_equal(both, one, B * T * O * sizeof *both);
    }
    done(&s, &run);
}

/* Each of an expert's two factors and the six gate tensors matters, in both forms. */
static void every_tensor_matters(void **state) {
    (void)state;
    run_t run;
    for (int form = 0; form < 3; form++) {
        for (int what = 0; what < 14; what++) {
            subject_t s = random_subject(form < 2 ? 4 : 5, &run);
            run.form = form ? MOLE_STACKED : MOLE_DIRECT;
            real_t *before = forward(&s, &run);
            mole_expert_t *e = &s.expert[what % 2];
            switch (what / 2) {
            case 0: ((real_t *)e->down)[1] += 1; break;
            case 1: ((real_t *)e->up)[1] += 1; break;
            case 2: e->scale *= 2; break;
            case 3: ((real_t *)e->global_weight)[1] += 1; break;
            case 4: e->global_bias += 1; break;
            case 5: ((real_t *)s.layer.local_weight)[what % 2 * D + 1] += 1; break;
            case 6: ((real_t *)s.layer.local_bias)[what % 2] += 1; break;
            }
            assert_true(distance(before, forward(&s, &run)) > 1e-4);
            done(&s, &run);
        }
    }
}

/* The numbers that MOLE's authors' class printed for fill(i) = sin(0.7 i + o) are a golden call
 * (fixture-linear); here their sum and sum of squares, written down independently of the golden data. */
static void fixture_of_the_specification(void **state) {
    (void)state;
    enum { FB = 2, FT = 5, FD = 4, FO = 3 };
    run_t run = {.matmul = MATMUL_PLAIN, .form = MOLE_DIRECT};
    err_t err;
    pool_t pool = {0};
    assert_int_equal(arena_create(&run.arena, 1 << 20, &err), 0);
    real_t n[14][64];
    static const double offset[14] = {0, 10, 11, 20, 21, 30, 31, 32, 33, 34, 35, 0, 0, 0};
    for (int k = 0; k < 11; k++)
        for (int i = 0; i < 64; i++) n[k][i] = (real_t)sin(0.7 * i + offset[k]);
    memset(n[11], 0, sizeof n[11]);
    mole_expert_t e[2] = {
        {"face", 2, 0.25, n[1], n[3], n[7], (double)n[8][0], {NULL, 0}, {NULL, 0}},
        {"hand", 3, 0.5, n[2], n[4], n[9], (double)n[10][0], {NULL, 0}, {NULL, 0}}};
    mole_layer_t layer = {.d_in = FD,
                          .d_out = FO,
                          .experts = 2,
                          .expert = e,
                          .local_weight = n[5],
                          .local_bias = n[6]};
    mole_layer_prepare(&layer, &pool);
    real_t y[FB * FT * FO];
    double tolerance = is_f64 ? 1e-12 : 1e-6;
    for (int form = 0; form < 2; form++) {
        run.form = form ? MOLE_STACKED : MOLE_DIRECT;
        mole_forward(&run, &layer, "", VIEW_TOKENS(FB, FT, FO), y, n[0], n[11], NULL, FB, FT);
        double sum = 0, squares = 0;
        for (size_t i = 0; i < FB * FT * FO; i++)
            sum += (double)y[i], squares += (double)(y[i] * y[i]);
        assert_true(fabs((double)y[0] - 0.122029937832987) <= tolerance);
        assert_true(fabs((double)y[FB * FT * FO - 1] - -0.187392953701865) <= tolerance);
        assert_true(fabs(sum - 0.138549078435892) <= tolerance);
        assert_true(fabs(squares - 0.344226142516119) <= tolerance);
    }
    pool_free(&pool);
    arena_destroy(run.arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        fixture_test(direct_equals_pytorch), fixture_test(stacked_equals_pytorch),
        fixture_test(no_factor_no_change),   fixture_test(open_gates_are_plain_lora),
        fixture_test(forms_agree),           fixture_test(samples_are_independent),
        fixture_test(every_tensor_matters),  fixture_test(fixture_of_the_specification),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
