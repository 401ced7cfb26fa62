/* own_sums.h - what the sums of a module lose in float32, term by term in one accumulator: derived. */
#ifndef MOLE_COMPARE_OWN_SUMS_H
#define MOLE_COMPARE_OWN_SUMS_H

#include "compare/gates.h"
#include "compare/passes.h"

/* The rms of a rounding to float32, relative to the number: uniform in half a last place, whose size is
 * between 2^-25 and 2^-24 of it; over all mantissas 0.735 / sqrt(3) of the larger. */
#define OWN_ROUNDING (0.425 * 0x1p-24)

/* What was seen on the way to a tap. */
typedef struct {
    char name[512]; /* of the module whose input came last */
    double *input;  /* that, in torch's order: the truth */
    size_t room;
    shape_t shape;
    size_t attended; /* tokens that the attention before it looks at */
    gate_mean_t gate;
} own_input_t;

/* The rms error of a tap (x: its truth in torch's order), whichever end its sums begin at, and their length;
 * {0} for a tap without sums of its own. Sums are taken on a few outputs, spread over the tap. */
typedef struct {
    double rms;
    size_t length;
} own_sums_t;
own_sums_t own_sum_error(const comparison_t *c, own_input_t *in, const char *tap, const double *x,
                         shape_t shape);

#endif
