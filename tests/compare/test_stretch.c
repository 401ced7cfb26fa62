/* Partial traces: random subsets of a right run agree, and of a wrong one the accused stretch holds the
 * fault. The runs are this program's own, in the precision of the build, right by other tests; `mole
 * compare` judges them. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "../fixture.h"
#include "../scratch.h"
#include "core/tap_name.h"
#include "golden/run_case.h"
#include "io/trace.h"
#include "mole_says.h"
#include "trace/precision.h"

enum { TRIALS = 12 };

/* Passes every tap on that a coin keeps; what `layer` makes has a gain, 1.01 where none is given. */
typedef struct {
    tap_sink_t sink;
    tap_sink_t *to;
    const char *layer, *only; /* only: one tap alone */
    double gain;
    bool grid; /* every tap is rounded to float16 */
    uint64_t seed;
    unsigned keep;   /* of 256 */
    bool kept_layer; /* the altered layer itself was dumped */
    /* Every GroupNorm of it takes its variance in one pass; NULL: as the reference does. */
    const pipeline_t *one_pass;
    double *input; /* of the norm whose output comes next */
    /* The UNet, its predictions and the text encoder but for its last norm are rounded to float16; latents,
     * the first predictions and the text encoder's result are dumped. */
    bool half;
    bool stray; /* the gain is the dumped copy's alone: the run goes on without it */
} chooser_t;

static unsigned coin(uint64_t seed, const char *name) {
    uint64_t h = seed * 0x9E3779B97F4A7C15;
    for (const char *p = name; *p; p++) h = (h ^ (unsigned char)*p) * 0x100000001B3;
    return (unsigned)(h >> 32) & 255;
}

/* y and the norm's input (B,C,...) in torch's order: mean and E[x^2] - mean^2 from sums in the build's type,
 * term by term. */
static void one_pass_norm(const norm_t *norm, real_t *y, const double *input, shape_t shape) {
    size_t groups = shape.dim[0] * norm->groups, n = shape_count(shape) / groups;
    size_t each = shape_count(shape) / (shape.dim[0] * norm->channels);
    for (size_t g = 0; g < groups; g++) {
        real_t sum = 0, square = 0;
        for (size_t i = g * n; i < (g + 1) * n; i++) {
            real_t x = (real_t)input[i], x2 = x * x;
            sum += x;
            square += x2;
        }
        real_t mean = sum / (real_t)n, mean2 = mean * mean, variance = square / (real_t)n - mean2;
        double over = 1 / sqrt((double)variance + norm->eps);
        for (size_t i = g * n; i < (g + 1) * n; i++) {
            size_t channel = i / each % norm->channels;
            y[i] = (real_t)((input[i] - (double)mean) * over * (double)norm->weight[channel] +
                            (double)norm->bias[channel]);
        }
    }
}

static void take_one_pass(chooser_t *s, const char *name, real_t *x, view_t view) {
    size_t count = shape_count(view.shape);
    char *layer = tap_name_layer(name, "");
    const module_t *module = pipeline_module(s->one_pass, layer);
    free(layer);
    if (!module || module->kind != MODULE_GROUP_NORM) return;
    real_t *torch = xmalloc(count * sizeof *torch);
    if (tap_name_is_input(name)) {
        view_to_torch(torch, x, view);
        s->input = xrealloc(s->input, count * sizeof *s->input);
        for (size_t i = 0; i < count; i++) s->input[i] = (double)torch[i];
    } else {
        one_pass_norm(module->as.norm, torch, s->input, view.shape);
        view_from_torch(x, torch, view);
    }
    free(torch);
}

static void to_half(real_t *x, view_t view) {
    for (size_t i = 0; i < shape_count(view.shape); i++)
        x[i] = (real_t)precision_round(PRECISION_F16, (double)x[i]);
}

