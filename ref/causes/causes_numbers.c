/* causes_numbers.c - hypotheses about the numbers as they stand: constants, other tensors in this
 * one's place, gains and offsets, roundings. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "causes/causes_hunt.h"

/* Fewer numbers than this do not carry a fitted parameter. */
enum { FIT_LEAST = 8 };

void cause_constant(hunt_t *h) {
    const culprit_t *c = h->c;
    double *guess = hunt_doubles(h, c->count);
    for (size_t i = 0; i < c->count; i++) guess[i] = 0;
    if (hunt_try(h, guess, "zero", "your tensor is all zeros: never written?") ||
        c->count < FIT_LEAST) /* two gates may well be equal */
        return;
    for (size_t i = 0; i < c->count; i++) guess[i] = c->candidate[0];
    for (size_t i = 1; i < c->count; i++)
        if (c->candidate[i] != c->candidate[0]) return;
    hunt_try(h, guess, "constant", "every number of your tensor is %g", c->candidate[0]);
}

/* The module's input, or the last step's tensor, in this one's place. */
void cause_identity(hunt_t *h) {
    const culprit_t *c = h->c;
    bool norm =
        c->module && (c->module->kind == MODULE_GROUP_NORM || c->module->kind == MODULE_LAYER_NORM);
    if (c->input && shape_count(c->input_shape) == c->count)
        hunt_try(h, c->input, norm ? "norm-missing" : "skipped",
                 "your tensor is what goes into the module: %s",
                 norm ? "the norm is left out" : "the module is left out");
    if (c->previous)
        hunt_try(h, c->previous, "unconverged",
                 "your tensor is that of the step before: one step less, or not updated");
}

/* Two parts of a layer, or two layers, that are easily exchanged. */
void cause_swapped_taps(hunt_t *h) {
    static const char *const pairs[][2] = {{"to_k", "to_v"},
                                           {"to_q", "to_k"},
                                           {"to_q", "to_v"},
                                           {"k_proj", "v_proj"},
                                           {"q_proj", "k_proj"},
                                           {"q_proj", "v_proj"},
                                           {".mole.face", ".mole.hand"},
                                           {"norm1", "norm2"},
                                           {"norm2", "norm3"},
                                           {"conv1", "conv2"},
                                           {"layer_norm1", "layer_norm2"}};
    for (size_t i = 0; i < 2 * sizeof pairs / sizeof *pairs; i++) {
        const char *from = pairs[i / 2][i % 2], *to = pairs[i / 2][1 - i % 2];
        const char *at = strstr(h->name, from);
        char name[512];
        if (!at) continue;
        for (const char *next; (next = strstr(at + 1, from)) != NULL;) at = next;
        char after = at[strlen(from)];
        if (after != '\0' && after != '.') continue;
        snprintf(name, sizeof name, "%.*s%s%s", (int)(at - h->name), h->name, to,
                 at + strlen(from));
        shape_t shape;
        const double *other = hunt_tap(h, name, &shape);
        /* Exchanged: the other tap holds what was expected here. */
        if (other && shape_equal(shape, h->c->shape) &&
            hunt_same(h, other, h->c->expected, h->c->count))
            hunt_try(h, h->c->candidate, "swapped-tensors",
                     "what is expected here stands in your %s: the two are exchanged", name);
    }
}

/* ---- gains ----------------------------------------------------------------------------------- */

static bool try_gain(hunt_t *h, double gain, const char *meaning) {
    const culprit_t *c = h->c;
    double *guess = hunt_doubles(h, c->count);
    for (size_t i = 0; i < c->count; i++) guess[i] = gain * c->expected[i];
    return hunt_try(h, guess, "gain", "your output is %.6g times the expected one%s", gain,
                    meaning);
}

typedef struct {
    double gain;
    const char *meaning;
} named_gain_t;

static const named_gain_t known_gains[] = {
    {2, ": counted twice"},
    {0.5, ": halved"},
    {-1, ": the sign is turned"},
    {0.13025 / 0.18215, ": a VAE scaling factor of 0.18215 (SD) in place of 0.13025 (SDXL)"},
    {0.18215 / 0.13025, ": a VAE scaling factor of 0.13025 (SDXL) in place of 0.18215 (SD)"},
    {0.18215, ": the VAE's scaling factor 0.18215"},
    {1 / 0.18215, ": 1 / 0.18215, the VAE's scaling factor"},
    {0.18215 * 0.18215, ": the VAE's scaling factor squared: multiplied for divided"},
    {1.702, ": quick GELU's 1.702"},
    {255, ": 0 .. 255 for 0 .. 1"},
    {1 / 255.0, ": 1 / 255"},
    {127.5, ": 0 .. 255 for -1 .. 1"},
    {1000, ": 1000, the number of training timesteps"},
    {0.001, ": 1 / 1000, the number of training timesteps"},
};

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
            snprintf(text, sizeof text, ": %s(%zu), the length of axis %d", sizes[i].meaning,
                     s->dim[d], d);
            if (try_gain(h, sizes[i].gain, text)) return;
        }
    }
}

