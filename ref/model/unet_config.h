/* unet_config.h - a UNet's config.json, resolved: what unet.h is built by. */
#ifndef MOLE_MODEL_UNET_CONFIG_H
#define MOLE_MODEL_UNET_CONFIG_H

#include <stdbool.h>
#include <stddef.h>

#include "io/config_keys.h"
#include "io/ldm_names.h"

/* time_ids are six numbers: a size, a corner, a size (height first). */
enum { UNET_LEVELS = 8, UNET_TIME_IDS = 6 };

/* config.json, resolved. */
typedef struct {
    size_t sample_size, in_channels, out_channels, levels, layers_per_block;
    size_t block_out_channels[UNET_LEVELS];
    bool down_attention[UNET_LEVELS]; /* on the way down, and at the same level on the way up */
    size_t heads[UNET_LEVELS], transformer_depth[UNET_LEVELS];
    size_t cross_attention_dim, norm_num_groups;
    bool use_linear_projection, flip_sin_to_cos;
    bool upcast_attention; /* no effect: nothing is computed below float32 */
    bool added_embedding;  /* addition_embed_type is "text_time"; the two below are 0 without */
    size_t addition_time_embed_dim, projection_class_embeddings_input_dim;
    double norm_eps, freq_shift;
    double transformer_norm_eps, layer_norm_eps; /* 1e-6 and 1e-5: fixed in diffusers' code */
    char unknown_keys[CONFIG_UNKNOWN];           /* of the file; see config_keys.h */
} unet_config_t;

/* Fill *config from FOLDER/config.json. Keys that are absent take diffusers' own defaults, each named
 * where it is read. Returns 0, or -1 and err. */
int unet_config_read(unet_config_t *config, const char *folder, err_t *err);
/* How a single file would number its blocks; without components. */
ldm_layout_t unet_config_layout(const unet_config_t *config);

#endif
