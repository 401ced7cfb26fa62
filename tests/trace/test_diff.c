/* test_diff.c - the comparator against figures worked out by hand.
 *
 * A comparator that forgives is worse than none: most cases here are ways in which one could. */
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "../fixture.h"
#include "trace/diff.h"

#define COUNT(a)               (sizeof(a) / sizeof(a)[0])
#define DIFF(candidate, truth) diff_tensors(candidate, truth, COUNT(truth))

/* NaN is close to nothing. */
static void check_close(double got, double expected, double tolerance, const char *what) {
    if (got == expected) return;
    if (!(fabs(got - expected) <= tolerance * fabs(expected)))
        fail_msg("%s: %.17g, expected %.17g", what, got, expected);
}

static void by_hand(void **state) {
    const double truth[] = {3, -4, 0, 12}, candidate[] = {3, -4.5, 0.25, 12};
    diff_t d = DIFF(candidate, truth);
    (void)state;
    assert_int_equal(d.count, 4);
    assert_int_equal(d.worst, 1);
    check_close(d.max_abs, 0.5, 0, "max_abs");
    check_close(d.candidate_at, -4.5, 0, "candidate_at");
    check_close(d.truth_at, -4, 0, "truth_at");
    check_close(d.rms, sqrt((0.25 + 0.0625) / 4), 1e-15, "rms");
    check_close(d.truth_max, 12, 0, "truth_max");
    check_close(d.truth_rms, 6.5, 1e-15, "truth_rms"); /* 9 + 16 + 144 = 169 = 13^2 */
    check_close(d.storage_floor, 0, 0, "storage_floor");
    check_close(d.cosine, (9 + 18 + 144) / (13 * sqrt(9 + 20.25 + 0.0625 + 144)), 1e-15, "cosine");
    check_close(diff_relative(&d), 0.5 / 12, 1e-15, "relative");
    check_close(diff_ratio(&d, 0.1), d.rms / 0.1, 1e-15, "ratio");
}

static void equal_tensors(void **state) {
    const double x[] = {1, -2, 1e-300, 5e300};
    diff_t d = DIFF(x, x);
    (void)state;
    check_close(d.max_abs, 0, 0, "max_abs");
    check_close(d.rms, 0, 0, "rms");
    check_close(d.cosine, 1, 1e-15, "cosine");
    check_close(diff_relative(&d), 0, 0, "relative");
    check_close(diff_ratio(&d, 0), 0, 0, "ratio 0/0");
    check_close(diff_ratio(&d, 1), 0, 0, "ratio");
}

static void empty(void **state) {
    const double none[1] = {NAN};
    diff_t d = diff_tensors(none, none, 0);
    (void)state;
    assert_int_equal(d.count, 0);
    check_close(d.max_abs + d.rms + d.truth_max + d.truth_rms + d.storage_floor, 0, 0, "all");
    check_close(d.cosine, 1, 0, "cosine");
    check_close(diff_relative(&d), 0, 0, "relative");
    check_close(diff_ratio(&d, 0), 0, 0, "ratio");
}

/* The worst element is found wherever it stands, and first when several are as bad. */
static void spikes(void **state) {
    enum { N = 1000 };
    double truth[N], candidate[N];
    (void)state;
    for (size_t i = 0; i < N; i++) truth[i] = sin((double)i);
    const size_t places[] = {0, 1, 499, N - 1};
    for (size_t p = 0; p < COUNT(places); p++) {
        memcpy(candidate, truth, sizeof truth);
        candidate[places[p]] -= 1e-9;
        diff_t d = diff_tensors(candidate, truth, N);
        assert_int_equal(d.worst, places[p]);
        check_close(d.max_abs, 1e-9, 1e-6, "max_abs");
        check_close(d.rms, 1e-9 / sqrt(N), 1e-6, "rms");
        if (places[p] + 1 < N) candidate[N - 1] = truth[N - 1] - d.max_abs / 2;
        assert_int_equal(diff_tensors(candidate, truth, N).worst, places[p]);
    }
    const double zeros[3] = {0, 0, 0}, twice[3] = {0, 2, -2};
    assert_int_equal(diff_tensors(twice, zeros, 3).worst, 1);
}

