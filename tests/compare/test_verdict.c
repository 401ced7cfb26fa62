/* test_verdict.c - a golden case is checked before it is believed, and no tap is forgiven. */
#include <limits.h>
#include <math.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../scratch.h"
#include "../unit.h"
#include "compare/verify.h"

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
        s->tap[i] = (golden_tap_t){.name = names[i]};
        s->row[i] = (verify_row_t){.tap = &s->tap[i], .unit = 0.001, .seen = 1};
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
    s.row[3].unit = 0.0001; /* the worst in units of PyTorch's error */
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

/* ---- the verdict ------------------------------------------------------------------------------------- */

/* Whether the case agrees, and in `accused` the name of its culprit, "" for none. */
static bool agrees(const subject_t *s, verify_bounds_t bounds, char accused[64]) {
    compare_result_t report;
    const golden_case_t golden = {.folder = (char *)"case"};
    verify_report(&s->result, &golden, &bounds, &report);
    bool good = !compare_differs(&report);
    accused[0] = '\0';
    if (report.culprit < report.rows) snprintf(accused, 64, "%s", report.row[report.culprit].name);
    compare_free(&report);
    return good;
}

static void expect(const subject_t *s, verify_bounds_t bounds, bool good, const char *culprit) {
    char accused[64];
    assert_int_equal(agrees(s, bounds, accused), good);
    assert_string_equal(accused, culprit);
}

static void bounds_are_the_verdict(void **state) {
    (void)state;
    subject_t s;
    fill(&s, 0.0005);
    s.row[2].unit = 0.0001;
    expect(&s, (verify_bounds_t){.ratio = 5.1}, true, "");
    expect(&s, (verify_bounds_t){.ratio = 4.9}, false, "c");
    expect(&s, (verify_bounds_t){.error = 0.00051}, true, "");
    expect(&s, (verify_bounds_t){.error = 0.00049}, false, "a");
    expect(&s, (verify_bounds_t){0}, true, "");
    s.row[1].misshapen = true;
    expect(&s, (verify_bounds_t){0}, false, "b");
    fill(&s, 0);
    s.row[3].diff.nan_candidate = 1;
    expect(&s, (verify_bounds_t){0}, false, "d");
}

/* A tap that never came by is a failure, unless only the direct form has it. */
static void absence_is_the_verdict(void **state) {
    (void)state;
    subject_t s;
    fill(&s, 0);
    s.tap[1].name = "to_q.mole.face.local";
    s.row[1].seen = 0;
    expect(&s, (verify_bounds_t){.form = MOLE_DIRECT}, false, "");
    expect(&s, (verify_bounds_t){.form = MOLE_STACKED}, true, "");
    s.row[0].seen = 0;
    expect(&s, (verify_bounds_t){.form = MOLE_STACKED}, false, "");
}

/* Small taps may each be beyond the ratio; together they may not, and the worst of them is accused. */
static void small_taps_are_the_verdict(void **state) {
    (void)state;
    subject_t s;
    double truth[2] = {1, 1}, far[2] = {1.004, 1.004}, near[2] = {1.001, 1.001};
    fill(&s, 0.0005);
    for (size_t i = 0; i < 4; i++) s.row[i].diff = diff_tensors(i == 2 ? far : near, truth, 2);
    /* 4, 1, 1 and 1 times: 2.18 together */
    expect(&s, (verify_bounds_t){.ratio = 2.2}, true, "");
    expect(&s, (verify_bounds_t){.ratio = 2.1}, false, "c");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(untouched_case_opens),     cmocka_unit_test(changed_tensors_are_refused),
        cmocka_unit_test(changed_model_is_refused), cmocka_unit_test(taps_are_counted),
        cmocka_unit_test(worst_rows_are_named),     cmocka_unit_test(nan_is_the_worst),
        cmocka_unit_test(small_taps_together),      cmocka_unit_test(bounds_are_the_verdict),
        cmocka_unit_test(absence_is_the_verdict),   cmocka_unit_test(small_taps_are_the_verdict),
    };
    return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
