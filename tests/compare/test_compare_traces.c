/* The comparator between traces, without a golden case: what a peer, a guess and special numbers decide, and
 * what the two as wholes look like. */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "compare_made.h"

/* ---- trace against trace -------------------------------------------------- */

static void same_special_numbers_agree(void **state) {
    (void)state;
    make(reference, (made_t){.edit = one_inf});
    make(candidate, (made_t){.edit = one_inf});
    expect(0, NULL, reference, "");
    make(candidate, (made_t){.edit = minus_inf});
    expect(1, "NOT FINITE", reference, "");
    make(reference, (made_t){.edit = one_nan});
    make(candidate, (made_t){.edit = one_nan});
    expect(1, "NOT FINITE", reference, ""); /* NaN on both sides is nobody's agreement */
    make(candidate, (made_t){0});
    expect(1, "NOT FINITE", reference, ""); /* on the reference's side alone */
    make(reference, (made_t){.edit = one_inf});
    expect(1, "NOT FINITE", reference, "");
    make(reference, (made_t){.edit = zeros});
    make(candidate, (made_t){.edit = minus_zero});
    expect(0, NULL, reference, "");
    make(candidate, (made_t){.edit = denormal});
    expect(1, TAP, reference, ""); /* not zero */
    make(reference, (made_t){.edit = denormal});
    expect(0, NULL, reference, "");
    make(candidate, (made_t){.edit = twice_denormal});
    expect(1, TAP, reference, "");
    make(reference, (made_t){.edit = nothing});
    make(candidate, (made_t){.edit = nothing});
    expect(0, NULL, reference, "");
}

static void trace_with_itself_agrees(void **state) {
    (void)state;
    make(candidate, (made_t){0});
    expect(0, NULL, candidate, "--complete");
    make(reference, (made_t){0});
    make(candidate, (made_t){.edit = gain});
    expect(1, "a guess", reference, "");
}

static void peer_is_the_measure(void **state) {
    (void)state;
    char options[400];
    make(reference, (made_t){0});
    make(peer, (made_t){.edit = gain});
    snprintf(options, sizeof options, "--peer %s", peer);
    make(candidate, (made_t){.edit = gain, .dtype = DTYPE_F32});
    expect(0, NULL, reference, options); /* as wrong as the peer: once its error */
    expect(1, TAP, reference, "");
    make(peer, (made_t){0});
    expect(1, TAP, reference, options);
    expect(3, "--peer", CASE, options);
}

/* A trace without a tap, and one of a single tap of zeros, stored in `dtype`. */
static void make_zeros(const char *path, size_t taps, dtype_t dtype) {
    err_t err;
    st_writer_t *w;
    const golden_tap_t *t = golden_case_find(&golden, TAP);
    size_t bytes = shape_count(t->shape) * sizeof(double);
    void *nothing_there = memset(fixture_bytes(bytes), 0, bytes);
    assert_int_equal(st_writer_open(&w, path, &err), 0);
    if (taps) assert_int_equal(st_writer_add(w, TAP, dtype, t->shape, nothing_there, &err), 0);
    assert_int_equal(st_writer_finish(w, &err), 0);
    fixture_free(NULL);
}

static void dtype_is_the_precision(void **state) {
    (void)state;
    static const dtype_t dtypes[] = {DTYPE_F64, DTYPE_F32, DTYPE_F16, DTYPE_BF16};
    static const char *const names[] = {"precision  f64", "precision  f32", "precision  f16",
                                        "precision  bf16"};
    /* Nothing but zeros: the type that they are stored in decides. */
    for (size_t i = 0; i < 4; i++) {
        make_zeros(candidate, 1, dtypes[i]);
        expect(1, names[i], CASE, "");
    }
}

/* A float32 reference is off by its own roundings: a float64 candidate is judged by them. */
static void reference_may_be_the_coarser(void **state) {
    (void)state;
    make(reference, (made_t){.dtype = DTYPE_F32});
    make(candidate, (made_t){0});
    expect(0, "precision  f32: float32, as the reference's numbers show (stored as F64)", reference,
           "");
    expect(1, "judged as f64", reference, "--budget f64");
    make(candidate, (made_t){.edit = gain});
    expect(1, TAP, reference, ""); /* which excuses no mistake */
    make(candidate, (made_t){0});
    make(reference, (made_t){.edit = to_bf16_like});
    expect(1, "judged as f64", reference, ""); /* one tap of a coarser type is a mistake */
}

static void empty_reference_is_no_verdict(void **state) {
    (void)state;
    make(candidate, (made_t){0});
    make_zeros(reference, 0, DTYPE_F64);
    expect(3, "no taps to compare with", reference, "");
}

static void a_guess_leaves_doubt(void **state) {
    (void)state;
    char options[400];
    make(reference, (made_t){0});
    make(candidate, (made_t){.edit = between, .dtype = DTYPE_F32});
    expect(1, "UNDECIDED", reference, ""); /* no layer is accused, nothing agrees */
    expect(1, "0 differ, ", reference, "");
    expect(1, "1 suspicious", reference, "");
    expect(1, "undecided  1 of the taps", reference, "");
    expect(0, "agrees", reference, "--limit 160");
    expect(1, "1 differ, ", reference, "--limit 16"); /* asked for: decides alone */
    snprintf(options, sizeof options, "--peer %s", peer);
    make(peer, (made_t){.dtype = DTYPE_F32});
    expect(1, TAP, reference, options); /* a peer leaves none */
    make(candidate, (made_t){.edit = beyond_doubt, .dtype = DTYPE_F32});
    expect(1, TAP, reference, "");
    make(candidate, (made_t){.edit = by_a_tenth});
    expect(1, "1 differ, ", reference, "--budget f16");
}