static void check_mismatch(const diff_t *d, size_t worst, size_t nan_candidate, size_t nan_truth,
                           size_t inf) {
    assert_int_equal(d->nan_candidate, nan_candidate);
    assert_int_equal(d->nan_truth, nan_truth);
    assert_int_equal(d->inf_mismatch, inf);
    assert_int_equal(d->worst, worst);
    assert_true(isinf(d->max_abs) && d->max_abs > 0);
    assert_true(isinf(d->rms) && d->rms > 0);
    assert_true(isinf(diff_relative(d)));
    assert_true(isinf(diff_ratio(d, 1e9)));
    check_close(d->cosine, 0, 0, "cosine");
}

static void nan_is_never_forgiven(void **state) {
    const double truth[] = {1, 2, 3}, with_nan[] = {1, NAN, 3}, spike[] = {100, NAN, 3};
    diff_t d = DIFF(with_nan, truth);
    (void)state;
    check_mismatch(&d, 1, 1, 0, 0);
    d = DIFF(truth, with_nan);
    check_mismatch(&d, 1, 0, 1, 0);
    check_close(d.truth_max, 3, 0, "truth_max"); /* of the finite ones */
    d = DIFF(with_nan, with_nan);                /* on both sides, in the same place */
    check_mismatch(&d, 1, 1, 1, 0);
    d = DIFF(spike, truth); /* a finite error, however large, does not hide the NaN */
    check_mismatch(&d, 1, 1, 0, 0);
    const double all[] = {NAN, NAN, NAN};
    d = DIFF(all, truth);
    check_mismatch(&d, 0, 3, 0, 0);
    const double negative_nan[] = {1, 2, -NAN};
    d = DIFF(negative_nan, truth);
    check_mismatch(&d, 2, 1, 0, 0);
}

static void infinities(void **state) {
    const double truth[] = {1, INFINITY, -INFINITY, 4};
    diff_t d = DIFF(truth, truth); /* equal Infs are equal */
    (void)state;
    check_close(d.max_abs, 0, 0, "max_abs");
    check_close(diff_relative(&d), 0, 0, "relative");
    check_close(d.truth_max, 4, 0, "truth_max");
    check_close(d.cosine, 1, 1e-15, "cosine");

    const double near[] = {1, INFINITY, -INFINITY, 4.5};
    d = DIFF(near, truth); /* and do not hide the rest */
    check_close(d.max_abs, 0.5, 0, "max_abs");
    check_close(d.rms, 0.5 / sqrt(2), 1e-15, "rms of the finite pairs");
    assert_int_equal(d.worst, 3);

    const double sign[] = {1, -INFINITY, -INFINITY, 4}, finite[] = {1, 2, -INFINITY, 4};
    d = DIFF(sign, truth);
    check_mismatch(&d, 1, 0, 0, 1);
    d = DIFF(finite, truth);
    check_mismatch(&d, 1, 0, 0, 1);
    d = DIFF(truth, finite);
    check_mismatch(&d, 1, 0, 0, 1);
    const double nan_for_inf[] = {1, NAN, -INFINITY, 4};
    d = DIFF(nan_for_inf, truth);
    check_mismatch(&d, 1, 1, 0, 0);
}

/* Of usual numbers and of others the figures are taken by different loops. An Inf that both hold makes others
 * of them and counts for nothing, so that both ways must say the same. */
