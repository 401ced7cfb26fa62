/* tiles.c - see tiles.h. */
#include "xray/tiles.h"

#include <math.h>

const char tile_alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

planes_t planes_of(const real_t *x, view_t view, size_t H, size_t W, bool text) {
    const size_t *d = view.shape.dim;
    size_t B = d[0], count = shape_count(view.shape) / B;
    const real_t *row = x + (B - 1) * count;
    bool last = view.layout == LAYOUT_CHANNELS_LAST;
    if (view.shape.ndim == 4)
        return (planes_t){row, d[1], d[2], d[3], last ? 1 : d[2] * d[3], last ? d[1] : 1};
    if (view.shape.ndim == 3 && !text) return (planes_t){row, d[2], H, W, 1, d[2]};
    size_t rows = view.shape.ndim == 3 ? d[1] : 1;
    return (planes_t){row, 1, rows, count / rows, 0, 1};
}

double plane_number(const planes_t *p, size_t c, size_t y, size_t x) {
    return (double)p->x[c * p->channel + (y * p->W + x) * p->place];
}

/* The numbers of a row stand together in memory, whatever their order. */
figures_t planes_figures(const planes_t *p) {
    size_t n = p->channels * p->H * p->W;
    double sum = 0, squares = 0;
    figures_t f = {.least = INFINITY, .most = -INFINITY};
    for (size_t i = 0; i < n; i++) {
        double v = (double)p->x[i];
        sum += v;
        if (v < f.least) f.least = v;
        if (v > f.most) f.most = v;
    }
    f.mean = sum / (double)n;
    for (size_t i = 0; i < n; i++) {
        double d = (double)p->x[i] - f.mean;
        squares += d * d;
    }
    f.deviation = sqrt(squares / (double)n);
    return f;
}

void plane_shrink(double *out, const planes_t *p, size_t c, size_t rows, size_t columns) {
    for (size_t r = 0; r < rows; r++)
        for (size_t k = 0; k < columns; k++) {
            size_t y0 = r * p->H / rows, y1 = (r + 1) * p->H / rows;
            size_t x0 = k * p->W / columns, x1 = (k + 1) * p->W / columns;
            double sum = 0;
            for (size_t y = y0; y < y1; y++)
                for (size_t x = x0; x < x1; x++) sum += plane_number(p, c, y, x);
            out[r * columns + k] = sum / (double)((y1 - y0) * (x1 - x0));
        }
}

void tile_levels(char *cells, const double *x, size_t n, double low, double high) {
    for (size_t i = 0; i < n; i++) {
        double share = high > low ? (x[i] - low) / (high - low) : 0;
        cells[i] = tile_alphabet[share > 0 ? lround(63 * fmin(share, 1)) : 0];
    }
}
