/* colour.c - see colour.h. */
#include "sheet/colour.h"

#include <math.h>

/* v from 0 to 1; what is outside, and NaN, at the nearer end. */
static double within(double v) {
    return v > 0 ? fmin(v, 1) : 0;
}

static uint8_t between(uint8_t a, uint8_t b, double share) {
    return (uint8_t)lround((double)a + share * ((double)b - (double)a));
}

/* `at` from 0 to parts: between the stops on either side. */
static rgb_t along(const rgb_t *stop, size_t parts, double at) {
    size_t i = at < (double)parts ? (size_t)at : parts - 1;
    double share = at - (double)i;
    return (rgb_t){between(stop[i].r, stop[i + 1].r, share),
                   between(stop[i].g, stop[i + 1].g, share),
                   between(stop[i].b, stop[i + 1].b, share)};
}

rgb_t colour_heat(double value) {
    static const rgb_t stop[] = {
        {24, 20, 60}, {52, 62, 148}, {36, 134, 150}, {128, 196, 96}, {255, 238, 112}};
    enum { PARTS = sizeof stop / sizeof *stop - 1 };
    return along(stop, PARTS, within(value) * PARTS);
}

rgb_t colour_signed(double value) {
    static const rgb_t stop[] = {
        {10, 40, 110}, {70, 135, 195}, {247, 247, 247}, {215, 95, 75}, {115, 10, 30}};
    enum { PARTS = sizeof stop / sizeof *stop - 1 };
    return along(stop, PARTS, isnan(value) ? PARTS / 2 : within((value + 1) / 2) * PARTS);
}

rgb_t colour_over(double value, uint8_t grey) {
    rgb_t heat = colour_heat(value);
    return (rgb_t){between(grey, heat.r, 0.7), between(grey, heat.g, 0.7),
                   between(grey, heat.b, 0.7)};
}

rgb_t colour_expert(size_t expert) {
    static const rgb_t colours[] = {{196, 60, 52},  {40, 100, 190}, {60, 140, 60},
                                    {150, 80, 170}, {200, 130, 20}, {30, 140, 140}};
    return colours[expert % (sizeof colours / sizeof *colours)];
}

uint8_t colour_grey(const uint8_t p[3]) {
    return (uint8_t)lround(0.299 * p[0] + 0.587 * p[1] + 0.114 * p[2]);
}

static void put(uint8_t *pixel, rgb_t colour) {
    pixel[0] = colour.r;
    pixel[1] = colour.g;
    pixel[2] = colour.b;
}

void heat_over(uint8_t *out, const uint8_t *picture, size_t H, size_t W, const double *map,
               size_t rows, size_t columns, double most) {
    for (size_t y = 0; y < H; y++)
        for (size_t x = 0; x < W; x++) {
            double value = map[y * rows / H * columns + x * columns / W];
            size_t at = 3 * (y * W + x);
            put(out + at, colour_over(most > 0 ? value / most : 0, colour_grey(picture + at)));
        }
}

void latents_rgb(uint8_t *out, const real_t *latents, size_t C, size_t H, size_t W) {
    for (size_t p = 0; p < H * W; p++)
        for (size_t c = 0; c < 3; c++) {
            double x = (double)latents[(C < 3 ? 0 : c) * H * W + p];
            out[3 * p + c] = (uint8_t)lround(255 * within((x / LATENT_RANGE + 1) / 2));
        }
}
