/* causes_norm.c - GroupNorm and LayerNorm done in another way, and on another input. In double
 * throughout: an epsilon shows in the sixth digit. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "causes/causes_norm.h"

static size_t group_of(const norm_way_t *n, size_t c) {
    return n->interleaved ? c % n->groups : c / (n->C / n->groups);
}

/* One sample; work: 2 groups numbers. */
static void normalise(double *out, const double *x, const norm_way_t *n, double *work) {
    double *mean = work, *deviation = work + n->groups;
    double count = (double)(n->C / n->groups * n->P);
    memset(work, 0, 2 * n->groups * sizeof *work);
    for (size_t i = 0; n->centred && i < n->C * n->P; i++)
        mean[group_of(n, i / n->P)] += x[i] / count;
    for (size_t i = 0; i < n->C * n->P; i++) {
        double d = x[i] - mean[group_of(n, i / n->P)];
        deviation[group_of(n, i / n->P)] += d * d / (count - (double)n->ddof);
    }
    for (size_t g = 0; g < n->groups; g++)
        deviation[g] = n->outside ? sqrt(deviation[g]) + n->eps : sqrt(deviation[g] + n->eps);
    for (size_t i = 0; i < n->C * n->P; i++) {
        size_t c = i / n->P, g = group_of(n, c);
        out[i] = (x[i] - mean[g]) / deviation[g];
        if (n->weight) out[i] *= (double)n->w[c];
        if (n->bias) out[i] += (double)n->b[c];
    }
}

static void norm_forward(hunt_t *h, double *out, const double *x, const norm_way_t *n) {
    double *work = hunt_doubles(h, 2 * n->groups);
    for (size_t b = 0; b < n->B; b++)
        normalise(out + b * n->C * n->P, x + b * n->C * n->P, n, work);
}

bool hunt_norm(const hunt_t *h, norm_way_t *n) {
    const culprit_t *c = h->c;
    if (!c->module || *h->part || !c->input) return false;
    if (c->module->kind != MODULE_GROUP_NORM && c->module->kind != MODULE_LAYER_NORM) return false;
    const norm_t *norm = c->module->as.norm;
    bool grouped = c->module->kind == MODULE_GROUP_NORM;
    size_t C = norm->channels, count = shape_count(c->input_shape);
    if (count != c->count || count % C) return false;
    *n = (norm_way_t){.C = C,
                      .groups = grouped ? norm->groups : 1,
                      .eps = norm->eps,
                      .weight = true,
                      .bias = true,
                      .centred = true,
                      .w = norm->weight,
                      .b = norm->bias};
    n->B = grouped ? c->input_shape.dim[0] : count / C;
    n->P = count / n->B / C;
    return true;
}

static void try_way(hunt_t *h, const norm_way_t *way, const char *kind, const char *text) {
    double *guess = hunt_doubles(h, h->c->count);
    norm_forward(h, guess, h->c->input, way);
    hunt_try(h, guess, kind, "%s", text);
}

static void try_epsilons(hunt_t *h, const norm_way_t *right) {
    static const double values[] = {1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-10, 1e-12, 0};
    char text[CAUSE_TEXT];
    const char *kind = right->groups > 1 || right->P > 1 ? "GroupNorm" : "LayerNorm";
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        norm_way_t way = *right;
        way.eps = values[i];
        if (way.eps == right->eps) continue;
        snprintf(text, sizeof text, "%s with epsilon %g instead of %g gives your numbers", kind,
                 way.eps, right->eps);
        try_way(h, &way, "epsilon", text);
    }
    norm_way_t way = *right;
    way.outside = true;
    try_way(h, &way, "epsilon",
            "epsilon is added to the deviation; it belongs to the variance, inside the root");
}

