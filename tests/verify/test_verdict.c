/* test_verdict.c - a golden case is checked before it is believed, and no tap is forgiven. */
#include <limits.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "../scratch.h"
#include "verify/verify.h"

/* ---- the case ---------------------------------------------------------------------------------------- */

/* A copy of a golden run in the scratch folder, whose manifest still finds the models. */
static const char *copy_case(const char *name) {
    char here[PATH_MAX], link[PATH_MAX + 32], manifest[512];
    size_t bytes;
    assert_non_null(getcwd(here, sizeof here));
    snprintf(link, sizeof link, "%s/golden/models", here);
    mkdir(scratch_path("runs"), 0777);
    mkdir(scratch_path("runs/case"), 0777);
    unlink(scratch_path("models"));
    assert_int_equal(symlink(link, scratch_path("models")), 0);
    static const char *const files[] = {"manifest.json", "tensors.safetensors"};
    for (size_t i = 0; i < 2; i++) {
        snprintf(manifest, sizeof manifest, "golden/runs/%s/%s", name, files[i]);
        char *data = scratch_slurp(manifest, &bytes), to[64];
        snprintf(to, sizeof to, "runs/case/%s", files[i]);
        scratch_write(to, data, bytes);
        free(data);
    }
    return scratch_path("runs/case");
}

static void untouched_case_opens(void **state) {
    (void)state;
    golden_case_t golden;
    err_t err;
    if (golden_case_open(&golden, copy_case("vae-decode"), &err)) fail_msg("%s", err.text);
    assert_true(golden.taps > 10);
    assert_non_null(golden_case_find(&golden, "vae.decoder"));
    assert_null(golden_case_find(&golden, "vae.decoderer"));
    golden_case_close(&golden);
}

/* One bit of the last number of the tensors: another SHA-256. */
static void changed_tensors_are_refused(void **state) {
    (void)state;
    golden_case_t golden;
    err_t err;
    size_t bytes;
    const char *folder = copy_case("vae-decode");
    char *data = scratch_slurp(scratch_path("runs/case/tensors.safetensors"), &bytes);
    data[bytes - 8] ^= 1;
    scratch_write("runs/case/tensors.safetensors", data, bytes);
    free(data);
    assert_int_equal(golden_case_open(&golden, folder, &err), -1);
    assert_message(&err, "tensors.safetensors", "SHA-256", NULL);
}

/* The model's files are part of the case. */
static void changed_model_is_refused(void **state) {
    (void)state;
    golden_case_t golden;
    err_t err;
    size_t bytes;
    const char *folder = copy_case("vae-decode");
    char *text = scratch_slurp(scratch_path("runs/case/manifest.json"), &bytes);
    char *model = strstr(text, "\"model\""), *file = model ? strstr(model, "diffusion_") : NULL;
    assert_non_null(file);
    char *hash = strstr(file, "\": \"") + 4;
    *hash = *hash == '0' ? '1' : '0';
    scratch_write("runs/case/manifest.json", text, bytes);
    free(text);
    assert_int_equal(golden_case_open(&golden, folder, &err), -1);
    assert_message(&err, "vae/diffusion_pytorch_model.safetensors", "SHA-256", NULL);
}

/* ---- the summary ------------------------------------------------------------------------------------- */

enum { ROWS = 5 };

typedef struct {
    golden_tap_t tap[ROWS];
    verify_row_t row[ROWS];
    verify_result_t result;
} subject_t;

/* Rows of 16 numbers of size 1, each wrong by `error` everywhere; PyTorch's own error is 0.001. */
static void fill(subject_t *s, double error) {
    static const char *const names[ROWS] = {"a", "b", "c", "d", "e"};
    double candidate[VERIFY_SMALL], truth[VERIFY_SMALL];
    for (size_t i = 0; i < VERIFY_SMALL; i++) truth[i] = 1, candidate[i] = 1 + error;
    for (size_t i = 0; i < ROWS; i++) {
        s->tap[i] = (golden_tap_t){.name = names[i], .strict_rms = 0.001};
        s->row[i] = (verify_row_t){.tap = &s->tap[i], .seen = 1};
        s->row[i].diff = diff_tensors(candidate, truth, VERIFY_SMALL);
    }
    s->result = (verify_result_t){s->row, ROWS};
}

static void taps_are_counted(void **state) {
    (void)state;
    subject_t s;
    fill(&s, 0);
    s.row[1].seen = 0;
    s.row[3].misshapen = true;
    s.row[4].seen = 2;
    verify_summary_t v = verify_summarise(&s.result);
    assert_int_equal(v.seen, 3);
    assert_int_equal(v.unseen, 1);
    assert_int_equal(v.misshapen, 1);
    assert_true(v.error == 0 && v.ratio == 0 && v.median_ratio == 0);
}

static void worst_rows_are_named(void **state) {
    (void)state;
    subject_t s;
    fill(&s, 0.0005);
    double candidate[VERIFY_SMALL], truth[VERIFY_SMALL];
    for (size_t i = 0; i < VERIFY_SMALL; i++) truth[i] = candidate[i] = 1;
    candidate[7] = 1.004; /* the largest single error, and the smallest rms but one */
    s.row[2].diff = diff_tensors(candidate, truth, VERIFY_SMALL);
    s.tap[3].strict_rms = 0.0001; /* the worst in units of PyTorch's error */
    verify_summary_t v = verify_summarise(&s.result);
    assert_string_equal(v.worst_error->tap->name, "c");
    assert_true(fabs(v.error - 0.004) < 1e-12);
    assert_string_equal(v.worst_ratio->tap->name, "d");
    assert_true(fabs(v.ratio - 5) < 1e-9);
    assert_true(fabs(v.median_ratio - 0.5) < 1e-9);
}

/* A NaN is the worst of all, wherever it stands. */
static void nan_is_the_worst(void **state) {
    (void)state;
    for (size_t at = 0; at < ROWS; at++) {
        subject_t s;
        fill(&s, 0.0005);
        double candidate[VERIFY_SMALL], truth[VERIFY_SMALL];
        for (size_t i = 0; i < VERIFY_SMALL; i++) truth[i] = candidate[i] = 1;
        candidate[3] = (double)NAN;
        s.row[at].diff = diff_tensors(candidate, truth, VERIFY_SMALL);
        verify_summary_t v = verify_summarise(&s.result);
        assert_ptr_equal(v.worst_error, &s.row[at]);
        assert_ptr_equal(v.worst_ratio, &s.row[at]);
        assert_false(v.error <= 1e300);
    }
}

/* Small taps are judged together: neither left out nor alone. */
static void small_taps_together(void **state) {
    (void)state;
    subject_t s;
    double truth[2] = {1, 1}, far[2] = {1.004, 1.004}, right[2] = {1, 1};
    fill(&s, 0.0005);
    for (size_t i = 0; i < 4; i++) s.row[i].diff = diff_tensors(i ? right : far, truth, 2);
    verify_summary_t v = verify_summarise(&s.result);
    assert_int_equal(v.small, 4);
    assert_true(fabs(v.small_ratio - 2) < 1e-9); /* sqrt((4^2 + 0 + 0 + 0) / 4) */
    assert_string_equal(v.worst_ratio->tap->name, "e");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(untouched_case_opens),     cmocka_unit_test(changed_tensors_are_refused),
        cmocka_unit_test(changed_model_is_refused), cmocka_unit_test(taps_are_counted),
        cmocka_unit_test(worst_rows_are_named),     cmocka_unit_test(nan_is_the_worst),
        cmocka_unit_test(small_taps_together),
    };
    return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
