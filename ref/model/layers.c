/* layers.c - see layers.h. */
#include "model/layers.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/file.h"

/* The same tensor with other channels. */
static view_t with_channels(view_t view, size_t channels) {
    view.shape.dim[view.layout == LAYOUT_CHANNELS_LAST ? 1 : view.shape.ndim - 1] = channels;
    return view;
}

void linear_forward(const run_t *run, const linear_t *layer, view_t view, real_t *out,
                    const real_t *x, size_t B, size_t T) {
    arena_mark_t mark = arena_mark(run->arena);
    const real_t *weight = layer->weight;
    if (!weight) {
        real_t *widened = arena_reals(run->arena, layer->in * layer->out);
        late_numbers(widened, &layer->late, layer->in * layer->out);
        weight = widened;
    }
    tap_input(run->sink, layer->name, x, with_channels(view, layer->in));
    if (layer->mole)
        mole_forward(run, layer->mole, layer->name, view, out, x, weight, layer->bias, B, T);
    else
        linear(out, x, weight, layer->bias, B * T, layer->in, layer->out, run->matmul);
    arena_release(run->arena, mark);
    tap(run->sink, layer->name, out, view);
}

size_t linear_work(const run_t *run, const linear_t *layer, size_t B, size_t T) {
    size_t widened = layer->weight ? 0 : layer->in * layer->out;
    return widened + (layer->mole ? mole_work(run, layer->mole, B, T) : 0);
}

void linear_tokens(const run_t *run, const linear_t *layer, real_t *out, const real_t *x, size_t B,
                   size_t T) {
    linear_forward(run, layer, VIEW_TOKENS(B, T, layer->out), out, x, B, T);
}

void linear_image(const run_t *run, const linear_t *layer, real_t *out, const real_t *x, grid_t g) {
    linear_forward(run, layer, VIEW_IMAGE(g.B, layer->out, g.H, g.W), out, x, g.B, g.H * g.W);
}

grid_t conv_grid(const conv_t *conv, grid_t g) {
    conv2d_geometry_t k = conv->geometry;
    return (grid_t){g.B, conv2d_out(g.H, k.top, k.bottom, k.kernel_h, k.stride),
                    conv2d_out(g.W, k.left, k.right, k.kernel_w, k.stride)};
}

size_t conv_work(const run_t *run, const conv_t *conv, grid_t g) {
    return conv2d_work(g.B, conv->in, g.H, g.W, conv->out, conv->geometry, run->conv, run->matmul);
}

void conv_forward(const run_t *run, const conv_t *conv, real_t *out, const real_t *x, grid_t g) {
    tap_input(run->sink, conv->name, x, VIEW_IMAGE(g.B, conv->in, g.H, g.W));
    arena_mark_t mark = arena_mark(run->arena);
    real_t *work = arena_reals(run->arena, conv_work(run, conv, g));
    conv2d(out, x, conv->weight, conv->bias, g.B, conv->in, g.H, g.W, conv->out, conv->geometry,
           work, run->conv, run->matmul);
    arena_release(run->arena, mark);
    grid_t o = conv_grid(conv, g);
    tap(run->sink, conv->name, out, VIEW_IMAGE(o.B, conv->out, o.H, o.W));
}

void group_norm_forward(const run_t *run, const norm_t *norm, real_t *out, const real_t *x,
                        grid_t g, bool as_tokens) {
    size_t C = norm->channels, P = g.H * g.W;
    view_t image = VIEW_IMAGE(g.B, C, g.H, g.W);
    view_t flat = {SHAPE3(g.B, C, P), LAYOUT_CHANNELS_LAST};
    tap_input(run->sink, norm->name, x, as_tokens ? flat : image);
    group_norm(out, x, norm->weight, norm->bias, g.B, C, P, norm->groups, norm->eps);
    tap(run->sink, norm->name, out, as_tokens ? flat : image);
}

void layer_norm_forward(const run_t *run, const norm_t *norm, real_t *out, const real_t *x,
                        size_t B, size_t T) {
    tap_input(run->sink, norm->name, x, VIEW_TOKENS(B, T, norm->channels));
    layer_norm(out, x, norm->weight, norm->bias, B * T, norm->channels, norm->eps);
    tap(run->sink, norm->name, out, VIEW_TOKENS(B, T, norm->channels));
}

/* ---- binding ------------------------------------------------------------------------------------- */

/* The name with `apart` in place of `fused`; fresh memory. */
static char *renamed(const char *name, const char *fused, const char *apart) {
    const char *at = strstr(name, fused);
    return xasprintf("%.*s%s%s", (int)(at - name), name, apart, at + strlen(fused));
}

int bind_check_fused(const weights_t *w, bool allow_unused, err_t *err) {
    static const char *const fused[] = {".to_qkv.", ".to_kv."};
    char shown[SHOWN_TEXT];
    for (size_t i = 0; i < 2 * weights_count(w); i++) {
        const char *name = weights_entry(w, i / 2).name, *which = fused[i % 2];
        if (!strstr(name, which)) continue;
        char *key = renamed(name, which, ".to_k.");
        bool apart = weights_has(w, key);
        free(key);
        if (apart && allow_unused) continue;
        return err_set(
            err,
            "%s: tensor '%s' is several projections in one, as fuse_qkv_projections() of diffusers "
            "makes it; expected to_q, to_k and to_v: %s",
            weights_path(w), text_shown(shown, name),
            apart ? "they are in the file too, so save it without the fused ones, or pass over "
                    "these with --allow-unused"
                  : "split its rows into equal parts, in this order, and save those");
    }
    return 0;
}

