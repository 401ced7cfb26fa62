/* measure.h - clocks, memory, and what to make of many measurements. Nothing here prints. */
#ifndef MOLE_BENCH_MEASURE_H
#define MOLE_BENCH_MEASURE_H

#include <stdbool.h>
#include <stddef.h>

/* Seconds of a clock that only moves forward. */
double measure_seconds(void);
/* Page faults of this process so far that needed no disk: memory touched for the first time. */
size_t measure_faults(void);
/* The most memory that this process ever had resident, in bytes. */
size_t measure_peak_bytes(void);

/* GFLOP/s of OpenBLAS itself on this machine, now: a product of 2048 x 2048 matrices of real_t, on
 * all threads, without the tiles and pieces of ops/matmul.c. */
double measure_yardstick(void);

/* "AMD EPYC ..." of /proc/cpuinfo, or "unknown". */
const char *measure_cpu(char *text, size_t size);

typedef struct {
    double median, min, max; /* median of an even number: the mean of the middle two */
} spread_t;

/* Of n >= 1 numbers. */
spread_t spread_of(const double *x, size_t n);

/* steady[r]: in round r the yardstick reached 0.85 of the best round's. Otherwise something else was running,
 * and the round does not count. Returns how many count (at least 1). */
size_t steady_rounds(bool *steady, const double *yardstick, size_t rounds);

#endif
