/* ldm.c - see ldm.h.
 *
 * The UNet's blocks are numbered through: input_blocks.0 is conv_in, then three per level, two with a
 * ResNet (.0) and an attention (.1), one that halves the picture (the last level has none);
 * output_blocks likewise, three per level, the last of which ends in an upsampler. The VAE numbers its
 * decoder's levels from the widest picture on, diffusers from the narrowest. */
#include "io/ldm.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/file.h"
#include "io/safetensors.h"
#include "io/synth.h"

enum { LEVELS = 4, PER_DOWN = 3, PER_UP = 3 };

bool ldm_split(const char *path, char **file, const char **rest) {
    static const char ending[] = ".safetensors/";
    const char *at = strstr(path, ending);
    if (!at) return false;
    size_t length = (size_t)(at - path) + strlen(ending) - 1;
    *file = xasprintf("%.*s", (int)length, path);
    *rest = path + length + 1;
    if (file_exists(*file)) return true;
    free(*file);
    return false;
}

const char *ldm_prefix(const char *component) {
    if (strcmp(component, "unet") == 0) return "model.diffusion_model.";
    if (strcmp(component, "vae") == 0) return "first_stage_model.";
    return "cond_stage_model.transformer.";
}

/* ---- names ---------------------------------------------------------------------------------------- */

typedef struct {
    const char *ours, *theirs;
} pair_t;

static const pair_t unet_resnet[] = {{"norm1.", "in_layers.0."},
                                     {"conv1.", "in_layers.2."},
                                     {"time_emb_proj.", "emb_layers.1."},
                                     {"norm2.", "out_layers.0."},
                                     {"conv2.", "out_layers.3."},
                                     {"conv_shortcut.", "skip_connection."},
                                     {NULL, NULL}};
static const pair_t unet_rest[] = {{"time_embedding.linear_1.", "time_embed.0."},
                                   {"time_embedding.linear_2.", "time_embed.2."},
                                   {"conv_in.", "input_blocks.0.0."},
                                   {"conv_norm_out.", "out.0."},
                                   {"conv_out.", "out.2."},
                                   {NULL, NULL}};
static const pair_t vae_resnet[] = {{"conv_shortcut.", "nin_shortcut."}, {NULL, NULL}};
static const pair_t vae_attention[] = {
    {"group_norm.", "norm."},   {"to_q.", "q."}, {"to_k.", "k."}, {"to_v.", "v."},
    {"to_out.0.", "proj_out."}, {NULL, NULL}};

/* PLACE + rest, its front renamed by the table where a row fits; NULL when none does and one must. */
static char *renamed(const pair_t *table, bool must, const char *rest, const char *place) {
    for (; table->ours; table++) {
        size_t length = strlen(table->ours);
        if (strncmp(rest, table->ours, length) == 0)
            return xasprintf("%s%s%s", place, table->theirs, rest + length);
    }
    return must ? NULL : xasprintf("%s%s", place, rest);
}

/* One digit and a dot off the front of *at. */
static bool eat_digit(const char **at, unsigned *digit) {
    if ((*at)[0] < '0' || (*at)[0] > '9' || (*at)[1] != '.') return false;
    *digit = (unsigned)(**at - '0');
    *at += 2;
    return true;
}

/* "down_blocks.2.resnets.1.": level, kind and index; *rest behind them. */
static bool read_block(const char *name, const char *front, unsigned *level, const char **kind,
                       unsigned *index, const char **rest) {
    static const char *const kinds[] = {"resnets.", "attentions.", "downsamplers.", "upsamplers."};
    if (strncmp(name, front, strlen(front)) != 0) return false;
    *rest = name + strlen(front);
    if (!eat_digit(rest, level) || *level >= LEVELS) return false;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strncmp(*rest, kinds[i], strlen(kinds[i])) == 0) {
            *kind = kinds[i];
            *rest += strlen(kinds[i]);
            return eat_digit(rest, index);
        }
    return false;
}

static char *unet_block(const char *side, unsigned block, unsigned part, bool resnet,
                        const char *rest) {
    char place[64];
    snprintf(place, sizeof place, "%s_blocks.%u.%u.", side, block, part);
    return resnet ? renamed(unet_resnet, true, rest, place) : xasprintf("%s%s", place, rest);
}

static char *unet_name(const char *name) {
    unsigned level, index;
    const char *kind, *rest;
    if (read_block(name, "down_blocks.", &level, &kind, &index, &rest)) {
        if (*kind == 'd') /* downsamplers.0.conv.weight */
            return strncmp(rest, "conv.", 5) == 0
                       ? xasprintf("input_blocks.%u.0.op.%s", PER_DOWN * (level + 1), rest + 5)
                       : NULL;
        return unet_block("input", 1 + PER_DOWN * level + index, *kind == 'a', *kind == 'r', rest);
    }
    if (read_block(name, "up_blocks.", &level, &kind, &index, &rest)) {
        if (*kind == 'u')
            return unet_block("output", PER_UP * level + PER_UP - 1, level ? 2 : 1, false, rest);
        return unet_block("output", PER_UP * level + index, *kind == 'a', *kind == 'r', rest);
    }
    static const pair_t middle[] = {{"mid_block.resnets.0.", "middle_block.0."},
                                    {"mid_block.attentions.0.", "middle_block.1."},
                                    {"mid_block.resnets.1.", "middle_block.2."}};
    for (size_t i = 0; i < sizeof middle / sizeof *middle; i++)
        if (strncmp(name, middle[i].ours, strlen(middle[i].ours)) == 0) {
            rest = name + strlen(middle[i].ours);
            return i == 1 ? xasprintf("%s%s", middle[i].theirs, rest)
                          : renamed(unet_resnet, true, rest, middle[i].theirs);
        }
    return renamed(unet_rest, true, name, "");
}

