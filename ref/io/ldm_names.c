/* ldm_names.c - see ldm_names.h. */
#include "io/ldm_names.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/err.h"

#define UNET                                                                                       \
    { .component = "unet", .prefix = "model.diffusion_model." }
#define VAE                                                                                        \
    { .component = "vae", .prefix = "first_stage_model." }

const ldm_layout_t ldm_layout_v1 = {
    4,
    2,
    {1, 1, 1, 0},
    {UNET, VAE, {.component = "text_encoder", .prefix = "cond_stage_model.transformer."}}};
const ldm_layout_t ldm_layout_v2 = {4,
                                    2,
                                    {1, 1, 1, 0},
                                    {UNET,
                                     VAE,
                                     {.component = "text_encoder",
                                      .prefix = "cond_stage_model.model.",
                                      .open_clip = true,
                                      .spare_layer = true}}};
const ldm_layout_t ldm_layout_xl = {
    3,
    2,
    {0, 2, 10},
    {UNET,
     VAE,
     {.component = "text_encoder", .prefix = "conditioner.embedders.0.transformer."},
     {.component = "text_encoder_2",
      .prefix = "conditioner.embedders.1.model.",
      .open_clip = true}}};

/* ---- inside of a block: what a name goes on with ------------------------------------------------- */

typedef struct {
    const char *ours, *theirs;
} pair_t;

static const pair_t same[] = {{NULL, NULL}};
static const pair_t unet_resnet[] = {{"norm1", "in_layers.0"},
                                     {"conv1", "in_layers.2"},
                                     {"time_emb_proj", "emb_layers.1"},
                                     {"norm2", "out_layers.0"},
                                     {"conv2", "out_layers.3"},
                                     {"conv_shortcut", "skip_connection"},
                                     {NULL, NULL}};
static const pair_t downsampler[] = {{"conv", "op"}, {NULL, NULL}};
static const pair_t vae_resnet[] = {{"conv_shortcut", "nin_shortcut"}, {NULL, NULL}};
static const pair_t vae_attention[] = {
    {"group_norm", "norm"},   {"to_q", "q"}, {"to_k", "k"}, {"to_v", "v"},
    {"to_out.0", "proj_out"}, {NULL, NULL}};

/* ---- rows ---------------------------------------------------------------------------------------- */

/* A name in search of its row. */
typedef struct {
    bool to_ours;
    const char *name;
    char *found; /* what the row makes of it */
} search_t;

/* What follows `front` in the name, where an element ends there; else NULL. */
static const char *after(const char *name, const char *front) {
    size_t length = strlen(front);
    if (strncmp(name, front, length) != 0) return NULL;
    return name[length] == '.' ? name + length + 1 : name[length] ? NULL : name + length;
}

/* A row of the table: two names of a place, and what is renamed inside. */
static void row(search_t *s, const char *ours, const char *theirs, const pair_t *inside) {
    const char *rest = s->found ? NULL : after(s->name, s->to_ours ? theirs : ours), *inner = "";
    if (!rest) return;
    for (; inside->ours; inside++) {
        const char *deeper = after(rest, s->to_ours ? inside->theirs : inside->ours);
        if (!deeper) continue;
        inner = s->to_ours ? inside->ours : inside->theirs;
        rest = deeper;
        break;
    }
    s->found = xasprintf("%s%s%s%s%s", s->to_ours ? ours : theirs, *inner ? "." : "", inner,
                         *rest ? "." : "", rest);
}

/* A row for what is several modules here, and one there: a level, by the block at its end. */
static void row_of_container(search_t *s, const char *ours, const char *theirs) {
    const char *rest = s->to_ours ? after(s->name, theirs) : NULL;
    if (rest && !isdigit((unsigned char)*rest)) row(s, ours, theirs, same);
}

static void rows(search_t *s, const pair_t *pairs, size_t count, const pair_t *inside) {
    for (size_t i = 0; i < count; i++) row(s, pairs[i].ours, pairs[i].theirs, inside);
}
#define ROWS(s, pairs, inside) rows(s, pairs, sizeof(pairs) / sizeof *(pairs), inside)

/* ---- the UNet ------------------------------------------------------------------------------------ */

/* side: "down_blocks", "input_blocks" or "up_blocks", "output_blocks"; part: of the attention. */
static void unet_layer(search_t *s, pair_t side, size_t level, size_t layer, size_t block,
                       bool attention) {
    char ours[64], theirs[64];
    snprintf(ours, sizeof ours, "%s.%zu.resnets.%zu", side.ours, level, layer);
    snprintf(theirs, sizeof theirs, "%s.%zu.0", side.theirs, block);
    row(s, ours, theirs, unet_resnet);
    snprintf(ours, sizeof ours, "%s.%zu.attentions.%zu", side.ours, level, layer);
    snprintf(theirs, sizeof theirs, "%s.%zu.1", side.theirs, block);
    if (attention) row(s, ours, theirs, same);
}

