/* ddim_config.c - see ddim.h: settings, from their names in a scheduler_config.json. */
#include "sampler/ddim.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "io/file.h"
#include "io/json.h"
#include "io/source.h"

const ddim_config_t ddim_config_authors = {
    .num_train_timesteps = 1000,
    .beta_start = 0.00085,
    .beta_end = 0.012,
    .beta_schedule = BETA_SCALED_LINEAR,
    .timestep_spacing = SPACING_LEADING,
    .steps_offset = 1,
    .set_alpha_to_one = true,
    .clip_sample = false,
    .clip_sample_range = 1.0,
    .prediction_type = PREDICT_EPSILON,
    .rescale_betas_zero_snr = false,
};

const ddim_config_t ddim_config_diffusers = {
    .num_train_timesteps = 1000,
    .beta_start = 0.0001,
    .beta_end = 0.02,
    .beta_schedule = BETA_LINEAR,
    .timestep_spacing = SPACING_LEADING,
    .steps_offset = 0,
    .set_alpha_to_one = true,
    .clip_sample = true,
    .clip_sample_range = 1.0,
    .prediction_type = PREDICT_EPSILON,
    .rescale_betas_zero_snr = false,
};

/* In the order of the enums; NULL ends a list. */
static const char *const beta_schedules[] = {"linear", "scaled_linear", "squaredcos_cap_v2", NULL};
static const char *const timestep_spacings[] = {"leading", "trailing", "linspace", NULL};
static const char *const prediction_types[] = {"epsilon", "v_prediction", "sample", NULL};

const char *beta_schedule_name(beta_schedule_t schedule) {
    return beta_schedules[schedule];
}
const char *timestep_spacing_name(timestep_spacing_t spacing) {
    return timestep_spacings[spacing];
}
const char *prediction_type_name(prediction_type_t prediction) {
    return prediction_types[prediction];
}

/* ---- keys: an absent one leaves *value alone ------------------------------------------------- */

static int get_int(json_node_t node, const char *key, int low, int high, int *value, err_t *err) {
    int64_t number;
    if (json_get_int_or(node, key, low, high, *value, &number, err)) return -1;
    *value = (int)number;
    return 0;
}

static int get_bool(json_node_t node, const char *key, bool *value, err_t *err) {
    return json_get_bool_or(node, key, *value, value, err);
}

/* A number above 0 and below `below`. */
static int get_number(json_node_t node, const char *key, double below, double *value, err_t *err) {
    double number;
    if (json_get_double_or(node, key, *value, &number, err)) return -1;
    if (!(number > 0 && number < below))
        return json_node_error(node, key, err, "expected a number above 0 and below %g, found %g",
                               below, number);
    *value = number;
    return 0;
}

/* ---- the whole object ------------------------------------------------------------------------ */

/* Text from a file, fit for a message, added to `text` as far as it goes. */
static void append(char *text, size_t size, const char *added) {
    char shown[SHOWN_TEXT];
    size_t used = strlen(text);
    snprintf(text + used, size - used, "%s%s", used ? ", " : "", text_shown(shown, added));
}

/* The settings that a file may leave to DDIMScheduler, as ddim_config_diffusers has them. */
static const struct {
    const char *key, *value;
} usual[] = {{"beta_end", "0.02"},
             {"beta_schedule", "linear"},
             {"timestep_spacing", "leading"},
             {"steps_offset", "0"},
             {"set_alpha_to_one", "true"},
             {"clip_sample", "true"},
             {"clip_sample_range", "1"},
             {"prediction_type", "epsilon"},
             {"rescale_betas_zero_snr", "false"}};

/* Which keys of the file were taken over, and what stands in place of the others. */
static void list_settings(ddim_config_t *config, json_node_t node) {
    const char *key;
    json_t *value;
    json_object_foreach(node.value, key, value) {
        const config_key_t *row = config_key_find(config_keys_scheduler, key);
        if (!row || row->fate == KEY_ONLY || row->fate == KEY_HARMLESS || key[0] == '_') continue;
        char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_REAL_PRECISION(9));
        char *pair =
            xasprintf("%s %s", key, json_is_string(value) ? json_string_value(value) : text);
        append(config->taken, sizeof config->taken, pair);
        free(pair);
        free(text);
    }
    for (size_t i = 0; i < sizeof usual / sizeof *usual; i++) {
        char pair[64];
        if (json_node_has(node, usual[i].key)) continue;
        snprintf(pair, sizeof pair, "%s %s", usual[i].key, usual[i].value);
        append(config->defaults, sizeof config->defaults, pair);
    }
}

