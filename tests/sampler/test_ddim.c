/* test_ddim.c - DDIM's levels (bit for bit), timesteps (as integers) and steps against diffusers,
 * by golden/sampler; and the equations of the paper against themselves. */
#include <math.h>

#include "../scratch.h"
#include "../unit.h"
#include "core/dtype.h"
#include "io/json.h"
#include "io/safetensors.h"
#include "sampler/ddim.h"
#include "sampler_calls.h"
#include "trace/diff.h"

#define COUNT(a) (sizeof(a) / sizeof(a)[0])
static ddim_plan_t plan(const ddim_config_t *config, size_t steps) {
    ddim_plan_t ddim;
    err_t err;
    must(ddim_plan(&ddim, config, steps, &err), &err);
    return ddim;
}

/* The value whose name is `text`. */
static int name_of(const char *text, const char *a, const char *b, const char *c) {
    const char *names[] = {a, b, c};
    for (int i = 0; i < 3; i++)
        if (strcmp(text, names[i]) == 0) return i;
    fail_msg("%s is not a name that the test knows", text);
    return -1;
}

static int schedule_of(const char *text) {
    return name_of(text, "linear", "scaled_linear", "squaredcos_cap_v2");
}
static int spacing_of(const char *text) {
    return name_of(text, "leading", "trailing", "linspace");
}

/* ---- levels ---------------------------------------------------------------------------------- */

static void check_table(json_node_t row) {
    ddim_config_t config = ddim_config_diffusers;
    json_node_t final;
    const char *schedule, *text, *last;
    err_t err;
    must(json_get_string(row, "beta_schedule", &schedule, &err), &err);
    must(json_get_string(row, "alphas_cumprod", &text, &err), &err);
    must(json_get_double_or(row, "beta_start", 0.0001, &config.beta_start, &err), &err);
    must(json_get_double_or(row, "beta_end", 0.02, &config.beta_end, &err), &err);
    must(json_get_object(row, "final_alpha_cumprod", &final, &err), &err);
    must(json_get_string(final, "otherwise", &last, &err), &err);
    config.beta_schedule = (beta_schedule_t)schedule_of(schedule);
    config.set_alpha_to_one = false;
    must(json_get_bool_or(row, "rescale_betas_zero_snr", false, &config.rescale_betas_zero_snr,
                          &err),
         &err);
    if (config.rescale_betas_zero_snr) config.prediction_type = PREDICT_V;
    ddim_plan_t ddim = plan(&config, 1);
    for (int t = 0; t < config.num_train_timesteps; t++) {
        char *end = NULL;
        uint32_t expected = (uint32_t)strtoul(text, &end, 16), got;
        assert_ptr_not_equal(text, end);
        memcpy(&got, &ddim.alphas_cumprod[t], sizeof got);
        if (got != expected) fail_msg("%s[%d]: %08x, torch has %08x", schedule, t, got, expected);
        text = end;
    }
    assert_int_equal(*text, '\0');
    uint32_t bits;
    memcpy(&bits, &ddim.final_alpha_cumprod, sizeof bits);
    assert_int_equal(bits, strtoul(last, NULL, 16));
    ddim_free(&ddim);
    config.set_alpha_to_one = true;
    ddim = plan(&config, 1);
    assert_true(ddim.final_alpha_cumprod == 1);
    ddim_free(&ddim);
}

