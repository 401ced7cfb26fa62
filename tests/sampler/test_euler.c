/* test_euler.c - Euler's timesteps and sigmas (bit for bit) and steps against diffusers, by golden/sampler;
 * the sampler interface; and what of a scheduler_config.json Euler takes. */
#include <math.h>

#include "../scratch.h"
#include "../unit.h"
#include "core/dtype.h"
#include "io/json.h"
#include "io/safetensors.h"
#include "sampler/sampler.h"
#include "sampler_calls.h"

/* ---- settings of a golden row ---------------------------------------------------------------- */

static ddim_config_t config_of(json_node_t row, bool *final_sigma_min) {
    static const char *const schedules[] = {"linear", "scaled_linear", "squaredcos_cap_v2", NULL};
    static const char *const spacings[] = {"leading", "trailing", "linspace", NULL};
    static const char *const predictions[] = {"epsilon", "v_prediction", "sample", NULL};
    static const char *const finals[] = {"zero", "sigma_min", NULL};
    ddim_config_t c = ddim_config_diffusers;
    size_t schedule, spacing, prediction, final;
    int64_t offset;
    err_t err;
    must(json_get_choice_or(row, "beta_schedule", schedules, 0, &schedule, &err), &err);
    must(json_get_choice(row, "timestep_spacing", spacings, &spacing, &err), &err);
    must(json_get_choice_or(row, "prediction_type", predictions, 0, &prediction, &err), &err);
    must(json_get_choice_or(row, "final_sigmas_type", finals, 0, &final, &err), &err);
    must(json_get_double_or(row, "beta_start", 0.0001, &c.beta_start, &err), &err);
    must(json_get_double_or(row, "beta_end", 0.02, &c.beta_end, &err), &err);
    must(json_get_int_or(row, "steps_offset", 0, 1, 0, &offset, &err), &err);
    must(json_get_bool_or(row, "rescale_betas_zero_snr", false, &c.rescale_betas_zero_snr, &err),
         &err);
    c.beta_schedule = (beta_schedule_t)schedule;
    c.timestep_spacing = (timestep_spacing_t)spacing;
    c.prediction_type = (prediction_type_t)prediction;
    c.steps_offset = (int)offset;
    *final_sigma_min = final == 1;
    return c;
}

static euler_plan_t plan_of(json_node_t row, int64_t *steps) {
    bool final_sigma_min;
    euler_plan_t euler;
    err_t err;
    ddim_config_t config = config_of(row, &final_sigma_min);
    must(json_get_int(row, "num_inference_steps", 1, 1000, steps, &err), &err);
    must(euler_plan(&euler, &config, final_sigma_min, (size_t)*steps, &err), &err);
    return euler;
}

/* ---- tables ---------------------------------------------------------------------------------- */

/* With zero terminal SNR the levels have torch's float32 sqrt in them (ddim.h): close is enough. */
static void check_bits(json_node_t row, const char *key, const float *found, size_t count,
                       bool close) {
    const char *text;
    err_t err;
    must(json_get_string(row, key, &text, &err), &err);
    for (size_t i = 0; i < count; i++) {
        char *end = NULL;
        uint32_t bits = (uint32_t)strtoul(text, &end, 16);
        float expected;
        memcpy(&expected, &bits, sizeof expected);
        assert_ptr_not_equal(text, end);
        bool good = close ? fabsf(found[i] - expected) <= 1e-5f * expected : found[i] == expected;
        if (!good)
            fail_msg("%s %s[%zu]: %.9g, torch has %.9g", row.where, key, i, (double)found[i],
                     (double)expected);
        text = end;
    }
    assert_int_equal(*text, '\0');
}

static void tables(void **state) {
    (void)state;
    json_file_t *file;
    size_t rows;
    err_t err;
    must(json_file_open(&file, "golden/sampler/euler-tables.json", &err), &err);
    json_node_t root = json_file_root(file), row;
    must(json_get_length(root, "tables", &rows, &err), &err);
    assert_true(rows > 20);
    for (size_t i = 0; i < rows; i++) {
        int64_t steps;
        double start;
        must(json_get_item(root, "tables", i, &row, &err), &err);
        euler_plan_t euler = plan_of(row, &steps);
        bool close = json_node_has(row, "rescale_betas_zero_snr");
        check_bits(row, "timesteps", euler.timesteps, (size_t)steps, false);
        check_bits(row, "sigmas", euler.sigmas, (size_t)steps + 1, close);
        must(json_get_double(row, "init_noise_sigma", &start, &err), &err);
        assert_true(fabs(euler.init_noise_sigma - start) <= (close ? 1e-5 : 0x1p-23) * start);
        euler_free(&euler);
    }
    json_file_close(file);
}

