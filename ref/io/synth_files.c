/* synth_files.c - see synth.h: the files of a made folder, the weights aside. What `mole synth` writes and
 * what is read in place are these very texts. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/synth.h"

/* A text encoder. */
typedef struct {
    int hidden, intermediate, layers, heads, projection;
    const char *act;
} text_sizes_t;

/* What differs between models, and between a model and its tiny sister. */
typedef struct {
    const char *arch;
    const char *unet_widths, *heads, *down, *up;
    const char *unet_more; /* further keys of the UNet's config.json */
    const char *vae_widths, *scaling_factor;
    int sample, context, unet_groups, vae_groups, vocab;
    text_sizes_t text[2]; /* the second may be none */
    const char *scheduler, *prediction;
} sizes_t;

#define CROSS(side) "\"CrossAttn" side "Block2D\""
#define FOUR_DOWN   CROSS("Down") ", " CROSS("Down") ", " CROSS("Down") ", \"DownBlock2D\""
#define FOUR_UP     "\"UpBlock2D\", " CROSS("Up") ", " CROSS("Up") ", " CROSS("Up")
#define THREE_DOWN  "\"DownBlock2D\", " CROSS("Down") ", " CROSS("Down")
#define THREE_UP    CROSS("Up") ", " CROSS("Up") ", \"UpBlock2D\""
#define LINEAR      ",\n  \"use_linear_projection\": true"
#define ADDED(dim, width)                                                                          \
    LINEAR ",\n  \"addition_embed_type\": \"text_time\",\n  \"addition_time_embed_dim\": " dim     \
           ",\n"                                                                                   \
           "  \"projection_class_embeddings_input_dim\": " width ",\n"                             \
           "  \"transformer_layers_per_block\": [1, 2, 10]"
#define VAE_WIDTHS "128, 256, 512, 512"

static const sizes_t sizes[] = {
    {"sd15",
     "320, 640, 1280, 1280",
     "8",
     FOUR_DOWN,
     FOUR_UP,
     "",
     VAE_WIDTHS,
     "0.18215",
     64,
     768,
     32,
     32,
     49408,
     {{768, 3072, 12, 12, 768, "quick_gelu"}},
     "DDIMScheduler",
     "epsilon"},
    {"sd15-tiny",
     "16, 32, 64, 64",
     "8",
     FOUR_DOWN,
     FOUR_UP,
     "",
     "8, 16, 32, 32",
     "0.18215",
     16,
     40,
     8,
     4,
     514,
     {{40, 160, 3, 5, 40, "quick_gelu"}},
     "DDIMScheduler",
     "epsilon"},
    {"sd21",
     "320, 640, 1280, 1280",
     "[5, 10, 20, 20]",
     FOUR_DOWN,
     FOUR_UP,
     LINEAR,
     VAE_WIDTHS,
     "0.18215",
     96,
     1024,
     32,
     32,
     49408,
     {{1024, 4096, 23, 16, 1024, "gelu"}},
     "DDIMScheduler",
     "v_prediction"},
    {"sd21-tiny",
     "8, 16, 32, 32",
     "[2, 4, 8, 8]",
     FOUR_DOWN,
     FOUR_UP,
     LINEAR,
     "8, 12, 16, 16",
     "0.18215",
     16,
     24,
     4,
     4,
     1014,
     {{24, 96, 5, 3, 24, "gelu"}},
     "DDIMScheduler",
     "v_prediction"},
    {"sdxl",
     "320, 640, 1280",
     "[5, 10, 20]",
     THREE_DOWN,
     THREE_UP,
     ADDED("256", "2816"),
     VAE_WIDTHS,
     "0.13025",
     128,
     2048,
     32,
     32,
     49408,
     {{768, 3072, 12, 12, 768, "quick_gelu"}, {1280, 5120, 32, 20, 1280, "gelu"}},
     "EulerDiscreteScheduler",
     "epsilon"},
    {"sdxl-tiny",
     "8, 12, 16",
     "[2, 3, 4]",
     THREE_DOWN,
     THREE_UP,
     ADDED("8", "68"),
     "8, 12, 16, 16",
     "0.13025",
     16,
     36,
     4,
     4,
     1014,
     {{16, 64, 3, 2, 16, "quick_gelu"}, {20, 80, 4, 5, 20, "gelu"}},
     "EulerDiscreteScheduler",
     "epsilon"},
};

