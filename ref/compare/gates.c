/* gates.c - see gates.h. */
#include "compare/gates.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "compare/budget.h"
#include "core/tap_name.h"

void gate_free(gate_mean_t *gate) {
    free(gate->mean);
}

/* The expert of the layer that a tap belongs to; NULL without gates. */
static const mole_expert_t *expert_of(const comparison_t *c, const char *text, size_t *channels) {
    tap_name_t name = tap_name(text);
    char *layer = tap_name_layer(text, "");
    const module_t *module = pipeline_module(&c->pipeline, layer);
    free(layer);
    if (!module || module->kind != MODULE_LINEAR || !module->as.linear->mole) return NULL;
    const mole_layer_t *mole = module->as.linear->mole;
    *channels = mole->d_out;
    for (size_t i = 0; i < mole->experts; i++)
        if (tap_span_is(name.expert, mole->expert[i].name) && mole->expert[i].global_weight)
            return &mole->expert[i];
    return NULL;
}

/* x (B,T,d'), or (B,d',H,W) for a 1x1 convolution. */
static void keep_mean(gate_mean_t *g, const double *x, shape_t shape, size_t channels) {
    size_t B = shape.dim[0], each = shape_count(shape) / B, tokens = each / channels;
    bool image = shape.ndim == 4;
    if (B * channels > g->room) {
        g->room = B * channels;
        g->mean = xrealloc(g->mean, g->room * sizeof *g->mean);
    }
    g->B = B;
    g->channels = channels;
    memset(g->mean, 0, B * channels * sizeof *g->mean);
    for (size_t i = 0; i < B * each; i++) {
        size_t channel = image ? i / tokens % channels : i % channels;
        g->mean[i / each * channels + channel] += x[i] / (double)tokens;
    }
}

/* Weights and means are off by half a unit of either sign, as in every run with rounded numbers; the logit
 * and the bias too where results are rounded. */
static double logit_rounding(const mole_expert_t *expert, const double *mean, size_t channels,
                             budget_t budget) {
    double square = 0, logit = expert->global_bias, half = 0.5 * budget_unit(budget);
    for (size_t j = 0; j < channels; j++) {
        double term = (double)expert->global_weight[j] * mean[j];
        square += 2 * term * term;
        logit += term;
    }
    if (budget_results(budget) != PRECISION_F32)
        square += logit * logit + expert->global_bias * expert->global_bias;
    return half * sqrt(square);
}

double gate_rounding(gate_mean_t *g, const comparison_t *c, budget_t budget, const char *name,
                     const double *x, shape_t shape) {
    tap_name_t tap = tap_name(name);
    bool of_expert = strcmp(tap.part, "expert") == 0, of_gate = strcmp(tap.part, "global") == 0;
    size_t channels;
    if (tap.is_input || !(of_expert || of_gate) || !budget_is_low(budget)) return 0;
    const mole_expert_t *expert = expert_of(c, name, &channels);
    if (!expert) return 0;
    if (of_expert) {
        keep_mean(g, x, shape, channels);
        return 0;
    }
    double square = 0;
    if (g->B != shape_count(shape) || g->channels != channels) return 0;
    for (size_t b = 0; b < g->B; b++) {
        double slope = x[b] * (1 - x[b]);
        double off = slope * logit_rounding(expert, g->mean + b * channels, channels, budget);
        square += off * off / (double)g->B;
    }
    return sqrt(square);
}
