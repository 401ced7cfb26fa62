/* synth_files.c - see synth.h: the files of a made folder, the weights aside. What `mole synth` writes and
 * what is read in place are these very texts. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/synth.h"

/* What differs between a model and its tiny sister. */
typedef struct {
    const char *arch, *unet_widths, *vae_widths;
    int sample, context, unet_groups, vae_groups, intermediate, layers, heads, vocab;
} sizes_t;

static const sizes_t sizes[] = {
    {"sd15", "320, 640, 1280, 1280", "128, 256, 512, 512", 64, 768, 32, 32, 3072, 12, 12, 49408},
    {"sd15-tiny", "16, 32, 64, 64", "8, 16, 32, 32", 16, 40, 8, 4, 160, 3, 5, 514},
};

static char *model_index(const sizes_t *s) {
    (void)s;
    return xasprintf("{\n  \"_class_name\": \"StableDiffusionPipeline\",\n"
                     "  \"_diffusers_version\": \"0.42.1\",\n"
                     "  \"feature_extractor\": [null, null],\n"
                     "  \"image_encoder\": [null, null],\n"
                     "  \"requires_safety_checker\": false,\n"
                     "  \"safety_checker\": [null, null],\n"
                     "  \"scheduler\": [\"diffusers\", \"DDIMScheduler\"],\n"
                     "  \"text_encoder\": [\"transformers\", \"CLIPTextModel\"],\n"
                     "  \"tokenizer\": [\"transformers\", \"CLIPTokenizer\"],\n"
                     "  \"unet\": [\"diffusers\", \"UNet2DConditionModel\"],\n"
                     "  \"vae\": [\"diffusers\", \"AutoencoderKL\"]\n}\n");
}

static char *unet_config(const sizes_t *s) {
    return xasprintf(
        "{\n  \"_class_name\": \"UNet2DConditionModel\",\n  \"act_fn\": \"silu\",\n"
        "  \"attention_head_dim\": 8,\n  \"block_out_channels\": [%s],\n"
        "  \"center_input_sample\": false,\n  \"cross_attention_dim\": %d,\n"
        "  \"down_block_types\": [\"CrossAttnDownBlock2D\", \"CrossAttnDownBlock2D\", "
        "\"CrossAttnDownBlock2D\", \"DownBlock2D\"],\n"
        "  \"downsample_padding\": 1,\n  \"flip_sin_to_cos\": true,\n  \"freq_shift\": 0,\n"
        "  \"in_channels\": 4,\n  \"layers_per_block\": 2,\n  \"mid_block_scale_factor\": 1,\n"
        "  \"norm_eps\": 1e-05,\n  \"norm_num_groups\": %d,\n  \"out_channels\": 4,\n"
        "  \"sample_size\": %d,\n"
        "  \"up_block_types\": [\"UpBlock2D\", \"CrossAttnUpBlock2D\", \"CrossAttnUpBlock2D\", "
        "\"CrossAttnUpBlock2D\"]\n}\n",
        s->unet_widths, s->context, s->unet_groups, s->sample);
}

static char *vae_config(const sizes_t *s) {
    return xasprintf(
        "{\n  \"_class_name\": \"AutoencoderKL\",\n  \"act_fn\": \"silu\",\n"
        "  \"block_out_channels\": [%s],\n"
        "  \"down_block_types\": [\"DownEncoderBlock2D\", \"DownEncoderBlock2D\", "
        "\"DownEncoderBlock2D\", \"DownEncoderBlock2D\"],\n"
        "  \"in_channels\": 3,\n  \"latent_channels\": 4,\n  \"layers_per_block\": 2,\n"
        "  \"norm_num_groups\": %d,\n  \"out_channels\": 3,\n  \"sample_size\": %d,\n"
        "  \"scaling_factor\": 0.18215,\n"
        "  \"up_block_types\": [\"UpDecoderBlock2D\", \"UpDecoderBlock2D\", "
        "\"UpDecoderBlock2D\", \"UpDecoderBlock2D\"]\n}\n",
        s->vae_widths, s->vae_groups, 8 * s->sample);
}

static char *text_config(const sizes_t *s) {
    return xasprintf(
        "{\n  \"architectures\": [\"CLIPTextModel\"],\n  \"attention_dropout\": 0.0,\n"
        "  \"bos_token_id\": %d,\n  \"eos_token_id\": %d,\n  \"hidden_act\": \"quick_gelu\",\n"
        "  \"hidden_size\": %d,\n  \"intermediate_size\": %d,\n  \"layer_norm_eps\": 1e-05,\n"
        "  \"max_position_embeddings\": 77,\n  \"model_type\": \"clip_text_model\",\n"
        "  \"num_attention_heads\": %d,\n  \"num_hidden_layers\": %d,\n  \"pad_token_id\": %d,\n"
        "  \"projection_dim\": %d,\n  \"vocab_size\": %d\n}\n",
        s->vocab - 2, s->vocab - 1, s->context, s->intermediate, s->heads, s->layers, s->vocab - 1,
        s->context, s->vocab);
}

