/* compare_match.c - which tap of the candidate is which of the reference's; and of those that are none, which
 * they perhaps are, by their numbers or by their names. */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compare/compare_internal.h"

bool compare_is_input(const char *name) {
    size_t length = strlen(name);
    return length >= 3 && strcmp(name + length - 3, ".in") == 0;
}

typedef struct {
    const char *name;
    size_t row;
} named_t;

static int by_name(const void *a, const void *b) {
    return strcmp(((const named_t *)a)->name, ((const named_t *)b)->name);
}

/* Rows sorted by name, for matching in n log n. */
static named_t *sorted_keys(const compare_result_t *r) {
    named_t *keys = xcalloc(r->rows + 1, sizeof *keys);
    for (size_t i = 0; i < r->rows; i++) keys[i] = (named_t){r->row[i].name, i};
    qsort(keys, r->rows, sizeof *keys, by_name);
    return keys;
}

/* A candidate's tap that the reference has not; its place in the trace goes to at[]. */
static void add_extra(compare_result_t *r, size_t *at, const char *name, size_t index) {
    r->extra = xrealloc(r->extra, (r->extras + 1) * sizeof *r->extra);
    at[r->extras] = index;
    r->extra[r->extras++] = xstrdup(name);
}

/* Each candidate tap to its row; two to one row is an error. source[row] and extra_at[extra]: the candidate's
 * index. */
static int match(compare_result_t *r, trace_file_t *candidate, const compare_options_t *options,
                 size_t *source, size_t *extra_at, err_t *err) {
    named_t *keys = sorted_keys(r);
    int status = 0;
    for (size_t i = 0; i < r->rows; i++) source[i] = SIZE_MAX;
    for (size_t i = 0; !status && i < trace_file_count(candidate); i++) {
        const trace_entry_t *entry = trace_file_at(candidate, i);
        char *mapped = name_map_apply(options->map, entry->name);
        named_t wanted = {mapped, 0};
        named_t *found = bsearch(&wanted, keys, r->rows, sizeof *keys, by_name);
        if (!found) {
            bool asked = !options->filter || name_matches(options->filter, mapped);
            if (asked && !compare_is_input(mapped)) add_extra(r, extra_at, entry->name, i);
        } else if (source[found->row] != SIZE_MAX) {
            status =
                err_set(err, "%s: '%s' and '%s' both stand for '%s'", trace_file_path(candidate),
                        r->row[found->row].candidate_name, entry->name, mapped);
        } else {
            compare_row_t *row = &r->row[found->row];
            source[found->row] = i;
            row->candidate_name = entry->name;
            row->candidate_shape = entry->shape;
            row->candidate_dtype = entry->dtype;
            r->compared++;
        }
        free(mapped);
    }
    free(keys);
    return status;
}

/* ---- what a name that does not match perhaps stands for --------------------------------------------- */

/* So many numbers from the start of a tensor tell it from others of its shape. By likeness of names only the
 * first few are looked at, since it costs a comparison of words with every name. */
enum { SAMPLE = 64, BY_NAME = 32 };

typedef struct {
    double x[SAMPLE];
    size_t count;
    double rms; /* 0: says nothing */
} sample_t;

static void finish_sample(sample_t *s, int status) {
    double sum = 0;
    for (size_t i = 0; i < s->count; i++) sum += s->x[i] * s->x[i];
    s->rms = status == 0 && s->count > 0 && isfinite(sum) ? sqrt(sum / (double)s->count) : 0;
}

static size_t sample_count(shape_t shape) {
    size_t count = shape_count(shape);
    return count < SAMPLE ? count : SAMPLE;
}

/* Less than a sixteenth apart, of the reference's rms: a port with one mistake before it is closer, another
 * tensor is not. Infinity: further. */
static double distance(const sample_t *candidate, const sample_t *truth) {
    double sum = 0, most = truth->rms * truth->rms * (double)truth->count / 256;
    for (size_t i = 0; i < truth->count && sum <= most; i++)
        sum += (candidate->x[i] - truth->x[i]) * (candidate->x[i] - truth->x[i]);
    return sum <= most ? sum / most : INFINITY;
}

/* The rows that nobody stands for, with the first numbers of each. */
typedef struct {
    size_t *row;
    sample_t *sample;
    size_t count;
} vacant_t;