static void both_ways_agree(void **state) {
    (void)state;
    enum { MOST = 70 };
    for (size_t n = 1; n <= MOST; n++) {
        double *truth = fixture_random(n + 1, n, 1),
               *candidate = fixture_random(n + 1, n + 100, 1e-3);
        for (size_t i = 0; i < n; i++) candidate[i] += truth[i];
        diff_t usual = diff_tensors(candidate, truth, n);
        truth[n] = candidate[n] = INFINITY;
        diff_t other = diff_tensors(candidate, truth, n + 1);
        assert_true(usual.max_abs == other.max_abs && usual.worst == other.worst);
        assert_true(usual.candidate_at == other.candidate_at && usual.truth_at == other.truth_at);
        assert_true(usual.truth_max == other.truth_max);
        check_close(usual.rms, other.rms, 1e-14, "rms");
        check_close(usual.truth_rms, other.truth_rms, 1e-14, "truth_rms");
        check_close(usual.candidate_rms, other.candidate_rms, 1e-14, "candidate_rms");
        check_close(usual.storage_floor, other.storage_floor, 1e-14, "storage_floor");
        check_close(usual.cosine, other.cosine, 1e-14, "cosine");
        fixture_free(NULL);
    }
}

static void zeros(void **state) {
    const double zero[] = {0, 0, 0}, minus[] = {-0.0, 0, -0.0}, one[] = {0, 1e-30, 0};
    diff_t d = DIFF(zero, zero);
    (void)state;
    check_close(d.cosine, 1, 0, "cosine of two zeros");
    d = DIFF(minus, zero);
    check_close(diff_relative(&d), 0, 0, "-0 is 0");
    d = DIFF(one, zero); /* a little noise where there should be none is infinitely much */
    assert_true(isinf(diff_relative(&d)));
    assert_true(isinf(diff_ratio(&d, 0)));
    check_close(d.cosine, 0, 0, "cosine with a zero truth");
    d = DIFF(zero, one);
    check_close(diff_relative(&d), 1, 0, "nothing where there should be something");
    check_close(d.cosine, 0, 0, "cosine with a zero candidate");
}

/* Squares that overflow or vanish must not make a difference so. */
static void extreme_sizes(void **state) {
    const double big[] = {1e200, -1e200}, bigger[] = {1.5e200, -1e200};
    diff_t d = DIFF(bigger, big);
    (void)state;
    check_close(d.rms, 0.5e200 / sqrt(2), 1e-14, "rms of big numbers");
    check_close(d.truth_rms, 1e200, 1e-14, "truth_rms of big numbers");
    check_close(d.cosine, 2.5 / (sqrt(2) * sqrt(3.25)), 1e-14, "cosine of big numbers");
    const double tiny[] = {1e-200, 0}, off[] = {1e-200, 3e-200};
    d = DIFF(off, tiny);
    check_close(d.rms, 3e-200 / sqrt(2), 1e-14, "rms of tiny numbers");
    check_close(diff_relative(&d), 3, 1e-14, "relative of tiny numbers");
    assert_true(isinf(diff_ratio(&d, 0)) || diff_ratio(&d, 0) > 1);
    const double top[] = {1.7e308}, bottom[] = {-1.7e308};
    d = DIFF(top, bottom); /* the difference itself overflows */
    assert_true(isinf(d.max_abs) && isinf(d.rms) && isinf(diff_relative(&d)));
    check_close(d.cosine, -1, 1e-15, "opposite");
}

static void storage_floor(void **state) {
    /* float32 has steps of 2^-23 in [1, 2): a quarter step is lost, three quarters become one. */
    const double truth[] = {1 + 0x1p-25, 1 + 3 * 0x1p-25, 1.5, -1 - 0x1p-25};
    diff_t d = DIFF(truth, truth);
    (void)state;
    check_close(d.storage_floor, 0x1p-25 * sqrt(3.0 / 4), 1e-14, "floor");
    const double half[] = {1 + 0x1p-24, 1 + 3 * 0x1p-24}; /* ties go to even: down, then up */
    check_close(DIFF(half, half).storage_floor, 0x1p-24, 1e-14, "floor of ties");
    const double subnormal[] = {0x1p-151}; /* a quarter of the smallest float32 */
    check_close(DIFF(subnormal, subnormal).storage_floor, 0x1p-151, 0, "floor below float32");
    const double huge[] = {1e300, 1 + 0x1p-25}; /* float32 has no 1e300: no part of the floor */
    check_close(DIFF(huge, huge).storage_floor, 0x1p-25 / sqrt(2), 1e-14, "floor beyond float32");

    const double off[] = {1 + 0x1p-24, 1 + 3 * 0x1p-25, 1.5, -1 - 0x1p-25};
    d = DIFF(off, truth); /* the floor is the unit where the peer claims less */
    check_close(diff_ratio(&d, 0), d.rms / d.storage_floor, 1e-15, "ratio at the floor");
    check_close(diff_ratio(&d, d.storage_floor / 2), d.rms / d.storage_floor, 1e-15, "peer below");
    check_close(diff_ratio(&d, 1), d.rms, 1e-15, "peer above");
}

