/* The comparator, tested by breaking what it looks at: every case ends in the right exit code and says the
 * right thing. Candidates are the truth of golden/runs/vae-decode with one thing changed. */
#include <float.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "../fixture.h"
#include "../scratch.h"
#include "io/safetensors.h"
#include "verify/compare_internal.h"

#define CASE "golden/runs/vae-decode"
/* A tap in the middle: (1,32,3,4). */
#define TAP "vae.decoder.mid_block.resnets.0.conv1"

static golden_case_t golden;
static char candidate[300], reference[300], peer[300], output[1 << 16];

static int open_case(void **state) {
    err_t err;
    if (golden_case_open(&golden, CASE, &err)) return -1;
    if (scratch_setup(state)) return -1;
    snprintf(candidate, sizeof candidate, "%s", scratch_path("candidate.safetensors"));
    snprintf(reference, sizeof reference, "%s", scratch_path("reference.safetensors"));
    snprintf(peer, sizeof peer, "%s", scratch_path("peer.safetensors"));
    return 0;
}

static int close_case(void **state) {
    golden_case_close(&golden);
    return scratch_teardown(state);
}

/* ---- making traces -------------------------------------------------- */

/* What may be done to one tap before it is written. x has room for twice its numbers. */
typedef void edit_t(double *x, shape_t *shape);

typedef struct {
    edit_t *edit;       /* on TAP only */
    dtype_t dtype;      /* how all taps are stored: DTYPE_F64 or DTYPE_F32 */
    bool drop;          /* TAP is left out */
    const char *rename; /* TAP under this name */
    const char *extra;  /* a further tap of that name */
    size_t only;        /* > 0: so many taps, then no more */
} made_t;

static void put(st_writer_t *w, const char *name, dtype_t dtype, shape_t shape, const double *x) {
    err_t err;
    size_t count = shape_count(shape);
    float *narrow = fixture_bytes((count + 1) * sizeof *narrow);
    for (size_t i = 0; i < count; i++) narrow[i] = (float)x[i];
    const void *data = dtype == DTYPE_F64 ? (const void *)x : narrow;
    if (st_writer_add(w, name, dtype, shape, data, &err)) fail_msg("%s", err.text);
}

static void make(const char *path, made_t made) {
    err_t err;
    st_writer_t *w;
    if (made.dtype != DTYPE_F32) made.dtype = DTYPE_F64;
    assert_int_equal(st_writer_open(&w, path, &err), 0);
    size_t taps = made.only ? made.only : golden.taps;
    for (size_t i = 0; i < taps; i++) {
        const golden_tap_t *t = &golden.tap[i];
        bool here = strcmp(t->name, TAP) == 0;
        shape_t shape = t->shape;
        double *x = fixture_bytes(2 * shape_count(shape) * sizeof *x);
        dtype_to_double(x, t->truth->data, DTYPE_F64, shape_count(shape));
        if (here && made.drop) continue;
        if (here && made.edit) made.edit(x, &shape);
        put(w, here && made.rename ? made.rename : t->name, made.dtype, shape, x);
    }
    double one = 1;
    if (made.extra) put(w, made.extra, made.dtype, SHAPE1(1), &one);
    if (st_writer_finish(w, &err)) fail_msg("%s", err.text);
    fixture_free(NULL);
}

/* ---- running the program -------------------------------------------------- */

static int compare(const char *first, const char *options) {
    const char *mole = getenv("MOLE");
    char command[2048];
    assert_non_null(mole);
    snprintf(command, sizeof command, "%s compare %s %s %s 2>&1", mole, options, first, candidate);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    size_t used = fread(output, 1, sizeof output - 1, pipe);
    output[used] = '\0';
    int status = pclose(pipe);
    if (!WIFEXITED(status)) fail_msg("%s ended by a signal:\n%s", command, output);
    return WEXITSTATUS(status);
}

static void expect(int code, const char *text, const char *first, const char *options) {
    int found = compare(first, options);
    if (found != code) fail_msg("exit code %d, expected %d:\n%s", found, code, output);
    if (text && !strstr(output, text)) fail_msg("'%s' is not in:\n%s", text, output);
}

/* ---- edits -------------------------------------------------- */

