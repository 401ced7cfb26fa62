/* timestep_embedding: against the slow oracle, both kinds of angle. */
#include "../fixture.h"
#include "../slow.h"
#include "ops/ops.h"

typedef struct {
    size_t dim;
    bool flip;
    double shift, max_period;
} case_t;

static const case_t cases[] = {
    {320, true, 0, 10000},  {320, false, 1, 10000}, {256, true, 0, 10000}, {33, true, 0, 10000},
    {5, false, 0.5, 10000}, {2, true, 0, 10000},    {1, true, 0, 10000},   {64, false, 0, 100},
};
enum { CASES = sizeof cases / sizeof *cases, B = 8 };

static void timestep_embedding_equals_slow(void **state) {
    const double t[B] = {0, 1, 2, 41, 500, 981, 999, 0.5};
    for (size_t i = 0; i < CASES * 2; i++) {
        const case_t *c = &cases[i / 2];
        bool f32 = i & 1;
        size_t n = B * c->dim;
        double *truth = fixture_bytes(n * sizeof *truth), *size = fixture_bytes(n * sizeof *size);
        slow_timestep_embedding(truth, size, t, B, c->dim, c->flip, c->shift, c->max_period, f32);
        real_t *out = fixture_blank(n);
        timestep_embedding(out, t, B, c->dim, c->flip, c->shift, c->max_period,
                           f32 ? ANGLES_F32 : ANGLES_EXACT);
        /* Both round each step of ANGLES_F32 correctly, so only a tie broken by libm's last bit
         * could part them: none does here. */
        fixture_close(fixture_doubles(out, n), truth, size, f32 ? 0 : 4 * UNIT64, n,
                      "timestep_embedding case %zu, %s", i / 2,
                      f32 ? "float32 angles" : "exact angles");
        fixture_free(state);
    }
}

/* dim 4, t 1: angles 1 and 1/100. torch 2.13 and diffusers 0.42, float32. */
static void cosines_come_first_when_flipped(void **state) {
    (void)state;
    const double t[1] = {1};
    const real_t sin1 = (real_t)0.84147098f, sin2 = (real_t)0.0099998331f;
    real_t out[5];
    timestep_embedding(out, t, 1, 5, false, 0, 10000, ANGLES_F32);
    assert_true(out[0] == sin1 && out[1] == sin2 && out[4] == 0);
    timestep_embedding(out, t, 1, 5, true, 0, 10000, ANGLES_F32);
    assert_true(out[2] == sin1 && out[3] == sin2 && out[4] == 0);
}

static real_t some[4];
static const double zero[1] = {0};
static void shift_divides_by_zero(void) {
    timestep_embedding(some, zero, 1, 4, true, 2, 10000, ANGLES_EXACT);
}
static void negative_period(void) {
    timestep_embedding(some, zero, 1, 4, true, 0, -1, ANGLES_EXACT);
}

static void broken_contracts_abort(void **state) {
    (void)state;
    fixture_aborts(shift_divides_by_zero,
                   "timestep_embedding: dim/2=2 less freq_shift=2 divides by 0");
    fixture_aborts(negative_period, "timestep_embedding: max_period=-1 must be above 0");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        fixture_test(timestep_embedding_equals_slow),
        fixture_test(cosines_come_first_when_flipped),
        fixture_test(broken_contracts_abort),
    };
    return cmocka_run_group_tests_name("ops/timestep_embedding " REAL_NAME, tests, NULL, NULL);
}
