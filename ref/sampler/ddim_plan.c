/* ddim_plan.c - see ddim.h: the noise levels and the timesteps.
 *
 * The levels are float32 results of torch and the timesteps integer results of NumPy; both depend
 * on the order of roundings, which is spelled out here. */
#include "sampler/ddim.h"

#include <math.h>
#include <stdlib.h>

#include "core/fmath.h"

/* ---- noise levels ---------------------------------------------------------------------------- */

/* torch.linspace in float32: counted from the nearer end, the step rounded once, product and sum
 * fused (by the AVX2 and AVX-512 kernels; the one for older machines rounds twice, and 145 of 1000
 * numbers differ in their last bit). */
static void linspace_f32(float *out, int n, float first, float last) {
    float step = n > 1 ? (last - first) / (float)(n - 1) : 0.0f;
    for (int i = 0; i < n; i++)
        out[i] = i < n / 2 ? fmaf(step, (float)i, first) : fmaf(-step, (float)(n - 1 - i), last);
    if (n == 1) out[0] = first;
}

/* Nichol & Dhariwal 2021, equation (17): the level that falls as a cosine. */
static double cosine_level(double t) {
    double c = fmath_cos((t + 0.008) / 1.008 * 3.14159265358979323846 / 2);
    return c * c;
}

static void squaredcos_betas(float *out, int n) {
    for (int i = 0; i < n; i++) {
        double from = cosine_level((double)i / n), to = cosine_level((double)(i + 1) / n);
        out[i] = (float)fmin(1 - to / from, 0.999);
    }
}

/* torch.cumprod in float32 multiplies in double and rounds what it stores. */
static void cumprod_one_minus(float *out, const float *betas, int n) {
    double product = 1;
    for (int i = 0; i < n; i++) {
        product *= (double)(1.0f - betas[i]);
        out[i] = (float)product;
    }
}

/* Lin, Liu, Li & Yang 2024, "Common diffusion noise schedules and sample steps are flawed",
 * algorithm 1: shift and stretch sqrt(level) so that the last one is 0, and recover the betas.
 * `level` is scratch. */
static void rescale_zero_snr(float *betas, float *level, int n) {
    cumprod_one_minus(level, betas, n);
    for (int i = 0; i < n; i++) level[i] = sqrtf(level[i]);
    float first = level[0], last = level[n - 1];
    float stretch = first / (first - last);
    for (int i = 0; i < n; i++) {
        float root = (level[i] - last) * stretch;
        level[i] = root * root;
    }
    betas[0] = 1.0f - level[0];
    for (int i = 1; i < n; i++) betas[i] = 1.0f - level[i] / level[i - 1];
}

void ddim_levels(float *levels, const ddim_config_t *config) {
    int n = config->num_train_timesteps;
    float *betas = xmalloc((size_t)n * sizeof *betas);
    switch (config->beta_schedule) {
    case BETA_LINEAR:
        linspace_f32(betas, n, (float)config->beta_start, (float)config->beta_end);
        break;
    case BETA_SCALED_LINEAR:
        linspace_f32(betas, n, (float)sqrt(config->beta_start), (float)sqrt(config->beta_end));
        for (int i = 0; i < n; i++) betas[i] *= betas[i];
        break;
    case BETA_SQUAREDCOS_CAP_V2: squaredcos_betas(betas, n); break;
    }
    if (config->rescale_betas_zero_snr) rescale_zero_snr(betas, levels, n);
    cumprod_one_minus(levels, betas, n);
    free(betas);
}

/* ---- timesteps ------------------------------------------------------------------------------- */

/* The k-th of the run. rint rounds halves to even, as NumPy does. Integers are below 2^53. */
double ddim_timestep(const ddim_config_t *config, size_t steps, size_t k) {
    int n = config->num_train_timesteps;
    size_t rising = steps - 1 - k;
    size_t ratio = (size_t)n / steps;
    double value = 0;
    switch (config->timestep_spacing) {
    case SPACING_LEADING: /* np.arange(steps) * (n // steps), falling, + offset */
        value = (double)(rising * ratio) + config->steps_offset;
        break;
    case SPACING_TRAILING: { /* np.arange(n, 0, -n / steps) - 1 */
        /* NumPy goes on by the difference of the first two numbers. */
        double second = n - (double)n / (double)steps;
        value = rint(n + (double)k * (second - n)) - 1;
        break;
    }
    case SPACING_LINSPACE: /* np.linspace(0, n - 1, steps), falling; no offset */
        if (steps > 1) value = rint((double)rising * ((n - 1) / (double)(steps - 1)));
        if (steps > 1 && k == 0) value = n - 1;
        break;
    }
    return value;
}

int ddim_refuse_timestep(const ddim_config_t *config, size_t steps, double timestep, err_t *err) {
    return err_set(err,
                   "%zu steps with %s spacing and steps_offset %d: timestep %.0f is outside 0..%d; "
                   "use fewer steps or another steps_offset",
                   steps, timestep_spacing_name(config->timestep_spacing), config->steps_offset,
                   timestep, config->num_train_timesteps - 1);
}

static int fill_timesteps(ddim_plan_t *ddim, err_t *err) {
    int n = ddim->config.num_train_timesteps;
    for (size_t k = 0; k < ddim->steps; k++) {
        double t = ddim_timestep(&ddim->config, ddim->steps, k);
        if (!(t >= 0 && t < n)) return ddim_refuse_timestep(&ddim->config, ddim->steps, t, err);
        ddim->timesteps[k] = (int)t;
    }
    return 0;
}

/* ---- plan ------------------------------------------------------------------------------------ */

int ddim_check_plan(const ddim_config_t *config, size_t steps, err_t *err) {
    int n = config->num_train_timesteps;
    if (n < 1 || n > DDIM_TRAIN_TIMESTEPS_MAX)
        return err_set(err, "num_train_timesteps %d: expected 1..%d", n, DDIM_TRAIN_TIMESTEPS_MAX);
    if (steps < 1 || steps > (size_t)n)
        return err_set(err, "%zu steps: expected 1..%d (num_train_timesteps)", steps, n);
    if (config->rescale_betas_zero_snr && config->prediction_type == PREDICT_EPSILON)
        return err_set(err,
                       "rescale_betas_zero_snr with prediction_type epsilon: at the last level "
                       "there is no picture left to predict from noise; use v_prediction");
    if (config->rescale_betas_zero_snr && n < 2)
        return err_set(err, "rescale_betas_zero_snr: expected at least 2 num_train_timesteps");
    return 0;
}

int ddim_plan(ddim_plan_t *ddim, const ddim_config_t *config, size_t steps, err_t *err) {
    if (ddim_check_plan(config, steps, err)) return -1;
    size_t n = (size_t)config->num_train_timesteps;
    ddim->config = *config;
    ddim->steps = steps;
    ddim->alphas_cumprod = xmalloc(n * sizeof *ddim->alphas_cumprod);
    ddim->timesteps = xmalloc(steps * sizeof *ddim->timesteps);
    ddim_levels(ddim->alphas_cumprod, config);
    ddim->final_alpha_cumprod = config->set_alpha_to_one ? 1.0f : ddim->alphas_cumprod[0];
    if (fill_timesteps(ddim, err)) {
        ddim_free(ddim);
        return -1;
    }
    return 0;
}

void ddim_free(ddim_plan_t *ddim) {
    free(ddim->alphas_cumprod);
    free(ddim->timesteps);
    ddim->alphas_cumprod = NULL;
    ddim->timesteps = NULL;
    ddim->steps = 0;
}
