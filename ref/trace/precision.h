/* precision.h - the grids of numbers that computing types hold, and which of them a tensor lies on.
 *
 * A type with p significant bits rounds to nearest, ties to even, with unit roundoff u = 2^-p:
 *
 *   bf16  p 8    exponents of float32       f16  p 11, down to 2^-24, up to 65504
 *   tf32  p 11   exponents of float32       f32  p 24       f64  p 53
 *
 * Every bf16 number within f16's range is an f16 number, and every f16 number a tf32 number: the grid of a
 * tensor is the coarsest that holds all of its numbers. */
#ifndef MOLE_TRACE_PRECISION_H
#define MOLE_TRACE_PRECISION_H

#include <stddef.h>

typedef enum {
    PRECISION_BF16,
    PRECISION_F16,
    PRECISION_TF32,
    PRECISION_F32,
    PRECISION_F64
} precision_t;

/* "bf16", ... */
const char *precision_name(precision_t precision);
/* u. */
double precision_unit(precision_t precision);
/* x rounded to the grid; beyond its range Inf; NaN stays. */
double precision_round(precision_t precision, double x);

/* The coarsest grid that holds all of x[0 .. count). *telling: how many of the numbers could have told a
 * finer one, i.e. have a magnitude other than 0 and Inf that is no power of two; with few of them the grid
 * says nothing. */
precision_t precision_of(const double *x, size_t count, size_t *telling);

#endif
