/* replay_module.c - see replay_module.h. */
#include "model/replay_module.h"

/* What a module wants, for the message: "(B,16,H,W)". */
static int misfit(const module_t *module, const char *expected, size_t size, shape_t shape,
                  err_t *err) {
    char found[SHAPE_TEXT];
    return err_set(err,
                   "%s: expected an input of shape %s with %zu channels, found %s: give the tensor "
                   "that enters this module, in torch's order",
                   module->name, expected, size, shape_text(found, shape));
}

/* No empty dimension, and a product that fits. */
static int check_count(const module_t *module, shape_t shape, err_t *err) {
    char found[SHAPE_TEXT];
    size_t count;
    if (shape.ndim < 0 || shape.ndim > SHAPE_DIMS)
        return err_set(err, "%s: an input of %d dimensions", module->name, shape.ndim);
    if (!shape_count_checked(shape, &count) || count == 0)
        return err_set(err, "%s: an input of shape %s holds no numbers, or too many to count",
                       module->name, shape_text(found, shape));
    return 0;
}

/* x, row-major in torch's order, as the network keeps it; fresh in the arena. */
static real_t *enter(const run_t *run, const real_t *x, view_t view) {
    real_t *inside = arena_reals(run->arena, shape_count(view.shape));
    view_from_torch(inside, x, view);
    return inside;
}

/* ---- one function per kind: the shape of the output first, then the numbers ------------------ */

/* An image: 4 dimensions with the layer's channels in torch's place for them. */
static bool is_image(const linear_t *layer, shape_t shape) {
    return shape.ndim == 4 && shape.dim[1] == layer->in;
}

static int replay_linear(const run_t *run, const module_t *module, real_t *out, shape_t *shape_out,
                         const real_t *x, shape_t shape, err_t *err) {
    const linear_t *layer = module->as.linear;
    bool image = is_image(layer, shape);
    if (!image && layer->mole && shape.ndim != 3)
        return misfit(module, "(B,T,channels) or (B,channels,H,W)", layer->in, shape, err);
    if (!image && (shape.ndim < 1 || shape.dim[shape.ndim - 1] != layer->in))
        return misfit(module, "(...,channels) or (B,channels,H,W)", layer->in, shape, err);
    *shape_out = shape;
    shape_out->dim[image ? 1 : shape.ndim - 1] = layer->out;
    if (!out) return 0;

    layout_t layout = image ? LAYOUT_CHANNELS_LAST : LAYOUT_TORCH;
    view_t in = {shape, layout}, view = {*shape_out, layout};
    size_t B = shape.ndim > 1 ? shape.dim[0] : 1, T = shape_count(shape) / layer->in / B;
    real_t *inside = arena_reals(run->arena, shape_count(*shape_out));
    linear_forward(run, layer, view, inside, enter(run, x, in), B, T);
    view_to_torch(out, inside, view);
    return 0;
}

static int replay_conv(const run_t *run, const module_t *module, real_t *out, shape_t *shape_out,
                       const real_t *x, shape_t shape, err_t *err) {
    const conv_t *conv = module->as.conv;
    conv2d_geometry_t k = conv->geometry;
    if (shape.ndim != 4 || shape.dim[1] != conv->in)
        return misfit(module, "(B,channels,H,W)", conv->in, shape, err);
    grid_t g = {shape.dim[0], shape.dim[2], shape.dim[3]};
    if (g.H + k.top + k.bottom < k.kernel_h || g.W + k.left + k.right < k.kernel_w)
        return err_set(err, "%s: a kernel of %zu x %zu does not fit an image of %zu x %zu",
                       module->name, k.kernel_h, k.kernel_w, g.H, g.W);
    grid_t o = conv_grid(conv, g);
    *shape_out = SHAPE4(o.B, conv->out, o.H, o.W);
    if (!out) return 0;

    view_t in = {shape, LAYOUT_CHANNELS_LAST}, view = {*shape_out, LAYOUT_CHANNELS_LAST};
    real_t *inside = arena_reals(run->arena, shape_count(*shape_out));
    conv_forward(run, conv, inside, enter(run, x, in), g);
    view_to_torch(out, inside, view);
    return 0;
}

static int replay_group_norm(const run_t *run, const module_t *module, real_t *out,
                             shape_t *shape_out, const real_t *x, shape_t shape, err_t *err) {
    const norm_t *norm = module->as.norm;
    size_t C = norm->channels;
    if (shape.ndim < 2 || shape.dim[1] != C)
        return misfit(module, "(B,channels,...)", C, shape, err);
    *shape_out = shape;
    if (!out) return 0;

    /* Without pixels both orders are the same memory. */
    view_t view = {shape, shape.ndim > 2 ? LAYOUT_CHANNELS_LAST : LAYOUT_TORCH};
    size_t B = shape.dim[0], P = shape_count(shape) / B / C;
    real_t *inside = enter(run, x, view);
    group_norm(inside, inside, norm->weight, norm->bias, B, C, P, norm->groups, norm->eps);
    tap(run->sink, norm->name, inside, view);
    view_to_torch(out, inside, view);
    return 0;
}

static int replay_layer_norm(const run_t *run, const module_t *module, real_t *out,
                             shape_t *shape_out, const real_t *x, shape_t shape, err_t *err) {
    const norm_t *norm = module->as.norm;
    size_t C = norm->channels;
    if (shape.ndim < 1 || shape.dim[shape.ndim - 1] != C)
        return misfit(module, "(...,channels)", C, shape, err);
    *shape_out = shape;
    if (!out) return 0;

    layer_norm(out, x, norm->weight, norm->bias, shape_count(shape) / C, C, norm->eps);
    tap(run->sink, norm->name, out, (view_t){shape, LAYOUT_TORCH});
    return 0;
}

int module_replay(const run_t *run, const module_t *module, real_t *out, shape_t *shape_out,
                  const real_t *x, shape_t shape, err_t *err) {
    if (check_count(module, shape, err)) return -1;
    arena_mark_t mark = arena_mark(run->arena);
    int status = -1;
    switch (module->kind) {
    case MODULE_LINEAR: status = replay_linear(run, module, out, shape_out, x, shape, err); break;
    case MODULE_CONV: status = replay_conv(run, module, out, shape_out, x, shape, err); break;
    case MODULE_GROUP_NORM:
        status = replay_group_norm(run, module, out, shape_out, x, shape, err);
        break;
    case MODULE_LAYER_NORM:
        status = replay_layer_norm(run, module, out, shape_out, x, shape, err);
        break;
    }
    arena_release(run->arena, mark);
    return status;
}
