/* mole compare --statement and mole check-statement: what is written holds, and what was changed does not. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <jansson.h>

#include "../scratch.h"
#include "api/mole.h"
#include "program.h"

static void expect(ran_t ran, int status, const char *out) {
    if (ran.status != status)
        fail_msg("exit code %d, expected %d:\n%s%s", ran.status, status, ran.out, ran.err);
    if (!strstr(ran.out, out)) fail_msg("'%s' is not in:\n%s", out, ran.out);
}

/* A folder NAME with the case silu and a candidate of it, and the statement on both; its path. */
static const char *stated(const char *name) {
    char command[1024], file[64];
    const char *home = program_file(name);
    snprintf(command, sizeof command,
             "mkdir '%s' && cp -R golden/ops/silu golden/ops/gelu '%s' && "
             "cp golden/ops/silu/tensors.safetensors '%s/port.safetensors'",
             home, home, home);
    assert_int_equal(system(command), 0);
    run_how_t there = {.folder = home};
    ran_t ran = program_run(&there, "compare --statement port.json silu port.safetensors");
    expect(ran, 0,
           "statement  mole " MOLE_VERSION
           ": agrees with 1 of 1 case, 5 taps, f64, at most 0 % of a");
    snprintf(file, sizeof file, "%s/port.json", name);
    return program_file(file);
}

static json_t *load(const char *path) {
    json_t *all = json_load_file(path, 0, NULL);
    assert_non_null(all);
    return all;
}

static json_t *entry(json_t *all, size_t index) {
    return json_array_get(json_object_get(all, "entries"), index);
}

static void store(json_t *all, const char *path) {
    assert_int_equal(json_dump_file(all, path, 0), 0);
    json_decref(all);
}

/* The file as other programs see it: paths from its folder, hashes as sha256sum has them. */
static void what_is_written(void **state) {
    (void)state;
    const char *path = stated("written");
    json_t *all = load(path), *of = entry(all, 0);
    const char *name = NULL, *golden = NULL, *candidate = NULL, *hash = NULL, *verdict = NULL;
    int compared = 0;
    assert_int_equal(json_unpack(of, "{s:s, s:{s:s}, s:{s:s, s:s}, s:{s:s, s:i}}", "name", &name,
                                 "case", "path", &golden, "candidate", "path", &candidate, "sha256",
                                 &hash, "found", "verdict", &verdict, "compared", &compared),
                     0);
    assert_string_equal(name, "silu");
    assert_string_equal(golden, "silu");
    assert_string_equal(candidate, "port.safetensors");
    assert_string_equal(verdict, "agrees");
    assert_int_equal(compared, 5);
    char command[1024];
    snprintf(command, sizeof command, "echo '%s  %s' | sha256sum -c --status", hash,
             program_file("written/port.safetensors"));
    assert_int_equal(system(command), 0);
    json_decref(all);
    ran_t ran = program_run(NULL, "check-statement %s", path);
    expect(ran, 0,
           "holds          silu: agrees, 5 of 5 taps, f64\nmole " MOLE_VERSION
           ": agrees with 1 of 1");
    expect(program_run(NULL, "check-statement --no-run %s", path), 0, "same files     silu");
}

/* Each case adds its entry; the same case takes the place of its own, under whatever path it is named. */
static void cases_are_added_and_replaced(void **state) {
    (void)state;
    const char *path = stated("two");
    run_how_t there = {.folder = program_file("two")};
    ran_t ran = program_run(
        &there,
        "compare --statement port.json --budget f32 --limit 9 gelu gelu/tensors.safetensors");
    expect(ran, 0,
           "agrees with 2 of 2 cases, 10 taps, f64 and f32, at most 0 % of a limit; limits of");
    ran = program_run(NULL, "compare --statement %s --only one.out %s %s", path,
                      program_file("two/../two/silu/"), program_file("two/port.safetensors"));
    expect(ran, 0,
           "agrees with 2 of 2 cases, 6 taps, f64 and f32, at most 0 % of a limit; limits of "
           "its own; only some taps asked for");
    json_t *all = load(path);
    assert_int_equal(json_array_size(json_object_get(all, "entries")), 2);
    assert_string_equal(json_string_value(json_object_get(entry(all, 0), "name")), "silu");
    json_decref(all);
    ran = program_run(NULL, "check-statement %s", path);
    expect(ran, 0,
           "holds          silu: agrees, 1 of 1 taps, f64\nholds          gelu: agrees, 5 of 5");
}

/* A port that differs is stated as one, and that it does holds. */
static void a_difference_holds(void **state) {
    (void)state;
    const char *path = stated("differs");
    run_how_t there = {.folder = program_file("differs")};
    ran_t ran = program_run(&there, "compare --statement port.json gelu port.safetensors");
    expect(ran, 1, "statement  mole " MOLE_VERSION ": agrees with 1 of 2 cases");
    assert_null(strstr(ran.out, "% of a limit\n"));
    expect(program_run(NULL, "check-statement %s", path), 0, "holds          gelu: differs");
    json_t *all = load(path), *found = json_object_get(entry(all, 1), "found");
    assert_string_equal(json_string_value(json_object_get(found, "culprit")), "dense.out");
    json_decref(all);
}

