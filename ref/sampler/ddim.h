/* ddim.h - the DDIM sampler: which timesteps, and one step back towards the picture.
 *
 * Song, Meng & Ermon 2021, "Denoising diffusion implicit models"; diffusers' DDIMScheduler.
 * The noise levels are torch's float32 numbers, bit for bit, in every build. */
#ifndef MOLE_SAMPLER_DDIM_H
#define MOLE_SAMPLER_DDIM_H

#include <stdbool.h>
#include <stddef.h>

#include "core/err.h"
#include "core/real.h"
#include "io/config_keys.h"

/* ---- configuration --------------------------------------------------------------------------- */

typedef enum { BETA_LINEAR, BETA_SCALED_LINEAR, BETA_SQUAREDCOS_CAP_V2 } beta_schedule_t;
typedef enum { SPACING_LEADING, SPACING_TRAILING, SPACING_LINSPACE } timestep_spacing_t;
typedef enum { PREDICT_EPSILON, PREDICT_V, PREDICT_SAMPLE } prediction_type_t;

enum { DDIM_TRAIN_TIMESTEPS_MAX = 1000000, DDIM_TEXT = 256 };

/* The fields of diffusers' DDIMScheduler under their own names. */
typedef struct {
    int num_train_timesteps;
    double beta_start, beta_end;
    beta_schedule_t beta_schedule;
    timestep_spacing_t timestep_spacing;
    int steps_offset;
    bool set_alpha_to_one;
    bool clip_sample;
    double clip_sample_range;
    prediction_type_t prediction_type;
    bool rescale_betas_zero_snr;
    char class_name[DDIM_TEXT]; /* _class_name of the file; "" when there was none */
    /* Keys of the file as "a, b", "" if none: those that were taken over, as "key value"; DDIM's own
     * settings for those that the file has not, likewise; those that DDIM has no use for. */
    char taken[CONFIG_UNKNOWN], defaults[CONFIG_UNKNOWN], ignored[CONFIG_UNKNOWN];
} ddim_config_t;

/* What the authors' generation scripts end up with: scaled_linear 0.00085 .. 0.012 over 1000,
 * leading, steps_offset 1, set_alpha_to_one, no clipping, epsilon. (They build the scheduler with
 * other values, and the pipeline's constructor then overwrites two of them.) */
extern const ddim_config_t ddim_config_authors;
/* DDIMScheduler's own defaults: what a key missing from a scheduler_config.json stands for. */
extern const ddim_config_t ddim_config_diffusers;

/* Read a scheduler_config.json. As DDIMScheduler.from_pretrained does, this takes the settings of
 * any scheduler of the family (PNDMScheduler, EulerDiscreteScheduler, ...) and runs them as DDIM:
 * known keys are honoured, missing ones have DDIM's defaults, others are listed in `ignored`.
 * The file is taken at its word: StableDiffusionPipeline's constructor would go on to set
 * steps_offset to 1 and clip_sample to false, this does not.
 * Refused: what is not JSON, a file without num_train_timesteps and beta_start, wrong types and
 * ranges, null where diffusers has a value, trained_betas, thresholding, schedulers of flow matching and
 * of continuous noise levels (EDM),
 * rescale_betas_zero_snr with epsilon prediction (its first step would divide by zero). Returns 0,
 * or -1 and err ("FILE: ..."); config is untouched then. */
int ddim_config_read(ddim_config_t *config, const char *path, err_t *err);

/* Is the class of this name DDIM, or none named? Others of the family have their own way from step to
 * step, which does not run here: only their settings do. */
bool ddim_is_class(const char *name);

/* "scaled_linear", "leading", "v_prediction": the names that the file uses. */
const char *beta_schedule_name(beta_schedule_t schedule);
const char *timestep_spacing_name(timestep_spacing_t spacing);
const char *prediction_type_name(prediction_type_t prediction);

/* ---- plan ------------------------------------------------------------------------------------ */

typedef struct {
    ddim_config_t config;
    float *alphas_cumprod;     /* (num_train_timesteps): alpha_t of the paper */
    float final_alpha_cumprod; /* alpha of the end of the last step: 1, or alphas_cumprod[0] */
    size_t steps;
    int *timesteps; /* (steps), in the order of the run: falling */
} ddim_plan_t;