/* Whether the tap is dumped. */
static bool take_half(const char *name, real_t *x, view_t view) {
    tap_name_t tap = tap_name(name);
    if (tap.has_step && strcmp(tap.name, "latents") != 0) to_half(x, view);
    if (strncmp(tap.name, "text_encoder.", 13) == 0 && !strstr(tap.name, "final_layer_norm"))
        to_half(x, view);
    if (!tap.has_step) return strcmp(tap.name, "prompt_embeds") == 0;
    return strcmp(tap.name, "latents") == 0 ||
           (strcmp(tap.name, "noise_pred") == 0 && tap.step < 2);
}

static void choose(tap_sink_t *self, const char *name, real_t *x, view_t view) {
    chooser_t *s = (chooser_t *)self;
    if (s->one_pass) take_one_pass(s, name, x, view);
    if (s->half) {
        if (take_half(name, x, view)) s->to->tap(s->to, name, x, view);
        return;
    }
    real_t *right = NULL;
    size_t count = shape_count(view.shape);
    if (s->layer && strcmp(name, s->layer) == 0) {
        right = xmalloc(count * sizeof *right);
        memcpy(right, x, count * sizeof *right);
        for (size_t i = 0; i < count; i++) x[i] *= (real_t)(s->gain > 0 ? s->gain : 1.01);
    }
    if (s->grid) to_half(x, view);
    bool kept = s->only ? strcmp(name, s->only) == 0 : coin(s->seed, name) < s->keep;
    s->kept_layer |= kept && right;
    if (kept) s->to->tap(s->to, name, x, view);
    if (right && s->stray) memcpy(x, right, count * sizeof *right);
    free(right);
}

typedef struct {
    golden_case_t golden;
    pipeline_t pipeline;
    run_t run;
} bench_t;

static void bench_open(bench_t *b, const char *folder) {
    err_t err = {""};
    *b = (bench_t){.run = {.matmul = MATMUL_BLAS, .form = MOLE_DIRECT}};
    if (golden_case_open(&b->golden, folder, &err) ||
        golden_open_model(&b->golden, &b->pipeline, &err) || arena_create(&b->run.arena, 0, &err))
        fail_msg("%s", err.text);
}

static void bench_close(bench_t *b) {
    pipeline_close(&b->pipeline);
    golden_case_close(&b->golden);
    arena_destroy(b->run.arena);
}

/* What the program says of such a trace, as JSON; NULL when nothing was kept that can be compared. */
static json_t *compared(bench_t *b, chooser_t *chooser, bool inputs) {
    err_t err = {""};
    trace_t *trace;
    const char *path = scratch_path("part.safetensors"), *report = scratch_path("part.json");
    if (trace_open(&trace, path, inputs, &err)) fail_msg("%s", err.text);
    chooser->to = trace_sink(trace);
    chooser->sink = (tap_sink_t){choose, inputs || chooser->one_pass};
    run_t run = b->run;
    run.sink = &chooser->sink;
    if (golden_execute(&run, &b->golden, &b->pipeline, &err) || trace_close(trace, true, &err))
        fail_msg("%s", err.text);
    free(chooser->input);
    int code = mole_says("compare --json %s %s %s", report, b->golden.folder, path);
    return code == 3 ? NULL : json_load_file(report, 0, NULL);
}

static bool differs(json_t *said) {
    return json_is_true(json_object_get(said, "differs"));
}

static const struct {
    const char *folder;
    unsigned trials;
} cases[] = {{"golden/runs/text-encoder", TRIALS},
             {"golden/runs/vae-decode", TRIALS},
             {"golden/runs/unet-step-plain", 4},
             {"golden/runs/run-5-plain", 2}};

static void right_parts_agree(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bench_t b;
        bench_open(&b, cases[i].folder);
        for (unsigned trial = 0; trial < cases[i].trials; trial++) {
            chooser_t chooser = {.seed = trial + 1, .keep = 8 + 240 * trial / cases[i].trials};
            json_t *said = compared(&b, &chooser, trial % 2);
            if (said && differs(said)) fail_msg("%s, trial %u: %s", cases[i].folder, trial, output);
            json_decref(said);
        }
        bench_close(&b);
    }
}

static bool holds(json_t *stretch, const char *layer) {
    size_t index;
    json_t *tap;
    if (strcmp(json_string_value(json_object_get(stretch, "to")), layer) == 0) return true;
    json_array_foreach(json_object_get(stretch, "between"), index,
                       tap) if (strcmp(json_string_value(tap), layer) == 0) return true;
    return false;
}

