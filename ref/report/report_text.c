/* report_text.c - a comparison on a terminal: what happened, who did it, and a table.
 *
 * The summary comes first, because it is all that most readers need. Lines have at most 160 columns:
 * every column is as wide as its widest cell, and names get what remains, shortened in the middle,
 * where module paths repeat each other. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <utf8proc.h>

#include "report/report.h"
#include "report/report_parts.h"

enum { LINE = 160, CELL = 256, WORST = 10, NAMED = 5 };

/* ---- columns of text ------------------------------------------------------------------------- */

/* The columns that a UTF-8 text takes on a terminal. */
static size_t columns_of(const char *text, size_t bytes) {
    size_t columns = 0;
    for (size_t at = 0; at < bytes;) {
        utf8proc_int32_t c;
        utf8proc_ssize_t step = utf8proc_iterate((const utf8proc_uint8_t *)text + at,
                                                 (utf8proc_ssize_t)(bytes - at), &c);
        at += step > 0 ? (size_t)step : 1;
        if (step > 0) columns += (size_t)utf8proc_charwidth(c);
    }
    return columns;
}

static size_t next_character(const char *text, size_t at) {
    do at++;
    while (((unsigned char)text[at] & 0xc0) == 0x80);
    return at;
}

/* "unet.down_blo...attn2.to_k" in at most `columns`: fresh memory. The end of a path tells more than
 * its beginning and gets three fifths. */
static char *shortened(const char *text, size_t columns) {
    size_t length = strlen(text), head = 0, tail = 0;
    if (columns_of(text, length) <= columns) return xstrdup(text);
    size_t room = columns - 3, first = room * 2 / 5;
    for (size_t next = head; columns_of(text, next) <= first; next = next_character(text, next))
        head = next;
    while (columns_of(text + tail, length - tail) > room - first) tail = next_character(text, tail);
    return xasprintf("%.*s...%s", (int)head, text, text + tail);
}

/* ---- the table ------------------------------------------------------------------------------- */

enum {
    C_ROW,
    C_NAME,
    C_SHAPE,
    C_MAX,
    C_AT,
    C_REL,
    C_COSINE,
    C_ULP,
    C_RATIO,
    C_OWN,
    C_BOUND,
    C_VERDICT,
    COLUMNS
};

static const struct {
    const char *title;
    size_t most; /* columns; a longer cell is shortened. Their sum leaves room for names. */
    bool right;
} column[COLUMNS] = {
    [C_ROW] = {"#", 8, true},         [C_NAME] = {"name", LINE, false},
    [C_SHAPE] = {"shape", 20, false}, [C_MAX] = {"max abs", 8, true},
    [C_AT] = {"at", 16, false},       [C_REL] = {"rel rms", 8, true},
    [C_COSINE] = {"cosine", 9, true}, [C_ULP] = {"ulp p99", 8, true},
    [C_RATIO] = {"ratio", 8, true},   [C_OWN] = {"isolated", 8, true},
    [C_BOUND] = {"bound", 8, true},   [C_VERDICT] = {"verdict", 10, false},
};

/* 0.99 as it is; nearer to 1 what matters is by how much: "1-3e-08". */
static void cosine_text(char text[CELL], double cosine) {
    double short_of_one = 1 - cosine;
    if (isnan(cosine) || short_of_one <= 0)
        snprintf(text, CELL, "%s", isnan(cosine) ? "nan" : "1");
    else
        snprintf(text, CELL, short_of_one < 1e-3 ? "1-%.1e" : "%.5f",
                 short_of_one < 1e-3 ? short_of_one : cosine);
}

/* Shapes and places stand in many rows: without spaces. */
static void shape_cell(char text[CELL], shape_t shape) {
    char spaced[SHAPE_TEXT];
    size_t used = 0;
    for (const char *p = shape_text(spaced, shape); *p; p++)
        if (*p != ' ') text[used++] = *p;
    text[used] = '\0';
}

static void measured_cells(char cell[COLUMNS][CELL], const compare_row_t *row) {
    const diff_t *d = &row->cumulative;
    shape_index_text(cell[C_AT], row->shape, d->worst);
    snprintf(cell[C_MAX], CELL, "%.1e", d->max_abs);
    snprintf(cell[C_REL], CELL, "%.1e", report_relative_rms(d));
    if (!isnan(d->cosine)) cosine_text(cell[C_COSINE], d->cosine);
    if (row->statistic) snprintf(cell[C_AT], CELL, "%s", row->statistic);
    if (!isnan(row->ulp_p99))
        snprintf(cell[C_ULP], CELL, row->ulp_p99 < 1e5 ? "%.1f" : "%.1e", row->ulp_p99);
    report_ratio(cell[C_RATIO], row->ratio);
    if (row->has_isolated) report_ratio(cell[C_OWN], row->isolated_ratio);
    if (row->has_bound) report_share(cell[C_BOUND], row->bound_used);
}

