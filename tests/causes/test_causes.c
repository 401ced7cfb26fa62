/* Causes that the numbers alone show: each mistake is made here, by hand, and has to be named; what
 * is no mistake of that kind must not be. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "causes_bench.h"

enum { B = 2, C = 6, H = 4, W = 5, COUNT = B * C * H * W, T = 7, TOKENS = B * T * C };
#define IMAGE SHAPE4(B, C, H, W)

static const double *start_image(void) {
    const double *x = fixture_random(COUNT, 1, 1);
    bench_start("unet.x", IMAGE, x);
    return x;
}

static const double *start_tokens(void) {
    const double *x = fixture_random(TOKENS, 2, 1);
    bench_start("step.002/unet.x", SHAPE3(B, T, C), x);
    return x;
}

/* ---- nothing to find ------------------------------------------------------------------------- */

/* Rounding, of one unit and of many, and an unrelated difference of every size, in tensors of many
 * shapes. */
static void no_false_alarm(void **state) {
    (void)state;
    static const struct {
        const char *name;
        shape_t shape;
    } shapes[] = {{"unet.a", {4, {2, 6, 4, 5}}},
                  {"unet.b", {3, {2, 7, 6}}},
                  {"unet.c", {2, {2, 9}}},
                  {"unet.d", {1, {40}}},
                  {"unet.e.mole.face.global", {1, {2}}},
                  {"unet.f", {0, {0}}},
                  {"unet.time_proj", {2, {2, 16}}},
                  {"latents", {4, {1, 4, 3, 5}}},
                  {"step.000/guided", {4, {1, 4, 3, 5}}},
                  {"image", {4, {1, 3, 8, 8}}},
                  {"text_encoder.text_model.embeddings", {3, {2, 5, 8}}},
                  {"prompt_embeds", {3, {2, 5, 8}}},
                  {"unet.g", {4, {2, 1, 1, 9}}},
                  {"unet.h", {5, {2, 3, 2, 2, 2}}},
                  {"unet.i", {4, {1, 8, 8, 8}}}};
    static const double sizes[] = {20, 1e3, 1e6, 1e12};
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
        for (size_t k = 0; k < 4 * 6; k++) {
            size_t count = shape_count(shapes[s].shape);
            const double *x = fixture_random(count, 100 + k, 1);
            const double *noise = fixture_random(count, 5000 + 31 * s + k, 1);
            bench_start(shapes[s].name, shapes[s].shape, x);
            double *y = bench_copy(x, count), size = sizes[k % 4] * bench.rounding;
            if (size > 0.5) size = 0.5; /* larger, and start noise would be another generator's */
            for (size_t i = 0; i < count; i++) y[i] += size * noise[i];
            /* Of two numbers one may well be right by chance. */
            if (count <= 8 && strcmp(bench_kind(y), "localised") == 0) continue;
            bench_expect(y, "", NULL);
        }
}

static void nothing_to_do(void **state) {
    (void)state;
    const double *x = start_image();
    cause_t found_cause = {"old", "old"};
    bench.candidate = x;
    run_t run = {0};
    causes_find(&run, &bench, &found_cause); /* equal */
    assert_string_equal(found_cause.text, "");
    assert_string_equal(found_cause.kind, "");
    double *nan = bench_copy(x, COUNT);
    nan[3] = NAN;
    bench.candidate = nan;
    strcpy(found_cause.text, "old");
    causes_find(&run, &bench, &found_cause);
    assert_string_equal(found_cause.text, "");
    nan[3] = INFINITY;
    causes_find(&run, &bench, &found_cause);
    assert_string_equal(found_cause.text, "");
    bench.count = 0;
    causes_find(&run, &bench, &found_cause);
    assert_string_equal(found_cause.kind, "");
}

/* ---- other tensors in this one's place ------------------------------------------------------- */

