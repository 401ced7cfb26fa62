/* Shapes: counting, comparing, and the text that messages show. */
#include <stdint.h>
#include <string.h>

#include "../fixture.h"
#include "core/shape.h"

static void counts(void **state) {
    (void)state;
    assert_int_equal(shape_count(SHAPE0()), 1);
    assert_int_equal(shape_count(SHAPE1(7)), 7);
    assert_int_equal(shape_count(SHAPE4(2, 3, 5, 7)), 210);
    assert_int_equal(shape_count(SHAPE3(2, 0, 5)), 0);
}

static void counts_checked(void **state) {
    (void)state;
    size_t count = 99, half = (size_t)1 << (4 * sizeof(size_t));
    assert_true(shape_count_checked(SHAPE0(), &count) && count == 1);
    assert_true(shape_count_checked(SHAPE4(2, 3, 5, 7), &count) && count == 210);
    assert_true(shape_count_checked(SHAPE2(half, half - 1), &count) && count == half * (half - 1));
    assert_true(shape_count_checked(SHAPE1(SIZE_MAX), &count) && count == SIZE_MAX);
    assert_false(shape_count_checked(SHAPE2(half, half), &count));
    assert_false(shape_count_checked(SHAPE3(SIZE_MAX, 2, 1), &count));
    /* An overflow on the way is one, whatever comes after it. */
    assert_false(shape_count_checked(SHAPE3(half, half, 0), &count));
}

static void equality(void **state) {
    (void)state;
    assert_true(shape_equal(SHAPE0(), SHAPE0()));
    assert_true(shape_equal(SHAPE3(1, 2, 3), SHAPE3(1, 2, 3)));
    assert_false(shape_equal(SHAPE3(1, 2, 3), SHAPE3(1, 2, 4)));
    assert_false(shape_equal(SHAPE3(1, 2, 3), SHAPE3(4, 2, 3)));
    assert_false(shape_equal(SHAPE2(2, 3), SHAPE3(2, 3, 1)));
    assert_false(shape_equal(SHAPE1(1), SHAPE0()));
    shape_t unused = SHAPE2(2, 3);
    unused.dim[5] = 9; /* beyond ndim: no part of the shape */
    assert_true(shape_equal(unused, SHAPE2(2, 3)));
}

static void text(void **state) {
    (void)state;
    char buffer[SHAPE_TEXT];
    assert_string_equal(shape_text(buffer, SHAPE0()), "()");
    assert_string_equal(shape_text(buffer, SHAPE1(7)), "(7)");
    assert_string_equal(shape_text(buffer, SHAPE4(2, 4, 64, 64)), "(2, 4, 64, 64)");
    assert_ptr_equal(shape_text(buffer, SHAPE0()), buffer);
    shape_t longest = {SHAPE_DIMS, {0}};
    for (int i = 0; i < SHAPE_DIMS; i++) longest.dim[i] = SIZE_MAX;
    shape_text(buffer, longest);
    assert_true(strlen(buffer) < SHAPE_TEXT);
    assert_int_equal(buffer[strlen(buffer) - 1], ')');
}

int main(void) {
    const struct CMUnitTest tests[] = {
        fixture_test(counts),
        fixture_test(counts_checked),
        fixture_test(equality),
        fixture_test(text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
