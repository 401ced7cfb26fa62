/* test_pixels.c - numbers in 0..1 to bytes, and planes to pixels. */
#include "../unit.h"
#include "pipeline/pipeline.h"

static uint8_t byte_of(real_t x) {
    real_t image[3] = {x, 0, 0};
    uint8_t pixel[3];
    pipeline_to_rgb8(pixel, image, 1, 1);
    return pixel[0];
}

/* Just below and above each half between two bytes. */
static void to_the_nearest(void **state) {
    (void)state;
    for (int k = 0; k < 255; k++) {
        assert_int_equal(byte_of((real_t)(k / 255.0)), k);
        assert_int_equal(byte_of((real_t)((k + 0.499) / 255)), k);
        assert_int_equal(byte_of((real_t)((k + 0.501) / 255)), k + 1);
    }
    assert_int_equal(byte_of(1), 255);
}

/* A half goes to the even byte. In float32 1/2 is the only number that meets one exactly, since 255 x is
 * taken in double; in float64 there is one for nearly every byte. */
static void halves_to_even(void **state) {
    (void)state;
    size_t met = 0;
    for (int k = 0; k < 255; k++) {
        real_t x = (real_t)((k + 0.5) / 255);
        if (255.0 * (double)x != k + 0.5) continue;
        met++;
        assert_int_equal(byte_of(x), k + k % 2);
    }
    assert_true(sizeof(real_t) == sizeof(float) ? met == 1 : met > 100);
}

/* image (3,H,W) -> pixels (H,W,3) */
static void red_green_blue(void **state) {
    (void)state;
    enum { H = 2, W = 3 };
    real_t image[3 * H * W];
    uint8_t pixels[3 * H * W];
    for (size_t c = 0, i = 0; c < 3; c++)
        for (size_t p = 0; p < H * W; p++) image[i++] = (real_t)((double)(c * 100 + p) / 255);
    pipeline_to_rgb8(pixels, image, H, W);
    for (size_t p = 0; p < H * W; p++)
        for (size_t c = 0; c < 3; c++) assert_int_equal(pixels[p * 3 + c], c * 100 + p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(to_the_nearest),
        cmocka_unit_test(halves_to_even),
        cmocka_unit_test(red_green_blue),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
