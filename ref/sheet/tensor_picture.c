/* tensor_picture.c - see tensor_picture.h. */
#include "sheet/tensor_picture.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "io/png.h"
#include "sheet/colour.h"

enum {
    MARGIN = 20,
    GAP = 3,
    SIDE = 1600,    /* pixels that all tiles together are wide and high, at most */
    ENLARGED = 256, /* and a tile that was enlarged */
    SCALE = 2,      /* of the font */
    LETTER = TEXT_ADVANCE * SCALE,
    LINE = TEXT_LINE * SCALE,
    BAR = 24,         /* the colour bar's width */
    BAR_TEXT = 12,    /* characters beside it */
    WIDTH_LEAST = 640 /* of the whole, for title and notes */
};

static const rgb_t paper = {250, 250, 248}, ink = {40, 40, 40}, border = {150, 150, 146};
static const rgb_t broken = {250, 200, 0}; /* NaN and Inf */

typedef struct {
    size_t H, W;           /* of a tile, in numbers */
    size_t samples, tiles; /* groups of tiles, tiles in each */
    size_t columns, rows;  /* of tiles in a group */
    size_t width, height;  /* of a tile, in pixels */
    size_t label;          /* pixels for the indices at the left */
    size_t title, notes;   /* pixels for the lines above and below */
    size_t letters;        /* in a line */
    size_t whole;          /* width of the picture */
    rect_t area;           /* of all tiles */
} plan_t;

/* ---- where everything stands ------------------------------------------------------------------------- */

static size_t dim_from_end(shape_t shape, int i) {
    return i <= shape.ndim ? shape.dim[shape.ndim - i] : 1;
}

/* Pixels for `numbers` of a tile, where `share` are left for it: a whole multiple, or fewer pixels. */
static size_t zoom_of(size_t numbers, size_t share) {
    size_t most = share < ENLARGED ? share : ENLARGED;
    return numbers <= most ? most / numbers : 0;
}

static void plan_tiles(plan_t *p, shape_t shape) {
    p->W = dim_from_end(shape, 1);
    p->H = dim_from_end(shape, 2);
    size_t all = shape_count(shape) / (p->H * p->W);
    p->samples = shape.ndim > 3 ? all / dim_from_end(shape, 3) : 1;
    p->tiles = all / p->samples;
    REQUIRE(p->samples && p->tiles, "tensor_picture: nothing to draw");
    p->columns = (size_t)ceil(sqrt((double)p->tiles * (double)p->H / (double)p->W));
    if (p->columns > p->tiles) p->columns = p->tiles;
    if (p->columns > SIDE / 4) p->columns = SIDE / 4;
    if (p->columns < 1) p->columns = 1;
    p->rows = (p->tiles - 1) / p->columns + 1;
    size_t across = SIDE / p->columns, down = SIDE / (p->rows * p->samples);
    across = across > GAP ? across - GAP : 1;
    down = down > GAP ? down - GAP : 1;
    size_t x = zoom_of(p->W, across), y = zoom_of(p->H, down), zoom = x < y ? x : y;
    if (p->H == 1 && x) zoom = x; /* a row of numbers */
    double shrink = fmin(1, fmin((double)across / (double)p->W, (double)down / (double)p->H));
    p->width = zoom ? p->W * zoom : (size_t)fmax(1, floor((double)p->W * shrink));
    p->height = zoom ? p->H * zoom : (size_t)fmax(1, floor((double)p->H * shrink));
    if (p->H == 1 && p->height < 16) p->height = 16;
    if (p->W == 1 && p->width < 16 && p->columns == 1) p->width = 16;
}

static plan_t plan_new(const tensor_picture_t *picture) {
    plan_t p = {0};
    char index[SHAPE_TEXT];
    plan_tiles(&p, picture->shape);
    size_t many = p.samples * p.tiles;
    if (many > 1) {
        shape_t before = picture->shape;
        before.ndim -= 2;
        p.label = (text_columns(shape_index_text(index, before, many - 1)) + 1) * LETTER;
    }
    size_t width = p.columns * (p.width + GAP), beside = 2 * MARGIN + BAR + BAR_TEXT * LETTER;
    p.whole = MARGIN + p.label + width + beside;
    if (p.whole < WIDTH_LEAST) p.whole = WIDTH_LEAST;
    p.letters = (p.whole - 2 * MARGIN) / LETTER;
    p.title = LINE * canvas_paragraph(NULL, 0, 0, p.letters, picture->title, SCALE, ink);
    p.notes = LINE * canvas_paragraph(NULL, 0, 0, p.letters, picture->notes, SCALE, ink);
    p.area = (rect_t){(ptrdiff_t)(MARGIN + p.label), (ptrdiff_t)(2 * MARGIN + p.title), width,
                      p.rows * p.samples * (p.height + GAP)};
    return p;
}