static void zeros_and_constants(void **state) {
    (void)state;
    start_image();
    double *y = bench_zeros(COUNT);
    bench_expect(y, "zero", "all zeros");
    bench.rounding = 0;
    for (size_t i = 0; i < COUNT; i++) y[i] = 0.75;
    bench_expect(y, "constant", "0.75");
    bench_start("unet.q.mole.face.global", SHAPE1(2), fixture_random(2, 4, 1));
    bench.rounding = 0;
    bench_expect(y, "", NULL); /* two equal gates, as pooling over the batch makes them */
}

static void another_tensor(void **state) {
    (void)state;
    const double *x = start_image(), *before = fixture_random(COUNT, 7, 1);
    bench.previous = before;
    bench_expect(before, "unconverged", "step before");
    linear_t layer = {.name = "unet.x", .in = C, .out = C};
    module_t module = {"unet.x", MODULE_LINEAR, {.linear = &layer}};
    const double *input = fixture_random(COUNT, 8, 1);
    bench_module(&module, input, IMAGE);
    bench_expect(input, "skipped", "left out");
    norm_t norm = {"unet.x", C, 0, 1e-5, NULL, NULL};
    module = (module_t){"unet.x", MODULE_LAYER_NORM, {.norm = &norm}};
    bench.shape = bench.input_shape = SHAPE2(COUNT / C, C);
    real_t zeros[C] = {0};
    norm.weight = norm.bias = zeros;
    bench_expect(input, "norm-missing", "goes into the norm");

    const double *k = fixture_random(TOKENS, 9, 1), *v = fixture_random(TOKENS, 10, 1);
    bench_start("unet.attn.to_k.mole.base", SHAPE3(B, T, C), k);
    bench_tap("unet.attn.to_v.mole.base", SHAPE3(B, T, C), k);
    bench_expect(v, "swapped-tensors", "unet.attn.to_v.mole.base");
    bench_start("unet.attn.to_k.mole.base", SHAPE3(B, T, C), k);
    bench_tap("unet.attn.to_v.mole.base", SHAPE3(B, T, C), v);
    bench_expect(fixture_random(TOKENS, 11, 1), "", NULL);
    (void)x;
}

/* ---- layouts --------------------------------------------------------------------------------- */

static void permuted_axes(void **state) {
    (void)state;
    const double *x = start_image();
    double *y = bench_zeros(COUNT), *back = bench_zeros(COUNT);
    for (size_t b = 0; b < B; b++)
        for (size_t c = 0; c < C; c++)
            for (size_t p = 0; p < H * W; p++) {
                y[(b * H * W + p) * C + c] = x[(b * C + c) * H * W + p];
                back[(b * C + c) * H * W + p] = x[(b * H * W + p) * C + c];
            }
    bench_expect(y, "nhwc", "channels-last (N,H,W,C)");
    bench_expect(back, "nhwc", "permuted once too often");
    for (size_t i = 0; i < COUNT; i++) y[i / 20 * 20 + i % 5 * 4 + i / 5 % 4] = x[i];
    bench_expect(y, "permuted-axes", "(0,1,3,2)");
    for (size_t i = 0; i < COUNT; i++) y[i % 60 * 4 + i / 60 % 4] = x[i]; /* two axes as one */
    bench_start("unet.y", SHAPE4(2, 2, 3, 20), x);
    for (size_t i = 0; i < COUNT; i++) y[i % 60 * 4 + i / 60] = x[i];
    bench_expect(y, "permuted-axes", "(2,3,0,1)");

    const double *rows = fixture_random(12, 3, 1);
    bench_start("unet.r", SHAPE2(3, 4), rows);
    for (size_t i = 0; i < 12; i++) y[i % 4 * 3 + i / 4] = rows[i];
    bench_expect(y, "permuted-axes", "(1,0)");
}