static bool is_pair(const sizes_t *s) {
    return s->text[1].hidden > 0;
}

static char *model_index(const sizes_t *s) {
    return xasprintf("{\n  \"_class_name\": \"StableDiffusion%sPipeline\",\n"
                     "  \"_diffusers_version\": \"0.42.1\",\n"
                     "  \"feature_extractor\": [null, null],\n"
                     "  \"image_encoder\": [null, null],\n"
                     "%s  \"scheduler\": [\"diffusers\", \"%s\"],\n"
                     "  \"text_encoder\": [\"transformers\", \"CLIPTextModel\"],\n"
                     "%s  \"tokenizer\": [\"transformers\", \"CLIPTokenizer\"],\n"
                     "%s  \"unet\": [\"diffusers\", \"UNet2DConditionModel\"],\n"
                     "  \"vae\": [\"diffusers\", \"AutoencoderKL\"]\n}\n",
                     is_pair(s) ? "XL" : "",
                     is_pair(s) ? "  \"force_zeros_for_empty_prompt\": true,\n"
                                : "  \"requires_safety_checker\": false,\n"
                                  "  \"safety_checker\": [null, null],\n",
                     s->scheduler,
                     is_pair(s) ? "  \"text_encoder_2\": [\"transformers\", "
                                  "\"CLIPTextModelWithProjection\"],\n"
                                : "",
                     is_pair(s) ? "  \"tokenizer_2\": [\"transformers\", \"CLIPTokenizer\"],\n"
                                : "");
}

static char *unet_config(const sizes_t *s) {
    return xasprintf(
        "{\n  \"_class_name\": \"UNet2DConditionModel\",\n  \"act_fn\": \"silu\",\n"
        "  \"attention_head_dim\": %s,\n  \"block_out_channels\": [%s],\n"
        "  \"center_input_sample\": false,\n  \"cross_attention_dim\": %d,\n"
        "  \"down_block_types\": [%s],\n"
        "  \"downsample_padding\": 1,\n  \"flip_sin_to_cos\": true,\n  \"freq_shift\": 0,\n"
        "  \"in_channels\": 4,\n  \"layers_per_block\": 2,\n  \"mid_block_scale_factor\": 1,\n"
        "  \"norm_eps\": 1e-05,\n  \"norm_num_groups\": %d,\n  \"out_channels\": 4,\n"
        "  \"sample_size\": %d,\n"
        "  \"up_block_types\": [%s]%s\n}\n",
        s->heads, s->unet_widths, s->context, s->down, s->unet_groups, s->sample, s->up,
        s->unet_more);
}

static char *vae_config(const sizes_t *s) {
    return xasprintf(
        "{\n  \"_class_name\": \"AutoencoderKL\",\n  \"act_fn\": \"silu\",\n"
        "  \"block_out_channels\": [%s],\n"
        "  \"down_block_types\": [\"DownEncoderBlock2D\", \"DownEncoderBlock2D\", "
        "\"DownEncoderBlock2D\", \"DownEncoderBlock2D\"],\n"
        "  \"in_channels\": 3,\n  \"latent_channels\": 4,\n  \"layers_per_block\": 2,\n"
        "  \"norm_num_groups\": %d,\n  \"out_channels\": 3,\n  \"sample_size\": %d,\n"
        "  \"scaling_factor\": %s,\n"
        "  \"up_block_types\": [\"UpDecoderBlock2D\", \"UpDecoderBlock2D\", "
        "\"UpDecoderBlock2D\", \"UpDecoderBlock2D\"]\n}\n",
        s->vae_widths, s->vae_groups, 8 * s->sample, s->scaling_factor);
}

