/* statistics.h - what is known of a tensor whose numbers nobody kept: some of its mean, deviation, least and
 * largest number, norm, and values at the places of a fingerprint (trace/fingerprint.h).
 *
 * Whoever wrote them may have left fields out, divided the deviation by N - 1, rounded the results to the
 * tensor's type, summed in float32, and printed few digits. What that can move is known and allowed for
 * (docs/numbers.md, "Statistics in place of tensors"). */
#ifndef MOLE_TRACE_STATISTICS_H
#define MOLE_TRACE_STATISTICS_H

#include <stdbool.h>
#include <stddef.h>

#include "core/err.h"
#include "trace/fingerprint.h"

typedef enum {
    STATISTIC_MEAN,
    STATISTIC_DEVIATION,
    STATISTIC_LEAST,
    STATISTIC_MOST,
    STATISTIC_NORM,
    STATISTICS
} statistic_t;

/* "mean", "deviation", "min", "max", "norm". */
const char *statistic_name(statistic_t statistic);

typedef struct {
    bool has[STATISTICS];
    double value[STATISTICS];
    size_t places; /* of `at`: min(32, N), or 0 where the values are not known */
    double at[FINGERPRINT_VALUES];
    size_t not_finite; /* NaN and Inf among the numbers: then nothing else is known */
    bool has_shape;    /* of the entry; else it is (N), or nothing is known of N either */
    bool has_count;
    double printed[STATISTICS],
        at_printed[FINGERPRINT_VALUES]; /* half of the last digit that was written */
    double sums, results; /* unit roundoffs: of the sums, and of what they were rounded to */
} statistics_t;

/* Reads numbers first .. first + count of a tensor. 0, or -1 and err. */
typedef int statistics_reader_t(void *who, size_t index, size_t first, size_t count, double *out,
                                err_t *err);

/* All of a tensor of `count` numbers, read once from front to back. 0, or -1 and err. */
int statistics_of(statistics_t *s, statistics_reader_t *read, void *who, size_t index, size_t count,
                  err_t *err);

/* From how numbers are written: fills printed, sums and results of the taps of one file. */
void statistics_digits(statistics_t *s, size_t taps);

/* How far each statistic may be off by what its writer did, for a tensor of `count` numbers. */
void statistics_off(const statistics_t *s, size_t count, double off[STATISTICS]);

/* NULL, or what contradicts itself, in fresh memory: "the deviation is -1, below zero". count: of the
 * tensor; SIZE_MAX where it is not known. */
char *statistics_defect(const statistics_t *s, size_t count);

/* Numbers of the tensor itself (values, least, largest), with the digits that were printed away undone, for
 * finding the grid that they lie on. x has room for FINGERPRINT_VALUES + 2; returns how many. */
size_t statistics_elements(const statistics_t *s, double *x);

#endif
