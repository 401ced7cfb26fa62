/* api_images.c - the operations of mole.h on images: row-major (B,C,H,W) outside, channels-last inside.
 *
 * The change of order copies numbers and computes none, so results are those of ref/ops to the bit. Rows of
 * op_table.h stand as in api_ops.c. */
#include <limits.h>
#include <stdlib.h>

#include "api/op_table.h"

enum { REAL = sizeof(mole_real_t) };

/* x (B,C,P) as (B,P,C) in fresh memory, or NULL after a complaint. */
static real_t *channels_last(check_t *c, const real_t *x, size_t B, size_t C, size_t P) {
    real_t *copy = check_scratch(c, c->failed ? 0 : B * C * P);
    if (copy) to_channels_last(copy, x, B, C, P);
    return copy;
}

int mole_to_channels_last(mole_real_t *out, const mole_real_t *x, size_t B, size_t C, size_t P,
                          mole_error_t *error) {
    check_t c = check_start("to_channels_last", error);
    check_out(&c, "out", out, SHAPE3(B, P, C), REAL);
    check_in(&c, "x", x, SHAPE3(B, C, P), REAL);
    if (!c.failed) to_channels_last(out, x, B, C, P);
    return check_result(&c);
}

int mole_from_channels_last(mole_real_t *out, const mole_real_t *x, size_t B, size_t C, size_t P,
                            mole_error_t *error) {
    check_t c = check_start("from_channels_last", error);
    check_out(&c, "out", out, SHAPE3(B, C, P), REAL);
    check_in(&c, "x", x, SHAPE3(B, P, C), REAL);
    if (!c.failed) from_channels_last(out, x, B, C, P);
    return check_result(&c);
}

int mole_group_norm(mole_real_t *out, const mole_real_t *x, const mole_real_t *weight,
                    const mole_real_t *bias, size_t B, size_t C, size_t P, size_t G, double eps,
                    mole_error_t *error) {
    check_t c = check_start("group_norm", error);
    check_out(&c, "out", out, SHAPE3(B, C, P), REAL);
    check_in_place(&c, "x", x, SHAPE3(B, C, P), REAL);
    check_in(&c, "weight", weight, SHAPE1(C), REAL);
    check_in(&c, "bias", bias, SHAPE1(C), REAL);
    check_that(&c, G >= 1 && C % G == 0, "%zu groups do not divide %zu channels", G, C);
    check_that(&c, eps > 0, "eps is %g, expected a number above 0", eps);
    real_t *last = channels_last(&c, x, B, C, P);
    if (!c.failed) {
        group_norm(last, last, weight, bias, B, C, P, G, eps);
        from_channels_last(out, last, B, C, P);
    }
    free(last);
    return check_result(&c);
}

static int run_group_norm(op_call_t *c) {
    return mole_group_norm(op_result(c, op_shape(c, 0)), op_x(c, 0), op_x(c, 1), op_x(c, 2),
                           op_size(c, "B"), op_size(c, "C"), op_size(c, "..."),
                           (size_t)c->attr[0][0], c->attr[1][0], &c->error);
}

int mole_add_per_channel(mole_real_t *out, const mole_real_t *x, const mole_real_t *y, size_t B,
                         size_t C, size_t P, mole_error_t *error) {
    check_t c = check_start("add_per_channel", error);
    check_out(&c, "out", out, SHAPE3(B, C, P), REAL);
    check_in_place(&c, "x", x, SHAPE3(B, C, P), REAL);
    check_in(&c, "y", y, SHAPE2(B, C), REAL);
    real_t *last = channels_last(&c, x, B, C, P);
    if (!c.failed) {
        add_per_channel(last, last, y, B, P, C);
        from_channels_last(out, last, B, C, P);
    }
    free(last);
    return check_result(&c);
}

int mole_concat(mole_real_t *out, const mole_real_t *a, const mole_real_t *b, size_t B, size_t Ca,
                size_t Cb, size_t P, mole_error_t *error) {
    check_t c = check_start("concat", error);
    check_that(&c, Ca <= SIZE_MAX - Cb, "Ca=%zu + Cb=%zu overflows", Ca, Cb);
    check_out(&c, "out", out, SHAPE3(B, Ca + Cb, P), REAL);
    check_in(&c, "a", a, SHAPE3(B, Ca, P), REAL);
    check_in(&c, "b", b, SHAPE3(B, Cb, P), REAL);
    /* Row-major, the channels of one sample are one run of numbers. */
    if (!c.failed) concat(out, a, b, B, Ca * P, Cb * P);
    return check_result(&c);
}

