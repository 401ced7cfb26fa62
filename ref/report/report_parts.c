/* report_parts.c - see report_parts.h. Rows and sentences; text and files are in report_output.c. */
#include "report/report_parts.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *report_verdict(row_verdict_t verdict) {
    switch (verdict) {
    case ROW_AGREES: return "agrees";
    case ROW_SUSPICIOUS: return "suspicious";
    case ROW_DIFFERS: return "differs";
    case ROW_INHERITED: return "inherited";
    case ROW_MISSING: return "missing";
    case ROW_SHAPE: return "shape";
    case ROW_NOT_FINITE: return "not-finite";
    }
    REQUIRE(0, "report_verdict: no verdict %d", (int)verdict);
}

bool report_fails(const compare_result_t *result, const compare_row_t *row) {
    if (row->verdict == ROW_MISSING) return result->complete;
    return row->verdict == ROW_DIFFERS || row->verdict == ROW_SHAPE ||
           row->verdict == ROW_NOT_FINITE;
}

bool report_measured(const compare_row_t *row) {
    return row->verdict != ROW_MISSING && row->verdict != ROW_SHAPE;
}

/* ---- choosing rows --------------------------------------------------------------------------- */

typedef struct {
    size_t index;
    int rank; /* larger is worse */
    double weight;
} ranked_t;

static int rank_of(const compare_row_t *row) {
    switch (row->verdict) {
    case ROW_SHAPE:
    case ROW_NOT_FINITE:
    case ROW_DIFFERS: return 4;
    case ROW_INHERITED: return 3;
    case ROW_SUSPICIOUS: return 2;
    case ROW_AGREES: return 1;
    case ROW_MISSING: return 0; /* has no numbers to look at, and is listed by itself */
    }
    return 0;
}

/* The ratio that decided; where there is none, the error relative to the tensor. */
static double weight_of(const compare_row_t *row) {
    if (!report_measured(row)) return INFINITY;
    bool own = row->has_isolated && row->verdict != ROW_INHERITED;
    double ratio = own ? row->isolated_ratio : row->ratio;
    if (isnan(ratio)) ratio = report_relative_rms(&row->cumulative);
    return isnan(ratio) ? INFINITY : ratio;
}

static int worse_first(const void *a, const void *b) {
    const ranked_t *x = a, *y = b;
    if (x->rank != y->rank) return y->rank - x->rank;
    if (x->weight != y->weight) return x->weight < y->weight ? 1 : -1;
    return (x->index > y->index) - (x->index < y->index);
}

static int by_index(const void *a, const void *b) {
    size_t x = *(const size_t *)a, y = *(const size_t *)b;
    return (x > y) - (x < y);
}

size_t report_worst(const compare_result_t *result, size_t most, size_t *index) {
    size_t count = 0;
    ranked_t *all = xmalloc((result->rows + 1) * sizeof *all);
    for (size_t i = 0; i < result->rows; i++)
        all[i] = (ranked_t){i, rank_of(&result->row[i]), weight_of(&result->row[i])};
    qsort(all, result->rows, sizeof *all, worse_first);
    if (result->culprit < result->rows) index[count++] = result->culprit;
    for (size_t i = 0; i < result->rows && i < most; i++)
        if (all[i].index != result->culprit) index[count++] = all[i].index;
    free(all);
    qsort(index, count, sizeof *index, by_index);
    return count;
}

void report_count(const compare_result_t *result, size_t count[VERDICTS]) {
    memset(count, 0, VERDICTS * sizeof *count);
    for (size_t i = 0; i < result->rows; i++) count[result->row[i].verdict]++;
}

report_after_t report_after(const compare_result_t *result) {
    report_after_t after = {.first_wrong = SIZE_MAX};
    size_t first_unknown = SIZE_MAX;
    if (result->culprit >= result->rows) return after;
    for (size_t i = result->culprit + 1; i < result->rows; i++) {
        const compare_row_t *row = &result->row[i];
        if (row->verdict == ROW_INHERITED) after.inherited++;
        if (!report_fails(result, row) || row->verdict == ROW_MISSING) continue;
        /* Another shape is nobody else's fault; a wrong number may be, unless the inputs were seen. */
        bool own = row->has_isolated || row->verdict == ROW_SHAPE;
        if (own && after.wrong++ == 0) after.first_wrong = i;
        if (!own && after.unknown++ == 0) first_unknown = i;
    }
    if (after.first_wrong == SIZE_MAX) after.first_wrong = first_unknown;
    return after;
}

