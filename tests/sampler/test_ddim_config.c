/* test_ddim_config.c - scheduler_config.json: what is read from it, and what is refused. */
#include <unistd.h>

#include "../unit.h"
#include "sampler/ddim.h"

#define COUNT(a) (sizeof(a) / sizeof(a)[0])

static char path[64];

static int make_path(void **state) {
    (void)state;
    snprintf(path, sizeof path, "/tmp/mole-scheduler-%ld.json", (long)getpid());
    return 0;
}
static int remove_path(void **state) {
    (void)state;
    remove(path);
    return 0;
}

static int read_bytes(const char *bytes, size_t count, ddim_config_t *config, err_t *err) {
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, count, file), count);
    fclose(file);
    return ddim_config_read(config, path, err);
}

static ddim_config_t read_good(const char *text) {
    ddim_config_t config;
    err_t err;
    if (read_bytes(text, strlen(text), &config, &err)) fail_msg("%s", err.text);
    return config;
}

/* runwayml/stable-diffusion-v1-5's settings: PNDM's, run as DDIM. */
static void stable_diffusion_v15(void **state) {
    ddim_config_t c =
        read_good("{\"_class_name\": \"PNDMScheduler\", \"_diffusers_version\": \"0.6.0\","
                  " \"beta_end\": 0.012, \"beta_schedule\": \"scaled_linear\","
                  " \"beta_start\": 0.00085, \"num_train_timesteps\": 1000,"
                  " \"set_alpha_to_one\": false, \"skip_prk_steps\": true,"
                  " \"steps_offset\": 1, \"trained_betas\": null, \"clip_sample\": false}");
    (void)state;
    assert_string_equal(c.class_name, "PNDMScheduler");
    assert_string_equal(c.taken, "beta_end 0.012, beta_schedule scaled_linear, beta_start 0.00085, "
                                 "num_train_timesteps 1000, "
                                 "set_alpha_to_one false, steps_offset 1, clip_sample false");
    assert_string_equal(c.defaults,
                        "timestep_spacing leading, clip_sample_range 1, prediction_type "
                        "epsilon, rescale_betas_zero_snr false");
    assert_string_equal(c.ignored, "skip_prk_steps");
    assert_int_equal(c.num_train_timesteps, 1000);
    assert_true(c.beta_start == 0.00085 && c.beta_end == 0.012);
    assert_int_equal(c.beta_schedule, BETA_SCALED_LINEAR);
    assert_int_equal(c.steps_offset, 1);
    assert_false(c.set_alpha_to_one);
    assert_false(c.clip_sample);
    assert_int_equal(c.timestep_spacing, SPACING_LEADING);
    assert_int_equal(c.prediction_type, PREDICT_EPSILON);
}

static void every_key(void **state) {
    ddim_config_t c =
        read_good("{\"num_train_timesteps\": 500, \"beta_start\": 0.001,"
                  " \"beta_end\": 0.01, \"beta_schedule\": \"squaredcos_cap_v2\","
                  " \"timestep_spacing\": \"trailing\", \"steps_offset\": 3,"
                  " \"set_alpha_to_one\": false, \"clip_sample\": false,"
                  " \"clip_sample_range\": 2.5, \"prediction_type\": \"v_prediction\","
                  " \"rescale_betas_zero_snr\": true, \"thresholding\": false,"
                  " \"dynamic_thresholding_ratio\": 0.9, \"sample_max_value\": 1}");
    (void)state;
    assert_int_equal(c.num_train_timesteps, 500);
    assert_true(c.beta_start == 0.001 && c.beta_end == 0.01 && c.clip_sample_range == 2.5);
    assert_int_equal(c.beta_schedule, BETA_SQUAREDCOS_CAP_V2);
    assert_int_equal(c.timestep_spacing, SPACING_TRAILING);
    assert_int_equal(c.prediction_type, PREDICT_V);
    assert_int_equal(c.steps_offset, 3);
    assert_false(c.set_alpha_to_one);
    assert_false(c.clip_sample);
    assert_true(c.rescale_betas_zero_snr);
    assert_string_equal(c.class_name, "");
    assert_string_equal(c.ignored, "");
}

