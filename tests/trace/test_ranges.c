/* test_ranges.c - the edges of f16 and bf16, sums of squares that overflow, pieces, and the command. */
#define _XOPEN_SOURCE 700 /* popen */
#include <float.h>
#include <jansson.h>
#include <math.h>
#include <unistd.h>

#include "../compare/mole_says.h"
#include "../scratch.h"
#include "../unit.h"
#include "trace/ranges.h"
#include "trace_fixture.h"

static range_t range_of(const double *x, size_t count) {
    range_state_t state = {.large = 0};
    range_add(&state, x, count);
    return range_result(&state);
}

static bool close_to(double x, double truth) {
    return fabs(x - truth) <= 4 * DBL_EPSILON * fabs(truth);
}

/* ---- one number at a time: what each format makes of it -------------------------------------- */

static void edges(void **state) {
    (void)state;
    const struct {
        double x;
        size_t f16_beyond, f16_below, f16_lost, bf16_beyond, bf16_below, bf16_lost;
    } cases[] = {
        {1, 0, 0, 0, 0, 0, 0},
        {65504, 0, 0, 0, 0, 0, 0},
        {65504.000001, 1, 0, 0, 0, 0, 0},
        {0x1.fep127, 1, 0, 0, 0, 0, 0},
        {0x1.fe0001p127, 1, 0, 0, 1, 0, 0},
        {0x1p-14, 0, 0, 0, 0, 0, 0},
        {0x1.fffffp-15, 0, 1, 0, 0, 0, 0},
        {0x1p-24, 0, 1, 0, 0, 0, 0},
        {0x1.00001p-25, 0, 1, 0, 0, 0, 0},
        {0x1p-25, 0, 1, 1, 0, 0, 0},
        {0x1p-126, 0, 1, 1, 0, 0, 0},
        {0x1.fffffp-127, 0, 1, 1, 0, 1, 0},
        {0x1.00001p-134, 0, 1, 1, 0, 1, 0},
        {0x1p-134, 0, 1, 1, 0, 1, 1},
        {0x1p-1074, 0, 1, 1, 0, 1, 1},
        {DBL_MAX, 1, 0, 0, 1, 0, 0},
        {0, 0, 0, 0, 0, 0, 0},
        {INFINITY, 0, 0, 0, 0, 0, 0}, /* counted as Inf alone */
        {NAN, 0, 0, 0, 0, 0, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        for (int sign = 0; sign < 2; sign++) {
            double x = sign ? -cases[i].x : cases[i].x;
            range_t r = range_of(&x, 1);
            if (r.f16.beyond != cases[i].f16_beyond || r.f16.below != cases[i].f16_below ||
                r.f16.lost != cases[i].f16_lost || r.bf16.beyond != cases[i].bf16_beyond ||
                r.bf16.below != cases[i].bf16_below || r.bf16.lost != cases[i].bf16_lost)
                fail_msg("%a is told wrong", x);
            bool finite = isfinite(x);
            assert_true(r.count == 1 && r.zeros == (x == 0));
            assert_true(r.nan == (size_t)(isnan(x) != 0) && r.inf == (size_t)(isinf(x) != 0));
            assert_true(r.max_abs == (finite ? fabs(x) : 0));
            assert_true(r.min_abs == (finite ? fabs(x) : 0));
            assert_true(close_to(r.rms, finite ? fabs(x) : 0));
        }
}

static void figures(void **state) {
    (void)state;
    const double x[] = {3, -4, 0, NAN, INFINITY, -INFINITY, -0.0, 0x1p-20, 70000};
    range_t r = range_of(x, 9);
    assert_true(r.count == 9 && r.nan == 1 && r.inf == 2 && r.zeros == 2);
    assert_true(r.max_abs == 70000 && r.min_abs == 0x1p-20);
    assert_true(r.f16.beyond == 1 && r.f16.below == 1 && r.f16.lost == 0);
    assert_true(close_to(r.rms, sqrt((9 + 16 + 0x1p-40 + 4.9e9) / 6)));
    range_t nothing = range_of(NULL, 0);
    assert_true(nothing.count == 0 && nothing.rms == 0 && nothing.max_abs == 0);
    const double none[] = {NAN, INFINITY};
    nothing = range_of(none, 2);
    assert_true(nothing.rms == 0 && nothing.max_abs == 0 && nothing.min_abs == 0);
}

/* Squares of all of these overflow or vanish in float64. */
static void far_out(void **state) {
    (void)state;
    const double large[] = {3e200, 4e200}, huge[] = {DBL_MAX, -DBL_MAX, DBL_MAX},
                 small[] = {3e-200, 4e-200}, tiny[] = {0x1p-1074, 0x1p-1074},
                 mixed[] = {3e200, 4e-200, 5}, low[] = {3, 4e-200, 1e-300},
                 edge[] = {0x1p480, 0x1.0000001p480, 0x1.0000001p480, 0x1p480},
                 beside[] = {0x1.8p480, 0x1p480}, under[] = {0x1.8p-481, 0x1p-480};
    for (int i = 1; i < 1000; i++) { /* no rounding carries rms above the largest */
        const double equal[] = {i / 7., -i / 7., i / 7.};
        assert_true(range_of(equal, 3).rms <= i / 7.);
    }
    assert_true(close_to(range_of(large, 2).rms, 5e200 / sqrt(2)));
    assert_true(range_of(huge, 3).rms <= DBL_MAX && close_to(range_of(huge, 3).rms, DBL_MAX));
    assert_true(close_to(range_of(small, 2).rms, 5e-200 / sqrt(2)));
    assert_true(range_of(tiny, 2).rms == 0x1p-1074);
    assert_true(close_to(range_of(mixed, 3).rms, 3e200 / sqrt(3)));
    assert_true(close_to(range_of(low, 3).rms, sqrt(3.0)));
    assert_true(close_to(range_of(edge, 4).rms, 0x1.00000008p480));
    assert_true(close_to(range_of(beside, 2).rms, 0x1p480 * sqrt(3.25 / 2)));
    assert_true(close_to(range_of(under, 2).rms, 0x1p-480 * sqrt(1.5625 / 2)));
}

/* Pieces of any size give the same counts and extremes, and the same rms but for the last bits. */
static void pieces(void **state) {
    (void)state;
    enum { COUNT = 10000 };
    double *x = xmalloc(COUNT * sizeof *x), sum = 0;
    uint64_t random = 88172645463325252u;
    for (size_t i = 0; i < COUNT; i++) {
        random ^= random << 13, random ^= random >> 7, random ^= random << 17;
        x[i] = ldexp((double)(random >> 11) * 0x1p-53 - 0.5, (int)(random % 60) - 40);
        sum += x[i] * x[i];
    }
    range_t whole = range_of(x, COUNT);
    assert_true(fabs(whole.rms - sqrt(sum / COUNT)) < 1e-13 * whole.rms);
    assert_true(whole.f16.beyond > 100 && whole.f16.below > 100 && whole.f16.lost > 100);
    const size_t sizes[] = {1, 7, 4096, 9999};
    for (size_t s = 0; s < 4; s++) {
        range_state_t part = {.large = 0};
        for (size_t at = 0; at < COUNT; at += sizes[s])
            range_add(&part, x + at, sizes[s] < COUNT - at ? sizes[s] : COUNT - at);
        range_t r = range_result(&part);
        assert_true(fabs(r.rms - whole.rms) < 1e-13 * whole.rms);
        r.rms = whole.rms;
        assert_memory_equal(&r, &whole, sizeof r);
    }
    free(x);
}

/* ---- traces ---------------------------------------------------------------------------------- */

enum { LONG = 150000 }; /* more than two pieces of 64 Ki */

static const char *write_trace(format_t format) {
    static float data[LONG], nothing[3];
    static const float square[4] = {256, -255, 1, 2}, lost[2] = {1e-10f, 1};
    static const double brain[2] = {4e38, 1e-41};
    for (size_t i = 0; i < LONG; i++) data[i] = i < 65536 ? 1 : 2;
    data[0] = -66000, data[65536] = INFINITY, data[131072] = NAN, data[LONG - 1] = 90000;
    const fixture_tensor_t tensors[] = {
        {"fine", DTYPE_F32, SHAPE2(1, 3), nothing, false},
        {"unet.<long>", DTYPE_F32, SHAPE2(2, LONG / 2), data, false},
        {"square", DTYPE_F32, SHAPE1(4), square, false},
        {"lost", DTYPE_F32, SHAPE1(2), lost, false},
        {"brain", DTYPE_F64, SHAPE1(2), brain, false},
        {"empty", DTYPE_F64, SHAPE2(0, 2), brain, false},
    };
    return fixture_trace("ranges", format, tensors, 6);
}

static void of_traces(void **state) {
    (void)state;
    for (int f = 0; f < TRACE_FORMATS; f++) {
        err_t err;
        trace_file_t *trace;
        ranges_t ranges;
        if (trace_file_open(&trace, write_trace((format_t)f), &err) != 0) fail_msg("%s", err.text);
        if (ranges_of_trace(&ranges, trace, &err) != 0) fail_msg("%s", err.text);
        const range_t *r = &ranges.tap[1];
        assert_true(r->count == LONG && r->nan == 1 && r->inf == 1 && r->zeros == 0);
        assert_true(r->max_abs == 90000 && r->min_abs == 1 && r->f16.beyond == 2);
        double sum = 66000. * 66000 + 65535 + 4. * (LONG - 65536 - 3) + 90000. * 90000;
        assert_true(close_to(r->rms, sqrt(sum / (LONG - 2))));
        assert_true(ranges.tap[0].zeros == 3 && ranges.tap[5].count == 0);
        const range_summary_t *s = &ranges.summary;
        assert_true(s->taps == 6 && s->not_finite == 1 && s->beyond_f16 == 2);
        assert_true(s->square_f16 == 3 && s->lost_f16 == 2);
        assert_true(s->beyond_bf16 == 1 && s->lost_bf16 == 1 && s->largest == 4);
        assert_true(close_to(s->headroom, 65504 / 4e38));
        ranges_free(&ranges);
        trace_file_close(trace);
    }
}

static void refused(void **state) {
    (void)state;
    err_t err = {""};
    trace_file_t *trace;
    ranges_t ranges;
    const char *path = fixture_trace("empty", SAFETENSORS, NULL, 0);
    assert_int_equal(trace_file_open(&trace, path, &err), 0);
    assert_int_equal(ranges_of_trace(&ranges, trace, &err), -1);
    assert_message(&err, "empty.safetensors", "holds no tensors", NULL);
    trace_file_close(trace);
    const float numbers[6] = {0};
    const fixture_tensor_t tensor = {"x", DTYPE_F32, SHAPE1(6), numbers, false};
    path = fixture_trace("gone", NPY_CSV, &tensor, 1);
    assert_int_equal(trace_file_open(&trace, path, &err), 0);
    assert_int_equal(unlink(scratch_path("gone-csv/001.npy")), 0);
    assert_int_equal(ranges_of_trace(&ranges, trace, &err), -1);
    assert_null(ranges.tap);
    assert_message(&err, "001.npy", "cannot open", NULL);
    trace_file_close(trace);
}

/* ---- mole inspect --ranges ------------------------------------------------------------------- */

static void said(const char *text) {
    if (!strstr(output, text)) fail_msg("'%s' is not in:\n%s", text, output);
}

static void command_text(void **state) {
    (void)state;
    char arguments[512];
    snprintf(arguments, sizeof arguments, "--ranges %s", write_trace(NPZ_DEFLATED));
    if (mole_says("inspect %s", arguments) != 0) fail_msg("%s", output);
    said(" 9.000e+04 ");
    said("  <0.01%       .       .       .       .      1      1    150000  unet.<long>\n");
    said("      .  50.00%  50.00%       .       .      .      .         2  lost\n");
    said(" 50.00%  50.00%  50.00%  50.00%  50.00%      .      .         2  brain\n");
    said(": 6 taps\n");
    said("2 taps, in the order of execution:\n    9.000e+04  unet.<long>\n    4.000e+38  brain\n");
    said("|x| = 4e+38 (65504 is 1.64e-34 times that): brain\n");
    said("a square overflows f16 (|x| > 255.9): 3 taps");
    said("(<= 2^-25):   2 taps\n");
    said("in bf16:   1, 1 taps\n");
    said("already:                   1 taps\n");
}

static void command_json(void **state) {
    (void)state;
    char arguments[512];
    json_error_t where;
    snprintf(arguments, sizeof arguments, "--json --ranges %s", write_trace(NPY_CSV));
    if (mole_says("inspect %s", arguments) != 0) fail_msg("%s", output);
    json_t *all = json_loads(output, JSON_REJECT_DUPLICATES, &where);
    if (!all) fail_msg("%s in:\n%s", where.text, output);
    const char *largest, *tap, *dtype;
    json_int_t taps, beyond, square, lost, numbers, nan, inf, zeros, low, high, width;
    double headroom, max_abs, rms, min_abs;
    json_t *list;
    assert_int_equal(json_unpack_ex(all, &where, 0, "{s:I, s:{s:I, s:I, s:I, s:s, s:F}, s:o}",
                                    "taps", &taps, "summary", "beyond_f16", &beyond,
                                    "square_beyond_f16", &square, "lost_in_f16", &lost, "largest",
                                    &largest, "headroom_f16", &headroom, "ranges", &list),
                     0);
    assert_true(taps == 6 && beyond == 2 && square == 3 && lost == 2);
    assert_string_equal(largest, "brain");
    assert_true(close_to(headroom, 65504 / 4e38));
    assert_int_equal(json_array_size(list), 6);
    assert_int_equal(
        json_unpack_ex(json_array_get(list, 1), &where, 0,
                       "{s:s, s:s, s:[I, I], s:I, s:F, s:F, s:F, s:I, s:I, s:I, s:{s:I}}", "tap",
                       &tap, "dtype", &dtype, "shape", &high, &width, "numbers", &numbers,
                       "max_abs", &max_abs, "rms", &rms, "min_abs", &min_abs, "nan", &nan, "inf",
                       &inf, "zeros", &zeros, "f16", "beyond", &low),
        0);
    assert_string_equal(tap, "unet.<long>");
    assert_string_equal(dtype, "F32");
    assert_true(high == 2 && width == LONG / 2 && numbers == LONG);
    assert_true(max_abs == 90000 && min_abs == 1 && rms > 200 && rms < 300);
    assert_true(nan == 1 && inf == 1 && zeros == 0 && low == 2);
    json_decref(all);
}

static void command_refusals(void **state) {
    (void)state;
    char arguments[512];
    assert_int_equal(mole_says("inspect --ranges"), 2);
    said("--ranges takes one trace");
    assert_int_equal(mole_says("inspect --ranges a b"), 2);
    assert_int_equal(mole_says("inspect --ranges --model x a"), 2);
    snprintf(arguments, sizeof arguments, "--ranges %s", scratch_path("nothing.npz"));
    assert_int_equal(mole_says("inspect %s", arguments), 3);
    said("nothing.npz: cannot open");
    snprintf(arguments, sizeof arguments, "--ranges %s",
             fixture_trace("none", SAFETENSORS, NULL, 0));
    assert_int_equal(mole_says("inspect %s", arguments), 3);
    said("holds no tensors");
    const float zeros[2] = {0, 0};
    const fixture_tensor_t tensor = {"zeros", DTYPE_F32, SHAPE1(2), zeros, false};
    snprintf(arguments, sizeof arguments, "--ranges --json %s",
             fixture_trace("zeros", SAFETENSORS, &tensor, 1));
    assert_int_equal(mole_says("inspect %s", arguments), 0);
    said("\"headroom_f16\": null");
}

#define fresh(f) cmocka_unit_test_setup_teardown(f, scratch_setup, scratch_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(edges),  cmocka_unit_test(figures), cmocka_unit_test(far_out),
        cmocka_unit_test(pieces), fresh(of_traces),          fresh(refused),
        fresh(command_text),      fresh(command_json),       fresh(command_refusals),
    };
    return cmocka_run_group_tests_name("ranges", tests, NULL, NULL);
}
