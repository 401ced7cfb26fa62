/* report_json.c - a comparison for programs: docs/compare.schema.json.
 *
 * JSON has no NaN and no Infinity. What is not known or does not apply is null; a figure that is not
 * finite is the string "NaN", "Infinity" or "-Infinity". Finite ones have 17 digits, so that reading
 * them gives the same double back. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "report/report.h"
#include "report/report_parts.h"

static json_t *figure(double value) {
    if (isnan(value)) return json_string("NaN");
    if (isinf(value)) return json_string(value > 0 ? "Infinity" : "-Infinity");
    return json_real(value);
}

static json_t *known(bool known, double value) {
    return known && !isnan(value) ? figure(value) : json_null();
}

/* A size; what JSON readers can hold exactly ends at 2^53, far beyond any tensor. */
static json_t *size(size_t value) {
    return json_integer((json_int_t)value);
}

static json_t *text(const char *from) {
    char *clean = report_clean(from, CLEAN_UTF8);
    json_t *value = json_string(clean);
    free(clean);
    return value;
}

static json_t *owned_text(char *from) {
    json_t *value = text(from);
    free(from);
    return value;
}

static json_t *sizes(const size_t *value, int count) {
    json_t *list = json_array();
    for (int i = 0; i < count; i++) json_array_append_new(list, size(value[i]));
    return list;
}

static json_t *diff_value(const diff_t *d, shape_t shape) {
    size_t at[SHAPE_DIMS] = {0};
    json_t *o = json_object();
    shape_index(at, shape, d->worst);
    json_object_set_new(o, "count", size(d->count));
    json_object_set_new(o, "max_abs", figure(d->max_abs));
    json_object_set_new(o, "worst_at", sizes(at, shape.ndim));
    json_object_set_new(o, "candidate_at", figure(d->candidate_at));
    json_object_set_new(o, "truth_at", figure(d->truth_at));
    json_object_set_new(o, "rms", figure(d->rms));
    json_object_set_new(o, "relative_rms", figure(report_relative_rms(d)));
    json_object_set_new(o, "truth_max", figure(d->truth_max));
    json_object_set_new(o, "truth_rms", figure(d->truth_rms));
    json_object_set_new(o, "storage_floor", figure(d->storage_floor));
    json_object_set_new(o, "candidate_rms", figure(d->candidate_rms));
    json_object_set_new(o, "cosine", figure(d->cosine));
    json_object_set_new(o, "nan_candidate", size(d->nan_candidate));
    json_object_set_new(o, "nan_truth", size(d->nan_truth));
    json_object_set_new(o, "inf_mismatch", size(d->inf_mismatch));
    return o;
}

static json_t *cause_value(const compare_row_t *row) {
    if (!*row->cause.text) return json_null();
    json_t *o = json_object();
    json_object_set_new(o, "kind", text(row->cause.kind));
    json_object_set_new(o, "text", text(row->cause.text));
    return o;
}

static json_t *row_value(const compare_row_t *row, size_t index) {
    bool measured = report_measured(row), there = row->candidate_name != NULL;
    bool own = measured && row->has_isolated, bound = measured && row->has_bound;
    json_t *o = json_object();
    json_object_set_new(o, "index", size(index));
    json_object_set_new(o, "name", text(row->name));
    json_object_set_new(o, "verdict", json_string(report_verdict(row->verdict)));
    json_object_set_new(o, "reason", owned_text(report_reason(row)));
    json_object_set_new(o, "shape", sizes(row->shape.dim, row->shape.ndim));
    json_object_set_new(o, "candidate_name", there ? text(row->candidate_name) : json_null());
    json_object_set_new(o, "candidate_shape",
                        there ? sizes(row->candidate_shape.dim, row->candidate_shape.ndim)
                              : json_null());
    json_object_set_new(o, "candidate_dtype",
                        there ? json_string(dtype_name(row->candidate_dtype)) : json_null());
    json_object_set_new(o, "cumulative",
                        measured ? diff_value(&row->cumulative, row->shape) : json_null());
    json_object_set_new(o, "ratio", known(measured, row->ratio));
    json_object_set_new(o, "peer_rms", known(measured && !isnan(row->ratio), row->peer_rms));
    json_object_set_new(o, "budget", json_string(budget_name(row->budget)));
    json_object_set_new(o, "ulp_p99", known(measured, row->ulp_p99));
    json_object_set_new(o, "statistic", row->statistic ? json_string(row->statistic) : json_null());
    json_object_set_new(o, "batch_row", row->one_row ? size(row->batch_row) : json_null());
    json_object_set_new(o, "isolated", own ? diff_value(&row->isolated, row->shape) : json_null());
    json_object_set_new(o, "isolated_ratio", known(own, row->isolated_ratio));
    json_object_set_new(o, "inputs_known", own ? json_boolean(row->inputs_known) : json_null());
    json_object_set_new(o, "unit", known(own, row->unit));
    json_object_set_new(o, "own_unit", known(own, row->own_unit));
    json_object_set_new(o, "stretch_unit", known(own, row->stretch));
    json_object_set_new(o, "bound_used", known(bound, row->bound_used));
    json_object_set_new(o, "typical_used", known(bound, row->typical_used));
    json_object_set_new(o, "limit", known(measured, row->limit));
    json_object_set_new(o, "origin", text(row->origin));
    json_object_set_new(o, "cause", cause_value(row));
    return o;
}

