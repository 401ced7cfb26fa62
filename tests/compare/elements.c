/* elements.c - see elements.h. */
#include "elements.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../fixture.h"
#include "compare/units.h"

enum { SMALL = 16, TEXT = ELEMENTS_TEXT };
static const double F32 = 0x1p-24;

typedef struct kept {
    shape_t shape;
    double *truth, *hard; /* in torch's order; hard: the provable bound, NULL where there is none */
    double unit, free_unit;
    size_t axis; /* of the channels */
    int first;   /* of its changes */
} kept_t;

typedef struct {
    tap_sink_t sink;
    elements_t *e;
    size_t next;
    bool free;
    double worst;               /* of a free run */
    const pipeline_t *pipeline; /* of the first run, which makes the truth; else NULL */
    double *input;              /* of the module that is next */
    shape_t input_shape;
    char module[TEXT];
} watcher_t;

static double rms_of(const double *x, size_t count) {
    double sum = 0;
    for (size_t i = 0; i < count; i++) sum += x[i] * x[i];
    return sqrt(sum / (double)count);
}

size_t elements_tap(const elements_t *e, const char *name) {
    for (size_t i = 0; i < e->golden.taps; i++)
        if (strcmp(e->golden.tap[i].name, name) == 0) return i;
    return SIZE_MAX;
}

static bool ends(const char *text, const char *end) {
    size_t a = strlen(text), b = strlen(end);
    return a >= b && strcmp(text + a - b, end) == 0;
}

static double *to_torch(const real_t *x, view_t view) {
    size_t count = shape_count(view.shape);
    real_t *torch = xmalloc((count + 1) * sizeof *torch);
    double *out = xmalloc((count + 1) * sizeof *out);
    view_to_torch(torch, x, view);
    for (size_t i = 0; i < count; i++) out[i] = (double)torch[i];
    free(torch);
    return out;
}

/* gamma(K+1) (|W||x| + |b|), where the tap shows a linear map alone. */
static double *hard_bound(const watcher_t *w, const char *name, size_t count) {
    char module[TEXT];
    bool base = ends(name, ".mole.base");
    snprintf(module, sizeof module, "%.*s", (int)(strlen(name) - base * strlen(".mole.base")),
             name);
    if (strcmp(module, w->module) != 0) return NULL;
    const module_t *m = pipeline_module(w->pipeline, module);
    if (!m || (m->kind == MODULE_LINEAR && m->as.linear->mole && !base)) return NULL;
    double *bound = xmalloc((count + 1) * sizeof *bound);
    size_t K = compare_bound_magnitudes(m, bound, w->input, w->input_shape);
    double gamma = (double)(K + 1) * F32 / (1 - (double)(K + 1) * F32);
    for (size_t i = 0; K > 0 && i < count; i++) bound[i] *= gamma;
    if (K > 0) return bound;
    free(bound);
    return NULL;
}

static void keep_truth(const watcher_t *w, kept_t *k, const golden_tap_t *t, const real_t *x,
                       view_t view) {
    size_t count = shape_count(view.shape);
    k->shape = view.shape;
    k->axis = view.layout == LAYOUT_CHANNELS_LAST ? 1 : (size_t)view.shape.ndim - 1;
    k->truth = to_torch(x, view);
    k->hard = hard_bound(w, t->name, count);
    double rms = rms_of(k->truth, count);
    k->unit = units_floored(fmax(t->isolated_rms, t->orders_rms), rms, BUDGET_F32);
    k->free_unit = units_floored(t->strict_rms, rms, BUDGET_F32);
}

/* The error that the change made alone is that of its own channel. In units of the nearer bound. */
static double used_by(const change_t *c, const kept_t *k, const double *x) {
    size_t count = shape_count(k->shape), inner = 1, channels = k->shape.dim[k->axis], first = 0;
    for (int d = (int)k->axis + 1; d < k->shape.ndim; d++) inner *= k->shape.dim[d];
    if (c->channel == ELEMENTS_ALL) inner = count, channels = 1;
    if (c->channel != ELEMENTS_ALL) first = (size_t)c->channel * inner;
    double sum = 0, used = 0;
    for (size_t block = first; block < count; block += channels * inner)
        for (size_t i = block; i < block + inner; i++) {
            double error = fabs(x[i] - k->truth[i]);
            sum += error * error;
            if (k->hard && error > 0) used = fmax(used, error / k->hard[i]);
        }
    return fmax(used, sqrt(sum / (double)count) / (COMPARE_LIMIT * k->unit));
}

static void keep_input(watcher_t *w, const char *name, const real_t *x, view_t view) {
    if (!w->pipeline) return;
    free(w->input);
    w->input = to_torch(x, view);
    w->input_shape = view.shape;
    snprintf(w->module, TEXT, "%.*s", (int)(strlen(name) - strlen(".in")), name);
}