static void heads_as_they_lie(void **state) {
    (void)state;
    const double *x = start_tokens();
    double *y = bench_zeros(TOKENS);
    enum { NH = 2, D = 3 };
    bench.name = "step.002/unet.attn1.to_q";
    for (size_t i = 0; i < TOKENS; i++) { /* (B,T,NH,D) -> (B,NH,T,D) */
        size_t d = i % D, n = i / D % NH, t = i / C % T, b = i / C / T;
        y[((b * NH + n) * T + t) * D + d] = x[i];
    }
    bench_expect(y, "heads", "2 heads of 3");
    for (size_t i = 0; i < TOKENS; i++) y[i / C * C + i % D * NH + i / D % NH] = x[i];
    bench_expect(y, "heads", "(0,1,3,2)");
    bench.name = "step.002/unet.x";
    bench_expect(y, "layout", "2 groups of 3, your axes are permuted to (0,1,3,2)");
}

static void halves_and_order(void **state) {
    (void)state;
    const double *x = start_image();
    double *y = bench_zeros(COUNT);
    for (size_t i = 0; i < COUNT; i++) y[(i + COUNT / 2) % COUNT] = x[i];
    bench_expect(y, "order", "two halves of the batch");
    for (size_t i = 0; i < COUNT; i++) y[i / 120 * 120 + (i % 120 + 60) % 120] = x[i];
    bench_expect(y, "swapped-halves", "axis 1 (6)");
    for (size_t i = 0; i < COUNT; i++) y[i / 5 * 5 + 4 - i % 5] = x[i];
    bench_expect(y, "reversed", "axis 3 (5)");
    const double *t = fixture_random(32, 5, 1);
    bench_start("step.000/unet.time_proj", SHAPE2(2, 16), t);
    for (size_t i = 0; i < 32; i++) y[i / 16 * 16 + (i % 16 + 8) % 16] = t[i];
    bench_expect(y, "swapped-halves", "sines and cosines");
}

static void shifts(void **state) {
    (void)state;
    static const char *const fills[] = {"zeros come in", "edge is repeated", "wraps"};
    const double *x = start_tokens();
    for (int by = -1; by <= 1; by += 2)
        for (int fill = 0; fill < 3; fill++) {
            double *y = bench_zeros(TOKENS);
            for (long b = 0; b < B; b++)
                for (long t = 0; t < T; t++)
                    for (long c = 0; c < C; c++) {
                        long from = t - by, edge = from < 0 ? 0 : from >= T ? T - 1 : from;
                        if (fill == 2) edge = (from + T) % T;
                        if (fill > 0 || edge == from)
                            y[(b * T + t) * C + c] = x[(b * T + edge) * C + c];
                    }
            bench_expect(y, "shift", "axis 1 (7)");
            bench_expect(y, "shift", fills[fill]);
            bench_expect(y, "shift", by > 0 ? "one up" : "one down");
        }
}

/* ---- gains, offsets, roundings --------------------------------------------------------------- */

static void scaled(const double *x, size_t count, double gain, const char *part) {
    double *y = bench_zeros(count);
    for (size_t i = 0; i < count; i++) y[i] = gain * x[i];
    bench_expect(y, "gain", part);
}

static void gains(void **state) {
    (void)state;
    const double *x = start_image();
    scaled(x, COUNT, 2, "your output is the expected one times 2");
    scaled(x, COUNT, -1, "sign");
    scaled(x, COUNT, 1 / 0.18215, "1 / 0.18215");
    scaled(x, COUNT, 0.13025 / 0.18215, "0.13025 / 0.18215");
    scaled(x, COUNT, sqrt(6), "sqrt(6)");
    scaled(x, COUNT, 1 / sqrt(5), "1 / sqrt(5)");
    scaled(x, COUNT, 1.2345, "times 1.2345");
    scaled(x, COUNT, 255, "255");
    const double *two = fixture_random(2, 6, 1);
    bench_start("unet.q.mole.face.global", SHAPE1(2), two);
    scaled(two, 2, 2, "times 2");
    double off[] = {1.2345 * two[0], 1.2345 * two[1]};
    bench_expect(off, "", NULL); /* two numbers do not carry a fitted gain */
}

