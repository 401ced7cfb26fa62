/* concat: channels of two images, as torch.cat(dim=1) joins them. */
#include "../fixture.h"
#include "../slow.h"
#include "ops/ops.h"

static void concat_equals_slow(void **state) {
    static const size_t sizes[][4] = {{1, 1, 1, 1}, {2, 3, 5, 12}, {2, 8, 1, 35}, {1, 0, 4, 6}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        size_t B = sizes[i][0], Ca = sizes[i][1], Cb = sizes[i][2], P = sizes[i][3];
        size_t n = B * (Ca + Cb) * P;
        double *a = fixture_random(B * Ca * P, 1, 1), *b = fixture_random(B * Cb * P, 2, 1);
        double *truth = fixture_bytes(n * sizeof *truth);
        slow_concat(truth, a, b, B, Ca, Cb, P);
        real_t *out = fixture_blank(n);
        concat(out, fixture_reals_last(a, B, Ca, P), fixture_reals_last(b, B, Cb, P), B * P, Ca,
               Cb);
        double *got = fixture_doubles_last(out, B, Ca + Cb, P);
        for (size_t j = 0; j < n; j++) assert_true(got[j] == truth[j]);
        fixture_free(state);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        fixture_test(concat_equals_slow),
    };
    return cmocka_run_group_tests_name("ops/concat " REAL_NAME, tests, NULL, NULL);
}
