/* one_pass.c - see one_pass.h. */
#include "compare/one_pass.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "compare/budget.h"
#include "core/tap_name.h"

/* An error of an eighth of what the norms lose to four times it is about as much: kernels add up in orders of
 * their own, and where they have up to 64 accumulators (a few vectors of 8 or 16) instead of one, each sum
 * loses up to sqrt(64) times less. */
enum { DRAWS = 4, LESS = 8, MORE = 4 };

/* As in every run of noise, at the size of float32's rounding, where all is linear in it. */
#define SCALE 0x1p-24

typedef struct {
    size_t culprit, draw;
    bool whole;   /* all norms before it, whatever was dumped */
    double *lost; /* relative, of each group of the norm whose input came last */
    size_t groups;
    double moved; /* the culprit's mean square so far */
} one_pass_t;

/* c->a holds the norm's input (B,C,...): what each group's deviation loses, in units of u. A sum of n squares
 * added one by one is off by sqrt(n)/3 u of itself: each partial sum k of n by up to u k/n, and such errors
 * of either sign add up as their squares do. */
static void measure_groups(const comparison_t *c, one_pass_t *o, const norm_t *norm,
                           shape_t shape) {
    o->groups = shape.dim[0] * norm->groups;
    o->lost = xrealloc(o->lost, o->groups * sizeof *o->lost);
    size_t count = shape_count(shape) / o->groups;
    double n = (double)count;
    for (size_t g = 0; g < o->groups; g++) {
        const double *x = c->a + g * count;
        double mean = 0, variance = 0;
        for (size_t i = 0; i < count; i++) mean += x[i] / n;
        for (size_t i = 0; i < count; i++) variance += (x[i] - mean) * (x[i] - mean) / n;
        o->lost[g] = sqrt(n) / 3 * (mean * mean + variance) / (2 * (variance + norm->eps));
    }
}

/* c->a holds the norm's output: each group's deviation is off by its loss, of either sign. */
static void lose_digits(const comparison_t *c, const one_pass_t *o, const norm_t *norm, size_t at,
                        shape_t shape) {
    size_t channels = norm->channels, each = shape_count(shape) / (shape.dim[0] * channels);
    for (size_t i = 0; i < shape_count(shape); i++) {
        size_t channel = i / each % channels, b = i / each / channels;
        size_t g = b * norm->groups + channel / (channels / norm->groups);
        double part = SCALE * o->lost[g] * pass_sign(at, g, o->draw);
        c->a[i] += (c->a[i] - (double)norm->bias[channel]) * part;
    }
}

static const norm_t *group_norm_of(const comparison_t *c, const char *name) {
    char *layer = tap_name_layer(name, "");
    const module_t *module = pipeline_module(&c->pipeline, layer);
    free(layer);
    return module && module->kind == MODULE_GROUP_NORM ? module->as.norm : NULL;
}

/* A dumped tap takes the truth again, after what reached it was measured where it is the culprit. */
static int restore(comparison_t *c, one_pass_t *o, size_t at, real_t *x, view_t view) {
    size_t count = shape_count(view.shape);
    if (pass_truth(c, at, 0, count, c->b, c->err)) return -1;
    double moved = at == o->culprit ? pass_rms(c->a, c->b, count) / SCALE : 0;
    o->moved += moved * moved;
    pass_put(c, x, c->b, view);
    return 0;
}

static int spoil(comparison_t *c, void *who, size_t at, const char *name, real_t *x, view_t view) {
    one_pass_t *o = who;
    bool forced = at == o->culprit || (!o->whole && at != SIZE_MAX && c->meta[at].forced);
    const norm_t *norm = group_norm_of(c, name);
    if ((at != SIZE_MAX && at > o->culprit) || (!forced && !norm)) return 0;
    pass_get(c, c->a, x, view);
    if (norm && !tap_name_is_input(name)) {
        lose_digits(c, o, norm, at, view.shape);
        pass_put(c, x, c->a, view);
    }
    if (forced && restore(c, o, at, x, view)) return -1;
    if (norm && tap_name_is_input(name)) {
        pass_get(c, c->a, x, view);
        measure_groups(c, o, norm, view.shape);
    }
    return 0;
}

/* The roundoff of a norm's sums: below float32 most keep them in float32, and lose no more than that does. */
static double sums_unit(budget_t budget) {
    return budget_is_low(budget) && !budget_narrow_sums(budget) ? 0x1p-24 : budget_unit(budget);
}

/* About how much the norms move the culprit by, if that is about as much as it is off; else 0. */
static int predict(comparison_t *c, one_pass_t *o, double off, double *lost) {
    int status = 0;
    for (; !status && o->draw < DRAWS; o->draw++) status = pass_run(c, spoil, o, true);
    free(o->lost);
    *lost = sqrt(o->moved / DRAWS) * sums_unit(c->result->row[o->culprit].budget);
    if (!(off <= MORE * *lost && *lost <= LESS * off)) *lost = 0;
    return status;
}

#define SENTENCE                                                                                   \
    "an error of this size arises where GroupNorms take their variance in one pass (E[x^2] - "     \
    "mean^2), adding up term by term: that would move %s by %.2g of its rms, and it is off by "    \
    "%.2g"

int one_pass_explain(comparison_t *c, size_t culprit) {
    compare_row_t *row = &c->result->row[culprit];
    one_pass_t o = {.culprit = culprit};
    double lost, rms = row->isolated.truth_rms;
    if (*row->cause.text) return 0;
    if (predict(c, &o, row->isolated.rms, &lost)) return -1;
    if (!(lost > 0)) return 0;
    snprintf(row->cause.kind, sizeof row->cause.kind, "variance");
    snprintf(row->cause.text, sizeof row->cause.text, "not proven: " SENTENCE, "this tap",
             lost / rms, row->isolated.rms / rms);
    return 0;
}

int one_pass_note(comparison_t *c) {
    const compare_result_t *r = c->result;
    const compare_row_t *worst = NULL;
    double lost;
    for (size_t i = 0; i < r->rows; i++)
        if (r->row[i].verdict == ROW_INHERITED && (!worst || r->row[i].ratio > worst->ratio))
            worst = &r->row[i];
    if (!worst) return 0;
    one_pass_t o = {.culprit = (size_t)(worst - r->row), .whole = true};
    if (predict(c, &o, worst->cumulative.rms, &lost)) return -1;
    if (lost > 0)
        compare_note(c->result, xasprintf(SENTENCE, worst->name, lost / worst->cumulative.truth_rms,
                                          worst->cumulative.rms / worst->cumulative.truth_rms));
    return 0;
}
