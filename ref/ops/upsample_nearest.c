/* upsample_nearest.c - nearest-neighbour resizing by torch's index rule.
 *
 * torch's rule: twice the size takes index >> 1; any other size takes floor(index * ratio),
 * where the ratio in/out and the product are float32, cut off at the last pixel. For twice the
 * size the ratio is exactly 0.5, so the general rule gives index >> 1 by itself. The rounding
 * shows: 6 -> 74 is not floor(index * 6 / 74) everywhere. (torch 2.13's kernel for float64
 * tensors that are not channels-last takes the ratio in float64 instead. Up to 69 -> 139 that
 * changes 10 pairs of sizes, the first of them 21 -> 133, and none near twice the size, as a
 * UNet asks for.) */
#include <math.h>
#include <omp.h>
#include <string.h>

#include "core/err.h"
#include "ops/ops.h"

static size_t source_index(size_t to, size_t in, size_t out) {
    float ratio = (float)in / (float)out;
    size_t from = (size_t)floorf((float)to * ratio);
    return from < in ? from : in - 1;
}

void upsample_nearest(real_t *out, const real_t *in, size_t B, size_t C, size_t H, size_t W,
                      size_t Ho, size_t Wo) {
    REQUIRE((H >= 1 && W >= 1) || Ho * Wo == 0, "upsample_nearest: nothing to take from (%zu,%zu)",
            H, W);
#pragma omp parallel for schedule(static) if (B * Ho * Wo * C >= 1 << 16 && !omp_in_parallel())
    for (size_t row = 0; row < B * Ho; row++) {
        size_t b = row / Ho, y = source_index(row % Ho, H, Ho);
        const real_t *from = in + (b * H + y) * W * C;
        for (size_t x = 0; x < Wo; x++)
            memcpy(out + (row * Wo + x) * C, from + source_index(x, W, Wo) * C, C * sizeof *out);
    }
}
