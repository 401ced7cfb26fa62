/* resnet.h - diffusers' ResnetBlock2D, shared by the UNet and the VAE.
 *
 *   h = conv1(silu(norm1(x)))
 *   h = h + time_emb_proj(silu(emb))[:, :, None, None]         (UNet only)
 *   h = conv2(silu(norm2(h)))
 *   out = x + h, or conv_shortcut(x) + h where the channels change */
#ifndef MOLE_MODEL_RESNET_H
#define MOLE_MODEL_RESNET_H

#include "model/layers.h"

typedef struct resnet {
    const char *name;
    size_t in, out;
    norm_t norm1, norm2;
    conv_t conv1, conv2;
    bool has_time, has_shortcut;
    linear_t time_emb_proj;
    linear_t conv_shortcut; /* 1x1 */
} resnet_t;

/* time_channels = 0: no time input. */
void bind_resnet(binder_t *b, resnet_t *resnet, size_t in, size_t out, size_t time_channels,
                 size_t groups, double eps, const char *name);

/* out (B,out,H,W), x (B,in,H,W), both channels-last, not overlapping.
 * emb_act (B,time_channels) = silu(emb), or NULL without a time input. */
void resnet_forward(const run_t *run, const resnet_t *resnet, real_t *out, const real_t *x,
                    const real_t *emb_act, grid_t g);

/* Numbers of scratch that it takes of the arena. */
size_t resnet_work(const run_t *run, const resnet_t *resnet, grid_t g);

#endif
