/* fmath.h - the only door to libm's transcendental functions.
 *
 * No other file may call exp, log, sin, cos, erf or tanh: replacing fmath.c replaces them all, which is
 * what a build that promises equal bits on every machine needs. Arguments and results are double in
 * both builds; a float result is rounded once, at its store. */
#ifndef MOLE_CORE_FMATH_H
#define MOLE_CORE_FMATH_H

double fmath_exp(double x);
double fmath_log(double x);
double fmath_log1p(double x);
double fmath_sin(double x);
double fmath_cos(double x);
double fmath_erf(double x);

/* 1 / (1 + exp(-x)), without overflow for any x. */
double fmath_sigmoid(double x);

#endif