static char *vae_name(const char *name) {
    static const char *const sides[] = {"encoder.", "decoder."};
    unsigned level, index;
    const char *kind, *rest;
    for (int d = 0; d < 2; d++) {
        size_t length = strlen(sides[d]);
        if (strncmp(name, sides[d], length) != 0) continue;
        const char *inner = name + length;
        char place[64];
        if (read_block(inner, d ? "up_blocks." : "down_blocks.", &level, &kind, &index, &rest)) {
            const char *side = d ? "up" : "down";
            unsigned number = d ? LEVELS - 1 - level : level;
            if (*kind == 'r') {
                snprintf(place, sizeof place, "%s%s.%u.block.%u.", sides[d], side, number, index);
                return renamed(vae_resnet, false, rest, place);
            }
            snprintf(place, sizeof place, "%s%s.%u.%ssample.", sides[d], side, number, side);
            return xasprintf("%s%s", place, rest);
        }
        static const pair_t middle[] = {{"mid_block.resnets.0.", "mid.block_1."},
                                        {"mid_block.resnets.1.", "mid.block_2."},
                                        {"mid_block.attentions.0.", "mid.attn_1."}};
        for (size_t i = 0; i < sizeof middle / sizeof *middle; i++) {
            size_t front = strlen(middle[i].ours);
            if (strncmp(inner, middle[i].ours, front) != 0) continue;
            snprintf(place, sizeof place, "%s%s", sides[d], middle[i].theirs);
            return renamed(i == 2 ? vae_attention : vae_resnet, i == 2, inner + front, place);
        }
        static const pair_t edges[] = {{"conv_norm_out.", "norm_out."}, {NULL, NULL}};
        return renamed(edges, false, inner, sides[d]);
    }
    return xstrdup(name); /* quant_conv, post_quant_conv */
}

char *ldm_name(const char *component, const char *name) {
    char *inner = strcmp(component, "unet") == 0  ? unet_name(name)
                  : strcmp(component, "vae") == 0 ? vae_name(name)
                                                  : xstrdup(name);
    if (!inner) return NULL;
    char *whole = xasprintf("%s%s", ldm_prefix(component), inner);
    free(inner);
    return whole;
}

bool ldm_is_known(const char *name) {
    static const char *const fronts[] = {"model.diffusion_model.", "first_stage_model.",
                                         "cond_stage_model.transformer.", "model_ema.", "edm_"};
    static const char *const names[] = {"v_pred",
                                        "ztsnr",
                                        "betas",
                                        "alphas_cumprod",
                                        "alphas_cumprod_prev",
                                        "sqrt_alphas_cumprod",
                                        "sqrt_one_minus_alphas_cumprod",
                                        "log_one_minus_alphas_cumprod",
                                        "sqrt_recip_alphas_cumprod",
                                        "sqrt_recipm1_alphas_cumprod",
                                        "posterior_variance",
                                        "posterior_log_variance_clipped",
                                        "posterior_mean_coef1",
                                        "posterior_mean_coef2",
                                        "lvlb_weights",
                                        "logvar",
                                        "scale_factor",
                                        "denoiser.sigmas"};
    for (size_t i = 0; i < sizeof fronts / sizeof *fronts; i++)
        if (strncmp(name, fronts[i], strlen(fronts[i])) == 0) return true;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(name, names[i]) == 0) return true;
    return false;
}

/* ---- configurations --------------------------------------------------------------------------------- */

int ldm_file(char **text, const char *path, err_t *err) {
    static const struct {
        size_t width;
        const char *model;
    } archs[] = {{320, "synth:sd15"}, {16, "synth:sd15-tiny"}};
    static const char first[] = "model.diffusion_model.input_blocks.0.0.weight";
    char *name, found[SHAPE_TEXT];
    const char *rest;
    *text = NULL;
    if (!ldm_split(path, &name, &rest)) return err_set(err, "%s: no such file", path);
    st_file_t *file;
    int status = st_open(&file, name, err);
    if (!status) {
        const st_tensor_t *conv = st_find(file, first);
        status = 1;
        for (size_t i = 0; conv && i < sizeof archs / sizeof *archs; i++)
            if (shape_equal(conv->shape, SHAPE4(archs[i].width, 4, 3, 3))) {
                char *made = file_join(archs[i].model, rest);
                status = synth_file(text, made, err);
                free(made);
            }
        if (status > 0 && !conv)
            status = err_set(err,
                             "%s: tensor '%s' is missing: this is no single-file checkpoint of "
                             "Stable Diffusion v1.x; --model takes such a file or a diffusers "
                             "folder",
                             name, first);
        else if (status > 0)
            status = err_set(err, "%s: tensor '%s': expected (320, 4, 3, 3), found %s", name, first,
                             shape_text(found, conv->shape));
        st_close(file);
    }
    free(name);
    return status;
}
