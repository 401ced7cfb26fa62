/* causes_gain.c - gains and offsets: the candidate is the expected tensor times a number, plus a number,
 * in all or in each channel.
 *
 * All of these describe what the numbers show. What stands behind a gain in parentheses is arithmetic. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "causes/causes_hunt.h"

/* Fewer numbers than this do not carry a fitted parameter. */
enum { FIT_LEAST = 8 };

typedef struct {
    double gain;
    const char *meaning;
} named_gain_t;

static const named_gain_t known_gains[] = {
    {2, ""},
    {0.5, ""},
    {-1, " (its sign is turned)"},
    {0.13025 / 0.18215, " (0.13025 / 0.18215, the VAE scaling factors of SDXL and SD)"},
    {0.18215 / 0.13025, " (0.18215 / 0.13025, the VAE scaling factors of SD and SDXL)"},
    {0.18215, " (the VAE's scaling factor)"},
    {1 / 0.18215, " (1 / 0.18215, of the VAE's scaling factor)"},
    {0.18215 * 0.18215, " (0.18215^2, of the VAE's scaling factor)"},
    {1.702, " (as in quick GELU)"},
    {255, ""},
    {1 / 255.0, " (1 / 255)"},
    {127.5, " (255 / 2)"},
    {1000, ""},
    {0.001, ""},
};

static bool try_gain(hunt_t *h, double gain, const char *meaning) {
    const culprit_t *c = h->c;
    char number[HUNT_NUMBER];
    double *guess = hunt_doubles(h, c->count);
    for (size_t i = 0; i < c->count; i++) guess[i] = gain * c->expected[i];
    return hunt_fits(h, guess, 0, "gain", "your output is the expected one times %s%s",
                     hunt_number(h, number, gain, 1), meaning);
}

void cause_named_gain(hunt_t *h) {
    for (size_t i = 0; i < sizeof known_gains / sizeof *known_gains; i++)
        if (try_gain(h, known_gains[i].gain, known_gains[i].meaning)) return;
    const shape_t *s = &h->c->shape;
    for (int d = 0; d < s->ndim; d++) {
        char text[64];
        double n = (double)s->dim[d], root = sqrt(n);
        if (s->dim[d] < 2) continue;
        const named_gain_t sizes[] = {
            {root, "sqrt"}, {1 / root, "1 / sqrt"}, {n, ""}, {1 / n, "1 / "}};
        for (size_t i = 0; i < 4; i++) {
            snprintf(text, sizeof text, " (%s(%zu), where axis %d has %zu)", sizes[i].meaning,
                     s->dim[d], d, s->dim[d]);
            if (try_gain(h, sizes[i].gain, text)) return;
        }
    }
}

/* ---- the gain in front of a bias --------------------------------------------------------------- */

/* Of an affine layer: W (g x) + b = g (expected - b) + b. */
static const real_t *bias_of(const hunt_t *h) {
    const module_t *m = h->c->module;
    bool base = strcmp(h->part, ".mole.base") == 0;
    if (!m || (*h->part && !base)) return NULL;
    if (m->kind == MODULE_LINEAR && (base || !m->as.linear->mole)) return m->as.linear->bias;
    return m->kind == MODULE_CONV ? m->as.conv->bias : NULL;
}

static const char *meaning_of(double *gain) {
    for (size_t i = 0; i < sizeof known_gains / sizeof *known_gains; i++) {
        const named_gain_t *known = &known_gains[i];
        if (fabs(*gain - known->gain) > 1e-3 * fabs(known->gain)) continue;
        *gain = known->gain;
        return known->meaning;
    }
    return "";
}

static void try_product(hunt_t *h, const double *product, double gain, const char *meaning) {
    double *guess = hunt_doubles(h, h->c->count);
    char number[HUNT_NUMBER];
    for (size_t i = 0; i < h->c->count; i++) guess[i] = h->c->expected[i] + (gain - 1) * product[i];
    hunt_fits(h, guess, 1, "gain",
              "the product of input and weight is %s times the expected one%s; the bias is not",
              hunt_number(h, number, gain, 1), meaning);
}

void cause_input_gain(hunt_t *h) {
    const culprit_t *c = h->c;
    const real_t *bias = bias_of(h);
    if (!bias || c->count < FIT_LEAST) return;
    bool image = c->shape.ndim == 4;
    size_t C = c->shape.dim[image ? 1 : c->shape.ndim - 1];
    size_t P = image ? c->shape.dim[2] * c->shape.dim[3] : 1;
    double *product = hunt_doubles(h, c->count), dot = 0, square = 0, bias_square = 0;
    for (size_t i = 0; i < c->count; i++) {
        double b = (double)bias[i / P % C];
        product[i] = c->expected[i] - b;
        dot += product[i] * (c->candidate[i] - c->expected[i]);
        square += product[i] * product[i];
        bias_square += b * b;
    }
    /* A bias that is not seen tells nothing: the gain is the whole output's then. */
    if (!(square > 0) || bias_square <= 1e-6 * square) return;
    double fitted = 1 + dot / square, named = fitted;
    const char *meaning = meaning_of(&named);
    try_product(h, product, named, meaning);
    if (named != fitted && !h->best.accepted) try_product(h, product, fitted, "");
}

