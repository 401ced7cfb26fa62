/* Golden cases of kind "calls" from hostile hands: a manifest with one thing wrong is refused with a message
 * that names it, before an operation sees numbers that do not fit it. And the checks of any golden case. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../fixture.h"
#include "../scratch.h"
#include "golden/run_case.h"

/* A copy of a golden case, of whose manifest the first `old` after `from` is replaced. */
static const char *spoilt(const char *name, const char *from, const char *old, const char *new) {
    char path[256];
    size_t bytes;
    snprintf(path, sizeof path, "golden/%s/tensors.safetensors", name);
    char *data = scratch_slurp(path, &bytes);
    scratch_write("tensors.safetensors", data, bytes);
    free(data);
    snprintf(path, sizeof path, "golden/%s/manifest.json", name);
    char *text = scratch_slurp(path, &bytes), *at = strstr(text, from);
    assert_non_null(at);
    at = strstr(at, old);
    assert_non_null(at);
    char *changed = xasprintf("%.*s%s%s", (int)(at - text), text, new, at + strlen(old));
    scratch_write("manifest.json", changed, strlen(changed));
    free(changed);
    free(text);
    return scratch_folder();
}

static int execute(const char *folder, err_t *err) {
    golden_case_t golden;
    pipeline_t pipeline;
    run_t run = {.matmul = MATMUL_PLAIN};
    if (golden_case_open(&golden, folder, err)) return -1;
    assert_int_equal(golden_open_model(&golden, &pipeline, err), 0);
    assert_int_equal(arena_create(&run.arena, 1 << 24, err), 0);
    int status = golden_execute(&run, &golden, &pipeline, err);
    arena_destroy(run.arena);
    pipeline_close(&pipeline);
    golden_case_close(&golden);
    return status;
}

static void unspoilt_runs(void **state) {
    (void)state;
    err_t err;
    if (execute(spoilt("ops/linear", "\"id\"", "\"id\"", "\"id\""), &err)) fail_msg("%s", err.text);
}

static void wrong_calls_are_refused(void **state) {
    (void)state;
    static const struct {
        const char *name, *from, *old, *new, *message;
    } cases[] = {
        {"ops/linear", "calls", "\"op\": \"linear\"", "\"op\": \"linaer\"", "linaer"},
        {"ops/linear", "calls", "\"bias/bias\"", "\"bias/weight\"", "bias"},
        {"ops/linear", "calls", "\"bias/weight\"", "\"bias/x\"", "weight"},
        {"ops/linear", "calls", "\"bias/x\"", "\"bias/y\"", "bias/y"},
        {"ops/linear", "calls", "\"id\": \"no-bias\"", "\"id\": \"bias\"", "two outputs"},
        {"ops/linear", "calls", "\"id\": \"bias\"", "\"id\": \"\"", "id"},
        {"ops/matmul", "calls", "\"transpose_b\": false", "\"transpose_b\": 0", "transpose_b"},
        {"ops/conv2d", "calls", "\"stride\": 1", "\"stride\": 0", "stride"},
        {"ops/conv2d", "calls", "\"padding\": [0,", "\"padding\": [-1,", "padding"},
        {"ops/conv2d", "calls", "\"1x1/weight\"", "\"1x1/x\"", "bias"},
        {"ops/group_norm", "calls", "\"groups\": 1,", "\"groups\": 4,", "groups"},
        {"ops/group_norm", "calls", "\"eps\": 1e-05", "\"eps\": 0", "eps"},
        {"ops/layer_norm", "calls", "/weight\"", "/x\"", "weight"},
        {"ops/attention", "calls", "\"heads\": 2", "\"heads\": 3", "heads"},
        {"ops/attention", "calls", "\"self/v\"", "\"nothing\"", "nothing"},
        {"ops/embedding", "calls", "\"usual/ids\"", "\"usual/weight\"", "no row of the table"},
        {"ops/upsample_nearest", "calls", "\"size\": [6, 8]", "\"size\": [0, 8]", "size"},
        {"ops/concat", "calls", "\"two/x.1\"", "7", "list of keys"},
        {"ops/mole", "calls", "\"fixture-linear/face.lora_up\"", "\"fixture-linear/x\"", "lora_up"},
        {"ops/mole", "calls", "\"gate.Phi.bias\": \"fixture-linear/gate.Phi.bias\"",
         "\"gate.Phi.bias\": \"fixture-linear/x\"", "Phi.bias"},
        {"ops/timestep_embedding", "calls", "\"dim\": 320", "\"dim\": 0", "dim"},
        {"ops/attention", "calls", "\"heads\"", "\"hedas\"", "takes only: heads scale causal"},
        {"ops/linear", "calls", "\"attrs\": {}", "\"attrs\": {\"scale\": 2}", "takes none"},
        {"ops/linear", "calls", "\"x\":", "\"input\":", "takes only: x weight bias"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        err_t err = {.text = ""};
        const char *folder = spoilt(cases[i].name, cases[i].from, cases[i].old, cases[i].new);
        if (execute(folder, &err) == 0) fail_msg("%s with %s runs", cases[i].name, cases[i].new);
        if (!strstr(err.text, cases[i].message))
            fail_msg("'%s' is not in '%s'", cases[i].message, err.text);
    }
}

/* An id beyond the table: a table of fewer rows, that of another call. */
static void ids_beyond_the_table(void **state) {
    (void)state;
    err_t err = {.text = ""};
    const char *folder =
        spoilt("ops/embedding", "calls", "\"usual/weight\"", "\"repeated/weight\"");
    assert_int_equal(execute(folder, &err), -1);
    assert_message(&err, "table of", NULL);
}

static void the_case_itself_is_checked(void **state) {
    (void)state;
    static const struct {
        const char *from, *old, *new, *message;
    } cases[] = {{"{", "\"mole-golden\"", "\"mole-silver\"", "mole-silver"},
                 {"{", "\"version\": 1", "\"version\": 2", "another version"},
                 {"{", "\"kind\": \"calls\"", "\"kind\": \"call\"", "kind"},
                 {"\"outputs\"", "\"shape\": [2, 5, 7]", "\"shape\": [2, 7, 5]", "stated"},
                 {"\"outputs\"", "\"bias/out\"", "\"bias/x\"", "bias/x"},
                 {"files", "\"sha256\": \"e", "\"sha256\": \"f", "SHA-256"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        err_t err = {.text = ""};
        const char *folder = spoilt("ops/linear", cases[i].from, cases[i].old, cases[i].new);
        if (execute(folder, &err) == 0) fail_msg("a case with %s opens", cases[i].new);
        if (!strstr(err.text, cases[i].message))
            fail_msg("'%s' is not in '%s'", cases[i].message, err.text);
    }
}

/* The truth of a case is float64: an input, which is float32, is none, though its shape be right. */
static void truth_is_float64(void **state) {
    (void)state;
    err_t err;
    const char *folder =
        spoilt("ops/silu", "\"outputs\"", "\"tensor\": \"random/out\"", "\"tensor\": \"random/x\"");
    assert_int_equal(execute(folder, &err), -1);
    assert_message(&err, "F64", NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        fixture_test(unspoilt_runs),        fixture_test(wrong_calls_are_refused),
        fixture_test(ids_beyond_the_table), fixture_test(the_case_itself_is_checked),
        fixture_test(truth_is_float64),
    };
    return cmocka_run_group_tests_name("golden/calls " REAL_NAME, tests, scratch_setup,
                                       scratch_teardown);
}
