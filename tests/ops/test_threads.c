/* The same bits for one, two and three threads, for a second run, and from inside a parallel
 * region: every operation that divides its work, at sizes where it does. */
#include <omp.h>
#include <string.h>

#include "../fixture.h"
#include "ops/ops.h"

enum { LARGEST = 1 << 18, OUT = 1 << 18 };
/* Enough for conv2d's bands and Winograd's blocks, and three threads' attention blocks of 150 x 150. */
enum { WORK = 1 << 19 };

/* Each runs on the numbers in x and y and says how many it wrote to out. */
typedef size_t run_t(real_t *out, const real_t *x, const real_t *y, real_t *work, matmul_way_t how);

static size_t run_matmul(real_t *out, const real_t *x, const real_t *y, real_t *work,
                         matmul_way_t how) {
    (void)work;
    matmul(out, 300, x, 150, y, 300, false, false, 301, 300, 150, how);
    return 301 * 300;
}
static size_t run_accumulate(real_t *out, const real_t *x, const real_t *y, real_t *work,
                             matmul_way_t how) {
    (void)work;
    for (size_t i = 0; i < 2 * 700; i++) out[i] = x[i];
    matmul(out, 700, x, 300, y, 300, true, true, 2, 700, 300, how);
    return 2 * 700;
}
static size_t run_linear(real_t *out, const real_t *x, const real_t *y, real_t *work,
                         matmul_way_t how) {
    (void)work;
    linear(out, x, y, x, 260, 200, 520, how);
    return 260 * 520;
}
static size_t run_linear_single_tile(real_t *out, const real_t *x, const real_t *y, real_t *work,
                                     matmul_way_t how) {
    (void)work;
    linear(out, x, y, x, 128, 500, 256, how); /* OpenBLAS must not thread by itself */
    return 128 * 256;
}
static size_t conv2d_of(real_t *out, const real_t *x, const real_t *y, real_t *work, size_t H,
                        size_t W, conv2d_way_t way, matmul_way_t how) {
    conv2d_geometry_t g = {3, 3, 1, 1, 1, 1, 1};
    assert_true(conv2d_work(2, 20, H, W, 70, g, way, how) <= WORK);
    conv2d(out, x, y, x, 2, 20, H, W, 70, g, work, way, how);
    return 2 * 70 * H * W;
}
static size_t run_conv2d(real_t *out, const real_t *x, const real_t *y, real_t *work,
                         matmul_way_t how) {
    return conv2d_of(out, x, y, work, 24, 20, CONV_TILES, how);
}
static size_t run_winograd(real_t *out, const real_t *x, const real_t *y, real_t *work,
                           matmul_way_t how) {
    return conv2d_of(out, x, y, work, 23, 21, CONV_WINOGRAD, how);
}
static size_t run_batch(real_t *out, const real_t *x, const real_t *y, real_t *work,
                        matmul_way_t how) {
    (void)work;
    matmul_batch(out, x, y, 3, 170, 150, 200, how);
    return 3 * 170 * 150;
}
static size_t run_conv2d_small(real_t *out, const real_t *x, const real_t *y, real_t *work,
                               matmul_way_t how) {
    conv2d_geometry_t g = {3, 3, 1, 1, 1, 1, 1};
    conv2d(out, x, y, x, 1, 40, 5, 6, 600, g, work, CONV_TILES, how);
    return 600 * 5 * 6;
}
static size_t run_attention(real_t *out, const real_t *x, const real_t *y, real_t *work,
                            matmul_way_t how) {
    attention(out, x, y, x + 999, 2, 150, 150, 3, 16, 0.25, true, work, how);
    return 2 * 150 * 3 * 16;
}
static size_t run_group_norm(real_t *out, const real_t *x, const real_t *y, real_t *work,
                             matmul_way_t how) {
    (void)work, (void)how;
    group_norm(out, x, y, y, 2, 40, 700, 8, 1e-5);
    return 2 * 40 * 700;
}
static size_t run_layer_norm(real_t *out, const real_t *x, const real_t *y, real_t *work,
                             matmul_way_t how) {
    (void)work, (void)how;
    layer_norm(out, x, y, y, 301, 100, 1e-5);
    return 301 * 100;
}
static size_t run_softmax(real_t *out, const real_t *x, const real_t *y, real_t *work,
                          matmul_way_t how) {
    (void)y, (void)work, (void)how;
    softmax(out, x, 301, 77);
    return 301 * 77;
}
static size_t run_activations(real_t *out, const real_t *x, const real_t *y, real_t *work,
                              matmul_way_t how) {
    (void)work, (void)how;
    sigmoid(out, x, 20001);
    silu(out + 20001, x, 20001);
    gelu(out + 40002, x, 20001);
    quick_gelu(out + 60003, x, 20001);
    geglu(out + 80004, y, 301, 100);
    return 80004 + 30100;
}
static size_t run_movers(real_t *out, const real_t *x, const real_t *y, real_t *work,
                         matmul_way_t how) {
    (void)work, (void)how;
    add(out, x, y, 66000);
    add_per_channel(out + 66000, x, y, 2, 330, 100);
    upsample_nearest(out + 132000, x, 2, 30, 16, 17, 33, 35);
    to_channels_last(out + 201300, x, 3, 40, 200);
    from_channels_last(out + 225300, x, 3, 40, 200);
    return 225300 + 24000;
}