static void check_timesteps(json_node_t row) {
    enum { STEPS_MAX = 1001 };
    static int64_t expected[STEPS_MAX];
    ddim_config_t config = ddim_config_authors;
    const char *spacing;
    int64_t offset, steps;
    size_t count;
    bool inside = true;
    err_t err;
    must(json_get_string(row, "timestep_spacing", &spacing, &err), &err);
    must(json_get_int(row, "steps_offset", 0, 1, &offset, &err), &err);
    must(json_get_int(row, "steps", 1, 1000, &steps, &err), &err);
    must(json_get_ints(row, "timesteps", -1, 1000, 1, STEPS_MAX, expected, &count, &err), &err);
    config.timestep_spacing = (timestep_spacing_t)spacing_of(spacing);
    config.steps_offset = (int)offset;
    for (size_t k = 0; k < (size_t)steps; k++) inside = inside && expected[k] < 1000;
    if (!inside) { /* diffusers would fail at its first step: refused here */
        ddim_plan_t ddim;
        assert_int_equal(ddim_plan(&ddim, &config, (size_t)steps, &err), -1);
        assert_non_null(strstr(err.text, "timestep 1000 is outside 0..999"));
        return;
    }
    assert_true(count >= (size_t)steps);
    ddim_plan_t ddim = plan(&config, (size_t)steps);
    for (size_t k = 0; k < ddim.steps; k++)
        if (ddim.timesteps[k] != expected[k])
            fail_msg("%s, offset %d, %zu steps: timestep %zu is %d, diffusers has %d", spacing,
                     config.steps_offset, ddim.steps, k, ddim.timesteps[k], (int)expected[k]);
    ddim_free(&ddim);
}

static void golden_tables(void **state) {
    json_file_t *file;
    json_node_t row;
    err_t err;
    size_t count;
    (void)state;
    must(json_file_open(&file, "golden/sampler/ddim-tables.json", &err), &err);
    json_node_t root = json_file_root(file);
    must(json_get_length(root, "tables", &count, &err), &err);
    assert_int_equal(count, 5);
    for (size_t i = 0; i < count; i++) {
        must(json_get_item(root, "tables", i, &row, &err), &err);
        check_table(row);
    }
    must(json_get_length(root, "timesteps", &count, &err), &err);
    assert_true(count >= 40);
    for (size_t i = 0; i < count; i++) {
        must(json_get_item(root, "timesteps", i, &row, &err), &err);
        check_timesteps(row);
    }
    json_file_close(file);
}

/* Where NumPy's roundings show: halves go to even, arange goes on by a rounded difference, and an
 * extra -1 (diffusers 0.42.1 has it for 61 trailing steps of 1000) is left out. */
static void timestep_corners(void **state) {
    static const struct {
        timestep_spacing_t spacing;
        int train, steps, k, expected;
    } rows[] = {
        /* 999 * 2 / 4 = 499.5, to even; and 999 / 4 = 249.75 */
        {SPACING_LINSPACE, 1000, 5, 2, 500},   {SPACING_LINSPACE, 1000, 5, 3, 250},
        {SPACING_LINSPACE, 4, 3, 1, 2},                                        /* 1.5 */
        {SPACING_LINSPACE, 6, 3, 1, 2},                                        /* 2.5 */
        {SPACING_LINSPACE, 1000, 1, 0, 0},     {SPACING_TRAILING, 5, 2, 1, 1}, /* 2.5 - 1 */
        {SPACING_TRAILING, 1000, 61, 60, 15},  {SPACING_TRAILING, 1000, 1, 0, 999},
        {SPACING_LEADING, 1000, 7, 0, 852}, /* 6 * 142 */
        {SPACING_LEADING, 1000, 1000, 0, 999},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        ddim_config_t config = ddim_config_diffusers;
        config.timestep_spacing = rows[i].spacing;
        config.num_train_timesteps = rows[i].train;
        ddim_plan_t ddim = plan(&config, (size_t)rows[i].steps);
        assert_int_equal(ddim.timesteps[rows[i].k], rows[i].expected);
        assert_int_equal(ddim.steps, rows[i].steps);
        ddim_free(&ddim);
    }
}

/* The authors' settings, as docs and issue reports state them. */
static void authors(void **state) {
    ddim_plan_t ddim = plan(&ddim_config_authors, 50);
    (void)state;
    for (size_t k = 0; k < 50; k++) assert_int_equal(ddim.timesteps[k], 981 - 20 * (int)k);
    assert_true(ddim.final_alpha_cumprod == 1);
    assert_float_equal(ddim.alphas_cumprod[0], 0.99915, 1e-7);
    assert_float_equal(ddim.alphas_cumprod[999], 0.00466010, 1e-8);
    ddim_coefficients_t last = ddim_coefficients(&ddim, 49, 0);
    assert_true(last.alpha_prev == 1 && last.direction == 0); /* the last step returns x0 */
    ddim_free(&ddim);
}

