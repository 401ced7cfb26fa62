/* compare.c - see compare.h: matching names, weighing errors, naming the culprit.
 *
 * Policy, one for each case and never a silent pass:
 *   tap missing in the candidate   stated and counted, with --complete a failure; nothing in common at all is
 *                                  an input error
 *   tap unknown to the reference   listed; never a failure
 *   shape                          failure, also where the count is equal
 *   NaN, Inf                       failure unless both hold the same Inf
 *   dtype                          decides the precision (the majority of compared taps), reported
 *   denormals, -0                  numbers like any other; -0 equals 0
 *   empty tensors                  agree with empty tensors
 *   error beyond a guessed limit   undecided, up to what is beyond doubt: no failure of the tap, and no
 *                                  agreement of the traces: see guess_limits */
#include "compare/compare.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compare/compare_internal.h"
#include "trace/ulps.h"

double budget_unit(budget_t budget) {
    switch (budget) {
    case BUDGET_F64: return 0x1p-53;
    case BUDGET_F16: return 0x1p-11;
    case BUDGET_BF16: return 0x1p-8;
    default: return 0x1p-24;
    }
}

const char *budget_name(budget_t budget) {
    static const char *const names[] = {"auto", "f64", "f32", "f16", "bf16"};
    return names[budget];
}

const char *row_verdict_name(row_verdict_t verdict) {
    static const char *const names[] = {"agrees",  "suspicious", "DIFFERS",   "inherited",
                                        "missing", "SHAPE",      "NOT FINITE"};
    return names[verdict];
}

/* ---- weighing ---------------------------------------------------------------------------------------- */

int compare_tensors(compare_row_t *row, trace_file_t *candidate, size_t index,
                    const source_t *truth, double unit, err_t *err) {
    enum { CHUNK = 1 << 17 };
    size_t count = shape_count(row->shape), room = count < CHUNK ? count + 1 : CHUNK;
    double *a = xmalloc(room * sizeof *a), *b = xmalloc(room * sizeof *b);
    ulps_t ulps = {0};
    int status = 0;
    row->cumulative = diff_tensors(NULL, NULL, 0);
    for (size_t first = 0; !status && first < count; first += CHUNK) {
        size_t n = count - first < CHUNK ? count - first : CHUNK;
        status = trace_file_read(candidate, index, first, n, a, err) ||
                 truth->read(truth->who, truth->index, first, n, b, err);
        if (status) break;
        diff_t part = diff_tensors(a, b, n);
        diff_append(&row->cumulative, &part);
        ulps_add(&ulps, a, b, n, unit);
    }
    row->ulp_p99 = ulps_p99(&ulps);
    free(a);
    free(b);
    return status ? -1 : 0;
}

/* In float64 the reference rounds too, and PyTorch's habit of summing float32 norms in double has no
 * counterpart there: its own float64 GroupNorm was seen 36 units off. The floor is 32 units then, where a
 * mistake is millions. */
double compare_scale(double peer_rms, double truth_rms, double unit) {
    double floor = unit <= 0x1p-53 ? 32 : 0.5;
    return fmax(peer_rms * (unit / 0x1p-24), floor * unit * truth_rms);
}

double compare_ratio(const diff_t *diff, double scale) {
    if (diff->rms == 0) return 0;
    return scale > 0 ? diff->rms / scale : INFINITY;
}

static bool not_finite(const diff_t *d) {
    return d->nan_candidate || d->nan_truth || d->inf_mismatch;
}