/* What ends a level, in its part `part` of a block, and the level as a whole. */
static void unet_level_end(search_t *s, pair_t side, size_t level, size_t block,
                           const char *resampler, size_t part, const pair_t *inside) {
    char ours[64], theirs[64];
    snprintf(ours, sizeof ours, "%s.%zu.%s.0", side.ours, level, resampler);
    snprintf(theirs, sizeof theirs, "%s.%zu.%zu", side.theirs, block, part);
    if (inside) row(s, ours, theirs, inside);
    snprintf(ours, sizeof ours, "%s.%zu", side.ours, level);
    snprintf(theirs, sizeof theirs, "%s.%zu", side.theirs, block);
    row_of_container(s, ours, theirs);
}

static void unet(search_t *s, const ldm_layout_t *l) {
    static const pair_t down = {"down_blocks", "input_blocks"}, up = {"up_blocks", "output_blocks"};
    static const pair_t middle[] = {{"mid_block.resnets.0", "middle_block.0"},
                                    {"mid_block.resnets.1", "middle_block.2"}};
    static const pair_t ends[] = {{"mid_block.attentions.0", "middle_block.1"},
                                  {"time_embedding.linear_1", "time_embed.0"},
                                  {"time_embedding.act", "time_embed.1"},
                                  {"time_embedding.linear_2", "time_embed.2"},
                                  {"add_embedding.linear_1", "label_emb.0.0"},
                                  {"add_embedding.act", "label_emb.0.1"},
                                  {"add_embedding.linear_2", "label_emb.0.2"},
                                  {"conv_in", "input_blocks.0.0"},
                                  {"conv_norm_out", "out.0"},
                                  {"conv_act", "out.1"},
                                  {"conv_out", "out.2"}};
    size_t each = l->layers + 1;
    for (size_t i = 0; i < l->levels; i++) {
        bool last = i + 1 == l->levels, attention = l->depth[i] > 0;
        for (size_t k = 0; k < l->layers; k++)
            unet_layer(s, down, i, k, 1 + each * i + k, attention);
        unet_level_end(s, down, i, each * (i + 1) - last, "downsamplers", 0,
                       last ? NULL : downsampler);
        attention = l->depth[l->levels - 1 - i] > 0;
        for (size_t k = 0; k < each; k++) unet_layer(s, up, i, k, each * i + k, attention);
        unet_level_end(s, up, i, each * i + l->layers, "upsamplers", attention ? 2 : 1,
                       last ? NULL : same);
    }
    ROWS(s, middle, unet_resnet);
    ROWS(s, ends, same);
    row_of_container(s, "mid_block", "middle_block");
    row_of_container(s, "time_embedding", "time_embed");
    row_of_container(s, "add_embedding", "label_emb");
    row_of_container(s, "conv_in", "input_blocks.0");
}

/* ---- the VAE ------------------------------------------------------------------------------------- */

/* The same in every model: four levels, two ResNets in each of the encoder's and three of the decoder's. */
enum { VAE_LEVELS = 4, VAE_LAYERS = 2 };

static void vae_half(search_t *s, const char *half, bool decoder) {
    static const pair_t middle[] = {{"mid_block.resnets.0", "mid.block_1"},
                                    {"mid_block.resnets.1", "mid.block_2"},
                                    {"mid_block.attentions.0", "mid.attn_1"}};
    const char *side = decoder ? "up" : "down";
    char ours[64], theirs[64];
    for (size_t i = 0; i < VAE_LEVELS; i++) {
        size_t number = decoder ? VAE_LEVELS - 1 - i : i;
        for (size_t k = 0; k < VAE_LAYERS + (size_t)decoder; k++) {
            snprintf(ours, sizeof ours, "%s.%s_blocks.%zu.resnets.%zu", half, side, i, k);
            snprintf(theirs, sizeof theirs, "%s.%s.%zu.block.%zu", half, side, number, k);
            row(s, ours, theirs, vae_resnet);
        }
        snprintf(ours, sizeof ours, "%s.%s_blocks.%zu.%ssamplers.0", half, side, i, side);
        snprintf(theirs, sizeof theirs, "%s.%s.%zu.%ssample", half, side, number, side);
        row(s, ours, theirs, same);
    }
    for (size_t i = 0; i < sizeof middle / sizeof *middle; i++) {
        snprintf(ours, sizeof ours, "%s.%s", half, middle[i].ours);
        snprintf(theirs, sizeof theirs, "%s.%s", half, middle[i].theirs);
        row(s, ours, theirs, i == 2 ? vae_attention : vae_resnet);
    }
}