/* A list of any length: joined from the left. */
static int run_concat(op_call_t *c) {
    op_tensor_t joined = c->input[0][0];
    size_t B = op_size(c, "B"), P = op_size(c, "...");
    for (size_t i = 1; i < c->length[0]; i++) {
        const op_tensor_t *next = &c->input[0][i];
        shape_t expected = joined.shape, shape = joined.shape;
        expected.dim[1] = next->shape.dim[1];
        if (!shape_equal(expected, next->shape)) return op_refuse(c, "inputs of unlike shape");
        shape.dim[1] += next->shape.dim[1];
        const real_t *left = joined.x;
        joined.x = op_result(c, shape);
        if (mole_concat(joined.x, left, next->x, B, joined.shape.dim[1], next->shape.dim[1], P,
                        &c->error))
            return -1;
        joined.shape = shape;
    }
    c->out = joined.x;
    c->shape = joined.shape;
    return 0;
}

int mole_upsample_nearest(mole_real_t *out, const mole_real_t *x, size_t B, size_t C, size_t H,
                          size_t W, size_t Ho, size_t Wo, mole_error_t *error) {
    check_t c = check_start("upsample_nearest", error);
    check_out(&c, "out", out, SHAPE4(B, C, Ho, Wo), REAL);
    check_in(&c, "x", x, SHAPE4(B, C, H, W), REAL);
    /* Every channel is an image of one channel, whose two memory orders are the same. */
    if (!c.failed) upsample_nearest(out, x, B * C, 1, H, W, Ho, Wo);
    return check_result(&c);
}

static int run_upsample_nearest(op_call_t *c) {
    size_t B = op_size(c, "B"), C = op_size(c, "C");
    size_t Ho = (size_t)c->attr[0][0], Wo = (size_t)c->attr[0][1];
    return mole_upsample_nearest(op_result(c, SHAPE4(B, C, Ho, Wo)), op_x(c, 0), B, C,
                                 op_size(c, "H"), op_size(c, "W"), Ho, Wo, &c->error);
}

/* ---- convolution ------------------------------------------------------------------------------- */

static void check_side(check_t *c, size_t n, size_t before, size_t after, size_t kernel,
                       size_t stride) {
    check_that(c, stride >= 1 && kernel >= 1, "kernel %zu, stride %zu: both must be at least 1",
               kernel, stride);
    check_that(c, before <= INT_MAX && after <= INT_MAX && n <= SIZE_MAX / 2,
               "%zu numbers padded by %zu and %zu: too many", n, before, after);
    check_that(c, n >= 1 && n + before + after >= kernel,
               "a kernel of %zu does not fit %zu numbers padded by %zu and %zu", kernel, n, before,
               after);
}

int mole_conv2d_out(size_t *out, size_t n, size_t before, size_t after, size_t kernel,
                    size_t stride, mole_error_t *error) {
    check_t c = check_start("conv2d_out", error);
    check_that(&c, out != NULL, "out is NULL");
    check_side(&c, n, before, after, kernel, stride);
    if (!c.failed) *out = conv2d_out(n, before, after, kernel, stride);
    return check_result(&c);
}

static void check_conv2d(check_t *c, mole_real_t *out, const mole_real_t *x,
                         const mole_real_t *weight, const mole_real_t *bias, size_t B, size_t Ci,
                         size_t H, size_t W, size_t Co, const conv2d_geometry_t *g) {
    check_side(c, H, g->top, g->bottom, g->kernel_h, g->stride);
    check_side(c, W, g->left, g->right, g->kernel_w, g->stride);
    if (c->failed) return;
    size_t Ho = conv2d_out(H, g->top, g->bottom, g->kernel_h, g->stride);
    size_t Wo = conv2d_out(W, g->left, g->right, g->kernel_w, g->stride);
    check_out(c, "out", out, SHAPE4(B, Co, Ho, Wo), REAL);
    check_in(c, "x", x, SHAPE4(B, Ci, H, W), REAL);
    check_in(c, "weight", weight, SHAPE4(Co, Ci, g->kernel_h, g->kernel_w), REAL);
    check_in_or_null(c, "bias", bias, SHAPE1(Co), REAL);
}