static void try_groups(hunt_t *h, const norm_way_t *right) {
    char text[CAUSE_TEXT];
    const size_t values[] = {32, 2 * right->groups, right->groups / 2, 1, right->C, 8, 16};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        norm_way_t way = *right;
        way.groups = values[i];
        if (!way.groups || way.groups == right->groups || right->C % way.groups) continue;
        if (way.groups == right->C && right->P == 1) continue;
        snprintf(text, sizeof text, "normalised in %zu groups instead of %zu%s", way.groups,
                 right->groups,
                 way.groups == 1          ? " (a LayerNorm over the image)"
                 : way.groups == right->C ? " (InstanceNorm)"
                                          : "");
        try_way(h, &way, "groups", text);
    }
    if (right->groups == 1 || right->groups == right->C) return;
    norm_way_t way = *right;
    way.interleaved = true;
    try_way(h, &way, "layout", "groups take every G-th channel; they are runs of neighbours");
}

/* A LayerNorm over tokens and channels of a sample together. */
static void try_joint(hunt_t *h, const norm_way_t *right) {
    const shape_t *s = &h->c->shape;
    if (right->P != 1 || right->groups != 1 || s->ndim != 3 || s->dim[1] < 2) return;
    size_t n = s->dim[1] * s->dim[2];
    double *guess = hunt_doubles(h, h->c->count);
    norm_way_t way = *right;
    way.B = s->dim[0], way.C = n, way.weight = way.bias = false;
    norm_forward(h, guess, h->c->input, &way);
    for (size_t i = 0; i < h->c->count; i++) {
        size_t c = i % right->C;
        guess[i] = guess[i] * (double)right->w[c] + (double)right->b[c];
    }
    hunt_try(h, guess, "groups",
             "normalised over all tokens of a sample; each token has its own norm");
}

/* Any other epsilon: the one that the quietest group needs. With d = x - mean, y = (candidate - b)
 * / w is r d, and r^-2 = var + eps. */
static double fitted_epsilon(const hunt_t *h, const norm_way_t *n) {
    double least = HUGE_VAL, eps = -1, count = (double)(n->C / n->groups * n->P);
    for (size_t g = 0; g < n->B * n->groups; g++) {
        size_t first = g / n->groups * n->C * n->P, width = n->C / n->groups * n->P;
        size_t channel = g % n->groups * (n->C / n->groups);
        double mean = 0, variance = 0, dot = 0;
        first += channel * n->P;
        for (size_t i = 0; i < width; i++) mean += h->c->input[first + i] / count;
        for (size_t i = 0; i < width; i++) {
            size_t c = channel + i / n->P;
            double d = h->c->input[first + i] - mean, w = (double)n->w[c];
            variance += d * d / count;
            if (w != 0) dot += (h->c->candidate[first + i] - (double)n->b[c]) / w * d / count;
        }
        if (!(variance > 0) || !(dot > 0) || variance >= least) continue;
        least = variance;
        eps = variance / dot * (variance / dot) - variance;
    }
    return eps;
}

static void try_fitted_epsilon(hunt_t *h, const norm_way_t *right) {
    norm_way_t way = *right;
    way.eps = fitted_epsilon(h, right);
    bool other = fabs(way.eps - right->eps) > 0.01 * right->eps; /* else it is rounding */
    if (h->best.accepted || !(way.eps > 0) || !other) return;
    double *guess = hunt_doubles(h, h->c->count);
    norm_forward(h, guess, h->c->input, &way);
    hunt_try_fitted(h, guess, 1, "epsilon", "an epsilon of %.3g instead of %g gives your numbers",
                    way.eps, right->eps);
}

void cause_norm(hunt_t *h) {
    norm_way_t right, way;
    if (!hunt_norm(h, &right)) return;
    /* A wrong denominator is one number in each group, and so is one rounding of the right one. */
    h->block = right.C / right.groups * right.P;
    try_epsilons(h, &right);
    way = right, way.ddof = 1;
    if (right.C / right.groups * right.P > 1)
        try_way(h, &way, "variance", "the variance divides by n - 1; torch's norms divide by n");
    way = right, way.weight = false;
    try_way(h, &way, "affine", "the norm's weight is left out");
    way.bias = false;
    try_way(h, &way, "affine", "the norm's weight and bias are left out");
    way.weight = true;
    try_way(h, &way, "affine", "the norm's bias is left out");
    way = right, way.centred = false;
    try_way(h, &way, "variance", "the mean is not subtracted (RMS norm)");
    try_fitted_epsilon(h, &right);
    h->block = 1;
    try_groups(h, &right);
    try_joint(h, &right);
}

