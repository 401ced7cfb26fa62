/* compare_golden.c - a golden case against a trace: cumulative errors from the stored truth, isolated ones
 * by running the reference on the candidate's own numbers. See compare.h. */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "causes/causes.h"
#include "compare/compare_internal.h"
#include "golden/execute.h"
#include "io/trace.h"

/* ---- cumulative -------------------------------------------------------------------------------------- */

static int read_truth(void *who, size_t index, size_t first, size_t count, double *out,
                      err_t *err) {
    (void)err;
    const golden_case_t *golden = who;
    const st_tensor_t *truth = golden->tap[index].truth;
    dtype_to_double(out, (const char *)truth->data + first * sizeof(double), DTYPE_F64, count);
    return 0;
}

/* One draw of PyTorch's rounding is no measure for a gate of two numbers: taps of fewer than SMALL numbers
 * count with at least the error that PyTorch makes over all of them, relative to their size. */
enum { SMALL = 16 };

static double truth_rms(const golden_tap_t *t) {
    double numbers[SMALL];
    size_t count = shape_count(t->shape);
    dtype_to_double(numbers, t->truth->data, DTYPE_F64, count);
    return diff_tensors(numbers, numbers, count).truth_rms;
}

typedef struct {
    double cumulative, isolated; /* rms over the small taps of error / truth's rms */
} pooled_t;

static pooled_t pool_small(const golden_case_t *g) {
    pooled_t sum = {0, 0};
    size_t taps = 0;
    for (size_t i = 0; i < g->taps; i++) {
        const golden_tap_t *t = &g->tap[i];
        double size = shape_count(t->shape) < SMALL ? truth_rms(t) : 0;
        if (!(size > 0)) continue;
        sum.cumulative += (t->peer_rms / size) * (t->peer_rms / size);
        sum.isolated += (t->isolated_rms / size) * (t->isolated_rms / size);
        taps++;
    }
    if (!taps) return sum;
    return (pooled_t){sqrt(sum.cumulative / (double)taps), sqrt(sum.isolated / (double)taps)};
}

static void rows_of_golden(compare_result_t *r, const golden_case_t *g, const char *filter,
                           size_t *index, double *isolated_peer) {
    pooled_t pooled = pool_small(g);
    r->row = xcalloc(g->taps + 1, sizeof *r->row);
    for (size_t i = 0; i < g->taps; i++) {
        const golden_tap_t *t = &g->tap[i];
        if (filter && !name_matches(filter, t->name)) continue;
        double size = shape_count(t->shape) < SMALL ? truth_rms(t) : 0;
        index[r->rows] = i;
        isolated_peer[r->rows] = fmax(t->isolated_rms, pooled.isolated * size);
        compare_row_t *row = &r->row[r->rows++];
        *row = (compare_row_t){.name = xstrdup(t->name),
                               .shape = t->shape,
                               .peer_rms = fmax(t->peer_rms, pooled.cumulative * size)};
        snprintf(row->origin, sizeof row->origin, "times PyTorch's own float32 error, measured");
    }
}

static int weigh_cumulative(compare_result_t *r, const golden_case_t *g, trace_file_t *candidate,
                            const size_t *index, const size_t *source, err_t *err) {
    double unit = budget_unit(r->budget);
    for (size_t i = 0; i < r->rows; i++) {
        compare_row_t *row = &r->row[i];
        if (!row->candidate_name || !shape_equal(row->shape, row->candidate_shape)) continue;
        source_t truth = {read_truth, (void *)g, index[i]};
        if (compare_tensors(row, candidate, source[i], &truth, unit, err)) return -1;
        row->ratio = compare_ratio(&row->cumulative,
                                   compare_scale(row->peer_rms, row->cumulative.truth_rms, unit));
    }
    return 0;
}

/* ---- isolated: a sink that forces the candidate's numbers on the reference ----------------------------- */

