/* verify.c - see verify.h. */
#include "compare/verify.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compare/compare_internal.h"
#include "core/sort.h"
#include "core/tap_name.h"
#include "golden/run_case.h"
#include "trace/fingerprint.h"

/* ---- the comparing sink --------------------------------------------------------------------------- */

typedef struct {
    tap_sink_t sink;
    verify_mode_t mode;
    bool fingerprint;
    verify_result_t *result;
    size_t next; /* where the next tap is expected: runs follow the golden order nearly always */
    real_t *torch;
    double *found, *truth;
    size_t room;
} checker_t;

static verify_row_t *find_row(checker_t *c, const char *name) {
    size_t rows = c->result->rows;
    for (size_t i = 0; i < rows; i++) {
        size_t at = (c->next + i) % rows;
        if (strcmp(c->result->row[at].tap->name, name) != 0) continue;
        c->next = at + 1;
        return &c->result->row[at];
    }
    return NULL;
}

static void make_room(checker_t *c, size_t count) {
    if (count <= c->room) return;
    c->room = count;
    c->torch = xrealloc(c->torch, count * sizeof *c->torch);
    c->found = xrealloc(c->found, count * sizeof *c->found);
    c->truth = xrealloc(c->truth, count * sizeof *c->truth);
}

static void check_tap(tap_sink_t *self, const char *name, real_t *x, view_t view) {
    checker_t *c = (checker_t *)self;
    if (c->result->rows == 0) return;
    verify_row_t *row = find_row(c, name);
    if (!row) return;
    row->seen++;
    row->misshapen = !shape_equal(row->tap->shape, view.shape);
    if (row->misshapen) return;
    size_t count = shape_count(view.shape);
    if (c->fingerprint) {
        fingerprint_t own = fingerprint_of(x, view);
        fingerprint_t truth = fingerprint_read(row->tap->statistics, row->tap->values, count);
        row->diff = fingerprint_diff(&own, &truth, count);
        return;
    }
    make_room(c, count);
    view_to_torch(c->torch, x, view);
    for (size_t i = 0; i < count; i++) c->found[i] = (double)c->torch[i];
    dtype_to_double(c->truth, row->tap->truth->data, DTYPE_F64, count);
    row->diff = diff_tensors(c->found, c->truth, count);
    if (c->mode == VERIFY_FREE) return;
    for (size_t i = 0; i < count; i++) c->torch[i] = (real_t)c->truth[i];
    view_from_torch(x, c->torch, view);
}

/* ---- the run -------------------------------------------------------------------------------------- */

/* Of a layer with experts by itself: in the stacked form base, experts and mixture are one computation, whose
 * parts are no taps. */
static double stacked_unit(const golden_case_t *g, size_t at) {
    const golden_tap_t *t = &g->tap[at];
    double square = t->isolated_rms * t->isolated_rms;
    for (size_t i = at; i-- > 0;) {
        const golden_tap_t *part = &g->tap[i];
        tap_name_t name = tap_name(part->name);
        if (!name.is_mole || !tap_span_is(name.layer, t->name)) break;
        if (shape_equal(part->shape, t->shape)) square += part->isolated_rms * part->isolated_rms;
    }
    return sqrt(square);
}

static verify_row_t row_of(const golden_case_t *g, size_t at, verify_mode_t mode,
                           mole_form_t form) {
    const golden_tap_t *t = &g->tap[at];
    if (mode == VERIFY_FREE || !t->has_isolated)
        return (verify_row_t){.tap = t, .unit = t->strict_rms};
    return (verify_row_t){.tap = t,
                          .unit = form == MOLE_STACKED ? stacked_unit(g, at) : t->isolated_rms};
}

int verify_run(const run_t *run, const golden_case_t *g, verify_mode_t mode,
               verify_result_t *result, err_t *err) {
    pipeline_t pipeline;
    if (g->fingerprint && mode == VERIFY_FORCED)
        return err_set(err, "%s: a fingerprint holds no tensors to put in place; run it freely",
                       g->folder);
    if (golden_open_model(g, &pipeline, err)) return -1;
    *result = (verify_result_t){xcalloc(g->taps ? g->taps : 1, sizeof *result->row), g->taps};
    for (size_t i = 0; i < g->taps; i++) result->row[i] = row_of(g, i, mode, run->form);
    checker_t checker = {
        .sink = {.tap = check_tap}, .mode = mode, .fingerprint = g->fingerprint, .result = result};
    run_t watched = *run;
    watched.sink = &checker.sink;
    int status = golden_execute(&watched, g, &pipeline, err);
    free(checker.torch);
    free(checker.found);
    free(checker.truth);
    pipeline_close(&pipeline);
    if (status) verify_result_free(result);
    return status;
}

void verify_result_free(verify_result_t *result) {
    free(result->row);
    *result = (verify_result_t){0};
}

/* ---- the verdict ---------------------------------------------------------------------------------- */

double verify_row_ratio(const verify_row_t *row) {
    return diff_ratio(&row->diff, row->unit);
}

double verify_usual_ratio(const golden_case_t *g, matmul_way_t matmul) {
    double blas = g->taps > 0 && g->tap[0].has_isolated ? 4 : 2;
    return matmul == MATMUL_PLAIN ? blas / 2 : blas;
}