static void what_the_candidate_is(void **state) {
    (void)state;
    const char *path = stated("kinds");
    run_how_t there = {.folder = program_file("kinds")};
    ran_t made =
        program_run(&there, "inspect --statistics port.safetensors -o port-statistics.json");
    assert_int_equal(made.status, 0);
    ran_t ran =
        program_run(&there, "compare --map ldm --statement port.json --complete --no-isolate silu "
                            "port-statistics.json");
    expect(ran, 0, "limit; by statistics alone; not isolated");
    json_t *all = load(path), *of = entry(all, 0);
    const char *kind = NULL, *map = NULL;
    int complete = 0, isolate = 1;
    assert_int_equal(json_unpack(of, "{s:{s:s}, s:{s:b, s:b, s:{s:s, s:n}}}", "found",
                                 "candidate_kind", &kind, "options", "complete", &complete,
                                 "isolate", &isolate, "map", "path", &map, "sha256"),
                     0);
    assert_string_equal(kind, "statistics");
    assert_string_equal(map, "ldm");
    assert_true(complete && !isolate);
    json_decref(all);
    expect(program_run(NULL, "check-statement %s", path), 0, "holds          silu");
    ran = program_run(&there, "compare --map auto --statement port.json silu port.safetensors");
    assert_int_equal(ran.status, 0);
    expect(program_run(NULL, "check-statement %s", path), 0, "holds          silu");
}

/* ---- what does not hold ------------------------------------------------------------------------------ */

static void set(const char *path, const char *part, const char *key, json_t *value) {
    json_t *all = load(path), *of = *part ? json_object_get(entry(all, 0), part) : all;
    json_object_set_new(of, key, value);
    store(all, path);
}

static void tampered_findings(void **state) {
    (void)state;
    const char *path = stated("tampered");
    set(path, "found", "verdict", json_string("differs"));
    ran_t ran = program_run(NULL, "check-statement %s", path);
    expect(ran, 1, "DOES NOT HOLD  silu: verdict: stated differs, found agrees");
    assert_null(strstr(ran.out, "\nmole 0"));
    set(path, "found", "verdict", json_string("agrees"));
    set(path, "found", "worst_ratio", json_real(100));
    expect(program_run(NULL, "check-statement %s", path), 1,
           "silu: worst ratio: stated 100x, found 0x");
    set(path, "found", "worst_ratio", json_real(0));
    set(path, "", "line", json_string("mole 0.1.0: agrees with 99 of 99 cases"));
    expect(program_run(NULL, "check-statement --no-run %s", path), 1,
           "line: stated \"mole 0.1.0: agrees with 99");
}

static void changed_files(void **state) {
    (void)state;
    const char *path = stated("changed"), *port = program_file("changed/port.safetensors");
    size_t bytes;
    char *data = scratch_slurp(port, &bytes);
    data[bytes - 1] ^= 1;
    scratch_store(port, data, bytes);
    ran_t ran = program_run(NULL, "check-statement %s", path);
    expect(ran, 1, "DOES NOT HOLD  silu: ");
    expect(ran, 1, "port.safetensors: stated SHA-256 ");
    expect(program_run(NULL, "check-statement --no-run %s", path), 1, "port.safetensors: stated");
    data[bytes - 1] ^= 1;
    scratch_store(port, data, bytes);
    free(data);
    expect(program_run(NULL, "check-statement %s", path), 0, "holds");
    /* another case in the place of the one that was stated */
    json_t *all = load(path);
    json_object_set_new(json_object_get(entry(all, 0), "case"), "path", json_string("gelu"));
    store(all, path);
    expect(program_run(NULL, "check-statement %s", path), 1, "gelu/manifest.json: stated SHA-256 ");
    set(path, "case", "path", json_string("silu"));
    /* the tensors of the case, whose hash its manifest has */
    scratch_store(program_file("changed/silu/tensors.safetensors"), "x", 1);
    program_refuses(3, "case silu: ", "check-statement %s", path);
    assert_int_equal(unlink(port), 0);
    program_refuses(3, "port.safetensors", "check-statement --no-run %s", path);
}

static void files_that_are_none(void **state) {
    (void)state;
    const char *path = stated("none");
    json_t *all = load(path);
    json_object_set_new(entry(all, 0), "trust", json_true());
    store(all, path);
    program_refuses(3, "entries[0].trust: no statement has this key", "check-statement %s", path);
    program_refuses(3, "entries[0].trust", "compare --statement %s golden/ops/silu %s", path,
                    "golden/ops/silu/tensors.safetensors");
    program_refuses(3, "nowhere.json", "check-statement nowhere.json");
    program_refuses(3, "not JSON", "check-statement %s", scratch_text("text.json", "agrees"));
    program_refuses(2, "give one FILE", "check-statement");
    program_refuses(2, "give one FILE", "check-statement a b");
}

static void refused_before_the_work(void **state) {
    (void)state;
    const char *port = "golden/ops/silu/tensors.safetensors", *path = program_file("new.json");
    program_refuses(2, "--statement is for golden cases, and", "compare --statement %s %s %s", path,
                    port, port);
    program_refuses(2, "--statement is for golden cases, not for --model",
                    "compare --statement %s --model golden/models/sd15-tiny --prompt x %s", path,
                    port);
    program_refuses(2, "another format", "compare --statement a.png golden/ops/silu %s", port);
    program_refuses(2, "name the same file", "compare --statement %s --json %s golden/ops/silu %s",
                    path, path, port);
    program_refuses(3, "nowhere", "compare --statement nowhere/a.json golden/ops/silu %s", port);
    /* a statement of another version's is not mixed with this one's */
    path = stated("old");
    set(path, "", "made_with", json_string("0.0.9"));
    program_refuses(3, "made with mole 0.0.9", "compare --statement %s golden/ops/silu %s", path,
                    port);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        fixture_test(what_is_written),     fixture_test(cases_are_added_and_replaced),
        fixture_test(a_difference_holds),  fixture_test(what_the_candidate_is),
        fixture_test(tampered_findings),   fixture_test(changed_files),
        fixture_test(files_that_are_none), fixture_test(refused_before_the_work),
    };
    return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
