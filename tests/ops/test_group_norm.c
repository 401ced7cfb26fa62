/* group_norm: against the slow oracle, with groups so flat that the epsilon decides and means so
 * large that a one-pass variance would be noise. */
#include "../fixture.h"
#include "../slow.h"
#include "ops/ops.h"

typedef struct {
    size_t B, C, P, G;
    double deviation, mean, eps;
} case_t;

static const case_t cases[] = {
    {1, 1, 1, 1, 1, 0, 1e-5}, /* a single number becomes its bias */
    {1, 6, 1, 3, 1, 0, 1e-5},        {2, 8, 35, 8, 1, 0, 1e-5}, /* G = C: instance norm */
    {2, 7, 15, 1, 1, 0, 1e-6},                                  /* G = 1: layer norm of an image */
    {2, 12, 63, 4, 1, 0.5, 1e-5},    {3, 320, 9, 32, 2, 0, 1e-5},
    {1, 32, 257, 32, 1, -3, 1e-6},   {2, 8, 30, 4, 3e-3, 0, 1e-5},
    {2, 8, 30, 4, 3e-3, 0, 1e-6}, /* variance below the epsilon */
    {2, 8, 30, 4, 1e-3, 1000, 1e-6}, {1, 64, 300, 32, 0.1, 4096, 1e-5},
};
enum { CASES = sizeof cases / sizeof *cases };

static void group_norm_equals_slow(void **state) {
    for (size_t i = 0; i < CASES * 2; i++) {
        const case_t *c = &cases[i / 2];
        bool in_place = i & 1;
        size_t n = c->B * c->C * c->P;
        double *x = fixture_random(n, 1, c->deviation);
        for (size_t j = 0; j < n; j++) x[j] = (double)(float)(x[j] + c->mean);
        double *weight = fixture_random(c->C, 2, 2), *bias = fixture_random(c->C, 3, 1);
        double *truth = fixture_bytes(n * sizeof *truth), *size = fixture_bytes(n * sizeof *size);
        slow_group_norm(truth, size, x, weight, bias, c->B, c->C, c->P, c->G, c->eps);
        real_t *in = fixture_reals_last(x, c->B, c->C, c->P),
               *out = in_place ? in : fixture_blank(n);
        group_norm(out, in, fixture_reals(weight, c->C), fixture_reals(bias, c->C), c->B, c->C,
                   c->P, c->G, c->eps);
        double spread = (double)(c->P * c->C / c->G + 8) * UNIT64;
        fixture_close(fixture_doubles_last(out, c->B, c->C, c->P), truth, size, spread, n,
                      "group_norm case %zu%s", i / 2, in_place ? ", in place" : "");
        fixture_free(state);
    }
}

static real_t some[12];
static void groups_do_not_divide(void) {
    group_norm(some, some, some, some, 1, 12, 1, 5, 1e-5);
}
static void no_groups(void) {
    group_norm(some, some, some, some, 1, 12, 1, 0, 1e-5);
}
static void no_epsilon(void) {
    group_norm(some, some, some, some, 1, 12, 1, 4, 0);
}

static void broken_contracts_abort(void **state) {
    (void)state;
    fixture_aborts(groups_do_not_divide, "group_norm: G=5 does not divide C=12");
    fixture_aborts(no_groups, "group_norm: G=0 does not divide C=12");
    fixture_aborts(no_epsilon, "group_norm: eps=0 must be above 0");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        fixture_test(group_norm_equals_slow),
        fixture_test(broken_contracts_abort),
    };
    return cmocka_run_group_tests_name("ops/group_norm " REAL_NAME, tests, NULL, NULL);
}
