/* ddim_config.c - see ddim.h: settings, from their names in a scheduler_config.json. */
#include "sampler/ddim.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { FILE_BYTES_MAX = 1 << 20 };

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

/* ---- one key of each type: absent leaves *value alone ----------------------------------------------- */

static int get_int(const json_t *object, const char *key, int low, int high, int *value,
                   err_t *err) {
    const json_t *found = json_object_get(object, key);
    if (!found) return 0;
    json_int_t number = json_integer_value(found);
    if (!json_is_integer(found) || number < low || number > high)
        return err_set(err, "%s: expected a whole number from %d to %d", key, low, high);
    *value = (int)number;
    return 0;
}

static int get_bool(const json_t *object, const char *key, bool *value, err_t *err) {
    const json_t *found = json_object_get(object, key);
    if (!found) return 0;
    if (!json_is_boolean(found)) return err_set(err, "%s: expected true or false", key);
    *value = json_is_true(found);
    return 0;
}

/* A number above 0 and below `below`. */
static int get_number(const json_t *object, const char *key, double below, double *value,
                      err_t *err) {
    const json_t *found = json_object_get(object, key);
    if (!found) return 0;
    double number = json_number_value(found);
    if (!json_is_number(found) || !(number > 0 && number < below))
        return err_set(err, "%s: expected a number above 0 and below %g", key, below);
    *value = number;
    return 0;
}

/* Text from a file, fit for a message: cut off at `size`, control characters as '?'. */
static void copy_text(char *out, size_t size, const char *text) {
    size_t used = 0;
    for (; text[used] && used + 1 < size; used++) {
        unsigned char c = (unsigned char)text[used];
        out[used] = c < 0x20 || c == 0x7f ? '?' : text[used];
    }
    out[used] = '\0';
}

/* An index into `names`; -1 and err when the value is not among them. -2: absent. */
static int get_name(const json_t *object, const char *key, const char *const *names, err_t *err) {
    const json_t *found = json_object_get(object, key);
    if (!found) return -2;
    const char *text = json_string_value(found);
    char expected[DDIM_TEXT] = "", shown[64] = "something else than text";
    for (int i = 0; names[i]; i++) {
        if (text && strcmp(text, names[i]) == 0) return i;
        size_t used = strlen(expected);
        snprintf(expected + used, sizeof expected - used, "%s%s", i ? ", " : "", names[i]);
    }
    if (text) copy_text(shown, sizeof shown, text);
    return err_set(err, "%s: expected one of %s, found %s", key, expected, shown);
}

/* ---- the whole object --------------------------------------------------------------------------------- */

static const char *const known_keys[] = {"num_train_timesteps",
                                         "beta_start",
                                         "beta_end",
                                         "beta_schedule",
                                         "trained_betas",
                                         "clip_sample",
                                         "clip_sample_range",
                                         "set_alpha_to_one",
                                         "steps_offset",
                                         "prediction_type",
                                         "thresholding",
                                         "dynamic_thresholding_ratio",
                                         "sample_max_value",
                                         "timestep_spacing",
                                         "rescale_betas_zero_snr",
                                         NULL};

static bool is_known(const char *key) {
    if (key[0] == '_') return true; /* _class_name, _diffusers_version */
    for (int i = 0; known_keys[i]; i++)
        if (strcmp(key, known_keys[i]) == 0) return true;
    return false;
}

static void list_ignored(char *text, size_t size, json_t *object) {
    const char *key;
    json_t *value;
    size_t used = 0;
    json_object_foreach(object, key, value) {
        if (is_known(key) || used + 2 >= size) continue;
        if (used) {
            memcpy(text + used, ", ", 3);
            used += 2;
        }
        copy_text(text + used, size - used, key);
        used += strlen(text + used);
    }
}

static int read_class(ddim_config_t *config, const json_t *object, err_t *err) {
    const json_t *name = json_object_get(object, "_class_name");
    if (!name) return 0;
    if (!json_is_string(name)) return err_set(err, "_class_name: expected text");
    copy_text(config->class_name, sizeof config->class_name, json_string_value(name));
    if (strstr(config->class_name, "FlowMatch"))
        return err_set(err,
                       "%s: a flow-matching scheduler has no noise schedule that DDIM could run",
                       config->class_name);
    return 0;
}

