/* fmath.h - exp, log, log1p, sin, cos, erf, erfc and what is made of them, for single numbers.
 *
 * No file calls libm's functions of these names: each libm has its own last bit, and glibc's even depends
 * on the processor. These use +, -, * and / of double alone, and so give the same bits on every machine.
 * Arguments and results are double in both builds; a float result is rounded once, at its store.
 *
 * Each is within 0.6 units in the last place (ULP) of the function's value for every argument, subnormal
 * results included; the derivations stand in fmath.c, what was measured in docs/numbers.md. NaN gives that
 * NaN. -0 gives the function's limit with its sign. No flag of the floating-point unit has a meaning. */
#ifndef MOLE_CORE_FMATH_H
#define MOLE_CORE_FMATH_H

double fmath_exp(double x);   /* Inf above 709.78, 0 below -745.13 */
double fmath_log(double x);   /* of 0: -Inf; below 0: NaN */
double fmath_log1p(double x); /* log(1 + x); of -1: -Inf; below: NaN */
double fmath_sin(double x);   /* of any x, 1e300 too; of +-Inf: NaN */
double fmath_cos(double x);
double fmath_erf(double x);  /* 2 / sqrt pi times the integral of exp(-t^2) from 0 to x */
double fmath_erfc(double x); /* 1 - erf(x), without the cancellation */

/* 1 / (1 + exp(-x)) */
double fmath_sigmoid(double x);
/* x / (1 + exp(-slope x)), slope 1 to 1.8: SiLU with 1, quick GELU with 1.702. Of -Inf: -0, its limit; of
 * Inf: Inf. */
double fmath_gated(double x, double slope);
/* x/2 erfc(-x / sqrt 2): GELU. Of -Inf: -0, its limit; of Inf: Inf. */
double fmath_gelu(double x);

/* sqrt(a^2 + b^2), within 2 ULP, without overflow on the way */
double fmath_hypot(double a, double b);

#endif
