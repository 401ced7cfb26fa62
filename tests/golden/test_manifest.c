/* The units that a manifest states of a tap, those that an older one does not, and what is said of a case
 * before it is opened. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "../fixture.h"
#include "../scratch.h"
#include "golden/golden.h"
#include "golden/sha256.h"

/* A case of one tap of two numbers with these fields; opens it. */
static int open_with(golden_case_t *golden, const char *fields, err_t *err) {
    const double truth[2] = {1, 2};
    st_writer_t *w;
    char hash[SHA256_TEXT];
    const char *path = scratch_path("tensors.safetensors");
    assert_int_equal(st_writer_open(&w, path, err), 0);
    assert_int_equal(st_writer_add(w, "a", DTYPE_F64, SHAPE1(2), truth, err), 0);
    assert_int_equal(st_writer_finish(w, err), 0);
    assert_int_equal(sha256_file(hash, path, err), 0);
    char *text = xasprintf(
        "{\"format\": \"mole-golden\", \"version\": 1, \"name\": \"x\", \"kind\": \"run\",\n"
        "\"files\": {\"tensors.safetensors\": {\"sha256\": \"%s\"}}, \"component\": \"unet\",\n"
        "\"model\": {\"folder\": \"m\", \"sha256\": {}}, \"taps\": [{\"name\": \"a\", \"shape\": "
        "[2],\n"
        "\"f32_error\": {\"max_abs\": 0.5, \"rms\": 0.25}%s}]}",
        hash, fields);
    scratch_text("manifest.json", text);
    free(text);
    return golden_case_open(golden, scratch_folder(), err);
}

static bool same(double a, double b) {
    return a == b || (isnan(a) && isnan(b));
}

static void units_and_what_stands_for_them(void **state) {
    (void)state;
    static const struct {
        const char *fields;
        double strict, isolated, orders, in;
        bool has_isolated;
    } cases[] = {
        {"", 0.25, 0.25, 0.25, (double)NAN, false},
        {", \"f32_isolated\": null", 0.25, 0.25, 0.25, (double)NAN, false},
        {", \"f32_error_exact_angles\": {\"max_abs\": 1, \"rms\": 0.125}", 0.125, 0.25, 0.25,
         (double)NAN, false},
        {", \"f32_isolated\": 0.5", 0.25, 0.5, 0.5, (double)NAN, true},
        {", \"f32_isolated\": 0.5, \"f32_orders\": 2", 0.25, 0.5, 2, (double)NAN, true},
        {", \"f32_isolated\": 0, \"f32_orders\": 2, \"f32_in\": 0", 0.25, 0, 2, 0, true},
        {", \"f32_in\": 0.0625, \"more\": \"to come\"", 0.25, 0.25, 0.25, 0.0625, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        golden_case_t golden;
        err_t err;
        if (open_with(&golden, cases[i].fields, &err)) fail_msg("%s", err.text);
        const golden_tap_t *t = &golden.tap[0];
        assert_true(t->peer_rms == 0.25 && t->peer_max == 0.5);
        assert_true(same(t->strict_rms, cases[i].strict));
        assert_true(same(t->isolated_rms, cases[i].isolated));
        assert_true(same(t->orders_rms, cases[i].orders));
        assert_true(same(t->in_rms, cases[i].in));
        assert_int_equal(t->has_isolated, cases[i].has_isolated);
        golden_case_close(&golden);
    }
}

/* A deviation that nobody knows is none to be passed over. */
static void deviations_by_name(void **state) {
    (void)state;
    static const char front[] = "}], \"settings\": {\"deviations\": [";
    static const char end[] = "]}, \"more\": [{\"a\": 1";
    static const char *const wrong[][2] = {{"\"bf16\"", "no deviation is called 'bf16'"},
                                           {"3", "deviations"}};
    golden_case_t golden;
    err_t err;
    char fields[256];
    snprintf(fields, sizeof fields, "%s\"bf16-gates\", \"prompt-suffixes\"%s", front, end);
    if (open_with(&golden, fields, &err)) fail_msg("%s", err.text);
    assert_int_equal(golden.deviations, DEVIATION_BF16_GATES | DEVIATION_PROMPT_SUFFIXES);
    golden_case_close(&golden);
    for (size_t i = 0; i < 2; i++) {
        snprintf(fields, sizeof fields, "%s%s%s", front, wrong[i][0], end);
        assert_int_equal(open_with(&golden, fields, &err), -1);
        assert_message(&err, wrong[i][1], NULL);
    }
    if (open_with(&golden, "}], \"settings\": {\"more\": [{\"a\": 1}]}, \"more\": [{\"a\": 1",
                  &err))
        fail_msg("%s", err.text);
    assert_int_equal(golden.deviations, 0);
    golden_case_close(&golden);
}

static void no_unit_is_negative(void **state) {
    (void)state;
    static const char *const fields[][2] = {{", \"f32_isolated\": -1e-9", "f32_isolated"},
                                            {", \"f32_orders\": -1", "f32_orders"},
                                            {", \"f32_in\": -0.5", "f32_in"},
                                            {", \"f32_in\": \"small\"", "f32_in"}};
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        golden_case_t golden;
        err_t err;
        assert_int_equal(open_with(&golden, fields[i][0], &err), -1);
        assert_message(&err, "manifest.json", "taps", fields[i][1], NULL);
    }
}

