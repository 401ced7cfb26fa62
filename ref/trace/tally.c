/* tally.c - see tally.h. */
#include "trace/tally.h"

#include <math.h>
#include <stdbool.h>

size_t tally_finite(const tally_t *t) {
    return t->count - t->nan - t->inf;
}

/* Counts, ends, and the largest |x| of the piece; how many are finite. */
static size_t count_piece(tally_t *t, const double *x, size_t count, double *largest) {
    size_t finite = 0, before = tally_finite(t);
    *largest = 0;
    for (size_t i = 0; i < count; i++) {
        if (!isfinite(x[i])) {
            if (isnan(x[i]))
                t->nan++;
            else
                t->inf++;
            continue;
        }
        bool first = before + finite++ == 0;
        t->zeros += x[i] == 0;
        if (first || x[i] < t->min) t->min = x[i];
        if (first || x[i] > t->max) t->max = x[i];
        if (fabs(x[i]) > *largest) *largest = fabs(x[i]);
    }
    t->count += count;
    return finite;
}

/* The state's figures in a larger unit. */
static void set_unit(tally_state_t *s, double largest, bool first) {
    int exponent;
    frexp(largest, &exponent);
    if (!first && exponent <= s->exponent) return;
    s->mean = ldexp(s->mean, s->exponent - exponent);
    s->m2 = ldexp(s->m2, 2 * (s->exponent - exponent));
    s->exponent = exponent;
}

/* Mean and m2 of the piece's finite numbers in the state's unit: two passes over it. */
static void measure(const tally_state_t *s, const double *x, size_t count, size_t finite,
                    double *mean, double *m2) {
    double sum = 0, rest = 0;
    *m2 = 0;
    for (size_t i = 0; i < count; i++)
        if (isfinite(x[i])) sum += ldexp(x[i], -s->exponent);
    *mean = sum / (double)finite;
    for (size_t i = 0; i < count; i++) {
        if (!isfinite(x[i])) continue;
        double d = ldexp(x[i], -s->exponent) - *mean;
        *m2 += d * d;
        rest += d;
    }
    *mean += rest / (double)finite; /* what the first sum lost */
    *m2 -= rest * rest / (double)finite;
}

void tally_add(tally_state_t *s, const double *x, size_t count) {
    size_t before = tally_finite(&s->seen);
    double largest, mean, m2;
    size_t finite = count_piece(&s->seen, x, count, &largest);
    if (finite == 0) return;
    if (largest > 0) set_unit(s, largest, s->mean == 0 && s->m2 == 0);
    measure(s, x, count, finite, &mean, &m2);
    double all = (double)(before + finite), d = mean - s->mean;
    s->mean += d * ((double)finite / all);
    s->m2 += m2 + d * d * ((double)before / all) * (double)finite;
}

tally_t tally_result(const tally_state_t *s) {
    tally_t t = s->seen;
    double n = (double)tally_finite(&t);
    if (n == 0) {
        t.min = t.max = t.mean = t.deviation = t.norm = NAN;
        return t;
    }
    double m2 = fmax(s->m2, 0);
    t.mean = ldexp(s->mean, s->exponent);
    t.deviation = ldexp(sqrt(m2 / n), s->exponent);
    t.norm = ldexp(sqrt(m2 + n * s->mean * s->mean), s->exponent);
    return t;
}

/* ---- histogram ------------------------------------------------------------------------------------ */

/* Halves: high - low may be larger than any number. */
void histogram_add(histogram_t *h, const double *x, size_t count) {
    double width = h->high / 2 - h->low / 2;
    for (size_t i = 0; i < count; i++) {
        if (!isfinite(x[i])) continue;
        double place = width > 0 ? (x[i] / 2 - h->low / 2) / width * HISTOGRAM_BINS : 0;
        h->bin[place < HISTOGRAM_BINS ? (size_t)place : HISTOGRAM_BINS - 1]++;
    }
}

double histogram_edge(const histogram_t *h, size_t i) {
    double share = (double)i / HISTOGRAM_BINS;
    return h->low * (1 - share) + h->high * share;
}
