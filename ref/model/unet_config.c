/* unet_config.c - see unet_config.h.
 *
 * "attention_head_dim" in a UNet's config.json is, despite its name, the number of heads (8 for SD v1.5
 * at every level); diffusers keeps the misnomer for the sake of old files, and so must every reader. */
#include "model/unet_config.h"

#include "model/config.h"

enum { CROSS, PLAIN };

static void read_blocks(config_t *file, unet_config_t *c) {
    static const char *const down[] = {"CrossAttnDownBlock2D", "DownBlock2D", NULL};
    static const char *const up[] = {"CrossAttnUpBlock2D", "UpBlock2D", NULL};
    size_t types[UNET_LEVELS];
    config_choices(file, "down_block_types", down, types, c->levels);
    for (size_t i = 0; i < c->levels; i++) c->down_attention[i] = types[i] == CROSS;
    config_choices(file, "up_block_types", up, types, c->levels);
    for (size_t i = 0; i < c->levels; i++) c->up_attention[i] = types[i] == CROSS;
    config_sizes_or(file, "attention_head_dim", c->heads, c->levels, 8);
    config_sizes_or(file, "transformer_layers_per_block", c->transformer_depth, c->levels, 1);
}

static void check_divisions(config_t *file, const unet_config_t *c) {
    for (size_t i = 0; i < c->levels; i++) {
        size_t channels = c->block_out_channels[i];
        size_t below = c->block_out_channels[i ? i - 1 : 0];
        if (channels % c->norm_num_groups || (channels + below) % c->norm_num_groups)
            config_fail(file, "block_out_channels", "multiples of norm_num_groups");
        if (channels % c->heads[i])
            config_fail(file, "attention_head_dim",
                        "numbers of heads that divide block_out_channels");
    }
    if (c->freq_shift >= (double)(c->block_out_channels[0] / 2))
        config_fail(file, "freq_shift", "a number below half of block_out_channels[0]");
    if (!(c->norm_eps > 0)) config_fail(file, "norm_eps", "a number above 0");
}

int unet_config_read(unet_config_t *c, const char *folder, err_t *err) {
    config_t *file;
    if (config_open(&file, folder, "config.json", err)) return -1;
    *c = (unet_config_t){.transformer_norm_eps = 1e-6, .layer_norm_eps = 1e-5};
    config_keys(file, config_keys_unet, c->unknown_keys);
    config_size_or(file, "sample_size", &c->sample_size, 64, 1 << 16);
    config_size(file, "in_channels", &c->in_channels, 1, 1024);
    config_size(file, "out_channels", &c->out_channels, 1, 1024);
    config_sizes(file, "block_out_channels", c->block_out_channels, &c->levels, UNET_LEVELS);
    config_size(file, "layers_per_block", &c->layers_per_block, 1, 8);
    config_size(file, "cross_attention_dim", &c->cross_attention_dim, 1, 1 << 16);
    config_size_or(file, "norm_num_groups", &c->norm_num_groups, 32, 1 << 16);
    config_bool_or(file, "use_linear_projection", &c->use_linear_projection, false);
    config_bool_or(file, "flip_sin_to_cos", &c->flip_sin_to_cos, true);
    config_double_or(file, "norm_eps", &c->norm_eps, 1e-5);
    config_double_or(file, "freq_shift", &c->freq_shift, 0);
    if (c->norm_num_groups == 0) config_fail(file, "norm_num_groups", "a whole number above 0");
    if (c->sample_size == 0) config_fail(file, "sample_size", "a whole number above 0");
    read_blocks(file, c);
    if (config_ok(file)) check_divisions(file, c);
    return config_close(file);
}
