/* plot.c - see plot.h. */
#include "sheet/plot.h"

#include <math.h>
#include <stdio.h>

#include "sheet/colour.h"

enum { LEFT = 72, BELOW = 64, ABOVE = 36, SIDE = 24, SCALE = 2, LINE = TEXT_LINE * SCALE };

static const rgb_t paper = {255, 255, 255}, rule = {222, 222, 218}, ink = {60, 60, 60};

/* Inside of the axes. */
typedef struct {
    rect_t area;
    size_t steps;
} axes_t;

/* The middle of step k; a single step stands in the middle. */
static double x_of(const axes_t *a, size_t k) {
    double share = a->steps > 1 ? (double)k / (double)(a->steps - 1) : 0.5;
    return (double)a->area.x + share * (double)(a->area.width - 1);
}

static double y_of(const axes_t *a, double gate) {
    return (double)a->area.y + (1 - gate) * (double)(a->area.height - 1);
}

/* Text with its middle at x. */
static void centred(canvas_t *c, double x, ptrdiff_t y, const char *text) {
    double width = (double)(text_columns(text) * TEXT_ADVANCE * SCALE);
    canvas_text(c, lround(x - width / 2), y, text, SCALE, ink);
}

static void draw_axes(canvas_t *c, const axes_t *a, const record_t *r) {
    char text[32];
    for (int i = 0; i <= 4; i++) {
        ptrdiff_t y = lround(y_of(a, i / 4.0));
        snprintf(text, sizeof text, "%.2f", i / 4.0);
        canvas_fill(c, (rect_t){a->area.x, y, a->area.width, 1}, rule);
        canvas_text(c, a->area.x - 60, y - 7, text, SCALE, ink);
    }
    ptrdiff_t bottom = a->area.y + (ptrdiff_t)a->area.height;
    for (size_t i = 0; i < r->shown; i++) {
        ptrdiff_t x = lround(x_of(a, r->step[i]));
        snprintf(text, sizeof text, "%zu", r->step[i] + 1);
        canvas_fill(c, (rect_t){x, bottom, 1, 6}, ink);
        centred(c, (double)x, bottom + 10, text);
    }
    centred(c, (double)a->area.x + (double)a->area.width / 2, bottom + 10 + LINE, "step");
    canvas_frame(c, a->area, ink);
}

/* Was there a gate, and was it a number? */
static bool is_seen(const record_range_t *range) {
    return range->count && isfinite(range->sum);
}

/* From the least to the most at every pixel column, between steps on a line. */
static void draw_band(canvas_t *c, const axes_t *a, const record_expert_t *e, rgb_t colour) {
    for (size_t k = 0; k + 1 < a->steps; k++) {
        const record_range_t *from = &e->global[k], *to = &e->global[k + 1];
        if (!is_seen(from) || !is_seen(to)) continue;
        ptrdiff_t first = lround(x_of(a, k)), end = lround(x_of(a, k + 1));
        for (ptrdiff_t x = first; x < end; x++) {
            double share = (double)(x - first) / (double)(end - first);
            double most = from->most + share * (to->most - from->most);
            double least = from->least + share * (to->least - from->least);
            ptrdiff_t top = lround(y_of(a, most)), low = lround(y_of(a, least));
            canvas_tint(c, (rect_t){x, top, 1, (size_t)(low - top + 1)}, colour, 0.15);
        }
    }
}

static double mean_of(const record_range_t *range) {
    return range->sum / (double)range->count;
}

static void draw_line(canvas_t *c, const axes_t *a, const record_expert_t *e, rgb_t colour) {
    for (size_t k = 0; k < a->steps; k++) {
        const record_range_t *here = &e->global[k], *next = here + 1;
        if (!is_seen(here)) continue;
        double x = x_of(a, k), y = y_of(a, mean_of(here));
        canvas_fill(c, (rect_t){lround(x) - 2, lround(y) - 2, 6, 6}, colour);
        if (k + 1 < a->steps && is_seen(next))
            canvas_line(c, x, y, x_of(a, k + 1), y_of(a, mean_of(next)), colour);
    }
}

static void draw_legend(canvas_t *c, rect_t at, const record_t *r) {
    ptrdiff_t x = at.x + LEFT, y = at.y + 10;
    for (size_t i = 0; i < r->experts; i++) {
        size_t wide = 22 + text_columns(r->expert[i].name) * TEXT_ADVANCE * SCALE;
        if (x + (ptrdiff_t)wide > at.x + (ptrdiff_t)at.width) return; /* no room for more */
        canvas_fill(c, (rect_t){x, y, 14, 14}, colour_expert(i));
        canvas_text(c, x + 22, y, r->expert[i].name, SCALE, ink);
        x += (ptrdiff_t)(wide + 2 * TEXT_ADVANCE * SCALE);
    }
}

void plot_global(canvas_t *c, rect_t at, const record_t *r) {
    axes_t axes = {{at.x + LEFT, at.y + ABOVE, at.width - LEFT - SIDE, at.height - ABOVE - BELOW},
                   r->steps};
    canvas_fill(c, at, paper);
    draw_axes(c, &axes, r);
    for (size_t i = 0; i < r->experts; i++) draw_band(c, &axes, &r->expert[i], colour_expert(i));
    for (size_t i = 0; i < r->experts; i++) draw_line(c, &axes, &r->expert[i], colour_expert(i));
    draw_legend(c, at, r);
}