verify_summary_t verify_summarise(const verify_result_t *result) {
    verify_summary_t s = {0};
    double *ratios = xcalloc(result->rows + 1, sizeof *ratios), ours = 0, theirs = 0;
    for (size_t i = 0; i < result->rows; i++) {
        const verify_row_t *row = &result->row[i];
        const diff_t *d = &row->diff;
        s.unseen += !row->seen;
        s.misshapen += row->seen && row->misshapen;
        if (!row->seen || row->misshapen) continue;
        double error = diff_relative(d), ratio = verify_row_ratio(row);
        ratios[s.seen++] = ratio;
        if (!s.worst_error || error > s.error) s.worst_error = row, s.error = error;
        if (d->count >= VERIFY_SMALL) {
            if (!s.worst_ratio || ratio > s.ratio) s.worst_ratio = row, s.ratio = ratio;
        } else if (d->truth_rms > 0) {
            double peer = fmax(row->unit, d->storage_floor) / d->truth_rms;
            double own = d->rms / d->truth_rms;
            ours += own * own * (double)d->count;
            theirs += peer * peer * (double)d->count;
            s.small++;
        }
    }
    sort_doubles(ratios, s.seen);
    if (s.seen) s.median_ratio = ratios[s.seen / 2];
    if (s.small) s.small_ratio = theirs > 0 ? sqrt(ours / theirs) : (ours > 0 ? INFINITY : 0);
    free(ratios);
    return s;
}

/* ---- as a comparison ------------------------------------------------------------------------------ */

static bool is_small(const verify_row_t *row) {
    return row->diff.count < VERIFY_SMALL;
}

static row_verdict_t verdict_of(const verify_row_t *row, const verify_bounds_t *bounds) {
    const diff_t *d = &row->diff;
    if (!row->seen) return ROW_MISSING;
    if (row->misshapen) return ROW_SHAPE;
    if (d->nan_candidate || d->nan_truth || d->inf_mismatch) return ROW_NOT_FINITE;
    bool beyond = (bounds->error > 0 && diff_relative(d) > bounds->error) ||
                  (bounds->ratio > 0 && !is_small(row) && verify_row_ratio(row) > bounds->ratio);
    return beyond ? ROW_DIFFERS : ROW_AGREES;
}

static budget_t verify_budget(void) {
    return sizeof(real_t) == sizeof(double) ? BUDGET_F64 : BUDGET_F32;
}

static compare_row_t report_row(const verify_row_t *row, const verify_bounds_t *bounds) {
    char *name = xstrdup(row->tap->name);
    compare_row_t out = {.name = name,
                         .budget = verify_budget(),
                         .candidate_name = row->seen ? name : NULL,
                         .shape = row->tap->shape,
                         .candidate_shape = row->tap->shape,
                         .candidate_dtype = dtype_real(),
                         .verdict = verdict_of(row, bounds),
                         .cumulative = row->diff,
                         .peer_rms = row->unit,
                         .ratio = verify_row_ratio(row),
                         .limit = bounds->ratio > 0 ? bounds->ratio : bounds->error};
    snprintf(out.origin, sizeof out.origin, "%s",
             bounds->ratio > 0 ? "times PyTorch's own float32 error, measured"
                               : "of the tensor's scale, float64 (docs/numbers.md)");
    if (bounds->mode == VERIFY_FORCED) {
        out.has_isolated = out.inputs_known = true;
        out.unit = out.own_unit = row->unit;
        out.isolated = row->diff;
        out.isolated_ratio = out.ratio;
    }
    return out;
}

/* Of small taps that are together beyond the bound the worst one is accused. */
static void accuse_small(compare_result_t *r, const verify_bounds_t *bounds,
                         const verify_summary_t *s) {
    compare_row_t *worst = NULL;
    if (!(bounds->ratio > 0) || !(s->small_ratio > bounds->ratio)) return;
    for (size_t i = 0; i < r->rows; i++) {
        compare_row_t *row = &r->row[i];
        if (row->verdict == ROW_AGREES && row->cumulative.count < VERIFY_SMALL &&
            (!worst || row->ratio > worst->ratio))
            worst = row;
    }
    if (!worst) return;
    worst->verdict = ROW_DIFFERS;
    snprintf(worst->origin, sizeof worst->origin,
             "times PyTorch's own float32 error; %zu small taps are %.3g times together", s->small,
             s->small_ratio);
}

void verify_report(const verify_result_t *result, const golden_case_t *golden,
                   const verify_bounds_t *bounds, compare_result_t *r) {
    verify_summary_t s = verify_summarise(result);
    *r = (compare_result_t){.budget = verify_budget(),
                            .computed = verify_budget(),
                            .stored = dtype_real(),
                            .seen_median = NAN,
                            .seen_worst = NAN,
                            .compared = s.seen + s.misshapen,
                            .complete = true};
    snprintf(r->reference, sizeof r->reference, "%s", golden->folder);
    snprintf(r->candidate, sizeof r->candidate, "this program, %s", REAL_NAME);
    r->row = xcalloc(result->rows + 1, sizeof *r->row);
    for (size_t i = 0; i < result->rows; i++) {
        const verify_row_t *row = &result->row[i];
        bool not_there = bounds->form == MOLE_STACKED && tap_name(row->tap->name).is_mole;
        if (row->seen || !not_there) r->row[r->rows++] = report_row(row, bounds);
    }
    accuse_small(r, bounds, &s);
    compare_count(r);
    r->worst_ratio = s.ratio;
}
