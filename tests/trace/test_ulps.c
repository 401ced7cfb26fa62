/* The histogram of last places, against distances by frexp and ldexp, number by number. */
#include <float.h>
#include <math.h>

#include "../fixture.h"
#include "trace/ulps.h"

static double p99(double candidate, double truth, double unit) {
    ulps_t h = {0};
    ulps_add(&h, &candidate, &truth, 1, unit);
    return ulps_p99(&h);
}

/* A single pair's percentile is the upper edge of its bucket: at most 2^(1/16) above the distance. */
static void check(double candidate, double truth, double unit) {
    int e = -126;
    if (candidate == truth) return; /* rounded away */
    if (truth != 0) frexp(truth, &e);
    double distance = ldexp(fabs(candidate - truth), -e) / unit,
           found = p99(candidate, truth, unit);
    if (distance < 0x1p-8) distance = 0x1p-8;
    if (distance > 0x1p56) distance = 0x1p56;
    if (!(found >= distance * (1 - 1e-12) && found <= distance * 1.0443))
        fail_msg("%a for %a: %.17g, expected %.17g to 2^(1/16) times that", candidate, truth, found,
                 distance);
}

static void every_size(void **state) {
    (void)state;
    static const double units[] = {0x1p-53, 0x1p-24, 0x1p-11, 0x1p-8};
    double *x = fixture_random(400, 1, 1);
    for (size_t i = 0; i < 100; i++)
        for (size_t u = 0; u < 4; u++)
            for (int scale = -1040; scale <= 1020; scale += 103) {
                double truth = ldexp(x[i], scale);
                check(truth + ldexp(x[i + 100], scale - 10), truth, units[u]);
                check(truth * (1 + units[u]), truth, units[u]);
            }
    check(1e-30, 0, 0x1p-24);
    check(1, 0, 0x1p-24);
    check(2, 1, 0x1p-24); /* a power of two is the lower end of its octave */
    check(0, DBL_MIN, 0x1p-53);
    check(DBL_MIN, DBL_MIN / 3, 0x1p-53);
    check(DBL_MAX, DBL_MAX / 2, 0x1p-53);
}

static void no_error_is_none(void **state) {
    (void)state;
    assert_true(p99(1, 1, 0x1p-24) == 0);
    assert_true(p99(0, -0.0, 0x1p-24) == 0);
}

/* One in a hundred may be as far off as it likes; what is not finite is not counted. */
static void percentile(void **state) {
    (void)state;
    enum { N = 200 };
    double truth[N], candidate[N];
    ulps_t h = {0};
    for (size_t i = 0; i < N; i++) truth[i] = 1, candidate[i] = 1 + 0x1p-22; /* half an octave up */
    candidate[3] = candidate[4] = 2;
    ulps_add(&h, candidate, truth, N, 0x1p-24);
    assert_true(ulps_p99(&h) >= 2 && ulps_p99(&h) < 2.1); /* u 2^1 is a unit in [1,2) */
    candidate[0] = INFINITY, candidate[1] = NAN;
    ulps_add(&h, candidate, truth, 2, 0x1p-24);
    assert_int_equal(h.count, N);
    candidate[0] = 2;
    ulps_add(&h, candidate, truth, 1, 0x1p-24);
    assert_true(ulps_p99(&h) > 1e6);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        fixture_test(every_size),
        fixture_test(no_error_is_none),
        fixture_test(percentile),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