/* A trace of one tensor that is read in several pieces, `wrong` its number that is off by 1. */
static void make_large(const char *path, size_t wrong) {
    enum { MANY = 300000 };
    err_t err;
    st_writer_t *w;
    double *x = fixture_random(MANY, 1, 1);
    if (wrong < MANY) x[wrong] += 1;
    assert_int_equal(st_writer_open(&w, path, &err), 0);
    put(w, "large", DTYPE_F64, SHAPE2(3, MANY / 3), x);
    assert_int_equal(st_writer_finish(w, &err), 0);
    fixture_free(NULL);
}

static void every_piece_counts(void **state) {
    (void)state;
    make_large(reference, SIZE_MAX);
    make_large(candidate, SIZE_MAX);
    expect(0, NULL, reference, "");
    make_large(candidate, 1);
    expect(1, "[0,1]", reference, "");
    make_large(candidate, 150000);
    expect(1, "[1,50000]", reference, "");
    make_large(candidate, 299999);
    expect(1, "[2,99999]", reference, "");
}

/* What the two look like as wholes is said, and changes no verdict. */
static void wholes_are_noted(void **state) {
    (void)state;
    make(candidate, (made_t){0});
    expect(0, "the same file", candidate, "");
    make(reference, (made_t){0});
    expect(0, NULL, reference, "");
    assert_null(strstr(output, "\nnote"));
    make(candidate, (made_t){.edit = fewer});
    expect(1, NULL, reference, "");
    assert_null(strstr(output, "\nresolution")); /* of a guessed limit it is not known */
    assert_null(strstr(output, "\nnote"));       /* one other shape is a mistake in a layer */
    expect(1, "1 of the 1 taps compared have another shape", reference, "--filter " TAP);
}

static void make_steps(const char *path, size_t steps) {
    err_t err;
    st_writer_t *w;
    double x[2] = {1, 2};
    assert_int_equal(st_writer_open(&w, path, &err), 0);
    put(w, "prompt_embeds", DTYPE_F32, SHAPE1(2), x);
    for (size_t k = 0; k < steps; k++) {
        char name[64];
        snprintf(name, sizeof name, "step.%03zu/latents", k);
        put(w, name, DTYPE_F64, SHAPE1(2), x);
    }
    assert_int_equal(st_writer_finish(w, &err), 0);
    fixture_free(NULL);
}

static void runs_of_other_lengths_are_noted(void **state) {
    (void)state;
    make_steps(reference, 3);
    make_steps(candidate, 4);
    expect(0, "the candidate has 4 steps, the reference 3: a run of another", reference, "");
    expect(0, "several types (3 as F64, 1 as F32) and all weighed as f64", reference, "");
    make_steps(candidate, 2);
    expect(0, "the candidate has 2 steps, the reference 3: a part of", reference, "--budget f64");
    assert_null(strstr(output, "several types"));
    make_steps(candidate, 3);
    expect(0, NULL, reference, "--budget f64");
    assert_null(strstr(output, "\nnote"));
    expect(0, NULL, reference, "--budget f64 --filter 'step.000/**'");
    assert_null(strstr(output, "\nnote"));
    assert_null(strstr(output, "\nextra")); /* what was not asked for is not extra */
    make_steps(candidate, 0);               /* no run at all: what is missing is said */
    expect(0, "missing    3", reference, "");
    assert_null(strstr(output, "\nnote"));
}

/* A peer of another shape, or without the tap, says nothing about it. */
static void peer_of_another_shape_is_none(void **state) {
    (void)state;
    char options[400];
    snprintf(options, sizeof options, "--peer %s", peer);
    make(reference, (made_t){0});
    make(candidate, (made_t){.edit = gain, .dtype = DTYPE_F32});
    make(peer, (made_t){.edit = flat});
    expect(1, "a guess", reference, options);
    make(peer, (made_t){.drop = true});
    expect(1, "a guess", reference, options);
}

static void unreadable_input_is_no_verdict(void **state) {
    (void)state;
    make(candidate, (made_t){0});
    expect(3, "nowhere", "golden/runs/nowhere", "");
    scratch_write("candidate.safetensors", "\x80\x02}q\x00", 5);
    expect(3, "candidate.safetensors", CASE, "");
    remove(candidate);
    expect(3, "candidate.safetensors", CASE, "");
    expect(2, "unexpected", CASE, "--unexpected 2>&1; exit $?; #");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        fixture_test(same_special_numbers_agree),
        fixture_test(trace_with_itself_agrees),
        fixture_test(peer_is_the_measure),
        fixture_test(a_guess_leaves_doubt),
        fixture_test(dtype_is_the_precision),
        fixture_test(reference_may_be_the_coarser),
        fixture_test(empty_reference_is_no_verdict),
        fixture_test(every_piece_counts),
        fixture_test(wholes_are_noted),
        fixture_test(runs_of_other_lengths_are_noted),
        fixture_test(peer_of_another_shape_is_none),
        fixture_test(unreadable_input_is_no_verdict),
    };
    return cmocka_run_group_tests(tests, open_case, close_case);
}