/* All cells but the name. */
static void fill_cells(char cell[COLUMNS][CELL], const compare_result_t *result, size_t index) {
    const compare_row_t *row = &result->row[index];
    for (int c = 0; c < COLUMNS; c++) snprintf(cell[c], CELL, "-");
    snprintf(cell[C_ROW], CELL, "%s%zu", index == result->culprit ? ">" : "", index);
    shape_cell(cell[C_SHAPE], row->shape);
    snprintf(cell[C_VERDICT], CELL, "%s", row_verdict_name(row->verdict));
    if (report_measured(row)) measured_cells(cell, row);
    if (row->verdict == ROW_SHAPE) shape_cell(cell[C_AT], row->candidate_shape);
}

typedef struct {
    size_t of[COLUMNS];
} widths_t;

static void measure(widths_t *widths, const compare_result_t *result, const size_t *index,
                    size_t count) {
    char cell[COLUMNS][CELL];
    size_t taken = COLUMNS - 1; /* the spaces */
    for (int c = 0; c < COLUMNS; c++) widths->of[c] = strlen(column[c].title);
    for (size_t i = 0; i < count; i++) {
        fill_cells(cell, result, index[i]);
        for (int c = 0; c < COLUMNS; c++) {
            size_t wide = c == C_NAME ? 0 : strlen(cell[c]);
            if (wide > column[c].most) wide = column[c].most;
            if (wide > widths->of[c]) widths->of[c] = wide;
        }
        char *name = report_clean(result->row[index[i]].name, CLEAN_SHOWN);
        size_t wide = columns_of(name, strlen(name));
        if (wide > widths->of[C_NAME]) widths->of[C_NAME] = wide;
        free(name);
    }
    for (int c = 0; c < COLUMNS; c++) taken += c == C_NAME ? 0 : widths->of[c];
    if (widths->of[C_NAME] > LINE - taken) widths->of[C_NAME] = LINE - taken;
}

static void put_cell(FILE *to, const widths_t *widths, int c, const char *text) {
    char *fitting = shortened(text, widths->of[c]);
    int pad = (int)(widths->of[c] - columns_of(fitting, strlen(fitting)));
    if (column[c].right)
        fprintf(to, "%*s%s", pad, "", fitting);
    else
        fprintf(to, "%s%*s", fitting, c == COLUMNS - 1 ? 0 : pad, "");
    fputc(c == COLUMNS - 1 ? '\n' : ' ', to);
    free(fitting);
}

static void put_table(FILE *to, const compare_result_t *result, const size_t *index, size_t count) {
    char cell[COLUMNS][CELL];
    widths_t widths;
    measure(&widths, result, index, count);
    for (int c = 0; c < COLUMNS; c++) put_cell(to, &widths, c, column[c].title);
    for (size_t i = 0; i < count; i++) {
        char *name = report_clean(result->row[index[i]].name, CLEAN_SHOWN);
        fill_cells(cell, result, index[i]);
        for (int c = 0; c < COLUMNS; c++) put_cell(to, &widths, c, c == C_NAME ? name : cell[c]);
        free(name);
    }
}

/* ---- the summary ----------------------------------------------------------------------------- */

static void put_line(FILE *to, const char *label, const char *text) {
    char *clean = report_clean(text, CLEAN_SHOWN);
    fprintf(to, "%-11s%s\n", label, clean);
    free(clean);
}

/* put_line of a text that the caller made, and free it. */
static void put_owned(FILE *to, const char *label, char *text) {
    put_line(to, label, text);
    free(text);
}

static char *verdict_text(const compare_result_t *result) {
    size_t n[VERDICTS];
    const char *verdict = compare_differs(result)     ? "DIFFERS"
                          : compare_undecided(result) ? "UNDECIDED"
                                                      : "agrees";
    report_count(result, n);
    return xasprintf(
        "%s: %zu of %zu taps compared; %zu differ, %zu not finite, %zu of another shape; "
        "%zu inherited, %zu suspicious, %zu agree; judged as %s%s",
        verdict, result->compared, result->rows, n[ROW_DIFFERS], n[ROW_NOT_FINITE], n[ROW_SHAPE],
        n[ROW_INHERITED], n[ROW_SUSPICIOUS], n[ROW_AGREES], budget_name(result->budget),
        result->statistics ? ", by statistics alone" : "");
}