static void wrong_parts_hold_the_fault(void **state) {
    (void)state;
    static const char layer[] = "vae.decoder.up_blocks.1.resnets.0.conv2";
    size_t noticed = 0;
    bench_t b;
    bench_open(&b, "golden/runs/vae-decode");
    for (unsigned trial = 0; trial < TRIALS; trial++) {
        chooser_t chooser = {.layer = layer, .seed = trial + 1, .keep = 8 + 20 * trial};
        json_t *said = compared(&b, &chooser, trial % 2);
        if (said && differs(said)) {
            json_t *culprit = json_object_get(said, "culprit");
            if (!holds(json_object_get(culprit, "stretch"), layer))
                fail_msg("trial %u: %s", trial, output);
            if (chooser.kept_layer)
                assert_string_equal(json_string_value(json_object_get(culprit, "name")), layer);
            noticed++;
        }
        json_decref(said);
    }
    assert_true(noticed >= TRIALS - 2);
    bench_close(&b);
}

/* The decoder's result alone: its unit is that of all modules before it, many times that of its last
 * convolution. */
static void stretches_have_units_of_their_own(void **state) {
    (void)state;
    size_t index;
    json_t *row;
    char path[256];
    snprintf(path, sizeof path, "%s", scratch_path("result.json"));
    assert_int_equal(
        mole_says("compare --filter vae.decoder.conv_out --json %s golden/runs/vae-decode "
                  "golden/runs/vae-decode/tensors.safetensors",
                  path),
        0);
    json_t *whole = json_load_file(path, 0, NULL);
    json_array_foreach(json_object_get(whole, "rows"), index, row) {
        assert_true(json_is_true(json_object_get(row, "inputs_known")));
        assert_true(json_real_value(json_object_get(row, "stretch_unit")) == 0);
    }
    assert_int_equal(index, 1);
    json_decref(whole);
    bench_t b;
    bench_open(&b, "golden/runs/vae-decode");
    chooser_t chooser = {.only = "vae.decoder"};
    json_t *said = compared(&b, &chooser, false);
    json_array_foreach(json_object_get(said, "rows"), index, row) {
        if (json_is_null(json_object_get(row, "candidate_name"))) continue;
        double own = json_real_value(json_object_get(row, "own_unit"));
        assert_true(json_is_false(json_object_get(row, "inputs_known")));
        /* in float64 the floor of 32 roundings hides how little one convolution loses */
        double times = sizeof(real_t) == 4 ? 10 : 1;
        double stretch = json_real_value(json_object_get(row, "stretch_unit"));
        assert_true(own > 0 && stretch > times * own);
        /* nor is it far from what PyTorch loses over the same modules */
        double peer = golden_case_find(&b.golden, "vae.decoder")->peer_rms;
        assert_true(stretch < 4 * peer * (sizeof(real_t) == 4 ? 1 : 0x1p-29));
    }
    json_decref(said);
    bench_close(&b);
}

static const char *cause_of(json_t *said) {
    size_t index;
    json_t *row;
    const char *kind = NULL;
    json_array_foreach(json_object_get(said, "rows"), index, row) if (!kind) kind =
        json_string_value(json_object_get(json_object_get(row, "cause"), "kind"));
    return kind ? kind : "none";
}

/* The decoder's result alone shows how much its GroupNorms lose, and no other mistake is taken for that. */
static void one_pass_is_named_by_its_size(void **state) {
    (void)state;
    bench_t b;
    bench_open(&b, sizeof(real_t) == 4 ? "golden/runs/run-5-plain" : "golden/runs/vae-decode");
    chooser_t chooser = {.only = "vae.decoder", .one_pass = &b.pipeline};
    json_t *said = compared(&b, &chooser, false);
    assert_true(differs(said));
    assert_string_equal(cause_of(said), "variance");
    json_decref(said);
    chooser =
        (chooser_t){.only = "vae.decoder", .layer = "vae.decoder.up_blocks.1.resnets.0.conv2"};
    said = compared(&b, &chooser, false);
    assert_true(differs(said));
    assert_string_not_equal(cause_of(said), "variance");
    json_decref(said);
    bench_close(&b);
}

