/* mole bench and --profile: what they print and write, and what they refuse. No time is judged. */
#include <jansson.h>
#include <string.h>

#include "../scratch.h"
#include "program.h"

#define TINY "bench --model synth:sd15-tiny --width 64 --height 64 "

static double number_of(const json_t *object, const char *key) {
    const json_t *value = json_object_get(object, key);
    assert_true(json_is_number(value));
    return json_number_value(value);
}

static void table_and_json(void **state) {
    (void)state;
    const char *path = program_file("bench.json");
    ran_t ran = program_run(NULL, TINY "--only [tuv]*_* --rounds 2 --threads 1 --json %s", path);
    assert_int_equal(ran.status, 0);
    assert_non_null(strstr(ran.out, "text_encoder"));
    assert_non_null(strstr(ran.out, "unet_mole"));
    assert_non_null(strstr(ran.out, "vae_decoder"));
    assert_null(strstr(ran.out, "op.linear"));
    assert_non_null(strstr(ran.err, "round 2/2"));
    json_error_t error;
    json_t *root = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
    assert_non_null(root);
    assert_string_equal(json_string_value(json_object_get(root, "format")), "mole bench 1");
    assert_string_equal(
        json_string_value(json_object_get(json_object_get(root, "settings"), "precision")),
        REAL_NAME);
    assert_int_equal(number_of(json_object_get(root, "machine"), "threads"), 1);
    assert_true(number_of(root, "peak_rss_bytes") > number_of(root, "weights_bytes"));
    const json_t *results = json_object_get(root, "results");
    size_t named = 0;
    for (size_t i = 0; i < json_array_size(results); i++) {
        const json_t *r = json_array_get(results, i);
        assert_int_equal(json_array_size(json_object_get(r, "seconds")), 2);
        assert_int_equal(json_array_size(json_object_get(r, "yardstick_gflops")), 2);
        double median = number_of(r, "median_s");
        assert_true(number_of(r, "min_s") <= median && median <= number_of(r, "max_s"));
        double gflops = number_of(r, "gflops"), expected = number_of(r, "gflop") / median;
        assert_true(gflops > 0.999 * expected && gflops < 1.001 * expected);
        named += strcmp(json_string_value(json_object_get(r, "name")), "unet_mole") == 0;
    }
    assert_int_equal(named, 1);
    json_decref(root);
}

static void profile(void **state) {
    (void)state;
    const char *path = program_file("profile.json");
    ran_t ran = program_run(NULL, SMALL_RUN GATED "--profile --profile-json %s -o %s", path,
                            program_file("a.png"));
    assert_int_equal(ran.status, 0);
    assert_non_null(strstr(ran.out, "linear with experts"));
    assert_non_null(strstr(ran.out, "total"));
    json_error_t error;
    json_t *root = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
    assert_non_null(root);
    const json_t *kinds = json_object_get(root, "kinds");
    assert_int_equal(json_array_size(kinds), 7);
    for (size_t i = 0; i < 3; i++) {
        assert_true(number_of(json_array_get(kinds, i), "gflop") > 0);
        assert_true(number_of(json_array_get(kinds, i), "seconds") > 0);
    }
    json_decref(root);
}

static void refusals(void **state) {
    (void)state;
    program_refuses(2, "--rounds takes a number from 1 to 1000", TINY "--rounds 0");
    program_refuses(2, "--batch takes a number from 1 to 64", TINY "--batch 65");
    program_refuses(2, "--serve goes without --json", TINY "--serve unet --json x");
    program_refuses(2, "nothing of that name", TINY "--serve ummet");
    program_refuses(2, "unexpected word", TINY "word");
    program_refuses(3, "nothing of that name", TINY "--only ummet");
    program_refuses(2, "experts without --gates", TINY "--face synth:rank=2");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        fixture_test(table_and_json),
        fixture_test(profile),
        fixture_test(refusals),
    };
    return cmocka_run_group_tests_name("cli/bench " REAL_NAME, tests, scratch_setup,
                                       scratch_teardown);
}