/* "bf16-acc32: bfloat16, float32 sums, as the candidate's numbers show (stored as F32)" */
static void put_precision(FILE *to, const compare_result_t *result) {
    const char *origin =
        result->budget == result->computed
            ? (result->detected ? "as the candidate's numbers show" : "as the candidate is stored")
        : result->budget == result->held ? "as the reference's numbers show"
                                         : "as asked";
    fprintf(to, "%-11s%s: %s, %s (stored as %s); one rounding is off by at most %.1e\n",
            "precision", budget_name(result->budget), budget_about(result->budget), origin,
            dtype_name(result->stored), budget_unit(result->budget));
    precision_t computed = budget_results(result->computed),
                judged = budget_results(result->budget);
    if (result->detected && computed != judged)
        fprintf(to, "%-11sthe candidate's numbers are those of %s, judged as %s\n", "note",
                precision_name(computed), budget_name(result->budget));
    if (result->mixed)
        fprintf(to, "%-11s%zu taps hold numbers of a coarser type and are judged by it\n", "note",
                result->mixed);
}

/* What an error must be to be called wrong: what the type can still tell. */
static void put_resolution(FILE *to, const compare_result_t *result) {
    if (isnan(result->seen_median)) return;
    char *name = report_clean(result->seen_worst_name, CLEAN_SHOWN);
    fprintf(to, "%-11s%s shows from %.1e of a tensor's rms on (median), %.1e at %s\n", "resolution",
            result->statistics ? "what a statistic is off" : "an error", result->seen_median,
            result->seen_worst, name);
    free(name);
    if (result->unresolved)
        fprintf(to, "%-11s%zu taps not at all: their rounding alone may be as large as they are\n",
                "", result->unresolved);
}

/* A failure without a culprit: what was dumped does not say where it was made. */
static void put_no_culprit(FILE *to, const compare_result_t *result) {
    size_t n[VERDICTS];
    report_count(result, n);
    if (result->culprit < result->rows || !n[ROW_INHERITED]) return;
    put_line(to, "culprit",
             "none found: the error adds up over stretches of which each is within its rounding; "
             "dump more taps");
}

static void put_error(FILE *to, const char *label, const diff_t *diff, double ratio,
                      shape_t shape) {
    char text[NUMBER_TEXT];
    char *numbers = report_diff_text(diff, shape);
    if (isnan(ratio))
        put_owned(to, label, xasprintf("%s", numbers));
    else
        put_owned(to, label, xasprintf("%s: %s", report_ratio(text, ratio), numbers));
    free(numbers);
}

static void put_stretch(FILE *to, const compare_result_t *result) {
    char *where = report_stretch_text(result), *dump = report_dump_text(result);
    if (where) put_line(to, "  between", where);
    if (dump) put_owned(to, "  narrow", xasprintf("dump these taps as well: %s", dump));
    free(where);
    free(dump);
}

static void put_culprit(FILE *to, const compare_result_t *result) {
    const compare_row_t *row = &result->row[result->culprit];
    char shape[SHAPE_TEXT], hard[NUMBER_TEXT], typical[NUMBER_TEXT];
    put_owned(to, "culprit",
              xasprintf("#%zu %s %s", result->culprit, row->name, shape_text(shape, row->shape)));
    put_owned(to, "  because", report_reason(row));
    put_stretch(to, result);
    if (row->has_isolated && report_measured(row))
        put_error(to, "  isolated", &row->isolated, row->isolated_ratio, row->shape);
    else
        put_line(to, "  isolated",
                 result->statistics ? "not known: statistics hold no numbers to compute from"
                                    : "not known: the module's inputs were not seen");
    if (report_measured(row) && row->statistic)
        put_owned(to, "  statistic", report_statistic_text(row));
    else if (report_measured(row))
        put_error(to, "  cumul.", &row->cumulative, row->ratio, row->shape);
    if (row->has_bound)
        put_owned(to, "  bound",
                  xasprintf("worst error is %s of the provable bound, %s of the typical one",
                            report_share(hard, row->bound_used),
                            report_share(typical, row->typical_used)));
    if (*row->origin) put_owned(to, "  limit", xasprintf("%.3g: %s", row->limit, row->origin));
    put_line(to, "  cause",
             *row->cause.text ? row->cause.text : "none of the usual ones explains it");
    put_owned(to, "  after it", report_after_text(result));
}

