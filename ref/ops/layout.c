/* layout.c - torch's row-major (B,C,P) to channels-last (B,P,C) and back: each a transpose of every
 * batch entry, and each other's inverse. */
#include <omp.h>

#include "ops/ops.h"

enum { PARALLEL_FROM = 1 << 16, SQUARE = 32 };

/* out (columns,rows) = x (rows,columns) transposed, in squares that fit the nearest cache. */
static void transpose(real_t *out, const real_t *x, size_t rows, size_t columns) {
    for (size_t r0 = 0; r0 < rows; r0 += SQUARE) {
        size_t r1 = r0 + SQUARE < rows ? r0 + SQUARE : rows;
        for (size_t c0 = 0; c0 < columns; c0 += SQUARE) {
            size_t c1 = c0 + SQUARE < columns ? c0 + SQUARE : columns;
            for (size_t r = r0; r < r1; r++)
                for (size_t c = c0; c < c1; c++) out[c * rows + r] = x[r * columns + c];
        }
    }
}

void to_channels_last(real_t *out, const real_t *x, size_t B, size_t C, size_t P) {
#pragma omp parallel for schedule(static) if (B * C * P >= PARALLEL_FROM && !omp_in_parallel())
    for (size_t b = 0; b < B; b++) transpose(out + b * C * P, x + b * C * P, C, P);
}

void from_channels_last(real_t *out, const real_t *x, size_t B, size_t C, size_t P) {
#pragma omp parallel for schedule(static) if (B * C * P >= PARALLEL_FROM && !omp_in_parallel())
    for (size_t b = 0; b < B; b++) transpose(out + b * C * P, x + b * C * P, P, C);
}