/* Tables for a run of `steps` steps: timesteps as diffusers has them, except that with trailing
 * spacing and some numbers of steps (61 and 103 of 1000, say) it appends one more, -1, which is no
 * timestep; here there are always `steps`. Refuses 0 steps and more than num_train_timesteps, and
 * settings that put a timestep outside the table.
 * alphas_cumprod is torch's bit for bit; only with rescale_betas_zero_snr, which takes torch's
 * float32 sqrt, it may differ by 1e-6 (it is that of a correctly rounded sqrt). Returns 0, or -1
 * and err; on success ddim_free is due. */
int ddim_plan(ddim_plan_t *ddim, const ddim_config_t *config, size_t steps, err_t *err);
void ddim_free(ddim_plan_t *ddim);

/* Parts of a plan that other samplers share: what of config and steps is refused before there are tables; the
 * levels, alphas_cumprod (num_train_timesteps); the k-th timestep, which may be outside the table; and saying
 * so. */
int ddim_check_plan(const ddim_config_t *config, size_t steps, err_t *err);
void ddim_levels(float *alphas_cumprod, const ddim_config_t *config);
double ddim_timestep(const ddim_config_t *config, size_t steps, size_t k);
int ddim_refuse_timestep(const ddim_config_t *config, size_t steps, double timestep, err_t *err);

/* eta is finite, not negative, and at no step so large that more noise than there is room for
 * would be added (1 never is). Returns 0, or -1 and err. */
int ddim_check_eta(const ddim_plan_t *ddim, double eta, err_t *err);

/* ---- one step -------------------------------------------------------------------------------- */

/* The numbers of step k, in acc_t from the float32 levels:
 *   alpha = alphas_cumprod[t], alpha_prev = that of t - num_train_timesteps / steps (integer
 *   division, for every spacing, as in diffusers), or final_alpha_cumprod where that is negative
 *   sigma = eta sqrt((1 - alpha_prev) / (1 - alpha)) sqrt(1 - alpha / alpha_prev)           (16)
 *   direction = sqrt(1 - alpha_prev - sigma^2)                                             in (12)
 * diffusers computes them in float32 whatever the type of the latents, with torch's float32 sqrt,
 * which is not correctly rounded and not the same on every machine: that part of its bits is not
 * followed. */
typedef struct {
    int timestep;
    acc_t alpha, alpha_prev;
    acc_t sqrt_alpha, sqrt_beta; /* beta = 1 - alpha */
    acc_t sqrt_alpha_prev, direction, sigma;
} ddim_coefficients_t;

ddim_coefficients_t ddim_coefficients(const ddim_plan_t *ddim, size_t k, double eta);

/* ddim_step             DDIMScheduler.step at timesteps[k]; equation (12)
 *   epsilon      x0 = (x - sqrt_beta m) / sqrt_alpha      e = m
 *   v            x0 = sqrt_alpha x - sqrt_beta m          e = sqrt_alpha m + sqrt_beta x
 *   sample       x0 = m                                   e = (x - sqrt_alpha m) / sqrt_beta
 *   clip_sample  x0 is clamped to +-clip_sample_range; e stays
 *   out = sqrt_alpha_prev x0 + direction e + sigma noise
 *   out, model_output m, sample x, noise (n); noise is NULL and unused when eta = 0
 *   out may be any of the inputs; eta as ddim_check_eta has it; k < steps
 *   each element in acc_t, rounded once */
void ddim_step(real_t *out, const ddim_plan_t *ddim, size_t k, const real_t *model_output,
               const real_t *sample, size_t n, double eta, const real_t *noise);

/* ddim_x0               the clean picture that ddim_step goes by, clip_sample and all
 *   out = x0, as above
 *   out, model_output m, sample x (n); out may be either; each element in acc_t, rounded once */
void ddim_x0(real_t *out, const ddim_plan_t *ddim, size_t k, const real_t *model_output,
             const real_t *sample, size_t n);

/* guidance              classifier-free guidance; Ho & Salimans 2022
 *   out = uncond + scale (cond - uncond)
 *   out, uncond, cond (n); out may be either; each element in acc_t, rounded once */
void guidance(real_t *out, const real_t *uncond, const real_t *cond, double scale, size_t n);

#endif
