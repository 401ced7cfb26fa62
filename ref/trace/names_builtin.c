/* names_builtin.c - the built-in maps: names of others for Stable Diffusion v1.5, in ours.
 *
 * "diffusers"   module names without the component: down_blocks.0 is unet.down_blocks.0
 * "ldm"         the modules of single-file checkpoints, with or without model.diffusion_model. and
 *               first_stage_model. in front, and kohya's lora_unet_down_blocks_0_...
 *
 * LDM numbers the UNet's blocks through. Of the down side, input_blocks.0 is conv_in, and then each level
 * has three: two with a ResNet (.0) and an attention (.1), and a downsampler; the last level has none.
 * Of the up side, each level has three with a ResNet (.0) and an attention (.1; the first level has
 * none), the third with an upsampler at its end (.1 or .2; the last level has none). The VAE numbers
 * the levels of its decoder from the last to the first. */
#include <stdlib.h>
#include <string.h>

#include "core/err.h"
#include "trace/names_internal.h"

enum { LEVELS = 4 };

/* Takes `word`, which may have dots, off the front of *at when an element ends there, with the dot. */
static bool eat(const char **at, const char *word) {
    size_t length = strlen(word);
    if (strncmp(*at, word, length) != 0) return false;
    if ((*at)[length] != '\0' && (*at)[length] != '.') return false;
    *at += length + ((*at)[length] == '.');
    return true;
}

/* The same for a number of one or two digits. */
static bool eat_number(const char **at, size_t *number) {
    size_t digits = strspn(*at, "0123456789");
    if (digits < 1 || digits > 2) return false;
    if ((*at)[digits] != '\0' && (*at)[digits] != '.') return false;
    *number = (size_t)strtoul(*at, NULL, 10);
    *at += digits + ((*at)[digits] == '.');
    return true;
}

typedef struct {
    const char *theirs, *ours;
} pair_t;

/* "place.rest", where the front of the rest is renamed by a table (its last row is empty). */
static char *inside(char *place, const char *rest, const pair_t *table) {
    const char *ours = "";
    for (; table->theirs; table++)
        if (eat(&rest, table->theirs)) {
            ours = table->ours;
            break;
        }
    char *name = xasprintf("%s%s%s%s%s", place, *ours ? "." : "", ours, *rest ? "." : "", rest);
    free(place);
    return name;
}

static const pair_t as_it_is[] = {{NULL, NULL}};

/* ---- the UNet of LDM ------------------------------------------------------------------------- */

static const pair_t unet_resnet[] = {
    {"in_layers.0", "norm1"},
    {"in_layers.2", "conv1"},
    {"emb_layers.1", "time_emb_proj"},
    {"out_layers.0", "norm2"},
    {"out_layers.3", "conv2"},
    {"skip_connection", "conv_shortcut"},
    {NULL, NULL},
};
static const pair_t unet_downsampler[] = {{"op", "conv"}, {NULL, NULL}};

static const pair_t unet_ends[] = {
    {"time_embed.0", "time_embedding.linear_1"},
    {"time_embed.1", "time_embedding.act"},
    {"time_embed.2", "time_embedding.linear_2"},
    {"time_embed", "time_embedding"},
    {"out.0", "conv_norm_out"},
    {"out.1", "conv_act"},
    {"out.2", "conv_out"},
    {"input_blocks.0.0", "conv_in"},
    {"input_blocks.0", "conv_in"},
    {NULL, NULL},
};

/* A block as a whole is a level's last: what comes out of it comes out of the level. */
static char *down_block(const char *at) {
    size_t block, part;
    if (!eat_number(&at, &block) || block == 0 || block >= 3 * LEVELS) return NULL;
    size_t level = (block - 1) / 3, place = (block - 1) % 3;
    bool last = place == 2 || (level == LEVELS - 1 && place == 1);
    if (!eat_number(&at, &part))
        return last ? inside(xasprintf("unet.down_blocks.%zu", level), at, as_it_is) : NULL;
    if (place == 2 && part == 0)
        return inside(xasprintf("unet.down_blocks.%zu.downsamplers.0", level), at,
                      unet_downsampler);
    if (place < 2 && part == 0)
        return inside(xasprintf("unet.down_blocks.%zu.resnets.%zu", level, place), at, unet_resnet);
    if (place < 2 && part == 1 && level < LEVELS - 1)
        return inside(xasprintf("unet.down_blocks.%zu.attentions.%zu", level, place), at, as_it_is);
    return NULL;
}

