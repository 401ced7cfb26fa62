/* add, add_per_channel: the one rounded sum there is, in place and not, small and parallel. */
#include "../fixture.h"
#include "ops/ops.h"

static void add_is_one_rounded_sum(void **state) {
    static const size_t sizes[] = {1, 17, 70001};
    for (size_t i = 0; i < 3; i++) {
        size_t n = sizes[i];
        double *a = fixture_random(n, 1, 1), *b = fixture_random(n, 2, 100);
        real_t *ra = fixture_reals(a, n), *rb = fixture_reals(b, n), *out = fixture_blank(n);
        add(out, ra, rb, n);
        for (size_t j = 0; j < n; j++) assert_true(out[j] == (real_t)(a[j] + b[j]));
        add(ra, ra, rb, n);
        assert_memory_equal(ra, out, n * sizeof *out);
        ra = fixture_reals(a, n);
        add(rb, ra, rb, n);
        assert_memory_equal(rb, out, n * sizeof *out);
        fixture_free(state);
    }
}

static void add_per_channel_shifts_whole_channels(void **state) {
    static const size_t sizes[][3] = {
        {1, 1, 1}, {2, 35, 6}, {3, 1, 5}, {2, 300, 130}}; /* B, P, C */
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        size_t B = sizes[i][0], P = sizes[i][1], C = sizes[i][2], n = B * P * C;
        double *x = fixture_random(n, 1, 1), *y = fixture_random(B * C, 2, 10);
        real_t *in = fixture_reals_last(x, B, C, P), *out = fixture_blank(n);
        real_t *shift = fixture_reals(y, B * C);
        add_per_channel(out, in, shift, B, P, C);
        double *got = fixture_doubles_last(out, B, C, P);
        for (size_t j = 0; j < n; j++) assert_true(got[j] == (double)(real_t)(x[j] + y[j / P]));
        add_per_channel(in, in, shift, B, P, C);
        assert_memory_equal(in, out, n * sizeof *out);
        fixture_free(state);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        fixture_test(add_is_one_rounded_sum),
        fixture_test(add_per_channel_shifts_whole_channels),
    };
    return cmocka_run_group_tests_name("ops/elementwise " REAL_NAME, tests, NULL, NULL);
}