static void check_text(const diff_t *d, shape_t shape, double tolerance, const char *expected) {
    char text[300];
    diff_describe(text, sizeof text, "unet.conv_in", shape, d, tolerance);
    assert_string_equal(text, expected);
}

static void describe(void **state) {
    double truth[120], candidate[120];
    (void)state;
    for (size_t i = 0; i < COUNT(truth); i++) truth[i] = candidate[i] = 0.25;
    diff_t d = DIFF(candidate, truth);
    shape_t shape = SHAPE4(2, 3, 4, 5);
    check_text(&d, shape, 1e-12,
               "unet.conv_in (2, 3, 4, 5): max 0 at [0,0,0,0] (0.25 for 0.25), rel rms 0, "
               "0% of 1e-12");
    candidate[60 + 20 * 2 + 5 * 3 + 1] += 0.5; /* [1,2,3,1] */
    d = DIFF(candidate, truth);
    check_text(&d, shape, 8,
               "unet.conv_in (2, 3, 4, 5): max 0.5 at [1,2,3,1] (0.75 for 0.25), rel rms 0.18, "
               "25% of 8");
    candidate[116] = 0.25 + 0x1p-40; /* numbers that six digits would show as equal */
    d = DIFF(candidate, truth);
    check_text(&d, shape, 1e-12,
               "unet.conv_in (2, 3, 4, 5): max 9.1e-13 at [1,2,3,1] (0.25000000000090949 for "
               "0.25), rel rms 3.3e-13, 364% of 1e-12");
    candidate[116] = 0.250001;
    d = DIFF(candidate, truth);
    check_text(&d, shape, 1,
               "unet.conv_in (2, 3, 4, 5): max 1e-06 at [1,2,3,1] (0.250001 for "
               "0.25), rel rms 3.7e-07, 0.0004% of 1");
    candidate[3] = NAN;
    candidate[4] = INFINITY;
    d = DIFF(candidate, truth);
    check_text(&d, shape, 1,
               "unet.conv_in (2, 3, 4, 5): 1 NaN, 0 NaN in the truth, 1 Inf differ, first at "
               "[0,0,0,3] (nan for 0.25)");
}

static void describe_corners(void **state) {
    const double one[] = {1}, two[] = {2}, zero[] = {0};
    diff_t d = DIFF(two, one);
    char small[8];
    (void)state;
    check_text(&d, SHAPE0(), 2, "unet.conv_in (): max 1 at [] (2 for 1), rel rms 1, 50% of 2");
    check_text(&d, SHAPE1(1), 0, "unet.conv_in (1): max 1 at [0] (2 for 1), rel rms 1, inf% of 0");
    d = DIFF(one, one);
    check_text(&d, SHAPE1(1), 0, "unet.conv_in (1): max 0 at [0] (1 for 1), rel rms 0, 0% of 0");
    d = DIFF(one, zero);
    check_text(&d, SHAPE1(1), 1,
               "unet.conv_in (1): max 1 at [0] (1 for 0), rel rms inf, inf% of 1");
    d = diff_tensors(one, one, 0);
    check_text(&d, SHAPE2(0, 3), 1, "unet.conv_in (0, 3): empty, nothing to compare");
    d = DIFF(two, one);
    diff_describe(small, sizeof small, "unet.conv_in", SHAPE1(1), &d, 1);
    assert_string_equal(small, "unet.co");
}

