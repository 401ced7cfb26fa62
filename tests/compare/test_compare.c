/* The comparator, tested by breaking what it looks at: every case ends in the right exit code and says the
 * right thing. Here against a golden case; traces against traces are in test_compare_traces.c. */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "compare_made.h"

/* ---- against the golden case -------------------------------------------------- */

static void truth_agrees(void **state) {
    (void)state;
    make(candidate, (made_t){0});
    expect(0, NULL, CASE, "");
    make(candidate, (made_t){.dtype = DTYPE_F32});
    expect(0, "f32", CASE, "");
}

static void wrong_numbers_differ(void **state) {
    (void)state;
    static edit_t *const edits[] = {spike, tiny_spike, gain, zeros, ones, nhwc, to_f16_like};
    for (size_t i = 0; i < sizeof edits / sizeof *edits; i++) {
        make(candidate, (made_t){.edit = edits[i]});
        expect(1, TAP, CASE, "");
        expect(1, TAP, CASE, "--no-isolate");
    }
}

static void not_finite_differs(void **state) {
    (void)state;
    static edit_t *const edits[] = {one_nan, one_inf, minus_inf};
    for (size_t i = 0; i < sizeof edits / sizeof *edits; i++) {
        make(candidate, (made_t){.edit = edits[i]});
        expect(1, "NOT FINITE", CASE, "");
        expect(1, "NOT FINITE", CASE, "--limit 1e300");
    }
}

static void wrong_shapes_differ(void **state) {
    (void)state;
    static edit_t *const edits[] = {fewer, more, nothing};
    for (size_t i = 0; i < sizeof edits / sizeof *edits; i++) {
        make(candidate, (made_t){.edit = edits[i]});
        expect(1, "SHAPE", CASE, "");
    }
}

static void float32_hides_what_float64_shows(void **state) {
    (void)state;
    make(candidate,
         (made_t){.edit = tiny_spike, .dtype = DTYPE_F32}); /* below float32's rounding */
    expect(0, NULL, CASE, "");
    make(candidate, (made_t){.edit = spike, .dtype = DTYPE_F32});
    expect(1, TAP, CASE, "");
}

static void missing_is_stated(void **state) {
    (void)state;
    make(candidate, (made_t){.drop = true});
    expect(0, "not judged", CASE, "");
    expect(1, "missing", CASE, "--complete");
    make(candidate, (made_t){.only = 40});
    expect(0, "missing", CASE, "");
    expect(1, "missing", CASE, "--complete");
}

static void extra_is_listed(void **state) {
    (void)state;
    make(candidate, (made_t){.extra = "my.own.tap"});
    expect(0, "my.own.tap", CASE, "");
}

static void nothing_in_common_is_no_verdict(void **state) {
    (void)state;
    err_t err;
    st_writer_t *w;
    assert_int_equal(st_writer_open(&w, candidate, &err), 0);
    assert_int_equal(st_writer_finish(w, &err), 0);
    expect(3, "empty", CASE, "");
    double one = 1;
    assert_int_equal(st_writer_open(&w, candidate, &err), 0);
    put(w, "something.else", DTYPE_F64, SHAPE1(1), &one);
    assert_int_equal(st_writer_finish(w, &err), 0);
    fixture_free(NULL);
    expect(3, "--map", CASE, "");
    const golden_tap_t *t = golden_case_find(&golden, TAP);
    assert_int_equal(st_writer_open(&w, candidate, &err), 0);
    put(w, "a", DTYPE_F64, SHAPE1(1), &one);
    put(w, "b", DTYPE_F64, t->shape, t->truth->data);
    assert_int_equal(st_writer_finish(w, &err), 0);
    fixture_free(NULL);
    expect(3, "there is 'b', which holds the numbers of '" TAP "'", CASE, "");
}

/* Names that say nothing are known by their numbers, in a trace that has others and in one that has none; by
 * the words in them otherwise. What is there is not looked for. */
static void strangers_are_recognised(void **state) {
    (void)state;
    make(candidate, (made_t){.rename = "layer17"});
    expect(0, "layer17, which holds the numbers of " TAP, CASE, "");
    make(candidate, (made_t){.rename = "layer17", .edit = gain});
    expect(0, "layer17, which holds the numbers of " TAP, CASE, "");
    make(reference, (made_t){0});
    expect(0, "layer17, which holds the numbers of " TAP, reference, "");
    make(candidate, (made_t){.rename = "layer17", .edit = flat});
    expect(0, NULL, CASE, "");
    assert_non_null(strstr(output, "layer17\n")); /* another shape, and no like word */
    make(candidate, (made_t){.rename = "decoder.middle.resblocks.0.conv1", .edit = ones});
    expect(0, "resblocks.0.conv1, perhaps " TAP, CASE, "");
    /* What has its own name is nobody else. */
    err_t err;
    st_writer_t *w;
    const golden_tap_t *t = golden_case_find(&golden, TAP);
    assert_int_equal(st_writer_open(&w, candidate, &err), 0);
    put(w, TAP, DTYPE_F64, t->shape, t->truth->data);
    put(w, "layer17", DTYPE_F64, t->shape, t->truth->data);
    assert_int_equal(st_writer_finish(w, &err), 0);
    fixture_free(NULL);
    expect(0, NULL, CASE, "");
    assert_null(strstr(output, "layer17, which holds the numbers of " TAP));
}

