/* sampler.c - see sampler.h. */
#include "sampler/sampler.h"

#include <string.h>

#include "io/source.h"

static const struct {
    const char *name, *class_name;
} samplers[] = {[SAMPLER_DDIM] = {"DDIM", "DDIMScheduler"},
                [SAMPLER_EULER] = {"Euler", "EulerDiscreteScheduler"}};

const char *sampler_name(sampler_kind_t kind) {
    return samplers[kind].name;
}

sampler_kind_t sampler_of_class(const char *class_name) {
    bool euler = strcmp(class_name, samplers[SAMPLER_EULER].class_name) == 0;
    return euler ? SAMPLER_EULER : SAMPLER_DDIM;
}

/* ---- Euler's settings ------------------------------------------------------------------------ */

/* What would change every number, and is not built. */
static int refuse_others(json_node_t node, err_t *err) {
    static const char *const off[] = {"use_karras_sigmas", "use_exponential_sigmas",
                                      "use_beta_sigmas"};
    static const char *const absent[] = {"sigma_min", "sigma_max"};
    static const char *const interpolations[] = {"linear", NULL};
    size_t index;
    for (size_t i = 0; i < sizeof off / sizeof *off; i++) {
        bool on;
        if (json_get_bool_or(node, off[i], false, &on, err)) return -1;
        if (on)
            return json_node_error(node, off[i], err,
                                   "other sigmas are not implemented, expected false");
    }
    for (size_t i = 0; i < sizeof absent / sizeof *absent; i++)
        if (json_node_has(node, absent[i]))
            return json_node_error(node, absent[i], err, "not implemented, expected null");
    return json_get_choice_or(node, "interpolation_type", interpolations, 0, &index, err);
}

int sampler_read_euler(sampler_choice_t *choice, ddim_config_t *config, const char *path,
                       err_t *err) {
    static const char *const finals[] = {"zero", "sigma_min", NULL};
    json_file_t *file;
    size_t final;
    if (ddim_config_read(config, path, err) || source_json(&file, path, err)) return -1;
    json_node_t node = json_file_root(file);
    int status = refuse_others(node, err) ||
                 json_get_choice_or(node, "final_sigmas_type", finals, 0, &final, err);
    if (!status) {
        *choice = (sampler_choice_t){SAMPLER_EULER, final == 1};
        if (!json_node_has(node, "timestep_spacing")) config->timestep_spacing = SPACING_LINSPACE;
    }
    json_file_close(file);
    return status ? -1 : 0;
}

/* ---- a run ----------------------------------------------------------------------------------- */

static int plan_ddim(sampler_t *s, const ddim_config_t *config, err_t *err) {
    if (ddim_plan(&s->plan.ddim, config, s->steps, err)) return -1;
    if (!ddim_check_eta(&s->plan.ddim, s->eta, err)) return 0;
    ddim_free(&s->plan.ddim);
    return -1;
}

int sampler_plan(sampler_t *s, sampler_choice_t choice, const ddim_config_t *config, size_t steps,
                 double eta, err_t *err) {
    *s = (sampler_t){.kind = choice.kind, .steps = steps, .eta = eta};
    if (choice.kind == SAMPLER_DDIM) return plan_ddim(s, config, err);
    if (eta != 0) return err_set(err, "eta %g: Euler's steps take no noise, expected 0", eta);
    return euler_plan(&s->plan.euler, config, choice.final_sigma_min, steps, err);
}

void sampler_free(sampler_t *s) {
    if (s->kind == SAMPLER_DDIM)
        ddim_free(&s->plan.ddim);
    else
        euler_free(&s->plan.euler);
}

double sampler_timestep(const sampler_t *s, size_t k) {
    return s->kind == SAMPLER_DDIM ? s->plan.ddim.timesteps[k] : (double)s->plan.euler.timesteps[k];
}

void sampler_start(const sampler_t *s, real_t *latents, size_t n) {
    if (s->kind == SAMPLER_DDIM) return;
    for (size_t i = 0; i < n; i++)
        latents[i] = (real_t)(s->plan.euler.init_noise_sigma * (acc_t)latents[i]);
}

void sampler_scale_input(real_t *out, const sampler_t *s, size_t k, const real_t *sample,
                         size_t n) {
    if (s->kind == SAMPLER_EULER)
        euler_scale_model_input(out, &s->plan.euler, k, sample, n);
    else if (out != sample)
        memcpy(out, sample, n * sizeof *out);
}

void sampler_step(real_t *out, const sampler_t *s, size_t k, const real_t *model_output,
                  const real_t *sample, size_t n, const real_t *noise) {
    if (s->kind == SAMPLER_DDIM)
        ddim_step(out, &s->plan.ddim, k, model_output, sample, n, s->eta, noise);
    else
        euler_step(out, &s->plan.euler, k, model_output, sample, n);
}

void sampler_x0(real_t *out, const sampler_t *s, size_t k, const real_t *model_output,
                const real_t *sample, size_t n) {
    if (s->kind == SAMPLER_DDIM)
        ddim_x0(out, &s->plan.ddim, k, model_output, sample, n);
    else
        euler_x0(out, &s->plan.euler, k, model_output, sample, n);
}
