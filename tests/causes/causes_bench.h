/* causes_bench.h - a culprit on the bench: numbers made by the tests, other taps from a table, and
 * the question which cause is named. */
#ifndef MOLE_TESTS_CAUSES_BENCH_H
#define MOLE_TESTS_CAUSES_BENCH_H

#include "../fixture.h"
#include "../slow.h"
#include "causes/causes.h"

/* The culprit under test; bench_start empties it. */
extern culprit_t bench;

int bench_open(void **state);
int bench_close(void **state);
/* A cmocka test with both. */
#define bench_test(f) cmocka_unit_test_setup_teardown(f, bench_open, bench_close)

/* A new culprit of this name and shape, with these expected numbers (kept by reference). */
void bench_start(const char *name, shape_t shape, const double *expected);
/* The layer and its input. */
void bench_module(const module_t *module, const double *input, shape_t shape);
/* Another tap of the candidate's (kept by reference). */
void bench_tap(const char *name, shape_t shape, const double *x);

/* The candidate is x, each number with a rounding error of its own of the build's precision. Fails
 * the test unless the cause has this kind, and a text that holds `part` (NULL: any), and unless it
 * explains all; a `part` with "near, not" or "remains": unless it explains a part. kind "": none. */
void bench_expect(const double *x, const char *kind, const char *part);
/* The kind that is found, without judging, and then its sentence; bench_exactly: of x without rounding
 * on top. No sentence may be a question. */
const char *bench_kind(const double *x);
const char *bench_exactly(const double *x);
const char *bench_text(void);

double *bench_zeros(size_t count);
double *bench_copy(const double *x, size_t count);

#endif
