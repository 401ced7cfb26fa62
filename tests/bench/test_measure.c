/* What is made of many measurements, and what a profile counts: numbers worked out by hand. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../fixture.h"
#include "bench/component.h"
#include "bench/measure.h"
#include "bench/operation.h"

static bool near(double a, double b) {
    return fabs(a - b) <= 1e-12 * fabs(b);
}

static void spreads(void **state) {
    (void)state;
    const double odd[] = {5, 1, 3}, even[] = {4, 1, 2, 8}, one[] = {7};
    spread_t s = spread_of(odd, 3);
    assert_true(s.median == 3 && s.min == 1 && s.max == 5);
    s = spread_of(even, 4);
    assert_true(s.median == 3 && s.min == 1 && s.max == 8);
    s = spread_of(one, 1);
    assert_true(s.median == 7 && s.min == 7 && s.max == 7);
}

static void rounds_that_count(void **state) {
    (void)state;
    const double yardstick[] = {100, 84.9, 85, 20, 90};
    bool steady[5];
    assert_int_equal(steady_rounds(steady, yardstick, 5), 3);
    assert_true(steady[0] && !steady[1] && steady[2] && !steady[3] && steady[4]);
}

static void clocks_and_memory(void **state) {
    (void)state;
    double start = measure_seconds();
    size_t faults = measure_faults(), peak = measure_peak_bytes();
    enum { BYTES = 64 << 20 };
    volatile char *block = malloc(BYTES);
    for (size_t i = 0; i < BYTES; i += 64) block[i] = 1;
    assert_true(measure_faults() > faults); /* pages of 4 KiB or of 2 MiB */
    assert_true(measure_peak_bytes() >= BYTES && measure_peak_bytes() >= peak);
    assert_true(measure_seconds() >= start);
    assert_true(measure_yardstick() > 0);
    free((char *)block);
}

/* A convolution of 4 to 8 channels, a linear layer of 5 to 7 with experts of ranks 2 and 3, an attention of 6
 * queries with 10 keys of 16 numbers. */
static void profile_counts(void **state) {
    (void)state;
    mole_expert_t expert[2] = {{.name = "face", .rank = 2}, {.name = "hand", .rank = 3}};
    mole_layer_t mole = {.d_in = 5, .d_out = 7, .experts = 2, .expert = expert};
    conv_t conv = {.name = "unet.conv", .in = 4, .out = 8, .geometry = {3, 3, 1, 1, 1, 1, 1}};
    linear_t with = {.name = "unet.with", .in = 5, .out = 7, .mole = &mole};
    linear_t without = {.name = "unet.without", .in = 5, .out = 7};
    norm_t norm = {.name = "unet.norm", .channels = 8, .groups = 2};
    module_t list[] = {{"unet.with", MODULE_LINEAR, {.linear = &with}},
                       {"unet.conv", MODULE_CONV, {.conv = &conv}},
                       {"unet.without", MODULE_LINEAR, {.linear = &without}},
                       {"unet.norm", MODULE_GROUP_NORM, {.norm = &norm}}};
    modules_t set = {.module = list, .count = 4};
    real_t x[1] = {0};
    profile_t p;
    profile_start(&p, &set, 1, NULL);
    tap_sink_t *sink = &p.sink;
    assert_true(sink->inputs);
    tap_input(sink, "step.003/unet.conv", x, VIEW_IMAGE(2, 4, 6, 10));
    tap(sink, "step.003/unet.conv", x, VIEW_IMAGE(2, 8, 3, 5));
    tap_input(sink, "unet.with", x, VIEW_TOKENS(2, 11, 5));
    tap(sink, "unet.with.mole.face.local", x, VIEW_ROWS(2, 11));
    tap(sink, "unet.with", x, VIEW_TOKENS(2, 11, 7));
    tap_input(sink, "unet.without", x, VIEW_ROWS(3, 5));
    tap(sink, "unet.without", x, VIEW_ROWS(3, 7));
    tap_input(sink, "unet.norm", x, VIEW_IMAGE(2, 8, 3, 5));
    tap(sink, "unet.norm", x, VIEW_IMAGE(2, 8, 3, 5));
    tap(sink, "unet.attn2.to_q", x, VIEW_TOKENS(2, 6, 16));
    tap(sink, "unet.attn2.to_k", x, VIEW_TOKENS(2, 10, 16));
    tap(sink, "unet.attn2.to_v", x, VIEW_TOKENS(2, 10, 16));
    tap_input(sink, "unet.attn2.to_out.0", x, VIEW_TOKENS(2, 6, 16));
    assert_true(near(p.row[PROFILE_CONV].gflop, 2e-9 * 2 * 3 * 5 * 8 * 4 * 9));
    assert_true(near(p.row[PROFILE_MOLE].gflop, 2e-9 * 2 * 11 * (5 * 7 + (2 + 3) * (5 + 7))));
    assert_true(near(p.row[PROFILE_LINEAR].gflop, 2e-9 * 3 * 5 * 7));
    assert_true(near(p.row[PROFILE_ATTENTION].gflop, 4e-9 * 2 * 6 * 10 * 16));
    assert_true(p.row[PROFILE_GROUP_NORM].gflop == 0 && p.row[PROFILE_GROUP_NORM].calls == 1);
    assert_true(p.row[PROFILE_CONV].seconds > 0 && p.row[PROFILE_MOLE].seconds > 0);
    profile_row_t total = profile_total(&p);
    assert_int_equal(total.calls, 5);
    double sum = 0;
    for (int k = 0; k < PROFILE_KINDS; k++) sum += p.row[k].seconds;
    assert_true(near(total.seconds, sum));
    profile_free(&p);
}

