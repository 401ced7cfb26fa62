/* ddim.c - see ddim.h: one step of the sampler, and guidance.
 *
 * Read before: ddim_plan.c. */
#include "sampler/ddim.h"

#include <math.h>

ddim_coefficients_t ddim_coefficients(const ddim_plan_t *ddim, size_t k, double eta) {
    REQUIRE(k < ddim->steps, "ddim_coefficients: step %zu of %zu", k, ddim->steps);
    ddim_coefficients_t c;
    c.timestep = ddim->timesteps[k];
    int previous = c.timestep - ddim->config.num_train_timesteps / (int)ddim->steps;
    float alpha_prev = previous >= 0 ? ddim->alphas_cumprod[previous] : ddim->final_alpha_cumprod;
    c.alpha = (acc_t)ddim->alphas_cumprod[c.timestep];
    c.alpha_prev = (acc_t)alpha_prev;

    acc_t beta = 1 - c.alpha, beta_prev = 1 - c.alpha_prev;
    acc_t variance = (beta_prev / beta) * (1 - c.alpha / c.alpha_prev);
    c.sigma = eta * sqrt(variance); /* (16) */
    acc_t room = beta_prev - c.sigma * c.sigma;
    if (room < 0 && eta <= 1) room = 0; /* 0 but for rounding, where sigma takes all there is */
    c.direction = sqrt(room);
    c.sqrt_alpha = sqrt(c.alpha);
    c.sqrt_beta = sqrt(beta);
    c.sqrt_alpha_prev = sqrt(c.alpha_prev);
    return c;
}

int ddim_check_eta(const ddim_plan_t *ddim, double eta, err_t *err) {
    if (!(eta >= 0) || isinf(eta))
        return err_set(err, "eta %g: expected a number from 0 to 1", eta);
    for (size_t k = 0; k < ddim->steps; k++) {
        ddim_coefficients_t c = ddim_coefficients(ddim, k, eta);
        if (!(c.direction >= 0))
            return err_set(
                err,
                "eta %g: at timestep %d the noise (sigma %g) would be more than the level "
                "it leads to (%g): use at most 1",
                eta, c.timestep, c.sigma, sqrt(1 - c.alpha_prev));
    }
    return 0;
}

/* The predicted picture (x0 of the paper) and the predicted noise. */
typedef struct {
    acc_t x0, epsilon;
} prediction_t;

static prediction_t predict(prediction_type_t type, const ddim_coefficients_t *c, acc_t model,
                            acc_t x) {
    acc_t sqrt_alpha = c->sqrt_alpha, sqrt_beta = c->sqrt_beta;
    prediction_t p = {0, 0};
    switch (type) {
    case PREDICT_EPSILON:
        p.x0 = (x - sqrt_beta * model) / sqrt_alpha;
        p.epsilon = model;
        break;
    case PREDICT_V:
        p.x0 = sqrt_alpha * x - sqrt_beta * model;
        p.epsilon = sqrt_alpha * model + sqrt_beta * x;
        break;
    case PREDICT_SAMPLE:
        p.x0 = model;
        p.epsilon = (x - sqrt_alpha * model) / sqrt_beta;
        break;
    }
    return p;
}

/* A NaN stays one, as in torch.clamp. */
static acc_t clamp(acc_t x, acc_t limit) {
    if (x > limit) return limit;
    return x < -limit ? -limit : x;
}

static prediction_t predict_clipped(const ddim_config_t *config, const ddim_coefficients_t *c,
                                    acc_t model, acc_t x) {
    prediction_t p = predict(config->prediction_type, c, model, x);
    if (config->clip_sample) p.x0 = clamp(p.x0, config->clip_sample_range);
    return p;
}

void ddim_step(real_t *out, const ddim_plan_t *ddim, size_t k, const real_t *model_output,
               const real_t *sample, size_t n, double eta, const real_t *noise) {
    REQUIRE(k < ddim->steps, "ddim_step: step %zu of %zu", k, ddim->steps);
    REQUIRE(eta >= 0, "ddim_step: eta %g", eta);
    REQUIRE(noise || eta == 0, "ddim_step: eta %g without noise", eta);
    const ddim_config_t *config = &ddim->config;
    ddim_coefficients_t c = ddim_coefficients(ddim, k, eta);
    for (size_t i = 0; i < n; i++) {
        prediction_t p = predict_clipped(config, &c, (acc_t)model_output[i], (acc_t)sample[i]);
        acc_t next = c.sqrt_alpha_prev * p.x0 + c.direction * p.epsilon; /* (12) */
        if (eta > 0) next += c.sigma * (acc_t)noise[i];
        out[i] = (real_t)next;
    }
}

void ddim_x0(real_t *out, const ddim_plan_t *ddim, size_t k, const real_t *model_output,
             const real_t *sample, size_t n) {
    ddim_coefficients_t c = ddim_coefficients(ddim, k, 0);
    for (size_t i = 0; i < n; i++)
        out[i] =
            (real_t)predict_clipped(&ddim->config, &c, (acc_t)model_output[i], (acc_t)sample[i]).x0;
}

void guidance(real_t *out, const real_t *uncond, const real_t *cond, double scale, size_t n) {
    for (size_t i = 0; i < n; i++) {
        acc_t u = (acc_t)uncond[i];
        out[i] = (real_t)(u + scale * ((acc_t)cond[i] - u));
    }
}
