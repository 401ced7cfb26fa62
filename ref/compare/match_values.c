/* match_values.c - which row an entry is by its numbers, or by the words in its name. */
#include <math.h>
#include <stdlib.h>

#include "compare/match.h"

/* By likeness of names only the first few are looked at, since it costs a comparison of words with every
 * name. */
enum { BY_NAME = 32 };

typedef int reader_t(const match_t *m, size_t index, size_t first, size_t count, double *out);

static int read_truth(const match_t *m, size_t row, size_t first, size_t count, double *out) {
    return m->truths->read(m->truths->who, m->truths->index[row], first, count, out, NULL);
}

static int read_entry(const match_t *m, size_t entry, size_t first, size_t count, double *out) {
    return trace_file_read(m->candidate, entry, first, count, out, NULL);
}

static void sample(sample_t *s, const match_t *m, size_t index, size_t count, reader_t *read) {
    double mean = 0, sum = 0;
    int status = 0;
    s->count = count < MATCH_SPREAD ? count : MATCH_SPREAD;
    if (count <= MATCH_SPREAD)
        status = count ? read(m, index, 0, count, s->x) : 0;
    else
        for (size_t b = 0; !status && b < MATCH_BLOCKS; b++)
            status = read(m, index, match_block(count, b), MATCH_BLOCK, s->x + b * MATCH_BLOCK);
    for (size_t i = 0; !status && i < s->count; i++) mean += s->x[i] / (double)s->count;
    for (size_t i = 0; !status && i < s->count; i++) sum += (s->x[i] - mean) * (s->x[i] - mean);
    s->variance = !status && s->count > 0 && isfinite(sum) ? sum / (double)s->count : 0;
}

void sample_truth(sample_t *s, const match_t *m, size_t row) {
    sample(s, m, row, shape_count(m->r->row[row].shape), read_truth);
}

void sample_entry(sample_t *s, const match_t *m, size_t entry) {
    sample(s, m, entry, trace_file_at(m->candidate, entry)->count, read_entry);
}

double sample_distance(const sample_t *candidate, const sample_t *truth) {
    double sum = 0, most = truth->variance * (double)truth->count / 256;
    if (!(truth->variance > 0) || !(candidate->variance > 0)) return INFINITY;
    for (size_t i = 0; i < truth->count && sum <= most; i++)
        sum += (candidate->x[i] - truth->x[i]) * (candidate->x[i] - truth->x[i]);
    return sum <= most ? sum / most : INFINITY;
}

int match_same(const match_t *m, size_t entry, size_t row) {
    sample_t candidate, truth;
    if (!shape_equal(trace_file_at(m->candidate, entry)->shape, m->r->row[row].shape)) return -1;
    sample_entry(&candidate, m, entry);
    sample_truth(&truth, m, row);
    if (!(candidate.variance > 0) || !(truth.variance > 0)) return -1;
    return sample_distance(&candidate, &truth) < 1;
}

/* ---- what a name that does not match perhaps stands for --------------------------------------------- */

/* The rows that nobody stands for, with the first numbers of each. */
typedef struct {
    size_t *row;
    sample_t *sample;
    size_t count;
} vacant_t;

static vacant_t vacant_rows(const match_t *m) {
    size_t rows = m->r->rows;
    vacant_t v = {xcalloc(rows + 1, sizeof *v.row), xcalloc(rows + 1, sizeof *v.sample), 0};
    for (size_t i = 0; i < rows; i++) {
        if (m->source[i] != NO_ROW) continue;
        sample_truth(&v.sample[v.count], m, i);
        v.row[v.count++] = i;
    }
    return v;
}

static const char *meant_by_value(const match_t *m, const vacant_t *v, size_t entry) {
    const char *found = NULL;
    double least = INFINITY;
    sample_t s;
    sample_entry(&s, m, entry);
    for (size_t i = 0; s.variance > 0 && i < v->count; i++) {
        const compare_row_t *row = &m->r->row[v->row[i]];
        if (!shape_equal(row->shape, trace_file_at(m->candidate, entry)->shape)) continue;
        double apart = sample_distance(&s, &v->sample[i]);
        if (apart < least) least = apart, found = row->name;
    }
    return found;
}

static const char *meant_by_name(const match_t *m, const vacant_t *v, size_t index) {
    const trace_entry_t *entry = trace_file_at(m->candidate, index);
    const char **names = xcalloc(v->count + 1, sizeof *names);
    shape_t *shapes = xcalloc(v->count + 1, sizeof *shapes);
    for (size_t i = 0; i < v->count; i++) {
        names[i] = m->r->row[v->row[i]].name;
        shapes[i] = m->r->row[v->row[i]].shape;
    }
    const char *found = name_suggest(entry->name, entry->shape, names, shapes, v->count);
    free(names);
    free(shapes);
    return found;
}

void match_suggest(match_t *m, const size_t *entry) {
    compare_result_t *r = m->r;
    r->meant = xcalloc(r->extras + 1, sizeof *r->meant);
    if (!r->extras) return;
    vacant_t v = vacant_rows(m);
    for (size_t i = 0; v.count > 0 && i < r->extras; i++) {
        const char *name = meant_by_value(m, &v, entry[i]);
        r->meant[i] = (compare_meant_t){name, name != NULL};
        if (!name && i < BY_NAME) r->meant[i].name = meant_by_name(m, &v, entry[i]);
    }
    free(v.row);
    free(v.sample);
}
