/* compare_golden.c - a golden case against a trace: cumulative errors from the truth, isolated ones by
 * running the reference on the candidate's own numbers, both in units of rounding. See compare.h. */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compare/detect_products.h"
#include "compare/isolate.h"
#include "compare/one_pass.h"
#include "compare/own_figures.h"
#include "compare/passes.h"
#include "compare/stray.h"
#include "compare/units.h"
#include "compare/verdicts.h"
#include "core/tap_name.h"
#include "trace/fingerprint.h"

/* ---- rows: the case's taps, and the inputs of modules that the candidate dumped ------------------------ */

static void add_row(comparison_t *c, const char *name, shape_t shape, const golden_tap_t *tap) {
    compare_result_t *r = c->result;
    r->row = xrealloc(r->row, (r->rows + 1) * sizeof *r->row);
    c->meta = xrealloc(c->meta, (r->rows + 1) * sizeof *c->meta);
    r->row[r->rows] =
        (compare_row_t){.name = xstrdup(name), .shape = shape, .is_input = tap == NULL};
    c->meta[r->rows++] = (row_meta_t){.tap = tap, .in_case = tap && tap->truth, .source = SIZE_MAX};
}

static void rows_of_case(comparison_t *c) {
    for (size_t i = 0; i < c->golden->taps; i++)
        add_row(c, c->golden->tap[i].name, c->golden->tap[i].shape, &c->golden->tap[i]);
    pass_index_rows(c);
}

/* What a fingerprint holds of a tap must be what the reference computes here; else its tensors are no
 * truth. */
static int check_fingerprint(comparison_t *c, const golden_tap_t *tap, const real_t *x,
                             view_t view) {
    enum { FINGERPRINT_BOUND_EXPONENT = -36 }; /* 1.5e-11 */
    size_t count = shape_count(view.shape);
    fingerprint_t own = fingerprint_of(x, view);
    fingerprint_t truth = fingerprint_read(tap->statistics, tap->values, count);
    diff_t diff = fingerprint_diff(&own, &truth, count);
    if (diff_relative(&diff) <= ldexp(1, FINGERPRINT_BOUND_EXPONENT)) return 0;
    return err_set(c->err,
                   "%s: on this machine the reference gives other numbers at '%s' than the case "
                   "holds (off by %.2g of its largest): the case cannot be the measure here",
                   c->golden->folder, tap->name, diff_relative(&diff));
}

/* Whether the case says how far rounding is off in what goes into a module. Without that an input cannot
 * be judged, and must not be believed either. */
static bool input_is_known(const golden_case_t *g, const char *input) {
    char *name = tap_name_layer(input, ""), *base = tap_name_layer(input, ".mole.base");
    const golden_tap_t *tap = golden_case_find(g, name), *below = golden_case_find(g, base);
    free(name);
    free(base);
    return (tap && tap->in_rms > 0) || (below && below->in_rms > 0);
}

typedef struct {
    bool inputs; /* those of modules are wanted */
} observation_t;

/* A free run that keeps what the case does not hold: its tensors where it has fingerprints, inputs of
 * modules. Rows are made anew in the order of execution. */
static int observe(comparison_t *c, void *who, size_t ignored, const char *name, real_t *x,
                   view_t view) {
    const observation_t *o = who;
    const golden_tap_t *tap = golden_case_find(c->golden, name);
    bool input = tap_name_is_input(name) && o->inputs && input_is_known(c->golden, name);
    bool spool = input || (tap && !tap->truth);
    size_t count = shape_count(view.shape), at = 0;
    (void)ignored;
    if ((!tap && !input) || (tap && !shape_equal(tap->shape, view.shape))) return 0;
    if (tap && !tap->truth && check_fingerprint(c, tap, x, view)) return -1;
    if (spool) {
        pass_get(c, c->a, x, view);
        if (spool_write(c->spool, c->a, count, &at, c->err)) return -1;
    }
    add_row(c, name, view.shape, tap);
    c->meta[c->result->rows - 1].spooled = at;
    return 0;
}

