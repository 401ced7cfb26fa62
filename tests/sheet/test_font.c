/* The font: every printable character is drawn, and none looks like another. */
#include "../unit.h"
#include "sheet/font.h"

static size_t dots(char c) {
    size_t count = 0;
    for (size_t y = 0; y < FONT_HEIGHT; y++)
        for (size_t x = 0; x < FONT_WIDTH; x++) count += font_pixel(c, x, y);
    return count;
}

/* In how many dots do two drawings differ? */
static size_t difference(char a, char b) {
    size_t count = 0;
    for (size_t y = 0; y < FONT_HEIGHT; y++)
        for (size_t x = 0; x < FONT_WIDTH; x++) count += font_pixel(a, x, y) != font_pixel(b, x, y);
    return count;
}

static void every_printable_character(void **state) {
    (void)state;
    assert_int_equal(dots(' '), 0);
    for (int c = ' '; c <= '~'; c++) {
        assert_true(font_has((char)c));
        if (c > ' ' && dots((char)c) < 3) fail_msg("'%c' has %zu dots", c, dots((char)c));
    }
}

/* Not even by one dot alone: letters are read at a glance. */
static void no_two_are_alike(void **state) {
    (void)state;
    for (int a = '!'; a <= '~'; a++)
        for (int b = '!'; b < a; b++)
            if (difference((char)a, (char)b) < 2)
                fail_msg("'%c' and '%c' differ in %zu dots", a, b, difference((char)a, (char)b));
}

/* What the font lacks is a box, the same for all, and like no letter. */
static void a_box_for_the_rest(void **state) {
    (void)state;
    static const char others[] = {'\n', '\t', '\x7f', '\x80', '\xff', '\x01'};
    for (size_t i = 0; i < sizeof others; i++) {
        assert_false(font_has(others[i]));
        assert_int_equal(difference(others[i], '\x01'), 0);
        assert_true(font_pixel(others[i], 0, 0) && font_pixel(others[i], FONT_WIDTH - 1, 6));
    }
    for (int c = ' '; c <= '~'; c++) assert_true(difference((char)c, '\x01') > 2);
}

/* Letters stand on the seventh row; below it hang only those that do in any script. */
static void on_one_line(void **state) {
    (void)state;
    for (int c = ' '; c <= '~'; c++) {
        bool below = false, hangs = strchr("gjpqy,;_|", c) != NULL;
        for (size_t x = 0; x < FONT_WIDTH; x++)
            below = below || font_pixel((char)c, x, 7) || font_pixel((char)c, x, 8);
        if (below != hangs) fail_msg("'%c' hangs below the line: %d", c, below);
    }
    for (const char *c = "ABCXYZ0123456789abcxz"; *c; c++) {
        bool stands = false;
        for (size_t x = 0; x < FONT_WIDTH; x++) stands = stands || font_pixel(*c, x, 6);
        if (!stands) fail_msg("'%c' does not stand on the line", *c);
    }
    assert_false(font_pixel('H', FONT_WIDTH, 0) || font_pixel('H', 0, FONT_HEIGHT));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_printable_character),
        cmocka_unit_test(no_two_are_alike),
        cmocka_unit_test(a_box_for_the_rest),
        cmocka_unit_test(on_one_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
