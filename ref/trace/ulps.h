/* ulps.h - a histogram of errors in units of the last place. */
#ifndef MOLE_TRACE_ULPS_H
#define MOLE_TRACE_ULPS_H

#include <stddef.h>
#include <stdint.h>

/* Sixteen buckets an octave from 2^-8 to 2^56 units, and one for no error at all. */
enum { ULP_OCTAVES = 64, ULP_PER_OCTAVE = 16, ULP_LOWEST = -8 };

/* Starts as {0}. */
typedef struct {
    uint64_t bucket[ULP_OCTAVES * ULP_PER_OCTAVE + 1], count;
} ulps_t;

/* Count |candidate - truth| in units of the last place of truth: u 2^e for |truth| in [2^(e-1), 2^e), u being
 * the unit roundoff, a power of two; 2^-126 u for 0. Errors that are not finite are left out. */
void ulps_add(ulps_t *histogram, const double *candidate, const double *truth, size_t count,
              double unit);
/* The upper edge of the bucket that holds the 99th percentile; 0 for no error. */
double ulps_p99(const ulps_t *histogram);

#endif