/* Whether the candidate dumped inputs of modules. */
static bool has_inputs(trace_file_t *candidate, const name_map_t *map) {
    for (size_t i = 0; i < trace_file_count(candidate); i++) {
        char *name = name_map_apply(map, trace_file_at(candidate, i)->name);
        bool input = tap_name_is_input(name);
        free(name);
        if (input) return true;
    }
    return false;
}

static int make_rows(comparison_t *c, const compare_options_t *options) {
    observation_t o = {.inputs = options->isolate && !c->golden->is_calls &&
                                 has_inputs(c->candidate, options->map)};
    if (options->isolate || c->golden->fingerprint)
        if (pass_open(c)) return -1;
    if (!o.inputs && !c->golden->fingerprint) return rows_of_case(c), 0;
    if (spool_open(&c->spool, c->err) || pass_run(c, observe, &o, o.inputs)) return -1;
    pass_index_rows(c);
    return 0;
}

/* ---- figures ------------------------------------------------------------------------------------------- */

static int read_truth(void *who, size_t row, size_t first, size_t count, double *out, err_t *err) {
    return pass_truth(who, row, first, count, out, err);
}

static bool is_finite(const diff_t *d) {
    return !d->nan_candidate && !d->inf_mismatch && isfinite(d->candidate_rms);
}

static double rms_of_truth(comparison_t *c, size_t row) {
    enum { CHUNK = 4096 };
    double x[CHUNK], sum = 0;
    size_t count = shape_count(c->result->row[row].shape);
    for (size_t first = 0; first < count; first += CHUNK) {
        size_t n = count - first < CHUNK ? count - first : CHUNK;
        if (pass_truth(c, row, first, n, x, NULL)) return 0;
        for (size_t i = 0; i < n; i++) sum += x[i] * x[i];
    }
    return count ? sqrt(sum / (double)count) : 0;
}

static int weigh_row(comparison_t *c, compare_row_t *row, const row_meta_t *m,
                     const truth_t *truth) {
    if (c->result->statistics)
        return compare_statistics(row, trace_file_statistics(c->candidate, m->source), truth,
                                  m->tap ? m->tap->peer_rms : NAN, m->tap ? m->tap->peer_max : NAN,
                                  c->err);
    return compare_tensors(row, c->candidate, m->source, truth, budget_unit(c->result->budget),
                           c->err);
}

static int weigh_in_order(comparison_t *c) {
    for (size_t i = 0; i < c->result->rows; i++) {
        compare_row_t *row = &c->result->row[i];
        row_meta_t *m = &c->meta[i];
        if (!row->candidate_name || !shape_equal(row->shape, row->candidate_shape)) {
            m->truth_rms = rms_of_truth(c, i);
            continue;
        }
        truth_t truth = {read_truth, c, i};
        if (weigh_row(c, row, m, &truth)) return -1;
        m->truth_rms = row->cumulative.truth_rms;
        m->forced = !c->result->statistics && is_finite(&row->cumulative);
    }
    return 0;
}

static int weigh_rows(comparison_t *c) {
    pass_begin(c);
    int status = weigh_in_order(c);
    pass_end(c);
    return status;
}

/* ---- the culprit --------------------------------------------------------------------------------------- */

static int name_stretch(comparison_t *c) {
    compare_result_t *r = c->result;
    size_t first = r->culprit, from;
    if (!r->row[r->culprit].inputs_known && units_first_before(c, r->culprit, &first)) return -1;
    for (size_t i = first; i < r->culprit; i++) {
        if (c->meta[i].forced || r->row[i].is_input) continue;
        r->stretch.between =
            xrealloc(r->stretch.between, (r->stretch.betweens + 1) * sizeof *r->stretch.between);
        r->stretch.between[r->stretch.betweens++] = xstrdup(r->row[i].name);
    }
    for (from = first; from > 0 && !c->meta[from - 1].forced; from--) continue;
    if (from > 0) r->stretch.from = xstrdup(r->row[from - 1].name);
    return 0;
}