static void force(real_t *x, view_t view, const double *truth) {
    size_t count = shape_count(view.shape);
    real_t *torch = xmalloc((count + 1) * sizeof *torch);
    for (size_t i = 0; i < count; i++) torch[i] = (real_t)truth[i];
    view_from_torch(x, torch, view);
    free(torch);
}

static void weigh(watcher_t *w, kept_t *k, const double *found) {
    size_t count = shape_count(k->shape);
    double sum = 0;
    for (int i = k->first; i != ELEMENTS_ALL; i = w->e->change[i].next)
        w->e->change[i].used = used_by(&w->e->change[i], k, found);
    for (size_t i = 0; w->free && i < count; i++) sum += pow(found[i] - k->truth[i], 2);
    w->worst = fmax(w->worst, sqrt(sum / (double)count) / (COMPARE_LIMIT * k->free_unit));
}

static void watch(tap_sink_t *self, const char *name, real_t *x, view_t view) {
    watcher_t *w = (watcher_t *)self;
    const golden_case_t *g = &w->e->golden;
    size_t at = w->next;
    if (ends(name, ".in")) {
        keep_input(w, name, x, view);
        return;
    }
    while (at < g->taps && strcmp(g->tap[at].name, name) != 0) at++;
    if (at == g->taps) return;
    w->next = at + 1;
    kept_t *k = &w->e->kept[at];
    if (w->pipeline) {
        keep_truth(w, k, &g->tap[at], x, view);
        return;
    }
    double *found = to_torch(x, view);
    weigh(w, k, found);
    free(found);
    if (!w->free) force(x, view, k->truth);
}

/* files NULL: the case's own. */
static void run_case(watcher_t *w, const pipeline_files_t *files) {
    err_t err;
    pipeline_t pipeline;
    w->sink = (tap_sink_t){watch, files == NULL};
    w->pipeline = files ? NULL : &pipeline;
    run_t run = {.matmul = MATMUL_BLAS, .form = MOLE_DIRECT, .sink = &w->sink};
    if (arena_create(&run.arena, 0, &err) ||
        (files ? pipeline_open(&pipeline, files, &err)
               : golden_open_model(&w->e->golden, &pipeline, &err)) ||
        golden_execute(&run, &w->e->golden, &pipeline, &err))
        fail_msg("%s", err.text);
    free(w->input);
    pipeline_close(&pipeline);
    arena_destroy(run.arena);
}

/* Taps of few numbers have at least the unit that all such taps have together, as in mole compare. */
static void pool_small(elements_t *e) {
    double sum = 0;
    size_t taps = 0;
    for (int pass = 0; pass < 2; pass++)
        for (size_t i = 0; i < e->golden.taps; i++) {
            size_t count = shape_count(e->golden.tap[i].shape);
            double size = count < SMALL ? rms_of(e->kept[i].truth, count) : 0;
            if (!(size > 0)) continue;
            if (pass)
                e->kept[i].unit = fmax(e->kept[i].unit, sqrt(sum / (double)taps) * size);
            else
                sum += pow(e->kept[i].unit / size, 2), taps++;
        }
}

void elements_open(elements_t *e, const char *name) {
    char folder[TEXT];
    err_t err;
    *e = (elements_t){0};
    snprintf(folder, TEXT, "golden/runs/%s", name);
    if (golden_case_open(&e->golden, folder, &err)) fail_msg("%s", err.text);
    e->kept = xcalloc(e->golden.taps + 1, sizeof *e->kept);
    run_case(&(watcher_t){.e = e}, NULL);
    pool_small(e);
}

void elements_close(elements_t *e) {
    for (size_t i = 0; i < e->golden.taps; i++) {
        free(e->kept[i].truth);
        free(e->kept[i].hard);
    }
    free(e->kept);
    free(e->change);
    golden_case_close(&e->golden);
}

void elements_forget_changes(elements_t *e) {
    e->changes = 0;
    for (size_t i = 0; i < e->golden.taps; i++) e->kept[i].first = ELEMENTS_ALL;
}

void elements_note(elements_t *e, size_t tap, long channel, const char *what) {
    if (e->changes == e->room) {
        e->room = 2 * e->room + 64;
        e->change = xrealloc(e->change, e->room * sizeof *e->change);
    }
    change_t *c = &e->change[e->changes];
    *c = (change_t){.channel = channel, .next = e->kept[tap].first};
    snprintf(c->what, TEXT, "%s", what);
    e->kept[tap].first = (int)e->changes++;
}

void elements_run(elements_t *e, const pipeline_files_t *files) {
    run_case(&(watcher_t){.e = e}, files);
}

double elements_run_free(elements_t *e, const pipeline_files_t *files) {
    watcher_t w = {.e = e, .free = true};
    run_case(&w, files);
    return w.worst;
}
