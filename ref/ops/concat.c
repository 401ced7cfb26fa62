/* concat.c - two tensors side by side in the channels. */
#include <string.h>

#include "ops/ops.h"

void concat(real_t *out, const real_t *a, const real_t *b, size_t M, size_t Ca, size_t Cb) {
    for (size_t m = 0; m < M; m++) {
        memcpy(out + m * (Ca + Cb), a + m * Ca, Ca * sizeof *out);
        memcpy(out + m * (Ca + Cb) + Ca, b + m * Cb, Cb * sizeof *out);
    }
}
