/* test_skipped_said.c - what a trace's file holds and is not compared: every command says it, and no verdict
 * depends on it. */
#include <jansson.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "../fixture.h"
#include "../scratch.h"
#include "../trace/trace_fixture.h"
#include "mole_says.h"

static const float numbers[6] = {0.5f, 1, 2, 3, 4, 5};

#define PLAIN "\"x\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]}"
#define MORE                                                                                       \
    ",\"waves\":{\"dtype\":\"C64\",\"shape\":[1],\"data_offsets\":[24,32]},"                       \
    "\"y\":{\"dtype\":\"Q8_0\",\"shape\":[1],\"data_offsets\":[32,40]}"
#define SAID "'waves' (dtype 'C64': complex numbers), 'y' (dtype 'Q8_0' is not known)"

static const char *write_plain(void) {
    return fixture_safetensors("plain.safetensors", "{" PLAIN "}", numbers, 24);
}

static const char *write_more(void) {
    char data[40] = "";
    memcpy(data, numbers, 24);
    return fixture_safetensors("more.safetensors", "{" PLAIN MORE "}", data, 40);
}

static void said(const char *text) {
    if (!strstr(output, text)) fail_msg("'%s' is not in:\n%s", text, output);
}

static void never_said(const char *text) {
    if (strstr(output, text)) fail_msg("'%s' is in:\n%s", text, output);
}

static void by_compare(void **state) {
    (void)state;
    const char *plain = write_plain(), *more = write_more();
    assert_int_equal(mole_says("compare %s %s", plain, more), 0);
    said("note       the candidate holds what is not compared: " SAID "\n");
    never_said("the reference holds");
    assert_int_equal(mole_says("compare %s %s", more, plain), 0);
    said("note       the reference holds what is not compared: " SAID "\n");
    never_said("the candidate holds");
    assert_int_equal(mole_says("compare %s %s", plain, plain), 0);
    never_said("not compared:");
}

/* A tap of the reference among what is skipped is missing, and the note says why. */
static void by_compare_of_a_tap(void **state) {
    (void)state;
    char header[] = "{" PLAIN ",\"y\":{\"dtype\":\"F64\",\"shape\":[1],\"data_offsets\":[24,32]}}";
    double data[4] = {0};
    memcpy(data, numbers, 24);
    const char *both = fixture_safetensors("both.safetensors", header, data, 32);
    const char *more = write_more();
    assert_int_equal(mole_says("compare %s %s", both, more), 0);
    said("agrees: 1 of 2 taps compared");
    said("'y' (dtype 'Q8_0' is not known)");
    assert_int_equal(mole_says("compare --complete %s %s", both, more), 1);
    said("'y' (dtype 'Q8_0' is not known)");
}

/* Against a golden case too: its own tensors with a member that is no array, a name that no terminal
 * likes. */
static void by_compare_with_golden(void **state) {
    (void)state;
    const float tap[2] = {1, 2};
    const fixture_tensor_t x = {"vae.decoder", DTYPE_F32, SHAPE1(2), tap, false};
    size_t bytes;
    char *file = fixture_npy(&x, &bytes);
    const fixture_entry_t entries[] = {{"vae.decoder.npy", file, bytes},
                                       {"read\x1b[2J\xff.txt", "hello", 5}};
    const char *zip = fixture_zip("golden.npz", ZIP_DEFLATED, entries, 2);
    assert_int_equal(mole_says("compare golden/runs/vae-decode %s", zip),
                     1); /* its shape is wrong */
    said("note       the candidate holds what is not compared: 'read?[2J?.txt' (no array)\n");
    assert_int_equal(
        mole_says("compare --json %s golden/runs/vae-decode %s", scratch_path("report.json"), zip),
        1);
    json_error_t where;
    json_t *report = json_load_file(scratch_path("report.json"), 0, &where);
    if (!report) fail_msg("%s", where.text);
    const json_t *notes = json_object_get(report, "notes");
    const char *last = json_string_value(json_array_get(notes, json_array_size(notes) - 1));
    assert_string_equal(last,
                        "the candidate holds what is not compared: 'read?[2J?.txt' (no array)");
    json_decref(report);
    free(file);
}

static void by_inspect(void **state) {
    (void)state;
    const char *plain = write_plain(), *more = write_more();
    const char *reason, *name, *other;
    json_error_t where;
    assert_int_equal(mole_says("inspect --ranges %s", more), 0);
    said(": 1 taps\n");
    said("\n  left out: 'waves' (dtype 'C64': complex numbers)\n"
         "  left out: 'y' (dtype 'Q8_0' is not known)\n");
    assert_int_equal(mole_says("inspect --ranges %s", plain), 0);
    never_said("left out");
    assert_int_equal(mole_says("inspect --ranges --json %s", more), 0);
    json_t *all = json_loads(output, JSON_REJECT_DUPLICATES, &where);
    if (!all) fail_msg("%s in:\n%s", where.text, output);
    assert_int_equal(json_unpack_ex(all, &where, 0, "{s:[{s:s, s:s}, {s:s}!]}", "skipped", "name",
                                    &name, "reason", &reason, "name", &other),
                     0);
    assert_string_equal(name, "waves");
    assert_string_equal(reason, "dtype 'C64': complex numbers");
    assert_string_equal(other, "y");
    json_decref(all);
    assert_int_equal(mole_says("inspect %s", more), 0);
    said("not_read                   2\n");
    said("waves dtype 'C64': complex numbers\n");
    assert_int_equal(mole_says("inspect %s", plain), 0);
    never_said("not_read");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(by_compare),
        cmocka_unit_test(by_compare_of_a_tap),
        cmocka_unit_test(by_compare_with_golden),
        cmocka_unit_test(by_inspect),
    };
    return cmocka_run_group_tests_name("skipped_said", tests, scratch_setup, scratch_teardown);
}
