/* canvas.c - see canvas.h. */
#include "sheet/canvas.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "core/err.h"
#include "sheet/font.h"

canvas_t canvas_new(size_t width, size_t height, rgb_t colour) {
    canvas_t canvas = {width, height, xmalloc(3 * width * height)};
    canvas_fill(&canvas, (rect_t){0, 0, width, height}, colour);
    return canvas;
}

void canvas_free(canvas_t *canvas) {
    free(canvas->pixels);
    *canvas = (canvas_t){0};
}

/* ---- areas and lines ---------------------------------------------------------------------------------- */

/* The pixel, or NULL outside. */
static uint8_t *pixel_at(const canvas_t *c, ptrdiff_t x, ptrdiff_t y) {
    if (x < 0 || y < 0 || (size_t)x >= c->width || (size_t)y >= c->height) return NULL;
    return c->pixels + 3 * ((size_t)y * c->width + (size_t)x);
}

void canvas_dot(canvas_t *c, ptrdiff_t x, ptrdiff_t y, rgb_t colour) {
    uint8_t *pixel = pixel_at(c, x, y);
    if (!pixel) return;
    pixel[0] = colour.r;
    pixel[1] = colour.g;
    pixel[2] = colour.b;
}

void canvas_fill(canvas_t *c, rect_t at, rgb_t colour) {
    for (size_t y = 0; y < at.height; y++)
        for (size_t x = 0; x < at.width; x++)
            canvas_dot(c, at.x + (ptrdiff_t)x, at.y + (ptrdiff_t)y, colour);
}

static uint8_t mix(uint8_t from, uint8_t to, double share) {
    return (uint8_t)lround(from + share * ((double)to - from));
}

void canvas_tint(canvas_t *c, rect_t at, rgb_t colour, double share) {
    for (size_t y = 0; y < at.height; y++)
        for (size_t x = 0; x < at.width; x++) {
            uint8_t *pixel = pixel_at(c, at.x + (ptrdiff_t)x, at.y + (ptrdiff_t)y);
            if (!pixel) continue;
            pixel[0] = mix(pixel[0], colour.r, share);
            pixel[1] = mix(pixel[1], colour.g, share);
            pixel[2] = mix(pixel[2], colour.b, share);
        }
}

void canvas_frame(canvas_t *c, rect_t at, rgb_t colour) {
    ptrdiff_t right = at.x + (ptrdiff_t)at.width, below = at.y + (ptrdiff_t)at.height;
    canvas_fill(c, (rect_t){at.x - 1, at.y - 1, at.width + 2, 1}, colour);
    canvas_fill(c, (rect_t){at.x - 1, below, at.width + 2, 1}, colour);
    canvas_fill(c, (rect_t){at.x - 1, at.y, 1, at.height}, colour);
    canvas_fill(c, (rect_t){right, at.y, 1, at.height}, colour);
}

void canvas_line(canvas_t *c, double x0, double y0, double x1, double y1, rgb_t colour) {
    size_t steps = (size_t)ceil(fmax(fmax(fabs(x1 - x0), fabs(y1 - y0)), 1));
    for (size_t i = 0; i <= steps; i++) {
        double share = (double)i / (double)steps;
        ptrdiff_t x = lround(x0 + (x1 - x0) * share), y = lround(y0 + (y1 - y0) * share);
        canvas_fill(c, (rect_t){x, y, 2, 2}, colour);
    }
}

/* ---- pictures ----------------------------------------------------------------------------------------- */

/* Where output pixel i of `out` begins among `in` pixels. */
static size_t begin_of(size_t i, size_t out, size_t in) {
    return i * in / out;
}

/* The pixels that fall on output pixel i: [first, end), at least one. */
static size_t end_of(size_t i, size_t out, size_t in) {
    size_t first = begin_of(i, out, in), end = begin_of(i + 1, out, in);
    return end > first ? end : first + 1;
}

/* The mean of channel k over the pixels that fall on (x, y) of `at`. */
static uint8_t mean_of(const uint8_t *pixels, size_t width, size_t height, rect_t at, size_t x,
                       size_t y, size_t k) {
    size_t sum = 0, count = 0;
    for (size_t v = begin_of(y, at.height, height); v < end_of(y, at.height, height); v++)
        for (size_t u = begin_of(x, at.width, width); u < end_of(x, at.width, width); u++) {
            sum += pixels[3 * (v * width + u) + k];
            count++;
        }
    return (uint8_t)((sum + count / 2) / count);
}

void canvas_blit(canvas_t *c, rect_t at, const uint8_t *pixels, size_t width, size_t height) {
    for (size_t y = 0; y < at.height; y++)
        for (size_t x = 0; x < at.width; x++)
            canvas_dot(c, at.x + (ptrdiff_t)x, at.y + (ptrdiff_t)y,
                       (rgb_t){mean_of(pixels, width, height, at, x, y, 0),
                               mean_of(pixels, width, height, at, x, y, 1),
                               mean_of(pixels, width, height, at, x, y, 2)});
}

/* ---- text --------------------------------------------------------------------------------------------- */

/* Is this byte the first of a character? UTF-8's others are 10xxxxxx. */
static bool is_first(char byte) {
    return ((unsigned char)byte & 0xc0) != 0x80;
}

static void draw_letter(canvas_t *c, ptrdiff_t x, ptrdiff_t y, char letter, size_t scale,
                        rgb_t colour) {
    for (size_t v = 0; v < FONT_HEIGHT; v++)
        for (size_t u = 0; u < FONT_WIDTH; u++)
            if (font_pixel(letter, u, v))
                canvas_fill(
                    c,
                    (rect_t){x + (ptrdiff_t)(u * scale), y + (ptrdiff_t)(v * scale), scale, scale},
                    colour);
}

/* The first `bytes` bytes as one line. */
static void draw_line(canvas_t *c, ptrdiff_t x, ptrdiff_t y, const char *text, size_t bytes,
                      size_t scale, rgb_t colour) {
    for (size_t i = 0; i < bytes; i++) {
        if (!is_first(text[i])) continue;
        draw_letter(c, x, y, text[i], scale, colour);
        x += (ptrdiff_t)(TEXT_ADVANCE * scale);
    }
}

size_t text_columns(const char *text) {
    size_t columns = 0;
    for (; *text && *text != '\n'; text++) columns += is_first(*text);
    return columns;
}

void canvas_text(canvas_t *c, ptrdiff_t x, ptrdiff_t y, const char *text, size_t scale,
                 rgb_t colour) {
    draw_line(c, x, y, text, strcspn(text, "\n"), scale, colour);
}

/* Bytes of the next line of at most `columns` characters, without the blank or line feed that ends it. */
static size_t line_bytes(const char *text, size_t columns) {
    size_t bytes = 0, blank = 0, used = 0;
    for (; text[bytes] && text[bytes] != '\n'; bytes++) {
        if (is_first(text[bytes]) && used++ == columns) return blank ? blank : bytes;
        if (text[bytes] == ' ') blank = bytes;
    }
    return bytes;
}

size_t canvas_paragraph(canvas_t *c, ptrdiff_t x, ptrdiff_t y, size_t columns, const char *text,
                        size_t scale, rgb_t colour) {
    size_t lines = 0;
    REQUIRE(columns, "canvas_paragraph: %zu columns", columns);
    while (*text) {
        size_t bytes = line_bytes(text, columns);
        ptrdiff_t down = (ptrdiff_t)(lines++ * TEXT_LINE * scale);
        if (c) draw_line(c, x, y + down, text, bytes, scale, colour);
        text += bytes;
        if (*text == ' ' || *text == '\n') text++;
    }
    return lines;
}
