/* ldm_names.h - names of single-file checkpoints, as the first authors of Stable Diffusion saved them, and
 * those of diffusers, from one table that is read in both directions.
 *
 *   unet  down_blocks.0.resnets.1.conv1    input_blocks.2.0.in_layers.2
 *   vae   decoder.up_blocks.0.resnets.0    decoder.up.3.block.0
 *
 *   text_encoder_2  text_model.encoder.layers.3.mlp.fc1       transformer.resblocks.3.mlp.c_fc
 *                   ...layers.3.self_attn.q_proj.weight       ...resblocks.3.attn.in_proj_weight[0]
 *
 * The last is a part of a tensor: OpenCLIP keeps the projections of q, k and v in one, which source_single.c
 * shows as three. The UNet's blocks are numbered through. input_blocks.0 is conv_in; then each level has its
 * ResNets (.0), each with an attention (.1) where the level has attention, and a block that halves the
 * picture, but for the last level. output_blocks: each level has one ResNet more, the last of which ends in
 * an upsampler (.2, or .1 without attention), but for the last level. The VAE numbers its decoder's levels
 * from the widest picture on, diffusers from the narrowest. */
#ifndef MOLE_IO_LDM_NAMES_H
#define MOLE_IO_LDM_NAMES_H

#include <stdbool.h>
#include <stddef.h>

enum { LDM_LEVELS = 8, LDM_COMPONENTS = 4 };

typedef struct {
    size_t levels, layers;    /* of the UNet; ResNets in a down block */
    size_t depth[LDM_LEVELS]; /* transformer blocks of an attention; 0: the level has none */
    struct {
        const char *component, *prefix; /* "vae", "first_stage_model."; NULL behind the last */
        bool open_clip;   /* a text encoder with OpenCLIP's names, else transformers' */
        bool spare_layer; /* its last layer and its projection are not used */
    } component[LDM_COMPONENTS];
} ldm_layout_t;

/* Stable Diffusion v1, v2 (of which transformers' form has one layer less), and XL. */
extern const ldm_layout_t ldm_layout_v1, ldm_layout_v2, ldm_layout_xl;

/* What every name of the component starts with: "first_stage_model."; NULL for another component. */
const char *ldm_prefix(const ldm_layout_t *layout, const char *component);

/* The name in the file, without its prefix, of a component's module or parameter. Fresh memory; NULL for a
 * name that the table has not. */
char *ldm_name_theirs(const ldm_layout_t *layout, const char *component, const char *name);
/* The name in the file, prefix included, of a component's module or parameter. Fresh memory; NULL for a
 * name that the table has not. */
char *ldm_name(const ldm_layout_t *layout, const char *component, const char *name);

/* The other way, for a name without its prefix: "down_blocks.0.resnets.1.conv1". A block that ends a level
 * stands for the level (input_blocks.3 is down_blocks.0), as its output does. */
char *ldm_name_ours(const ldm_layout_t *layout, const char *component, const char *name);

#endif