/* Without an offset the last step but one ends at timestep 0, which is a level of the table; the
 * last ends below it. */
static void where_a_step_ends(void **state) {
    ddim_config_t config = ddim_config_authors;
    config.steps_offset = 0;
    ddim_plan_t ddim = plan(&config, 50);
    (void)state;
    assert_true(ddim_coefficients(&ddim, 0, 0).alpha_prev == (acc_t)ddim.alphas_cumprod[960]);
    assert_true(ddim_coefficients(&ddim, 48, 0).alpha_prev == (acc_t)ddim.alphas_cumprod[0]);
    assert_true(ddim_coefficients(&ddim, 49, 0).alpha_prev == 1);
    ddim_free(&ddim);
    config.set_alpha_to_one = false;
    ddim = plan(&config, 50);
    assert_true(ddim_coefficients(&ddim, 49, 0).alpha_prev == (acc_t)ddim.alphas_cumprod[0]);
    ddim_free(&ddim);
}

/* diffusers' previous timestep is timestep - num_train_timesteps // steps, whatever the list has next:
 * trailing's 3 steps are at 999, 666 and 332, linspace's 5 at 999, 749, 500, 250 and 0. */
static void steps_end_beside_the_list(void **state) {
    (void)state;
    ddim_config_t config = ddim_config_authors;
    config.steps_offset = 0;
    config.timestep_spacing = SPACING_TRAILING;
    ddim_plan_t ddim = plan(&config, 3);
    assert_int_equal(ddim.timesteps[2], 332);
    assert_true(ddim_coefficients(&ddim, 1, 0).alpha_prev == (acc_t)ddim.alphas_cumprod[333]);
    ddim_free(&ddim);
    config.timestep_spacing = SPACING_LINSPACE;
    ddim = plan(&config, 5);
    assert_int_equal(ddim.timesteps[1], 749);
    assert_true(ddim_coefficients(&ddim, 0, 0).alpha_prev == (acc_t)ddim.alphas_cumprod[799]);
    ddim_free(&ddim);
}

/* With zero terminal SNR the last level is 0 and the first is kept. */
static void zero_snr(void **state) {
    ddim_config_t config = ddim_config_authors;
    ddim_plan_t plain = plan(&config, 10);
    config.rescale_betas_zero_snr = true;
    config.prediction_type = PREDICT_V;
    config.timestep_spacing = SPACING_TRAILING;
    ddim_plan_t ddim = plan(&config, 10);
    (void)state;
    assert_true(ddim.alphas_cumprod[999] == 0);
    assert_float_equal(ddim.alphas_cumprod[0], plain.alphas_cumprod[0], 1e-6);
    /* The shifted and stretched root, in double. */
    double first = sqrt((double)plain.alphas_cumprod[0]);
    double last = sqrt((double)plain.alphas_cumprod[999]);
    for (int t = 0; t < 1000; t++) {
        double root = (sqrt((double)plain.alphas_cumprod[t]) - last) * first / (first - last);
        assert_true(fabs((double)ddim.alphas_cumprod[t] - root * root) < 1e-5);
    }
    const real_t x[2] = {1, -2}, v[2] = {(real_t)0.5, 4};
    real_t out[2];
    ddim_step(out, &ddim, 0, v, x, 2, 1, x); /* alpha is 0 at the first step, and that is fine */
    assert_true(isfinite(out[0]) && isfinite(out[1]));
    ddim_free(&plain);
    ddim_free(&ddim);
    /* From level 0, eta 1 takes all the room there is: no NaN where rounding takes more. */
    for (size_t steps = 2; steps <= 200; steps++) {
        ddim = plan(&config, steps);
        ddim_coefficients_t c = ddim_coefficients(&ddim, 0, 1);
        assert_true(c.direction >= 0 && c.direction < 1e-7 && c.sigma > 0);
        ddim_free(&ddim);
    }
}

/* ---- steps ----------------------------------------------------------------------------------- */