typedef struct {
    tap_sink_t sink;
    const run_t *run;
    const golden_case_t *golden;
    const pipeline_t *pipeline;
    trace_file_t *candidate;
    compare_result_t *result;
    const size_t *source; /* per row: the candidate's entry */
    const double *peer;   /* per row: PyTorch's float32 error of the module by itself */
    const ddim_t *ddim;   /* of a pipeline, else NULL */
    size_t next, culprit; /* culprit: whose cause is wanted; SIZE_MAX: none, weigh every row */
    double unit;
    real_t *torch;
    double *expected, *found, *input; /* input: of the module whose output comes next */
    size_t room, input_room;
    shape_t input_shape;
    char input_name[512];
    err_t *err;
    int failed;
} forcer_t;

static compare_row_t *row_of(forcer_t *f, const char *name, size_t *at) {
    const compare_result_t *r = f->result;
    for (size_t i = 0; i < r->rows; i++) {
        *at = (f->next + i) % r->rows;
        if (strcmp(r->row[*at].name, name) != 0) continue;
        f->next = *at + 1;
        return &r->row[*at];
    }
    return NULL;
}

static void make_room(forcer_t *f, size_t count) {
    if (count <= f->room) return;
    f->room = count;
    f->torch = xrealloc(f->torch, count * sizeof *f->torch);
    f->expected = xrealloc(f->expected, count * sizeof *f->expected);
    f->found = xrealloc(f->found, count * sizeof *f->found);
}

static void to_doubles(forcer_t *f, double *out, const real_t *x, view_t view) {
    size_t count = shape_count(view.shape);
    make_room(f, count);
    view_to_torch(f->torch, x, view);
    for (size_t i = 0; i < count; i++) out[i] = (double)f->torch[i];
}

/* NAME.in: keep it until NAME comes by. */
static void keep_input(forcer_t *f, const char *name, const real_t *x, view_t view) {
    size_t count = shape_count(view.shape), length = strlen(name) - strlen(".in");
    if (count > f->input_room) {
        f->input = xrealloc(f->input, count * sizeof *f->input);
        f->input_room = count;
    }
    to_doubles(f, f->input, x, view);
    f->input_shape = view.shape;
    snprintf(f->input_name, sizeof f->input_name, "%.*s", (int)length, name);
}

/* The module whose linear map a tap shows: itself without experts, NAME.mole.base with them. */
static const module_t *linear_map_of(const forcer_t *f, const char *name) {
    static const char base[] = ".mole.base";
    char module_name[512];
    size_t length = strlen(name), tail = strlen(base);
    bool is_base = length > tail && strcmp(name + length - tail, base) == 0;
    snprintf(module_name, sizeof module_name, "%.*s", (int)(is_base ? length - tail : length),
             name);
    if (strcmp(module_name, f->input_name) != 0) return NULL;
    const module_t *m = pipeline_module(f->pipeline, module_name);
    if (!m || m->kind == MODULE_GROUP_NORM || m->kind == MODULE_LAYER_NORM) return NULL;
    bool experts = m->kind == MODULE_LINEAR && m->as.linear->mole;
    return experts == is_base ? m : NULL;
}

/* The shares of the provable and of the typical bound that the candidate's errors use. */
static void check_bound(forcer_t *f, compare_row_t *row, const module_t *m, size_t count) {
    double *magnitude = xmalloc((count + 1) * sizeof *magnitude);
    size_t K = compare_bound_magnitudes(m, magnitude, f->input, f->input_shape);
    double u = f->unit, hard = (double)(K + 1) * u / (1 - (double)(K + 1) * u);
    double typical = 4 * sqrt((double)(K + 1)) * u;
    row->has_bound = K > 0 && (double)(K + 1) * u < 1;
    row->bound_used = row->typical_used = 0;
    for (size_t i = 0; row->has_bound && i < count; i++) {
        double error = fabs(f->found[i] - f->expected[i]), slack = 64 * 0x1p-53 * magnitude[i];
        if (error <= slack) continue; /* the reference's own rounding */
        row->bound_used = fmax(row->bound_used, error / (hard * magnitude[i] + slack));
        row->typical_used = fmax(row->typical_used, error / (typical * magnitude[i] + slack));
    }
    free(magnitude);
}

