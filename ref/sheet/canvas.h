/* canvas.h - a picture in memory to draw panels, lines and labels on.
 *
 * Places are pixels from the upper left corner, and may lie outside: what does not fit is cut off at the
 * border, nothing is written outside of the buffer. */
#ifndef MOLE_SHEET_CANVAS_H
#define MOLE_SHEET_CANVAS_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
    uint8_t r, g, b;
} rgb_t;

typedef struct {
    size_t width, height;
    uint8_t *pixels; /* (height,width,3), owned */
} canvas_t;

typedef struct {
    ptrdiff_t x, y;
    size_t width, height;
} rect_t;

canvas_t canvas_new(size_t width, size_t height, rgb_t colour);
void canvas_free(canvas_t *canvas);

void canvas_dot(canvas_t *canvas, ptrdiff_t x, ptrdiff_t y, rgb_t colour);
void canvas_fill(canvas_t *canvas, rect_t at, rgb_t colour);
/* Mixed with what is there: `share` of the new colour, from 0 to 1. */
void canvas_tint(canvas_t *canvas, rect_t at, rgb_t colour, double share);
/* The border of the rectangle one pixel outside of `at`. */
void canvas_frame(canvas_t *canvas, rect_t at, rgb_t colour);
/* A line two pixels thick. */
void canvas_line(canvas_t *canvas, double x0, double y0, double x1, double y1, rgb_t colour);
/* pixels (height,width,3) into the rectangle: where that is larger the nearest pixel, where it is smaller the
 * mean of those that fall on it. */
void canvas_blit(canvas_t *canvas, rect_t at, const uint8_t *pixels, size_t width, size_t height);

/* ---- text -------------------------------------------------------------------------------------------- */

/* Every dot of the font is `scale` x `scale` pixels. UTF-8; a character that the font lacks is one box. */
enum {
    TEXT_ADVANCE = 6,
    TEXT_LINE = 12
}; /* from letter to letter, from line to line; times scale */

/* Characters of the text up to its end, or to a line feed. */
size_t text_columns(const char *text);
/* One line, its upper left corner at (x, y); a line feed ends it. */
void canvas_text(canvas_t *canvas, ptrdiff_t x, ptrdiff_t y, const char *text, size_t scale,
                 rgb_t colour);
/* In lines of at most `columns` characters: broken at blanks and line feeds, and a longer word where the line
 * ends. Returns how many lines; canvas NULL: only that. */
size_t canvas_paragraph(canvas_t *canvas, ptrdiff_t x, ptrdiff_t y, size_t columns,
                        const char *text, size_t scale, rgb_t colour);

#endif