static void offsets(void **state) {
    (void)state;
    const double *x = start_image(), *per = fixture_random(B * C, 12, 1);
    double *y = bench_zeros(COUNT);
    for (size_t i = 0; i < COUNT; i++) y[i] = x[i] + 0.25;
    bench_expect(y, "offset", "plus 0.25");
    for (size_t i = 0; i < COUNT; i++) y[i] = x[i] + per[i / 20 % C];
    bench_expect(y, "offset", "in each channel your output is the expected one plus");
    for (size_t i = 0; i < COUNT; i++) y[i] = x[i] + per[i / 20];
    bench_expect(y, "offset", "in each channel of each sample");
    for (size_t i = 0; i < COUNT; i++) y[i] = x[i] * (1.5 + per[i / 20 % C]);
    bench_expect(y, "gain", "in each channel your output is the expected one times");
    for (size_t i = 0; i < COUNT; i++) y[i] = x[i] * (1.5 + per[i / 120]);
    bench_expect(y, "gain", "each sample");
    x = start_tokens();
    for (size_t i = 0; i < TOKENS; i++) y[i] = x[i] + per[i % C];
    bench_expect(y, "offset", "last axis your output is the expected one plus");
}

/* Independent of causes: through the formats themselves. */
static double to_bits(double x, int bits) {
    double unit = pow(2, floor(log2(fabs(x))) + 1 - bits);
    return rint(x / unit) * unit;
}

static void precisions(void **state) {
    (void)state;
    const double *x = start_image();
    double *y = bench_zeros(COUNT);
    bench.rounding = 0x1p-53;
    for (size_t i = 0; i < COUNT; i++) y[i] = x[i] == 0 ? 0 : to_bits(x[i], 8);
    bench.candidate = y;
    /* No rounding of the build on top: it would leave the format. */
    run_t run = {0};
    cause_t found_cause;
    causes_find(&run, &bench, &found_cause);
    assert_string_equal(found_cause.kind, "precision");
    assert_non_null(strstr(found_cause.text, "bf16"));
    for (size_t i = 0; i < COUNT; i++) y[i] = x[i] == 0 ? 0 : to_bits(x[i], 11);
    causes_find(&run, &bench, &found_cause);
    assert_non_null(strstr(found_cause.text, "one of f16, and off by no more"));
    double *far = bench_copy(y, COUNT);
    for (size_t i = 0; i < COUNT; i++) far[i] = to_bits(x[COUNT - 1 - i] + 3.25, 8);
    bench.candidate = far; /* numbers of bf16, but others */
    causes_find(&run, &bench, &found_cause);
    assert_string_not_equal(found_cause.kind, "precision");
}

/* ---- in one place ---------------------------------------------------------------------------- */