static void weigh_isolated(forcer_t *f, compare_row_t *row, size_t at, const char *name,
                           size_t count) {
    row->isolated = diff_tensors(f->found, f->expected, count);
    double scale = compare_scale(f->peer[at], row->isolated.truth_rms, f->unit);
    row->isolated_ratio = compare_ratio(&row->isolated, scale);
    row->has_isolated = true;
    const module_t *m = linear_map_of(f, name);
    if (m) check_bound(f, row, m, count);
}

/* Another tap of the candidate's, for the hypotheses about the culprit. */
static double *candidate_tap(const void *context, const char *name, shape_t *shape) {
    const forcer_t *f = context;
    for (size_t i = 0; i < f->result->rows; i++) {
        const compare_row_t *row = &f->result->row[i];
        if (!row->candidate_name || strcmp(row->name, name) != 0) continue;
        size_t count = shape_count(row->candidate_shape);
        double *out = xmalloc((count + 1) * sizeof *out);
        *shape = row->candidate_shape;
        if (trace_file_read(f->candidate, f->source[i], 0, count, out, NULL) == 0) return out;
        free(out);
        return NULL;
    }
    return NULL;
}

/* "step.012/...": 12, and the candidate's same tap one step earlier; else 0 and NULL. */
static double *step_of(const forcer_t *f, const char *name, shape_t shape, size_t *step) {
    char earlier[512], prefix[STEP_PREFIX];
    shape_t found;
    const char *tap = strchr(name, '/');
    *step = 0;
    if (strncmp(name, "step.", 5) != 0 || !tap) return NULL;
    *step = (size_t)strtoul(name + 5, NULL, 10);
    if (*step == 0) return NULL;
    snprintf(earlier, sizeof earlier, "%s%s", trace_step(prefix, *step - 1), tap + 1);
    double *out = candidate_tap(f, earlier, &found);
    if (out && shape_equal(shape, found)) return out;
    free(out);
    return NULL;
}

static void explain(forcer_t *f, compare_row_t *row, size_t at, const char *name, view_t view) {
    /* NAME.mole.face.local belongs to NAME, and has its input. */
    char layer[512];
    const char *part = strstr(name, ".mole.");
    snprintf(layer, sizeof layer, "%.*s", part ? (int)(part - name) : (int)strlen(name), name);
    bool known = strcmp(f->input_name, layer) == 0;
    size_t step;
    double *previous = step_of(f, name, view.shape, &step);
    culprit_t culprit = {.name = name,
                         .shape = view.shape,
                         .count = shape_count(view.shape),
                         .candidate = f->found,
                         .expected = f->expected,
                         .module = f->golden->is_calls ? NULL : pipeline_module(f->pipeline, layer),
                         .input = known ? f->input : NULL,
                         .input_shape = f->input_shape,
                         .rounding = compare_scale(f->peer[at], row->isolated.truth_rms, f->unit),
                         .previous = previous,
                         .tap = candidate_tap,
                         .context = f,
                         .ddim = f->ddim,
                         .step = step};
    run_t run = *f->run;
    run.sink = NULL;
    causes_find(&run, &culprit, &row->cause);
    free(previous);
}