static ddim_config_t config_of(json_node_t attrs) {
    ddim_config_t c = ddim_config_authors;
    const char *schedule, *spacing, *prediction;
    int64_t offset;
    err_t err;
    must(json_get_string(attrs, "beta_schedule", &schedule, &err), &err);
    must(json_get_string(attrs, "timestep_spacing", &spacing, &err), &err);
    must(json_get_string(attrs, "prediction_type", &prediction, &err), &err);
    must(json_get_double(attrs, "beta_start", &c.beta_start, &err), &err);
    must(json_get_double(attrs, "beta_end", &c.beta_end, &err), &err);
    must(json_get_int(attrs, "steps_offset", 0, 1, &offset, &err), &err);
    must(json_get_bool(attrs, "set_alpha_to_one", &c.set_alpha_to_one, &err), &err);
    must(json_get_bool(attrs, "clip_sample", &c.clip_sample, &err), &err);
    must(json_get_double_or(attrs, "clip_sample_range", 1, &c.clip_sample_range, &err), &err);
    must(json_get_bool_or(attrs, "rescale_betas_zero_snr", false, &c.rescale_betas_zero_snr, &err),
         &err);
    c.steps_offset = (int)offset;
    c.beta_schedule = (beta_schedule_t)schedule_of(schedule);
    c.timestep_spacing = (timestep_spacing_t)spacing_of(spacing);
    c.prediction_type = (prediction_type_t)name_of(prediction, "epsilon", "v_prediction", "sample");
    return c;
}

static size_t step_at(const ddim_plan_t *ddim, int64_t timestep) {
    for (size_t k = 0; k < ddim->steps; k++)
        if (ddim->timesteps[k] == timestep) return k;
    fail_msg("timestep %d is not in the plan", (int)timestep);
    return 0;
}

/* float64: 1e-14 of the tensor's scale; float32: no worse than PyTorch's own float32 error. */
static void check_step(json_node_t call, const st_file_t *tensors) {
    json_node_t attrs, output, f32_error;
    const char *id, *name;
    int64_t timestep, steps;
    double eta, peer, got[NUMBERS_MAX], truth[NUMBERS_MAX];
    real_t x[NUMBERS_MAX], m[NUMBERS_MAX], noise[NUMBERS_MAX], out[NUMBERS_MAX];
    char text[400];
    err_t err;
    must(json_get_string(call, "id", &id, &err), &err);
    must(json_get_object(call, "attrs", &attrs, &err), &err);
    must(json_get_item(call, "outputs", 0, &output, &err), &err);
    must(json_get_string(output, "tensor", &name, &err), &err);
    must(json_get_object(output, "f32_error", &f32_error, &err), &err);
    must(json_get_double(f32_error, "rms", &peer, &err), &err);
    must(json_get_int(attrs, "timestep", 0, 999, &timestep, &err), &err);
    must(json_get_int(attrs, "num_inference_steps", 1, 1000, &steps, &err), &err);
    must(json_get_double(attrs, "eta", &eta, &err), &err);
    size_t n = sampler_input(call, "sample", tensors, x);
    assert_int_equal(sampler_input(call, "model_output", tensors, m), n);
    bool noisy = sampler_input(call, "variance_noise", tensors, noise) > 0;
    const st_tensor_t *expected = st_find(tensors, name);
    assert_non_null(expected);
    assert_int_equal(shape_count(expected->shape), n);

    ddim_config_t config = config_of(attrs);
    ddim_plan_t ddim = plan(&config, (size_t)steps);
    must(ddim_check_eta(&ddim, eta, &err), &err);
    ddim_step(out, &ddim, step_at(&ddim, timestep), m, x, n, eta, noisy ? noise : NULL);
    for (size_t i = 0; i < n; i++) got[i] = (double)out[i];
    dtype_to_double(truth, expected->data, expected->dtype, n);
    diff_t d = diff_tensors(got, truth, n);
    diff_describe(text, sizeof text, id, expected->shape, &d, EPSILON);
#ifdef MOLE_F64
    if (!(diff_relative(&d) <= 1e-14)) fail_msg("%s", text);
#else
    if (!(diff_ratio(&d, peer) <= 1)) fail_msg("%s; ratio %.3g", text, diff_ratio(&d, peer));
#endif
    /* In place, over the sample. */
    ddim_step(x, &ddim, step_at(&ddim, timestep), m, x, n, eta, noisy ? noise : NULL);
    assert_memory_equal(x, out, n * sizeof *x);
    ddim_free(&ddim);
}

