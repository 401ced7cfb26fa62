/* pool_text.c - the vector of a whole text: that of its end-of-text token, which has seen all others. SD XL's
 * second text encoder gives it to the UNet.
 *
 * CLIP's end-of-text token has the largest id, and padding may repeat it: its first place counts. Many
 * configurations say eos_token_id 2, which no text has; there transformers takes the largest id, which is
 * another token as soon as a vocabulary was given new ones. */
#include <string.h>

#include "ops/ops.h"

static size_t end_of_text(const int32_t *ids, size_t T, int32_t eos) {
    size_t end = 0;
    for (size_t t = 1; t < T; t++)
        if (eos == 2 ? ids[t] > ids[end] : ids[t] == eos && ids[end] != eos) end = t;
    return end;
}

void pool_text(real_t *out, const real_t *x, const int32_t *ids, size_t B, size_t T, size_t C,
               int32_t eos) {
    for (size_t b = 0; b < B; b++)
        memcpy(out + b * C, x + (b * T + end_of_text(ids + b * T, T, eos)) * C, C * sizeof *out);
}
