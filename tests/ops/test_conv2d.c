/* conv2d: against the slow oracle over geometries that tell left from right and height from
 * width. */
#include <stdio.h>

#include "../fixture.h"
#include "../slow.h"
#include "ops/ops.h"

typedef struct {
    size_t B, Ci, H, W, Co, kernel_h, kernel_w, stride, pad[4]; /* left, right, top, bottom */
} case_t;

static const case_t cases[] = {
    {1, 1, 1, 1, 1, 1, 1, 1, {0, 0, 0, 0}}, /* everything 1 */
    {2, 5, 3, 7, 4, 1, 1, 1, {0, 0, 0, 0}}, /* pointwise */
    {2, 5, 3, 7, 4, 1, 1, 2, {0, 0, 0, 0}}, /* 1x1, but every second pixel */
    {1, 3, 4, 5, 2, 1, 1, 1, {1, 0, 0, 2}}, /* 1x1, but padded */
    {1, 3, 1, 1, 5, 3, 3, 1, {1, 1, 1, 1}}, /* one pixel under a 3x3 */
    {2, 3, 7, 5, 8, 3, 3, 1, {1, 1, 1, 1}}, /* Ci < Co, H > W */
    {2, 8, 5, 7, 3, 3, 3, 1, {1, 1, 1, 1}}, /* Ci > Co, H < W */
    {1, 4, 9, 8, 4, 3, 3, 2, {1, 1, 1, 1}}, /* UNet downsampling, odd and even */
    {2, 4, 8, 9, 6, 3, 3, 2, {0, 1, 0, 1}}, /* VAE encoder downsampling: right and bottom only */
    {1, 2, 6, 6, 3, 3, 3, 2, {1, 0, 1, 0}}, /* its mirror image */
    {1, 2, 5, 6, 3, 3, 3, 1, {3, 0, 1, 2}}, /* four different paddings, wider than the kernel */
    {2, 3, 6, 5, 2, 2, 4, 1, {1, 2, 0, 1}}, /* kernel not square */
    {1, 2, 7, 8, 3, 5, 1, 3, {0, 0, 2, 2}},
    {1, 3, 4, 5, 7, 4, 5, 1, {0, 0, 0, 0}},   /* kernel as big as the image */
    {1, 2, 1, 127, 3, 3, 3, 1, {1, 1, 1, 1}}, /* 127, 128, 129 pixels: round a tile's edge */
    {1, 2, 8, 16, 3, 3, 3, 1, {1, 1, 1, 1}},
    {1, 2, 3, 43, 3, 3, 3, 1, {1, 1, 1, 1}},
    {3, 2, 9, 11, 260, 3, 3, 1, {1, 1, 1, 1}}, /* tiles that straddle batch entries; many columns */
};
enum { CASES = sizeof cases / sizeof *cases };

static void one_case(const case_t *c, bool with_bias, conv2d_way_t way, matmul_way_t how) {
    slow_conv2d_t slow = {
        c->kernel_h, c->kernel_w, c->stride, {c->pad[0], c->pad[1], c->pad[2], c->pad[3]}};
    conv2d_geometry_t fast = {c->kernel_h, c->kernel_w, c->stride, c->pad[0],
                              c->pad[1],   c->pad[2],   c->pad[3]};
    size_t kernel = c->kernel_h * c->kernel_w, K = kernel * c->Ci;
    size_t Ho = conv2d_out(c->H, c->pad[2], c->pad[3], c->kernel_h, c->stride);
    size_t Wo = conv2d_out(c->W, c->pad[0], c->pad[1], c->kernel_w, c->stride);
    size_t n_in = c->B * c->Ci * c->H * c->W, n_out = c->B * c->Co * Ho * Wo;

    double *in = fixture_random(n_in, 1, 1), *weight = fixture_random(c->Co * K, 2, 1);
    double *bias = with_bias ? fixture_random(c->Co, 3, 2) : NULL;
    double *truth = fixture_bytes(n_out * sizeof *truth),
           *size = fixture_bytes(n_out * sizeof *size);
    slow_conv2d(truth, size, in, weight, bias, c->B, c->Ci, c->H, c->W, c->Co, slow);

    real_t *packed = fixture_blank(c->Co * K), *out = fixture_blank(n_out);
    conv2d_pack_weight(packed, fixture_reals(weight, c->Co * K), c->Co, c->Ci, c->kernel_h,
                       c->kernel_w);
    real_t *work = fixture_blank(conv2d_work(c->B, c->Ci, c->H, c->W, c->Co, fast, way, how));
    conv2d(out, fixture_reals_last(in, c->B, c->Ci, c->H * c->W), packed,
           fixture_reals(bias, c->Co), c->B, c->Ci, c->H, c->W, c->Co, fast, work, way, how);
    double spread = (double)(K + 2) * (how == MATMUL_PLAIN ? UNIT64 : UNIT);
    fixture_close(fixture_doubles_last(out, c->B, c->Co, Ho * Wo), truth, size, spread, n_out,
                  "conv2d case %zu%s, %s", (size_t)(c - cases), with_bias ? " with bias" : "",
                  how == MATMUL_PLAIN ? "plain" : "BLAS");
}