static void golden_steps(void **state) {
    (void)state;
    sampler_calls("ddim_step", 25, check_step);
}

/* If the model is right about the noise, a step from level to level is exact: a picture p with
 * noise e at level alpha, sqrt(alpha) p + sqrt(1 - alpha) e, goes to the same with alpha_prev.
 * This uses no equation of the step but what it is for. */
static void exact_model(void **state) {
    const double p = 0.7, e = -1.3;
    (void)state;
    for (int type = PREDICT_EPSILON; type <= PREDICT_SAMPLE; type++) {
        ddim_config_t config = ddim_config_authors;
        config.prediction_type = (prediction_type_t)type;
        ddim_plan_t ddim = plan(&config, 20);
        for (size_t k = 0; k < ddim.steps; k++) {
            double a = (double)ddim.alphas_cumprod[ddim.timesteps[k]];
            double next =
                k + 1 < ddim.steps ? (double)ddim.alphas_cumprod[ddim.timesteps[k + 1]] : 1;
            double v = sqrt(a) * e - sqrt(1 - a) * p; /* Salimans & Ho 2022, appendix D */
            const double says[] = {e, v, p};
            real_t x = (real_t)(sqrt(a) * p + sqrt(1 - a) * e), m = (real_t)says[type], out;
            ddim_step(&out, &ddim, k, &m, &x, 1, 0, NULL);
            double truth = sqrt(next) * p + sqrt(1 - next) * e;
            /* x is off by a rounding, and x0 magnifies that by at most 1 / sqrt(a) < 15. */
            assert_true(fabs((double)out - truth) <= 40 * EPSILON);
        }
        ddim_free(&ddim);
    }
}

/* With eta the level's variance stays what it is: direction^2 + sigma^2 = 1 - alpha_prev; and eta 1
 * has the variance of DDPM's posterior (Ho, Jain & Abbeel 2020, equation (7)). */
static void eta(void **state) {
    ddim_plan_t ddim = plan(&ddim_config_authors, 50);
    err_t err;
    (void)state;
    for (size_t k = 0; k < ddim.steps; k++) {
        for (int quarter = 0; quarter <= 4; quarter++) {
            ddim_coefficients_t c = ddim_coefficients(&ddim, k, quarter / 4.0);
            assert_true(fabs(c.direction * c.direction + c.sigma * c.sigma - (1 - c.alpha_prev)) <
                        1e-15);
            assert_true(c.sigma >= 0 && c.direction >= 0);
        }
        ddim_coefficients_t c = ddim_coefficients(&ddim, k, 1);
        double beta = 1 - c.alpha / c.alpha_prev;
        assert_true(fabs(c.sigma * c.sigma - (1 - c.alpha_prev) / (1 - c.alpha) * beta) < 1e-15);
        assert_true(ddim_coefficients(&ddim, k, 0).sigma == 0);
    }
    must(ddim_check_eta(&ddim, 0, &err), &err);
    must(ddim_check_eta(&ddim, 1, &err), &err);
    const double bad[] = {-0.1, 40, INFINITY, NAN};
    for (size_t i = 0; i < COUNT(bad); i++)
        assert_int_equal(ddim_check_eta(&ddim, bad[i], &err), -1);
    ddim_free(&ddim);
    ddim = plan(&ddim_config_authors, 1000 - 1);
    must(ddim_check_eta(&ddim, 1, &err), &err);
    ddim_free(&ddim);
}

