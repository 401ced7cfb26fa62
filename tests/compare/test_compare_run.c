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

int main(void) {
    const struct CMUnitTest tests[] = {
        fixture_test(setting_is_named),
        fixture_test(step_before_is_known),
        fixture_test(small_taps_share_their_measure),
    };
    return cmocka_run_group_tests(tests, open_case, close_case);
}