static void one_nan(double *x, shape_t *shape) {
    (void)shape;
    x[5] = NAN;
}
static void one_inf(double *x, shape_t *shape) {
    (void)shape;
    x[5] = INFINITY;
}
static void minus_inf(double *x, shape_t *shape) {
    (void)shape;
    x[5] = -INFINITY;
}
static void spike(double *x, shape_t *shape) {
    (void)shape;
    x[17] += 1e-3;
}
static void tiny_spike(double *x, shape_t *shape) {
    (void)shape;
    x[17] += 1e-8;
}
static void gain(double *x, shape_t *shape) {
    for (size_t i = 0; i < shape_count(*shape); i++) x[i] *= 1.001;
}
static void zeros(double *x, shape_t *shape) {
    memset(x, 0, shape_count(*shape) * sizeof *x);
}
static void ones(double *x, shape_t *shape) {
    for (size_t i = 0; i < shape_count(*shape); i++) x[i] = 1;
}
static void flat(double *x, shape_t *shape) {
    (void)x;
    *shape = SHAPE1(shape_count(*shape));
}
static void fewer(double *x, shape_t *shape) {
    (void)x;
    shape->dim[1] /= 2;
}
static void more(double *x, shape_t *shape) {
    memcpy(x + shape_count(*shape), x, shape_count(*shape) * sizeof *x);
    shape->dim[0] *= 2;
}
static void nothing(double *x, shape_t *shape) {
    (void)x;
    shape->dim[0] = 0;
}
static void nhwc(double *x, shape_t *shape) {
    size_t C = shape->dim[1], P = shape->dim[2] * shape->dim[3];
    double *copy = fixture_bytes(C * P * sizeof *copy);
    memcpy(copy, x, C * P * sizeof *x);
    for (size_t c = 0; c < C; c++)
        for (size_t p = 0; p < P; p++) x[p * C + c] = copy[c * P + p];
}
static void round_to(double *x, shape_t shape, int bits) {
    for (size_t i = 0; i < shape_count(shape); i++) {
        int e;
        double m = frexp(x[i], &e);
        x[i] = ldexp(nearbyint(ldexp(m, bits)), e - bits);
    }
}
static void to_f16_like(double *x, shape_t *shape) {
    round_to(x, *shape, 11);
}
static void to_bf16_like(double *x, shape_t *shape) {
    round_to(x, *shape, 8);
}
static void minus_zero(double *x, shape_t *shape) {
    zeros(x, shape);
    for (size_t i = 0; i < shape_count(*shape); i += 2) x[i] = -0.0;
}
static void denormal(double *x, shape_t *shape) {
    for (size_t i = 0; i < shape_count(*shape); i++) x[i] = (double)(i + 1) * DBL_MIN * 0x1p-30;
}
static void twice_denormal(double *x, shape_t *shape) {
    denormal(x, shape);
    for (size_t i = 0; i < shape_count(*shape); i++) x[i] *= 2;
}

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
    static edit_t *const edits[] = {flat, fewer, more, nothing};
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
    make(candidate, (made_t){.edit = gain});
    expect(0, NULL, CASE, "--limit 1e15 --no-isolate");
    expect(1, "provable bound", CASE, "--limit 1e15"); /* proof needs no limit */
    make(candidate, (made_t){.edit = to_f16_like});
    expect(0, "f16", CASE, "--budget f16");
    expect(1, TAP, CASE, "--budget f32");
    make(candidate, (made_t){.edit = to_bf16_like});
    expect(0, "bf16", CASE, "--budget bf16 --limit 1");
    expect(1, TAP, CASE, "--budget f16 --limit 1");
    make(candidate, (made_t){.edit = to_f16_like});
    expect(0, "f16", CASE, "--budget f16 --limit 1");
    expect(2, "budget", CASE, "--budget f8");
    expect(2, "limit", CASE, "--limit -1");
    expect(2, "limit", CASE, "--limit 0"); /* not the default in disguise */
}

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
    for (size_t i = 0; i < 4; i++) {
        make_zeros(candidate, 1, dtypes[i]);
        expect(1, names[i], CASE, "");
    }
}

static void empty_reference_is_no_verdict(void **state) {
    (void)state;
    make(candidate, (made_t){0});
    make_zeros(reference, 0, DTYPE_F64);
    expect(3, "no taps to compare with", reference, "");
}

/* rms error of 300 units of the tensor's rms, in float32: neither innocent nor beyond doubt. */
static void between(double *x, shape_t *shape) {
    for (size_t i = 0; i < shape_count(*shape); i++) x[i] *= 1 + 300 * 0x1p-24;
}
static void beyond_doubt(double *x, shape_t *shape) {
    for (size_t i = 0; i < shape_count(*shape); i++) x[i] *= 1 + 3000 * 0x1p-24;
}
/* Of half precision 2048 units are all of a number. */
static void by_a_tenth(double *x, shape_t *shape) {
    for (size_t i = 0; i < shape_count(*shape); i++) x[i] *= 1.1;
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
    make(candidate, (made_t){.edit = flat});
    expect(1, NULL, reference, "");
    assert_null(strstr(output, "\nnote")); /* one other shape is a mistake in a layer */
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
        fixture_test(truth_agrees),
        fixture_test(wrong_numbers_differ),
        fixture_test(not_finite_differs),
        fixture_test(wrong_shapes_differ),
        fixture_test(float32_hides_what_float64_shows),
        fixture_test(missing_is_stated),
        fixture_test(extra_is_listed),
        fixture_test(nothing_in_common_is_no_verdict),
        fixture_test(names_are_mapped),
        fixture_test(filter_chooses),
        fixture_test(limit_and_budget_decide),
        fixture_test(same_special_numbers_agree),
        fixture_test(trace_with_itself_agrees),
        fixture_test(peer_is_the_measure),
        fixture_test(a_guess_leaves_doubt),
        fixture_test(dtype_is_the_precision),
        fixture_test(empty_reference_is_no_verdict),
        fixture_test(every_piece_counts),
        fixture_test(wholes_are_noted),
        fixture_test(runs_of_other_lengths_are_noted),
        fixture_test(peer_of_another_shape_is_none),
        fixture_test(unreadable_input_is_no_verdict),
    };
    return cmocka_run_group_tests(tests, open_case, close_case);
}
