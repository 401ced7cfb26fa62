/* profile.c - see profile.h. */
#include "bench/profile.h"

#include <stdlib.h>
#include <string.h>

#include "bench/measure.h"
#include "core/err.h"
#include "core/tap_name.h"

struct profile_module {
    char *name;
    profile_kind_t kind;
    double each; /* multiplications for one row (token, pixel) of its output */
};

static int by_name(const void *a, const void *b) {
    const struct profile_module *x = a, *y = b;
    return strcmp(x->name, y->name);
}

static int name_is(const void *key, const void *element) {
    const struct profile_module *m = element;
    return strcmp(key, m->name);
}

static const struct profile_module *find(const profile_t *p, const char *name) {
    return bsearch(name, p->module, p->modules, sizeof *p->module, name_is);
}

static profile_kind_t kind_of(const module_t *m) {
    switch (m->kind) {
    case MODULE_CONV: return PROFILE_CONV;
    case MODULE_LINEAR: return m->as.linear->mole ? PROFILE_MOLE : PROFILE_LINEAR;
    case MODULE_GROUP_NORM: return PROFILE_GROUP_NORM;
    default: return PROFILE_LAYER_NORM;
    }
}

static double each_of(const module_t *m) {
    if (m->kind == MODULE_CONV) {
        const conv_t *c = m->as.conv;
        return (double)(c->in * c->out * c->geometry.kernel_h * c->geometry.kernel_w);
    }
    if (m->kind != MODULE_LINEAR) return 0;
    const linear_t *l = m->as.linear;
    double each = (double)(l->in * l->out);
    for (size_t i = 0; l->mole && i < l->mole->experts; i++)
        each += (double)(l->mole->expert[i].rank * (l->in + l->out));
    return each;
}

/* Tokens or pixels of an output. */
static double rows_of(view_t view) {
    bool image = view.layout == LAYOUT_CHANNELS_LAST;
    size_t channels = view.shape.dim[image ? 1 : view.shape.ndim - 1];
    return (double)(shape_count(view.shape) / channels);
}

/* q, k and v of an attention pass by in this order; with v its size is known. */
static void see_attention(profile_t *p, const char *name, view_t view) {
    bool q = text_ends(name, ".to_q") || text_ends(name, ".q_proj");
    bool k = text_ends(name, ".to_k") || text_ends(name, ".k_proj");
    bool v = text_ends(name, ".to_v") || text_ends(name, ".v_proj");
    if (view.shape.ndim != 3) return;
    if (q) p->tokens = view.shape.dim[1], p->width = view.shape.dim[2];
    if (k) p->context = view.shape.dim[1];
    if (!v) return;
    p->row[PROFILE_ATTENTION].gflop +=
        4e-9 * (double)(view.shape.dim[0] * p->tokens * p->context * p->width);
    p->row[PROFILE_ATTENTION].calls++;
}

static void note(tap_sink_t *self, const char *full, real_t *x, view_t view) {
    profile_t *p = (profile_t *)self;
    tap_name_t tap = tap_name(full);
    const char *name = tap.name;
    double now = measure_seconds(), spent = now - p->last;
    if (tap.is_input) {
        char *module = tap_name_layer(name, "");
        bool attends = text_ends(module, ".to_out.0") || text_ends(module, ".out_proj");
        p->row[attends ? PROFILE_ATTENTION : PROFILE_REST].seconds += spent;
        p->inside = find(p, module);
        free(module);
    } else if (p->inside && strcmp(p->inside->name, name) == 0) {
        profile_row_t *row = &p->row[p->inside->kind];
        row->seconds += spent;
        row->gflop += 2e-9 * p->inside->each * rows_of(view);
        row->calls++;
        p->inside = NULL;
    } else { /* a tap within a MoLE layer, or of a container */
        p->row[p->inside ? p->inside->kind : PROFILE_REST].seconds += spent;
    }
    if (!tap.is_input) see_attention(p, name, view);
    if (p->next && (!tap.is_input || p->next->inputs)) p->next->tap(p->next, full, x, view);
    p->last = measure_seconds();
}

void profile_start(profile_t *p, const modules_t *sets, size_t count, tap_sink_t *next) {
    *p = (profile_t){.sink = {note, true}, .next = next};
    for (size_t s = 0; s < count; s++) p->modules += sets[s].count;
    p->module = xcalloc(p->modules + 1, sizeof *p->module);
    size_t n = 0;
    for (size_t s = 0; s < count; s++)
        for (size_t i = 0; i < sets[s].count; i++) {
            const module_t *m = &sets[s].module[i];
            p->module[n++] = (struct profile_module){xstrdup(m->name), kind_of(m), each_of(m)};
        }
    qsort(p->module, n, sizeof *p->module, by_name);
    p->last = measure_seconds();
}

void profile_free(profile_t *p) {
    for (size_t i = 0; i < p->modules; i++) free(p->module[i].name);
    p->modules = 0;
    free(p->module);
    p->module = NULL;
}

const char *profile_kind_name(profile_kind_t kind) {
    static const char *const name[PROFILE_KINDS] = {
        "conv 3x3",   "linear, conv 1x1", "linear with experts", "attention",
        "group_norm", "layer_norm",       "activations and rest"};
    return name[kind];
}

profile_row_t profile_total(const profile_t *p) {
    profile_row_t total = {0};
    for (int k = 0; k < PROFILE_KINDS; k++) {
        total.seconds += p->row[k].seconds;
        total.gflop += p->row[k].gflop;
        total.calls += p->row[k].calls;
    }
    return total;
}