/* No timestep comes twice, as PNDM's second one does: every number of steps, every spacing. */
static void timesteps_fall(void **state) {
    (void)state;
    static const timestep_spacing_t spacings[] = {SPACING_LEADING, SPACING_TRAILING,
                                                  SPACING_LINSPACE};
    for (size_t s = 0; s < 3; s++)
        for (size_t steps = 1; steps <= 1000; steps++) {
            err_t err;
            ddim_plan_t plan;
            ddim_config_t config = ddim_config_authors;
            config.timestep_spacing = spacings[s];
            config.steps_offset = 0;
            if (ddim_plan(&plan, &config, steps, &err)) fail_msg("%zu steps: %s", steps, err.text);
            for (size_t k = 1; k < steps; k++)
                if (plan.timesteps[k] >= plan.timesteps[k - 1])
                    fail_msg("%s, %zu steps: %d after %d", timestep_spacing_name(spacings[s]),
                             steps, plan.timesteps[k], plan.timesteps[k - 1]);
            ddim_free(&plan);
        }
}

static void plans_refused(void **state) {
    static const struct {
        size_t steps;
        int train, offset;
        bool zero_snr;
        const char *message;
    } rows[] = {
        {0, 1000, 1, false, "0 steps: expected 1..1000"},
        {1001, 1000, 1, false, "1001 steps: expected 1..1000"},
        {(size_t)-1, 1000, 1, false, "steps: expected 1..1000"},
        {1000, 1000, 1, false, "timestep 1000 is outside 0..999"},
        {50, 1000, 20, false, "timestep 1000 is outside 0..999"},
        {5, 0, 0, false, "num_train_timesteps 0"},
        {5, -3, 0, false, "num_train_timesteps -3"},
        {5, 2000000000, 0, false, "num_train_timesteps 2000000000"},
        {50, 1000, 1, true, "use v_prediction"},
    };
    ddim_plan_t ddim;
    err_t err;
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        ddim_config_t config = ddim_config_authors;
        config.num_train_timesteps = rows[i].train;
        config.steps_offset = rows[i].offset;
        config.rescale_betas_zero_snr = rows[i].zero_snr;
        assert_int_equal(ddim_plan(&ddim, &config, rows[i].steps, &err), -1);
        if (!strstr(err.text, rows[i].message))
            fail_msg("\"%s\" is not in: %s", rows[i].message, err.text);
    }
}

/* A NaN or an Inf of the model is seen in the result, clipped or not. */
static void nan_passes(void **state) {
    ddim_config_t config = ddim_config_authors;
    (void)state;
    for (int clip = 0; clip < 2; clip++) {
        config.clip_sample = clip;
        ddim_plan_t ddim = plan(&config, 50);
        const real_t m[3] = {(real_t)NAN, 0, 0}, x[3] = {0, (real_t)NAN, 1};
        real_t out[3];
        ddim_step(out, &ddim, 10, m, x, 3, 0, NULL);
        assert_true(isnan(out[0]) && isnan(out[1]) && isfinite(out[2]));
        ddim_free(&ddim);
    }
}

static void guidance_combines(void **state) {
    const real_t uncond[] = {1, -2, 0, (real_t)0.1}, cond[] = {2, -2, 4, (real_t)0.3};
    real_t out[4];
    (void)state;
    guidance(out, uncond, cond, 7.5, 4);
    assert_true(out[0] == (real_t)8.5 && out[1] == -2 && out[2] == 30);
    acc_t u = (acc_t)uncond[3];
    assert_true(out[3] == (real_t)(u + 7.5 * ((acc_t)cond[3] - u)));
    guidance(out, uncond, cond, 1, 3);
    assert_memory_equal(out, cond, 3 * sizeof *out);
    guidance(out, uncond, cond, 0, 4);
    assert_memory_equal(out, uncond, sizeof uncond);
    real_t in_place[] = {2, -2, 4};
    guidance(in_place, uncond, in_place, 7.5, 3);
    assert_true(in_place[0] == (real_t)8.5 && in_place[2] == 30);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_tables),     cmocka_unit_test(timestep_corners),
        cmocka_unit_test(timesteps_fall),    cmocka_unit_test(authors),
        cmocka_unit_test(where_a_step_ends), cmocka_unit_test(steps_end_beside_the_list),
        cmocka_unit_test(zero_snr),          cmocka_unit_test(golden_steps),
        cmocka_unit_test(exact_model),       cmocka_unit_test(eta),
        cmocka_unit_test(plans_refused),     cmocka_unit_test(nan_passes),
        cmocka_unit_test(guidance_combines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
