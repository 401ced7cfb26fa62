/* config_keys.c - see config_keys.h. */
#include "io/config_keys.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/file.h"
#include "io/source.h"

/* ---- the tables ----------------------------------------------------------------------------------- */

#define INFERENCE "acts in training only"
#define ENCODER   "of the VAE's encoder, which does not run"
#define CHECKER   "looks at finished pictures; does not run"
#define NOTE      "a note; nothing is computed from it"

const config_key_t config_keys_index[] = {
    {"_class_name", KEY_ONLY, "\"StableDiffusionPipeline\"|\"StableDiffusionXLPipeline\""},
    {"text_encoder", KEY_ONLY,
     "[\"transformers\",\"CLIPTextModel\"]|[\"transformers\",\"CLIPTextModelWithProjection\"]"},
    {"tokenizer", KEY_ONLY,
     "[\"transformers\",\"CLIPTokenizer\"]|[\"transformers\",\"CLIPTokenizerFast\"]"},
    {"text_encoder_2", KEY_ONLY, "[null,null]|[\"transformers\",\"CLIPTextModelWithProjection\"]"},
    {"tokenizer_2", KEY_ONLY,
     "[null,null]|[\"transformers\",\"CLIPTokenizer\"]|[\"transformers\",\"CLIPTokenizerFast\"]"},
    {"unet", KEY_ONLY, "[\"diffusers\",\"UNet2DConditionModel\"]"},
    {"vae", KEY_ONLY, "[\"diffusers\",\"AutoencoderKL\"]"},
    {"scheduler", KEY_HARMLESS, "DDIM runs; that the folder asks for another is said"},
    {"safety_checker", KEY_HARMLESS, CHECKER},
    {"feature_extractor", KEY_HARMLESS, CHECKER},
    {"requires_safety_checker", KEY_HARMLESS, CHECKER},
    {"force_zeros_for_empty_prompt", KEY_HARMLESS,
     "--negative-rule says it; a note where it says otherwise"},
    {"add_watermarker", KEY_HARMLESS, "marks finished pictures; does not run"},
    {"image_encoder", KEY_HARMLESS, "of prompts that are pictures, which do not exist here"},
    {NULL, KEY_END, NULL}};

const config_key_t config_keys_unet[] = {
    {"_class_name", KEY_ONLY, "\"UNet2DConditionModel\""},
    {"sample_size", KEY_USED_OR_NULL, NULL},
    {"in_channels", KEY_USED, NULL},
    {"out_channels", KEY_USED, NULL},
    {"block_out_channels", KEY_USED, NULL},
    {"down_block_types", KEY_USED, NULL},
    {"up_block_types", KEY_USED, NULL},
    {"layers_per_block", KEY_USED, NULL},
    {"attention_head_dim", KEY_USED, NULL},
    {"transformer_layers_per_block", KEY_USED, NULL},
    {"cross_attention_dim", KEY_USED, NULL},
    {"norm_num_groups", KEY_USED, NULL},
    {"norm_eps", KEY_USED, NULL},
    {"use_linear_projection", KEY_USED, NULL},
    {"flip_sin_to_cos", KEY_USED, NULL},
    {"freq_shift", KEY_USED, NULL},
    {"upcast_attention", KEY_USED_OR_NULL, NULL},
    {"addition_embed_type", KEY_USED_OR_NULL, NULL},
    {"addition_time_embed_dim", KEY_USED_OR_NULL, NULL},
    {"projection_class_embeddings_input_dim", KEY_USED_OR_NULL, NULL},
    {"act_fn", KEY_ONLY, "\"silu\"|\"swish\""},
    {"attention_type", KEY_ONLY, "\"default\"|null"},
    {"center_input_sample", KEY_ONLY, "false|null"},
    {"class_embed_type", KEY_ONLY, "null"},
    {"class_embeddings_concat", KEY_ONLY, "false|null"},
    {"conv_in_kernel", KEY_ONLY, "3"},
    {"conv_out_kernel", KEY_ONLY, "3"},
    {"cross_attention_norm", KEY_ONLY, "null"},
    /* 0 is not "none": diffusers then pads right and below. */
    {"downsample_padding", KEY_ONLY, "1"},
    {"dual_cross_attention", KEY_ONLY, "false|null"},
    {"encoder_hid_dim", KEY_ONLY, "null"}, /* alone it makes encoder_hid_dim_type "text_proj" */
    {"encoder_hid_dim_type", KEY_ONLY, "null"},
    {"mid_block_only_cross_attention", KEY_ONLY, "false|null"},
    {"mid_block_scale_factor", KEY_ONLY, "1"},
    {"mid_block_type", KEY_ONLY, "\"UNetMidBlock2DCrossAttn\""}, /* null leaves the block out */
    {"num_attention_heads", KEY_ONLY, "null"}, /* diffusers refuses others: the name is taken */
    {"num_class_embeds", KEY_ONLY, "null"},
    {"only_cross_attention", KEY_ONLY, "false"},
    {"quantization_config", KEY_ONLY, "null"},
    {"resnet_out_scale_factor", KEY_ONLY, "1"},
    {"resnet_skip_time_act", KEY_ONLY, "false|null"},
    {"resnet_time_scale_shift", KEY_ONLY, "\"default\""},
    {"reverse_transformer_layers_per_block", KEY_ONLY, "null"},
    {"time_cond_proj_dim", KEY_ONLY, "null"},
    {"time_embedding_act_fn", KEY_ONLY, "null"},
    {"time_embedding_dim", KEY_ONLY, "null"},
    {"time_embedding_type", KEY_ONLY, "\"positional\""},
    {"timestep_post_act", KEY_ONLY, "null"},
    {"addition_embed_type_num_heads", KEY_HARMLESS, "of other types of addition_embed_type"},
    {"dropout", KEY_HARMLESS, INFERENCE},
    {NULL, KEY_END, NULL}};

