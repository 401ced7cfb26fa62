/* match_scores.c - how well an entry's numbers are a row's in each form that it may have: a few places,
 * spread over the tensor. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "compare/match.h"

enum { PLACES = MATCH_SPREAD, WHOLE = 1 << 15, GAP = 64 };

typedef struct {
    size_t count;         /* places */
    size_t flat[PLACES];  /* in the row, ascending */
    double truth[PLACES]; /* there */
    double variance;      /* of those; 0: they say nothing */
} places_t;

static void choose_places(places_t *p, size_t count) {
    p->count = count < PLACES ? count : PLACES;
    for (size_t k = 0; k < p->count; k++) p->flat[k] = match_place(count, k);
}

static void read_truth(places_t *p, const match_t *m, size_t row) {
    const truths_t *t = m->truths;
    double mean = 0, sum = 0;
    choose_places(p, shape_count(m->r->row[row].shape));
    p->variance = 0;
    for (size_t k = 0; k < p->count; k++) {
        if (t->read(t->who, t->index[row], p->flat[k], 1, &p->truth[k], NULL)) return;
        mean += p->truth[k] / (double)p->count;
    }
    for (size_t k = 0; k < p->count; k++) sum += (p->truth[k] - mean) * (p->truth[k] - mean);
    if (isfinite(sum)) p->variance = sum / (double)p->count;
}

/* Of axis 0, `each` numbers a row, this one alone. */
static void keep_places(places_t *p, size_t each, size_t only) {
    size_t kept = 0;
    for (size_t k = 0; k < p->count; k++) {
        if (p->flat[k] / each != only) continue;
        p->flat[kept] = p->flat[k];
        p->truth[kept++] = p->truth[k];
    }
    p->count = kept;
}

/* ---- the candidate's numbers at some places
 * --------------------------------------------------------------- */

/* Stored places, ascending and once each, with the numbers there. */
typedef struct {
    size_t *place;
    double *x;
    size_t count;
} gathered_t;

static int by_size(const void *a, const void *b) {
    size_t x = *(const size_t *)a, y = *(const size_t *)b;
    return (x > y) - (x < y);
}

static void sort_places(gathered_t *g) {
    size_t kept = 0;
    qsort(g->place, g->count, sizeof *g->place, by_size);
    for (size_t i = 0; i < g->count; i++)
        if (!kept || g->place[i] != g->place[kept - 1]) g->place[kept++] = g->place[i];
    g->count = kept;
}

/* Reads forward, places that lie near each other at once; what cannot be read is NaN. */
static void gather(gathered_t *g, const match_t *m, size_t entry, size_t stored) {
    size_t most = stored <= WHOLE ? stored : PLACES * GAP, gap = stored <= WHOLE ? stored : GAP;
    double *run = xmalloc(most * sizeof *run);
    for (size_t i = 0, n; i < g->count; i += n) {
        size_t first = g->place[i], last = first;
        for (n = 1;
             i + n < g->count && g->place[i + n] - last <= gap && g->place[i + n] - first < most;
             n++)
            last = g->place[i + n];
        int status = trace_file_read(m->candidate, entry, first, last - first + 1, run, NULL);
        for (size_t k = i; k < i + n; k++)
            g->x[k] = status ? (double)NAN : run[g->place[k] - first];
    }
    free(run);
}

static double number_at(const gathered_t *g, size_t place) {
    const size_t *found = bsearch(&place, g->place, g->count, sizeof place, by_size);
    return g->x[found - g->place];
}

/* ---- scores
 * ------------------------------------------------------------------------------------------------ */

/* Half the mean square of the difference in units of the truth's variance, no place more than 1: near 0
 * where the numbers are the row's, and at 2/3 or so where they are other numbers of its kind. One wild
 * number is one place. */
static float score(const places_t *p, const double *x) {
    double sum = 0, finite = 0;
    for (size_t k = 0; k < p->count; k++) {
        double d = x[k] - p->truth[k];
        if (!isfinite(x[k])) continue;
        finite++;
        sum += fmin(1, d * d / (2 * p->variance));
    }
    return 2 * finite > (double)p->count ? (float)(sum / finite) : NAN;
}

void match_scores(const match_t *m, size_t entry, size_t row, const form_t *form, size_t forms,
                  size_t only, float *scores) {
    places_t p;
    shape_t shape = m->r->row[row].shape, stored = trace_file_at(m->candidate, entry)->shape;
    read_truth(&p, m, row);
    if (only != NO_ROW) keep_places(&p, shape_count(shape) / shape.dim[0], only);
    for (size_t f = 0; f < forms; f++) scores[f] = NAN;
    if (!(p.variance > 0) || !p.count) return;
    size_t *place = xmalloc((forms + 1) * PLACES * sizeof *place);
    gathered_t g = {xmalloc((forms + 1) * PLACES * sizeof *g.place), NULL, forms * p.count};
    for (size_t f = 0; f < forms; f++) {
        trace_layout_t layout = form_layout(&form[f], shape, stored);
        for (size_t k = 0; k < p.count; k++)
            place[f * p.count + k] = trace_layout_place(&layout, p.flat[k]);
    }
    memcpy(g.place, place, g.count * sizeof *place);
    sort_places(&g);
    g.x = xmalloc((g.count + 1) * sizeof *g.x);
    gather(&g, m, entry, shape_count(stored));
    for (size_t f = 0; f < forms; f++) {
        double x[PLACES];
        for (size_t k = 0; k < p.count; k++) x[k] = number_at(&g, place[f * p.count + k]);
        scores[f] = score(&p, x);
    }
    free(place);
    free(g.place);
    free(g.x);
}
