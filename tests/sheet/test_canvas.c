/* The canvas: what is drawn where, and that nothing is drawn outside of it. */
#include "../fixture.h"
#include "sheet/canvas.h"
#include "sheet/font.h"

enum { W = 40, H = 30, GUARD = 4096, FREE = 0xa5 };

static const rgb_t black = {0, 0, 0}, red = {255, 0, 0}, grey = {100, 120, 140};

/* A canvas in the middle of guarded memory. */
static canvas_t guarded(void) {
    uint8_t *memory = fixture_bytes(2 * GUARD + 3 * W * H);
    memset(memory, FREE, 2 * GUARD + 3 * W * H);
    canvas_t canvas = {W, H, memory + GUARD};
    canvas_fill(&canvas, (rect_t){0, 0, W, H}, black);
    return canvas;
}

static void check_guards(const canvas_t *canvas) {
    const uint8_t *before = canvas->pixels - GUARD, *after = canvas->pixels + 3 * W * H;
    for (size_t i = 0; i < GUARD; i++)
        if (before[i] != FREE || after[i] != FREE) fail_msg("byte %zu outside was written", i);
}

static bool is(const canvas_t *c, size_t x, size_t y, rgb_t colour) {
    const uint8_t *p = c->pixels + 3 * (y * c->width + x);
    return p[0] == colour.r && p[1] == colour.g && p[2] == colour.b;
}

static size_t count_of(const canvas_t *c, rgb_t colour) {
    size_t count = 0;
    for (size_t y = 0; y < c->height; y++)
        for (size_t x = 0; x < c->width; x++) count += is(c, x, y, colour);
    return count;
}

static void areas(void **state) {
    (void)state;
    canvas_t c = canvas_new(W, H, grey);
    assert_int_equal(count_of(&c, grey), W * H);
    canvas_fill(&c, (rect_t){3, 2, 5, 4}, red);
    assert_int_equal(count_of(&c, red), 20);
    assert_true(is(&c, 3, 2, red) && is(&c, 7, 5, red));
    assert_true(is(&c, 2, 2, grey) && is(&c, 8, 5, grey) && is(&c, 7, 6, grey));
    canvas_tint(&c, (rect_t){0, 0, 1, 1}, red, 0.5);
    assert_true(is(&c, 0, 0, (rgb_t){178, 60, 70}));
    canvas_frame(&c, (rect_t){10, 10, 4, 3}, black);
    assert_int_equal(count_of(&c, black), 2 * 6 + 2 * 3);
    assert_true(is(&c, 9, 9, black) && is(&c, 14, 13, black) && is(&c, 10, 10, grey));
    canvas_free(&c);
    assert_null(c.pixels);
}

static void lines(void **state) {
    (void)state;
    canvas_t c = guarded();
    canvas_line(&c, 2, 5, 12, 5, red);
    assert_int_equal(count_of(&c, red), 2 * 12);
    canvas_line(&c, 20, 3, 20, 3, red); /* a point */
    assert_int_equal(count_of(&c, red), 2 * 12 + 4);
    canvas_line(&c, -100, -50, 200, 100, red);
    check_guards(&c);
}

/* Two by two pixels: doubled, and taken together. */
static void pictures(void **state) {
    (void)state;
    static const uint8_t four[] = {0, 0, 0, 10, 20, 30, 100, 100, 100, 255, 255, 255};
    canvas_t c = guarded();
    canvas_blit(&c, (rect_t){1, 1, 4, 4}, four, 2, 2);
    assert_true(is(&c, 3, 2, (rgb_t){10, 20, 30}) && is(&c, 4, 1, (rgb_t){10, 20, 30}));
    assert_true(is(&c, 2, 3, (rgb_t){100, 100, 100}) && is(&c, 4, 4, (rgb_t){255, 255, 255}));
    assert_true(is(&c, 5, 1, black) && is(&c, 1, 5, black));
    canvas_blit(&c, (rect_t){20, 20, 1, 1}, four, 2, 2);
    assert_true(is(&c, 20, 20, (rgb_t){91, 94, 96}));   /* 365, 375, 385 by 4 */
    canvas_blit(&c, (rect_t){30, 3, 3, 1}, four, 2, 2); /* 3 of 2: 0, 0, 1 */
    assert_true(is(&c, 30, 3, (rgb_t){50, 50, 50}) && is(&c, 31, 3, (rgb_t){50, 50, 50}));
    assert_true(is(&c, 32, 3, (rgb_t){133, 138, 143}));
}

