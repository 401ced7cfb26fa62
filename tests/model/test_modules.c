/* module_replay: each kind of module against the slow oracle in torch's own order, the shapes it
 * takes and refuses, and what a watching sink sees. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "../fixture.h"
#include "../slow.h"
#include "model/replay_module.h"

enum { B = 2, C = 6, CO = 8, H = 3, W = 5, T = H * W, R = 2 };

static run_t run;
static err_t err;

static int open_arena(void **state) {
    (void)state;
    run = (run_t){.matmul = MATMUL_PLAIN};
    return arena_create(&run.arena, 1 << 22, &err);
}

static int close_arena(void **state) {
    arena_destroy(run.arena);
    return fixture_free(state);
}

/* (out, in) weights and biases as double and real_t. */
typedef struct {
    double *w, *b;
    real_t *weight, *bias;
} parameters_t;

static parameters_t parameters(size_t count, size_t out, uint64_t seed) {
    parameters_t p = {.w = fixture_random(count, seed, 1), .b = fixture_random(out, seed + 1, 1)};
    p.weight = fixture_reals(p.w, count);
    p.bias = fixture_reals(p.b, out);
    return p;
}

/* Replay x, check the shape, and the numbers against `truth`. The arena is as it was before. */
static void check(const module_t *module, const double *x, shape_t shape, shape_t expected,
                  const double *truth, const double *magnitude, const char *what) {
    size_t in = shape_count(shape), count = shape_count(expected);
    real_t *out = fixture_blank(count), *input = fixture_reals(x, in);
    shape_t only, found;
    arena_mark_t mark = arena_mark(run.arena);
    assert_int_equal(module_replay(&run, module, NULL, &only, NULL, shape, &err), 0);
    assert_int_equal(module_replay(&run, module, out, &found, input, shape, &err), 0);
    assert_true(shape_equal(only, expected));
    assert_true(shape_equal(found, expected));
    assert_int_equal(arena_mark(run.arena), mark);
    fixture_close(fixture_doubles(out, count), truth, magnitude, 16 * UNIT, count, "%s", what);
    fixture_close(fixture_doubles(input, in), x, NULL, 0, in, "%s: input unchanged", what);
}

static void refuse(const module_t *module, shape_t shape, const char *part) {
    shape_t out;
    real_t number = 0;
    err.text[0] = 0;
    assert_int_equal(module_replay(&run, module, &number, &out, &number, shape, &err), -1);
    if (!strstr(err.text, part) || !strstr(err.text, module->name))
        fail_msg("'%s' lacks '%s' or the module's name", err.text, part);
}

static void linear_rows_and_images(void **state) {
    (void)state;
    parameters_t p = parameters(CO * C, CO, 1);
    linear_t layer = {.name = "unet.a", .in = C, .out = CO, .weight = p.weight, .bias = p.bias};
    module_t module = {.name = layer.name, .kind = MODULE_LINEAR, .as.linear = &layer};
    double *x = fixture_random(B * T * C, 3, 1);
    double *truth = fixture_bytes(B * T * CO * sizeof *truth);
    double *size = fixture_bytes(B * T * CO * sizeof *size);
    slow_linear(truth, size, x, p.w, p.b, B * T, C, CO);
    check(&module, x, SHAPE3(B, T, C), SHAPE3(B, T, CO), truth, size, "tokens");
    check(&module, x, SHAPE2(B * T, C), SHAPE2(B * T, CO), truth, size, "rows");
    check(&module, x, SHAPE4(B, H, W, C), SHAPE4(B, H, W, CO), truth, size, "4 dimensions");
    check(&module, x, SHAPE1(C), SHAPE1(CO), truth, size, "one row");

    slow_conv2d_t g = {1, 1, 1, {0}};
    slow_conv2d(truth, size, x, p.w, p.b, B, C, H, W, CO, g);
    check(&module, x, SHAPE4(B, C, H, W), SHAPE4(B, CO, H, W), truth, size, "image");

    refuse(&module, SHAPE3(B, T, C + 1), "(2, 15, 7)");
    refuse(&module, SHAPE0(), "()");
    refuse(&module, SHAPE3(B, 0, C), "(2, 0, 6)");
    refuse(&module, SHAPE4(B, C - 1, H, W), "(...,channels)");
    refuse(&module, SHAPE3((size_t)1 << 40, (size_t)1 << 40, C), "too many");
    layer.bias = NULL;
    slow_linear(truth, size, x, p.w, NULL, B * T, C, CO);
    check(&module, x, SHAPE3(B, T, C), SHAPE3(B, T, CO), truth, size, "no bias");
}

