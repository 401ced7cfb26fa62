/* colour.h - numbers as colours: heat maps of 0 to 1 and of -1 to 1, latents, one colour for each expert. */
#ifndef MOLE_SHEET_COLOUR_H
#define MOLE_SHEET_COLOUR_H

#include "core/real.h"
#include "sheet/canvas.h"

/* Latents are drawn from -LATENT_RANGE, black, to LATENT_RANGE, white: three standard deviations of noise. */
enum { LATENT_RANGE = 3 };

/* From dark blue for 0 over green to yellow for 1, lighter all the way. What is beyond, and NaN, is taken to
 * the nearer end. */
rgb_t colour_heat(double value);
/* From blue for -1 over white for 0 to red for 1, darker towards both ends. What is beyond is taken to the
 * nearer end; NaN, as 0. */
rgb_t colour_signed(double value);
/* The heat of a number over a place of a picture: seven tenths of it, three tenths of the picture's grey. */
rgb_t colour_over(double value, uint8_t grey);
rgb_t colour_expert(size_t expert);

/* Pictures are (H,W,3). */
uint8_t colour_grey(const uint8_t pixel[3]);
/* out = map (rows,columns), from 0 to `most`, over the picture: each place takes the number it lies in. out
 * may be picture. */
void heat_over(uint8_t *out, const uint8_t *picture, size_t H, size_t W, const double *map,
               size_t rows, size_t columns, double most);
/* The first three channels of latents (C,H,W) as red, green and blue; of fewer the first as grey. */
void latents_rgb(uint8_t *out, const real_t *latents, size_t C, size_t H, size_t W);

#endif
