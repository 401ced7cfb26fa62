/* api_sampler.c - torch's random numbers and DDIM, as mole.h has them. */
#include <stdlib.h>
#include <string.h>

#include "api/api_check.h"
#include "sampler/ddim.h"
#include "sampler/noise.h"

enum { REAL = sizeof(mole_real_t) };

_Static_assert((int)MOLE_BETA_LINEAR == BETA_LINEAR &&
                   (int)MOLE_BETA_SCALED_LINEAR == BETA_SCALED_LINEAR &&
                   (int)MOLE_BETA_SQUAREDCOS_CAP_V2 == BETA_SQUAREDCOS_CAP_V2,
               "beta schedules");
_Static_assert((int)MOLE_SPACING_LEADING == SPACING_LEADING &&
                   (int)MOLE_SPACING_TRAILING == SPACING_TRAILING &&
                   (int)MOLE_SPACING_LINSPACE == SPACING_LINSPACE,
               "spacings");
_Static_assert((int)MOLE_PREDICT_EPSILON == PREDICT_EPSILON && (int)MOLE_PREDICT_V == PREDICT_V &&
                   (int)MOLE_PREDICT_SAMPLE == PREDICT_SAMPLE,
               "predictions");

/* ---- random numbers ---------------------------------------------------------------------------- */

struct mole_generator {
    generator_t noise;
};

int mole_generator_open(mole_generator_t **generator, uint64_t seed, mole_error_t *error) {
    check_t c = check_start("generator_open", error);
    check_that(&c, generator != NULL, "generator is NULL");
    if (c.failed) return -1;
    *generator = xmalloc(sizeof **generator);
    noise_seed(&(*generator)->noise, seed);
    return 0;
}

void mole_generator_close(mole_generator_t *generator) {
    free(generator);
}

static int check_draw(const char *name, const void *out, size_t n, size_t size,
                      const mole_generator_t *generator, mole_error_t *error) {
    check_t c = check_start(name, error);
    check_out(&c, "out", out, SHAPE1(n), size);
    check_that(&c, generator != NULL, "generator is NULL");
    return check_result(&c);
}

int mole_rand_f32(float *out, size_t n, mole_generator_t *generator, mole_error_t *error) {
    if (check_draw("rand_f32", out, n, sizeof *out, generator, error)) return -1;
    noise_rand(out, n, &generator->noise);
    return 0;
}

int mole_rand_f64(double *out, size_t n, mole_generator_t *generator, mole_error_t *error) {
    if (check_draw("rand_f64", out, n, sizeof *out, generator, error)) return -1;
    noise_rand_f64(out, n, &generator->noise);
    return 0;
}

int mole_randn_f32(float *out, size_t n, mole_generator_t *generator, mole_error_t *error) {
    if (check_draw("randn_f32", out, n, sizeof *out, generator, error)) return -1;
    noise_randn(out, n, &generator->noise);
    return 0;
}

int mole_randn_f64(double *out, size_t n, mole_generator_t *generator, mole_error_t *error) {
    if (check_draw("randn_f64", out, n, sizeof *out, generator, error)) return -1;
    noise_randn_f64(out, n, &generator->noise);
    return 0;
}

int mole_randn_cuda(float *out, size_t n, uint64_t seed, uint64_t offset, size_t threads,
                    uint64_t *advance, mole_error_t *error) {
    check_t c = check_start("randn_cuda", error);
    check_out(&c, "out", out, SHAPE1(n), sizeof *out);
    if (c.failed || noise_randn_cuda(out, n, seed, offset, threads, c.err)) return -1;
    if (advance) *advance = noise_cuda_advance(n, threads);
    return 0;
}

/* ---- settings ---------------------------------------------------------------------------------- */

static mole_ddim_settings_t settings_of(const ddim_config_t *c) {
    return (mole_ddim_settings_t){.num_train_timesteps = c->num_train_timesteps,
                                  .beta_start = c->beta_start,
                                  .beta_end = c->beta_end,
                                  .beta_schedule = (mole_beta_schedule_t)c->beta_schedule,
                                  .timestep_spacing = (mole_spacing_t)c->timestep_spacing,
                                  .steps_offset = c->steps_offset,
                                  .set_alpha_to_one = c->set_alpha_to_one,
                                  .clip_sample = c->clip_sample,
                                  .clip_sample_range = c->clip_sample_range,
                                  .prediction_type = (mole_prediction_t)c->prediction_type,
                                  .rescale_betas_zero_snr = c->rescale_betas_zero_snr};
}

static ddim_config_t config_of(const mole_ddim_settings_t *s) {
    return (ddim_config_t){.num_train_timesteps = s->num_train_timesteps,
                           .beta_start = s->beta_start,
                           .beta_end = s->beta_end,
                           .beta_schedule = (beta_schedule_t)s->beta_schedule,
                           .timestep_spacing = (timestep_spacing_t)s->timestep_spacing,
                           .steps_offset = s->steps_offset,
                           .set_alpha_to_one = s->set_alpha_to_one,
                           .clip_sample = s->clip_sample,
                           .clip_sample_range = s->clip_sample_range,
                           .prediction_type = (prediction_type_t)s->prediction_type,
                           .rescale_betas_zero_snr = s->rescale_betas_zero_snr};
}

void mole_ddim_settings_authors(mole_ddim_settings_t *settings) {
    *settings = settings_of(&ddim_config_authors);
}