/* Would the whole agree, if the candidate computed in this type? */
static int agrees_with(comparison_t *c, budget_t budget, double limit, bool *agrees) {
    compare_result_t *r = c->result;
    for (size_t i = 0; i < r->rows; i++) r->row[i].budget = budget;
    r->budget = r->hidden = budget;
    if (r->statistics ? verdicts_of_statistics(c, limit) : verdicts_of_isolated(c, limit))
        return -1;
    *agrees = !compare_differs(r);
    return 0;
}

/* Whether a candidate of this budget may in truth compute in a coarser one. TF32 leaves no grid, nor do
 * sums in a narrow type; results that were rounded to a coarser grid show it, unless only sums of them
 * were dumped. */
static bool may_compute_in(const comparison_t *c, budget_t given, budget_t b) {
    if (b <= given) return false;
    if (given == BUDGET_F64) return b == BUDGET_F32;
    if (b == BUDGET_TF32) return given == BUDGET_F32;
    return budget_results(b) == budget_results(given) || (given == BUDGET_F32 && c->stretches);
}

/* Angles of a thousand radians lose a thousand roundings. */
enum { ANGLES = 4096 };

/* What a coarser type would excuse is said; the rows stay as they are. The size of the culprit's error says
 * which types are worth a look. */
static int note_coarser(comparison_t *c, double limit) {
    compare_result_t *r = c->result;
    budget_t given = r->budget, hidden = r->hidden;
    const compare_row_t *row = &r->row[r->culprit];
    const diff_t *diff = r->statistics ? &row->cumulative : &row->isolated;
    double error = diff->rms / diff->truth_rms;
    compare_row_t *rows = xcalloc(r->rows, sizeof *rows);
    bool agrees = false;
    int status = 0;
    memcpy(rows, r->row, r->rows * sizeof *rows);
    for (budget_t b = BUDGET_F32; !status && !agrees && b < BUDGETS; b++) {
        if (!may_compute_in(c, given, b) ||
            !(error <= (given == BUDGET_F64 ? ANGLES : 64) * budget_unit(b)))
            continue;
        status = agrees_with(c, b, limit, &agrees);
        if (!agrees) continue;
        compare_resolution(r);
        const char *where =
            given == BUDGET_F64 ? "some of it (the angles of the timestep, a softmax) " : "";
        compare_note(
            r, xasprintf("if the candidate computes %sin %s, this may be rounding: --budget %s "
                         "agrees, and sees errors from %.1e of a tensor's rms on only",
                         where, budget_about(b), budget_name(b), r->seen_median));
    }
    memcpy(r->row, rows, r->rows * sizeof *rows);
    free(rows);
    r->budget = given;
    r->hidden = hidden;
    compare_count(r);
    return status;
}

/* A cause that was reproduced, and is no matter of precision, leaves nothing to excuse: notes from `first` on
 * go. */
static void drop_excuses(compare_result_t *r, size_t first) {
    const cause_t *cause = &r->row[r->culprit].cause;
    if (!*cause->text || strstr(cause->text, "not proven")) return;
    static const char *const rounding[] = {"precision", "variance", "summation"};
    for (size_t i = 0; i < sizeof rounding / sizeof *rounding; i++)
        if (strcmp(cause->kind, rounding[i]) == 0) return;
    while (r->notes > first) free(r->note[--r->notes]);
}

static void find_culprit(compare_result_t *r, const char *filter) {
    for (r->culprit = 0; r->culprit < r->rows; r->culprit++) {
        const compare_row_t *row = &r->row[r->culprit];
        if (compare_row_wrong(row) && (!filter || name_matches(filter, row->name))) return;
    }
    r->culprit = SIZE_MAX;
}

static int explain_culprit(comparison_t *c, double limit, const compare_options_t *options) {
    compare_result_t *r = c->result;
    find_culprit(r, options->filter);
    if (r->culprit == SIZE_MAX) return one_pass_note(c);
    if (r->row[r->culprit].verdict != ROW_DIFFERS) return 0;
    size_t notes = r->notes;
    if (options->budget == BUDGET_AUTO && note_coarser(c, limit)) return -1;
    find_culprit(r, options->filter);
    if (name_stretch(c) || isolate_explain(c, r->culprit, true) || one_pass_explain(c, r->culprit))
        return -1;
    drop_excuses(r, notes);
    return 0;
}

