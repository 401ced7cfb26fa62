/* unet.h - diffusers' UNet2DConditionModel: the network that denoises.
 *
 *   emb = time_embedding(time_proj(t)) [+ add_embedding([text_embeds | add_time_proj(time_ids)])]
 *   h = conv_in(sample)
 *   down:  per level 2 x (resnet, transformer), each output kept as a skip; downsample (kept too)
 *   mid:   resnet, transformer, resnet
 *   up:    per level 3 x (resnet([h | skip]), transformer); upsample to the next skip's size
 *   out = conv_out(silu(conv_norm_out(h)))
 *
 * One network, driven by config.json: block types, widths, depths, heads and projections are read, not
 * assumed. What the file asks for and this code does not do is refused with the key's name. */
#ifndef MOLE_MODEL_UNET_H
#define MOLE_MODEL_UNET_H

#include "model/transformer.h"
#include "model/unet_config.h"

typedef struct unet unet_t;

/* FOLDER/config.json and FOLDER/diffusion_pytorch_model.safetensors. Returns 0, or -1 and err. */
int unet_open(unet_t **unet, const char *folder, bool allow_unused, err_t *err);
/* The same; `widen` is for the matrices of transformers (io/weights.h). unet_open: at load. */
int unet_open_widening(unet_t **unet, const char *folder, bool allow_unused, widen_t widen,
                       err_t *err);
void unet_close(unet_t *unet);
const unet_config_t *unet_config(const unet_t *unet);
const weights_t *unet_weights(const unet_t *unet);
modules_t unet_modules(const unet_t *unet);

/* The layers that experts may join, in diffusers' order of modules: down, mid, up. */
const mole_site_t *unet_mole_sites(const unet_t *unet, size_t *count);

/* Width of text_embeds, P; 0 for a UNet without an added embedding. */
size_t unet_text_embeds(const unet_config_t *config);

/* Room in the arena for what attn2 makes of the text, which the first forward fills. Valid until the arena is
 * released below it. `given` is copied, what it points at is not. */
context_kv_t unet_context(const run_t *run, const unet_t *unet, const conditioning_t *given);

/* out (B,out_channels,H,W) = unet(sample (B,in_channels,H,W), timestep, context); both row-major.
 * Any H, W >= 1. Sets context->ready. */
void unet_forward(const run_t *run, const unet_t *unet, real_t *out, const real_t *sample,
                  double timestep, context_kv_t *context, size_t H, size_t W);
/* Numbers of scratch that it takes of the arena, with S tokens of text; a bound, next to what is used. */
size_t unet_work(const run_t *run, const unet_t *unet, size_t B, size_t S, size_t H, size_t W);

#endif