const char *bind_name(binder_t *b, const char *format, ...) {
    char text[256];
    va_list args;
    va_start(args, format);
    int length = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    REQUIRE(length >= 0 && (size_t)length < sizeof text, "bind_name: '%s' is too long", format);
    return pool_printf(b->pool, "%s", text);
}

const char *bind_tap(binder_t *b, const char *name) {
    return *name ? bind_name(b, "%s.%s", b->component, name) : bind_name(b, "%s", b->component);
}

void bind_tensor(binder_t *b, const real_t **tensor, shape_t shape, const char *name) {
    if (!b->failed) b->failed = weights_take(b->weights, name, shape, tensor, b->err);
}

static void bind_parameter(binder_t *b, const real_t **tensor, shape_t shape, const char *module,
                           const char *parameter) {
    bind_tensor(b, tensor, shape, bind_name(b, "%s.%s", module, parameter));
}

static void remember(binder_t *b, module_t module) {
    modules_t *m = &b->modules;
    if (m->count == b->module_room) {
        b->module_room = b->module_room ? 2 * b->module_room : 128;
        m->module = xrealloc(m->module, b->module_room * sizeof *m->module);
    }
    m->module[m->count++] = module;
}

void bind_container(binder_t *b, block_t block) {
    modules_t *m = &b->modules;
    if (m->blocks == b->block_room) {
        b->block_room = b->block_room ? 2 * b->block_room : 32;
        m->block = xrealloc(m->block, b->block_room * sizeof *m->block);
    }
    m->block[m->blocks++] = block;
}

void modules_free(modules_t *modules) {
    free(modules->module);
    free(modules->block);
    *modules = (modules_t){0};
}

/* A linear map's matrix. */
static void bind_matrix(binder_t *b, linear_t *layer, shape_t shape, const char *name) {
    const char *weight = bind_name(b, "%s.weight", name);
    if (!b->late)
        bind_tensor(b, &layer->weight, shape, weight);
    else if (!b->failed)
        b->failed =
            weights_take_late(b->weights, weight, shape, &layer->weight, &layer->late, b->err);
}

void bind_linear(binder_t *b, linear_t *layer, size_t in, size_t out, bool bias, const char *name) {
    *layer = (linear_t){.name = bind_tap(b, name), .in = in, .out = out};
    bind_matrix(b, layer, SHAPE2(out, in), name);
    if (bias) bind_parameter(b, &layer->bias, SHAPE1(out), name, "bias");
    remember(b, (module_t){layer->name, MODULE_LINEAR, {.linear = layer}});
}

void bind_projection(binder_t *b, linear_t *layer, size_t in, size_t out, bool conv,
                     const char *name) {
    *layer = (linear_t){.name = bind_tap(b, name), .in = in, .out = out};
    bind_matrix(b, layer, conv ? SHAPE4(out, in, 1, 1) : SHAPE2(out, in), name);
    bind_parameter(b, &layer->bias, SHAPE1(out), name, "bias");
    remember(b, (module_t){layer->name, MODULE_LINEAR, {.linear = layer}});
}

void bind_conv(binder_t *b, conv_t *conv, size_t in, size_t out, size_t kernel, size_t stride,
               size_t padding, const char *name) {
    *conv = (conv_t){.name = bind_tap(b, name),
                     .in = in,
                     .out = out,
                     .geometry = {kernel, kernel, stride, padding, padding, padding, padding}};
    const char *weight = bind_name(b, "%s.weight", name);
    if (!b->failed)
        b->failed = weights_take_conv(b->weights, weight, SHAPE4(out, in, kernel, kernel),
                                      &conv->weight, b->err);
    bind_parameter(b, &conv->bias, SHAPE1(out), name, "bias");
    remember(b, (module_t){conv->name, MODULE_CONV, {.conv = conv}});
}

void bind_norm(binder_t *b, norm_t *norm, size_t channels, size_t groups, double eps,
               const char *name) {
    *norm = (norm_t){.name = bind_tap(b, name), .channels = channels, .groups = groups, .eps = eps};
    bind_parameter(b, &norm->weight, SHAPE1(channels), name, "weight");
    bind_parameter(b, &norm->bias, SHAPE1(channels), name, "bias");
    module_kind_t kind = groups ? MODULE_GROUP_NORM : MODULE_LAYER_NORM;
    remember(b, (module_t){norm->name, kind, {.norm = norm}});
}

void bind_mole_site(binder_t *b, linear_t *layer, bool conv) {
    if (b->site_count == b->site_room) {
        b->site_room = b->site_room ? 2 * b->site_room : 64;
        b->sites = xrealloc(b->sites, b->site_room * sizeof *b->sites);
    }
    b->sites[b->site_count++] = (mole_site_t){layer, conv};
}
