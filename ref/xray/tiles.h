/* tiles.h - tensors as small pictures of 64 levels.
 *
 * A number is one character of the page: level v of 0 .. 63 is tile_alphabet[v], the alphabet of base64.
 * Level 0 is the least of a tile's numbers and 63 the most, evenly between; what the two are stands beside
 * the tile. */
#ifndef MOLE_XRAY_TILES_H
#define MOLE_XRAY_TILES_H

#include "core/tap.h"

extern const char tile_alphabet[]; /* 64 characters */

/* One row of a batch as `channels` pictures of H x W numbers, wherever they lie in memory: number (c, p), p
 * from 0 to H W - 1, is x[c * channel + p * place]. */
typedef struct {
    const real_t *x;
    size_t channels, H, W, channel, place;
} planes_t;

/* The last row of a batch. Images (B,C,H,W); tokens (B,T,C), T = H W places of the picture; `text` tokens
 * (B,T,C) are one plane of T x C; rows (B,C) one plane of 1 x C. */
planes_t planes_of(const real_t *x, view_t view, size_t H, size_t W, bool text);

double plane_number(const planes_t *planes, size_t c, size_t y, size_t x);

/* Over all numbers of all planes: deviation = sqrt(mean((x - mean)^2)), in two passes. Where one is NaN, mean
 * and deviation are. */
typedef struct {
    double mean, deviation, least, most;
} figures_t;
figures_t planes_figures(const planes_t *planes);

/* out (rows,columns): plane c made smaller, each cell the mean of the numbers that fall on it: of rows
 * y H / rows up to, not including, (y + 1) H / rows, columns likewise. rows <= H, columns <= W. */
void plane_shrink(double *out, const planes_t *planes, size_t c, size_t rows, size_t columns);

/* cells (n): x as levels from low to high; NaN, and all where low is high, is level 0. */
void tile_levels(char *cells, const double *x, size_t n, double low, double high);

#endif
