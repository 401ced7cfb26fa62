/* ulps.c - see ulps.h. */
#include "trace/ulps.h"

#include <math.h>
#include <string.h>

#include "core/fmath.h"

enum { LAST = ULP_OCTAVES * ULP_PER_OCTAVE };

static const double LN_2 = 0.69314718055994530942;

static uint64_t bits_of(double x) {
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static double double_of(uint64_t bits) {
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* error / (u 2^e), units = 1 / u. For nearly all numbers 2^-e is put together from its bits. */
static double distance_of(double error, double truth, double units) {
    uint64_t field = bits_of(truth) >> 52 & 2047; /* e + 1022 */
    if (field > 0 && field < 2045) return error * double_of((2045 - field) << 52) * units;
    int e = -126;
    if (truth != 0) frexp(truth, &e);
    return ldexp(error, -e) * units;
}

/* The bucket: octave, and sixteenth of it, whose lower edges in [1/2, 1) are edge[]. */
static int place_of(double distance, const double edge[ULP_PER_OCTAVE]) {
    uint64_t bits = bits_of(distance);
    int exponent = (int)(bits >> 52) - 1022,
        within = 0; /* of a subnormal -1022: the first bucket */
    double mantissa = double_of((bits & 0xFFFFFFFFFFFFFULL) | 1022ULL << 52);
    for (int step = ULP_PER_OCTAVE / 2; step; step /= 2)
        within += mantissa >= edge[within + step] ? step : 0;
    int place = 1 + (exponent - 1 - ULP_LOWEST) * ULP_PER_OCTAVE + within;
    return place < 1 ? 1 : place > LAST ? LAST : place;
}

void ulps_add(ulps_t *h, const double *candidate, const double *truth, size_t count, double unit) {
    double edge[ULP_PER_OCTAVE], units = 1 / unit;
    for (int k = 0; k < ULP_PER_OCTAVE; k++) edge[k] = 0.5 * fmath_exp(LN_2 * k / ULP_PER_OCTAVE);
    for (size_t i = 0; i < count; i++) {
        double error = fabs(candidate[i] - truth[i]);
        if (error == 0)
            h->bucket[0]++;
        else if (isfinite(error))
            h->bucket[place_of(distance_of(error, truth[i], units), edge)]++;
        else
            continue;
        h->count++;
    }
}

double ulps_p99(const ulps_t *h) {
    uint64_t wanted = h->count - h->count / 100, seen = 0;
    for (int i = 0; i <= LAST; i++) {
        seen += h->bucket[i];
        if (seen >= wanted)
            return i == 0 ? 0 : fmath_exp(LN_2 * ((double)i / ULP_PER_OCTAVE + ULP_LOWEST));
    }
    return 0;
}