void mole_ddim_settings_diffusers(mole_ddim_settings_t *settings) {
    *settings = settings_of(&ddim_config_diffusers);
}

int mole_ddim_settings_read(mole_ddim_settings_t *settings, const char *path, mole_error_t *error) {
    check_t c = check_start("ddim_settings_read", error);
    check_that(&c, settings != NULL, "settings is NULL");
    check_that(&c, path != NULL, "path is NULL");
    ddim_config_t config;
    if (c.failed || ddim_config_read(&config, path, c.err)) return -1;
    *settings = settings_of(&config);
    return 0;
}

/* What ddim_config_read would refuse in a file: the plan takes these for granted. */
static void check_settings(check_t *c, const mole_ddim_settings_t *s) {
    check_that(c, s->num_train_timesteps >= 1 && s->num_train_timesteps <= DDIM_TRAIN_TIMESTEPS_MAX,
               "num_train_timesteps is %d, expected 1 to %d", s->num_train_timesteps,
               DDIM_TRAIN_TIMESTEPS_MAX);
    check_that(c, (unsigned)s->beta_schedule <= MOLE_BETA_SQUAREDCOS_CAP_V2, "beta_schedule is %d",
               (int)s->beta_schedule);
    check_that(c, (unsigned)s->timestep_spacing <= MOLE_SPACING_LINSPACE, "timestep_spacing is %d",
               (int)s->timestep_spacing);
    check_that(c, (unsigned)s->prediction_type <= MOLE_PREDICT_SAMPLE, "prediction_type is %d",
               (int)s->prediction_type);
    check_that(c, s->beta_start > 0 && s->beta_start < 1 && s->beta_end > 0 && s->beta_end < 1,
               "beta_start %g, beta_end %g: expected numbers between 0 and 1", s->beta_start,
               s->beta_end);
    check_that(c, !s->clip_sample || s->clip_sample_range > 0,
               "clip_sample_range is %g, expected a number above 0", s->clip_sample_range);
    check_that(
        c, !s->rescale_betas_zero_snr || s->prediction_type != MOLE_PREDICT_EPSILON,
        "rescale_betas_zero_snr with epsilon prediction: the first step would divide by zero");
}

/* ---- a schedule -------------------------------------------------------------------------------- */

struct mole_ddim {
    ddim_plan_t plan;
};

int mole_ddim_open(mole_ddim_t **ddim, const mole_ddim_settings_t *settings, size_t steps,
                   mole_error_t *error) {
    check_t c = check_start("ddim_open", error);
    check_that(&c, ddim != NULL, "ddim is NULL");
    check_that(&c, settings != NULL, "settings is NULL");
    if (c.failed) return -1;
    *ddim = NULL;
    check_settings(&c, settings);
    if (c.failed) return -1;
    ddim_config_t config = config_of(settings);
    mole_ddim_t *plan = xmalloc(sizeof *plan);
    if (ddim_plan(&plan->plan, &config, steps, c.err)) {
        free(plan);
        return -1;
    }
    *ddim = plan;
    return 0;
}

void mole_ddim_close(mole_ddim_t *ddim) {
    if (!ddim) return;
    ddim_free(&ddim->plan);
    free(ddim);
}

const int *mole_ddim_timesteps(const mole_ddim_t *ddim, size_t *count) {
    if (count) *count = ddim->plan.steps;
    return ddim->plan.timesteps;
}

const float *mole_ddim_alphas_cumprod(const mole_ddim_t *ddim, size_t *count) {
    if (count) *count = (size_t)ddim->plan.config.num_train_timesteps;
    return ddim->plan.alphas_cumprod;
}

float mole_ddim_final_alpha_cumprod(const mole_ddim_t *ddim) {
    return ddim->plan.final_alpha_cumprod;
}

int mole_ddim_step(mole_real_t *out, const mole_ddim_t *ddim, size_t k,
                   const mole_real_t *model_output, const mole_real_t *sample, size_t n, double eta,
                   const mole_real_t *noise, mole_error_t *error) {
    check_t c = check_start("ddim_step", error);
    check_that(&c, ddim != NULL, "ddim is NULL");
    check_out(&c, "out", out, SHAPE1(n), REAL);
    check_in_place(&c, "model_output", model_output, SHAPE1(n), REAL);
    check_in_place(&c, "sample", sample, SHAPE1(n), REAL);
    if (noise) check_in_place(&c, "noise", noise, SHAPE1(n), REAL);
    check_that(&c, (eta != 0) == (noise != NULL), "eta %g %s noise", eta,
               noise ? "takes no" : "needs");
    check_that(&c, c.failed || k < ddim->plan.steps, "step %zu of %zu", k,
               c.failed ? 0 : ddim->plan.steps);
    if (c.failed || ddim_check_eta(&ddim->plan, eta, c.err)) return -1;
    ddim_step(out, &ddim->plan, k, model_output, sample, n, eta, noise);
    return 0;
}

int mole_guidance(mole_real_t *out, const mole_real_t *uncond, const mole_real_t *cond,
                  double scale, size_t n, mole_error_t *error) {
    check_t c = check_start("guidance", error);
    check_out(&c, "out", out, SHAPE1(n), REAL);
    check_in_place(&c, "uncond", uncond, SHAPE1(n), REAL);
    check_in_place(&c, "cond", cond, SHAPE1(n), REAL);
    if (!c.failed) guidance(out, uncond, cond, scale, n);
    return check_result(&c);
}