/* A linear map that gives other numbers altogether for the very numbers that went into it. */
static bool is_other(const compare_row_t *row) {
    return row->verdict == ROW_DIFFERS && row->inputs_known &&
           4 * row->isolated.rms > row->isolated.truth_rms;
}

/* Nearly all of them: it is not a layer that is wrong. */
static void note_other_weights(comparison_t *c) {
    enum { LEAST = 8, MOST_OF = 10 };
    compare_result_t *r = c->result;
    size_t maps = 0, other = 0;
    for (size_t i = 0; i < r->rows; i++) {
        tap_name_t name = tap_name(r->row[i].name);
        if (!r->row[i].has_isolated || (*name.suffix && strcmp(name.part, "base") != 0)) continue;
        char *layer = tap_name_layer(r->row[i].name, "");
        const module_t *m = pipeline_module(&c->pipeline, layer);
        free(layer);
        if (!m || (m->kind != MODULE_LINEAR && m->kind != MODULE_CONV)) continue;
        if (m->kind == MODULE_LINEAR && m->as.linear->mole && !*name.suffix) continue;
        maps++;
        other += is_other(&r->row[i]);
    }
    if (maps < LEAST || other * MOST_OF < maps * (MOST_OF - 1)) return;
    compare_note(
        r, xasprintf("%zu of %zu linear maps and convolutions give other numbers altogether for "
                     "the candidate's own inputs: its weights are not those of %s, or all "
                     "are read in a wrong way",
                     other, maps, c->golden->folder));
}

static int isolate(comparison_t *c, const compare_options_t *options, double limit) {
    units_of_case(c);
    if (units_known(c) || isolate_rows(c) || verdicts_of_isolated(c, limit)) return -1;
    if (options->budget == BUDGET_AUTO && c->result->budget == BUDGET_F32 &&
        compare_differs(c->result) && detect_products(c, limit))
        return -1;
    if (stray_taps(c, limit)) return -1;
    if (!c->golden->is_calls) note_other_weights(c);
    return explain_culprit(c, limit, options);
}

/* Nothing to isolate, nothing to explain: a tap that is off, and what would excuse it. */
static int of_statistics(comparison_t *c, double limit, const compare_options_t *options) {
    units_of_case(c);
    if (verdicts_of_statistics(c, limit)) return -1;
    find_culprit(c->result, options->filter);
    bool off =
        c->result->culprit != SIZE_MAX && c->result->row[c->result->culprit].verdict == ROW_DIFFERS;
    if (off && options->budget == BUDGET_AUTO && note_coarser(c, limit)) return -1;
    find_culprit(c->result, options->filter);
    return 0;
}

static int without_isolation(comparison_t *c, double limit) {
    units_of_case(c);
    return verdicts_of_cumulative(c, limit);
}

/* ---- the whole ----------------------------------------------------------------------------------------- */

/* Rows that were not asked for go, after they served as inputs of others. */
static void keep_asked(compare_result_t *r, const char *filter) {
    size_t kept = 0;
    if (!filter) return;
    r->compared = 0;
    for (size_t i = 0; i < r->rows; i++) {
        if (!name_matches(filter, r->row[i].name)) {
            free((char *)r->row[i].name);
            continue;
        }
        r->compared += r->row[i].candidate_name != NULL;
        r->row[kept++] = r->row[i];
    }
    r->rows = kept;
}

static int match_rows(comparison_t *c, const compare_options_t *options) {
    size_t *source = xcalloc(c->result->rows + 1, sizeof *source);
    truths_t truths = {read_truth, c, c->identity};
    int status = compare_match(c->result, c->candidate, options, &truths, source, c->err);
    for (size_t i = 0; !status && i < c->result->rows; i++) c->meta[i].source = source[i];
    if (!status && c->result->statistics) compare_note_statistics(c->result, c->candidate, source);
    if (!status) compare_detect(c->result, c->candidate, source, &truths, options->budget);
    free(source);
    return status;
}

