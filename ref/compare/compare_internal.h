/* compare_internal.h - what the files of this room share; else only tests include it. */
#ifndef MOLE_COMPARE_COMPARE_INTERNAL_H
#define MOLE_COMPARE_COMPARE_INTERNAL_H

#include "compare/compare.h"
#include "model/layers.h"
#include "trace/names.h"

/* Where the truth of a row is read from. */
typedef struct {
    int (*read)(void *who, size_t index, size_t first, size_t count, double *out, err_t *err);
    void *who;
    size_t index;
} truth_t;

/* The same of all rows: of row i it is `index[i]`. */
typedef struct {
    int (*read)(void *who, size_t index, size_t first, size_t count, double *out, err_t *err);
    void *who;
    const size_t *index;
} truths_t;

/* Fill candidate_* of the rows, extras and what they are meant to be, compared and budget. source[row]: the
 * candidate's index, or SIZE_MAX. */
int compare_match(compare_result_t *result, trace_file_t *candidate,
                  const compare_options_t *options, const truths_t *truths, size_t *source,
                  err_t *err);

/* Fill budget, computed, detected and stored of the result, and budget of its rows, from the candidate's
 * numbers. A grid on which the truth lies too says nothing. */
void compare_detect(compare_result_t *result, trace_file_t *candidate, const size_t *source,
                    const truths_t *truths, budget_t wanted);

/* Of two traces, after that: a reference can be no better a measure than its own numbers. Fill `held`, and
 * raise the budgets to it unless one was asked for. */
void compare_detect_reference(compare_result_t *result, const truths_t *truths, budget_t wanted);

/* Fill row->cumulative and ulp_p99, in chunks. */
int compare_tensors(compare_row_t *row, trace_file_t *candidate, size_t index, const truth_t *truth,
                    double unit, err_t *err);

/* Statistics of the truth's numbers start .. start + count. 0, or -1 and err. */
int compare_statistics_of(statistics_t *exact, const truth_t *truth, size_t start, size_t count,
                          err_t *err);
/* Fill row->cumulative and row->statistic from statistics: its rms is what the tensor's rms error is at
 * least, by the one that shows most. peer_rms, peer_max: rms and largest error of a careful computation,
 * whose ratio says how far single numbers may be off; NaN where not known. */
int compare_statistics(compare_row_t *row, const statistics_t *mine, const truth_t *truth,
                       double peer_rms, double peer_max, err_t *err);
/* Whether a candidate holds statistics in place of numbers. */
bool compare_by_statistics(trace_file_t *candidate);
/* What such a comparison cannot see. */
void compare_note_statistics(compare_result_t *result, trace_file_t *candidate,
                             const size_t *source);

/* rms / unit; 0 for no error. */
double compare_ratio(const diff_t *diff, double scale);

/* Verdicts, culprit, counts. */
void compare_judge(compare_result_t *result, double asked);
/* The ratio above which a row differs: `asked`, or for 0 that of the row's type. */
double compare_limit(const compare_row_t *row, double asked);
/* seen_median, seen_worst of judged rows. */
void compare_resolution(compare_result_t *result);
/* Wrong by itself, of another shape, not finite. */
bool compare_row_wrong(const compare_row_t *row);
/* Culprit, counts, median and worst ratio, of rows that have their verdicts. */
void compare_count(compare_result_t *result);

/* One more note, whose text the result then owns. */
void compare_note(compare_result_t *result, char *text);

/* Say what two judged traces look like as wholes; paths of the files they came from. */
void compare_notes(compare_result_t *result, const char *reference, const char *candidate,
                   const compare_options_t *options);
/* Say what a trace's file holds and the trace does not; whose: "candidate". */
void compare_note_skipped(compare_result_t *result, const char *whose, const trace_file_t *trace);

/* out = |W||x| + |b| of a linear map on x, in the shape of its output; returns K, or 0 when it has none. */
size_t compare_bound_magnitudes(const module_t *module, double *out, const double *x,
                                shape_t shape);

#endif