/* ---- sentences ------------------------------------------------------------------------------- */

static const char *plural(size_t count) {
    return count == 1 ? "" : "s";
}

char *report_after_text(const compare_result_t *result) {
    report_after_t after = report_after(result);
    if (result->culprit >= result->rows) return xstrdup("there is no culprit");
    if (result->culprit + 1 == result->rows) return xstrdup("nothing: it is the last tap");
    if (after.wrong)
        return xasprintf(
            "not innocent: %zu later tap%s wrong by %s as well, the first of them #%zu %s; "
            "%zu inherited, %zu unknown",
            after.wrong, after.wrong == 1 ? " is" : "s are",
            after.wrong == 1 ? "itself" : "themselves", after.first_wrong,
            result->row[after.first_wrong].name, after.inherited, after.unknown);
    if (after.unknown)
        return xasprintf(
            "not known: %zu later tap%s differ%s, and the inputs of these modules were not "
            "seen; mend the culprit and compare again",
            after.unknown, plural(after.unknown), after.unknown == 1 ? "s" : "");
    if (after.inherited)
        return xasprintf(
            "innocent: %zu later tap%s inherited the error and %s right for %s own inputs",
            after.inherited, plural(after.inherited), after.inherited == 1 ? "is" : "are",
            after.inherited == 1 ? "its" : "their");
    return xstrdup("innocent: no later tap differs");
}

char *report_stretch_text(const compare_result_t *result) {
    const compare_stretch_t *s = &result->stretch;
    if (!s->betweens) return NULL;
    return xasprintf(
        "the mistake lies between %s and %s: there or in one of %zu tap%s that %s not dumped",
        s->from ? s->from : "the inputs", result->row[result->culprit].name, s->betweens,
        plural(s->betweens), s->betweens == 1 ? "was" : "were");
}

/* Of between[first .. last) the tap highest up in the network: the one with the fewest dots. */
static const char *highest(const compare_stretch_t *s, size_t first, size_t last) {
    size_t least = SIZE_MAX;
    const char *found = NULL;
    for (size_t i = first; i < last; i++) {
        size_t dots = 0;
        for (const char *p = s->between[i]; *p; p++) dots += *p == '.';
        if (dots < least) least = dots, found = s->between[i];
    }
    return found;
}

char *report_dump_text(const compare_result_t *result) {
    enum { ASKED = 6 };
    const compare_stretch_t *s = &result->stretch;
    size_t asked = s->betweens < ASKED ? s->betweens : ASKED;
    char *text = NULL;
    for (size_t i = 0; i < asked; i++) {
        const char *tap = highest(s, i * s->betweens / asked, (i + 1) * s->betweens / asked);
        char *longer = xasprintf("%s%s%s", text ? text : "", text ? ", " : "", tap);
        free(text);
        text = longer;
    }
    return text;
}

char *report_diff_text(const diff_t *diff, shape_t shape) {
    char at[SHAPE_TEXT];
    shape_index_text(at, shape, diff->worst);
    if (diff->count == 0) return xstrdup("empty, nothing to compare");
    if (diff->nan_candidate || diff->nan_truth || diff->inf_mismatch)
        return xasprintf(
            "%zu NaN, %zu NaN in the reference, %zu Inf differ, first at %s (%g for %g)",
            diff->nan_candidate, diff->nan_truth, diff->inf_mismatch, at, diff->candidate_at,
            diff->truth_at);
    return xasprintf("max %.3g at %s (%.9g for %.9g), rel rms %.3g, cosine %.9g", diff->max_abs, at,
                     diff->candidate_at, diff->truth_at, report_relative_rms(diff), diff->cosine);
}

char *report_statistic_text(const compare_row_t *row) {
    const diff_t *d = &row->cumulative;
    char at[SHAPE_TEXT];
    if (strcmp(row->statistic, "values") != 0)
        return xasprintf("the %s is %.9g for %.9g", row->statistic, d->candidate_at, d->truth_at);
    return xasprintf("of the values the worst is %.9g for %.9g at %s", d->candidate_at, d->truth_at,
                     shape_index_text(at, row->shape, d->worst));
}

