/* mole verify: single operations, folders of cases, exit codes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../scratch.h"
#include "api/op_table.h"
#include "program.h"

static void expect(ran_t ran, int status, const char *out, const char *err) {
    if (ran.status != status)
        fail_msg("exit code %d, expected %d:\n%s%s", ran.status, status, ran.out, ran.err);
    if (out && !strstr(ran.out, out)) fail_msg("'%s' is not in:\n%s", out, ran.out);
    if (err && !strstr(ran.err, err)) fail_msg("'%s' is not in:\n%s", err, ran.err);
}

static const char *const precisions[] = {"f32", "f64"};

/* Every operation of golden/ops, by the program as a whole. */
static void operations_agree(void **state) {
    (void)state;
    run_how_t plain = {.program = program_mole()};
    for (size_t i = 0; i < 2; i++) {
        ran_t ran = program_run(&plain, "verify --precision %s golden/ops", precisions[i]);
        expect(ran, 0, "agrees linear: 7 taps", NULL);
        expect(ran, 0, "agrees mole: 100 taps", NULL);
        expect(ran, 0, "agrees conv2d: 12 taps", NULL);
        size_t cases = 0, operations = 0;
        for (const char *at = ran.out; (at = strstr(at, "agrees ")); at++) cases++;
        while (op_at(operations)) operations++;
        assert_int_equal(cases, operations);
        assert_null(strstr(ran.out, "DIFFERS"));
    }
}

/* float32 angles are no truth for a float64 program, and judged in float32. */
static void angles_of_float32(void **state) {
    (void)state;
    run_how_t plain = {.program = program_mole()};
    expect(program_run(&plain, "verify golden/ops/timestep_embedding"), 0, "10 taps", NULL);
    expect(program_run(&plain, "verify --precision f64 golden/ops/timestep_embedding"), 0, "5 taps",
           NULL);
}

static void bounds_decide(void **state) {
    (void)state;
    run_how_t plain = {.program = program_mole()};
    expect(program_run(&plain, "verify --bound-ratio 0.5 golden/ops/linear"), 1, "DIFFERS", NULL);
    expect(program_run(&plain, "verify --bound 1e-9 golden/ops/linear"), 1, "DIFFERS", NULL);
    expect(program_run(&plain, "verify --precision f64 --bound 1e-18 golden/ops/linear"), 1,
           "DIFFERS", NULL);
    /* One that differs is not forgotten because the next agrees. */
    expect(program_run(&plain, "verify --bound 1e-9 golden/ops/linear golden/ops/concat"), 1,
           "agrees concat", NULL);
}

/* What cannot be run is said when it was found, and an error when it was named. */
static void folders_are_searched(void **state) {
    (void)state;
    run_how_t plain = {.program = program_mole()};
    ran_t ran = program_run(&plain, "verify golden/sampler golden/ops/silu golden/io");
    expect(ran, 3, NULL, "golden/sampler: neither");
    ran = program_run(&plain, "verify golden/sampler/randn");
    expect(ran, 3, NULL, "\"fingerprint\" or \"calls\", found \"random\"");
    ran = program_run(&plain, "verify golden/sampler/ddim_step");
    expect(ran, 3, NULL, "ddim_step");
    expect(program_run(&plain, "verify nowhere"), 3, NULL, "nowhere");
    assert_int_equal(mkdir(program_file("cases"), 0777), 0);
    char golden[4096], link[4200];
    assert_non_null(realpath("golden", golden));
    const char *const parts[] = {"ops/silu", "sampler/randn", "io/text-encoder-names"};
    for (size_t i = 0; i < 3; i++) {
        snprintf(link, sizeof link, "cp -R '%s/%s' '%s/cases/'", golden, parts[i],
                 program_file(""));
        assert_int_equal(system(link), 0);
    }
    ran = program_run(&plain, "verify %s", program_file("cases"));
    expect(ran, 0, "agrees silu", NULL);
    expect(ran, 0, "randn: kind random", NULL);
    expect(ran, 0, "text-encoder-names: its model is no pipeline", NULL);
}

static void reports_of_calls(void **state) {
    (void)state;
    run_how_t plain = {.program = program_mole()};
    char json[4096];
    snprintf(json, sizeof json, "%s", program_file("linear.json"));
    expect(program_run(&plain, "verify --json %s golden/ops/linear", json), 0, NULL, NULL);
    size_t bytes;
    char *text = scratch_slurp(json, &bytes);
    assert_non_null(strstr(text, "\"no-bias.out\""));
    free(text);
    /* Of several: one report, of which a tap that differs is the culprit. */
    expect(program_run(&plain, "verify --bound 1e-9 --json %s golden/ops/concat golden/ops/linear",
                       json),
           1, NULL, NULL);
    text = scratch_slurp(json, &bytes);
    assert_non_null(strstr(text, "\"golden/ops/concat/two.out\""));
    assert_non_null(strstr(text, "\"golden/ops/linear/no-bias.out\""));
    assert_non_null(strstr(text, "\"2 golden cases\""));
    const char *culprit = strstr(text, "\"culprit\"");
    assert_non_null(culprit);
    assert_ptr_equal(strstr(culprit, "golden/ops/"), strstr(culprit, "golden/ops/linear/"));
    free(text);
    expect(program_run(&plain, "verify --help"), 0, "every tap (direct)", NULL);
    expect(program_run(&plain, "replay --help"), 0, "every tap (direct)", NULL);
    expect(program_run(&plain, "generate --help"), 0, "every tap (stacked)", NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        fixture_test(operations_agree), fixture_test(angles_of_float32),
        fixture_test(bounds_decide),    fixture_test(folders_are_searched),
        fixture_test(reports_of_calls),
    };
    return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