/* mole_conv2d in a way of the caller's. */
static int conv2d_by(conv2d_way_t way, mole_real_t *out, const mole_real_t *x,
                     const mole_real_t *weight, const mole_real_t *bias, size_t B, size_t Ci,
                     size_t H, size_t W, size_t Co, size_t kernel_h, size_t kernel_w, size_t stride,
                     const mole_padding_t *padding, mole_how_t how, mole_error_t *error) {
    check_t c = check_start("conv2d", error);
    check_that(&c, padding != NULL, "padding is NULL");
    check_how(&c, how);
    if (c.failed) return -1;
    conv2d_geometry_t g = {kernel_h,       kernel_w,     stride,         padding->left,
                           padding->right, padding->top, padding->bottom};
    check_conv2d(&c, out, x, weight, bias, B, Ci, H, W, Co, &g);
    if (c.failed) return -1;
    size_t P = conv2d_out(H, g.top, g.bottom, kernel_h, stride) *
               conv2d_out(W, g.left, g.right, kernel_w, stride);
    check_that(&c, how == MOLE_PLAIN || (Ci * kernel_h * kernel_w <= INT_MAX && Co <= INT_MAX),
               "%zu and %zu channels: too many for BLAS, which counts in int; use MOLE_PLAIN", Ci,
               Co);
    real_t *last = channels_last(&c, x, B, Ci, H * W),
           *packed = check_scratch(&c, Co * Ci * kernel_h * kernel_w);
    real_t *result = check_scratch(&c, B * Co * P),
           *work = check_scratch(&c, conv2d_work(B, Ci, H, W, Co, g, way, api_how(how)));
    if (!c.failed) {
        conv2d_pack_weight(packed, weight, Co, Ci, kernel_h, kernel_w);
        conv2d(result, last, packed, bias, B, Ci, H, W, Co, g, work, way, api_how(how));
        from_channels_last(out, result, B, Co, P);
    }
    free(work);
    free(result);
    free(packed);
    free(last);
    return check_result(&c);
}

int mole_conv2d(mole_real_t *out, const mole_real_t *x, const mole_real_t *weight,
                const mole_real_t *bias, size_t B, size_t Ci, size_t H, size_t W, size_t Co,
                size_t kernel_h, size_t kernel_w, size_t stride, const mole_padding_t *padding,
                mole_how_t how, mole_error_t *error) {
    return conv2d_by(CONV_TILES, out, x, weight, bias, B, Ci, H, W, Co, kernel_h, kernel_w, stride,
                     padding, how, error);
}

static int run_conv2d(op_call_t *c) {
    const double *pad = c->attr[1];
    mole_padding_t p = {(size_t)pad[0], (size_t)pad[1], (size_t)pad[2], (size_t)pad[3]};
    size_t B = op_size(c, "B"), Ci = op_size(c, "Ci"), H = op_size(c, "H"), W = op_size(c, "W");
    size_t Co = op_size(c, "Co"), kh = op_size(c, "kh"), kw = op_size(c, "kw"), Ho, Wo;
    size_t stride = (size_t)c->attr[0][0];
    if (mole_conv2d_out(&Ho, H, p.top, p.bottom, kh, stride, &c->error) ||
        mole_conv2d_out(&Wo, W, p.left, p.right, kw, stride, &c->error))
        return -1;
    return conv2d_by(c->way, op_result(c, SHAPE4(B, Co, Ho, Wo)), op_x(c, 0), op_x(c, 1),
                     op_x(c, 2), B, Ci, H, W, Co, kh, kw, stride, &p, c->how, &c->error);
}

/* ---- the table --------------------------------------------------------------------------------- */

const op_t api_images[] = {
    {.name = "group_norm",
     .input = {TENSOR("x", "B C ..."), TENSOR("weight", "C"), TENSOR("bias", "C")},
     .attr = {SIZE("groups", 1, 1 << 20), NUMBER("eps")},
     .run = run_group_norm},
    {.name = "concat", .input = {TENSORS("x", "B _ ...")}, .run = run_concat},
    {.name = "upsample_nearest",
     .input = {TENSOR("x", "B C H W")},
     .attr = {SIZES("size", 2, 1, 1 << 14)},
     .run = run_upsample_nearest},
    {.name = "conv2d",
     .input = {TENSOR("x", "B Ci H W"), TENSOR("weight", "Co Ci kh kw"),
               TENSOR_OR_NULL("bias", "Co")},
     .attr = {SIZE("stride", 1, 1 << 10), SIZES("padding", 4, 0, 1 << 10)},
     .run = run_conv2d,
     .multiplies = true},
    {0}};
