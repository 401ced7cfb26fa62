/* names_builtin.c - the built-in maps: names of others for Stable Diffusion v1.5, in ours.
 *
 * "diffusers"   module names without the component: down_blocks.0 is unet.down_blocks.0
 * "ldm"         the modules of single-file checkpoints, with or without model.diffusion_model. and
 *               first_stage_model. in front, and kohya's lora_unet_down_blocks_0_...
 *               The table is io/ldm_names.h. */
#include <stdlib.h>
#include <string.h>

#include "core/err.h"
#include "io/ldm_names.h"
#include "trace/names_internal.h"

/* Takes `word`, which may have dots, off the front of *at when an element ends there, with the dot. */
static bool eat(const char **at, const char *word) {
    size_t length = strlen(word);
    if (strncmp(*at, word, length) != 0) return false;
    if ((*at)[length] != '\0' && (*at)[length] != '.') return false;
    *at += length + ((*at)[length] == '.');
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

/* The component's name in front of what the table makes of a name; NULL where it has none. */
static char *from_table(const ldm_layout_t *layout, const char *component, const char *name) {
    char *ours = ldm_name_ours(layout, component, name);
    char *whole = ours ? xasprintf("%s.%s", component, ours) : NULL;
    free(ours);
    return whole;
}

static char *kohya(const char *name, const char *component) {
    char *path = dotted(name);
    char *mapped =
        strcmp(component, "unet") == 0 ? from_table(&ldm_layout_v1, component, path) : NULL;
    if (!mapped) mapped = xasprintf("%s.%s", component, path);
    free(path);
    return mapped;
}

char *names_from_ldm(const char *name) {
    /* The UNet's blocks are numbered alike in all kinds. */
    static const struct {
        const char *front, *component;
        const ldm_layout_t *layout;
    } fronts[] = {{"model.diffusion_model", "unet", &ldm_layout_v1},
                  {"diffusion_model", "unet", &ldm_layout_v1},
                  {"first_stage_model", "vae", &ldm_layout_v1},
                  {"cond_stage_model.transformer", "text_encoder", &ldm_layout_v1},
                  {"cond_stage_model.model", "text_encoder", &ldm_layout_v2},
                  {"conditioner.embedders.0.transformer", "text_encoder", &ldm_layout_xl},
                  {"conditioner.embedders.1.model", "text_encoder_2", &ldm_layout_xl}};
    const char *at = name;
    if (strncmp(name, "lora_unet_", 10) == 0) return kohya(name + 10, "unet");
    if (strncmp(name, "lora_te_", 8) == 0) return kohya(name + 8, "text_encoder");
    for (size_t i = 0; i < sizeof fronts / sizeof *fronts; i++)
        if (eat(&at, fronts[i].front))
            return *at ? from_table(fronts[i].layout, fronts[i].component, at)
                       : xstrdup(fronts[i].component);
    char *mapped = from_table(&ldm_layout_v1, "unet", name);
    return mapped ? mapped : from_table(&ldm_layout_v1, "vae", name);
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
