/* sampler.h - what a run asks of a sampler, whichever it is: a plan, the latents to start from, the network's
 * input, a step.
 *
 *             ddim.h                 euler.h
 *   start     noise                  init_noise_sigma noise
 *   input     sample                 sample / sqrt(sigma^2 + 1)
 *   step      ddim_step              euler_step, which takes no noise
 *   x0        ddim_x0                euler_x0
 *
 * To add one: its name in the table of sampler.c, its class in sampler_of_class, and a case in each
 * function. */
#ifndef MOLE_SAMPLER_SAMPLER_H
#define MOLE_SAMPLER_SAMPLER_H

#include "sampler/ddim.h"
#include "sampler/euler.h"

typedef enum { SAMPLER_DDIM, SAMPLER_EULER } sampler_kind_t;

/* What a sampler is told beside the levels and timesteps of ddim_config_t. */
typedef struct {
    sampler_kind_t kind;
    bool final_sigma_min; /* Euler's final_sigmas_type is "sigma_min", else "zero" */
} sampler_choice_t;

typedef struct {
    sampler_kind_t kind;
    size_t steps;
    double eta;
    union {
        ddim_plan_t ddim;
        euler_plan_t euler;
    } plan;
} sampler_t;

/* "DDIM", "Euler" */
const char *sampler_name(sampler_kind_t kind);
/* The sampler of diffusers' class; DDIM for one that does not run here. */
sampler_kind_t sampler_of_class(const char *class_name);

/* A scheduler_config.json as EulerDiscreteScheduler takes it, whatever its class: ddim_config_read, with
 * linspace spacing where the file says nothing. Also refused: interpolation_type other than "linear",
 * Karras', exponential and beta sigmas, sigma_min and sigma_max. Returns 0, or -1 and err. */
int sampler_read_euler(sampler_choice_t *choice, ddim_config_t *config, const char *path,
                       err_t *err);

/* eta: 0, or DDIM's. Returns 0, or -1 and err; on success sampler_free is due. */
int sampler_plan(sampler_t *sampler, sampler_choice_t choice, const ddim_config_t *config,
                 size_t steps, double eta, err_t *err);
void sampler_free(sampler_t *sampler);

double sampler_timestep(const sampler_t *sampler, size_t k);
/* latents (n), of standard deviation 1, to those of the first step; in place. */
void sampler_start(const sampler_t *sampler, real_t *latents, size_t n);
/* out = what the network gets for `sample` in step k; (n); out may be sample. */
void sampler_scale_input(real_t *out, const sampler_t *sampler, size_t k, const real_t *sample,
                         size_t n);
/* out (n) = the latents after step k; noise is NULL where eta is 0. out may be any of the inputs. */
void sampler_step(real_t *out, const sampler_t *sampler, size_t k, const real_t *model_output,
                  const real_t *sample, size_t n, const real_t *noise);
/* out (n) = x0: the clean picture that step k goes towards, as the network's output has it. */
void sampler_x0(real_t *out, const sampler_t *sampler, size_t k, const real_t *model_output,
                const real_t *sample, size_t n);

#endif
