/* Figures of a tensor against NumPy's and against plain sums, at the ends of the number range, in pieces. */
#include <float.h>
#include <math.h>

#include "../fixture.h"
#include "trace/tally.h"

static tally_t tally_of(const double *x, size_t count, size_t piece) {
    tally_state_t state = {0};
    for (size_t at = 0; at < count; at += piece)
        tally_add(&state, x + at, count - at < piece ? count - at : piece);
    return tally_result(&state);
}

static void near(double got, double truth, const char *what) {
    if (!(fabs(got - truth) <= 8 * DBL_EPSILON * fabs(truth)))
        fail_msg("%s: %.17g, not %.17g", what, got, truth);
}

static void figures(const tally_t *t, double mean, double deviation, double norm) {
    near(t->mean, mean, "mean");
    near(t->deviation, deviation, "deviation");
    near(t->norm, norm, "norm");
}

/* numpy.mean, std and linalg.norm of the finite ones. */
static void by_numpy(void **state) {
    (void)state;
    const double x[] = {3, -1.5, NAN, 0.25, INFINITY, 7, 0, -INFINITY, -2};
    for (size_t piece = 1; piece <= 9; piece++) {
        tally_t t = tally_of(x, 9, piece);
        figures(&t, 1.125, 3.074593469062211, 8.01950746617272);
        assert_true(t.min == -2 && t.max == 7);
        assert_true(t.count == 9 && t.nan == 1 && t.inf == 2 && t.zeros == 1);
        assert_int_equal(tally_finite(&t), 6);
    }
}

/* A small spread far from 0, where the mean of squares less the square of the mean has no digit left. */
static void far_from_zero(void **state) {
    (void)state;
    enum { N = 10000 };
    double *x = fixture_random(N, 5, 1), sum = 0, squares = 0;
    for (size_t i = 0; i < N; i++) sum += x[i] = ldexp(round(ldexp(x[i], 20)), -20);
    double mean = sum / N;
    for (size_t i = 0; i < N; i++) squares += (x[i] - mean) * (x[i] - mean);
    for (size_t i = 0; i < N; i++) x[i] += 0x1p30; /* exact: 50 bits */
    for (size_t piece = 999; piece <= N; piece += 9001) {
        tally_t t = tally_of(x, N, piece);
        near(t.mean, mean + 0x1p30, "mean");
        if (fabs(t.deviation - sqrt(squares / N)) > 1e-9) fail_msg("deviation %.17g", t.deviation);
    }
}

/* Squares of these numbers are beyond every double. */
static void ends_of_the_range(void **state) {
    (void)state;
    const double large[] = {DBL_MAX, -DBL_MAX, DBL_MAX, -DBL_MAX}, small[] = {5e-324, 5e-324},
                 both[] = {0, 1e-300, 3e200, -3e200}, zeros[] = {0, -0.0, 0};
    for (size_t piece = 1; piece <= 4; piece++) {
        tally_t t = tally_of(large, 4, piece);
        assert_true(t.mean == 0 && t.deviation == DBL_MAX && isinf(t.norm));
        t = tally_of(small, 2, piece);
        assert_true(t.mean == 5e-324 && t.deviation == 0 && t.min == 5e-324);
        t = tally_of(both, 4, piece);
        near(t.deviation, 3e200 / sqrt(2), "deviation");
        near(t.norm, 3e200 * sqrt(2), "norm");
        t = tally_of(zeros, 3, piece);
        assert_true(t.mean == 0 && t.deviation == 0 && t.norm == 0 && t.zeros == 3);
    }
    const double growing[] = {1e-300, 1e-200, 1e-100, 1, 1e100};
    tally_t t = tally_of(growing, 5, 1);
    figures(&t, 2e99, 4e99, 1e100);
}

static void nothing(void **state) {
    (void)state;
    const double x[] = {NAN, INFINITY};
    for (size_t n = 0; n <= 2; n++) {
        tally_t t = tally_of(x, n, 1);
        assert_int_equal(tally_finite(&t), 0);
        assert_true(isnan(t.min) && isnan(t.max) && isnan(t.mean) && isnan(t.deviation));
    }
}

static void histograms(void **state) {
    (void)state;
    histogram_t h = {.low = -8, .high = 8};
    const double x[] = {-8, -7.5, -7, 0, 7, 7.999, 8, NAN, -INFINITY};
    histogram_add(&h, x, 9);
    for (size_t i = 0; i < HISTOGRAM_BINS; i++)
        assert_int_equal(h.bin[i], i == 0 ? 2 : i == 1 || i == 8 ? 1 : i == 15 ? 3 : 0);
    for (size_t i = 0; i <= HISTOGRAM_BINS; i++)
        assert_true(histogram_edge(&h, i) == -8 + (double)i);
    histogram_t wide = {.low = -DBL_MAX, .high = DBL_MAX}, one = {.low = 3, .high = 3};
    const double ends[] = {-DBL_MAX, 0, DBL_MAX}, threes[] = {3, 3};
    histogram_add(&wide, ends, 3);
    assert_true(wide.bin[0] == 1 && wide.bin[8] == 1 && wide.bin[15] == 1);
    histogram_add(&one, threes, 2);
    assert_int_equal(one.bin[0], 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        fixture_test(by_numpy), fixture_test(far_from_zero), fixture_test(ends_of_the_range),
        fixture_test(nothing),  fixture_test(histograms),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
