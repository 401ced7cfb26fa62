/* compare_traces.c - a trace against another trace: no model, so no isolated errors, and no units but a
 * peer's. */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compare/compare_internal.h"
#include "compare/units.h"
#include "core/tap_name.h"

/* The unit of a tap whose error in float32 is known: proportional to the roundoff of the type. */
static double compare_scale(double peer_rms, double truth_rms, budget_t budget) {
    return units_floored(peer_rms * (budget_unit(budget) / 0x1p-24), truth_rms, budget);
}

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
        if (tap_name_is_input(entry->name) || (filter && !name_matches(filter, entry->name)))
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
    truth_t truth = {read_trace, reference, index};
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

static void guess_limits(compare_row_t *row, budget_t budget, bool limit_given) {
    double unit = budget_unit(budget);
    double rms = row->cumulative.truth_rms;
    row->peer_rms = GUESS * 0x1p-24 * rms / COMPARE_LIMIT;
    double scale = compare_scale(row->peer_rms, rms, budget);
    row->ratio = compare_ratio(&row->cumulative, scale);
    row->decided = limit_given || !(scale > 0) ? 0 : fmin(GROSS * unit, 0x1p-4) * rms / scale;
    snprintf(row->origin, sizeof row->origin,
             "a guess: %d units of the tensor's rms, since no peer is given (--peer)%s", GUESS,
             limit_given ? "" : "; beyond doubt from 2048 units or a sixteenth on");
}

static int weigh_traces(compare_result_t *r, trace_file_t *reference, trace_file_t *candidate,
                        trace_file_t *peer, const size_t *index, const size_t *source,
                        bool limit_given, err_t *err) {
    for (size_t i = 0; i < r->rows; i++) {
        compare_row_t *row = &r->row[i];
        double unit = budget_unit(row->budget);
        if (!row->candidate_name || !shape_equal(row->shape, row->candidate_shape)) continue;
        truth_t truth = {read_trace, reference, index[i]};
        const statistics_t *s = trace_file_statistics(candidate, source[i]);
        if ((s ? compare_statistics(row, s, &truth, NAN, NAN, err)
               : compare_tensors(row, candidate, source[i], &truth, unit, err)) ||
            peer_error(peer, reference, index[i], row->name, row->shape, &row->peer_rms, err))
            return -1;
        if (isnan(row->peer_rms)) {
            guess_limits(row, row->budget, limit_given);
            continue;
        }
        row->ratio = compare_ratio(
            &row->cumulative, compare_scale(row->peer_rms, row->cumulative.truth_rms, row->budget));
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
    if (!status && r->statistics) compare_note_statistics(r, candidate, source);
    if (!status) compare_detect(r, candidate, source, &truths, options->budget);
    if (!status) compare_detect_reference(r, &truths, options->budget);
    if (!status)
        status =
            weigh_traces(r, reference, candidate, peer, index, source, options->limit > 0, err);
    if (!status) {
        compare_judge(r, options->limit > 0 ? options->limit : COMPARE_LIMIT);
        compare_resolution(r);
        compare_notes(r, trace_file_path(reference), trace_file_path(candidate), options);
        compare_note_skipped(r, "reference", reference);
        compare_note_skipped(r, "candidate", candidate);
    }
    free(index);
    free(source);
    if (status) compare_free(r);
    return status;
}
