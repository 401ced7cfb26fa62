/* Every golden run against PyTorch: each component and the whole pipeline, every tap.
 *
 * float64: 1e-12 of the tensor's scale when every module starts from the truth, 1e-11 for a component
 * running free, 1e-9 for the latents after 50 steps. docs/numbers.md has the figures reached, about a
 * hundredth of that.
 * float32: the error in units of PyTorch's careful passes, at most 4 with BLAS and 2 with the plain loops
 * (verify_usual_ratio says why); median of a run at most 1. 2.64 and 1.62 are the worst that was seen, over
 * six of OpenBLAS's kernels. */
#include "../unit.h"
#include "compare/verify.h"

static const bool is_f64 = sizeof(real_t) == sizeof(double);

/* Run one case one way; the caller judges. */
static verify_summary_t run_case(const char *name, matmul_way_t how, mole_form_t form,
                                 verify_mode_t mode) {
    char folder[128];
    snprintf(folder, sizeof folder, "golden/runs/%s", name);
    err_t err = {""};
    golden_case_t golden;
    if (golden_case_open(&golden, folder, &err)) fail_msg("%s", err.text);
    run_t run = {.matmul = how, .form = form};
    if (arena_create(&run.arena, 0, &err)) fail_msg("%s", err.text);
    verify_result_t result;
    if (verify_run(&run, &golden, mode, &result, &err)) fail_msg("%s", err.text);

    verify_summary_t s = verify_summarise(&result);
    printf("%-22s %s %-5s %-7s %-6s %4zu taps, error %.2e (%s)", name, REAL_NAME,
           how == MATMUL_BLAS ? "blas" : "plain", form == MOLE_DIRECT ? "direct" : "stacked",
           mode == VERIFY_FREE ? "free" : "forced", s.seen, s.error,
           s.worst_error ? s.worst_error->tap->name : "");
    if (!is_f64)
        printf(", ratio median %.3f worst %.3f (%s), %zu small together %.3f", s.median_ratio,
               s.ratio, s.worst_ratio ? s.worst_ratio->tap->name : "", s.small, s.small_ratio);
    printf("\n");
    for (size_t i = 0; i < result.rows; i++) {
        const verify_row_t *row = &result.row[i];
        bool inner = strstr(row->tap->name, ".mole.") != NULL;
        if (!row->seen && !(inner && form == MOLE_STACKED))
            fail_msg("%s never came by", row->tap->name);
        if (row->seen) assert_false(row->misshapen);
    }
    assert_true(s.seen > 0);
    /* The names point into the golden case, which goes away now. */
    s.worst_error = s.worst_ratio = NULL;
    verify_result_free(&result);
    golden_case_close(&golden);
    arena_destroy(run.arena);
    return s;
}

static void judge(verify_summary_t s, double bound, double ratio) {
    if (is_f64) {
        assert_true(s.error <= bound);
        return;
    }
    assert_true(s.ratio <= ratio);
    assert_true(s.small_ratio <= ratio);
}

static void judge_run(verify_summary_t s, double bound, double ratio, double median) {
    judge(s, bound, ratio);
    if (!is_f64) assert_true(s.median_ratio <= median);
}

static void each_way(const char *name, double bound, double plain_ratio, double median) {
    judge_run(run_case(name, MATMUL_BLAS, MOLE_DIRECT, VERIFY_FREE), bound, 4.0, median);
    judge_run(run_case(name, MATMUL_PLAIN, MOLE_DIRECT, VERIFY_FREE), bound, plain_ratio, median);
    judge_run(run_case(name, MATMUL_BLAS, MOLE_STACKED, VERIFY_FREE), bound, 4.0, median);
}

/* A case in every way that a user can run it. */
static void every_way(const char *name, double bound) {
    each_way(name, bound, 2.0, 1.0);
}

/* The same of a run whose steps carry the errors of the first ones on: its taps are one chain, and their
 * median is one draw of how two equally careful computations compare, not many (seen: 0.67, 0.32, 1.05). */
static void every_way_of_a_chain(const char *name, double bound) {
    each_way(name, bound, 2.0, 2.0);
}

/* The same of a fingerprint: 32 numbers of a tap show its error, and an outlier among them weighs more
 * (worst seen 2.95, of 7945 taps, a GEGLU's). */
static void every_way_of_few(const char *name, double bound) {
    each_way(name, bound, 4.0, 1.0);
}

/* The unit is that of the module by itself: most are near it, and many at the storage floor, as PyTorch's.
 * In units of a free run's error the median is below 0.1 where the network is deep. */
static void judge_modules(verify_summary_t s, double ratio) {
    judge(s, 1e-12, ratio);
    if (!is_f64) assert_true(s.median_ratio > 0.25);
}

static void each_module(const char *name) {
    judge_modules(run_case(name, MATMUL_BLAS, MOLE_DIRECT, VERIFY_FORCED), 4.0);
    judge_modules(run_case(name, MATMUL_PLAIN, MOLE_DIRECT, VERIFY_FORCED), 2.0);
    judge_modules(run_case(name, MATMUL_BLAS, MOLE_STACKED, VERIFY_FORCED), 4.0);
}