const config_key_t config_keys_vae[] = {
    {"_class_name", KEY_ONLY, "\"AutoencoderKL\""},
    {"latent_channels", KEY_USED, NULL},
    {"out_channels", KEY_USED, NULL},
    {"block_out_channels", KEY_USED, NULL},
    {"up_block_types", KEY_USED, NULL},
    {"layers_per_block", KEY_USED, NULL},
    {"norm_num_groups", KEY_USED, NULL},
    {"scaling_factor", KEY_USED, NULL},
    {"use_post_quant_conv", KEY_USED, NULL},
    {"act_fn", KEY_ONLY, "\"silu\"|\"swish\""},
    {"latents_mean", KEY_ONLY, "null"},
    {"latents_std", KEY_ONLY, "null"},
    {"mid_block_add_attention", KEY_ONLY, "true"},
    {"quantization_config", KEY_ONLY, "null"},
    {"shift_factor", KEY_ONLY, "null"},
    {"in_channels", KEY_HARMLESS, ENCODER},
    {"down_block_types", KEY_HARMLESS, ENCODER},
    {"use_quant_conv", KEY_HARMLESS, ENCODER},
    {"sample_size", KEY_HARMLESS, "of pictures cut into tiles, which are not cut here"},
    {"force_upcast", KEY_HARMLESS, "float32 in place of float16, which it is in any case"},
    {NULL, KEY_END, NULL}};

const config_key_t config_keys_text_encoder[] = {
    {"architectures", KEY_ONLY, "\"CLIPTextModel\"|\"CLIPTextModelWithProjection\"|null"},
    {"model_type", KEY_ONLY, "\"clip_text_model\""},
    {"vocab_size", KEY_USED, NULL},
    {"hidden_size", KEY_USED, NULL},
    {"intermediate_size", KEY_USED, NULL},
    {"num_hidden_layers", KEY_USED, NULL},
    {"num_attention_heads", KEY_USED, NULL},
    {"max_position_embeddings", KEY_USED, NULL},
    {"hidden_act", KEY_USED, NULL},
    {"layer_norm_eps", KEY_USED, NULL},
    {"use_attention_mask", KEY_ONLY, "false|null"}, /* true: the pipeline masks the padding */
    {"pruned_heads", KEY_ONLY, "{}|null"},
    {"quantization_config", KEY_ONLY, "null"},
    {"projection_dim", KEY_USED_OR_NULL, NULL},
    {"eos_token_id", KEY_USED_OR_NULL, NULL},
    {"bos_token_id", KEY_HARMLESS, "the tokenizer begins, by its own configuration"},
    {"pad_token_id", KEY_HARMLESS, "the tokenizer pads, by its own configuration"},
    {"attention_dropout", KEY_HARMLESS, INFERENCE},
    {"dropout", KEY_HARMLESS, INFERENCE},
    {"gradient_checkpointing", KEY_HARMLESS, INFERENCE},
    {"initializer_factor", KEY_HARMLESS, INFERENCE},
    {"initializer_range", KEY_HARMLESS, INFERENCE},
    {"chunk_size_feed_forward", KEY_HARMLESS, "the same numbers in parts"},
    {"dtype", KEY_HARMLESS, "the file's numbers are widened, whatever their type"},
    {"torch_dtype", KEY_HARMLESS, "the file's numbers are widened, whatever their type"},
    {"output_attentions", KEY_HARMLESS, "what else is returned"},
    {"output_hidden_states", KEY_HARMLESS, "what else is returned"},
    {"return_dict", KEY_HARMLESS, "the form in which it is returned"},
    {"use_return_dict", KEY_HARMLESS, "the form in which it is returned"},
    {"tie_word_embeddings", KEY_HARMLESS, "of a decoder of words, which CLIP has not"},
    {"is_decoder", KEY_HARMLESS, "CLIP is causal in any case"},
    {"is_encoder_decoder", KEY_HARMLESS, "of a decoder of words, which CLIP has not"},
    {"id2label", KEY_HARMLESS, NOTE},
    {"label2id", KEY_HARMLESS, NOTE},
    {"problem_type", KEY_HARMLESS, NOTE},
    {"transformers_version", KEY_HARMLESS, NOTE},
    {NULL, KEY_END, NULL}};

