/* ieee.c - see ieee.h. Operands are volatile: the processor computes, not the compiler. */
#include "core/ieee.h"

/* (1 + 2^-30) (1 - 2^-30) = 1 - 2^-60 rounds to 1, but for a fused multiply-add. */
static int is_fused(void) {
    volatile double a = 1 + 0x1p-30, b = 1 - 0x1p-30, one = 1;
    double of_doubles = a * b - one;
    volatile float c = 1 + 0x1p-15f, d = 1 - 0x1p-15f, unit = 1;
    float of_floats = c * d - unit;
    return of_doubles != 0 || of_floats != 0;
}

/* 1 +- less than half of its last place is 1; with more than half it is the next number. */
static int is_to_nearest(void) {
    volatile double one = 1, less = 0x1p-54, more = 0x1.8p-53;
    return one + less == 1 && -one - less == -1 && one - less / 2 == 1 && one + more > 1 &&
           -one - more < -1;
}

static int keeps_subnormals(void) {
    volatile double least = 0x1p-1022, power = 0x1p600;
    volatile float least_float = 0x1p-126f;
    volatile double half = least / 2;
    volatile float half_float = least_float / 2;
    return half != 0 && half * power == 0x1p-423 && half_float != 0;
}

int ieee_check(err_t *err) {
    const char *wrong = NULL;
    if (is_fused())
        wrong = "fuses products and sums: build with -ffp-contract=off, as the Makefile does";
    if (!is_to_nearest()) wrong = "does not round to nearest: another rounding mode is set";
    if (!keeps_subnormals()) wrong = "flushes subnormal numbers to 0: unset FTZ and DAZ";
    return wrong ? err_set(err, "this process %s; results would have other bits than elsewhere",
                           wrong)
                 : 0;
}