static void localised(void **state) {
    (void)state;
    const double *x = start_image(), *n = fixture_random(COUNT, 13, 1);
    double *y = bench_copy(x, COUNT);
    for (size_t i = 0; i < COUNT; i++) y[i] = i / 120 == 1 ? x[i] + n[i] : x[i];
    bench_expect(y, "localised", "only sample 1 of");
    for (size_t i = 0; i < COUNT; i++) y[i] = i / 20 % C == 4 ? x[i] + n[i] : x[i];
    bench_expect(y, "localised", "only channel 4 of");
    for (size_t i = 0; i < COUNT; i++) y[i] = i % 20 == 13 ? x[i] + n[i] : x[i];
    bench_expect(y, "localised", "only row 2, column 3 of");
    for (size_t i = 0; i < COUNT; i++)
        y[i] = i / 5 % 4 == 0 || i / 5 % 4 == 3 || i % 5 == 0 || i % 5 == 4 ? x[i] + n[i] : x[i];
    bench_expect(y, "padding", "outermost pixels");
    for (size_t i = 0; i < COUNT; i++) /* as where rows are padded on one side only */
        y[i] = i / 5 % 4 == 3 ? x[i] + n[i] : x[i];
    bench_expect(y, "padding", "outermost pixels");
    memcpy(y, x, COUNT * sizeof *y);
    y[3] += 1; /* on the border, but one number is no edge */
    bench_expect(y, "localised", "row 0, column 3 of");
    x = start_tokens();
    n = fixture_random(TOKENS, 14, 1);
    for (size_t i = 0; i < TOKENS; i++) y[i] = i / C % T >= 3 ? x[i] + n[i] : x[i];
    bench_expect(y, "localised", "tokens 3 to 6");
    for (size_t i = 0; i < TOKENS; i++) y[i] = i % C < 3 ? x[i] + n[i] : x[i];
    bench_expect(y, "localised", "channels 0 to 2");
}

/* ---- judging --------------------------------------------------------------------------------- */

/* One mistake with a second, smaller one on top is not proven. */
static void not_proven(void **state) {
    (void)state;
    const double *x = start_image(), *n = fixture_random(COUNT, 15, 1);
    double *y = bench_zeros(COUNT);
    for (size_t i = 0; i < COUNT; i++) y[i] = 2 * x[i] + 0.03 * n[i];
    bench_expect(y, "gain", "near, not proven: ");
    bench_expect(y, "gain", "% of the difference remains");
    for (size_t i = 0; i < COUNT; i++) y[i] = 2 * x[i] + 0.003 * n[i];
    bench_expect(y, "gain", "near, not proven: "); /* under 1 %, but no rounding */
    for (size_t i = 0; i < COUNT; i++) y[i] = 2 * x[i] + 0.1 * n[i];
    bench_expect(y, "", NULL);
}

/* Simple before fitted: halves that differ by a sign, a doubled tensor that is also an offset of
 * itself. */
static void simpler_first(void **state) {
    (void)state;
    double x[COUNT], y[COUNT];
    const double *half = fixture_random(COUNT / 2, 16, 1);
    for (size_t i = 0; i < COUNT / 2; i++) x[i] = half[i], x[i + COUNT / 2] = -half[i];
    bench_start("unet.x", IMAGE, x);
    for (size_t i = 0; i < COUNT; i++) y[i] = -x[i]; /* both: the batch swapped, the sign turned */
    bench_expect(y, "order", NULL);
    for (size_t i = 0; i < COUNT; i++) x[i] = 3;
    bench_start("unet.x", IMAGE, x);
    for (size_t i = 0; i < COUNT; i++) y[i] = 6;
    bench.rounding = 0;
    bench_expect(y, "constant", NULL);
    const double *other = start_image(); /* a gain of some tens of roundings may be a sum's order */
    for (size_t i = 0; i < COUNT; i++) y[i] = (1 + 24 * UNIT) * other[i];
    bench_expect(y, "", NULL);
    for (size_t i = 0; i < COUNT; i++) y[i] = (1 + 96 * UNIT) * other[i];
    bench_expect(y, "gain", NULL);
    const double *n =
        fixture_random(COUNT, 17, 1); /* eight roundings more are not explained by it */
    for (size_t i = 0; i < COUNT; i++) y[i] = (1 + 100 * UNIT) * other[i] + 8 * UNIT * n[i];
    bench_expect(y, "", NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        bench_test(no_false_alarm),   bench_test(nothing_to_do), bench_test(zeros_and_constants),
        bench_test(another_tensor),   bench_test(permuted_axes), bench_test(heads_as_they_lie),
        bench_test(halves_and_order), bench_test(shifts),        bench_test(gains),
        bench_test(offsets),          bench_test(precisions),    bench_test(localised),
        bench_test(not_proven),       bench_test(simpler_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