/* tokenizer_config.json. transformers' CLIPTokenizer makes its own normalizer, cutting and frame, and
 * reads nothing of what asks for others. */
#define ITS_OWN "CLIPTokenizer has its own, whatever the file says"
#define DECODES "of the way back from ids to text"
#define GIVEN   "every call of the pipeline says it"

const config_key_t config_keys_tokenizer[] = {
    {"tokenizer_class", KEY_USED_OR_NULL, NULL},
    {"model_max_length", KEY_USED_OR_NULL, NULL},
    {"bos_token", KEY_USED_OR_NULL, NULL},
    {"eos_token", KEY_USED_OR_NULL, NULL},
    {"unk_token", KEY_USED_OR_NULL, NULL},
    {"sep_token", KEY_USED_OR_NULL, NULL},
    {"pad_token", KEY_USED_OR_NULL, NULL},
    {"cls_token", KEY_USED_OR_NULL, NULL},
    {"mask_token", KEY_USED_OR_NULL, NULL},
    {"added_tokens_decoder", KEY_USED_OR_NULL, NULL},
    {"additional_special_tokens", KEY_USED_OR_NULL, NULL},
    {"extra_special_tokens", KEY_USED_OR_NULL, NULL},
    {"padding_side", KEY_USED_OR_NULL, NULL},
    {"truncation_side", KEY_USED_OR_NULL, NULL},
    {"split_special_tokens", KEY_ONLY, "false|null"},
    {"add_bos_token", KEY_HARMLESS, ITS_OWN},
    {"add_eos_token", KEY_HARMLESS, ITS_OWN},
    {"add_prefix_space", KEY_HARMLESS, ITS_OWN},
    {"do_lower_case", KEY_HARMLESS, ITS_OWN},
    {"legacy", KEY_HARMLESS, ITS_OWN},
    {"strip_accents", KEY_HARMLESS, ITS_OWN},
    {"trim_offsets", KEY_HARMLESS, ITS_OWN},
    {"clean_up_tokenization_spaces", KEY_HARMLESS, DECODES},
    {"errors", KEY_HARMLESS, DECODES},
    {"max_length", KEY_HARMLESS, GIVEN},
    {"pad_to_multiple_of", KEY_HARMLESS, GIVEN},
    {"pad_token_type_id", KEY_HARMLESS, "CLIP has no types of tokens"},
    {"stride", KEY_HARMLESS, GIVEN},
    {"truncation_strategy", KEY_HARMLESS, GIVEN},
    {"auto_map", KEY_HARMLESS, NOTE},
    {"backend", KEY_HARMLESS, NOTE},
    {"chat_template", KEY_HARMLESS, NOTE},
    {"is_local", KEY_HARMLESS, NOTE},
    {"local_files_only", KEY_HARMLESS, NOTE},
    {"model_input_names", KEY_HARMLESS, NOTE},
    {"model_specific_special_tokens", KEY_HARMLESS, NOTE},
    {"name_or_path", KEY_HARMLESS, NOTE},
    {"processor_class", KEY_HARMLESS, NOTE},
    {"special_tokens_map_file", KEY_HARMLESS, NOTE},
    {"tokenizer_file", KEY_HARMLESS, NOTE},
    {"use_fast", KEY_HARMLESS, NOTE},
    {NULL, KEY_END, NULL}};

/* DDIM's keys; those of other schedulers are listed by who reads the file (sampler/ddim.h), but for
 * those that say what the weights were trained for. */