static run_t *const runs[] = {
    run_matmul,     run_accumulate, run_batch,        run_linear,    run_linear_single_tile,
    run_conv2d,     run_winograd,   run_conv2d_small, run_attention, run_group_norm,
    run_layer_norm, run_softmax,    run_activations,  run_movers};
enum { RUNS = sizeof runs / sizeof *runs };

static void results_do_not_depend_on_threads(void **state) {
    static const int threads[] = {1, 1, 2, 3, 3};
    int before = omp_get_max_threads();
    real_t *x = fixture_reals(fixture_random(LARGEST, 1, 1), LARGEST);
    real_t *y = fixture_reals(fixture_random(LARGEST, 2, 1), LARGEST);
    real_t *first = fixture_blank(OUT), *again = fixture_blank(OUT), *work = fixture_blank(WORK);
    for (size_t i = 0; i < RUNS * 2; i++) {
        matmul_way_t how = i & 1 ? MATMUL_PLAIN : MATMUL_BLAS;
        omp_set_num_threads(1);
        size_t n = runs[i / 2](first, x, y, work, how);
        assert_true(n <= OUT);
        for (size_t t = 0; t < sizeof threads / sizeof *threads; t++) {
            omp_set_num_threads(threads[t]);
            memset(again, 0xff, OUT * sizeof *again);
            runs[i / 2](again, x, y, work, how);
            if (memcmp(first, again, n * sizeof *first) != 0)
                fail_msg("operation %zu of this file, %s: %d threads give other bits than one",
                         i / 2, how == MATMUL_PLAIN ? "plain" : "BLAS", threads[t]);
            assert_int_equal(omp_get_max_threads(), threads[t]);
        }
    }
    omp_set_num_threads(before);
    fixture_free(state);
}

/* Callers may be threads themselves: then an operation stays on its own. */
static void results_do_not_depend_on_the_caller(void **state) {
    int before = omp_get_max_threads();
    omp_set_num_threads(2);
    real_t *x = fixture_reals(fixture_random(LARGEST, 1, 1), LARGEST);
    real_t *y = fixture_reals(fixture_random(LARGEST, 2, 1), LARGEST);
    real_t *out[3], *work[3];
    for (size_t i = 0; i < 3; i++) out[i] = fixture_blank(OUT), work[i] = fixture_blank(WORK);
    for (size_t i = 0; i < RUNS * 2; i++) {
        matmul_way_t how = i & 1 ? MATMUL_PLAIN : MATMUL_BLAS;
        size_t n = runs[i / 2](out[2], x, y, work[2], how);
#pragma omp parallel for num_threads(2)
        for (int t = 0; t < 2; t++) runs[i / 2](out[t], x, y, work[t], how);
        assert_memory_equal(out[0], out[2], n * sizeof(real_t));
        assert_memory_equal(out[1], out[2], n * sizeof(real_t));
    }
    omp_set_num_threads(before);
    fixture_free(state);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        fixture_test(results_do_not_depend_on_threads),
        fixture_test(results_do_not_depend_on_the_caller),
    };
    return cmocka_run_group_tests_name("ops/threads " REAL_NAME, tests, NULL, NULL);
}
