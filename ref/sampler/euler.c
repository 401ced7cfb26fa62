/* euler.c - see euler.h.
 *
 * Numerical notes. torch has the levels in float32 and takes their square roots there; NumPy interpolates in
 * double and rounds to float32. */
#include "sampler/euler.h"

#include <math.h>
#include <stdlib.h>

/* ---- plan ------------------------------------------------------------------------------------ */

/* float32, as torch has it. */
static float level_sigma(float alpha) {
    return sqrtf((1.0f - alpha) / alpha);
}

/* np.interp: sigma at t of the table (n). */
static float interpolate(const float *sigma, int n, float t) {
    int below = (int)t;
    if (below >= n - 1) return sigma[n - 1];
    double from = (double)sigma[below], slope = (double)sigma[below + 1] - from;
    return (float)(slope * ((double)t - below) + from);
}

/* np.linspace(0, n - 1, steps), falling, not rounded to whole numbers; else DDIM's. */
static float timestep(const ddim_config_t *config, size_t steps, size_t k) {
    size_t rising = steps - 1 - k;
    int last = config->num_train_timesteps - 1;
    if (config->timestep_spacing != SPACING_LINSPACE) return (float)ddim_timestep(config, steps, k);
    if (steps > 1 && k == 0) return (float)last;
    return steps > 1 ? (float)((double)rising * (last / (double)(steps - 1))) : 0.0f;
}

static int fill(euler_plan_t *euler, const ddim_config_t *config, const float *sigma, err_t *err) {
    int n = config->num_train_timesteps;
    for (size_t k = 0; k < euler->steps; k++) {
        float t = timestep(config, euler->steps, k);
        if (!(t >= 0 && t <= (float)(n - 1)))
            return ddim_refuse_timestep(config, euler->steps, (double)t, err);
        euler->timesteps[k] = t;
        euler->sigmas[k] = interpolate(sigma, n, t);
    }
    return 0;
}

/* sigma (num_train_timesteps) of every level. */
static float *table(const ddim_config_t *config) {
    int n = config->num_train_timesteps;
    float *sigma = xmalloc((size_t)n * sizeof *sigma);
    ddim_levels(sigma, config);
    if (config->rescale_betas_zero_snr) sigma[n - 1] = 0x1p-24f;
    for (int i = 0; i < n; i++) sigma[i] = level_sigma(sigma[i]);
    return sigma;
}

int euler_plan(euler_plan_t *euler, const ddim_config_t *config, bool final_sigma_min, size_t steps,
               err_t *err) {
    if (ddim_check_plan(config, steps, err)) return -1;
    float *sigma = table(config);
    *euler = (euler_plan_t){.prediction_type = config->prediction_type, .steps = steps};
    euler->timesteps = xmalloc(steps * sizeof *euler->timesteps);
    euler->sigmas = xmalloc((steps + 1) * sizeof *euler->sigmas);
    int status = fill(euler, config, sigma, err);
    euler->sigmas[steps] = final_sigma_min ? sigma[0] : 0.0f;
    free(sigma);
    if (status) {
        euler_free(euler);
        return -1;
    }
    acc_t largest = (acc_t)euler->sigmas[0];
    bool leading = config->timestep_spacing == SPACING_LEADING;
    euler->init_noise_sigma = leading ? sqrt(largest * largest + 1) : largest;
    return 0;
}

void euler_free(euler_plan_t *euler) {
    free(euler->timesteps);
    free(euler->sigmas);
    *euler = (euler_plan_t){0};
}

/* ---- one step -------------------------------------------------------------------------------- */

void euler_scale_model_input(real_t *out, const euler_plan_t *euler, size_t k, const real_t *sample,
                             size_t n) {
    REQUIRE(k < euler->steps, "euler_scale_model_input: step %zu of %zu", k, euler->steps);
    acc_t sigma = (acc_t)euler->sigmas[k], root = sqrt(sigma * sigma + 1);
    for (size_t i = 0; i < n; i++) out[i] = (real_t)((acc_t)sample[i] / root);
}

static acc_t predict_x0(prediction_type_t type, acc_t sigma, acc_t model, acc_t x) {
    acc_t square = sigma * sigma + 1;
    switch (type) {
    case PREDICT_EPSILON: return x - sigma * model;
    case PREDICT_V: return x / square - model * sigma / sqrt(square);
    case PREDICT_SAMPLE: break;
    }
    return model;
}

void euler_step(real_t *out, const euler_plan_t *euler, size_t k, const real_t *model_output,
                const real_t *sample, size_t n) {
    REQUIRE(k < euler->steps, "euler_step: step %zu of %zu", k, euler->steps);
    acc_t sigma = (acc_t)euler->sigmas[k], dt = (acc_t)euler->sigmas[k + 1] - sigma;
    for (size_t i = 0; i < n; i++) {
        acc_t x = (acc_t)sample[i];
        acc_t x0 = predict_x0(euler->prediction_type, sigma, (acc_t)model_output[i], x);
        out[i] = (real_t)(x + dt * ((x - x0) / sigma));
    }
}

void euler_x0(real_t *out, const euler_plan_t *euler, size_t k, const real_t *model_output,
              const real_t *sample, size_t n) {
    REQUIRE(k < euler->steps, "euler_x0: step %zu of %zu", k, euler->steps);
    acc_t sigma = (acc_t)euler->sigmas[k];
    for (size_t i = 0; i < n; i++)
        out[i] = (real_t)predict_x0(euler->prediction_type, sigma, (acc_t)model_output[i],
                                    (acc_t)sample[i]);
}
