/* Pictures of tensors: which colour stands where, for every kind of shape; NaN; sizes that stay in bounds. */
#include <math.h>

#include "../fixture.h"
#include "../scratch.h"
#include "io/png.h"
#include "sheet/colour.h"
#include "sheet/tensor_picture.h"

static bool same(rgb_t a, rgb_t b) {
    return a.r == b.r && a.g == b.g && a.b == b.b;
}

static rgb_t pixel(const canvas_t *c, size_t x, size_t y) {
    const uint8_t *p = c->pixels + 3 * (y * c->width + x);
    return (rgb_t){p[0], p[1], p[2]};
}

static size_t count_of(const canvas_t *c, rgb_t colour) {
    size_t count = 0;
    for (size_t y = 0; y < c->height; y++)
        for (size_t x = 0; x < c->width; x++) count += same(pixel(c, x, y), colour);
    return count;
}

static canvas_t draw(shape_t shape, const double *x, double most) {
    tensor_picture_t picture = {shape, x, most, "title", "notes"};
    return tensor_picture_draw(&picture);
}

/* The leftmost place of a colour, and the upmost of these: the colour bar is at the right. */
static bool find(const canvas_t *c, rgb_t colour, size_t *x, size_t *y) {
    for (*x = 0; *x < c->width; ++*x)
        for (*y = 0; *y < c->height; ++*y)
            if (same(pixel(c, *x, *y), colour)) return true;
    return false;
}

/* Red above 0, blue below, lighter towards 0, alike on both sides of it. */
static void colours(void **state) {
    (void)state;
    rgb_t zero = colour_signed(0);
    assert_true(zero.r > 240 && zero.g > 240 && zero.b > 240);
    assert_true(same(colour_signed(NAN), zero));
    assert_true(same(colour_signed(1), colour_signed(INFINITY)));
    assert_true(same(colour_signed(-1), colour_signed(-7)));
    for (int i = 1; i <= 20; i++) {
        rgb_t up = colour_signed(i / 20.0), down = colour_signed(-i / 20.0);
        rgb_t less = colour_signed((i - 1) / 20.0);
        assert_true(up.r > up.b && down.b > down.r);
        assert_true(up.r + up.g + up.b < less.r + less.g + less.b);
    }
}

/* Four numbers with colours of their own: where they stand to each other. */
static void order(void **state) {
    (void)state;
    const double x[] = {-1, -0.5, 0.5, 1};
    const shape_t shapes[] = {SHAPE2(2, 2), SHAPE1(4), SHAPE2(4, 1), SHAPE3(4, 1, 1),
                              SHAPE4(2, 2, 1, 1)};
    for (size_t k = 0; k < sizeof shapes / sizeof *shapes; k++) {
        canvas_t c = draw(shapes[k], x, 1.25);
        size_t px[4], py[4];
        for (int i = 0; i < 4; i++)
            assert_true(find(&c, colour_signed(x[i] / 1.25), &px[i], &py[i]));
        bool row = k == 1, column = k == 2;
        assert_true(column ? px[1] == px[0] && py[1] > py[0] : px[1] > px[0] && py[1] == py[0]);
        assert_true(row ? px[2] > px[1] && py[2] == py[0] : py[2] > py[0]);
        assert_true(row || column || (px[2] == px[0] && px[3] == px[1] && py[3] == py[2]));
        canvas_free(&c);
    }
}

/* The same colours for the same numbers, whatever else is in the tensor. */
static void range(void **state) {
    (void)state;
    const double x[] = {0.5, 9, -9, NAN, INFINITY, 0};
    canvas_t c = draw(SHAPE2(2, 3), x, 1);
    size_t each = count_of(&c, colour_signed(0.5));
    assert_true(each >= 1000);
    assert_true(count_of(&c, (rgb_t){250, 200, 0}) >= 2 * 1000); /* NaN and Inf */
    assert_true(count_of(&c, colour_signed(1)) >= 1000 && count_of(&c, colour_signed(-1)) >= 1000);
    canvas_free(&c);
    const double nothing[] = {0, 0, NAN};
    c = draw(SHAPE1(3), nothing, 0);
    assert_true(count_of(&c, colour_signed(0)) > 100 && count_of(&c, (rgb_t){250, 200, 0}) > 100);
    canvas_free(&c);
}

static void sizes(void **state) {
    (void)state;
    const shape_t shapes[] = {SHAPE0(),
                              SHAPE1(1),
                              SHAPE1(5000),
                              SHAPE2(1, 5000),
                              SHAPE2(5000, 1),
                              SHAPE2(77, 768),
                              SHAPE3(1280, 8, 8),
                              SHAPE4(2, 320, 4, 4),
                              SHAPE3(3, 512, 600),
                              SHAPE3(20000, 1, 1),
                              SHAPE4(500, 3, 3, 3),
                              {5, {2, 3, 2, 3, 4}},
                              {8, {2, 1, 2, 1, 2, 1, 2, 2}}};
    for (size_t k = 0; k < sizeof shapes / sizeof *shapes; k++) {
        double *x = fixture_random(shape_count(shapes[k]), k + 1, 1);
        canvas_t c = draw(shapes[k], x, 1);
        if (c.width > 4000 || c.height > 6000)
            fail_msg("shape %zu: a picture of %zu x %zu", k, c.width, c.height);
        canvas_free(&c);
        fixture_free(NULL);
    }
}

static void file(void **state) {
    (void)state;
    const double x[] = {1, 2, 3};
    tensor_picture_t tensor = {SHAPE1(3), x, 3, "conv_in.bias", "min 1, max 3"};
    const char *path = scratch_path("t.png");
    picture_t read;
    err_t err;
    must(tensor_picture_write(&tensor, path, &err), &err);
    must(picture_read(&read, path, &err), &err);
    assert_int_equal(read.text_count, 1);
    assert_string_equal(read.values[0], "conv_in.bias\nmin 1, max 3");
    picture_free(&read);
    assert_int_equal(tensor_picture_write(&tensor, scratch_path("no/t.png"), &err), -1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        fixture_test(colours), fixture_test(order), fixture_test(range),
        fixture_test(sizes),   fixture_test(file),
    };
    return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
