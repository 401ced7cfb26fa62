/* softmax: against the slow oracle, with rows that would overflow without the maximum. */
#include <math.h>

#include "../fixture.h"
#include "../slow.h"
#include "ops/ops.h"

typedef struct {
    size_t M, N;
    double scale, offset;
} case_t;

static const case_t cases[] = {
    {1, 1, 1, 0},    {3, 1, 50, 0},   {1, 2, 1, 0},     {7, 5, 1, 0},      {77, 77, 3, 0},
    {5, 130, 20, 0}, {4, 9, 1, 5000}, {4, 9, 1, -5000}, {2, 33, 20000, 0}, {120, 100, 8, 2},
};
enum { CASES = sizeof cases / sizeof *cases };

/* exp of real_t ends here, see core/vmath.h. */
static const double SMALLEST = sizeof(real_t) == sizeof(float) ? 2e-38 : 4e-308;

static void softmax_equals_slow(void **state) {
    for (size_t i = 0; i < CASES * 2; i++) {
        const case_t *c = &cases[i / 2];
        size_t n = c->M * c->N;
        double *x = fixture_random(n, 1, c->scale), *truth = fixture_bytes(n * sizeof *truth);
        for (size_t j = 0; j < n; j++) x[j] = (double)(float)(x[j] + c->offset);
        slow_softmax(truth, x, c->M, c->N);
        real_t *in = fixture_reals(x, n), *out = i & 1 ? in : fixture_blank(n);
        softmax(out, in, c->M, c->N);
        /* exp (1.4), its rounding and that of the quotient; the sum of N; and 2 scale is the longest
         * x - max, whose last bit exp magnifies. Below the normal numbers an exponential is 0. */
        double spread = (4 + 2 * c->scale) * UNIT + ((double)c->N + 4) * UNIT64;
        double *size = fixture_bytes(n * sizeof *size);
        for (size_t j = 0; j < n; j++) size[j] = truth[j] + SMALLEST / spread;
        fixture_close(fixture_doubles(out, n), truth, size, spread, n, "softmax case %zu", i / 2);
        fixture_free(state);
    }
}

/* A sum of so many equal numbers drifts in float; one number stands out, so that nothing cancels. */
static void long_sums_are_in_double(void **state) {
    (void)state;
    enum { N = 300000 };
    double *x = fixture_bytes(N * sizeof *x);
    for (size_t i = 0; i < N; i++) x[i] = i == 7 ? 0 : -1.25;
    real_t *out = fixture_reals(x, N);
    double sum = 1 + (N - 1) * exp(-1.25);
    softmax(out, out, 1, N);
    assert_true(fabs((double)out[7] * sum - 1) <= 8 * UNIT + N / 16 * UNIT64);
    assert_true(fabs((double)out[8] * sum / exp(-1.25) - 1) <= 8 * UNIT + N / 16 * UNIT64);
}

static void infinities_are_torchs(void **state) {
    (void)state;
    const real_t far = (real_t)-INFINITY;
    real_t masked[3] = {far, 1, far}, all[2] = {far, far}, nan[2] = {1, (real_t)NAN};
    softmax(masked, masked, 1, 3);
    assert_true(masked[0] == 0 && masked[1] == 1 && masked[2] == 0);
    softmax(all, all, 1, 2);
    assert_true(isnan(all[0]) && isnan(all[1]));
    softmax(nan, nan, 1, 2);
    assert_true(isnan(nan[0]) && isnan(nan[1]));
}

static void empty_row(void) {
    softmax(NULL, NULL, 3, 0);
}

static void broken_contracts_abort(void **state) {
    (void)state;
    fixture_aborts(empty_row, "softmax: rows of N=0");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        fixture_test(softmax_equals_slow),
        fixture_test(long_sums_are_in_double),
        fixture_test(infinities_are_torchs),
        fixture_test(broken_contracts_abort),
    };
    return cmocka_run_group_tests_name("ops/softmax " REAL_NAME, tests, NULL, NULL);
}
