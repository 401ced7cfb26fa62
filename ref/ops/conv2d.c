/* conv2d.c - convolution: the definition, then the fast form, a matrix product.
 *
 * 3x3 convolutions have a cheaper way, winograd.c. */
#include <omp.h>
#include <string.h>

#include "core/err.h"
#include "ops/definition.h"
#include "ops/winograd.h"

size_t conv2d_out(size_t n, size_t before, size_t after, size_t kernel, size_t stride) {
    REQUIRE(stride >= 1 && kernel >= 1, "conv2d: kernel %zu, stride %zu: both must be at least 1",
            kernel, stride);
    REQUIRE(n >= 1 && n + before + after >= kernel,
            "conv2d: a kernel of %zu does not fit %zu numbers padded by %zu and %zu", kernel, n,
            before, after);
    return (n + before + after - kernel) / stride + 1;
}

/* out[b,o,y,x] without its bias. A coordinate left of or above the image wraps to a huge number, so one
 * comparison covers both sides. */
static double pixel_definition(const real_t *image, const real_t *filter, size_t Ci, size_t H,
                               size_t W, size_t y, size_t x, conv2d_geometry_t g) {
    double sum = 0;
    for (size_t u = 0; u < g.kernel_h; u++)
        for (size_t v = 0; v < g.kernel_w; v++)
            for (size_t i = 0; i < Ci; i++) {
                size_t iy = y * g.stride + u - g.top, ix = x * g.stride + v - g.left;
                real_t in = iy < H && ix < W ? image[(iy * W + ix) * Ci + i] : 0;
                sum += (double)in * (double)filter[(u * g.kernel_w + v) * Ci + i];
            }
    return sum;
}

void conv2d_definition(real_t *out, const real_t *in, const real_t *weight, const real_t *bias,
                       size_t B, size_t Ci, size_t H, size_t W, size_t Co, conv2d_geometry_t g) {
    size_t Ho = conv2d_out(H, g.top, g.bottom, g.kernel_h, g.stride);
    size_t Wo = conv2d_out(W, g.left, g.right, g.kernel_w, g.stride);
    for (size_t pixel = 0; pixel < B * Ho * Wo; pixel++) {
        size_t b = pixel / (Ho * Wo), y = pixel / Wo % Ho, x = pixel % Wo;
        for (size_t o = 0; o < Co; o++) {
            const real_t *filter = weight + o * g.kernel_h * g.kernel_w * Ci;
            double sum = pixel_definition(in + b * H * W * Ci, filter, Ci, H, W, y, x, g);
            out[pixel * Co + o] = (real_t)(sum + (bias ? (double)bias[o] : 0));
        }
    }
}

/* The fast form. The weight, stored (Co,kh,kw,Ci), is a matrix (Co,K) with K = kh kw Ci. im2col writes for
 * each output pixel the K numbers that it sees, in the same order u, v, i; a pixel outside the image is
 * Ci zeros. Then linear() does the rest, bias included. Because images are channels-last, a pixel's
 * Ci numbers are neighbours in memory (one memcpy), and the product's rows are the output image
 * itself.
 *
 * The matrix is never whole: a band of output pixels at a time, of about BAND_NUMBERS numbers. */
enum { BAND_NUMBERS = 2 << 20, BAND_ROWS = 512, PARALLEL_FROM = 1 << 14 };

/* A 1x1 convolution needs no im2col: the image is the matrix. */
static bool is_pointwise(conv2d_geometry_t g) {
    return g.kernel_h == 1 && g.kernel_w == 1 && g.stride == 1 && g.left == 0 && g.right == 0 &&
           g.top == 0 && g.bottom == 0;
}

static bool by_winograd(size_t B, size_t Ci, size_t Ho, size_t Wo, size_t Co,
                        conv2d_geometry_t geometry, conv2d_way_t way, matmul_way_t how) {
    if (way == CONV_TILES || how == MATMUL_PLAIN || !winograd_can(geometry)) return false;
    return way == CONV_WINOGRAD || winograd_pays(B, Ci, Ho, Wo, Co);
}

