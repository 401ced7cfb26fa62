/* Every key that diffusers' and transformers' configurations have: used, or harmless, or refused by its own
 * name when its value asks for a computation that is not here. None is passed over in silence. */
#include <unistd.h>

#include "../model/model_copy.h"
#include "../scratch.h"
#include "../unit.h"
#include "io/file.h"
#include "model/text_encoder.h"
#include "model/unet.h"
#include "model/unet_config.h"
#include "model/vae.h"
#include "prompt/tokenizer.h"
#include "sampler/ddim.h"

/* The arguments of diffusers 0.42.1's UNet2DConditionModel, AutoencoderKL and DDIMScheduler and the fields
 * of transformers 5.23.0's CLIPTextConfig, as Python's inspect.signature lists them. */
static const char unet_keys[] =
    "sample_size in_channels out_channels center_input_sample flip_sin_to_cos freq_shift "
    "down_block_types mid_block_type up_block_types only_cross_attention block_out_channels "
    "layers_per_block downsample_padding mid_block_scale_factor dropout act_fn norm_num_groups "
    "norm_eps cross_attention_dim transformer_layers_per_block "
    "reverse_transformer_layers_per_block "
    "encoder_hid_dim encoder_hid_dim_type attention_head_dim num_attention_heads "
    "dual_cross_attention use_linear_projection class_embed_type addition_embed_type "
    "addition_time_embed_dim num_class_embeds upcast_attention resnet_time_scale_shift "
    "resnet_skip_time_act resnet_out_scale_factor time_embedding_type time_embedding_dim "
    "time_embedding_act_fn timestep_post_act time_cond_proj_dim conv_in_kernel conv_out_kernel "
    "projection_class_embeddings_input_dim attention_type class_embeddings_concat "
    "mid_block_only_cross_attention cross_attention_norm addition_embed_type_num_heads";
static const char vae_keys[] =
    "in_channels out_channels down_block_types up_block_types block_out_channels layers_per_block "
    "act_fn latent_channels norm_num_groups sample_size scaling_factor shift_factor latents_mean "
    "latents_std force_upcast use_quant_conv use_post_quant_conv mid_block_add_attention";
static const char text_keys[] =
    "transformers_version architectures output_hidden_states return_dict dtype "
    "chunk_size_feed_forward is_encoder_decoder id2label label2id problem_type vocab_size "
    "hidden_size intermediate_size projection_dim num_hidden_layers num_attention_heads "
    "max_position_embeddings hidden_act layer_norm_eps attention_dropout initializer_range "
    "initializer_factor pad_token_id bos_token_id eos_token_id model_type output_attentions";
static const char scheduler_keys[] =
    "num_train_timesteps beta_start beta_end beta_schedule trained_betas clip_sample "
    "set_alpha_to_one steps_offset prediction_type thresholding dynamic_thresholding_ratio "
    "clip_sample_range sample_max_value timestep_spacing rescale_betas_zero_snr";

/* ---- the files of the copy -------------------------------------------------------------------------- */

static int read_index(const char *folder, char unknown[CONFIG_UNKNOWN], err_t *err) {
    json_file_t *index;
    if (config_open(&index, folder, "model_index.json", config_keys_index, unknown, err)) return -1;
    json_file_close(index);
    return 0;
}

static int read_unet(const char *folder, char unknown[CONFIG_UNKNOWN], err_t *err) {
    unet_config_t config;
    if (unet_config_read(&config, folder, err)) return -1;
    strcpy(unknown, config.unknown_keys);
    return 0;
}

static int read_vae(const char *folder, char unknown[CONFIG_UNKNOWN], err_t *err) {
    vae_t *vae;
    if (vae_open(&vae, folder, false, err)) return -1;
    strcpy(unknown, vae_config(vae)->unknown_keys);
    vae_close(vae);
    return 0;
}

static int read_text(const char *folder, char unknown[CONFIG_UNKNOWN], err_t *err) {
    text_encoder_t *encoder;
    if (text_encoder_open(&encoder, folder, "text_encoder", TEXT_USE_LAST, false, err)) return -1;
    strcpy(unknown, text_encoder_config(encoder)->unknown_keys);
    text_encoder_close(encoder);
    return 0;
}

static int read_tokenizer(const char *folder, char unknown[CONFIG_UNKNOWN], err_t *err) {
    tokenizer_t *tok;
    if (tokenizer_open(&tok, folder, err)) return -1;
    strcpy(unknown, tokenizer_info(tok)->unknown_keys);
    tokenizer_close(tok);
    return 0;
}

static int read_scheduler(const char *folder, char unknown[CONFIG_UNKNOWN], err_t *err) {
    char *path = file_join(folder, "scheduler_config.json");
    ddim_config_t config;
    int status = ddim_config_read(&config, path, err);
    if (!status) strcpy(unknown, config.ignored);
    free(path);
    return status;
}