/* ---- in pieces ---------------------------------------------------------------------------------------- */

/* A tensor compared in three pieces of unlike length gives the figures of the whole. */
static void check_pieces(const double *candidate, const double *truth, size_t count) {
    const size_t cut[] = {0, count / 7, count / 2, count};
    diff_t whole = diff_tensors(candidate, truth, count), joined = diff_tensors(NULL, NULL, 0);
    for (size_t i = 0; i < 3; i++) {
        diff_t part = diff_tensors(candidate + cut[i], truth + cut[i], cut[i + 1] - cut[i]);
        diff_append(&joined, &part);
    }
    assert_int_equal(joined.count, whole.count);
    assert_int_equal(joined.worst, whole.worst);
    assert_int_equal(joined.nan_candidate, whole.nan_candidate);
    assert_int_equal(joined.nan_truth, whole.nan_truth);
    assert_int_equal(joined.inf_mismatch, whole.inf_mismatch);
    assert_memory_equal(&joined.candidate_at, &whole.candidate_at, sizeof whole.candidate_at);
    assert_memory_equal(&joined.truth_at, &whole.truth_at, sizeof whole.truth_at);
    const double got[] = {joined.max_abs,   joined.rms,           joined.truth_max,
                          joined.truth_rms, joined.storage_floor, joined.candidate_rms,
                          joined.cosine};
    const double expected[] = {whole.max_abs,   whole.rms,           whole.truth_max,
                               whole.truth_rms, whole.storage_floor, whole.candidate_rms,
                               whole.cosine};
    /* Figures of a tensor with a mismatch say how large the rest is; pieces weigh it by their length. */
    double tolerance = isinf(whole.rms) ? 1e-2 : 1e-12;
    for (size_t i = 0; i < COUNT(got); i++)
        if (isfinite(expected[i]))
            check_close(got[i], expected[i], tolerance, "piece");
        else
            assert_true(got[i] == expected[i]);
}

static void pieces_make_the_whole(void **state) {
    enum { N = 1000 };
    static const size_t places[] = {3, 300, 900};
    double truth[N], candidate[N];
    (void)state;
    for (size_t p = 0; p < COUNT(places); p++) {
        for (size_t i = 0; i < N; i++) {
            truth[i] = sin((double)i) * (i > 500 ? 5 : 1) + 0.1;
            candidate[i] = truth[i] + 1e-6 * cos(3.0 * (double)i) * (i < 200 ? 7 : 1);
        }
        check_pieces(candidate, truth, N);
        candidate[places[p]] += 1e-3;
        check_pieces(candidate, truth, N);
        candidate[places[p]] = NAN;
        diff_t whole = diff_tensors(candidate, truth, N);
        assert_int_equal(whole.worst, places[p]);
        check_pieces(candidate, truth, N);
        candidate[places[p]] = INFINITY;
        check_pieces(candidate, truth, N);
        candidate[places[p]] = 0;
        truth[places[p]] = NAN;
        check_pieces(candidate, truth, N);
    }
    const double zeros[8] = {0}, late[8] = {0, 0, 0, 0, 0, 0, 0, 1};
    check_pieces(zeros, zeros, 8);
    check_pieces(late, zeros, 8);
    check_pieces(zeros, late, 8);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(by_hand),
        cmocka_unit_test(equal_tensors),
        cmocka_unit_test(empty),
        cmocka_unit_test(spikes),
        cmocka_unit_test(infinities),
        cmocka_unit_test(nan_is_never_forgiven),
        fixture_test(both_ways_agree),
        cmocka_unit_test(zeros),
        cmocka_unit_test(extreme_sizes),
        cmocka_unit_test(storage_floor),
        cmocka_unit_test(describe),
        cmocka_unit_test(describe_corners),
        cmocka_unit_test(pieces_make_the_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