static void conv2d_equals_slow(void **state) {
    for (size_t i = 0; i < CASES * 4; i++) {
        one_case(&cases[i / 4], i & 1, CONV_TILES, i & 2 ? MATMUL_PLAIN : MATMUL_BLAS);
        fixture_free(state);
    }
}

/* Winograd's sums are other sums, so their bound is another. A rounding in U V is at most that of
 * (|G||g||G'|)(|B'||d||B|) <= 9/4 max|g| 4 max|d|, and A' ... A adds nine of them; along the way are Ci
 * roundings of the sum and a dozen of the transforms. */
static void winograd_equals_slow(void **state) {
    static const case_t shapes[] = {
        {1, 1, 1, 1, 1, 3, 3, 1, {1, 1, 1, 1}},      {2, 3, 7, 5, 8, 3, 3, 1, {1, 1, 1, 1}},
        {1, 5, 8, 6, 2, 3, 3, 1, {1, 1, 1, 1}},      {2, 8, 5, 7, 3, 3, 3, 1, {0, 0, 0, 0}},
        {1, 2, 5, 6, 3, 3, 3, 1, {3, 0, 1, 2}},      {3, 70, 9, 11, 65, 3, 3, 1, {1, 1, 1, 1}},
        {1, 16, 1, 2, 66000, 3, 3, 1, {1, 1, 1, 1}}, /* two shares of the output channels */
    };
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes * 2; i++) {
        const case_t *c = &shapes[i / 2];
        slow_conv2d_t slow = {3, 3, 1, {c->pad[0], c->pad[1], c->pad[2], c->pad[3]}};
        conv2d_geometry_t fast = {3, 3, 1, c->pad[0], c->pad[1], c->pad[2], c->pad[3]};
        size_t Ho = conv2d_out(c->H, c->pad[2], c->pad[3], 3, 1), P = c->H * c->W;
        size_t Wo = conv2d_out(c->W, c->pad[0], c->pad[1], 3, 1), n_out = c->B * c->Co * Ho * Wo;
        double *in = fixture_random(c->B * c->Ci * P, 1, 1);
        double *weight = fixture_random(c->Co * c->Ci * 9, 2, 1);
        double *bias = i & 1 ? fixture_random(c->Co, 3, 2) : NULL;
        double *truth = fixture_bytes(n_out * sizeof *truth);
        double *size = fixture_bytes(n_out * sizeof *size);
        slow_conv2d(truth, size, in, weight, bias, c->B, c->Ci, c->H, c->W, c->Co, slow);
        real_t *packed = fixture_blank(c->Co * c->Ci * 9), *out = fixture_blank(n_out);
        conv2d_pack_weight(packed, fixture_reals(weight, c->Co * c->Ci * 9), c->Co, c->Ci, 3, 3);
        size_t work = conv2d_work(c->B, c->Ci, c->H, c->W, c->Co, fast, CONV_WINOGRAD, MATMUL_BLAS);
        conv2d(out, fixture_reals_last(in, c->B, c->Ci, P), packed, fixture_reals(bias, c->Co),
               c->B, c->Ci, c->H, c->W, c->Co, fast, fixture_blank(work), CONV_WINOGRAD,
               MATMUL_BLAS);
        for (size_t j = 0; j < n_out; j++) size[j] = 9 * 2.25 * 4 * (double)c->Ci + 2;
        fixture_close(fixture_doubles_last(out, c->B, c->Co, Ho * Wo), truth, size,
                      (double)(c->Ci + 12) * UNIT, n_out, "winograd case %zu", i);
        fixture_free(state);
    }
}

