/* tally.h - a tensor's numbers in a few figures, and how often each size occurs.
 *
 * Figures are those of the finite numbers; NaN and Inf are counted apart. Numbers come in pieces of any
 * size. Nothing overflows or vanishes on the way, whatever the numbers: sums are kept in units of the
 * largest, a power of two. */
#ifndef MOLE_TRACE_TALLY_H
#define MOLE_TRACE_TALLY_H

#include <stddef.h>

typedef struct {
    size_t count, nan, inf, zeros; /* count: all of them */
    double min, max;               /* NaN without a finite number, as are the following */
    double mean;
    double deviation; /* sqrt(mean (x - mean)^2): divides by N, as torch.std(correction=0) */
    double norm;      /* sqrt(sum x^2) */
} tally_t;

typedef struct {
    tally_t seen;    /* counts, min, max */
    int exponent;    /* the unit of the following is 2^exponent */
    double mean, m2; /* of the finite ones; the sum of (x - mean)^2 (Chan, Golub, LeVeque 1979) */
} tally_state_t;

/* Start with a zeroed state, ask at any time. */
void tally_add(tally_state_t *state, const double *x, size_t count);
tally_t tally_result(const tally_state_t *state);
size_t tally_finite(const tally_t *tally);

/* How many of the finite numbers lie in each of HISTOGRAM_BINS equal parts of [low, high], whose ends are
 * inside. Of low = high all are in the first part. */
enum { HISTOGRAM_BINS = 16 };
typedef struct {
    double low, high;
    size_t bin[HISTOGRAM_BINS];
} histogram_t;

/* Zeroed bins and finite ends first; x within them, or not finite. */
void histogram_add(histogram_t *histogram, const double *x, size_t count);
/* Where part i begins; i = HISTOGRAM_BINS: high. */
double histogram_edge(const histogram_t *histogram, size_t i);

#endif