/* A manifest is somebody's: it reads no file but those of the case and its model, tells nobody what is in a
 * file that is not as it says, and its names do not reach a terminal that they could mislead. */
static void hostile_manifests(void **state) {
    (void)state;
    static const struct {
        const char *from, *to, *defect;
    } cases[] = {
        {"{\"tensors.safetensors\"", "{\"../tensors.safetensors\"", "is no name of a file here"},
        {"{\"tensors.safetensors\"", "{\"/etc/passwd\"", "is no name of a file here"},
        {"{\"tensors.safetensors\"", "{\"..\"", "is no name of a file here"},
        {"\"sha256\": {}", "\"sha256\": {\"/etc/passwd\": \"0\"}", "is no name of a file here"},
        {"\"sha256\": {}", "\"sha256\": {\"a\\n\": \"0\"}", "is no name of a file here"},
        {"\"sha256\": {}", "\"sha256\": {\"pipe\": \"0\"}", "is not a regular file"},
        {"\"sha256\": {}", "\"sha256\": {\"other\": \"0\"}", "is not the one in the manifest"},
        {"\"name\": \"x\"", "\"name\": \"x\\nagrees\"",
         "name: 'x?agrees' holds a control character"},
        {"\"name\": \"a\"", "\"name\": \"\\u202ea\"", "direction of text"},
        {"\"component\": \"unet\"", "\"component\": \"\\u001b[2J\"", "control character"},
        {"\"taps\": [",
         "\"taps\": [{\"name\": \"a\", \"shape\": [2], \"f32_error\": {\"max_abs\": 0, \"rms\": 0}}, ",
         "'a' stands for two taps"},
    };
    assert_int_equal(mkfifo(scratch_path("pipe"), 0600), 0);
    scratch_text("other", "secret");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        golden_case_t golden;
        err_t err;
        size_t bytes;
        if (open_with(&golden, "", &err)) fail_msg("%s", err.text);
        golden_case_close(&golden);
        char *text = scratch_slurp(scratch_path("manifest.json"), &bytes);
        char *at = strstr(text, cases[i].from);
        assert_non_null(at);
        char *bad =
            xasprintf("%.*s%s%s", (int)(at - text), text, cases[i].to, at + strlen(cases[i].from));
        scratch_text("manifest.json", bad);
        assert_int_equal(golden_case_open(&golden, scratch_folder(), &err), -1);
        assert_message(&err, cases[i].defect, NULL);
        assert_null(strstr(err.text, "2bb80d53")); /* of "secret" */
        free(bad);
        free(text);
    }
}

/* A fingerprint of a model in a folder is run like any case; one by formula takes minutes. */
static void fingerprints_that_are_run(void **state) {
    (void)state;
    static const struct {
        const char *folder;
        bool whole;
        const char *reason;
    } cases[] = {
        {"golden/runs/unet-step", true, ""},
        {"golden/runs/unet-plain", false, ""},
        {"golden/runs/unet-plain", true, "a fingerprint holds no tensors to put in place"},
        {"golden/fingerprints/vae-decode", false,
         "a full-size fingerprint: name the folder itself"},
        {"golden/io/text-encoder-names", false, "its model is no pipeline (model_index.json)"},
        {"golden/sampler/randn", false, "kind random"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char reason[GOLDEN_REASON];
        err_t err;
        if (golden_case_peek(cases[i].folder, cases[i].whole, reason, &err))
            fail_msg("%s", err.text);
        assert_string_equal(reason, cases[i].reason);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(units_and_what_stands_for_them),
        cmocka_unit_test(no_unit_is_negative),
        cmocka_unit_test(hostile_manifests),
        cmocka_unit_test(deviations_by_name),
        cmocka_unit_test(fingerprints_that_are_run),
    };
    return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