static const struct {
    const char *file;
    const config_key_t *table;
    int (*read)(const char *folder, char unknown[CONFIG_UNKNOWN], err_t *err);
} files[] = {{"unet/config.json", config_keys_unet, read_unet},
             {"vae/config.json", config_keys_vae, read_vae},
             {"text_encoder/config.json", config_keys_text_encoder, read_text},
             {"scheduler/scheduler_config.json", config_keys_scheduler, read_scheduler},
             {"tokenizer/tokenizer_config.json", config_keys_tokenizer, read_tokenizer},
             {"model_index.json", config_keys_index, read_index}};
enum { FILES = sizeof files / sizeof *files };

/* The file with one key set, read: 0, or -1 and err. */
static int with(size_t f, const char *key, const char *value, char unknown[CONFIG_UNKNOWN],
                err_t *err) {
    const char *root = model_copy();
    json_t *json = json_loads(value, JSON_DECODE_ANY, NULL);
    assert_non_null(json);
    model_copy_set(files[f].file, key, json);
    char map[1200]; /* would go before what tokenizer_config.json says */
    snprintf(map, sizeof map, "%s/tokenizer/special_tokens_map.json", root);
    assert_int_equal(unlink(map), 0);
    *err = (err_t){""};
    unknown[0] = '\0';
    char *folder = file_join(root, files[f].file), *slash = strrchr(folder, '/');
    *slash = '\0';
    int status = files[f].read(folder, unknown, err);
    free(folder);
    return status;
}

static void must_refuse(size_t f, const char *key, const char *value) {
    char unknown[CONFIG_UNKNOWN];
    err_t err;
    if (with(f, key, value, unknown, &err) == 0)
        fail_msg("%s: %s: %s was accepted", files[f].file, key, value);
    const char *name = strrchr(files[f].file, '/');
    assert_message(&err, name ? name + 1 : files[f].file, key, NULL);
}

static void must_accept(size_t f, const char *key, const char *value) {
    char unknown[CONFIG_UNKNOWN];
    err_t err;
    if (with(f, key, value, unknown, &err)) fail_msg("%s: %s", value, err.text);
    if (unknown[0])
        fail_msg("%s: %s: %s counts as unknown: %s", files[f].file, key, value, unknown);
}

/* ---- the tables are whole ---------------------------------------------------------------------------- */

static void must_have(const config_key_t *table, const char *keys) {
    char list[4096];
    snprintf(list, sizeof list, "%s", keys);
    for (char *key = strtok(list, " "); key; key = strtok(NULL, " "))
        if (!config_key_find(table, key)) fail_msg("no row for %s", key);
}

static void every_key_has_a_row(void **state) {
    (void)state;
    must_have(config_keys_unet, unet_keys);
    must_have(config_keys_vae, vae_keys);
    must_have(config_keys_text_encoder, text_keys);
    must_have(config_keys_scheduler, scheduler_keys);
    for (size_t f = 0; f < FILES; f++)
        for (const config_key_t *row = files[f].table; row->fate != KEY_END; row++) {
            assert_ptr_equal(config_key_find(files[f].table, row->key), row); /* one only */
            bool says = row->text != NULL;
            assert_int_equal(says, row->fate == KEY_HARMLESS || row->fate == KEY_ONLY);
        }
}

/* ---- each key by itself -------------------------------------------------------------------------------- */

/* A key that is used stumbles over what no reader can take, and says its own name. */
static void used_keys_are_read(void **state) {
    (void)state;
    for (size_t f = 0; f < FILES; f++)
        for (const config_key_t *row = files[f].table; row->fate != KEY_END; row++) {
            if (row->fate != KEY_USED && row->fate != KEY_USED_OR_NULL) continue;
            must_refuse(f, row->key, "{\"content\": 7}");
            if (row->fate == KEY_USED) must_refuse(f, row->key, "null");
        }
}

static bool allows(const config_key_t *row, const char *value) {
    const char *at = strstr(row->text, value);
    size_t length = strlen(value);
    return at && (at == row->text || at[-1] == '|') && (!at[length] || at[length] == '|');
}

static void other_values_are_refused(void **state) {
    (void)state;
    static const char *const values[] = {"null", "true",  "false", "0",  "2",
                                         "1.5",  "\"x\"", "[2]",   "[]", "{\"a\": 1}"};
    for (size_t f = 0; f < FILES; f++)
        for (const config_key_t *row = files[f].table; row->fate != KEY_END; row++)
            for (size_t i = 0; row->fate == KEY_ONLY && i < sizeof values / sizeof *values; i++)
                if (!allows(row, values[i])) must_refuse(f, row->key, values[i]);
}