static char *middle_block(const char *at) {
    size_t part;
    if (!eat_number(&at, &part)) return inside(xstrdup("unet.mid_block"), at, as_it_is);
    if (part == 1) return inside(xstrdup("unet.mid_block.attentions.0"), at, as_it_is);
    if (part > 2) return NULL;
    return inside(xasprintf("unet.mid_block.resnets.%zu", part / 2), at, unet_resnet);
}

static char *up_block(const char *at) {
    size_t block, part;
    if (!eat_number(&at, &block) || block >= 3 * LEVELS) return NULL;
    size_t level = block / 3, place = block % 3, upsampler = level == 0 ? 1 : 2;
    if (!eat_number(&at, &part))
        return place == 2 ? inside(xasprintf("unet.up_blocks.%zu", level), at, as_it_is) : NULL;
    if (part == 0)
        return inside(xasprintf("unet.up_blocks.%zu.resnets.%zu", level, place), at, unet_resnet);
    if (part == upsampler && place == 2 && level < LEVELS - 1)
        return inside(xasprintf("unet.up_blocks.%zu.upsamplers.0", level), at, as_it_is);
    if (part == 1 && level > 0)
        return inside(xasprintf("unet.up_blocks.%zu.attentions.%zu", level, place), at, as_it_is);
    return NULL;
}

static char *ldm_unet(const char *at) {
    for (const pair_t *end = unet_ends; end->theirs; end++)
        if (eat(&at, end->theirs)) return inside(xasprintf("unet.%s", end->ours), at, as_it_is);
    if (eat(&at, "input_blocks")) return down_block(at);
    if (eat(&at, "middle_block")) return middle_block(at);
    if (eat(&at, "output_blocks")) return up_block(at);
    return NULL;
}

/* ---- the VAE of LDM -------------------------------------------------------------------------- */

static const pair_t vae_resnet[] = {{"nin_shortcut", "conv_shortcut"}, {NULL, NULL}};
static const pair_t vae_attention[] = {
    {"norm", "group_norm"},   {"q", "to_q"}, {"k", "to_k"}, {"v", "to_v"},
    {"proj_out", "to_out.0"}, {NULL, NULL}};
static const pair_t vae_ends[] = {{"norm_out", "conv_norm_out"}, {NULL, NULL}};

/* What encoder and decoder have in common; `half` is one of the two, and is freed or returned. */
static char *ldm_vae_half(char *half, const char *at) {
    static const pair_t middle[] = {
        {"mid.block_1", "resnets.0"}, {"mid.block_2", "resnets.1"}, {"mid.attn_1", "attentions.0"}};
    size_t level, place;
    char *name = NULL;
    for (size_t i = 0; i < 3 && !name; i++)
        if (eat(&at, middle[i].theirs))
            name = inside(xasprintf("%s.mid_block.%s", half, middle[i].ours), at,
                          i == 2 ? vae_attention : vae_resnet);
    bool up = !name && eat(&at, "up"), down = !name && !up && eat(&at, "down");
    if (!name && !up && !down) return inside(half, at, vae_ends);
    if (!name && eat_number(&at, &level) && level < LEVELS) {
        char *block = xasprintf("%s.%s_blocks.%zu", half, up ? "up" : "down",
                                up ? LEVELS - 1 - level : level);
        if (eat(&at, "block") && eat_number(&at, &place))
            name = inside(xasprintf("%s.resnets.%zu", block, place), at, vae_resnet);
        else if (eat(&at, up ? "upsample" : "downsample"))
            name = inside(xasprintf("%s.%ssamplers.0", block, up ? "up" : "down"), at, as_it_is);
        free(block);
    }
    free(half);
    return name;
}

static char *ldm_vae(const char *at) {
    if (eat(&at, "decoder")) return ldm_vae_half(xstrdup("vae.decoder"), at);
    if (eat(&at, "encoder")) return ldm_vae_half(xstrdup("vae.encoder"), at);
    if (eat(&at, "post_quant_conv")) return inside(xstrdup("vae.post_quant_conv"), at, as_it_is);
    if (eat(&at, "quant_conv")) return inside(xstrdup("vae.quant_conv"), at, as_it_is);
    return NULL;
}

/* ---- kohya ----------------------------------------------------------------------------------- */