static char *reason_of_shape(const compare_row_t *row) {
    char expected[SHAPE_TEXT], found[SHAPE_TEXT];
    return xasprintf("shape is %s, expected %s", shape_text(found, row->candidate_shape),
                     shape_text(expected, row->shape));
}

/* The error as a ratio and, because a limit may be of that kind too, relative to the tensor. */
static char *reason_of_ratio(const compare_row_t *row) {
    char ratio[NUMBER_TEXT];
    bool own = row->has_isolated && row->verdict != ROW_INHERITED;
    const diff_t *diff = own ? &row->isolated : &row->cumulative;
    double value = own ? row->isolated_ratio : row->ratio, relative = diff_relative(diff);
    const char *whose = !own                ? ""
                        : row->inputs_known ? ", for its own inputs"
                                            : ", for the candidate's taps before it";
    if (row->statistic) {
        char *shown = report_statistic_text(row);
        char *text = xasprintf("by its statistics the rms error is at least %s the rounding error "
                               "expected here: %s; limit %.3g",
                               report_ratio(ratio, value), shown, row->limit);
        free(shown);
        return text;
    }
    if (isnan(value))
        return xasprintf("worst error is %.2g of the tensor's largest number%s; limit %.3g",
                         relative, whose, row->limit);
    return xasprintf("rms error is %s the rounding error expected here, the worst %.2g of the "
                     "tensor's largest number%s; limit %.3g",
                     report_ratio(ratio, value), relative, whose, row->limit);
}

char *report_reason(const compare_row_t *row) {
    char share[NUMBER_TEXT], ratio[NUMBER_TEXT];
    if (row->verdict == ROW_MISSING) return xstrdup("the candidate has no such tap");
    if (row->verdict == ROW_SHAPE) return reason_of_shape(row);
    if (row->verdict == ROW_NOT_FINITE) return report_diff_text(&row->cumulative, row->shape);
    if (row->verdict == ROW_INHERITED && row->has_isolated)
        return xasprintf("inherited: %s off, but %s for %s", report_ratio(share, row->ratio),
                         report_ratio(ratio, row->isolated_ratio),
                         row->inputs_known ? "its own inputs" : "the candidate's taps before it");
    if (row->has_bound && row->bound_used > 1)
        return xasprintf("worst error is %s of the provable bound",
                         report_share(share, row->bound_used));
    if (row->verdict == ROW_SUSPICIOUS && row->has_bound && row->typical_used > 1)
        return xasprintf(
            "worst error is %s of what rounding typically does, %s of the provable bound",
            report_share(share, row->typical_used), report_share(ratio, row->bound_used));
    return reason_of_ratio(row);
}

/* ---- numbers --------------------------------------------------------------------------------- */

static const char *not_finite(char text[NUMBER_TEXT], double value) {
    snprintf(text, NUMBER_TEXT, "%s", isnan(value) ? "-" : "inf");
    return text;
}

const char *report_ratio(char text[NUMBER_TEXT], double ratio) {
    if (!isfinite(ratio)) return not_finite(text, ratio);
    const char *format = ratio == 0        ? "%.0fx"
                         : ratio < 0.095   ? "%.1gx"
                         : ratio < 9.95    ? "%.1fx"
                         : ratio < 99999.5 ? "%.0fx"
                                           : "%.1ex";
    snprintf(text, NUMBER_TEXT, format, ratio);
    return text;
}

const char *report_share(char text[NUMBER_TEXT], double share) {
    if (!isfinite(share)) return not_finite(text, share);
    snprintf(text, NUMBER_TEXT, share > 0.095 && share < 999.995 ? "%.0f%%" : "%.2g%%",
             100 * share);
    return text;
}

double report_relative_rms(const diff_t *diff) {
    return diff->rms == 0 ? 0 : diff->rms / diff->truth_rms;
}

char *report_extra_text(const compare_result_t *result, size_t index) {
    const compare_meant_t *meant = &result->meant[index];
    return xasprintf("%s%s%s", result->extra[index],
                     !meant->name      ? ""
                     : meant->by_value ? ", which holds the numbers of "
                                       : ", perhaps ",
                     meant->name ? meant->name : "");
}