/* Values that are good together alone: tests/pipeline/test_fit.c. */
static bool is_of_two_encoders(const config_key_t *row) {
    return strcmp(row->key, "_class_name") == 0 || strstr(row->key, "_2");
}

static void listed_values_are_accepted(void **state) {
    (void)state;
    for (size_t f = 0; f < FILES; f++)
        for (const config_key_t *row = files[f].table; row->fate != KEY_END; row++) {
            char list[512];
            if (row->fate != KEY_ONLY) continue;
            if (files[f].table == config_keys_index && is_of_two_encoders(row)) continue;
            snprintf(list, sizeof list, "%s", row->text);
            for (char *value = strtok(list, "|"); value; value = strtok(NULL, "|"))
                must_accept(f, row->key, value);
        }
    must_accept(0, "only_cross_attention", "[false, false, false, false]");
    must_accept(0, "mid_block_scale_factor", "1.0");
    must_refuse(0, "only_cross_attention", "[false, false, true, false]");
}

static void harmless_keys_are_taken(void **state) {
    (void)state;
    static const char *const values[] = {"null", "0.25", "\"x\"", "[\"a\", \"b\"]"};
    for (size_t f = 0; f < FILES; f++)
        for (const config_key_t *row = files[f].table; row->fate != KEY_END; row++)
            for (size_t i = 0; row->fate == KEY_HARMLESS && i < sizeof values / sizeof *values; i++)
                must_accept(f, row->key, values[i]);
}

/* ---- what golden runs prove -------------------------------------------------------------------------- */

/* The value of a key of a golden model's file; NULL where it has none. The caller frees it. */
static char *golden_value(const char *model, const char *file, const char *key) {
    char path[256];
    json_error_t error;
    snprintf(path, sizeof path, "golden/models/%s/%s", model, file);
    json_t *all = json_load_file(path, 0, &error), *value = json_object_get(all, key);
    char *text = value ? json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;
    json_decref(all);
    return text;
}

/* Whole runs of these models are golden. A key that they all have with one value would prove nothing. */
static bool differs(const char *file, const char *key) {
    static const char *const models[] = {"sd15-tiny", "sd21-tiny", "sdxl-tiny", "other-tiny"};
    char *first = NULL;
    bool differs = false;
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        char *value = golden_value(models[i], file, key);
        differs |= first && value && strcmp(first, value) != 0;
        if (first || !value)
            free(value);
        else
            first = value;
    }
    free(first);
    return differs;
}

/* Proven elsewhere: pictures have three colours, which pipeline/test_fit holds. */
static bool is_proven_elsewhere(const config_key_t *table, const char *key) {
    return (table == config_keys_vae && strcmp(key, "out_channels") == 0) ||
           table == config_keys_tokenizer; /* golden/tokenizer */
}

static void golden_models_differ(void **state) {
    (void)state;
    for (size_t f = 0; f < FILES; f++)
        for (const config_key_t *row = files[f].table; row->fate != KEY_END; row++) {
            bool used = row->fate == KEY_USED || row->fate == KEY_USED_OR_NULL;
            if (used && !is_proven_elsewhere(files[f].table, row->key) &&
                !differs(files[f].file, row->key))
                fail_msg("%s: every golden model has the same %s", files[f].file, row->key);
        }
    /* Of the second text encoder two models have one: each value is otherwise. */
    for (const config_key_t *row = config_keys_text_encoder; row->fate != KEY_END; row++)
        if ((row->fate == KEY_USED || row->fate == KEY_USED_OR_NULL) &&
            !differs("text_encoder_2/config.json", row->key))
            fail_msg("text_encoder_2: both golden models have the same %s", row->key);
}

/* ---- keys that no table has -------------------------------------------------------------------------- */

static void unknown_keys_are_named(void **state) {
    (void)state;
    char unknown[CONFIG_UNKNOWN];
    err_t err;
    for (size_t f = 0; f < FILES; f++) {
        if (with(f, "a_key_of_tomorrow", "3", unknown, &err)) fail_msg("%s", err.text);
        assert_string_equal(unknown, "a_key_of_tomorrow");
        must_accept(f, "a_key_of_tomorrow", "null");
        must_accept(f, "a_key_of_tomorrow", "false");
        must_accept(f, "_a_note", "3");
        if (with(f, "a\x1b[2Jb", "3", unknown, &err)) fail_msg("%s", err.text);
        assert_string_equal(unknown, "a?[2Jb");
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_key_has_a_row),      cmocka_unit_test(used_keys_are_read),
        cmocka_unit_test(other_values_are_refused), cmocka_unit_test(listed_values_are_accepted),
        cmocka_unit_test(harmless_keys_are_taken),  cmocka_unit_test(unknown_keys_are_named),
        cmocka_unit_test(golden_models_differ),
    };
    return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