static int read_class(ddim_config_t *config, json_node_t node, err_t *err) {
    const char *name;
    if (json_get_string_or(node, "_class_name", "", &name, err)) return -1;
    append(config->class_name, sizeof config->class_name, name);
    if (strncmp(name, "EDM", 3) == 0)
        return json_node_error(node, "_class_name", err,
                               "%s runs networks that were trained on continuous noise levels, "
                               "which DDIM's steps are not",
                               config->class_name);
    if (strstr(name, "FlowMatch"))
        return json_node_error(node, "_class_name", err,
                               "%s is a flow-matching scheduler, which has no noise schedule that "
                               "DDIM could run",
                               config->class_name);
    return 0;
}

/* What would change every number, and is not built. */
static int refuse_unsupported(json_node_t node, err_t *err) {
    if (json_node_has(node, "trained_betas"))
        return json_node_error(node, "trained_betas", err,
                               "a table of betas is not supported, expected null");
    bool thresholding = false;
    if (get_bool(node, "thresholding", &thresholding, err)) return -1;
    if (thresholding)
        return json_node_error(node, "thresholding", err,
                               "dynamic thresholding is not supported (it is meant for pixels, not "
                               "for latents), expected false");
    return 0;
}

static int read_names(ddim_config_t *c, json_node_t node, err_t *err) {
    size_t schedule, spacing, prediction;
    if (json_get_choice_or(node, "beta_schedule", beta_schedules, c->beta_schedule, &schedule,
                           err) ||
        json_get_choice_or(node, "timestep_spacing", timestep_spacings, c->timestep_spacing,
                           &spacing, err) ||
        json_get_choice_or(node, "prediction_type", prediction_types, c->prediction_type,
                           &prediction, err))
        return -1;
    c->beta_schedule = (beta_schedule_t)schedule;
    c->timestep_spacing = (timestep_spacing_t)spacing;
    c->prediction_type = (prediction_type_t)prediction;
    return 0;
}

static int read_numbers(ddim_config_t *config, json_node_t node, err_t *err) {
    int64_t n;
    double beta;
    /* The two that every such file has: without them it is another component's. */
    if (json_get_int(node, "num_train_timesteps", 1, DDIM_TRAIN_TIMESTEPS_MAX, &n, err) ||
        json_get_double(node, "beta_start", &beta, err))
        return -1;
    config->num_train_timesteps = (int)n;
    return get_number(node, "beta_start", 1, &config->beta_start, err) ||
           get_number(node, "beta_end", 1, &config->beta_end, err) ||
           get_int(node, "steps_offset", 0, DDIM_TRAIN_TIMESTEPS_MAX, &config->steps_offset, err) ||
           get_bool(node, "set_alpha_to_one", &config->set_alpha_to_one, err) ||
           get_bool(node, "clip_sample", &config->clip_sample, err) ||
           get_number(node, "clip_sample_range", HUGE_VAL, &config->clip_sample_range, err) ||
           get_bool(node, "rescale_betas_zero_snr", &config->rescale_betas_zero_snr, err);
}

bool ddim_is_class(const char *name) {
    return !*name || strcmp(name, "DDIMScheduler") == 0 ||
           strcmp(name, "DDIMParallelScheduler") == 0;
}

int ddim_config_read(ddim_config_t *config, const char *path, err_t *err) {
    json_file_t *file;
    if (source_json(&file, path, err)) return -1;
    json_node_t node = json_file_root(file);
    ddim_config_t read = ddim_config_diffusers;
    /* The class first: a flow-matching scheduler's file lacks the numbers, too. */
    int failed = read_class(&read, node, err) || read_numbers(&read, node, err) ||
                 read_names(&read, node, err) || refuse_unsupported(node, err) ||
                 config_keys_check(node, config_keys_scheduler, read.ignored, err);
    if (!failed && read.rescale_betas_zero_snr && read.prediction_type == PREDICT_EPSILON)
        failed =
            json_node_error(node, "rescale_betas_zero_snr", err,
                            "with prediction_type epsilon the first step would divide by zero, "
                            "expected v_prediction");
    if (!failed) {
        list_settings(&read, node);
        *config = read;
    }
    json_file_close(file);
    return failed ? -1 : 0;
}
