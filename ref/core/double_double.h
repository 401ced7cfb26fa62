/* double_double.h - a number as the unevaluated sum of two doubles, hi + lo with |lo| <= ulp(hi): about 106
 * bits.
 *
 * Built from +, -, * and / of IEEE 754 alone, each rounded to nearest (core/real.h refuses compilers that do
 * otherwise). What one rounding loses is itself a double and can be computed:
 *
 *   sum       s = fl(a + b); with a' = s - b and b' = s - a', a + b = s + ((a - a') + (b - b'))
 *             (Knuth, The Art of Computer Programming 2, 4.2.2, theorem B); with |a| >= |b| simply
 *             a + b = s + (b - (s - a)) (Dekker 1971, "A floating-point technique for extending the
 *             available precision")
 * product   a = a1 + a2 with at most 26 bits each: a1 = c - (c - a), c = fl((2^27 + 1) a). The four
 * products of
 *             the halves are exact, and so is the sum of what they leave of fl(a b) (Dekker, the same paper)
 *
 * No operand may be so large that 2^28 times it overflows, nor a product so small that its low part
 * underflows: callers keep numbers between 2^-900 and 2^900. */
#ifndef MOLE_CORE_DOUBLE_DOUBLE_H
#define MOLE_CORE_DOUBLE_DOUBLE_H

#include "core/real.h"

typedef struct {
    double hi, lo;
} dd_t;

/* a + b exactly; |a| >= |b|, or a is 0 */
static inline dd_t dd_ordered_sum(double a, double b) {
    double sum = a + b;
    return (dd_t){sum, b - (sum - a)};
}

/* a + b exactly */
static inline dd_t dd_sum(double a, double b) {
    double sum = a + b, of_a = sum - b, of_b = sum - of_a;
    return (dd_t){sum, (a - of_a) + (b - of_b)};
}

/* The upper half of a's bits. */
static inline double dd_upper(double a) {
    double c = 0x1.0000002p27 * a;
    return c - (c - a);
}

/* a b exactly */
static inline dd_t dd_product(double a, double b) {
    double a1 = dd_upper(a), a2 = a - a1, b1 = dd_upper(b), b2 = b - b1;
    double product = a * b;
    return (dd_t){product, ((a1 * b1 - product) + a1 * b2 + a2 * b1) + a2 * b2};
}

/* a b, within 2^-102 of itself */
static inline dd_t dd_times(dd_t a, dd_t b) {
    dd_t p = dd_product(a.hi, b.hi);
    return dd_ordered_sum(p.hi, p.lo + (a.hi * b.lo + a.lo * b.hi));
}

/* a / b, within 2^-100 of itself: the quotient of the upper parts, and what it leaves divided once more */
static inline dd_t dd_quotient(dd_t a, dd_t b) {
    double quotient = a.hi / b.hi;
    dd_t p = dd_product(quotient, b.hi);
    double rest = ((a.hi - p.hi) - p.lo) + (a.lo - quotient * b.lo);
    return dd_ordered_sum(quotient, rest / b.hi);
}

#endif