static void convolution(void **state) {
    (void)state;
    parameters_t p = parameters(CO * C * 9, CO, 5);
    real_t *packed = fixture_blank(CO * C * 9);
    conv2d_pack_weight(packed, p.weight, CO, C, 3, 3);
    conv_t conv = {"unet.c", C, CO, {3, 3, 2, 1, 1, 1, 1}, packed, p.bias};
    module_t module = {.name = conv.name, .kind = MODULE_CONV, .as.conv = &conv};
    double *x = fixture_random(B * C * T, 7, 1);
    size_t count = B * CO * 2 * 3;
    double *truth = fixture_bytes(count * sizeof *truth),
           *size = fixture_bytes(count * sizeof *size);
    slow_conv2d(truth, size, x, p.w, p.b, B, C, H, W, CO, (slow_conv2d_t){3, 3, 2, {1, 1, 1, 1}});
    check(&module, x, SHAPE4(B, C, H, W), SHAPE4(B, CO, 2, 3), truth, size, "conv");

    refuse(&module, SHAPE4(B, C + 1, H, W), "(2, 7, 3, 5)");
    refuse(&module, SHAPE3(B, C, T), "(B,channels,H,W)");
    conv.geometry = (conv2d_geometry_t){3, 3, 1, 0, 0, 0, 0};
    refuse(&module, SHAPE4(B, C, 2, W), "kernel of 3 x 3");
    refuse(&module, SHAPE4(B, C, H, 2), "3 x 2");
}

static void norms(void **state) {
    (void)state;
    parameters_t p = parameters(C, C, 9);
    norm_t norm = {"vae.n", C, 3, 1e-5, p.weight, p.bias};
    module_t module = {.name = norm.name, .kind = MODULE_GROUP_NORM, .as.norm = &norm};
    double *x = fixture_random(B * C * T, 11, 1);
    double *truth = fixture_bytes(B * C * T * sizeof *truth);
    double *size = fixture_bytes(B * C * T * sizeof *size);
    slow_group_norm(truth, size, x, p.w, p.b, B, C, T, 3, 1e-5);
    check(&module, x, SHAPE4(B, C, H, W), SHAPE4(B, C, H, W), truth, size, "image");
    check(&module, x, SHAPE3(B, C, T), SHAPE3(B, C, T), truth, size, "flat image");
    slow_group_norm(truth, size, x, p.w, p.b, B * T, C, 1, 3, 1e-5);
    check(&module, x, SHAPE2(B * T, C), SHAPE2(B * T, C), truth, size, "rows");
    refuse(&module, SHAPE3(B, T, C), "(2, 15, 6)");
    refuse(&module, SHAPE1(C), "(6)");

    module.kind = MODULE_LAYER_NORM;
    norm.groups = 0;
    slow_layer_norm(truth, size, x, p.w, p.b, B * T, C, 1e-5);
    check(&module, x, SHAPE3(B, T, C), SHAPE3(B, T, C), truth, size, "layer norm");
    check(&module, x, SHAPE2(B * T, C), SHAPE2(B * T, C), truth, size, "layer norm of rows");
    refuse(&module, SHAPE3(B, C, T), "(...,channels)");
}

/* ---- with experts ---------------------------------------------------------------------------- */

typedef struct {
    tap_sink_t sink;
    char names[1024];
    shape_t last;
    layout_t layout;
} watcher_t;