/* Missing keys have DDIMScheduler's defaults: not the authors' values. Which they are is said. */
static void defaults(void **state) {
    ddim_config_t c = read_good("{\"num_train_timesteps\": 1000, \"beta_start\": 0.0001}");
    assert_string_equal(c.taken, "num_train_timesteps 1000, beta_start 0.0001");
    assert_string_equal(
        c.defaults, "beta_end 0.02, beta_schedule linear, timestep_spacing leading, steps_offset "
                    "0, set_alpha_to_one true, clip_sample true, clip_sample_range 1, "
                    "prediction_type epsilon, rescale_betas_zero_snr false");
    (void)state;
    assert_memory_equal(&c.beta_end, &ddim_config_diffusers.beta_end, sizeof c.beta_end);
    assert_int_equal(c.beta_schedule, BETA_LINEAR);
    assert_int_equal(c.timestep_spacing, SPACING_LEADING);
    assert_int_equal(c.steps_offset, 0);
    assert_true(c.set_alpha_to_one && c.clip_sample && c.clip_sample_range == 1);
    assert_int_equal(c.prediction_type, PREDICT_EPSILON);
    assert_false(c.rescale_betas_zero_snr);
}

static void authors_differ_from_the_file(void **state) {
    const ddim_config_t *a = &ddim_config_authors;
    (void)state;
    assert_true(a->set_alpha_to_one && !a->clip_sample && a->steps_offset == 1);
    assert_true(a->beta_start == 0.00085 && a->beta_end == 0.012);
    assert_int_equal(a->beta_schedule, BETA_SCALED_LINEAR);
    assert_int_equal(a->prediction_type, PREDICT_EPSILON);
    assert_int_equal(a->timestep_spacing, SPACING_LEADING);
    assert_int_equal(a->num_train_timesteps, 1000);
}

static void names(void **state) {
    (void)state;
    assert_string_equal(beta_schedule_name(BETA_LINEAR), "linear");
    assert_string_equal(beta_schedule_name(BETA_SCALED_LINEAR), "scaled_linear");
    assert_string_equal(beta_schedule_name(BETA_SQUAREDCOS_CAP_V2), "squaredcos_cap_v2");
    assert_string_equal(timestep_spacing_name(SPACING_LEADING), "leading");
    assert_string_equal(timestep_spacing_name(SPACING_TRAILING), "trailing");
    assert_string_equal(timestep_spacing_name(SPACING_LINSPACE), "linspace");
    assert_string_equal(prediction_type_name(PREDICT_EPSILON), "epsilon");
    assert_string_equal(prediction_type_name(PREDICT_V), "v_prediction");
    assert_string_equal(prediction_type_name(PREDICT_SAMPLE), "sample");
}

/* A hostile file's text reaches messages without its control characters, and cut off. */
static void hostile_text(void **state) {
    char text[3000];
    (void)state;
    int used = snprintf(text, sizeof text,
                        "{\"num_train_timesteps\": 10, \"beta_start\": 0.1, \"_class_name\": "
                        "\"\\u001b[31mA\"");
    for (int i = 0; i < 60; i++)
        used += snprintf(text + used, sizeof text - (size_t)used, ", \"a key of twenty %d\": 1", i);
    snprintf(text + used, sizeof text - (size_t)used, "}");
    ddim_config_t c = read_good(text);
    assert_string_equal(c.class_name, "?[31mA");
    assert_true(strlen(c.ignored) == sizeof c.ignored - 1);
}

#define HEAD "{\"num_train_timesteps\": 1000, \"beta_start\": 0.00085, "