static char *scheduler_config(const sizes_t *s) {
    (void)s;
    return xasprintf("{\n  \"_class_name\": \"DDIMScheduler\",\n  \"beta_end\": 0.012,\n"
                     "  \"beta_schedule\": \"scaled_linear\",\n  \"beta_start\": 0.00085,\n"
                     "  \"clip_sample\": false,\n  \"num_train_timesteps\": 1000,\n"
                     "  \"prediction_type\": \"epsilon\",\n  \"set_alpha_to_one\": false,\n"
                     "  \"steps_offset\": 1,\n  \"timestep_spacing\": \"leading\",\n"
                     "  \"trained_betas\": null\n}\n");
}

/* ---- a tokenizer without merges: every byte is a token, the last of a word with "</w>" --------------- */

#define SPECIAL_TOKENS                                                                             \
    "  \"bos_token\": \"<|startoftext|>\",\n  \"eos_token\": \"<|endoftext|>\",\n"                 \
    "  \"pad_token\": \"<|endoftext|>\",\n  \"unk_token\": \"<|endoftext|>\"\n}\n"

static char *special_tokens(const sizes_t *s) {
    (void)s;
    return xstrdup("{\n" SPECIAL_TOKENS);
}

static char *tokenizer_config(const sizes_t *s) {
    (void)s;
    return xstrdup("{\n  \"model_max_length\": 77,\n  \"tokenizer_class\": "
                   "\"CLIPTokenizer\",\n" SPECIAL_TOKENS);
}

static char *merges(const sizes_t *s) {
    (void)s;
    return xstrdup("#version: 0.2\n");
}

/* 33..126, 161..172 and 174..323: the characters that stand for the 256 bytes, by code point. */
static size_t write_symbol(char *to, size_t index) {
    unsigned code = (unsigned)index + (index < 94 ? 33U : index < 106 ? 161U - 94 : 174U - 106);
    if (code == '"' || code == '\\') return (size_t)sprintf(to, "\\%c", (char)code);
    if (code < 0x80) return (size_t)sprintf(to, "%c", (char)code);
    return (size_t)sprintf(to, "%c%c", (char)(0xC0 | code >> 6), (char)(0x80 | (code & 0x3F)));
}

static char *vocab(const sizes_t *s) {
    enum { ENTRY = 40 };
    char *text = xmalloc((size_t)s->vocab * ENTRY), *to = text;
    for (int id = 0; id < s->vocab; id++) {
        to += sprintf(to, "%s\"", id ? ",\n" : "{\n");
        if (id < 512) {
            to += write_symbol(to, (size_t)id % 256);
            if (id >= 256) to += sprintf(to, "</w>");
        } else if (id >= s->vocab - 2) {
            to += sprintf(to, "<|%softext|>", id == s->vocab - 1 ? "end" : "start");
        } else {
            to += sprintf(to, "unused-%05d</w>", id);
        }
        to += sprintf(to, "\": %d", id);
    }
    sprintf(to, "\n}\n");
    return text;
}

/* ---- the folder ----------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    char *(*make)(const sizes_t *);
} files[] = {
    {"model_index.json", model_index},
    {"unet/config.json", unet_config},
    {"vae/config.json", vae_config},
    {"text_encoder/config.json", text_config},
    {"scheduler/scheduler_config.json", scheduler_config},
    {"tokenizer/vocab.json", vocab},
    {"tokenizer/merges.txt", merges},
    {"tokenizer/tokenizer_config.json", tokenizer_config},
    {"tokenizer/special_tokens_map.json", special_tokens},
};

const char *synth_file_name(size_t index) {
    return index < sizeof files / sizeof *files ? files[index].name : NULL;
}

int synth_file(char **text, const char *path, err_t *err) {
    synth_spec_t spec;
    const char *name;
    *text = NULL;
    if (synth_parse(&spec, SYNTH_MODEL, path, &name, err)) return -1;
    const sizes_t *s = sizes;
    while (strcmp(s->arch, spec.arch) != 0) s++;
    for (size_t i = 0; synth_file_name(i); i++)
        if (strcmp(name, files[i].name) == 0) *text = files[i].make(s);
    return 0;
}