/* Which way is taken: --conv tiles, and plain products, keep to the definition's sums. */
static void ways_are_kept_apart(void **state) {
    enum { C = 64, SIDE = 16, COUNT = C * SIDE * SIDE };
    conv2d_geometry_t g = {3, 3, 1, 1, 1, 1, 1}, coarse = {3, 3, 2, 1, 1, 1, 1};
    real_t *in = fixture_reals(fixture_random(COUNT, 1, 1), COUNT), *out[5];
    real_t *weight = fixture_reals(fixture_random(C * C * 9, 2, 1), C * C * 9);
    static const conv2d_way_t way[5] = {CONV_TILES, CONV_WINOGRAD, CONV_AUTO, CONV_TILES,
                                        CONV_WINOGRAD};
    for (size_t i = 0; i < COUNT; i++) in[i] /= 3; /* as they are, every sum is exact in double */
    for (size_t i = 0; i < 5; i++) {
        matmul_way_t how = i < 3 ? MATMUL_BLAS : MATMUL_PLAIN;
        out[i] = fixture_blank(COUNT);
        real_t *work = fixture_blank(conv2d_work(1, C, SIDE, SIDE, C, g, way[i], how));
        conv2d(out[i], in, weight, NULL, 1, C, SIDE, SIDE, C, g, work, way[i], how);
    }
    assert_memory_not_equal(out[0], out[1], COUNT * sizeof(real_t));
    assert_memory_equal(out[1], out[2],
                        COUNT * sizeof(real_t)); /* 64 channels, 64 tiles: it pays */
    assert_memory_equal(out[3], out[4], COUNT * sizeof(real_t));
    assert_int_equal(conv2d_work(1, C, SIDE, SIDE, C, coarse, CONV_WINOGRAD, MATMUL_BLAS),
                     conv2d_work(1, C, SIDE, SIDE, C, coarse, CONV_TILES, MATMUL_BLAS));
    fixture_free(state);
}

/* Every output of a 3x3 over all ones counts the pixels it saw. */
static void padding_is_zeros(void **state) {
    (void)state;
    real_t image[4] = {1, 1, 1, 1}, weight[9], out[4];
    for (size_t i = 0; i < 9; i++) weight[i] = 1;
    conv2d_geometry_t g = {3, 3, 1, 0, 2, 0, 2}; /* right and bottom */
    real_t *work = fixture_blank(conv2d_work(1, 1, 2, 2, 1, g, CONV_TILES, MATMUL_PLAIN));
    conv2d(out, image, weight, NULL, 1, 1, 2, 2, 1, g, work, CONV_TILES, MATMUL_PLAIN);
    assert_true(out[0] == 4 && out[1] == 2 && out[2] == 2 && out[3] == 1);
}

static void packing_moves_channels_inward(void **state) {
    (void)state;
    real_t in[2 * 3 * 2 * 2], out[24];
    for (size_t i = 0; i < 24; i++) in[i] = (real_t)i;
    conv2d_pack_weight(out, in, 2, 3, 2, 2);
    for (size_t o = 0; o < 2; o++)
        for (size_t uv = 0; uv < 4; uv++)
            for (size_t i = 0; i < 3; i++)
                assert_true(out[(o * 4 + uv) * 3 + i] == (real_t)((o * 3 + i) * 4 + uv));
}

static void pointwise_needs_no_work(void **state) {
    (void)state;
    conv2d_geometry_t g = {1, 1, 1, 0, 0, 0, 0};
    assert_int_equal(conv2d_work(2, 8, 64, 64, 8, g, CONV_AUTO, MATMUL_BLAS), 0);
    g.stride = 2;
    assert_true(conv2d_work(2, 8, 64, 64, 8, g, CONV_AUTO, MATMUL_BLAS) > 0);
}

static void kernel_too_high(void) {
    conv2d_geometry_t g = {4, 1, 1, 0, 0, 1, 0};
    conv2d_work(1, 1, 2, 9, 1, g, CONV_AUTO, MATMUL_BLAS);
}
static void kernel_too_wide(void) {
    real_t x[9] = {0};
    conv2d_geometry_t g = {3, 3, 1, 0, 0, 1, 1};
    conv2d(x, x, x, NULL, 1, 1, 3, 2, 1, g, x, CONV_AUTO, MATMUL_PLAIN);
}
static void stride_of_zero(void) {
    conv2d_out(5, 1, 1, 3, 0);
}
static void empty_image(void) {
    conv2d_out(0, 2, 2, 3, 1);
}

static void broken_contracts_abort(void **state) {
    (void)state;
    fixture_aborts(kernel_too_high,
                   "conv2d: a kernel of 4 does not fit 2 numbers padded by 1 and 0");
    fixture_aborts(kernel_too_wide, "conv2d: a kernel of 3 does not fit 2 numbers");
    fixture_aborts(stride_of_zero, "conv2d: kernel 3, stride 0");
    fixture_aborts(empty_image, "conv2d: a kernel of 3 does not fit 0 numbers");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        fixture_test(conv2d_equals_slow),
        fixture_test(winograd_equals_slow),
        fixture_test(ways_are_kept_apart),
        fixture_test(padding_is_zeros),
        fixture_test(packing_moves_channels_inward),
        fixture_test(pointwise_needs_no_work),
        fixture_test(broken_contracts_abort),
    };
    return cmocka_run_group_tests_name("ops/conv2d " REAL_NAME, tests, NULL, NULL);
}