static void vae(search_t *s) {
    static const pair_t ends[] = {{"decoder.conv_norm_out", "decoder.norm_out"},
                                  {"encoder.conv_norm_out", "encoder.norm_out"},
                                  {"decoder.conv_in", "decoder.conv_in"},
                                  {"encoder.conv_in", "encoder.conv_in"},
                                  {"decoder.conv_out", "decoder.conv_out"},
                                  {"encoder.conv_out", "encoder.conv_out"},
                                  {"post_quant_conv", "post_quant_conv"},
                                  {"quant_conv", "quant_conv"}};
    vae_half(s, "encoder", false);
    vae_half(s, "decoder", true);
    ROWS(s, ends, same);
    row_of_container(s, "decoder.mid_block", "decoder.mid");
    row_of_container(s, "encoder.mid_block", "encoder.mid");
    if (strcmp(s->name, "decoder") == 0) row(s, "decoder", "decoder", same);
    if (strcmp(s->name, "encoder") == 0) row(s, "encoder", "encoder", same);
}

/* ---- OpenCLIP's text encoder ---------------------------------------------------------------------- */

/* More than any has. */
enum { TEXT_LAYERS = 64 };

static void open_clip(search_t *s) {
    static const pair_t layer[] = {{"layer_norm1", "ln_1"},
                                   {"layer_norm2", "ln_2"},
                                   {"self_attn.q_proj.weight", "attn.in_proj_weight[0]"},
                                   {"self_attn.k_proj.weight", "attn.in_proj_weight[1]"},
                                   {"self_attn.v_proj.weight", "attn.in_proj_weight[2]"},
                                   {"self_attn.q_proj.bias", "attn.in_proj_bias[0]"},
                                   {"self_attn.k_proj.bias", "attn.in_proj_bias[1]"},
                                   {"self_attn.v_proj.bias", "attn.in_proj_bias[2]"},
                                   {"self_attn.out_proj", "attn.out_proj"},
                                   {"mlp.fc1", "mlp.c_fc"},
                                   {"mlp.fc2", "mlp.c_proj"},
                                   {NULL, NULL}};
    static const pair_t ends[] = {
        {"text_model.embeddings.token_embedding", "token_embedding"},
        {"text_model.embeddings.position_embedding.weight", "positional_embedding"},
        {"text_model.final_layer_norm", "ln_final"},
        {"text_projection.weight", "text_projection"}};
    for (size_t i = 0; i < TEXT_LAYERS; i++) {
        char ours[64], theirs[64];
        snprintf(ours, sizeof ours, "text_model.encoder.layers.%zu", i);
        snprintf(theirs, sizeof theirs, "transformer.resblocks.%zu", i);
        row(s, ours, theirs, layer);
    }
    ROWS(s, ends, same);
}

/* ---- both directions ----------------------------------------------------------------------------- */

static char *translate(const ldm_layout_t *layout, const char *component, const char *name,
                       bool to_ours) {
    search_t s = {to_ours, name, NULL};
    size_t i = 0;
    while (layout->component[i].component && strcmp(layout->component[i].component, component) != 0)
        if (++i == LDM_COMPONENTS) return xstrdup(name);
    if (strcmp(component, "unet") == 0)
        unet(&s, layout);
    else if (strcmp(component, "vae") == 0)
        vae(&s);
    else if (layout->component[i].open_clip)
        open_clip(&s);
    else
        return xstrdup(name);
    return s.found;
}

const char *ldm_prefix(const ldm_layout_t *layout, const char *component) {
    for (size_t i = 0; i < LDM_COMPONENTS && layout->component[i].component; i++)
        if (strcmp(layout->component[i].component, component) == 0)
            return layout->component[i].prefix;
    return NULL;
}

char *ldm_name(const ldm_layout_t *layout, const char *component, const char *name) {
    const char *prefix = ldm_prefix(layout, component);
    char *inner = prefix ? translate(layout, component, name, false) : NULL;
    char *whole = inner ? xasprintf("%s%s", prefix, inner) : NULL;
    free(inner);
    return whole;
}

char *ldm_name_theirs(const ldm_layout_t *layout, const char *component, const char *name) {
    return translate(layout, component, name, false);
}

char *ldm_name_ours(const ldm_layout_t *layout, const char *component, const char *name) {
    return translate(layout, component, name, true);
}