static void nothing_outside(void **state) {
    (void)state;
    static const uint8_t one[] = {255, 0, 0};
    static const ptrdiff_t places[] = {-1000, -7, -1, 0, W - 2, W, 1000};
    for (size_t i = 0; i < 49; i++) {
        ptrdiff_t x = places[i / 7], y = places[i % 7];
        canvas_t c = guarded();
        canvas_fill(&c, (rect_t){x, y, 20, 20}, red);
        canvas_tint(&c, (rect_t){x, y, 20, 20}, red, 0.3);
        canvas_frame(&c, (rect_t){x, y, 20, 20}, red);
        canvas_blit(&c, (rect_t){x, y, 20, 20}, one, 1, 1);
        canvas_dot(&c, x, y, red);
        canvas_text(&c, x, y, "Wide text, cut off at the border", 2, red);
        canvas_paragraph(&c, x, y, 5, "Wide text, cut off at the border", 1, red);
        canvas_line(&c, (double)x, (double)y, (double)y, (double)x, red);
        check_guards(&c);
    }
}

/* At scale 2 every dot is four pixels, letters are 12 apart, and what is cut is cut dot by dot. */
static void letters(void **state) {
    (void)state;
    canvas_t c = guarded();
    canvas_text(&c, 4, 6, "Ag", 2, red);
    for (size_t y = 0; y < H; y++)
        for (size_t x = 0; x < W; x++) {
            bool first = x >= 4 && x < 16 && y >= 6 && font_pixel('A', (x - 4) / 2, (y - 6) / 2);
            bool second = x >= 16 && y >= 6 && font_pixel('g', (x - 16) / 2, (y - 6) / 2);
            assert_int_equal(is(&c, x, y, red), first || second);
        }
    canvas_t cut = guarded();
    canvas_text(&cut, -3, -2, "A", 2, red);
    for (size_t y = 0; y < H; y++)
        for (size_t x = 0; x < W; x++)
            assert_int_equal(is(&cut, x, y, red), font_pixel('A', (x + 3) / 2, (y + 2) / 2));
}

/* One box for a character, of however many bytes. */
static void other_alphabets(void **state) {
    (void)state;
    assert_int_equal(text_columns("a\xc3\xa9\xe6\x89\x8b\xf0\x9f\x96\x90z"), 5);
    assert_int_equal(text_columns("two\nlines"), 3);
    canvas_t a = guarded(), b = guarded();
    canvas_text(&a, 0, 0, "\xe6\x89\x8bi", 1, red);
    canvas_text(&b, 0, 0, "\x01i", 1, red);
    assert_memory_equal(a.pixels, b.pixels, 3 * W * H);
}

/* The lines of a paragraph are those that were written one by one. */
static void wraps_to(const char *text, size_t columns, const char *const *lines_of, size_t count) {
    canvas_t a = guarded(), b = guarded();
    assert_int_equal(canvas_paragraph(NULL, 0, 0, columns, text, 1, red), count);
    assert_int_equal(canvas_paragraph(&a, 0, 0, columns, text, 1, red), count);
    for (size_t i = 0; i < count; i++)
        canvas_text(&b, 0, (ptrdiff_t)(i * TEXT_LINE), lines_of[i], 1, red);
    if (memcmp(a.pixels, b.pixels, 3 * W * H) != 0) fail_msg("'%s' is broken elsewhere", text);
}

static void wrapped(void **state) {
    (void)state;
    wraps_to("a hand", 6, (const char *[]){"a hand"}, 1);
    wraps_to("a hand", 5, (const char *[]){"a", "hand"}, 2);
    wraps_to("hands", 3, (const char *[]){"han", "ds"}, 2);
    wraps_to("a\nb", 6, (const char *[]){"a", "b"}, 2);
    wraps_to("\n\xc3\xa9\xc3\xa9", 1, (const char *[]){"", "\xc3\xa9", "\xc3\xa9"}, 3);
    wraps_to("", 4, NULL, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        fixture_test(areas),           fixture_test(lines),   fixture_test(pictures),
        fixture_test(nothing_outside), fixture_test(letters), fixture_test(other_alphabets),
        fixture_test(wrapped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