/* The rms errors of all taps, relative to the tap's rms, added up. */
static double errors_of(const char *folder, verify_mode_t mode) {
    err_t err = {""};
    golden_case_t golden;
    verify_result_t result;
    if (golden_case_open(&golden, folder, &err)) fail_msg("%s", err.text);
    run_t run = {.matmul = MATMUL_BLAS, .form = MOLE_DIRECT};
    if (arena_create(&run.arena, 0, &err)) fail_msg("%s", err.text);
    if (verify_run(&run, &golden, mode, &result, &err)) fail_msg("%s", err.text);
    double sum = 0;
    for (size_t i = 0; i < result.rows; i++) {
        const diff_t *d = &result.row[i].diff;
        if (d->truth_rms > 0) sum += d->rms / d->truth_rms;
    }
    verify_result_free(&result);
    golden_case_close(&golden);
    arena_destroy(run.arena);
    return sum;
}

/* Errors pile up along a free run and not along a forced one: a sixth (float32) and a tenth (float64) of
 * them was seen. */
static void forced_inherits_nothing(void **state) {
    (void)state;
    double free_run = errors_of("golden/runs/vae-decode", VERIFY_FREE);
    double forced = errors_of("golden/runs/vae-decode", VERIFY_FORCED);
    assert_true(forced > 0);
    assert_true(forced < free_run / 2);
}

static void text_encoder(void **state) {
    (void)state;
    every_way("text-encoder", 1e-11);
    each_module("text-encoder");
}

static void unet(void **state) {
    (void)state;
    every_way("unet-step", 1e-11);
    each_module("unet-step");
}

static void unet_plain(void **state) {
    (void)state;
    every_way("unet-step-plain", 1e-11);
    every_way("unet-plain", 1e-11);
}

static void unet_with_experts(void **state) {
    (void)state;
    every_way("unet-mole", 1e-11);
}

static void vae_decoder(void **state) {
    (void)state;
    every_way("vae-decode", 1e-11);
    each_module("vae-decode");
}

static void runs_of_few_steps(void **state) {
    (void)state;
    static const char *const names[] = {"run-5-mole", "run-5-mole-48x40", "run-5-plain",
                                        "run-5-scheduler-config", "run-4-vpred"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) every_way(names[i], 1e-11);
}

/* The same networks by other configurations: v2.1's and XL's. */
static void text_encoders_of_others(void **state) {
    (void)state;
    static const char *const names[] = {"sd21-text-encoder", "sdxl-text-encoder",
                                        "sdxl-text-encoder-2"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) every_way_of_few(names[i], 1e-11);
}

static void unets_of_others(void **state) {
    (void)state;
    every_way_of_few("sd21-unet-mole", 1e-11);
    every_way_of_few("sdxl-unet", 1e-11);
}

static void runs_of_others(void **state) {
    (void)state;
    static const char *const names[] = {"sd21-run-3-mole",          "sd21base-run-3",
                                        "sdxl-run-2-mole",          "sdxl-run-2-mole-encoded",
                                        "sdxl-run-2-negative",      "sdxl-run-2-euler",
                                        "sdxl-run-2-euler-trailing"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) every_way(names[i], 1e-10);
}

/* Values of a configuration that no published model has: all that they have in common is otherwise here. */
static void other_configurations(void **state) {
    (void)state;
    every_way_of_few("other-unet-mole", 1e-11);
    every_way("other-run-2-mole", 1e-10);
}

/* Weights that were trained, and a picture that one recognises. */
static void a_trained_model(void **state) {
    (void)state;
    every_way_of_few("people-unet", 1e-11);
    every_way_of_a_chain("people-run-4", 1e-10);
}

/* Settings that a case names. A gate that is rounded to bfloat16 is in float32 now and then another one than
 * in float64, of many thousands: those cases are bounded in float64, and in float32 only run. */
static void deviations_of_the_authors(void **state) {
    (void)state;
    static const char *const rounded[] = {"sdxl-run-1-bf16-gates", "sdxl-run-1-authors"};
    every_way("sdxl-run-1-suffixes", 1e-11);
    every_way_of_few("sdxl-vae-without-attention", 1e-11);
    every_way_of_few("sdxl-text-encoder-2-unturned", 1e-11);
    for (size_t i = 0; i < 2; i++) {
        if (is_f64)
            every_way(rounded[i], 1e-11);
        else
            run_case(rounded[i], MATMUL_BLAS, MOLE_STACKED, VERIFY_FREE);
    }
}

static void run_of_fifty_steps(void **state) {
    (void)state;
    every_way("run-50-mole", 1e-9);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_encoder),         cmocka_unit_test(unet),
        cmocka_unit_test(unet_plain),           cmocka_unit_test(unet_with_experts),
        cmocka_unit_test(vae_decoder),          cmocka_unit_test(forced_inherits_nothing),
        cmocka_unit_test(runs_of_few_steps),    cmocka_unit_test(run_of_fifty_steps),
        cmocka_unit_test(unets_of_others),      cmocka_unit_test(text_encoders_of_others),
        cmocka_unit_test(runs_of_others),       cmocka_unit_test(deviations_of_the_authors),
        cmocka_unit_test(other_configurations), cmocka_unit_test(a_trained_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
