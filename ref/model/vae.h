/* vae.h - the decoder half of diffusers' AutoencoderKL: latents in, pixels out.
 *
 *   h = conv_in(post_quant_conv(latents))
 *   mid: resnet, attention (one head as wide as the image has channels), resnet
 *   up:  per level 3 resnets, then nearest x2 and a convolution on all levels but the last
 *   image = conv_out(silu(conv_norm_out(h)))
 *
 * Every GroupNorm of the VAE uses eps 1e-6 (the UNet's ResNets: 1e-5). */
#ifndef MOLE_MODEL_VAE_H
#define MOLE_MODEL_VAE_H

#include "io/config_keys.h"
#include "model/layers.h"

enum { VAE_LEVELS = 8 };

/* config.json, resolved. */
typedef struct {
    size_t latent_channels, out_channels, levels, layers_per_block, norm_num_groups;
    size_t block_out_channels[VAE_LEVELS];
    bool use_post_quant_conv;
    double scaling_factor;
    double norm_eps; /* 1e-6: fixed in diffusers' code */
    char unknown_keys[CONFIG_UNKNOWN];
} vae_config_t;

typedef struct vae vae_t;

/* FOLDER/config.json and FOLDER/diffusion_pytorch_model.safetensors; the encoder's weights are known and
 * not read. Returns 0, or -1 and err. */
int vae_open(vae_t **vae, const char *folder, bool allow_unused, err_t *err);
void vae_close(vae_t *vae);
const vae_config_t *vae_config(const vae_t *vae);
const weights_t *vae_weights(const vae_t *vae);
modules_t vae_modules(const vae_t *vae);

/* Pixels per latent, along one side: 2^(levels - 1). */
size_t vae_scale(const vae_t *vae);

/* image (B,out_channels, H*scale, W*scale), about -1..1 and not clamped, from latents
 * (B,latent_channels,H,W) already divided by scaling_factor; both row-major. */
void vae_decode(const run_t *run, const vae_t *vae, real_t *image, const real_t *latents, size_t B,
                size_t H, size_t W);
/* Numbers of scratch that it takes of the arena; a bound, next to what is used. */
size_t vae_work(const run_t *run, const vae_t *vae, size_t B, size_t H, size_t W);

#endif