/* Between a guessed limit and what is beyond doubt (compare.c, guess_limits). */
static void put_undecided(FILE *to, const compare_result_t *result) {
    size_t count = compare_undecided(result);
    if (count)
        fprintf(to,
                "%-11s%zu of the taps: above the guessed limit and not beyond doubt, so exit code "
                "1; --peer or a golden case decides, or --limit\n",
                "undecided", count);
}

/* "missing    3: a, b, c": the first few, or all. */
static void put_missing(FILE *to, const compare_result_t *result, bool all) {
    size_t n[VERDICTS], shown = 0;
    report_count(result, n);
    if (!n[ROW_MISSING]) return;
    fprintf(to, "%-11s%zu of the reference's taps: not in the candidate, %s\n", "missing",
            n[ROW_MISSING], result->complete ? "and all were demanded" : "so not judged");
    for (size_t i = 0; i < result->rows && (all || shown < NAMED); i++)
        if (result->row[i].verdict == ROW_MISSING) {
            put_line(to, "", result->row[i].name);
            shown++;
        }
    if (shown < n[ROW_MISSING]) fprintf(to, "%-11s... and %zu more\n", "", n[ROW_MISSING] - shown);
}

static void put_extra(FILE *to, const compare_result_t *result, bool all) {
    size_t shown = all || result->extras < NAMED ? result->extras : NAMED;
    if (!result->extras) return;
    fprintf(to, "%-11s%zu of the candidate's taps: not in the reference, so not compared\n",
            "extra", result->extras);
    for (size_t i = 0; i < shown; i++) put_owned(to, "", report_extra_text(result, i));
    if (shown < result->extras) fprintf(to, "%-11s... and %zu more\n", "", result->extras - shown);
}

static void put_summary(FILE *to, const compare_result_t *result, bool all) {
    char median[NUMBER_TEXT], worst[NUMBER_TEXT];
    put_line(to, "reference", result->reference);
    put_line(to, "candidate", result->candidate);
    put_precision(to, result);
    put_owned(to, "verdict", verdict_text(result));
    if (!isnan(result->median_ratio))
        fprintf(to, "%-11smedian %s, worst %s of the rounding error expected\n", "ratio",
                report_ratio(median, result->median_ratio),
                report_ratio(worst, result->worst_ratio));
    put_resolution(to, result);
    for (size_t i = 0; i < result->notes; i++) put_line(to, "note", result->note[i]);
    if (result->culprit < result->rows) put_culprit(to, result);
    put_no_culprit(to, result);
    put_undecided(to, result);
    put_missing(to, result, all);
    put_extra(to, result, all);
}

static void put_legend(FILE *to, const char *precision) {
    fprintf(
        to,
        "max abs, at  worst |candidate - reference| and its index; of a row of another shape: the "
        "shape found\n"
        "rel rms      rms error / rms of the reference        cosine   of the two tensors; 1-x is "
        "x short of 1\n"
        "ulp p99      99th percentile of the errors, in units of the last place of %s\n"
        "ratio        rms error / the rounding error expected (PyTorch's own, where it is known): "
        "all that went wrong up to here\n"
        "isolated     the same for the candidate's own inputs: what this module did wrong itself, "
        "or the stretch of modules since the taps dumped before it\n"
        "bound        worst error / provable bound of a sum of this length; > marks the culprit, - "
        "is not known\n"
        "more words   docs/glossary.md\n",
        precision);
}

int report_text(const compare_result_t *result, bool all, FILE *to) {
    size_t most = all ? result->rows : WORST, count = 0;
    size_t *index = xmalloc((most + 1) * sizeof *index);
    put_summary(to, result, all);
    if (all)
        for (; count < result->rows; count++) index[count] = count;
    else
        count = report_worst(result, WORST, index);
    if (count) {
        fprintf(to, "\n%s\n\n",
                all ? "all taps, in the order of execution"
                    : "the worst taps, in the order of execution");
        put_table(to, result, index, count);
        fputc('\n', to);
        put_legend(to, budget_name(result->budget));
    }
    if (count) put_undecided(to, result); /* again, where a long table ends */
    free(index);
    return ferror(to) ? -1 : 0;
}