/* ---- steps ----------------------------------------------------------------------------------- */

/* float64: 1e-14 of the tensor's scale; float32: no worse than PyTorch's own float32 error, and never asked
 * for more than half an ulp of the scale. */
static void check_output(json_node_t call, size_t index, const st_file_t *tensors,
                         const real_t *found, size_t n) {
    json_node_t output, f32_error;
    const char *name;
    double truth[NUMBERS_MAX], peer, scale = 0, square = 0;
    err_t err;
    must(json_get_item(call, "outputs", index, &output, &err), &err);
    must(json_get_string(output, "tensor", &name, &err), &err);
    must(json_get_object(output, "f32_error", &f32_error, &err), &err);
    must(json_get_double(f32_error, "rms", &peer, &err), &err);
    assert_int_equal(sampler_tensor(tensors, name, truth), n);
    for (size_t i = 0; i < n; i++) {
        scale = fmax(scale, fabs(truth[i]));
        square += ((double)found[i] - truth[i]) * ((double)found[i] - truth[i]);
    }
    double rms = sqrt(square / (double)n);
    double bound = sizeof(real_t) == 8 ? 1e-14 * scale : fmax(peer, EPSILON / 2 * scale);
    if (!(rms <= bound)) fail_msg("%s: rms error %.3g, bound %.3g", name, rms, bound);
}

static void check_step(json_node_t call, const st_file_t *tensors) {
    json_node_t attrs;
    int64_t steps, k;
    real_t x[NUMBERS_MAX], m[NUMBERS_MAX], out[NUMBERS_MAX];
    err_t err;
    must(json_get_object(call, "attrs", &attrs, &err), &err);
    must(json_get_int(attrs, "step", 0, 999, &k, &err), &err);
    size_t n = sampler_input(call, "sample", tensors, x);
    assert_int_equal(sampler_input(call, "model_output", tensors, m), n);
    euler_plan_t euler = plan_of(attrs, &steps);
    euler_scale_model_input(out, &euler, (size_t)k, x, n);
    check_output(call, 0, tensors, out, n);
    euler_step(out, &euler, (size_t)k, m, x, n);
    check_output(call, 1, tensors, out, n);
    euler_step(x, &euler, (size_t)k, m, x, n); /* in place */
    assert_memory_equal(x, out, n * sizeof *x);
    euler_free(&euler);
}

static void steps(void **state) {
    (void)state;
    sampler_calls("euler_step", 9, check_step);
}

/* ---- the interface --------------------------------------------------------------------------- */

/* A network that finds the noise: whatever the sampler, the run ends at the picture it started to hide. */
static void finds_the_picture(void **state) {
    (void)state;
    for (int kind = SAMPLER_DDIM; kind <= SAMPLER_EULER; kind++) {
        ddim_config_t config = ddim_config_authors;
        sampler_t sampler;
        err_t err;
        must(sampler_plan(&sampler, (sampler_choice_t){.kind = (sampler_kind_t)kind}, &config, 20,
                          0, &err),
             &err);
        const acc_t picture = 0.3;
        real_t latent = (real_t)0.8, input;
        sampler_start(&sampler, &latent, 1);
        for (size_t k = 0; k < sampler.steps; k++) {
            double alpha = 0;
            ddim_plan_t levels;
            must(ddim_plan(&levels, &config, 20, &err), &err);
            alpha = (double)levels.alphas_cumprod[(size_t)sampler_timestep(&sampler, k)];
            sampler_scale_input(&input, &sampler, k, &latent, 1);
            real_t noise = (real_t)(((acc_t)input - sqrt(alpha) * picture) / sqrt(1 - alpha));
            sampler_step(&latent, &sampler, k, &noise, &latent, 1, NULL);
            ddim_free(&levels);
        }
        assert_true(fabs((double)latent - picture) < 1e-5);
        sampler_free(&sampler);
    }
}

static void euler_takes_no_eta(void **state) {
    (void)state;
    sampler_t sampler;
    err_t err;
    assert_int_equal(sampler_plan(&sampler, (sampler_choice_t){.kind = SAMPLER_EULER},
                                  &ddim_config_authors, 20, 0.5, &err),
                     -1);
    assert_message(&err, "eta 0.5", "expected 0", NULL);
}