static char *text_of(const sizes_t *s, const text_sizes_t *t, const char *class_name) {
    return xasprintf(
        "{\n  \"architectures\": [\"%s\"],\n  \"attention_dropout\": 0.0,\n"
        "  \"bos_token_id\": %d,\n  \"eos_token_id\": %d,\n  \"hidden_act\": \"%s\",\n"
        "  \"hidden_size\": %d,\n  \"intermediate_size\": %d,\n  \"layer_norm_eps\": 1e-05,\n"
        "  \"max_position_embeddings\": 77,\n  \"model_type\": \"clip_text_model\",\n"
        "  \"num_attention_heads\": %d,\n  \"num_hidden_layers\": %d,\n  \"pad_token_id\": %d,\n"
        "  \"projection_dim\": %d,\n  \"vocab_size\": %d\n}\n",
        class_name, s->vocab - 2, s->vocab - 1, t->act, t->hidden, t->intermediate, t->heads,
        t->layers, s->vocab - 1, t->projection, s->vocab);
}

static char *text_config(const sizes_t *s) {
    return text_of(s, &s->text[0], "CLIPTextModel");
}

static char *text_config_2(const sizes_t *s) {
    return is_pair(s) ? text_of(s, &s->text[1], "CLIPTextModelWithProjection") : NULL;
}

static char *scheduler_config(const sizes_t *s) {
    return xasprintf("{\n  \"_class_name\": \"%s\",\n  \"beta_end\": 0.012,\n"
                     "  \"beta_schedule\": \"scaled_linear\",\n  \"beta_start\": 0.00085,\n"
                     "  \"clip_sample\": false,\n  \"num_train_timesteps\": 1000,\n"
                     "  \"prediction_type\": \"%s\",\n  \"set_alpha_to_one\": false,\n"
                     "  \"steps_offset\": 1,\n  \"timestep_spacing\": \"leading\",\n"
                     "  \"trained_betas\": null\n}\n",
                     s->scheduler, s->prediction);
}

/* ---- a tokenizer without merges: every byte is a token, the last of a word with "</w>" --------------- */

/* OpenCLIP's text encoders, those of act "gelu", pad with "!", of id 0; the others with the end token. */
static char *special_of(const text_sizes_t *t, const char *front) {
    return xasprintf("{\n%s"
                     "  \"bos_token\": \"<|startoftext|>\",\n  \"eos_token\": \"<|endoftext|>\",\n"
                     "  \"pad_token\": \"%s\",\n  \"unk_token\": \"<|endoftext|>\"\n}\n",
                     front, strcmp(t->act, "gelu") == 0 ? "!" : "<|endoftext|>");
}

#define ITS_CLASS "  \"model_max_length\": 77,\n  \"tokenizer_class\": \"CLIPTokenizer\",\n"

static char *special_tokens(const sizes_t *s) {
    return special_of(&s->text[0], "");
}

static char *special_tokens_2(const sizes_t *s) {
    return is_pair(s) ? special_of(&s->text[1], "") : NULL;
}

static char *tokenizer_config(const sizes_t *s) {
    return special_of(&s->text[0], ITS_CLASS);
}

static char *tokenizer_config_2(const sizes_t *s) {
    return is_pair(s) ? special_of(&s->text[1], ITS_CLASS) : NULL;
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

static char *merges_2(const sizes_t *s) {
    return is_pair(s) ? merges(s) : NULL;
}

static char *vocab_2(const sizes_t *s) {
    return is_pair(s) ? vocab(s) : NULL;
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
    {"text_encoder_2/config.json", text_config_2},
    {"scheduler/scheduler_config.json", scheduler_config},
    {"tokenizer/vocab.json", vocab},
    {"tokenizer/merges.txt", merges},
    {"tokenizer/tokenizer_config.json", tokenizer_config},
    {"tokenizer/special_tokens_map.json", special_tokens},
    {"tokenizer_2/vocab.json", vocab_2},
    {"tokenizer_2/merges.txt", merges_2},
    {"tokenizer_2/tokenizer_config.json", tokenizer_config_2},
    {"tokenizer_2/special_tokens_map.json", special_tokens_2},
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