/* ---- another input --------------------------------------------------------------------------- */

static void try_input(hunt_t *h, const norm_way_t *n, const double *delta, double weight,
                      const char *kind, const char *text) {
    double *x = hunt_doubles(h, h->c->count), *guess = hunt_doubles(h, h->c->count);
    for (size_t i = 0; i < h->c->count; i++) x[i] = h->c->input[i] + weight * delta[i];
    norm_forward(h, guess, x, n);
    hunt_try(h, guess, kind, "%s", text);
}

/* norm2 of a ResNet: its input is conv1 + time_emb_proj, per channel. */
static void try_time(hunt_t *h, const norm_way_t *n) {
    shape_t conv_shape, time_shape;
    if (!hunt_neighbour(h, ".norm2", ".conv1", &conv_shape)) return;
    const double *time = hunt_neighbour(h, ".norm2", ".time_emb_proj", &time_shape);
    if (!time || time_shape.ndim != 2 || shape_count(time_shape) != n->B * n->C) return;
    double *spread = hunt_doubles(h, h->c->count);
    for (size_t i = 0; i < h->c->count; i++) spread[i] = time[i / n->P];
    try_input(h, n, spread, -1, "time", "the time embedding is not added before norm2");
    try_input(h, n, spread, 1, "time", "the time embedding is added twice before norm2");
    try_input(h, n, spread, -2, "time", "the time embedding is subtracted before norm2");
}

/* The text encoder's last norm on the output of an earlier layer. */
static void try_earlier_layer(hunt_t *h, const norm_way_t *n) {
    enum { LAYERS = 64 };
    if (!text_ends(h->module, ".final_layer_norm")) return;
    double *guess = hunt_doubles(h, h->c->count);
    for (int layer = 0; layer < LAYERS; layer++) {
        char to[64];
        shape_t shape;
        snprintf(to, sizeof to, ".encoder.layers.%d", layer);
        const double *x = hunt_neighbour(h, ".final_layer_norm", to, &shape);
        if (!x) return;
        if (shape_count(shape) != h->c->count) continue;
        norm_forward(h, guess, x, n);
        hunt_try(h, guess, "skipped",
                 "the norm is that of layer %d's output: the layers after it are "
                 "left out (clip skip)",
                 layer);
    }
}

/* A norm inside a block with residuals: input = h + branch, the branch being a tap. */
void cause_norm_input(hunt_t *h) {
    static const char *const branches[][3] = {{".norm2", ".attn1", ".norm1"},
                                              {".norm3", ".attn2", ".norm2"},
                                              {".layer_norm2", ".self_attn", ".layer_norm1"}};
    norm_way_t n;
    if (!hunt_norm(h, &n)) return;
    try_time(h, &n);
    try_earlier_layer(h, &n);
    for (size_t i = 0; i < sizeof branches / sizeof *branches; i++) {
        shape_t shape;
        const double *branch = hunt_neighbour(h, branches[i][0], branches[i][1], &shape);
        if (!branch || shape_count(shape) != h->c->count) continue;
        double *guess = hunt_doubles(h, h->c->count);
        norm_forward(h, guess, branch, &n);
        hunt_try(h, guess, "residual", "the residual connection around %s is missing",
                 branches[i][1] + 1);
        const double *normal = hunt_neighbour(h, branches[i][0], branches[i][2], &shape);
        if (normal && shape_count(shape) == h->c->count) {
            double *x = hunt_doubles(h, h->c->count);
            for (size_t j = 0; j < h->c->count; j++) x[j] = normal[j] + branch[j];
            norm_forward(h, guess, x, &n);
            hunt_try(h, guess, "residual",
                     "the residual is taken after the norm before %s; it is taken before it",
                     branches[i][1] + 1);
        }
        try_input(h, &n, branch, -1, "residual",
                  "the attention's output is not added to its input");
        try_input(h, &n, branch, 1, "residual", "the attention's output is added twice");
    }
}