static json_t *stretch_value(const compare_result_t *result) {
    const compare_stretch_t *s = &result->stretch;
    json_t *o = json_object(), *between = json_array();
    for (size_t i = 0; i < s->betweens; i++) json_array_append_new(between, text(s->between[i]));
    json_object_set_new(o, "from", s->from ? text(s->from) : json_null());
    json_object_set_new(o, "between", between);
    json_object_set_new(o, "to", text(result->row[result->culprit].name));
    json_object_set_new(o, "text",
                        s->betweens ? owned_text(report_stretch_text(result)) : json_null());
    json_object_set_new(o, "dump",
                        s->betweens ? owned_text(report_dump_text(result)) : json_null());
    return o;
}

static json_t *culprit_value(const compare_result_t *result) {
    if (result->culprit >= result->rows) return json_null();
    report_after_t after = report_after(result);
    json_t *o = json_object(), *following = json_object();
    json_object_set_new(following, "wrong", size(after.wrong));
    json_object_set_new(following, "unknown", size(after.unknown));
    json_object_set_new(following, "inherited", size(after.inherited));
    json_object_set_new(following, "text", owned_text(report_after_text(result)));
    json_object_set_new(o, "index", size(result->culprit));
    json_object_set_new(o, "name", text(result->row[result->culprit].name));
    json_object_set_new(o, "after", following);
    json_object_set_new(o, "stretch", stretch_value(result));
    return o;
}

static json_t *counts_value(const compare_result_t *result) {
    size_t count[VERDICTS];
    json_t *o = json_object();
    report_count(result, count);
    for (int v = 0; v < VERDICTS; v++)
        json_object_set_new(o, report_verdict((row_verdict_t)v), size(count[v]));
    return o;
}

static json_t *meant_value(const compare_meant_t *meant) {
    if (!meant->name) return json_null();
    json_t *o = json_object();
    json_object_set_new(o, "name", text(meant->name));
    json_object_set_new(o, "by", json_string(meant->by_value ? "value" : "name"));
    return o;
}

json_t *report_json_value(const compare_result_t *result) {
    json_t *o = json_object(), *budget = json_object(), *extra = json_array();
    json_t *meant = json_array(), *notes = json_array(), *rows = json_array();
    json_object_set_new(budget, "name", json_string(budget_name(result->budget)));
    json_object_set_new(budget, "unit", figure(budget_unit(result->budget)));
    json_object_set_new(budget, "about", json_string(budget_about(result->budget)));
    json_object_set_new(budget, "computed", json_string(budget_name(result->computed)));
    json_object_set_new(budget, "detected", json_boolean(result->detected));
    json_object_set_new(budget, "reference",
                        result->held ? json_string(budget_name(result->held)) : json_null());
    json_object_set_new(budget, "stored", json_string(dtype_name(result->stored)));
    for (size_t i = 0; i < result->extras; i++) {
        json_array_append_new(extra, text(result->extra[i]));
        json_array_append_new(meant, meant_value(&result->meant[i]));
    }
    for (size_t i = 0; i < result->notes; i++) json_array_append_new(notes, text(result->note[i]));
    for (size_t i = 0; i < result->rows; i++)
        json_array_append_new(rows, row_value(&result->row[i], i));
    json_object_set_new(o, "format", json_string("mole-compare"));
    json_object_set_new(o, "version", json_integer(1));
    json_object_set_new(o, "reference", text(result->reference));
    json_object_set_new(o, "candidate", text(result->candidate));
    json_object_set_new(o, "budget", budget);
    json_object_set_new(o, "differs", json_boolean(compare_differs(result)));
    json_object_set_new(o, "undecided", size(compare_undecided(result)));
    json_object_set_new(o, "statistics", json_boolean(result->statistics));
    json_object_set_new(o, "complete", json_boolean(result->complete));
    json_object_set_new(o, "compared", size(result->compared));
    json_object_set_new(o, "counts", counts_value(result));
    json_object_set_new(o, "median_ratio", known(true, result->median_ratio));
    json_object_set_new(o, "worst_ratio", known(true, result->worst_ratio));
    json_object_set_new(o, "resolution_median",
                        known(!isnan(result->seen_median), result->seen_median));
    json_object_set_new(o, "resolution_worst",
                        known(!isnan(result->seen_worst), result->seen_worst));
    json_object_set_new(o, "unresolved", size(result->unresolved));
    json_object_set_new(o, "mixed", size(result->mixed));
    json_object_set_new(o, "hidden", text(budget_name(result->hidden)));
    json_object_set_new(o, "notes", notes);
    json_object_set_new(o, "culprit", culprit_value(result));
    json_object_set_new(o, "extra", extra);
    json_object_set_new(o, "meant", meant);
    json_object_set_new(o, "rows", rows);
    return o;
}

int report_json(const compare_result_t *result, const char *path, err_t *err) {
    report_file_t file;
    if (report_file_open(&file, path, err)) return -1;
    json_t *value = report_json_value(result);
    /* A failure to write stays in the stream and is told when it is closed. */
    json_dumpf(value, file.to, JSON_INDENT(1));
    fputc('\n', file.to);
    json_decref(value);
    return report_file_close(&file, 0, err);
}