const config_key_t config_keys_scheduler[] = {
    {"_class_name", KEY_USED, NULL},
    {"num_train_timesteps", KEY_USED, NULL},
    {"beta_start", KEY_USED, NULL},
    {"beta_end", KEY_USED, NULL},
    {"beta_schedule", KEY_USED, NULL},
    {"clip_sample", KEY_USED, NULL},
    {"clip_sample_range", KEY_USED, NULL},
    {"prediction_type", KEY_USED, NULL},
    {"rescale_betas_zero_snr", KEY_USED_OR_NULL, NULL},
    {"set_alpha_to_one", KEY_USED, NULL},
    {"steps_offset", KEY_USED, NULL},
    {"timestep_spacing", KEY_USED, NULL},
    {"trained_betas", KEY_ONLY, "null"},
    {"thresholding", KEY_ONLY, "false|null"},    /* meant for pixels, not for latents */
    {"timestep_type", KEY_ONLY, "\"discrete\""}, /* "continuous": timesteps that are no indices */
    {"sigma_data", KEY_ONLY, "null"},            /* EDM */
    {"use_flow_sigmas", KEY_ONLY, "false|null"}, /* flow matching */
    {"dynamic_thresholding_ratio", KEY_HARMLESS, "of thresholding, which is off"},
    {"sample_max_value", KEY_HARMLESS, "of thresholding, which is off"},
    {"flow_shift", KEY_HARMLESS, "of use_flow_sigmas, which is off"},
    {NULL, KEY_END, NULL}};

/* ---- one file ------------------------------------------------------------------------------------- */

const config_key_t *config_key_find(const config_key_t *table, const char *key) {
    for (; table->fate != KEY_END; table++)
        if (strcmp(table->key, key) == 0) return table;
    return NULL;
}

/* 1 and 1.0 are the same number. */
static bool same(const json_t *a, const json_t *b) {
    if (json_is_number(a) && json_is_number(b)) return json_number_value(a) == json_number_value(b);
    return json_equal(a, b);
}

static bool is_listed(const json_t *value, const char *list) {
    bool found = false;
    while (list && !found) {
        const char *bar = strchr(list, '|');
        size_t length = bar ? (size_t)(bar - list) : strlen(list);
        json_t *one = json_loadb(list, length, JSON_DECODE_ANY, NULL);
        REQUIRE(one, "config_keys: '%s' is no JSON", list);
        found = same(value, one);
        json_decref(one);
        list = bar ? bar + 1 : NULL;
    }
    return found;
}

/* A listed value, or a list of such ones, one for each level. */
static bool is_computed(const json_t *value, const char *list) {
    if (is_listed(value, list)) return true;
    size_t count = json_array_size(value), good = 0;
    for (size_t i = 0; i < count; i++) good += is_listed(json_array_get(value, i), list);
    return count > 0 && good == count;
}

static int refuse_value(json_node_t node, const config_key_t *row, const json_t *value,
                        err_t *err) {
    char expected[256], shown[SHOWN_TEXT];
    size_t used = 0;
    for (const char *at = row->text; *at && used < sizeof expected - 40; at++) {
        const char one[] = {*at, '\0'};
        used += (size_t)snprintf(expected + used, sizeof expected - used, "%s",
                                 *at == '|' ? " or " : one);
    }
    char *found = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
    json_node_error(node, row->key, err, "expected %s (nothing else is implemented), found %s",
                    expected, text_shown(shown, found ? found : "?"));
    free(found);
    return -1;
}

static void note_unknown(char unknown[CONFIG_UNKNOWN], const char *key, const json_t *value) {
    char shown[SHOWN_TEXT];
    size_t used = strlen(unknown);
    if (key[0] == '_' || json_is_null(value) || json_is_false(value)) return;
    snprintf(unknown + used, CONFIG_UNKNOWN - used, "%s%s", used ? ", " : "",
             text_shown(shown, key));
}

int config_keys_check(json_node_t node, const config_key_t *table, char unknown[CONFIG_UNKNOWN],
                      err_t *err) {
    const char *key;
    json_t *value;
    unknown[0] = '\0';
    json_object_foreach(node.value, key, value) {
        const config_key_t *row = config_key_find(table, key);
        if (!row)
            note_unknown(unknown, key, value);
        else if (row->fate == KEY_ONLY && !is_computed(value, row->text))
            return refuse_value(node, row, value, err);
        else if (row->fate == KEY_USED && json_is_null(value))
            return json_node_error(node, key, err, "expected a value, or no such key, found null");
    }
    return 0;
}

int config_open(json_file_t **file, const char *folder, const char *name, const config_key_t *table,
                char unknown[CONFIG_UNKNOWN], err_t *err) {
    char *path = file_join(folder, name);
    int status = source_json(file, path, err);
    if (!status && !json_is_object(json_file_root(*file).value))
        status = err_set(err, "%s: expected a JSON object", path);
    if (!status) status = config_keys_check(json_file_root(*file), table, unknown, err);
    free(path);
    if (!status) return 0;
    json_file_close(*file);
    *file = NULL;
    return -1;
}