/* Leading spacing and an offset beyond the table: where NumPy would take the last sigma. */
static void timesteps_outside(void **state) {
    (void)state;
    ddim_config_t config = ddim_config_authors;
    euler_plan_t euler;
    err_t err;
    config.steps_offset = 1;
    assert_int_equal(euler_plan(&euler, &config, false, 1000, &err), -1);
    assert_message(&err, "1000", "outside 0..999", NULL);
}

/* No step stands still: with every number of steps, timesteps and sigmas fall, and differ. */
static void timesteps_fall(void **state) {
    (void)state;
    size_t plans = 0;
    for (int spacing = SPACING_LEADING; spacing <= SPACING_LINSPACE; spacing++)
        for (size_t steps = 1; steps <= 1000; steps++) {
            ddim_config_t config = ddim_config_authors;
            euler_plan_t euler;
            err_t err;
            config.timestep_spacing = (timestep_spacing_t)spacing;
            config.steps_offset = spacing == SPACING_LEADING && steps <= 500;
            must(euler_plan(&euler, &config, false, steps, &err), &err);
            for (size_t k = 1; k < steps; k++)
                if (!(euler.timesteps[k] < euler.timesteps[k - 1] &&
                      euler.sigmas[k] < euler.sigmas[k - 1]))
                    fail_msg("spacing %d, %zu steps: timestep %zu is %g after %g", spacing, steps,
                             k, (double)euler.timesteps[k], (double)euler.timesteps[k - 1]);
            assert_true(euler.sigmas[steps] == 0 && euler.sigmas[steps - 1] > 0);
            plans++;
            euler_free(&euler);
        }
    assert_int_equal(plans, 3000);
}

/* ---- scheduler_config.json ------------------------------------------------------------------- */

static const char *write_config(const char *more) {
    const char *path = scratch_path("scheduler_config.json");
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fprintf(file,
            "{\"_class_name\": \"EulerDiscreteScheduler\", \"num_train_timesteps\": 1000, "
            "\"beta_start\": 0.00085%s}",
            more);
    fclose(file);
    return path;
}

static void settings_that_are_taken(void **state) {
    (void)state;
    sampler_choice_t choice;
    ddim_config_t config;
    err_t err;
    must(sampler_read_euler(&choice, &config, write_config(""), &err), &err);
    assert_int_equal(choice.kind, SAMPLER_EULER);
    assert_int_equal(config.timestep_spacing, SPACING_LINSPACE); /* DDIM's would be leading */
    assert_false(choice.final_sigma_min);
    must(sampler_read_euler(&choice, &config,
                            write_config(", \"timestep_spacing\": \"leading\", "
                                         "\"final_sigmas_type\": \"sigma_min\", "
                                         "\"interpolation_type\": \"linear\", "
                                         "\"use_karras_sigmas\": false, \"sigma_min\": null"),
                            &err),
         &err);
    assert_int_equal(config.timestep_spacing, SPACING_LEADING);
    assert_true(choice.final_sigma_min);
    assert_int_equal(sampler_of_class(config.class_name), SAMPLER_EULER);
    assert_int_equal(sampler_of_class("PNDMScheduler"), SAMPLER_DDIM);
}

static void settings_that_are_refused(void **state) {
    (void)state;
    static const char *const rows[][2] = {{"use_karras_sigmas", "true"},
                                          {"use_exponential_sigmas", "true"},
                                          {"use_beta_sigmas", "true"},
                                          {"sigma_max", "80"},
                                          {"sigma_min", "0.01"},
                                          {"interpolation_type", "\"log_linear\""},
                                          {"final_sigmas_type", "\"other\""},
                                          {"timestep_type", "\"continuous\""}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        sampler_choice_t choice;
        ddim_config_t config;
        char more[80];
        err_t err;
        snprintf(more, sizeof more, ", \"%s\": %s", rows[i][0], rows[i][1]);
        if (sampler_read_euler(&choice, &config, write_config(more), &err) == 0)
            fail_msg("%s was accepted", rows[i][0]);
        assert_message(&err, "scheduler_config.json", rows[i][0], NULL);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tables),
        cmocka_unit_test(steps),
        cmocka_unit_test(finds_the_picture),
        cmocka_unit_test(euler_takes_no_eta),
        cmocka_unit_test(timesteps_outside),
        cmocka_unit_test(timesteps_fall),
        cmocka_unit_test(settings_that_are_taken),
        cmocka_unit_test(settings_that_are_refused),
    };
    return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