/* ---- drawing ----------------------------------------------------------------------------------------- */

static rgb_t colour_of(double x, double most) {
    if (!isfinite(x)) return broken;
    return colour_signed(most > 0 ? x / most : 0);
}

static void draw_tile(canvas_t *c, rect_t at, const double *x, const plan_t *p, double most,
                      uint8_t *pixels) {
    for (size_t i = 0; i < p->H * p->W; i++) {
        rgb_t colour = colour_of(x[i], most);
        pixels[3 * i] = colour.r;
        pixels[3 * i + 1] = colour.g;
        pixels[3 * i + 2] = colour.b;
    }
    canvas_frame(c, at, border);
    canvas_blit(c, at, pixels, p->W, p->H);
}

static void draw_tiles(canvas_t *c, const plan_t *p, const tensor_picture_t *picture) {
    char index[SHAPE_TEXT];
    shape_t before = picture->shape;
    before.ndim = before.ndim > 2 ? before.ndim - 2 : 0;
    uint8_t *pixels = xmalloc(3 * p->H * p->W);
    for (size_t i = 0; i < p->samples * p->tiles; i++) {
        size_t tile = i % p->tiles, column = tile % p->columns;
        size_t row = i / p->tiles * p->rows + tile / p->columns;
        rect_t at = {p->area.x + (ptrdiff_t)(column * (p->width + GAP)),
                     p->area.y + (ptrdiff_t)(row * (p->height + GAP)), p->width, p->height};
        draw_tile(c, at, picture->x + i * p->H * p->W, p, picture->most, pixels);
        if (p->label && column == 0 && (p->height + GAP >= LINE || row % 8 == 0))
            canvas_text(c, MARGIN, at.y, shape_index_text(index, before, i), SCALE, ink);
    }
    free(pixels);
}

/* The number at a place of the bar, a line below its top. */
static void draw_mark(canvas_t *c, rect_t bar, double share, double value) {
    char text[32];
    ptrdiff_t y = bar.y + lround(share * (double)(bar.height - 1));
    snprintf(text, sizeof text, "%.4g", value);
    canvas_fill(c, (rect_t){bar.x + BAR, y, 6, 1}, ink);
    canvas_text(c, bar.x + BAR + 10, y - 7, text, SCALE, ink);
}

static void draw_bar(canvas_t *c, const plan_t *p, double most) {
    size_t height = p->area.height < 6 * LINE ? 6 * LINE : p->area.height;
    rect_t bar = {p->area.x + (ptrdiff_t)p->area.width + MARGIN, p->area.y, BAR,
                  height < 2 * ENLARGED ? height : 2 * ENLARGED};
    for (size_t y = 0; y < bar.height; y++)
        canvas_fill(c, (rect_t){bar.x, bar.y + (ptrdiff_t)y, BAR, 1},
                    colour_signed(1 - 2 * (double)y / (double)(bar.height - 1)));
    canvas_frame(c, bar, border);
    draw_mark(c, bar, 0, most);
    draw_mark(c, bar, 0.5, 0);
    draw_mark(c, bar, 1, -most);
}

canvas_t tensor_picture_draw(const tensor_picture_t *picture) {
    REQUIRE(shape_count(picture->shape) > 0 &&
                shape_count(picture->shape) <= TENSOR_PICTURE_NUMBERS,
            "tensor_picture: %zu numbers", shape_count(picture->shape));
    plan_t p = plan_new(picture);
    size_t middle = p.area.height < 7 * LINE ? 7 * LINE : p.area.height;
    canvas_t c = canvas_new(p.whole, (size_t)p.area.y + middle + 2 * MARGIN + p.notes, paper);
    canvas_paragraph(&c, MARGIN, MARGIN, p.letters, picture->title, SCALE, ink);
    draw_tiles(&c, &p, picture);
    draw_bar(&c, &p, picture->most);
    canvas_paragraph(&c, MARGIN, p.area.y + (ptrdiff_t)(middle + MARGIN), p.letters, picture->notes,
                     SCALE, ink);
    return c;
}

int tensor_picture_write(const tensor_picture_t *picture, const char *path, err_t *err) {
    canvas_t c = tensor_picture_draw(picture);
    char *text = xasprintf("%s\n%s", picture->title, picture->notes);
    picture_text_t texts[] = {{"parameters", text}};
    int status = picture_write(path, c.pixels, c.width, c.height, 3, texts, 1, err);
    free(text);
    canvas_free(&c);
    return status;
}
