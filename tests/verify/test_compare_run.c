/* What is known of a whole run reaches the causes: the sampler's settings, and the step before.
 * Candidates are the truth of golden/runs/run-5-plain with one tap of one step changed. */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "../fixture.h"
#include "../scratch.h"
#include "io/safetensors.h"
#include "sampler/ddim.h"
#include "verify/golden.h"

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
    static char output[1 << 16];
    char command[2048];
    err_t err;
    st_writer_t *w;
    const char *path = scratch_path("candidate.safetensors"), *mole = getenv("MOLE");
    assert_non_null(mole);
    assert_int_equal(st_writer_open(&w, path, &err), 0);
    for (size_t i = 0; i < golden.taps; i++) {
        const golden_tap_t *t = &golden.tap[i];
        const double *numbers = strcmp(t->name, name) == 0 ? x : truth_of(t->name);
        assert_int_equal(st_writer_add(w, t->name, DTYPE_F64, t->shape, numbers, &err), 0);
    }
    assert_int_equal(st_writer_finish(w, &err), 0);
    snprintf(command, sizeof command, "%s compare %s %s 2>&1", mole, CASE, path);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    output[fread(output, 1, sizeof output - 1, pipe)] = '\0';
    int status = pclose(pipe);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 1 || !strstr(output, text))
        fail_msg("'%s' or exit code 1 is not in:\n%s", text, output);
}

/* The last step of the authors' schedule (t = 1 of 1000, epsilon) that ends at alphas_cumprod[0] in
 * place of 1: equation (12) of the DDIM paper with eta = 0. */
static void setting_is_named(void **state) {
    (void)state;
    err_t err;
    ddim_t plan;
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

int main(void) {
    const struct CMUnitTest tests[] = {
        fixture_test(setting_is_named),
        fixture_test(step_before_is_known),
    };
    return cmocka_run_group_tests(tests, open_case, close_case);
}
