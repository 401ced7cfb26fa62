/* fingerprint.h - a tensor too large to keep, known by a few numbers (docs/golden-format.md).
 *
 *   statistics   mean, standard deviation (over N), min, max, norm = sqrt(sum x^2)
 *   values       those at min(32, N) positions: all, or k -> (frac(k golden) N), k = 0..31, in integers:
 *                ((k * 0x9E3779B97F4A7C15 mod 2^64) / 2^32 * N) / 2^32, rounded down twice
 *
 * Positions are flat indices, row-major in torch's order of the shape. */
#ifndef MOLE_TRACE_FINGERPRINT_H
#define MOLE_TRACE_FINGERPRINT_H

#include "core/tap.h"
#include "trace/diff.h"

enum { FINGERPRINT_VALUES = 32, FINGERPRINT_STATISTICS = 5 };

typedef struct {
    size_t count; /* of values */
    double mean, deviation, least, most, norm;
    double value[FINGERPRINT_VALUES];
} fingerprint_t;

/* Position k, k < min(32, count); count < 2^32. */
size_t fingerprint_position(size_t k, size_t count);

/* Of a tensor as a tap shows it. A NaN or Inf anywhere makes mean, deviation and norm not finite. */
fingerprint_t fingerprint_of(const real_t *x, view_t view);

/* The fingerprint that a case holds: `statistics` (5), `values` (32), of a tensor of `count` numbers. */
fingerprint_t fingerprint_read(const double *statistics, const double *values, size_t count);

/* What a comparison can say of two fingerprints of a tensor of `count` numbers, in the form of a whole one:
 *   max_abs   the largest difference of a value, mean, deviation, least or most; norm: / sqrt(count)
 *   rms       the largest of: the rms difference of the values; the differences of mean, deviation and
 *             norm / sqrt(count), none of which can exceed the rms error of the tensor; those of least and
 *             most / 16, since the error of one number is rarely more than that many times the rms
 *   cosine    1; worst, candidate_at, truth_at: of the values
 * storage_floor is estimated from the values. A mismatch of NaN or Inf makes max_abs and rms Inf. */
diff_t fingerprint_diff(const fingerprint_t *candidate, const fingerprint_t *truth, size_t count);

#endif