/* Pixels in a band: equal bands, none of them small. */
static size_t band_rows(size_t pixels, size_t K) {
    size_t most = BAND_NUMBERS / K > BAND_ROWS ? BAND_NUMBERS / K : BAND_ROWS;
    size_t bands = (pixels + most - 1) / most;
    return (pixels + bands - 1) / bands;
}

size_t conv2d_work(size_t B, size_t Ci, size_t H, size_t W, size_t Co, conv2d_geometry_t geometry,
                   conv2d_way_t way, matmul_way_t how) {
    size_t Ho = conv2d_out(H, geometry.top, geometry.bottom, geometry.kernel_h, geometry.stride);
    size_t Wo = conv2d_out(W, geometry.left, geometry.right, geometry.kernel_w, geometry.stride);
    if (is_pointwise(geometry)) return 0;
    if (by_winograd(B, Ci, Ho, Wo, Co, geometry, way, how)) return winograd_work(B, Ci, Ho, Wo, Co);
    size_t K = geometry.kernel_h * geometry.kernel_w * Ci;
    return band_rows(B * Ho * Wo, K) * K;
}

/* What output pixel (y,x) of one image sees, in the order u, v, i. A coordinate left of or above
 * the image wraps to a huge number, so one comparison covers both sides. */
static void pixel_columns(real_t *columns, const real_t *image, size_t Ci, size_t H, size_t W,
                          size_t y, size_t x, conv2d_geometry_t g) {
    for (size_t u = 0; u < g.kernel_h; u++) {
        size_t iy = y * g.stride + u - g.top;
        for (size_t v = 0; v < g.kernel_w; v++, columns += Ci) {
            size_t ix = x * g.stride + v - g.left;
            if (iy < H && ix < W)
                memcpy(columns, image + (iy * W + ix) * Ci, Ci * sizeof *columns);
            else
                memset(columns, 0, Ci * sizeof *columns);
        }
    }
}

void conv2d(real_t *out, const real_t *in, const real_t *weight, const real_t *bias, size_t B,
            size_t Ci, size_t H, size_t W, size_t Co, conv2d_geometry_t geometry, real_t *work,
            conv2d_way_t way, matmul_way_t how) {
    size_t Ho = conv2d_out(H, geometry.top, geometry.bottom, geometry.kernel_h, geometry.stride);
    size_t Wo = conv2d_out(W, geometry.left, geometry.right, geometry.kernel_w, geometry.stride);
    size_t K = geometry.kernel_h * geometry.kernel_w * Ci, pixels = B * Ho * Wo;
    if (is_pointwise(geometry)) {
        linear(out, in, weight, bias, pixels, K, Co, how);
        return;
    }
    if (by_winograd(B, Ci, Ho, Wo, Co, geometry, way, how)) {
        winograd(out, in, weight, bias, B, Ci, H, W, Co, geometry, Ho, Wo, work, how);
        return;
    }
    size_t band = band_rows(pixels, K);
    for (size_t first = 0; first < pixels; first += band) {
        size_t rows = pixels - first < band ? pixels - first : band;
#pragma omp parallel for schedule(static) if (rows * K >= PARALLEL_FROM && !omp_in_parallel())
        for (size_t r = 0; r < rows; r++) {
            size_t pixel = first + r, b = pixel / (Ho * Wo), y = pixel / Wo % Ho, x = pixel % Wo;
            pixel_columns(work + r * K, in + b * H * W * Ci, Ci, H, W, y, x, geometry);
        }
        linear(out + first * Co, work, weight, bias, rows, K, Co, how);
    }
}

void conv2d_pack_weight(real_t *out, const real_t *weight, size_t Co, size_t Ci, size_t kernel_h,
                        size_t kernel_w) {
    to_channels_last(out, weight, Co, Ci, kernel_h * kernel_w);
}