/* Of rows that are known. */
static int judge_rows(comparison_t *c, const compare_options_t *options, double limit) {
    if (match_rows(c, options)) return -1;
    pass_drop_inputs(c);
    if (weigh_rows(c)) return -1;
    if (c->result->statistics ? of_statistics(c, limit, options)
        : options->isolate    ? isolate(c, options, limit)
                              : without_isolation(c, limit))
        return -1;
    keep_asked(c->result, options->filter);
    if (c->result->rows == 0)
        return err_set(c->err, "%s: no tap matches --filter", c->golden->folder);
    if (c->result->compared == 0)
        return err_set(c->err, "%s: the candidate has no tap that matches --filter",
                       trace_file_path(c->candidate));
    compare_count(c->result);
    compare_resolution(c->result);
    return 0;
}

static comparison_t begin(const run_t *run, const golden_case_t *golden, trace_file_t *candidate,
                          compare_result_t *r, err_t *err) {
    *r = (compare_result_t){0};
    snprintf(r->reference, sizeof r->reference, "%s", golden->folder);
    snprintf(r->candidate, sizeof r->candidate, "%s", trace_file_path(candidate));
    return (comparison_t){
        .run = run, .golden = golden, .candidate = candidate, .result = r, .err = err};
}

static int finish(comparison_t *c, int status, const compare_options_t *options) {
    compare_result_t *r = c->result;
    const char *candidate = trace_file_path(c->candidate);
    pass_close(c);
    if (!status) compare_notes(r, c->golden->folder, candidate, options);
    if (!status) compare_note_skipped(r, "candidate", c->candidate);
    if (status) compare_free(r);
    return status;
}

int compare_golden(const run_t *run, const golden_case_t *golden, trace_file_t *candidate,
                   const compare_options_t *options, compare_result_t *r, err_t *err) {
    comparison_t c = begin(run, golden, candidate, r, err);
    compare_options_t o = *options;
    if (compare_by_statistics(candidate)) o.isolate = false; /* nothing to run on */
    int status = make_rows(&c, &o) || judge_rows(&c, &o, o.limit) ? -1 : 0;
    return finish(&c, status, options);
}

/* What the candidate has of later steps is not unknown: nobody looked. */
static void forget_extras(compare_result_t *r) {
    for (size_t i = 0; i < r->extras; i++) free(r->extra[i]);
    r->extras = 0;
}

/* No further than so many steps of the run; 0: all of it. */
static int compare_steps(const run_t *run, const own_case_t *own, size_t steps,
                         trace_file_t *candidate, const compare_options_t *options,
                         compare_result_t *r, err_t *err) {
    golden_case_t golden;
    if (own_case_open(&golden, own, err)) return -1;
    golden.only_steps = steps;
    comparison_t c = begin(run, &golden, candidate, r, err);
    c.own = &golden;
    int status = own_taps(&c, own, options->surveyed, options->who);
    if (!status && !has_inputs(candidate, options->map)) pass_drop_inputs(&c);
    if (!status) status = judge_rows(&c, options, options->limit);
    if (!status && steps) forget_extras(r);
    status = finish(&c, status, options);
    golden_case_close(&golden);
    return status;
}

static void say_stopped(compare_result_t *r, size_t steps, size_t all) {
    compare_note(r,
                 xasprintf("stopped at the first culprit (--stop-at-first): %zu of %zu steps were "
                           "run, and no later tap was looked at",
                           steps, all));
}

/* One step, two, four ...: at most twice the steps that lead to the culprit are run. */
int compare_own(const run_t *run, const own_case_t *own, trace_file_t *candidate,
                const compare_options_t *options, compare_result_t *r, err_t *err) {
    size_t all = own->inputs ? 0 : own->image.steps;
    compare_options_t o = *options;
    for (size_t steps = 1; o.stop_at_first && steps < all; steps *= 2) {
        if (compare_steps(run, own, steps, candidate, &o, r, err)) return -1;
        if (r->culprit != SIZE_MAX) return say_stopped(r, steps, all), 0;
        compare_free(r);
        o.surveyed = NULL; /* the cost was said */
    }
    return compare_steps(run, own, 0, candidate, &o, r, err);
}