/* Of an affine layer: W (g x) + b = g (expected - b) + b. */
void cause_input_gain(hunt_t *h) {
    const culprit_t *c = h->c;
    if (!c->module || !c->input || *h->part) return;
    const real_t *bias = NULL;
    if (c->module->kind == MODULE_LINEAR && !c->module->as.linear->mole)
        bias = c->module->as.linear->bias;
    if (c->module->kind == MODULE_CONV) bias = c->module->as.conv->bias;
    if (!bias || c->count < FIT_LEAST) return;
    bool image = c->shape.ndim == 4;
    size_t C = c->shape.dim[image ? 1 : c->shape.ndim - 1];
    size_t P = image ? c->shape.dim[2] * c->shape.dim[3] : 1;
    double *linear = hunt_doubles(h, c->count), dot = 0, square = 0;
    for (size_t i = 0; i < c->count; i++) {
        double b = (double)bias[i / P % C];
        linear[i] = c->expected[i] - b;
        dot += linear[i] * (c->candidate[i] - b);
        square += linear[i] * linear[i];
    }
    if (!(square > 0)) return;
    double gain = dot / square;
    for (size_t i = 0; i < sizeof known_gains / sizeof *known_gains; i++) {
        const named_gain_t *known = &known_gains[i];
        if (fabs(gain - known->gain) > 1e-3 * fabs(known->gain)) continue;
        if (hunt_try_delta(h, linear, known->gain - 1, "gain",
                           "the module's input is %.6g times the expected one%s", known->gain,
                           known->meaning))
            return;
    }
    hunt_try_delta(h, linear, gain - 1, "gain", "the module's input is %.6g times the expected one",
                   gain);
}

/* ---- fitted gains and offsets ---------------------------------------------------------------- */

/* candidate ~ gain[g] expected + offset[g] over the groups g of an index; both kinds, one at a
 * time. */
typedef struct {
    size_t groups,
        inner;   /* group of number i: i / inner % groups, or i / inner where groups is 0 */
    size_t used; /* groups there are */
    const char *whom;
} grouping_t;

static size_t group_of(const grouping_t *g, size_t i) {
    return g->groups ? i / g->inner % g->groups : i / g->inner;
}

static void fit_groups(hunt_t *h, const grouping_t *g) {
    const culprit_t *c = h->c;
    if (g->used < 1 || c->count / g->used < 4 || c->count < FIT_LEAST) return;
    double *sum = hunt_doubles(h, g->used), *dot = hunt_doubles(h, g->used);
    double *square = hunt_doubles(h, g->used), *guess = hunt_doubles(h, c->count);
    for (size_t k = 0; k < g->used; k++) sum[k] = dot[k] = square[k] = 0;
    for (size_t i = 0; i < c->count; i++) {
        size_t k = group_of(g, i);
        sum[k] += c->candidate[i] - c->expected[i];
        dot[k] += c->candidate[i] * c->expected[i];
        square[k] += c->expected[i] * c->expected[i];
    }
    double per = (double)(c->count / g->used);
    for (size_t i = 0; i < c->count; i++) {
        size_t k = group_of(g, i);
        guess[i] = square[k] > 0 ? dot[k] / square[k] * c->expected[i] : 0;
    }
    if (g->used == 1)
        hunt_try(h, guess, "gain", "your output is %.6g times the expected one",
                 dot[0] / square[0]);
    else
        hunt_try(h, guess, "gain",
                 "%s has its own constant gain: a weight left out or taken twice?", g->whom);
    for (size_t i = 0; i < c->count; i++) guess[i] = c->expected[i] + sum[group_of(g, i)] / per;
    if (g->used == 1)
        hunt_try(h, guess, "offset", "your output is the expected one plus %.6g", sum[0] / per);
    else
        hunt_try(h, guess, "offset",
                 "%s is off by its own constant: a bias left out or added twice?", g->whom);
}

void cause_fitted(hunt_t *h) {
    const shape_t *s = &h->c->shape;
    size_t count = h->c->count;
    grouping_t all = {1, count, 1, ""};
    fit_groups(h, &all);
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
        fit_groups(h, &groupings[i]);
}

/* ---- storing in a smaller format ------------------------------------------------------------- */

double cause_round(double x, int bits, int lowest) {
    int exponent;
    if (x == 0 || !isfinite(x)) return x;
    frexp(x, &exponent);
    if (exponent - 1 < lowest) exponent = lowest + 1;
    double unit = ldexp(1, exponent - bits);
    return nearbyint(x / unit) * unit;
}

/* Every number of the candidate is one of the small format, and the difference is no larger than
 * what rounding to it, some times over, makes of the expected one. */
void cause_stored_precision(hunt_t *h) {
    static const struct {
        const char *name;
        int bits, lowest;
    } formats[] = {{"f16", 11, -14}, {"bf16", 8, -126}, {"tf32", 11, -126}, {"f32", 24, -126}};
    const culprit_t *c = h->c;
    for (size_t f = 0; f < sizeof formats / sizeof *formats; f++) {
        double sum = 0;
        size_t i = 0;
        for (; i < c->count; i++) {
            double x = c->candidate[i], y = c->expected[i];
            if (cause_round(x, formats[f].bits, formats[f].lowest) != x) break;
            double d = cause_round(y, formats[f].bits, formats[f].lowest) - y;
            sum += d * d;
        }
        double rounding = sqrt(sum / (double)c->count);
        if (i < c->count || c->count < FIT_LEAST || !(h->difference <= 4 * rounding)) continue;
        hunt_try(h, c->candidate, "precision",
                 "every number of your tensor is one of %s: rounded to it (difference %.2g, one "
                 "rounding %.2g); if that is intended, compare with --budget %s",
                 formats[f].name, h->difference, rounding, formats[f].name);
        return;
    }
}