/* ---- fitted gains and offsets ----------------------------------------------------------------- */

/* candidate ~ gain[g] expected or expected + offset[g] over the groups g of an index. */
typedef struct {
    size_t groups,
        inner;   /* group of number i: i / inner % groups, or i / inner where groups is 0 */
    size_t used; /* groups there are */
    const char *whom;
} grouping_t;

typedef struct {
    double *gain, *offset, least_gain, most_gain, least_offset, most_offset;
} fit_t;

static size_t group_of(const grouping_t *g, size_t i) {
    return g->groups ? i / g->inner % g->groups : i / g->inner;
}

static fit_t fit(hunt_t *h, const grouping_t *g) {
    const culprit_t *c = h->c;
    fit_t f = {hunt_doubles(h, g->used),
               hunt_doubles(h, g->used),
               HUGE_VAL,
               -HUGE_VAL,
               HUGE_VAL,
               -HUGE_VAL};
    double *square = hunt_doubles(h, g->used), per = (double)(c->count / g->used);
    for (size_t k = 0; k < g->used; k++) f.gain[k] = f.offset[k] = square[k] = 0;
    for (size_t i = 0; i < c->count; i++) {
        size_t k = group_of(g, i);
        double d = c->candidate[i] - c->expected[i]; /* of a gain near 1 this keeps the digits */
        f.offset[k] += d / per;
        f.gain[k] += d * c->expected[i];
        square[k] += c->expected[i] * c->expected[i];
    }
    for (size_t k = 0; k < g->used; k++) {
        f.gain[k] = square[k] > 0 ? 1 + f.gain[k] / square[k] : 0;
        f.least_gain = fmin(f.least_gain, f.gain[k]), f.most_gain = fmax(f.most_gain, f.gain[k]);
        f.least_offset = fmin(f.least_offset, f.offset[k]);
        f.most_offset = fmax(f.most_offset, f.offset[k]);
    }
    return f;
}

static void try_fit(hunt_t *h, const grouping_t *g) {
    const culprit_t *c = h->c;
    char a[HUNT_NUMBER], b[HUNT_NUMBER];
    if (g->used < 1 || c->count / g->used < 4 || c->count < FIT_LEAST) return;
    fit_t f = fit(h, g);
    double *guess = hunt_doubles(h, c->count);
    for (size_t i = 0; i < c->count; i++) guess[i] = f.gain[group_of(g, i)] * c->expected[i];
    hunt_number(h, a, f.least_gain, f.most_gain), hunt_number(h, b, f.most_gain, f.least_gain);
    if (g->used == 1)
        hunt_fits(h, guess, 1, "gain", "your output is the expected one times %s",
                  hunt_number(h, a, f.gain[0], 1));
    else
        hunt_fits(h, guess, g->used, "gain",
                  "in %s your output is the expected one times a constant, from %s to %s", g->whom,
                  a, b);
    for (size_t i = 0; i < c->count; i++) guess[i] = c->expected[i] + f.offset[group_of(g, i)];
    if (g->used == 1)
        hunt_fits(h, guess, 1, "offset", "your output is the expected one plus %s",
                  hunt_number(h, a, f.offset[0], 0));
    else
        hunt_fits(h, guess, g->used, "offset",
                  "in %s your output is the expected one plus a constant, from %s to %s", g->whom,
                  hunt_number(h, a, f.least_offset, f.most_offset),
                  hunt_number(h, b, f.most_offset, f.least_offset));
}

void cause_fitted(hunt_t *h) {
    const shape_t *s = &h->c->shape;
    size_t count = h->c->count;
    grouping_t all = {1, count, 1, ""};
    try_fit(h, &all);
    if (h->best.accepted || s->ndim < 2) return;
    size_t last = s->dim[s->ndim - 1], outer = s->dim[0], C = s->dim[1];
    size_t P = count / outer / C;
    const grouping_t groupings[] = {
        {outer, count / outer, outer, "each sample"},
        {last, 1, last, "each index of the last axis"},
        {C, P, C, s->ndim == 4 ? "each channel" : "each index of the second axis"},
        {0, P, outer * C, "each channel of each sample"},
    };
    for (size_t i = 0; i < sizeof groupings / sizeof *groupings && !h->best.accepted; i++)
        try_fit(h, &groupings[i]);
}
