/* tensor_picture.h - a tensor as a picture with labels and a colour bar.
 *
 * The last two dimensions are rows and columns of a tile; every place of those before is a tile of its own:
 *   ()         one place
 *   (N)        one row
 *   (H,W)      one tile: tokens down, channels across
 *   (C,H,W)    a tile for each channel
 *   (B,C,H,W)  the same; a sample begins a new row of tiles
 * At the left of each row of tiles stands the index of its first. Small tiles are enlarged by whole
 * multiples, large ones shrunk, colours averaged.
 *
 * Colours (colour_signed): blue below 0, white 0, red above; the ends are -`most` and `most`. NaN and Inf are
 * yellow. Numbers beyond the ends have the colour of the end. */
#ifndef MOLE_SHEET_TENSOR_PICTURE_H
#define MOLE_SHEET_TENSOR_PICTURE_H

#include "core/err.h"
#include "core/shape.h"
#include "sheet/canvas.h"

/* Numbers that one picture shows at most. */
enum { TENSOR_PICTURE_NUMBERS = 1 << 24 };

typedef struct {
    shape_t shape;
    const double *x;           /* row-major, 1 to TENSOR_PICTURE_NUMBERS of them */
    double most;               /* colours from -most to most; 0 or more */
    const char *title, *notes; /* lines above the tiles, and below: what the figures are */
} tensor_picture_t;

/* canvas_free is due. */
canvas_t tensor_picture_draw(const tensor_picture_t *picture);
/* As a PNG, with title and notes as its text `parameters`. 0, or -1 and err. */
int tensor_picture_write(const tensor_picture_t *picture, const char *path, err_t *err);

#endif
