/* fmath.c - see fmath.h. */
#include "core/fmath.h"

#include <math.h>

double fmath_exp(double x) {
    return exp(x);
}
double fmath_log(double x) {
    return log(x);
}
double fmath_log1p(double x) {
    return log1p(x);
}
double fmath_sin(double x) {
    return sin(x);
}
double fmath_cos(double x) {
    return cos(x);
}
double fmath_erf(double x) {
    return erf(x);
}

double fmath_sigmoid(double x) {
    if (x >= 0) return 1.0 / (1.0 + exp(-x));
    double e =
        exp(x); /* x < 0: e is below 1, so nothing overflows and small results keep their bits */
    return e / (1.0 + e);
}
