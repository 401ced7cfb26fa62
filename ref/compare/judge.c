/* judge.c - the verdict of rows and of results, from their figures (compare.h).
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
#include "core/sort.h"

const char *row_verdict_name(row_verdict_t verdict) {
    static const char *const names[] = {"agrees",  "suspicious", "DIFFERS",   "inherited",
                                        "missing", "SHAPE",      "NOT FINITE"};
    return names[verdict];
}

static bool not_finite(const diff_t *d) {
    return d->nan_candidate || d->nan_truth || d->inf_mismatch;
}

/* A tap whose inputs are not all known is accused only where the candidate is wrong altogether: within the
 * limit of what leads to it, its stretch may be right for numbers that nobody saw. */
static bool wrong_by_itself(const compare_row_t *row, double limit) {
    if (!row->has_isolated) return false;
    bool beyond = !(row->isolated_ratio <= limit);
    if (row->inputs_known) return beyond || (row->has_bound && row->bound_used > 1);
    return beyond && !(row->ratio <= limit);
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
    else if (wrong_by_itself(row, limit))
        row->verdict = ROW_DIFFERS;
    else if (!(row->ratio <= limit))
        row->verdict = row->has_isolated            ? ROW_INHERITED
                       : row->ratio <= row->decided ? ROW_SUSPICIOUS
                                                    : ROW_DIFFERS;
    else
        row->verdict = row->has_bound && row->typical_used > 1 ? ROW_SUSPICIOUS : ROW_AGREES;
}

bool compare_row_wrong(const compare_row_t *row) {
    return row->verdict == ROW_DIFFERS || row->verdict == ROW_SHAPE ||
           row->verdict == ROW_NOT_FINITE;
}

void compare_count(compare_result_t *r) {
    double *ratios = xcalloc(r->rows + 1, sizeof *ratios);
    size_t judged = 0;
    r->culprit = SIZE_MAX;
    r->agreeing = r->suspicious = r->differing = r->inherited = r->missing = 0;
    for (size_t i = 0; i < r->rows; i++) {
        const compare_row_t *row = &r->row[i];
        bool wrong = compare_row_wrong(row);
        r->agreeing += row->verdict == ROW_AGREES;
        r->suspicious += row->verdict == ROW_SUSPICIOUS;
        r->inherited += row->verdict == ROW_INHERITED;
        r->missing += row->verdict == ROW_MISSING;
        r->differing += wrong;
        if (wrong && r->culprit == SIZE_MAX) r->culprit = i;
        if (row->verdict != ROW_MISSING && row->verdict != ROW_SHAPE) ratios[judged++] = row->ratio;
    }
    sort_doubles(ratios, judged);
    r->median_ratio = judged ? ratios[judged / 2] : 0;
    r->worst_ratio = judged ? ratios[judged - 1] : 0;
    free(ratios);
}

void compare_resolution(compare_result_t *r) {
    double *seen = xcalloc(r->rows + 1, sizeof *seen);
    size_t count = 0;
    r->seen_median = r->seen_worst = NAN;
    r->seen_worst_name = NULL;
    r->unresolved = 0;
    for (size_t i = 0; i < r->rows; i++) {
        const compare_row_t *row = &r->row[i];
        bool own = row->has_isolated;
        double size = own ? row->isolated.truth_rms : row->cumulative.truth_rms;
        if ((!own && !r->statistics) || !(size > 0)) continue;
        seen[count] = row->limit * (own ? row->unit : row->cumulative_unit) / size;
        if (count == 0 || seen[count] > r->seen_worst)
            r->seen_worst = seen[count], r->seen_worst_name = row->name;
        r->unresolved += seen[count] >= 1;
        count++;
    }
    sort_doubles(seen, count);
    if (count) r->seen_median = seen[count / 2];
    free(seen);
}

double compare_limit(const compare_row_t *row, double asked) {
    return asked > 0 ? asked : budget_is_low(row->budget) ? COMPARE_LIMIT_LOW : COMPARE_LIMIT;
}

void compare_judge(compare_result_t *r, double asked) {
    for (size_t i = 0; i < r->rows; i++) judge(&r->row[i], compare_limit(&r->row[i], asked));
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
    for (size_t i = 0; i < r->stretch.betweens; i++) free(r->stretch.between[i]);
    free(r->stretch.between);
    free(r->stretch.from);
    for (size_t i = 0; i < r->rows; i++) free((char *)r->row[i].name);
    free(r->extra);
    free(r->meant);
    free(r->note);
    free(r->row);
    *r = (compare_result_t){0};
}
