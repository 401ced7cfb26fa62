/* causes_norm.h - a norm with everything that ports get wrong as a number. */
#ifndef MOLE_CAUSES_CAUSES_NORM_H
#define MOLE_CAUSES_CAUSES_NORM_H

#include "causes/causes_hunt.h"

/* LayerNorm is GroupNorm with one group and one pixel: B samples of C channels of P pixels. */
typedef struct {
    size_t B, C, P, groups;
    double eps;
    size_t ddof;  /* 1: the variance divides by n - 1 */
    bool outside; /* eps is added to the deviation, not to the variance */
    bool weight, bias;
    bool centred;     /* false: the mean is not taken off (RMS norm) */
    bool interleaved; /* channel c belongs to group c % groups */
    const real_t *w, *b;
} norm_way_t;

/* The way it should be; false when the culprit is not a norm's output with a known input. */
bool hunt_norm(const hunt_t *h, norm_way_t *n);

#endif
