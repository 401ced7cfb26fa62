/* The sums of magnitudes behind the provable bound of a linear map, against sums written out by hand. */
#include <stdint.h>

#include "../fixture.h"
#include "compare/compare_internal.h"

/* y = W x + b with two inputs and two outputs; signs that would cancel. */
static const real_t weight[] = {1, -2, -3, 4}, bias[] = {-10, 20};
static const linear_t affine = {.in = 2, .out = 2, .weight = weight, .bias = bias};
static const linear_t no_bias = {.in = 2, .out = 2, .weight = weight};

static void expect(const module_t *module, const double *x, shape_t shape, size_t K,
                   const double *expected, size_t count) {
    double found[16] = {0};
    assert_true(count <= 16);
    assert_int_equal(compare_bound_magnitudes(module, found, x, shape), K);
    fixture_close(found, expected, NULL, 0, count, "magnitudes of %zu products", K);
}

static void linear_adds_products_and_bias(void **state) {
    (void)state;
    module_t m = {.kind = MODULE_LINEAR, .as.linear = &affine};
    static const double x[] = {1, 1, -5, 7, 0, 0};
    static const double expected[] = {10 + 1 + 2, 20 + 3 + 4, 10 + 5 + 14, 20 + 15 + 28, 10, 20};
    expect(&m, x, SHAPE2(3, 2), 2, expected, 6);
    expect(&m, x, SHAPE3(1, 3, 2), 2, expected, 6);
    m.as.linear = &no_bias;
    expect(&m, x, SHAPE2(1, 2), 2, (const double[]){3, 7}, 2);
}

/* A 1x1 convolution: (B,C,H,W) = (2,2,1,2), every pixel and sample another. */
static void pixels_have_their_own(void **state) {
    (void)state;
    module_t m = {.kind = MODULE_LINEAR, .as.linear = &affine};
    static const double x[] = {1, 2, -3, 4, 5, -6, 7, 8};
    static const double expected[] = {10 + 1 + 6,  10 + 2 + 8,  20 + 3 + 12,  20 + 6 + 16,
                                      10 + 5 + 14, 10 + 6 + 16, 20 + 15 + 28, 20 + 18 + 32};
    expect(&m, x, SHAPE4(2, 2, 1, 2), 2, expected, 8);
}

/* 3x3 over a 2x2 image with padding of one: each pixel sees all four, through other weights. Stride 2 leaves
 * the first pixel. */
static void windows_end_at_the_border(void **state) {
    (void)state;
    static const real_t kernel[] = {1, -2, 3, -4, 5, -6, 7, -8, 9}, offset[] = {-100};
    static const double x[] = {1, -10, 1000, 10000};
    conv_t conv = {
        .in = 1, .out = 1, .geometry = {3, 3, 1, 1, 1, 1, 1}, .weight = kernel, .bias = offset};
    const module_t m = {.kind = MODULE_CONV, .as.conv = &conv};
    static const double expected[] = {100 + 5 + 60 + 8000 + 90000, 100 + 4 + 50 + 7000 + 80000,
                                      100 + 2 + 30 + 5000 + 60000, 100 + 1 + 20 + 4000 + 50000};
    expect(&m, x, SHAPE4(1, 1, 2, 2), 9, expected, 4);
    conv.geometry.stride = 2;
    expect(&m, x, SHAPE4(1, 1, 2, 2), 9, expected, 1);
}

static void other_modules_and_shapes_have_none(void **state) {
    (void)state;
    double out[4], x[4] = {0};
    const norm_t norm = {.channels = 2};
    const module_t norms = {.kind = MODULE_GROUP_NORM, .as.norm = &norm};
    const module_t m = {.kind = MODULE_LINEAR, .as.linear = &affine};
    assert_int_equal(compare_bound_magnitudes(&norms, out, x, SHAPE2(1, 2)), 0);
    assert_int_equal(compare_bound_magnitudes(&m, out, x, SHAPE2(1, 3)), 0);
    assert_int_equal(compare_bound_magnitudes(&m, out, x, SHAPE1(2)), 0);
    assert_int_equal(compare_bound_magnitudes(&m, out, x, SHAPE4(1, 1, 2, 1)), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        fixture_test(linear_adds_products_and_bias),
        fixture_test(pixels_have_their_own),
        fixture_test(windows_end_at_the_border),
        fixture_test(other_modules_and_shapes_have_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
