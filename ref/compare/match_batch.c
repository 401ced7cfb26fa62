/* match_batch.c - a candidate that runs the rows of a batch one after the other (guidance in two passes) has
 * one of them: which it is, by the numbers of the trace as a whole. */
#include <math.h>
#include <stdlib.h>

#include "compare/match.h"

/* A row fits below NEAR, and is the only one where the others are TIES times as far. Of more rows than MOST
 * nothing is tried; so many VOTES are enough. */
#define NEAR 0.05
enum { TIES = 4, MOST = 16, VOTES = 64 };

/* A tensor of `stored` numbers may be one row of axis 0 of another. */
static bool is_one_of(shape_t shape, size_t stored) {
    return shape.ndim > 0 && shape.dim[0] > 1 && stored * shape.dim[0] == shape_count(shape);
}

/* Nearly all tensors of a batch are stored as one row of it: a port that has the others elsewhere has left
 * none of them out here. */
static bool is_row_by_row(const match_t *m) {
    size_t one = 0, whole = 0;
    for (size_t i = 0; i < m->r->rows; i++) {
        shape_t shape = m->r->row[i].shape;
        if (m->source[i] == NO_ROW || shape.ndim == 0 || shape.dim[0] < 2) continue;
        size_t stored = trace_file_at(m->candidate, m->source[i])->count;
        one += is_one_of(shape, stored);
        whole += stored == shape_count(shape);
    }
    return one > 0 && 10 * whole <= one;
}

/* The one of `rows` distances that is near, and nearer than all others; or NO_ROW. */
static size_t nearest(const double distance[MOST], size_t rows) {
    size_t found = NO_ROW;
    for (size_t r = 0; r < rows; r++)
        if (distance[r] < (found == NO_ROW ? NEAR : distance[found])) found = r;
    for (size_t r = 0; found != NO_ROW && r < rows; r++)
        if (r != found && !(distance[r] > TIES * distance[found] + 1e-12)) return NO_ROW;
    return found;
}

/* How far an entry is from one row of axis 0 of a row, in whichever form fits best. */
static double by_numbers(const match_t *m, size_t entry, size_t row, size_t r) {
    form_t form[FORMS_MOST];
    float score[FORMS_MOST];
    double least = NAN;
    size_t forms =
        layout_forms(form, m->r->row[row].shape, trace_file_at(m->candidate, entry)->shape, true);
    match_scores(m, entry, row, form, forms, r, score);
    for (size_t f = 0; f < forms; f++)
        if (!(least <= score[f])) least = score[f];
    return least;
}

/* The same of statistics: the mean square by which they differ, in units of the deviation. */
static double by_statistics(const match_t *m, size_t entry, size_t row, size_t r) {
    const statistics_t *mine = trace_file_statistics(m->candidate, entry);
    size_t count = trace_file_at(m->candidate, entry)->count;
    truth_t truth = {m->truths->read, m->truths->who, m->truths->index[row]};
    statistics_t exact;
    double sum = 0, fields = 0;
    if (compare_statistics_of(&exact, &truth, r * count, count, NULL) || exact.not_finite)
        return NAN;
    double unit = exact.value[STATISTIC_DEVIATION], root = sqrt((double)count);
    for (int k = 0; k < STATISTICS; k++) {
        double d = (mine->value[k] - exact.value[k]) / (k == STATISTIC_NORM ? root : 1) / unit;
        if (mine->has[k]) sum += d * d, fields++;
    }
    for (size_t k = 0; k < mine->places && mine->places == exact.places; k++) {
        double d = (mine->at[k] - exact.at[k]) / unit;
        sum += d * d, fields++;
    }
    return fields > 0 && unit > 0 ? sum / fields : NAN;
}

void match_batch(match_t *m) {
    size_t votes[MOST] = {0}, cast = 0;
    m->batch_row = NO_ROW;
    if (!is_row_by_row(m)) return;
    for (size_t i = 0; i < m->r->rows && cast < VOTES; i++) {
        double distance[MOST];
        size_t entry = m->source[i], rows = m->r->row[i].shape.dim[0];
        if (entry == NO_ROW || rows > MOST) continue;
        if (!is_one_of(m->r->row[i].shape, trace_file_at(m->candidate, entry)->count)) continue;
        for (size_t r = 0; r < rows; r++)
            distance[r] =
                m->r->statistics ? by_statistics(m, entry, i, r) : by_numbers(m, entry, i, r);
        size_t found = nearest(distance, rows);
        if (found == NO_ROW) continue;
        cast++;
        if (++votes[found] > (m->batch_row == NO_ROW ? 0 : votes[m->batch_row]))
            m->batch_row = found;
    }
}

bool match_is_batch_row(const match_t *m, shape_t shape, size_t stored) {
    return m->batch_row != NO_ROW && is_one_of(shape, stored) && m->batch_row < shape.dim[0];
}

void match_note_batch(const match_t *m) {
    const compare_row_t *example = NULL;
    size_t count = 0;
    for (size_t i = 0; i < m->r->rows; i++)
        if (m->r->row[i].one_row && !count++) example = &m->r->row[i];
    if (count)
        compare_note(m->r,
                     xasprintf("rows: %zu tap%s one row where the reference has %zu: by the "
                               "numbers it is row %zu, counted from 0, and %s held against "
                               "that alone: '%.120s'",
                               count, count == 1 ? " has" : "s have", example->shape.dim[0],
                               example->batch_row, count == 1 ? "was" : "were", example->name));
}
