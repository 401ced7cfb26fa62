/* The clean picture that a step goes by: against the formulas, written out here with plain loops, for every
 * prediction type and both samplers; and what a step makes of it. */
#include <math.h>

#include "../fixture.h"
#include "sampler/sampler.h"

enum { N = 64, STEPS = 5 };

static const prediction_type_t types[] = {PREDICT_EPSILON, PREDICT_V, PREDICT_SAMPLE};

static sampler_t plan(sampler_kind_t kind, prediction_type_t type, bool clip) {
    sampler_t sampler;
    err_t err;
    ddim_config_t config = ddim_config_authors;
    config.prediction_type = type;
    config.clip_sample = clip;
    config.clip_sample_range = 0.5;
    sampler_choice_t choice = {kind, false};
    if (sampler_plan(&sampler, choice, &config, STEPS, 0, &err)) fail_msg("%s", err.text);
    return sampler;
}

/* alpha of step k, the share of the picture's variance in DDIM's latents. Euler's are theirs times
 * sqrt(sigma^2 + 1), sigma^2 = (1 - alpha) / alpha. */
static double level(const sampler_t *s, size_t k) {
    if (s->kind == SAMPLER_DDIM)
        return (double)s->plan.ddim.alphas_cumprod[s->plan.ddim.timesteps[k]];
    double sigma = (double)s->plan.euler.sigmas[k];
    return 1 / (sigma * sigma + 1);
}

static double formula(prediction_type_t type, double a, double m, double x) {
    if (type == PREDICT_EPSILON) return (x - sqrt(1 - a) * m) / sqrt(a);
    return type == PREDICT_V ? sqrt(a) * x - sqrt(1 - a) * m : m;
}

static void holds(sampler_kind_t kind, prediction_type_t type, bool clip) {
    sampler_t s = plan(kind, type, clip);
    real_t *m = fixture_reals(fixture_random(N, 1, 2), N);
    real_t *x = fixture_reals(fixture_random(N, 2, 3), N), *got = fixture_blank(N);
    for (size_t k = 0; k < STEPS; k++) {
        sampler_x0(got, &s, k, m, x, N);
        double a = level(&s, k);
        for (size_t i = 0; i < N; i++) {
            double input = (double)x[i];
            if (kind == SAMPLER_EULER) input *= sqrt(a); /* to DDIM's latents */
            double truth = formula(type, a, (double)m[i], input);
            if (clip && kind == SAMPLER_DDIM) truth = fmax(-0.5, fmin(0.5, truth));
            /* Two terms of which each is at most 6 / sqrt(a), in double, rounded once. */
            if (fabs((double)got[i] - truth) > UNIT * fabs(truth) + 64 * UNIT64 / sqrt(a))
                fail_msg("kind %d, type %d, step %zu: %.17g, should be %.17g", kind, type, k,
                         (double)got[i], truth);
        }
    }
    sampler_free(&s);
}

static void the_formulas(void **state) {
    (void)state;
    for (size_t t = 0; t < sizeof types / sizeof *types; t++) {
        holds(SAMPLER_DDIM, types[t], false);
        holds(SAMPLER_DDIM, types[t], true);
        holds(SAMPLER_EULER, types[t], false);
    }
}

/* The last step of either sampler ends at its x0: there is no noise left. */
static void the_last_step_arrives(void **state) {
    (void)state;
    for (int kind = 0; kind < 2; kind++)
        for (size_t t = 0; t < sizeof types / sizeof *types; t++) {
            sampler_t s = plan(kind ? SAMPLER_EULER : SAMPLER_DDIM, types[t], false);
            real_t *m = fixture_reals(fixture_random(N, 3, 1), N);
            real_t *x = fixture_reals(fixture_random(N, 4, 1), N);
            real_t *x0 = fixture_blank(N), *last = fixture_blank(N);
            sampler_x0(x0, &s, STEPS - 1, m, x, N);
            sampler_step(last, &s, STEPS - 1, m, x, N, NULL);
            for (size_t i = 0; i < N; i++)
                assert_true(fabs((double)last[i] - (double)x0[i]) <=
                            8 * UNIT * (1 + fabs((double)x0[i])));
            sampler_free(&s);
        }
}

/* out may be the output of the network, or the sample. */
static void in_place(void **state) {
    (void)state;
    for (int kind = 0; kind < 2; kind++) {
        sampler_t s = plan(kind ? SAMPLER_EULER : SAMPLER_DDIM, PREDICT_V, false);
        double *m = fixture_random(N, 5, 1), *x = fixture_random(N, 6, 1);
        real_t *a = fixture_reals(m, N), *b = fixture_reals(x, N), *out = fixture_blank(N);
        sampler_x0(out, &s, 1, a, b, N);
        sampler_x0(a, &s, 1, a, b, N);
        assert_memory_equal(a, out, N * sizeof *out);
        sampler_x0(b, &s, 1, fixture_reals(m, N), b, N);
        assert_memory_equal(b, out, N * sizeof *out);
        sampler_free(&s);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        fixture_test(the_formulas),
        fixture_test(the_last_step_arrives),
        fixture_test(in_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