/* What would change every number, and is not built. */
static int refuse_unsupported(const json_t *object, err_t *err) {
    const json_t *betas = json_object_get(object, "trained_betas");
    if (betas && !json_is_null(betas))
        return err_set(err, "trained_betas: a table of betas is not supported, expected null");
    bool thresholding = false;
    if (get_bool(object, "thresholding", &thresholding, err)) return -1;
    if (thresholding)
        return err_set(err, "thresholding: dynamic thresholding is not supported (it is meant for "
                            "pixels, not for latents), expected false");
    return 0;
}

static int read_object(ddim_config_t *config, json_t *object, err_t *err) {
    if (!json_is_object(object)) return err_set(err, "expected a JSON object");
    if (read_class(config, object, err) || refuse_unsupported(object, err)) return -1;
    if (!json_object_get(object, "num_train_timesteps") || !json_object_get(object, "beta_start"))
        return err_set(err, "num_train_timesteps and beta_start are missing: not the settings of a "
                            "diffusion scheduler");
    if (get_int(object, "num_train_timesteps", 1, DDIM_TRAIN_TIMESTEPS_MAX,
                &config->num_train_timesteps, err) ||
        get_number(object, "beta_start", 1, &config->beta_start, err) ||
        get_number(object, "beta_end", 1, &config->beta_end, err) ||
        get_int(object, "steps_offset", 0, DDIM_TRAIN_TIMESTEPS_MAX, &config->steps_offset, err) ||
        get_bool(object, "set_alpha_to_one", &config->set_alpha_to_one, err) ||
        get_bool(object, "clip_sample", &config->clip_sample, err) ||
        get_number(object, "clip_sample_range", HUGE_VAL, &config->clip_sample_range, err) ||
        get_bool(object, "rescale_betas_zero_snr", &config->rescale_betas_zero_snr, err))
        return -1;
    int schedule = get_name(object, "beta_schedule", beta_schedules, err);
    if (schedule == -1) return -1;
    if (schedule >= 0) config->beta_schedule = (beta_schedule_t)schedule;
    int spacing = get_name(object, "timestep_spacing", timestep_spacings, err);
    if (spacing == -1) return -1;
    if (spacing >= 0) config->timestep_spacing = (timestep_spacing_t)spacing;
    int prediction = get_name(object, "prediction_type", prediction_types, err);
    if (prediction == -1) return -1;
    if (prediction >= 0) config->prediction_type = (prediction_type_t)prediction;
    list_ignored(config->ignored, sizeof config->ignored, object);
    return 0;
}

/* A regular file of a size that a configuration can have. */
static int check_file(const char *path, err_t *err) {
    struct stat info;
    if (stat(path, &info)) return err_set(err, "cannot be read: %s", strerror(errno));
    if (!S_ISREG(info.st_mode))
        return err_set(err, "expected a scheduler_config.json, found no file");
    if (info.st_size > FILE_BYTES_MAX)
        return err_set(err, "%lld bytes are too many for a scheduler_config.json",
                       (long long)info.st_size);
    return 0;
}

int ddim_config_read(ddim_config_t *config, const char *path, err_t *err) {
    if (check_file(path, err)) return err_prefix(err, "%s", path);
    json_error_t where;
    json_t *object = json_load_file(path, JSON_REJECT_DUPLICATES, &where);
    if (!object)
        return err_set(err, "%s: line %d, column %d: %s", path, where.line, where.column,
                       where.text);
    ddim_config_t read = ddim_config_diffusers;
    int failed = read_object(&read, object, err);
    json_decref(object);
    if (!failed && read.rescale_betas_zero_snr && read.prediction_type == PREDICT_EPSILON)
        failed = err_set(
            err, "rescale_betas_zero_snr: with prediction_type epsilon the first step would "
                 "divide by zero, expected v_prediction");
    if (failed) return err_prefix(err, "%s", path);
    *config = read;
    return 0;
}