static void judge(compare_row_t *row, double limit) {
    if (!row->candidate_name) {
        row->verdict = ROW_MISSING;
        return;
    }
    row->limit = limit;
    if (!shape_equal(row->shape, row->candidate_shape))
        row->verdict = ROW_SHAPE;
    else if (not_finite(&row->cumulative))
        row->verdict = ROW_NOT_FINITE;
    else if (row->has_isolated && (!(row->isolated_ratio <= limit) || row->bound_used > 1))
        row->verdict = ROW_DIFFERS;
    else if (!(row->ratio <= limit))
        row->verdict = row->has_isolated            ? ROW_INHERITED
                       : row->ratio <= row->decided ? ROW_SUSPICIOUS
                                                    : ROW_DIFFERS;
    else
        row->verdict = row->has_bound && row->typical_used > 1 ? ROW_SUSPICIOUS : ROW_AGREES;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

void compare_count(compare_result_t *r) {
    double *ratios = xcalloc(r->rows + 1, sizeof *ratios);
    size_t judged = 0;
    r->culprit = SIZE_MAX;
    r->agreeing = r->suspicious = r->differing = r->inherited = r->missing = 0;
    for (size_t i = 0; i < r->rows; i++) {
        const compare_row_t *row = &r->row[i];
        bool wrong = row->verdict == ROW_DIFFERS || row->verdict == ROW_SHAPE ||
                     row->verdict == ROW_NOT_FINITE;
        r->agreeing += row->verdict == ROW_AGREES;
        r->suspicious += row->verdict == ROW_SUSPICIOUS;
        r->inherited += row->verdict == ROW_INHERITED;
        r->missing += row->verdict == ROW_MISSING;
        r->differing += wrong;
        if (wrong && r->culprit == SIZE_MAX) r->culprit = i;
        if (row->verdict != ROW_MISSING && row->verdict != ROW_SHAPE) ratios[judged++] = row->ratio;
    }
    qsort(ratios, judged, sizeof *ratios, by_value);
    r->median_ratio = judged ? ratios[judged / 2] : 0;
    r->worst_ratio = judged ? ratios[judged - 1] : 0;
    free(ratios);
}

void compare_judge(compare_result_t *r, double limit) {
    for (size_t i = 0; i < r->rows; i++) judge(&r->row[i], limit);
    compare_count(r);
}

void compare_join(compare_result_t *whole, compare_result_t *part, const char *prefix) {
    whole->row = xrealloc(whole->row, (whole->rows + part->rows + 1) * sizeof *whole->row);
    for (size_t i = 0; i < part->rows; i++) {
        compare_row_t row = part->row[i];
        char *name = xasprintf("%s%s", prefix, row.name);
        if (row.candidate_name) row.candidate_name = name;
        row.name = name;
        whole->row[whole->rows++] = row;
    }
    double worst = fmax(whole->worst_ratio, part->worst_ratio);
    whole->compared += part->compared;
    whole->complete = part->complete;
    whole->budget = part->budget;
    memcpy(whole->candidate, part->candidate, sizeof whole->candidate);
    compare_count(whole);
    whole->worst_ratio = worst;
    compare_free(part);
}

bool compare_differs(const compare_result_t *r) {
    return r->differing + r->inherited > 0 || (r->complete && r->missing > 0);
}

bool compare_row_undecided(const compare_row_t *row) {
    return row->verdict == ROW_SUSPICIOUS && row->decided > 0;
}

size_t compare_undecided(const compare_result_t *r) {
    size_t count = 0;
    for (size_t i = 0; i < r->rows; i++) count += compare_row_undecided(&r->row[i]);
    return count;
}

void compare_free(compare_result_t *r) {
    for (size_t i = 0; i < r->extras; i++) free(r->extra[i]);
    for (size_t i = 0; i < r->notes; i++) free(r->note[i]);
    for (size_t i = 0; i < r->rows; i++) free((char *)r->row[i].name);
    free(r->extra);
    free(r->meant);
    free(r->note);
    free(r->row);
    *r = (compare_result_t){0};
}

/* ---- trace against trace ----------------------------------------------------------------------------- */

static int read_trace(void *who, size_t index, size_t first, size_t count, double *out,
                      err_t *err) {
    return trace_file_read(who, index, first, count, out, err);
}

/* Rows from a reference trace; inputs (.in) are no taps to judge. index[row] = the reference's index. */
static void rows_of_trace(compare_result_t *r, trace_file_t *reference, const char *filter,
                          size_t *index) {
    r->row = xcalloc(trace_file_count(reference) + 1, sizeof *r->row);
    for (size_t i = 0; i < trace_file_count(reference); i++) {
        const trace_entry_t *entry = trace_file_at(reference, i);
        if (compare_is_input(entry->name) || (filter && !name_matches(filter, entry->name)))
            continue;
        index[r->rows] = i;
        r->row[r->rows++] = (compare_row_t){.name = xstrdup(entry->name), .shape = entry->shape};
    }
}

/* rms of a peer's error on one tap; NaN when it has none. */
static int peer_error(trace_file_t *peer, trace_file_t *reference, size_t index, const char *name,
                      shape_t shape, double *rms, err_t *err) {
    *rms = NAN;
    size_t at = peer ? trace_file_find(peer, name) : SIZE_MAX;
    if (at == SIZE_MAX || !shape_equal(trace_file_at(peer, at)->shape, shape)) return 0;
    compare_row_t row = {.name = name, .shape = shape};
    source_t truth = {read_trace, reference, index};
    if (compare_tensors(&row, peer, at, &truth, 0x1p-24, err)) return -1;
    *rms = row.cumulative.rms;
    return 0;
}

/* Without a peer nobody knows how far rounding, once made, has grown on the way to a tap. What is known is
 * how far it grows in PyTorch's own float32 passes of the golden cases (2553 taps): from 5 units of the
 * tensor's rms (the median tap of the text encoder) over 117 (the UNet's) to 2018 (the VAE's last block).
 * One limit for all is therefore either one that a correct port breaks or one that hides mistakes. So there
 * are two: up to GUESS units a tap agrees; beyond GROSS, more than any of those passes was ever off, or
 * beyond a sixteenth of the tensor (in half precision GROSS units are all of it), it differs; between them
 * it is suspicious: no layer is accused, and the traces are not said to agree either. A trace brings no
 * weights, so the operation cannot be replayed nor its bound proven. A --limit that was asked for decides
 * alone. */
enum { GUESS = 64, GROSS = 2048 };

static void guess_limits(compare_row_t *row, double unit, bool limit_given) {
    double rms = row->cumulative.truth_rms;
    row->peer_rms = GUESS * 0x1p-24 * rms / COMPARE_LIMIT;
    double scale = compare_scale(row->peer_rms, rms, unit);
    row->ratio = compare_ratio(&row->cumulative, scale);
    row->decided = limit_given || !(scale > 0) ? 0 : fmin(GROSS * unit, 0x1p-4) * rms / scale;
    snprintf(row->origin, sizeof row->origin,
             "a guess: %d units of the tensor's rms, since no peer is given (--peer)%s", GUESS,
             limit_given ? "" : "; beyond doubt from 2048 units or a sixteenth on");
}

static int weigh_traces(compare_result_t *r, trace_file_t *reference, trace_file_t *candidate,
                        trace_file_t *peer, const size_t *index, const size_t *source,
                        bool limit_given, err_t *err) {
    double unit = budget_unit(r->budget);
    for (size_t i = 0; i < r->rows; i++) {
        compare_row_t *row = &r->row[i];
        if (!row->candidate_name || !shape_equal(row->shape, row->candidate_shape)) continue;
        source_t truth = {read_trace, reference, index[i]};
        if (compare_tensors(row, candidate, source[i], &truth, unit, err) ||
            peer_error(peer, reference, index[i], row->name, row->shape, &row->peer_rms, err))
            return -1;
        if (isnan(row->peer_rms)) {
            guess_limits(row, unit, limit_given);
            continue;
        }
        row->ratio = compare_ratio(&row->cumulative,
                                   compare_scale(row->peer_rms, row->cumulative.truth_rms, unit));
        snprintf(row->origin, sizeof row->origin, "times the peer's own error");
    }
    return 0;
}

int compare_traces(trace_file_t *reference, trace_file_t *candidate, trace_file_t *peer,
                   const compare_options_t *options, compare_result_t *r, err_t *err) {
    *r = (compare_result_t){0};
    snprintf(r->reference, sizeof r->reference, "%s", trace_file_path(reference));
    snprintf(r->candidate, sizeof r->candidate, "%s", trace_file_path(candidate));
    size_t *index = xcalloc(trace_file_count(reference) + 1, sizeof *index);
    rows_of_trace(r, reference, options->filter, index);
    size_t *source = xcalloc(r->rows + 1, sizeof *source);
    int status = r->rows ? 0
                         : err_set(err, "%s: no taps to compare with%s", trace_file_path(reference),
                                   options->filter ? " (--filter)" : ": the trace is empty");
    truths_t truths = {read_trace, reference, index};
    if (!status) status = compare_match(r, candidate, options, &truths, source, err);
    if (!status)
        status =
            weigh_traces(r, reference, candidate, peer, index, source, options->limit > 0, err);
    if (!status) {
        compare_judge(r, options->limit > 0 ? options->limit : COMPARE_LIMIT);
        compare_notes(r, trace_file_path(reference), trace_file_path(candidate), options);
        compare_note_skipped(r, "reference", reference);
        compare_note_skipped(r, "candidate", candidate);
    }
    free(index);
    free(source);
    if (status) compare_free(r);
    return status;
}