/* The tiny model by formula: its text encoder's operations, written down from its configuration. */
static void components_count(void **state) {
    (void)state;
    err_t err = {""};
    pipeline_files_t files = {.folder = "synth:sd15-tiny"};
    run_t run = {.matmul = MATMUL_BLAS, .form = MOLE_STACKED};
    component_t *c;
    assert_int_equal(component_open(&c, COMPONENT_TEXT_ENCODER, &files, &run, 2, 0, 0, &err), 0);
    text_encoder_t *encoder;
    assert_int_equal(text_encoder_open(&encoder, "synth:sd15-tiny/text_encoder", "text_encoder",
                                       TEXT_USE_LAST, false, &err),
                     0);
    const text_encoder_config_t *t = text_encoder_config(encoder);
    double T = 77, D = (double)t->hidden_size, F = (double)t->intermediate_size;
    double layer = T * (4 * D * D + 2 * D * F) + 2 * T * T * D;
    assert_true(near(component_gflop(c), 2e-9 * 2 * layer * (double)t->num_hidden_layers));
    assert_int_equal(component_weight_bytes(c),
                     weights_parameters(text_encoder_weights(encoder)) * sizeof(real_t));
    text_encoder_close(encoder);
    component_close(c);
    assert_int_equal(component_open(&c, COMPONENT_UNET, &files, &run, 1, 64, 60, &err), -1);
    assert_non_null(strstr(err.text, "multiples of 8"));
}

static void operations_run(void **state) {
    (void)state;
    assert_true(operation_count() > 10);
    assert_true(near(operation_gflop(0), 2e-9 * 8192 * 320 * 320));
    for (size_t i = 0; i < operation_count(); i++) {
        assert_true(strncmp(operation_name(i), "op.", 3) == 0);
        for (size_t k = 0; k < i; k++)
            assert_string_not_equal(operation_name(i), operation_name(k));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        fixture_test(spreads),           fixture_test(rounds_that_count),
        fixture_test(clocks_and_memory), fixture_test(profile_counts),
        fixture_test(components_count),  fixture_test(operations_run),
    };
    return cmocka_run_group_tests_name("bench/measure " REAL_NAME, tests, NULL, NULL);
}
