/* precision.c - see precision.h. */
#include "trace/precision.h"

#include <math.h>

typedef struct {
    const char *name;
    int bits;    /* p */
    int lowest;  /* the exponent of the smallest number: multiples of 2^lowest */
    double most; /* the largest number */
} grid_of_t;

static const grid_of_t grid[] = {
    [PRECISION_BF16] = {"bf16", 8, -133, 0x1.FEp127},
    [PRECISION_F16] = {"f16", 11, -24, 65504},
    [PRECISION_TF32] = {"tf32", 11, -136, 0x1.FFCp127},
    [PRECISION_F32] = {"f32", 24, -149, 0x1.FFFFFEp127},
    [PRECISION_F64] = {"f64", 53, -1074, 0x1.FFFFFFFFFFFFFp1023},
};

const char *precision_name(precision_t precision) {
    return grid[precision].name;
}

double precision_unit(precision_t precision) {
    return ldexp(1, -grid[precision].bits);
}

double precision_round(precision_t precision, double x) {
    const grid_of_t *g = &grid[precision];
    int exponent;
    if (precision == PRECISION_F64 || x == 0 || !isfinite(x)) return x;
    frexp(x, &exponent);
    int last = exponent - g->bits > g->lowest ? exponent - g->bits : g->lowest;
    double rounded = ldexp(rint(ldexp(x, -last)), last);
    return fabs(rounded) > g->most ? copysign(INFINITY, x) : rounded;
}

precision_t precision_of(const double *x, size_t count, size_t *telling) {
    precision_t found = PRECISION_BF16;
    int exponent;
    *telling = 0;
    for (size_t i = 0; i < count; i++) {
        if (x[i] == 0 || !isfinite(x[i])) continue;
        *telling += fabs(frexp(x[i], &exponent)) != 0.5;
        while (precision_round(found, x[i]) != x[i]) found++;
    }
    return found;
}
