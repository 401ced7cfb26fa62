/* What is known of a whole run reaches the causes: the sampler's settings, and the step before.
 * Candidates are the truth of golden/runs/run-5-plain with one tap of one step changed. */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../fixture.h"
#include "../scratch.h"
#include "golden/golden.h"
#include "io/safetensors.h"
#include "mole_says.h"
#include "sampler/ddim.h"
#include "trace/precision.h"

#define CASE "golden/runs/run-5-plain"

static golden_case_t golden;

static int open_case(void **state) {
    err_t err;
    return golden_case_open(&golden, CASE, &err) || scratch_setup(state) ? -1 : 0;
}

static int close_case(void **state) {
    golden_case_close(&golden);
    return scratch_teardown(state);
}

static double *truth_of(const char *name) {
    const golden_tap_t *t = golden_case_find(&golden, name);
    assert_non_null(t);
    double *x = fixture_bytes(shape_count(t->shape) * sizeof *x);
    dtype_to_double(x, t->truth->data, DTYPE_F64, shape_count(t->shape));
    return x;
}

/* The truth, with x in the place of one tap: compared, exit code 1, and the text said. */
static void expect(const char *name, const double *x, const char *text) {
    err_t err;
    st_writer_t *w;
    const char *path = scratch_path("candidate.safetensors");
    assert_int_equal(st_writer_open(&w, path, &err), 0);
    for (size_t i = 0; i < golden.taps; i++) {
        const golden_tap_t *t = &golden.tap[i];
        const double *numbers = strcmp(t->name, name) == 0 ? x : truth_of(t->name);
        assert_int_equal(st_writer_add(w, t->name, DTYPE_F64, t->shape, numbers, &err), 0);
    }
    assert_int_equal(st_writer_finish(w, &err), 0);
    if (mole_says("compare %s %s", CASE, path) != 1 || !strstr(output, text))
        fail_msg("'%s' or exit code 1 is not in:\n%s", text, output);
}

/* The last step of the authors' schedule (t = 1 of 1000, epsilon) that ends at alphas_cumprod[0] in
 * place of 1: equation (12) of the DDIM paper with eta = 0. */
static void setting_is_named(void **state) {
    (void)state;
    err_t err;
    ddim_plan_t plan;
    assert_int_equal(ddim_plan(&plan, &ddim_config_authors, 5, &err), 0);
    double previous = (double)plan.alphas_cumprod[0], alpha = (double)plan.alphas_cumprod[1];
    ddim_free(&plan);
    double *x = truth_of("step.003/latents"), *m = truth_of("step.004/guided");
    size_t n = shape_count(golden_case_find(&golden, "step.004/latents")->shape);
    for (size_t i = 0; i < n; i++) {
        double x0 = (x[i] - sqrt(1 - alpha) * m[i]) / sqrt(alpha);
        x[i] = sqrt(previous) * x0 + sqrt(1 - previous) * m[i];
    }
    expect("step.004/latents", x, "alphas_cumprod[0]; it should be 1 (set_alpha_to_one)");
}

/* A tap that was not computed anew. */
static void step_before_is_known(void **state) {
    (void)state;
    expect("step.002/noise_pred", truth_of("step.001/noise_pred"), "that of the step before");
    expect("step.000/noise_pred", truth_of("step.001/noise_pred"), "step.000/noise_pred");
}

/* Every tap rounded to float32, and 1e-3 on one number of one step's latents. */
static void one_number_of_a_step_shows(void **state) {
    (void)state;
    for (size_t k = 0; k < 5; k++) {
        char wrong[32], culprit[64];
        err_t err;
        st_writer_t *w;
        const char *path = scratch_path("candidate.safetensors");
        snprintf(wrong, sizeof wrong, "step.%03zu/latents", k);
        snprintf(culprit, sizeof culprit, " %s (", wrong);
        assert_int_equal(st_writer_open(&w, path, &err), 0);
        for (size_t i = 0; i < golden.taps; i++) {
            const golden_tap_t *t = &golden.tap[i];
            double *x = truth_of(t->name);
            size_t count = shape_count(t->shape);
            for (size_t n = 0; n < count; n++) x[n] = (double)(float)x[n];
            if (strcmp(t->name, wrong) == 0) x[29 * k + 11] += 1e-3; /* of 128 */
            assert_int_equal(st_writer_add(w, t->name, DTYPE_F64, t->shape, x, &err), 0);
        }
        assert_int_equal(st_writer_finish(w, &err), 0);
        int code = mole_says("compare %s %s", CASE, path);
        const char *line = strstr(output, "culprit    #");
        if (code != 1 || !line || !strstr(line, culprit) || !strstr(output, "judged as f32"))
            fail_msg("%s: exit code %d:\n%s", wrong, code, output);
    }
}

/* The whole truth, with another tensor in the place of one. */
static void write_with(const golden_case_t *g, const char *path, const char *name,
                       const double *x) {
    st_writer_t *w;
    err_t err;
    assert_int_equal(st_writer_open(&w, path, &err), 0);
    for (size_t i = 0; i < g->taps; i++) {
        const golden_tap_t *t = &g->tap[i];
        const void *data = strcmp(t->name, name) == 0 ? (const void *)x : t->truth->data;
        assert_int_equal(st_writer_add(w, t->name, DTYPE_F64, t->shape, data, &err), 0);
    }
    assert_int_equal(st_writer_finish(w, &err), 0);
}

/* A gate of two numbers in which PyTorch happened to round well (0.08 units by itself, 1.6 over all such
 * gates): 14 units are below 16 times what such gates usually are off, and 30 are not. */
