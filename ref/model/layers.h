/* layers.h - the weighted building bricks every model is made of, and how they get their weights.
 *
 * A layer knows its own name, which is its path in diffusers or transformers with the component in
 * front: "unet.down_blocks.0.resnets.1.conv1". The same name finds its weights in the checkpoint and
 * labels its tap in a trace.
 *
 * Binding is a straight line: every bind_* call takes the weights of one layer; the first failure stays
 * in the binder, later calls do nothing, and the caller looks once at the end. */
#ifndef MOLE_MODEL_LAYERS_H
#define MOLE_MODEL_LAYERS_H

#include "core/pool.h"
#include "io/weights.h"
#include "mole/mole.h"

/* torch.nn.Linear, or a 1x1 Conv2d, which on channels-last memory is the same thing. */
typedef struct {
    const char *name;
    size_t in, out;
    const real_t *weight; /* (out,in); NULL: `late` has it, as it is stored */
    const real_t *bias;   /* (out) or NULL */
    mole_layer_t *mole;   /* NULL: an ordinary layer */
    late_t late;
} linear_t;

/* torch.nn.Conv2d */
typedef struct {
    const char *name;
    size_t in, out;
    conv2d_geometry_t geometry;
    const real_t *weight; /* (out,in,kh,kw) channels-last */
    const real_t *bias;
} conv_t;

/* torch.nn.GroupNorm (groups > 0) or LayerNorm (groups = 0) */
typedef struct {
    const char *name;
    size_t channels, groups;
    double eps;
    const real_t *weight, *bias;
} norm_t;

/* For the *_work functions, which count what a forward pass takes of the arena beside its input and output,
 * in numbers: scratch of one part after the other. */
static inline size_t work_larger(size_t a, size_t b) {
    return a > b ? a : b;
}

/* An image inside the network: channels-last (B,C,H,W), or equally its (B,H*W,C) tokens. */
typedef struct {
    size_t B, H, W;
} grid_t;

/* out (B,T,layer.out) = layer(x), with experts when it has them, and its taps. `view` says how the
 * output looks from outside. out does not overlap x. */
void linear_forward(const run_t *run, const linear_t *layer, view_t view, real_t *out,
                    const real_t *x, size_t B, size_t T);
/* The two usual views. */
void linear_tokens(const run_t *run, const linear_t *layer, real_t *out, const real_t *x, size_t B,
                   size_t T);
void linear_image(const run_t *run, const linear_t *layer, real_t *out, const real_t *x, grid_t g);

/* Numbers of scratch that linear_forward takes of the arena. */
size_t linear_work(const run_t *run, const linear_t *layer, size_t B, size_t T);

/* Size of the image that comes out of conv. */
grid_t conv_grid(const conv_t *conv, grid_t g);
/* out = conv(x); x (B,in,H,W), out (B,out,Ho,Wo), channels-last. */
void conv_forward(const run_t *run, const conv_t *conv, real_t *out, const real_t *x, grid_t g);
size_t conv_work(const run_t *run, const conv_t *conv, grid_t g);

/* Over an image's groups; out may be x. `as_tokens`: the tap's shape is (B,C,H*W). */
void group_norm_forward(const run_t *run, const norm_t *norm, real_t *out, const real_t *x,
                        grid_t g, bool as_tokens);
/* Over the channels of every token; out may be x. */
void layer_norm_forward(const run_t *run, const norm_t *norm, real_t *out, const real_t *x,
                        size_t B, size_t T);

/* ---- binding ------------------------------------------------------------------------------------- */

/* A part of a model by its name. */
typedef enum { MODULE_LINEAR, MODULE_CONV, MODULE_GROUP_NORM, MODULE_LAYER_NORM } module_kind_t;

typedef struct {
    const char *name; /* "unet.down_blocks.0.resnets.0.conv1" */
    module_kind_t kind;
    union {
        const linear_t *linear;
        const conv_t *conv;
        const norm_t *norm;
    } as;
} module_t;

/* A container by its name: resnet.h, transformer.h. */
typedef struct {
    const char *name;            /* "unet.down_blocks.0.resnets.0" */
    const struct resnet *resnet; /* one of the two, the other NULL */
    const struct transformer *transformer;
} block_t;

/* The parts of one model, in the order they were bound; owned by the model. */
typedef struct {
    module_t *module;
    size_t count;
    block_t *block;
    size_t blocks;
} modules_t;

/* A Linear or 1x1 Conv2d that MoLE wraps: every one inside a UNet's transformer containers. */
typedef struct {
    linear_t *layer;
    bool conv;
} mole_site_t;

typedef struct {
    weights_t *weights;
    const char *component; /* "unet": the tap's name is component + '.' + the checkpoint's name */
    pool_t *pool;          /* where names go */
    err_t *err;
    int failed;
    bool
        late; /* matrices may stay as they are stored: those of layers whose linear_work is counted */
    mole_site_t *sites; /* filled when not NULL */
    size_t site_count, site_room;
    modules_t modules; /* every part that was bound; the model takes them over */
    size_t module_room, block_room;
} binder_t;

/* No projections of q, k and v in one matrix; those that stand beside separate ones may be passed over.
 * Returns 0, or -1 and err. */
int bind_check_fused(const weights_t *weights, bool allow_unused, err_t *err);

/* Names are relative to the component, as in its checkpoint, and end up in the layer's pool. */
void bind_linear(binder_t *b, linear_t *layer, size_t in, size_t out, bool bias, const char *name);
/* A Linear whose checkpoint may hold a 1x1 convolution instead (conv: it must). */
void bind_projection(binder_t *b, linear_t *layer, size_t in, size_t out, bool conv,
                     const char *name);
void bind_conv(binder_t *b, conv_t *conv, size_t in, size_t out, size_t kernel, size_t stride,
               size_t padding, const char *name);
void bind_norm(binder_t *b, norm_t *norm, size_t channels, size_t groups, double eps,
               const char *name);
void bind_tensor(binder_t *b, const real_t **tensor, shape_t shape, const char *name);
/* Remember a container, whose layers are bound, under its name. */
void bind_container(binder_t *b, block_t block);
/* Both arrays. */
void modules_free(modules_t *modules);
/* Remember `layer` as one that experts may join. */
void bind_mole_site(binder_t *b, linear_t *layer, bool conv);
/* "a.b.%d" in the binder's pool. */
const char *bind_name(binder_t *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The tap's name of a container module: component + '.' + name, or the component itself for "". */
const char *bind_tap(binder_t *b, const char *name);

#endif