static vacant_t vacant_rows(const compare_result_t *r, const truths_t *truths) {
    vacant_t v = {xcalloc(r->rows + 1, sizeof *v.row), xcalloc(r->rows + 1, sizeof *v.sample), 0};
    for (size_t i = 0; i < r->rows; i++) {
        if (r->row[i].candidate_name) continue;
        sample_t *s = &v.sample[v.count];
        s->count = sample_count(r->row[i].shape);
        finish_sample(s, truths->read(truths->who, truths->index[i], 0, s->count, s->x, NULL));
        v.row[v.count++] = i;
    }
    return v;
}

static const char *meant_by_value(const compare_result_t *r, const vacant_t *v,
                                  trace_file_t *candidate, size_t index) {
    const trace_entry_t *entry = trace_file_at(candidate, index);
    const char *found = NULL;
    double least = INFINITY;
    sample_t s = {.count = sample_count(entry->shape)};
    finish_sample(&s, trace_file_read(candidate, index, 0, s.count, s.x, NULL));
    if (s.rms == 0) return NULL;
    for (size_t i = 0; i < v->count; i++) {
        const compare_row_t *row = &r->row[v->row[i]];
        if (v->sample[i].rms == 0 || !shape_equal(row->shape, entry->shape)) continue;
        double apart = distance(&s, &v->sample[i]);
        if (apart < least) least = apart, found = row->name;
    }
    return found;
}

static const char *meant_by_name(const compare_result_t *r, const vacant_t *v,
                                 trace_file_t *candidate, size_t index) {
    const trace_entry_t *entry = trace_file_at(candidate, index);
    const char **names = xcalloc(v->count + 1, sizeof *names);
    shape_t *shapes = xcalloc(v->count + 1, sizeof *shapes);
    for (size_t i = 0; i < v->count; i++) {
        names[i] = r->row[v->row[i]].name;
        shapes[i] = r->row[v->row[i]].shape;
    }
    const char *found = name_suggest(entry->name, entry->shape, names, shapes, v->count);
    free(names);
    free(shapes);
    return found;
}

static void suggest(compare_result_t *r, trace_file_t *candidate, const truths_t *truths,
                    const size_t *extra_at) {
    r->meant = xcalloc(r->extras + 1, sizeof *r->meant);
    if (!r->extras) return;
    vacant_t v = vacant_rows(r, truths);
    for (size_t i = 0; v.count > 0 && i < r->extras; i++) {
        const char *name = meant_by_value(r, &v, candidate, extra_at[i]);
        r->meant[i] = (compare_meant_t){name, name != NULL};
        if (!name && i < BY_NAME) r->meant[i].name = meant_by_name(r, &v, candidate, extra_at[i]);
    }
    free(v.row);
    free(v.sample);
}

/* Nothing in common: say what the candidate has, and what it probably means. */
static int nothing_in_common(const compare_result_t *r, trace_file_t *candidate, err_t *err) {
    const char *path = trace_file_path(candidate);
    if (trace_file_count(candidate) == 0) return err_set(err, "%s: the trace is empty", path);
    size_t first = 0; /* one whose numbers are known, if there is one */
    for (size_t i = r->extras; i-- > 0;)
        if (r->meant[i].by_value) first = i;
    const char *name = r->extras ? r->extra[first] : trace_file_at(candidate, 0)->name;
    const char *meant = r->extras ? r->meant[first].name : NULL;
    const char *why = !meant                     ? ""
                      : r->meant[first].by_value ? ", which holds the numbers of '"
                                                 : ", perhaps '";
    return err_set(
        err,
        "%s: no tap has a name that the reference knows; there is '%.120s'%s%.120s%s. Dump "
        "under the documented names or give --map.",
        path, name, why, meant ? meant : "", meant ? "'" : "");
}

/* ---- both -------------------------------------------------------------------------------------------- */

int compare_match(compare_result_t *r, trace_file_t *candidate, const compare_options_t *options,
                  const truths_t *truths, size_t *source, err_t *err) {
    size_t *extra_at = xcalloc(trace_file_count(candidate) + 1, sizeof *extra_at);
    int status = match(r, candidate, options, source, extra_at, err);
    if (!status) suggest(r, candidate, truths, extra_at);
    if (!status && r->compared == 0) status = nothing_in_common(r, candidate, err);
    free(extra_at);
    if (status) return -1;
    r->complete = options->complete;
    return 0;
}