/* Elements that have underscores themselves; all others end at one. Longer ones first. */
static const char *const words[] = {
    "transformer_blocks",
    "final_layer_norm",
    "position_embedding",
    "token_embedding",
    "time_embedding",
    "conv_shortcut",
    "conv_norm_out",
    "skip_connection",
    "time_emb_proj",
    "activation_fn",
    "output_blocks",
    "input_blocks",
    "middle_block",
    "down_blocks",
    "layer_norm1",
    "layer_norm2",
    "out_layers",
    "emb_layers",
    "time_embed",
    "text_model",
    "in_layers",
    "up_blocks",
    "mid_block",
    "self_attn",
    "time_proj",
    "conv_act",
    "conv_out",
    "proj_out",
    "out_proj",
    "linear_1",
    "linear_2",
    "conv_in",
    "proj_in",
    "q_proj",
    "k_proj",
    "v_proj",
    "to_out",
    "to_q",
    "to_k",
    "to_v",
};

/* Dots for the underscores between elements, up to the first dot. */
static char *dotted(const char *at) {
    char *out = xstrdup(at);
    size_t stop = strcspn(at, ".");
    for (size_t n = 0; n < stop; n++) {
        size_t length = 0;
        for (size_t w = 0; w < sizeof words / sizeof words[0] && !length; w++) {
            size_t size = strlen(words[w]);
            if (strncmp(at + n, words[w], size) == 0 && (n + size == stop || at[n + size] == '_'))
                length = size;
        }
        if (!length) length = strcspn(at + n, "_.");
        n += length;
        if (n < stop) out[n] = '.';
    }
    return out;
}

static char *kohya(const char *name, bool unet) {
    char *path = dotted(name), *mapped = unet ? ldm_unet(path) : NULL;
    if (!mapped) mapped = xasprintf("%s.%s", unet ? "unet" : "text_encoder", path);
    free(path);
    return mapped;
}

char *names_from_ldm(const char *name) {
    const char *at = name;
    if (strncmp(name, "lora_unet_", 10) == 0) return kohya(name + 10, true);
    if (strncmp(name, "lora_te_", 8) == 0) return kohya(name + 8, false);
    if (eat(&at, "cond_stage_model.transformer"))
        return inside(xstrdup("text_encoder"), at, as_it_is);
    if (eat(&at, "first_stage_model")) return *at ? ldm_vae(at) : xstrdup("vae");
    if (eat(&at, "model.diffusion_model") || eat(&at, "diffusion_model"))
        return *at ? ldm_unet(at) : xstrdup("unet");
    char *mapped = ldm_unet(at);
    return mapped ? mapped : ldm_vae(at);
}

/* ---- diffusers ------------------------------------------------------------------------------- */

static const pair_t components[] = {
    {"time_proj", "unet"},
    {"time_embedding", "unet"},
    {"conv_in", "unet"},
    {"down_blocks", "unet"},
    {"mid_block", "unet"},
    {"up_blocks", "unet"},
    {"conv_norm_out", "unet"},
    {"conv_act", "unet"},
    {"conv_out", "unet"},
    {"post_quant_conv", "vae"},
    {"quant_conv", "vae"},
    {"decoder", "vae"},
    {"text_model", "text_encoder"},
    {"embeddings", "text_encoder.text_model"},
    {"encoder.layers", "text_encoder.text_model"},
    {"final_layer_norm", "text_encoder.text_model"},
    {"encoder", "vae"}, /* what is not CLIP's */
};

/* The VAE's attention before diffusers 0.15. */
static const pair_t old_attention[] = {
    {"query", "to_q"}, {"key", "to_k"}, {"value", "to_v"}, {"proj_attn", "to_out.0"}, {NULL, NULL}};

char *names_from_diffusers(const char *name) {
    const char *at = name, *component = NULL;
    for (size_t i = 0; i < sizeof components / sizeof components[0] && !component; i++)
        if (eat(&at, components[i].theirs)) component = components[i].ours;
    bool ours = !component && strncmp(name, "vae.", 4) == 0;
    if (!component && !ours) return NULL;
    char *full = ours ? xstrdup(name) : xasprintf("%s.%s", component, name);
    static const char attention[] = ".mid_block.attentions.0.";
    char *inner = strncmp(full, "vae.", 4) == 0 ? strstr(full, attention) : NULL;
    if (!inner) return full;
    char *place = xasprintf("%.*s", (int)(inner - full) + (int)sizeof attention - 2, full);
    char *mapped = inside(place, inner + sizeof attention - 1, old_attention);
    free(full);
    return mapped;
}