static void force(tap_sink_t *self, const char *name, real_t *x, view_t view) {
    forcer_t *f = (forcer_t *)self;
    size_t length = strlen(name), at = 0;
    if (f->failed) return;
    if (length > 3 && strcmp(name + length - 3, ".in") == 0) {
        keep_input(f, name, x, view);
        return;
    }
    compare_row_t *row = row_of(f, name, &at);
    if (!row || !row->candidate_name || !shape_equal(row->shape, row->candidate_shape) ||
        !shape_equal(row->shape, view.shape))
        return;
    size_t count = shape_count(view.shape);
    make_room(f, count);
    to_doubles(f, f->expected, x, view);
    f->failed = trace_file_read(f->candidate, f->source[at], 0, count, f->found, f->err);
    if (f->failed) return;
    if (f->culprit == SIZE_MAX)
        weigh_isolated(f, row, at, name, count);
    else if (f->culprit == at)
        explain(f, row, at, name, view);
    for (size_t i = 0; i < count; i++) f->torch[i] = (real_t)f->found[i];
    view_from_torch(x, f->torch, view);
}

static int run_forced(forcer_t *f, const run_t *run, size_t culprit) {
    run_t watched = *run;
    watched.sink = &f->sink;
    watched.form = MOLE_DIRECT;
    f->culprit = culprit;
    f->next = 0;
    f->input_name[0] = '\0';
    int status = golden_execute(&watched, f->golden, f->pipeline, f->err);
    return status || f->failed ? -1 : 0;
}

/* ---- both --------------------------------------------------------------------------------------------- */

static int isolate(const run_t *run, const golden_case_t *golden, trace_file_t *candidate,
                   compare_result_t *r, double limit, const double *peer, const size_t *source,
                   err_t *err) {
    pipeline_t pipeline;
    ddim_t ddim;
    if (golden_open_model(golden, &pipeline, err)) return -1;
    int planned = golden_schedule(golden, &pipeline, &ddim, err);
    forcer_t f = {.sink = {force, true},
                  .run = run,
                  .golden = golden,
                  .pipeline = &pipeline,
                  .candidate = candidate,
                  .result = r,
                  .peer = peer,
                  .source = source,
                  .ddim = planned > 0 ? &ddim : NULL,
                  .unit = budget_unit(r->budget),
                  .err = err};
    int status = planned < 0 ? -1 : run_forced(&f, run, SIZE_MAX);
    if (!status) compare_judge(r, limit);
    if (!status && r->culprit != SIZE_MAX && r->row[r->culprit].verdict == ROW_DIFFERS)
        status = run_forced(&f, run, r->culprit);
    free(f.torch);
    free(f.expected);
    free(f.found);
    free(f.input);
    if (planned > 0) ddim_free(&ddim);
    pipeline_close(&pipeline);
    return status;
}

int compare_golden(const run_t *run, const golden_case_t *golden, trace_file_t *candidate,
                   const compare_options_t *options, compare_result_t *r, err_t *err) {
    *r = (compare_result_t){0};
    snprintf(r->reference, sizeof r->reference, "%s", golden->folder);
    snprintf(r->candidate, sizeof r->candidate, "%s", trace_file_path(candidate));
    size_t *index = xcalloc(golden->taps + 1, sizeof *index);
    size_t *source = xcalloc(golden->taps + 1, sizeof *source);
    double *peer = xcalloc(golden->taps + 1, sizeof *peer);
    double limit = options->limit > 0 ? options->limit : COMPARE_LIMIT;
    rows_of_golden(r, golden, options->filter, index, peer);
    int status = r->rows ? 0 : err_set(err, "%s: no tap matches --filter", golden->folder);
    truths_t truths = {read_truth, (void *)golden, index};
    if (!status) status = compare_match(r, candidate, options, &truths, source, err);
    if (!status) status = weigh_cumulative(r, golden, candidate, index, source, err);
    if (!status && options->isolate)
        status = isolate(run, golden, candidate, r, limit, peer, source, err);
    else if (!status)
        compare_judge(r, limit);
    if (!status) compare_notes(r, golden->folder, trace_file_path(candidate), options);
    if (!status) compare_note_skipped(r, "candidate", candidate);
    free(index);
    free(source);
    free(peer);
    if (status) compare_free(r);
    return status;
}