static void names_are_mapped(void **state) {
    (void)state;
    char options[400];
    const char *map = scratch_text("names.map", "glob mine.conv -> " TAP "\n");
    snprintf(options, sizeof options, "--complete --map %s", map);
    make(candidate, (made_t){.rename = "mine.conv"});
    expect(0, NULL, CASE, options);
    make(candidate, (made_t){.rename = "mine.conv", .edit = gain});
    expect(1, TAP, CASE, options);
    make(candidate, (made_t){.extra = "mine.conv"}); /* two taps for one name */
    expect(3, "both stand for", CASE, options);
    scratch_text("names.map", "glob ** nonsense\n");
    expect(3, "line 1", CASE, options);
}

static void filter_chooses(void **state) {
    (void)state;
    make(candidate, (made_t){.edit = gain});
    expect(0, NULL, CASE, "--filter 'vae.decoder.up_blocks.**' --no-isolate");
    expect(1, TAP, CASE, "--filter 'vae.decoder.mid_block.**'");
    expect(3, "filter", CASE, "--filter 'nothing.*'");
    make(reference, (made_t){0});
    expect(0, NULL, reference, "--filter 'vae.decoder.up_blocks.**'");
    expect(1, TAP, reference, "--filter 'vae.decoder.mid_block.**'");
    expect(3, "filter", reference, "--filter 'nothing.*'");
}

static void limit_and_budget_decide(void **state) {
    (void)state;
    static const char after_a_norm[] = "vae.decoder.mid_block.attentions.0.to_q";
    make(candidate, (made_t){.edit = gain, .tap = after_a_norm});
    expect(0, NULL, CASE, "--limit 1e15 --no-isolate");
    expect(1, "provable bound", CASE, "--limit 1e15"); /* proof needs no limit */
    make(candidate, (made_t){.edit = gain}); /* but the very numbers that went in: here SiLU's */
    expect(0, NULL, CASE, "--limit 1e15");
    make(candidate, (made_t){.edit = to_f16_like});
    expect(0, "f16", CASE, "--budget f16");
    expect(1, TAP, CASE, "--budget f32");
    make(candidate, (made_t){.edit = to_bf16_like});
    expect(0, "bf16", CASE, "--budget bf16 --limit 4");
    expect(1, TAP, CASE, "--budget f16-acc32 --limit 4");
    make(candidate, (made_t){.edit = to_f16_like});
    expect(0, "f16", CASE, "--budget f16-acc32 --limit 4");
    expect(2, "budget", CASE, "--budget f8");
    expect(2, "limit", CASE, "--limit -1");
    expect(2, "limit", CASE, "--limit 0"); /* not the default in disguise */
}

/* Half a rounding of tf32, up and down without an order. */
static void roundings_of_tf32(double *x, shape_t *shape) {
    uint32_t state = 1;
    for (size_t i = 0; i < shape_count(*shape); i++) {
        state = state * 1664525U + 1013904223U;
        x[i] *= 1 + ((double)(state >> 8) / 0x1p23 - 1) * 0x1p-12;
    }
}

/* What a coarser type would excuse is said, but not of a fault that is known by its cause. */
static void known_faults_have_no_excuse(void **state) {
    (void)state;
    make(candidate, (made_t){.edit = roundings_of_tf32, .dtype = DTYPE_F32});
    expect(1, "this may be rounding: --budget tf32 agrees", CASE, "");
    make(candidate, (made_t){.edit = gain, .dtype = DTYPE_F32});
    expect(1, "cause", CASE, "");
    assert_null(strstr(output, "this may be rounding"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        fixture_test(truth_agrees),
        fixture_test(wrong_numbers_differ),
        fixture_test(not_finite_differs),
        fixture_test(wrong_shapes_differ),
        fixture_test(float32_hides_what_float64_shows),
        fixture_test(missing_is_stated),
        fixture_test(extra_is_listed),
        fixture_test(nothing_in_common_is_no_verdict),
        fixture_test(strangers_are_recognised),
        fixture_test(names_are_mapped),
        fixture_test(filter_chooses),
        fixture_test(limit_and_budget_decide),
        fixture_test(known_faults_have_no_excuse),
    };
    return cmocka_run_group_tests(tests, open_case, close_case);
}
