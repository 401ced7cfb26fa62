/* causes_weights.c - the layer with other weights: those of another layer of the same shape, or its own in a
 * smaller format. */
#include <stdio.h>
#include <string.h>

#include "causes/causes_hunt.h"

/* The layer, or its base, as another module has it; NULL: it gives another shape. */
static const double *apply(hunt_t *h, const module_t *module) {
    culprit_t other = *h->c;
    const culprit_t *was = h->c;
    other.module = module;
    h->c = &other;
    const double *y = hunt_apply(h, other.input);
    h->c = was;
    return y;
}

/* ---- another layer's ------------------------------------------------------------------------------- */

static bool same_size(const module_t *a, const module_t *b) {
    if (a->kind != b->kind) return false;
    switch (a->kind) {
    case MODULE_LINEAR:
        return a->as.linear->in == b->as.linear->in && a->as.linear->out == b->as.linear->out &&
               !a->as.linear->bias == !b->as.linear->bias && b->as.linear->weight != NULL;
    case MODULE_CONV:
        return a->as.conv->in == b->as.conv->in && a->as.conv->out == b->as.conv->out &&
               memcmp(&a->as.conv->geometry, &b->as.conv->geometry, sizeof a->as.conv->geometry) ==
                   0;
    default:
        return a->as.norm->channels == b->as.norm->channels &&
               a->as.norm->groups == b->as.norm->groups;
    }
}

/* Multiplications that one more try takes. */
static double work_of(const hunt_t *h, const module_t *m) {
    double count = (double)h->c->count;
    if (m->kind == MODULE_LINEAR) return count * (double)m->as.linear->in;
    if (m->kind != MODULE_CONV) return count;
    const conv_t *c = m->as.conv;
    return count * (double)(c->in * c->geometry.kernel_h * c->geometry.kernel_w);
}

/* Those of its component. */
static void try_others(hunt_t *h, const modules_t *modules) {
    const double most = 4e10; /* half a minute, about */
    const module_t *own = h->c->module;
    double tries = 0, work = 0;
    for (size_t i = 0; i < modules->count; i++) tries += same_size(own, &modules->module[i]);
    for (size_t i = 0; i < modules->count && !h->best.accepted; i++) {
        const module_t *other = &modules->module[i];
        if (strcmp(other->name, own->name) == 0 || !same_size(own, other)) continue;
        if ((work += work_of(h, other)) > most) return;
        const double *guess = apply(h, other);
        if (guess)
            hunt_try_chosen(h, guess, tries, "swapped-tensors", "the layer has the weights of %s",
                            other->name);
    }
}

/* ---- its own, rounded ------------------------------------------------------------------------------ */

static const struct {
    int bits, lowest;
    const char *name;
} formats[] = {{11, -14, "float16"}, {8, -126, "bfloat16"}};

static const real_t *rounded(hunt_t *h, const real_t *x, size_t count, size_t format) {
    if (!x) return NULL;
    real_t *y = hunt_reals(h, NULL, count);
    for (size_t i = 0; i < count; i++)
        y[i] = (real_t)cause_round((double)x[i], formats[format].bits, formats[format].lowest);
    return y;
}

static void try_rounded(hunt_t *h, size_t format, bool bias) {
    module_t module = *h->c->module;
    linear_t l;
    conv_t c;
    if (module.kind == MODULE_LINEAR) {
        l = *module.as.linear;
        if (!l.weight) return;
        l.weight = rounded(h, l.weight, l.in * l.out, format);
        if (bias) l.bias = rounded(h, l.bias, l.out, format);
        module.as.linear = &l;
    } else if (module.kind == MODULE_CONV) {
        c = *module.as.conv;
        c.weight =
            rounded(h, c.weight, c.in * c.out * c.geometry.kernel_h * c.geometry.kernel_w, format);
        if (bias) c.bias = rounded(h, c.bias, c.out, format);
        module.as.conv = &c;
    } else {
        return;
    }
    const double *guess = apply(h, &module);
    if (guess)
        hunt_try(h, guess, "precision", "the weight%s rounded to %s, and the rest is not",
                 bias ? " and the bias are" : " is", formats[format].name);
}

void cause_weights(hunt_t *h) {
    const culprit_t *c = h->c;
    pipeline_component_t component[PIPELINE_COMPONENTS];
    if (!c->module || !c->input) return;
    for (size_t f = 0; f < sizeof formats / sizeof *formats; f++)
        for (int bias = 0; bias < 2 && !h->best.accepted; bias++) try_rounded(h, f, bias);
    if (!c->pipeline || h->best.accepted) return;
    size_t count = pipeline_components(c->pipeline, component);
    for (size_t i = 0; i < count && !h->best.accepted; i++) {
        size_t length = strlen(component[i].name);
        if (strncmp(h->module, component[i].name, length) == 0 && h->module[length] == '.')
            try_others(h, &component[i].modules);
    }
}
