/* marks.c - see marks.h. */
#include "io/marks.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "io/file.h"

typedef struct {
    marks_t *marks;
    const char *path;
    err_t *err;
    int status;
} reader_t;

/* Two that agree keep the first one's word. */
static int mark_prediction(reader_t *r, const char *prediction, const char *by) {
    marks_t *m = r->marks;
    if (m->prediction && strcmp(m->prediction, prediction) != 0)
        return err_set(r->err, "%s: %s says %s, %s says %s: remove the one that is wrong", r->path,
                       m->prediction_by, m->prediction, by, prediction);
    if (!m->prediction) snprintf(m->prediction_by, MARK_TEXT, "%s", by);
    m->prediction = prediction;
    return 0;
}

static void mark_zero_snr(reader_t *r, const char *by) {
    if (!r->marks->zero_snr) snprintf(r->marks->zero_snr_by, MARK_TEXT, "%s", by);
    r->marks->zero_snr = true;
}

/* ---- tensors ---------------------------------------------------------------------------------- */

static int read_tensor(reader_t *r, const char *name) {
    char shown[SHOWN_TEXT];
    if (strncmp(name, "edm_", 4) == 0)
        return err_set(r->err,
                       "%s: tensor '%s' marks a network of continuous noise levels (EDM), which "
                       "DDIM's steps are not",
                       r->path, text_shown(shown, name));
    if (strcmp(name, "v_pred") == 0) return mark_prediction(r, "v_prediction", "tensor 'v_pred'");
    if (strcmp(name, "ztsnr") == 0) mark_zero_snr(r, "tensor 'ztsnr'");
    return 0;
}

/* ---- metadata --------------------------------------------------------------------------------- */

/* Their spellings in the wild, as scheduler_config.json has them; NULL for any other. */
static const char *prediction_of(const char *text) {
    static const char *const names[][2] = {{"epsilon", "epsilon"},
                                           {"eps", "epsilon"},
                                           {"v", "v_prediction"},
                                           {"v_prediction", "v_prediction"},
                                           {"v-prediction", "v_prediction"},
                                           {"v_pred", "v_prediction"},
                                           {"v-pred", "v_prediction"},
                                           {"vpred", "v_prediction"},
                                           {"velocity", "v_prediction"},
                                           {"sample", "sample"},
                                           {"x0", "sample"}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcasecmp(text, names[i][0]) == 0) return names[i][1];
    return NULL;
}

static int refuse_value(reader_t *r, const char *key, const char *value, const char *expected) {
    char shown[SHOWN_TEXT];
    return err_set(r->err, "%s: metadata %s: expected %s, found \"%s\"", r->path, key, expected,
                   text_shown(shown, value));
}

static int read_metadata(reader_t *r, const char *key, const char *value) {
    char by[MARK_TEXT];
    snprintf(by, sizeof by, "metadata %.60s", key);
    bool is_true = strcasecmp(value, "true") == 0 || strcmp(value, "1") == 0;
    if (strcmp(key, "modelspec.prediction_type") == 0 ||
        strcmp(key, "modelspec.predict_key") == 0) {
        const char *prediction = prediction_of(value);
        if (!prediction) return refuse_value(r, key, value, "epsilon, v or sample");
        return mark_prediction(r, prediction, by);
    }
    if (strcmp(key, "modelspec.noise_process") == 0 && strcasecmp(value, "flow") == 0)
        return refuse_value(r, key, value, "noise that DDIM takes away");
    if (strcmp(key, "ss_v_parameterization") == 0 && is_true)
        return mark_prediction(r, "v_prediction", by);
    if (strcmp(key, "ss_zero_terminal_snr") == 0 && is_true) mark_zero_snr(r, by);
    return 0;
}

static void visit_metadata(void *who, const char *key, const char *value) {
    reader_t *r = who;
    if (!r->status) r->status = read_metadata(r, key, value);
}

int marks_read(marks_t *marks, const weights_t *weights, err_t *err) {
    *marks = (marks_t){0};
    reader_t r = {.marks = marks, .path = weights_path(weights), .err = err};
    for (size_t i = 0; !r.status && i < weights_count(weights); i++)
        r.status = read_tensor(&r, weights_entry(weights, i).name);
    weights_metadata(weights, visit_metadata, &r);
    return r.status;
}