/* In float16 norms keep their sums in float32: a fault as large as sums in float16 would lose is no such
 * loss. */
static void large_faults_in_half_are_no_one_pass(void **state) {
    (void)state;
    bench_t b;
    bench_open(&b, "golden/runs/vae-decode");
    chooser_t chooser = {.only = "vae.decoder",
                         .layer = "vae.decoder.up_blocks.1.resnets.0.conv2",
                         .gain = 4,
                         .grid = true};
    json_t *said = compared(&b, &chooser, false);
    assert_true(differs(said));
    assert_string_not_equal(cause_of(said), "variance");
    json_decref(said);
    bench_close(&b);
}

/* A UNet in float16 with a sampler in float32, of which few predictions were dumped: the others were float16
 * too, and what comes out of them is no more exact. */
static void hidden_parts_have_the_coarser_type(void **state) {
    (void)state;
    bench_t b;
    bench_open(&b, "golden/runs/run-5-plain");
    chooser_t chooser = {.half = true};
    json_t *said = compared(&b, &chooser, false);
    if (differs(said)) fail_msg("%s", output);
    assert_string_equal(json_string_value(json_object_get(said, "hidden")), "f16-acc32");
    json_decref(said);
    bench_close(&b);
}

static size_t failures_of(json_t *said) {
    size_t index, failures = 0;
    json_t *row;
    json_array_foreach(json_object_get(said, "rows"), index, row) {
        const char *verdict = json_string_value(json_object_get(row, "verdict"));
        failures += strcmp(verdict, "agrees") != 0 && strcmp(verdict, "missing") != 0;
    }
    return failures;
}

static bool notes(json_t *said, const char *text) {
    size_t index;
    json_t *note;
    json_array_foreach(json_object_get(said, "notes"), index,
                       note) if (strstr(json_string_value(note), text)) return true;
    return false;
}

/* A tensor that was changed before it was written: that tap is wrong, and what was computed from the right
 * numbers is not, whatever else was dumped. A fault that goes on excuses nothing behind it. */
static void stray_tensors_accuse_nobody_else(void **state) {
    (void)state;
    static const char layer[] = "vae.decoder.up_blocks.1.resnets.0.conv1";
    bench_t b;
    bench_open(&b, "golden/runs/vae-decode");
    for (unsigned trial = 0; trial < TRIALS; trial++) {
        chooser_t chooser = {.layer = layer,
                             .seed = trial + 1,
                             .keep = 40 + 216 * trial / (TRIALS - 1),
                             .stray = true};
        json_t *said = compared(&b, &chooser, trial % 2);
        if (failures_of(said) != chooser.kept_layer) fail_msg("trial %u: %s", trial, output);
        if (chooser.keep == 256 && !notes(said, layer)) fail_msg("no note: %s", output);
        json_decref(said);
    }
    chooser_t small = {.layer = layer, .keep = 256, .stray = true, .gain = 1 + 0x1p-14};
    if (sizeof(real_t) == 8) small.gain = 1 + 0x1p-40;
    json_t *little = compared(&b, &small, false);
    assert_int_equal(failures_of(little), 1);
    json_decref(little);
    chooser_t chooser = {.layer = layer, .keep = 256};
    json_t *said = compared(&b, &chooser, false);
    assert_true(failures_of(said) > 10);
    assert_false(notes(said, "it was not computed from"));
    json_decref(said);
    bench_close(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(right_parts_agree),
        cmocka_unit_test(wrong_parts_hold_the_fault),
        cmocka_unit_test(stretches_have_units_of_their_own),
        cmocka_unit_test(one_pass_is_named_by_its_size),
        cmocka_unit_test(hidden_parts_have_the_coarser_type),
        cmocka_unit_test(large_faults_in_half_are_no_one_pass),
        cmocka_unit_test(stray_tensors_accuse_nobody_else),
    };
    return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
