/* fixture.h - what a test of an operation needs: numbers from a seed, buffers that free themselves,
 * both memory orders, a comparison with a stated bound, and a way to see a contract break.
 *
 * Nothing here uses ref/ops: the change of memory order, for one, is written anew. */
#ifndef MOLE_TESTS_FIXTURE_H
#define MOLE_TESTS_FIXTURE_H

#include "core/real.h"
#include "unit.h"

/* Half the distance from 1 to the next number: the largest relative error of one rounding. */
#ifdef MOLE_F64
#define UNIT 0x1p-53
#else
#define UNIT 0x1p-24
#endif
#define UNIT64 0x1p-53

/* Memory that lives until fixture_free, the teardown of every test that uses this file. Each
 * block is its own malloc, so that the address sanitizer sees a step over its end. */
void *fixture_bytes(size_t bytes);
int fixture_free(void **state);
/* A cmocka test with that teardown. */
#define fixture_test(f) cmocka_unit_test_teardown(f, fixture_free)

/* n numbers uniform in [-scale, scale), exact in float32: the same for the same seed on every
 * machine. */
double *fixture_random(size_t n, uint64_t seed, double scale);
/* n numbers, all NaN: an output that was not written shows. */
real_t *fixture_blank(size_t n);

/* Copies into fresh memory; `last` is the channels-last form of a (B,C,P) tensor. NULL gives
 * NULL. */
real_t *fixture_reals(const double *x, size_t n);
double *fixture_doubles(const real_t *x, size_t n);
real_t *fixture_reals_last(const double *x, size_t B, size_t C, size_t P);
double *fixture_doubles_last(const real_t *x, size_t B, size_t C, size_t P);

/* Fails the test unless for every i |got[i] - truth[i]| <= UNIT |truth[i]| + spread magnitude[i]
 * that is: one rounding of the result, and `spread` for what went before it. magnitude NULL:
 * |truth|. Equal Infs and NaN for NaN agree. printf-style name of the case. */
void fixture_close(const double *got, const double *truth, const double *magnitude, double spread,
                   size_t n, const char *name, ...) __attribute__((format(printf, 6, 7)));

/* Fails the test unless call() ends its process by SIGABRT, having said `message` on stderr. */
void fixture_aborts(void (*call)(void), const char *message);

#endif
