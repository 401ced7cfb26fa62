/* upsample_nearest: against indices that torch 2.13 gave. */
#include "../fixture.h"
#include "../slow.h"
#include "ops/ops.h"

/* Where torch.nn.functional.interpolate(size=to, mode="nearest") takes from, float32. */
static size_t source(size_t from, size_t to, size_t i) {
    static const size_t three_five[5] = {0, 0, 1, 1, 2};
    static const size_t five_nine[9] = {0, 0, 1, 1, 2, 2, 3, 3, 4};
    static const size_t five_three[3] = {0, 1, 3};
    if (from == 3 && to == 5) return three_five[i];
    if (from == 5 && to == 9) return five_nine[i];
    if (from == 5 && to == 3) return five_three[i];
    /* The ratio's rounding shows: 37 * 6/74 is 3 and 41 * 2/82 is 1, but not in float32. */
    if (from == 6 && to == 74) return i == 37 ? 2 : i * 6 / 74;
    if (from == 2 && to == 82) return i == 41 ? 0 : i * 2 / 82;
    assert_true(to % from == 0 && to / from <= 4);
    return i / (to / from);
}

static void indices_are_torchs(void **state) {
    static const size_t sizes[][6] = {
        /* B, C, H, W, Ho, Wo */
        {1, 1, 1, 1, 1, 1}, {2, 3, 4, 5, 8, 10},  {2, 5, 3, 5, 5, 9},      {1, 4, 5, 3, 9, 5},
        {1, 7, 1, 5, 2, 3}, {2, 2, 6, 2, 74, 82}, {1, 33, 40, 32, 80, 64}, {1, 2, 3, 1, 3, 4},
    };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        size_t B = sizes[i][0], C = sizes[i][1], H = sizes[i][2], W = sizes[i][3];
        size_t Ho = sizes[i][4], Wo = sizes[i][5], n = B * C * Ho * Wo, rows[96], columns[96];
        for (size_t y = 0; y < Ho; y++) rows[y] = source(H, Ho, y);
        for (size_t x = 0; x < Wo; x++) columns[x] = source(W, Wo, x);
        double *in = fixture_random(B * C * H * W, 1, 1), *truth = fixture_bytes(n * sizeof *truth);
        slow_upsample(truth, in, B, C, H, W, Ho, Wo, rows, columns);
        real_t *out = fixture_blank(n);
        upsample_nearest(out, fixture_reals_last(in, B, C, H * W), B, C, H, W, Ho, Wo);
        double *got = fixture_doubles_last(out, B, C, Ho * Wo);
        for (size_t j = 0; j < n; j++) assert_true(got[j] == truth[j]);
        fixture_free(state);
    }
}

static void empty_source(void) {
    upsample_nearest(NULL, NULL, 1, 1, 0, 4, 2, 2);
}

static void broken_contracts_abort(void **state) {
    (void)state;
    fixture_aborts(empty_source, "upsample_nearest: nothing to take from (0,4)");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        fixture_test(indices_are_torchs),
        fixture_test(broken_contracts_abort),
    };
    return cmocka_run_group_tests_name("ops/upsample_nearest " REAL_NAME, tests, NULL, NULL);
}
