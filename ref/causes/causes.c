/* causes.c - see causes.h: the table of hypotheses, the simplest first, and the hunt. */
#include "causes/causes.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "causes/causes_hunt.h"
#include "core/tap_name.h"

const char *const causes_kinds[] = {"zero",
                                    "constant",
                                    "skipped",
                                    "unconverged",
                                    "swapped-tensors",
                                    "nhwc",
                                    "permuted-axes",
                                    "heads",
                                    "order",
                                    "swapped-halves",
                                    "reversed",
                                    "shift",
                                    "precision",
                                    "gain",
                                    "offset",
                                    "epsilon",
                                    "variance",
                                    "groups",
                                    "layout",
                                    "norm-missing",
                                    "affine",
                                    "missing-bias",
                                    "bias",
                                    "padding",
                                    "activation",
                                    "scale",
                                    "gate",
                                    "pooling",
                                    "schedule",
                                    "time",
                                    "mask",
                                    "interpolation",
                                    "skip",
                                    "residual",
                                    "range",
                                    "noise",
                                    "localised",
                                    "summation",
                                    "input",
                                    "prompt",
                                    "norm-extra",
                                    NULL};

/* computed: the prediction goes through operations in real_t, and has their rounding. */
static const struct {
    hypothesis_t *function;
    bool computed;
} table[] = {
    {cause_constant, false},
    {cause_identity, false},
    {cause_permuted, false},
    {cause_swapped_halves, false},
    {cause_heads_layout, false},
    {cause_reversed, false},
    {cause_swapped_taps, false},
    {cause_stored_precision, false},
    {cause_mole, true},
    {cause_norm, false},
    {cause_norm_input, false},
    {cause_linear, true},
    {cause_conv, true},
    {cause_activation, false},
    {cause_input_activation, true},
    {cause_time_proj, true},
    {cause_added_numbers, true},
    {cause_added_input, true},
    {cause_pooled, true},
    {cause_other_input, true},
    {cause_input_layout, true},
    {cause_attention, true},
    {cause_upsample, true},
    {cause_skip, true},
    {cause_residual, false},
    {cause_copied, false},
    {cause_guidance, false},
    {cause_step, true},
    {cause_image, false},
    {cause_embeddings, false},
    {cause_noise, false},
    {cause_encoders, false},
    {cause_timestep, true},
    {cause_latents_scale, true},
    {cause_bare_latents, true},
    {cause_added_sizes, true},
    {cause_tokens, true},
    {cause_prompt, false},
    {cause_shifted, false},
    {cause_weights, true},
    {cause_low_precision, true},
    {cause_sums, false},
    {cause_one_pass, false},
    {cause_input_gain, false},
    {cause_named_gain, false},
    {cause_fitted, false},
    {cause_border, false},
    {cause_localised, false},
};

static double rms_between(const double *a, const double *b, size_t count) {
    double sum = 0;
    for (size_t i = 0; i < count; i++) {
        double d = a[i] - (b ? b[i] : 0);
        sum += d * d;
    }
    return sqrt(sum / (double)count);
}

/* Names: the step in front, and the part of the layer behind. */
static void read_name(hunt_t *h) {
    tap_name_t name = tap_name(h->c->name);
    h->name = name.name;
    h->part = name.suffix;
    snprintf(h->module, sizeof h->module, "%.*s", (int)name.module.length, name.name);
}

static void release(hunt_t *h) {
    for (size_t i = 0; i < h->kept_count; i++) free(h->kept[i]);
    free(h->kept);
    h->kept = NULL;
    h->kept_count = 0;
}

static void report_accepted(const hunt_t *h, cause_t *cause) {
    size_t used = (size_t)snprintf(cause->text, sizeof cause->text, "%s", h->best.text);
    for (size_t i = 0; i < h->rivals; i++) {
        size_t more = strlen("; or: ") + strlen(h->rival[i]);
        if (used + more >= sizeof cause->text) return;
        snprintf(cause->text + used, sizeof cause->text - used, "; or: %s", h->rival[i]);
        used += more;
    }
}

static void report(const hunt_t *h, cause_t *cause) {
    static const char near[] = "near, not proven: ";
    const finding_t *f = &h->best;
    char tail[64];
    if (f->what == FOUND_NOTHING) return;
    snprintf(cause->kind, sizeof cause->kind, "%s", f->kind);
    if (f->accepted) {
        report_accepted(h, cause);
        return;
    }
    int length = snprintf(tail, sizeof tail, " (%.2g %% of the difference remains)",
                          100 * f->remaining / h->difference);
    int room = (int)(sizeof cause->text - sizeof near) - length;
    snprintf(cause->text, sizeof cause->text, "%s%.*s%s", near, room, f->text, tail);
}

void causes_find(const run_t *run, const culprit_t *culprit, cause_t *cause) {
    cause->text[0] = cause->kind[0] = '\0';
    if (culprit->count == 0) return;
    hunt_t h = {.run = run, .c = culprit, .best.remaining = HUGE_VAL};
    read_name(&h);
    h.difference = rms_between(culprit->candidate, culprit->expected, culprit->count);
    h.scale = rms_between(culprit->expected, NULL, culprit->count);
    if (!isfinite(h.difference) || !isfinite(h.scale) || h.difference == 0) return;
    /* The prediction has rounding of its own: a few units of doubles, more of real_t. */
    double exact = CAUSE_ROUNDINGS * culprit->rounding + 8 * 0x1p-53 * h.scale;
    double computed = exact;
    if (sizeof(real_t) == sizeof(float)) computed += CAUSE_ROUNDINGS * 0x1p-24 * h.scale;
    for (size_t i = 0; i < sizeof table / sizeof *table && !h.best.accepted; i++) {
        h.tolerance = table[i].computed ? computed : exact;
        h.block = 1;
        table[i].function(&h);
        release(&h);
    }
    report(&h, cause);
}