static void refused(void **state) {
    static const struct {
        const char *text, *message;
    } rows[] = {
        {"", "the file is empty"},
        {"{", ":1:"},
        {HEAD "\"beta_start\": 0.1}", "duplicate"},
        {"[]", "expected in an object"},
        {"7", "expected in an object"},
        {"{}", "num_train_timesteps: is missing"},
        {"{\"num_train_timesteps\": 1000}", "beta_start: is missing"},
        {"{\"num_train_timesteps\": 1000.0, \"beta_start\": 0.1}", "num_train_timesteps: expected"},
        {"{\"num_train_timesteps\": 0, \"beta_start\": 0.1}", "num_train_timesteps: expected"},
        {"{\"num_train_timesteps\": 4294968296, \"beta_start\": 0.1}", "found 4294968296"},
        {"{\"num_train_timesteps\": 1000, \"beta_start\": \"0.1\"}",
         "beta_start: expected a number"},
        {"{\"num_train_timesteps\": 1000, \"beta_start\": 0}",
         "beta_start: expected a number above 0"},
        {HEAD "\"beta_end\": 1}", "beta_end: expected a number above 0 and below 1, found 1"},
        {HEAD "\"beta_end\": -0.1}", "beta_end: expected"},
        {HEAD "\"beta_schedule\": \"cosine\"}",
         "beta_schedule: expected one of linear, scaled_linear, squaredcos_cap_v2, found "
         "\"cosine\""},
        {HEAD "\"beta_schedule\": 3}", "beta_schedule: expected a string, found 3"},
        {HEAD "\"timestep_spacing\": \"karras\"}",
         "timestep_spacing: expected one of leading, trailing, linspace, found \"karras\""},
        {HEAD "\"prediction_type\": \"flow\"}",
         "prediction_type: expected one of epsilon, v_prediction, sample, found \"flow\""},
        {HEAD "\"steps_offset\": -1}", "steps_offset: expected"},
        {HEAD "\"steps_offset\": true}", "steps_offset: expected"},
        {HEAD "\"clip_sample\": 1}", "clip_sample: expected true or false, found 1"},
        {HEAD "\"clip_sample_range\": 0}", "clip_sample_range: expected a number above 0"},
        {HEAD "\"set_alpha_to_one\": \"yes\"}", "set_alpha_to_one: expected true or false"},
        {HEAD "\"trained_betas\": [0.1]}", "trained_betas: a table of betas is not supported"},
        {HEAD "\"thresholding\": true}", "thresholding: dynamic thresholding is not supported"},
        {HEAD "\"rescale_betas_zero_snr\": true}", "rescale_betas_zero_snr: with prediction_type"},
        /* null: False for a switch in Python, and no value for the others. */
        {HEAD "\"set_alpha_to_one\": null}", "set_alpha_to_one"},
        {HEAD "\"clip_sample\": null}", "clip_sample"},
        {HEAD "\"steps_offset\": null}", "steps_offset"},
        {HEAD "\"prediction_type\": null}", "prediction_type"},
        {HEAD "\"timestep_type\": \"continuous\"}", "timestep_type"},
        {HEAD "\"use_flow_sigmas\": true}", "use_flow_sigmas"},
        {"{\"_class_name\": \"EDMEulerScheduler\", \"num_train_timesteps\": 1000}",
         "EDMEulerScheduler"},
        {"{\"_class_name\": \"FlowMatchEulerDiscreteScheduler\", \"num_train_timesteps\": 1000}",
         "FlowMatchEulerDiscreteScheduler is a flow-matching scheduler"},
        {"{\"_class_name\": 3, \"num_train_timesteps\": 1000, \"beta_start\": 0.1}", "_class_name"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        ddim_config_t config, before;
        err_t err;
        memset(&config, 0x5a, sizeof config);
        before = config;
        assert_int_equal(read_bytes(rows[i].text, strlen(rows[i].text), &config, &err), -1);
        if (!strstr(err.text, rows[i].message) || strncmp(err.text, path, strlen(path)) != 0)
            fail_msg("\"%s\" is not in: %s", rows[i].message, err.text);
        assert_memory_equal(&config, &before, sizeof config);
    }
}

static void no_file(void **state) {
    ddim_config_t config;
    err_t err;
    (void)state;
    assert_int_equal(ddim_config_read(&config, "/tmp/mole-no-such-file.json", &err), -1);
    assert_non_null(strstr(err.text, "/tmp/mole-no-such-file.json: "));
    assert_int_equal(ddim_config_read(&config, "/tmp", &err), -1);
    assert_int_equal(read_bytes("{\"a\": \"\0\"}", 10, &config, &err), -1);
}

/* The committed model's own file. */
static void golden_model(void **state) {
    ddim_config_t c;
    err_t err;
    (void)state;
    if (ddim_config_read(&c, "golden/models/sd15-tiny/scheduler/scheduler_config.json", &err))
        fail_msg("%s", err.text);
    assert_string_equal(c.class_name, "DDIMScheduler");
    assert_string_equal(c.ignored, "");
    assert_false(c.set_alpha_to_one);
    assert_false(c.clip_sample);
    assert_int_equal(c.steps_offset, 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stable_diffusion_v15),
        cmocka_unit_test(every_key),
        cmocka_unit_test(defaults),
        cmocka_unit_test(authors_differ_from_the_file),
        cmocka_unit_test(names),
        cmocka_unit_test(hostile_text),
        cmocka_unit_test(refused),
        cmocka_unit_test(no_file),
        cmocka_unit_test(golden_model),
    };
    return cmocka_run_group_tests(tests, make_path, remove_path);
}
