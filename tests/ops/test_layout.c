/* to_channels_last, from_channels_last: each number where it belongs, and there and back. */
#include "../fixture.h"
#include "ops/ops.h"

static void layouts_change_and_change_back(void **state) {
    static const size_t sizes[][3] = {{1, 1, 1},   {2, 1, 9},   {2, 9, 1},    {2, 3, 35},
                                      {1, 31, 33}, {3, 32, 64}, {1, 65, 130}, {2, 70, 600}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        size_t B = sizes[i][0], C = sizes[i][1], P = sizes[i][2], n = B * C * P;
        double *x = fixture_random(n, 1, 1);
        real_t *in = fixture_reals(x, n), *last = fixture_blank(n), *back = fixture_blank(n);
        to_channels_last(last, in, B, C, P);
        assert_memory_equal(last, fixture_reals_last(x, B, C, P), n * sizeof *last);
        from_channels_last(back, last, B, C, P);
        assert_memory_equal(back, in, n * sizeof *back);
        fixture_free(state);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        fixture_test(layouts_change_and_change_back),
    };
    return cmocka_run_group_tests_name("ops/layout " REAL_NAME, tests, NULL, NULL);
}
