/* euler.h - the Euler sampler: the noise levels of a run, and one step down from one to the next.
 *
 * Karras, Aittala, Aila & Laine 2022, "Elucidating the design space of diffusion-based generative models",
 * algorithm 2 without its noise; diffusers' EulerDiscreteScheduler. Its latents are x0 + sigma noise, where
 * DDIM's are sqrt(alpha) x0 + sqrt(1 - alpha) noise: the network wants the latter, hence the scaling.
 * timesteps and sigmas are diffusers' float32 numbers in every build, but that the square root in a sigma is
 * correctly rounded: torch's float32 sqrt is not, and differs from it in a last bit here and there. */
#ifndef MOLE_SAMPLER_EULER_H
#define MOLE_SAMPLER_EULER_H

#include "sampler/ddim.h"

typedef struct {
    prediction_type_t prediction_type;
    size_t steps;
    float *timesteps; /* (steps), falling; with linspace spacing not whole */
    float *sigmas;    /* (steps + 1), falling; the last is that of the picture */
    acc_t init_noise_sigma;
} euler_plan_t;

/* Tables for a run of `steps` steps. Of config the levels, timestep_spacing, steps_offset and prediction_type
 * count.
 *   sigma(t) = sqrt((1 - alphas_cumprod[t]) / alphas_cumprod[t]), between two t on the line between them
 *   init_noise_sigma = the largest sigma, with leading spacing sqrt(largest^2 + 1)
 *   final_sigma_min: the last sigma is sigma(0), else 0
 * With rescale_betas_zero_snr the last level is 2^-24 in place of 0. Refuses what ddim_plan refuses. Returns
 * 0, or -1 and err; on success euler_free is due. */
int euler_plan(euler_plan_t *euler, const ddim_config_t *config, bool final_sigma_min, size_t steps,
               err_t *err);
void euler_free(euler_plan_t *euler);

/* euler_scale_model_input  EulerDiscreteScheduler.scale_model_input
 *   out = sample / sqrt(sigma_k^2 + 1)
 *   out, sample (n); out may be sample; each element in acc_t, rounded once */
void euler_scale_model_input(real_t *out, const euler_plan_t *euler, size_t k, const real_t *sample,
                             size_t n);

/* euler_step            EulerDiscreteScheduler.step with s_churn = 0
 *   epsilon      x0 = x - sigma m
 *   v            x0 = x / (sigma^2 + 1) - m sigma / sqrt(sigma^2 + 1)
 *   sample       x0 = m
 *   out = x + (sigma_{k+1} - sigma) (x - x0) / sigma
 *   out, model_output m, sample x (n), x before it was scaled; out may be either; k < steps
 *   each element in acc_t, rounded once (diffusers: in float32 whatever the type of the latents) */
void euler_step(real_t *out, const euler_plan_t *euler, size_t k, const real_t *model_output,
                const real_t *sample, size_t n);

/* euler_x0              the clean picture that euler_step goes by
 *   out = x0, as above
 *   out, model_output m, sample x (n); out may be either; each element in acc_t, rounded once */
void euler_x0(real_t *out, const euler_plan_t *euler, size_t k, const real_t *model_output,
              const real_t *sample, size_t n);

#endif