static void small_taps_share_their_measure(void **state) {
    (void)state;
    static const char gate[] = "unet.up_blocks.3.attentions.0.transformer_blocks.0.attn1.to_q"
                               ".mole.hand.global";
    golden_case_t unet;
    err_t err;
    assert_int_equal(golden_case_open(&unet, "golden/runs/unet-step", &err), 0);
    const golden_tap_t *t = golden_case_find(&unet, gate);
    assert_non_null(t);
    double truth[2], off[2];
    dtype_to_double(truth, t->truth->data, DTYPE_F64, 2);
    assert_true(t->isolated_rms < 0.1 * 0x1p-24 * truth[0]);
    static const struct {
        double units;
        int code;
    } cases[] = {{14, 0}, {30, 1}};
    for (size_t i = 0; i < 2; i++) {
        const char *path = scratch_path("gate.safetensors");
        for (size_t k = 0; k < 2; k++) off[k] = truth[k] * (1 + cases[i].units * 0x1p-24);
        write_with(&unet, path, gate, off);
        if (mole_says("compare --budget f32 golden/runs/unet-step %s", path) != cases[i].code)
            fail_msg("%g units: exit code %d expected:\n%s", cases[i].units, cases[i].code, output);
    }
    golden_case_close(&unet);
}

/* One tap of a case whose negative prompt is zeros: 6,000 of them before the first number that has digits. */
static void digits_behind_zeros_are_seen(void **state) {
    (void)state;
    golden_case_t g;
    err_t err;
    st_writer_t *w;
    assert_int_equal(golden_case_open(&g, "golden/runs/sdxl-run-2-mole", &err), 0);
    const golden_tap_t *t = golden_case_find(&g, "prompt_embeds");
    size_t count = shape_count(t->shape);
    double *x = fixture_bytes(count * sizeof *x);
    dtype_to_double(x, t->truth->data, DTYPE_F64, count);
    for (size_t i = 0; i < count; i++) x[i] = (float)x[i];
    assert_true(x[0] == 0 && x[count / 2 - 1] == 0);
    const char *path = scratch_path("zeros.safetensors");
    assert_int_equal(st_writer_open(&w, path, &err), 0);
    assert_int_equal(st_writer_add(w, "prompt_embeds", DTYPE_F64, t->shape, x, &err), 0);
    assert_int_equal(st_writer_finish(w, &err), 0);
    if (mole_says("compare golden/runs/sdxl-run-2-mole %s", path) != 0 ||
        !strstr(output, "float32, as the candidate's numbers show"))
        fail_msg("float32 behind zeros:\n%s", output);
    golden_case_close(&g);
}

static double low(double x) {
    return precision_round(PRECISION_BF16, x);
}

/* The numbers of a tap, rounded to bfloat16. */
static double *rounded(const golden_case_t *g, const char *name) {
    const golden_tap_t *t = golden_case_find(g, name);
    assert_non_null(t);
    size_t count = shape_count(t->shape);
    double *x = fixture_bytes(count * sizeof *x);
    dtype_to_double(x, t->truth->data, DTYPE_F64, count);
    for (size_t i = 0; i < count; i++) x[i] = low(x[i]);
    return x;
}

/* An Euler step for a velocity, each operation in bfloat16: x and what is added are ten times as large as
 * what the step leaves. off: a further error, in largest roundings of 1. */
static int euler_in_bfloat16(double off) {
    golden_case_t g;
    err_t err;
    st_writer_t *w;
    const double sigma =
        14.6146; /* sqrt((1 - alpha) / alpha) at t = 999, where trailing spacing begins */
    const char *path = scratch_path("euler.safetensors");
    assert_int_equal(golden_case_open(&g, "golden/runs/sdxl-run-2-euler-trailing", &err), 0);
    assert_int_equal(st_writer_open(&w, path, &err), 0);
    for (size_t k = 0; k < g.taps; k++) {
        const golden_tap_t *t = &g.tap[k];
        double *x = rounded(&g, t->name);
        if (strcmp(t->name, "step.000/latents") == 0) {
            double *before = rounded(&g, "latents"), *m = rounded(&g, "step.000/guided");
            const double *truth = (const double *)t->truth->data;
            size_t count = shape_count(t->shape);
            double over = 0, under = 0, factor = -sigma / sqrt(sigma * sigma + 1);
            for (size_t i = 0; i < count; i++) {
                double x0 = before[i] / (sigma * sigma + 1) + factor * m[i];
                over += (truth[i] - before[i]) * (before[i] - x0);
                under += (before[i] - x0) * (before[i] - x0);
            }
            for (size_t i = 0; i < count; i++) {
                double x0 = low(low(before[i] / (sigma * sigma + 1)) + low(factor * m[i]));
                double change = low(over / under * low(low(before[i] - x0) / sigma) * sigma);
                x[i] = low(low(before[i] + change) + (i % 2 ? off : -off) * 0x1p-8);
            }
        }
        assert_int_equal(st_writer_add(w, t->name, DTYPE_F64, t->shape, x, &err), 0);
    }
    assert_int_equal(st_writer_finish(w, &err), 0);
    golden_case_close(&g);
    return mole_says("compare golden/runs/sdxl-run-2-euler-trailing %s", path);
}

static void a_step_in_bfloat16_is_right(void **state) {
    (void)state;
    if (euler_in_bfloat16(0) != 0) fail_msg("a right step in bfloat16:\n%s", output);
    if (euler_in_bfloat16(200) != 1) fail_msg("a step that is off by 0.8:\n%s", output);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        fixture_test(setting_is_named),
        fixture_test(step_before_is_known),
        fixture_test(one_number_of_a_step_shows),
        fixture_test(small_taps_share_their_measure),
        fixture_test(digits_behind_zeros_are_seen),
        fixture_test(a_step_in_bfloat16_is_right),
    };
    return cmocka_run_group_tests(tests, open_case, close_case);
}
