/* unet_config.c - see unet_config.h.
 *
 * "attention_head_dim" in a UNet's config.json is, despite its name, the number of heads (8 for SD v1.5
 * at every level); diffusers keeps the misnomer for the sake of old files, and so must every reader. */
#include "model/unet_config.h"

#include "io/config_keys.h"

enum { MOST = 1 << 20 }; /* of heads, channels, layers */

static int read_blocks(json_node_t node, unet_config_t *c, err_t *err) {
    static const char *const down[] = {"CrossAttnDownBlock2D", "DownBlock2D", NULL};
    static const char *const up[] = {"CrossAttnUpBlock2D", "UpBlock2D", NULL};
    size_t down_type[UNET_LEVELS], up_type[UNET_LEVELS];
    if (json_get_choices(node, "down_block_types", down, c->levels, down_type, err) ||
        json_get_choices(node, "up_block_types", up, c->levels, up_type, err) ||
        json_get_sizes_each_or(node, "attention_head_dim", MOST, c->levels, 8, c->heads, err) ||
        json_get_sizes_each_or(node, "transformer_layers_per_block", MOST, c->levels, 1,
                               c->transformer_depth, err))
        return -1;
    for (size_t i = 0; i < c->levels; i++) {
        size_t mirror = c->levels - 1 - i;
        c->down_attention[i] = down_type[i] == 0;
        if (up_type[mirror] != down_type[i])
            return json_node_error(node, "up_block_types", err,
                                   "expected those of down_block_types from the last to the first: "
                                   "[%zu] %s, since down_block_types[%zu] is %s, found %s",
                                   mirror, up[down_type[i]], i, down[down_type[i]],
                                   up[up_type[mirror]]);
    }
    return 0;
}

/* What is embedded beside the timestep. */
static int read_added(json_node_t node, unet_config_t *c, err_t *err) {
    static const char *const types[] = {"text_time", NULL};
    size_t type;
    if (json_get_choice_or(node, "addition_embed_type", types, 0, &type, err) ||
        json_get_size_or(node, "addition_time_embed_dim", 0, 1 << 16, 0,
                         &c->addition_time_embed_dim, err) ||
        json_get_size_or(node, "projection_class_embeddings_input_dim", 0, MOST, 0,
                         &c->projection_class_embeddings_input_dim, err))
        return -1;
    c->added_embedding = json_node_has(node, "addition_embed_type");
    size_t ids = UNET_TIME_IDS * c->addition_time_embed_dim;
    if (!c->added_embedding)
        c->addition_time_embed_dim = c->projection_class_embeddings_input_dim = 0;
    else if (c->addition_time_embed_dim == 0)
        return json_node_error(node, "addition_time_embed_dim", err,
                               "expected a number above 0, for addition_embed_type \"text_time\"");
    else if (c->projection_class_embeddings_input_dim <= ids)
        return json_node_error(node, "projection_class_embeddings_input_dim", err,
                               "expected the width of text_embeds and %d x addition_time_embed_dim "
                               "(%zu), found %zu",
                               UNET_TIME_IDS, ids, c->projection_class_embeddings_input_dim);
    return 0;
}

/* Level i has attention on the way down and up, or, the last one, in the middle. */
static bool has_attention(const unet_config_t *c, size_t i) {
    return c->down_attention[i] || i + 1 == c->levels;
}

static int check_divisions(json_node_t node, const unet_config_t *c, err_t *err) {
    for (size_t i = 0; i < c->levels; i++) {
        size_t channels = c->block_out_channels[i];
        size_t below = c->block_out_channels[i ? i - 1 : 0];
        if (channels % c->norm_num_groups || (channels + below) % c->norm_num_groups)
            return json_node_error(node, "block_out_channels", err,
                                   "expected multiples of norm_num_groups (%zu), found %zu",
                                   c->norm_num_groups, channels);
        if (has_attention(c, i) && channels % c->heads[i])
            return json_node_error(node, "attention_head_dim", err,
                                   "expected numbers of heads that divide block_out_channels");
    }
    if (c->freq_shift >= (double)(c->block_out_channels[0] / 2))
        return json_node_error(node, "freq_shift", err,
                               "expected a number below half of block_out_channels[0]");
    if (!(c->norm_eps > 0))
        return json_node_error(node, "norm_eps", err, "expected a number above 0");
    return 0;
}

static int read_keys(json_node_t node, unet_config_t *c, err_t *err) {
    return json_get_size_or(node, "sample_size", 1, 1 << 16, 64, &c->sample_size, err) ||
           json_get_size(node, "in_channels", 1, 1024, &c->in_channels, err) ||
           json_get_size(node, "out_channels", 1, 1024, &c->out_channels, err) ||
           json_get_sizes(node, "block_out_channels", MOST, 1, UNET_LEVELS, c->block_out_channels,
                          &c->levels, err) ||
           json_get_size(node, "layers_per_block", 1, 8, &c->layers_per_block, err) ||
           json_get_size(node, "cross_attention_dim", 1, 1 << 16, &c->cross_attention_dim, err) ||
           json_get_size_or(node, "norm_num_groups", 1, 1 << 16, 32, &c->norm_num_groups, err) ||
           json_get_bool_or(node, "use_linear_projection", false, &c->use_linear_projection, err) ||
           json_get_bool_or(node, "flip_sin_to_cos", true, &c->flip_sin_to_cos, err) ||
           json_get_bool_or(node, "upcast_attention", false, &c->upcast_attention, err) ||
           json_get_double_or(node, "norm_eps", 1e-5, &c->norm_eps, err) ||
           json_get_double_or(node, "freq_shift", 0, &c->freq_shift, err) ||
           read_blocks(node, c, err) || read_added(node, c, err) || check_divisions(node, c, err);
}

int unet_config_read(unet_config_t *c, const char *folder, err_t *err) {
    json_file_t *file;
    *c = (unet_config_t){.transformer_norm_eps = 1e-6, .layer_norm_eps = 1e-5};
    if (config_open(&file, folder, "config.json", config_keys_unet, c->unknown_keys, err))
        return -1;
    int failed = read_keys(json_file_root(file), c, err);
    json_file_close(file);
    return failed ? -1 : 0;
}

ldm_layout_t unet_config_layout(const unet_config_t *c) {
    ldm_layout_t layout = {.levels = c->levels, .layers = c->layers_per_block};
    for (size_t i = 0; i < c->levels; i++)
        layout.depth[i] = c->down_attention[i] ? c->transformer_depth[i] : 0;
    return layout;
}
