/* Attention to a word, against a plain softmax; and colours, against numbers worked out by hand. */
#include <math.h>
#include <omp.h>

#include "../fixture.h"
#include "sheet/attention.h"
#include "sheet/colour.h"

enum { T = 7, S = 5, NH = 3, D = 4, C = NH * D };

/* softmax(q k^T / sqrt(D))[h,t,s], written down as it is defined. */
static double softmax_at(const real_t *q, const real_t *k, size_t h, size_t t, size_t s) {
    double e[S], sum = 0;
    for (size_t i = 0; i < S; i++) {
        double dot = 0;
        for (size_t d = 0; d < D; d++)
            dot += (double)q[t * C + h * D + d] * (double)k[i * C + h * D + d];
        e[i] = exp(dot / sqrt(D));
        sum += e[i];
    }
    return e[s] / sum;
}

static real_t *numbers(size_t n, uint64_t seed) {
    return fixture_reals(fixture_random(n, seed, 2), n);
}

static void a_plain_softmax(void **state) {
    (void)state;
    static const size_t token[] = {1, 4};
    real_t *q = numbers(T * C, 1), *k = numbers(S * C, 2);
    double got[T];
    for (size_t count = 1; count <= 2; count++) {
        attention_to(got, q, k, T, S, NH, D, token, count);
        for (size_t t = 0; t < T; t++) {
            double truth = 0;
            for (size_t h = 0; h < NH; h++)
                for (size_t i = 0; i < count; i++) truth += softmax_at(q, k, h, t, token[i]) / NH;
            assert_true(fabs(got[t] - truth) < 64 * UNIT64);
        }
    }
}

/* Each token's own share. */
static void every_share(void **state) {
    (void)state;
    real_t *q = numbers(T * C, 11), *k = numbers(S * C, 12);
    double got[T * S];
    attention_shares(got, q, k, T, S, NH, D);
    for (size_t t = 0; t < T; t++)
        for (size_t s = 0; s < S; s++) {
            double truth = 0;
            for (size_t h = 0; h < NH; h++) truth += softmax_at(q, k, h, t, s) / NH;
            assert_true(fabs(got[t * S + s] - truth) < 64 * UNIT64);
        }
}

/* All tokens together have all of it; scores that exp would not hold are no trouble. */
static void all_of_it(void **state) {
    (void)state;
    static const size_t token[] = {0, 1, 2, 3, 4};
    double got[T];
    real_t *q = numbers(T * C, 3), *k = numbers(S * C, 4);
    for (size_t i = 0; i < T * C; i++) q[i] *= 4000;
    attention_to(got, q, k, T, S, NH, D, token, S);
    for (size_t t = 0; t < T; t++) assert_true(fabs(got[t] - 1) < 16 * UNIT64);
}

static void any_number_of_threads(void **state) {
    (void)state;
    static const size_t token[] = {2};
    double one[T], three[T];
    real_t *q = numbers(T * C, 5), *k = numbers(S * C, 6);
    omp_set_num_threads(1);
    attention_to(one, q, k, T, S, NH, D, token, 1);
    omp_set_num_threads(3);
    attention_to(three, q, k, T, S, NH, D, token, 1);
    omp_set_num_threads(1);
    assert_memory_equal(one, three, sizeof one);
}

/* ---- colours ------------------------------------------------------------------------------------------ */

static double luminance(rgb_t c) {
    return 0.299 * c.r + 0.587 * c.g + 0.114 * c.b;
}

/* Larger is lighter, all the way: the order is seen without colours too. */
static void heat_rises(void **state) {
    (void)state;
    for (int i = 0; i < 100; i++)
        assert_true(luminance(colour_heat(i / 100.0)) < luminance(colour_heat((i + 1) / 100.0)));
    rgb_t low = colour_heat(-1), high = colour_heat(7), none = colour_heat(NAN);
    rgb_t zero = colour_heat(0), one = colour_heat(1);
    assert_memory_equal(&low, &zero, sizeof low);
    assert_memory_equal(&none, &zero, sizeof low);
    assert_memory_equal(&high, &one, sizeof high);
}

/* Each place of the picture takes the number that it lies in. */
static void heat_over_a_picture(void **state) {
    (void)state;
    enum { H = 2, W = 4 };
    static const double map[] = {0, 1, 0.5, 2};
    uint8_t picture[3 * H * W], out[3 * H * W];
    for (size_t i = 0; i < sizeof picture; i++) picture[i] = (uint8_t)(10 * i);
    heat_over(out, picture, H, W, map, 2, 2, 2);
    for (size_t p = 0; p < H * W; p++) {
        rgb_t c = colour_over(map[p / W * 2 + p % W / 2] / 2, colour_grey(picture + 3 * p));
        assert_true(out[3 * p] == c.r && out[3 * p + 1] == c.g && out[3 * p + 2] == c.b);
    }
    heat_over(picture, picture, H, W, map, 2, 2, 2);
    assert_memory_equal(picture, out, sizeof out);
    static const uint8_t pixel[] = {10, 100, 200};
    assert_int_equal(colour_grey(pixel), 84); /* 2.99 + 58.7 + 22.8 */
}

static void latents_on_a_fixed_scale(void **state) {
    (void)state;
    static const real_t x[] = {-9, -3, 0, 3, 9, 1.5, 0, 0, 0, 7, 7, 7}; /* (4,1,3) */
    static const uint8_t expected[] = {0, 255, 128, 0, 255, 128, 128, 191, 128};
    uint8_t out[9], grey[9];
    latents_rgb(out, x, 4, 1, 3);
    assert_memory_equal(out, expected, sizeof out);
    latents_rgb(grey, x, 2, 1, 3);
    static const uint8_t first[] = {0, 0, 0, 0, 0, 0, 128, 128, 128};
    assert_memory_equal(grey, first, sizeof grey);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        fixture_test(a_plain_softmax),
        fixture_test(every_share),
        fixture_test(all_of_it),
        fixture_test(any_number_of_threads),
        fixture_test(heat_rises),
        fixture_test(heat_over_a_picture),
        fixture_test(latents_on_a_fixed_scale),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
