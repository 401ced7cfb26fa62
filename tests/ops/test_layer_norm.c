/* layer_norm: against the slow oracle, with flat rows and rows of large mean. */
#include "../fixture.h"
#include "../slow.h"
#include "ops/ops.h"

typedef struct {
    size_t M, C;
    double deviation, mean, eps;
} case_t;

static const case_t cases[] = {
    {1, 1, 1, 0, 1e-5},     {1, 2, 1, 0, 1e-5},     {7, 1, 1, 0, 1e-5},
    {3, 17, 1, 0.5, 1e-5},  {154, 40, 1, 0, 1e-5},  {30, 640, 2, -1, 1e-5},
    {9, 40, 3e-3, 0, 1e-5}, {9, 40, 3e-3, 0, 1e-6}, {5, 33, 1e-3, 500, 1e-6},
};
enum { CASES = sizeof cases / sizeof *cases };

static void layer_norm_equals_slow(void **state) {
    for (size_t i = 0; i < CASES * 2; i++) {
        const case_t *c = &cases[i / 2];
        bool in_place = i & 1;
        size_t n = c->M * c->C;
        double *x = fixture_random(n, 1, c->deviation);
        for (size_t j = 0; j < n; j++) x[j] = (double)(float)(x[j] + c->mean);
        double *weight = fixture_random(c->C, 2, 2), *bias = fixture_random(c->C, 3, 1);
        double *truth = fixture_bytes(n * sizeof *truth), *size = fixture_bytes(n * sizeof *size);
        slow_layer_norm(truth, size, x, weight, bias, c->M, c->C, c->eps);
        real_t *in = fixture_reals(x, n), *out = in_place ? in : fixture_blank(n);
        layer_norm(out, in, fixture_reals(weight, c->C), fixture_reals(bias, c->C), c->M, c->C,
                   c->eps);
        fixture_close(fixture_doubles(out, n), truth, size, (double)(c->C + 8) * UNIT64, n,
                      "layer_norm case %zu%s", i / 2, in_place ? ", in place" : "");
        fixture_free(state);
    }
}

static real_t some[12];
static void no_epsilon(void) {
    layer_norm(some, some, some, some, 1, 12, 0);
}

static void broken_contracts_abort(void **state) {
    (void)state;
    fixture_aborts(no_epsilon, "layer_norm: eps=0 must be above 0");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        fixture_test(layer_norm_equals_slow),
        fixture_test(broken_contracts_abort),
    };
    return cmocka_run_group_tests_name("ops/layer_norm " REAL_NAME, tests, NULL, NULL);
}