static void watch(tap_sink_t *self, const char *name, real_t *x, view_t view) {
    watcher_t *w = (watcher_t *)self;
    (void)x;
    strcat(strcat(w->names, name), " ");
    w->last = view.shape;
    w->layout = view.layout;
}

/* (B,T,n) tokens as a (B,n,T) image. */
static void transpose(double *out, const double *x, size_t tokens, size_t n) {
    for (size_t b = 0; b < B; b++)
        for (size_t t = 0; t < tokens; t++)
            for (size_t c = 0; c < n; c++)
                out[(b * n + c) * tokens + t] = x[(b * tokens + t) * n + c];
}

/* y = base + D G scale up down x with D = 1/2, and G of sample b from the mean over its own tokens.
 */
static void expert_truth(double *out, const double *x, const parameters_t *base,
                         const parameters_t *down, const parameters_t *up, const double *gate) {
    double *size = fixture_bytes(B * T * CO * sizeof *size);
    slow_linear(out, size, x, base->w, base->b, B * T, C, CO);
    for (size_t b = 0; b < B; b++) {
        double *expert = fixture_bytes(T * CO * sizeof *expert), logit = 0.125;
        double hidden[T * R];
        slow_linear(hidden, size, x + b * T * C, down->w, NULL, T, C, R);
        slow_linear(expert, size, hidden, up->w, NULL, T, R, CO);
        for (size_t i = 0; i < T * CO; i++) logit += 0.5 * expert[i] * gate[i % CO] / T;
        for (size_t i = 0; i < T * CO; i++)
            out[b * T * CO + i] += 0.5 * slow_sigmoid(logit) * 0.5 * expert[i];
    }
}

static void experts_join(void **state) {
    (void)state;
    parameters_t p = parameters(CO * C, CO, 21), down = parameters(R * C, R, 23);
    parameters_t up = parameters(CO * R, CO, 25);
    real_t zeros[C] = {0}, zero = 0;
    double *gate = fixture_random(CO, 29, 2);
    mole_expert_t expert = {.name = "face",
                            .rank = R,
                            .scale = 0.5,
                            .down = down.weight,
                            .up = up.weight,
                            .global_weight = fixture_reals(gate, CO),
                            .global_bias = 0.125};
    mole_layer_t mole = {.d_in = C, .d_out = CO, .experts = 1, .expert = &expert};
    mole.local_weight = zeros;
    mole.local_bias = &zero;
    linear_t layer = {"unet.q", C, CO, p.weight, p.bias, &mole, {NULL, 0}};
    module_t module = {.name = layer.name, .kind = MODULE_LINEAR, .as.linear = &layer};
    double *x = fixture_random(B * T * C, 27, 1), truth[B * T * CO], size[B * T * CO];
    for (size_t i = 0; i < B * T * CO; i++) size[i] = 2 * C * R;
    expert_truth(truth, x, &p, &down, &up, gate);
    check(&module, x, SHAPE3(B, T, C), SHAPE3(B, T, CO), truth, size, "tokens with an expert");
    refuse(&module, SHAPE2(B * T, C), "(B,T,channels)");
    refuse(&module, SHAPE4(B, H, W, C), "(B,T,channels)");

    watcher_t w = {.sink = {watch, false}};
    run.sink = &w.sink;
    double image[B * T * C], image_truth[B * T * CO];
    transpose(image, x, T, C);
    transpose(image_truth, truth, T, CO);
    check(&module, image, SHAPE4(B, C, H, W), SHAPE4(B, CO, H, W), image_truth, size, "image");
    assert_string_equal(w.names, "unet.q.mole.base unet.q.mole.face.expert unet.q.mole.face.local "
                                 "unet.q.mole.face.global unet.q.mole.face.out unet.q ");
    assert_true(shape_equal(w.last, SHAPE4(B, CO, H, W)));
    assert_int_equal(w.layout, LAYOUT_CHANNELS_LAST);
}

int main(void) {
#define test(f) cmocka_unit_test_setup_teardown(f, open_arena, close_arena)
    const struct CMUnitTest tests[] = {
        test(linear_rows_and_images),
        test(convolution),
        test(norms),
        test(experts_join),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
