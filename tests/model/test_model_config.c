/* What a model's folder may say and hold: configurations of other networks and tensors that nothing uses
 * are refused by name, and the keys that choose a number are heard. */
#include "../scratch.h"
#include "../unit.h"
#include "model/text_encoder.h"
#include "model/unet.h"
#include "model/vae.h"
#include "model_copy.h"

static const char unet_weights_file[] = "unet/diffusion_pytorch_model.safetensors";
static const char vae_weights_file[] = "vae/diffusion_pytorch_model.safetensors";

/* ---- opening one component of the copy -------------------------------------------------- */

static int open_unet(const char *root, bool allow_unused, unet_config_t *config, err_t *err) {
    char folder[1024];
    unet_t *unet;
    snprintf(folder, sizeof folder, "%s/unet", root);
    if (unet_open(&unet, folder, allow_unused, err)) return -1;
    if (config) *config = *unet_config(unet);
    unet_close(unet);
    return 0;
}

static int open_vae(const char *root, bool allow_unused, vae_config_t *config, err_t *err) {
    char folder[1024];
    vae_t *vae;
    snprintf(folder, sizeof folder, "%s/vae", root);
    if (vae_open(&vae, folder, allow_unused, err)) return -1;
    if (config) *config = *vae_config(vae);
    vae_close(vae);
    return 0;
}

static int open_text(const char *root, bool allow_unused, text_encoder_config_t *config,
                     err_t *err) {
    char folder[1024];
    text_encoder_t *encoder;
    snprintf(folder, sizeof folder, "%s/text_encoder", root);
    if (text_encoder_open(&encoder, folder, "text_encoder", TEXT_USE_LAST, allow_unused, err))
        return -1;
    if (config) *config = *text_encoder_config(encoder);
    text_encoder_close(encoder);
    return 0;
}

/* ---- settings of other networks -------------------------------------------------- */

static void unet_of_another_kind(void **state) {
    (void)state;
    static const struct {
        const char *key, *value; /* JSON */
    } table[] = {{"addition_embed_type", "\"text\""},
                 {"class_embed_type", "\"timestep\""},
                 {"num_class_embeds", "1000"},
                 {"encoder_hid_dim_type", "\"text_proj\""},
                 {"time_cond_proj_dim", "256"},
                 {"time_embedding_act_fn", "\"gelu\""},
                 {"time_embedding_dim", "512"},
                 {"timestep_post_act", "\"silu\""},
                 {"cross_attention_norm", "\"layer_norm\""},
                 {"mid_block_only_cross_attention", "true"},
                 {"center_input_sample", "true"},
                 {"only_cross_attention", "true"},
                 {"dual_cross_attention", "true"},
                 {"resnet_skip_time_act", "true"},
                 {"class_embeddings_concat", "true"},
                 {"act_fn", "\"gelu\""},
                 {"time_embedding_type", "\"fourier\""},
                 {"resnet_time_scale_shift", "\"scale_shift\""},
                 {"attention_type", "\"gated\""},
                 {"mid_block_scale_factor", "2"},
                 {"resnet_out_scale_factor", "1.5"},
                 {"conv_in_kernel", "1"},
                 {"conv_out_kernel", "1"},
                 {"mid_block_type", "\"UNetMidBlock2D\""},
                 {"mid_block_type", "null"},
                 {"downsample_padding", "0"},
                 {"num_attention_heads", "8"},
                 {"encoder_hid_dim", "768"},
                 {"reverse_transformer_layers_per_block", "[[1, 1, 1], [1, 1, 1]]"},
                 {"flip_sin_to_cos", "null"},
                 {"norm_num_groups", "null"},
                 {"down_block_types", "[\"AttnDownBlock2D\", \"DownBlock2D\", \"DownBlock2D\", "
                                      "\"DownBlock2D\"]"},
                 {"norm_eps", "0"},
                 {"norm_num_groups", "0"},
                 {"attention_head_dim", "7"}};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        err_t err = {""};
        const char *root = model_copy();
        json_t *value = json_loads(table[i].value, JSON_DECODE_ANY, NULL);
        assert_non_null(value);
        model_copy_set("unet/config.json", table[i].key, value);
        if (open_unet(root, false, NULL, &err) == 0) fail_msg("%s was accepted", table[i].key);
        assert_message(&err, "unet/config.json", table[i].key, NULL);
    }
}

static void vae_of_another_kind(void **state) {
    (void)state;
    static const struct {
        const char *key, *value;
    } table[] = {{"act_fn", "\"gelu\""},           {"shift_factor", "0.1159"},
                 {"latents_mean", "[1, 2, 3, 4]"}, {"mid_block_add_attention", "false"},
                 {"latents_std", "[1, 2, 3, 4]"},  {"up_block_types", "[\"UpDecoderBlock2D\"]"},
                 {"scaling_factor", "0"}};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        err_t err = {""};
        const char *root = model_copy();
        model_copy_set("vae/config.json", table[i].key,
                       json_loads(table[i].value, JSON_DECODE_ANY, NULL));
        if (open_vae(root, false, NULL, &err) == 0) fail_msg("%s was accepted", table[i].key);
        assert_message(&err, "vae/config.json", table[i].key, NULL);
    }
}

/* ---- settings that are heard -------------------------------------------------- */

/* attention_head_dim is the number of heads, whatever it is called: one for all levels, or a list. */
static void heads(void **state) {
    (void)state;
    err_t err = {""};
    unet_config_t config = {0};
    const char *root = model_copy();
    if (open_unet(root, false, &config, &err)) fail_msg("%s", err.text);
    for (size_t i = 0; i < config.levels; i++) assert_int_equal(config.heads[i], 8);
    model_copy_set("unet/config.json", "attention_head_dim", json_integer(4));
    if (open_unet(root, false, &config, &err)) fail_msg("%s", err.text);
    for (size_t i = 0; i < config.levels; i++) assert_int_equal(config.heads[i], 4);
    model_copy_set("unet/config.json", "attention_head_dim", json_pack("[i,i,i,i]", 1, 2, 4, 8));
    if (open_unet(root, false, &config, &err)) fail_msg("%s", err.text);
    for (size_t i = 0; i < config.levels; i++) assert_int_equal(config.heads[i], 1 << i);
}

/* What an absent key stands for in diffusers and transformers. */
static void defaults(void **state) {
    (void)state;
    static const char *const keys[] = {"sample_size", "use_linear_projection", "flip_sin_to_cos",
                                       "norm_eps", "freq_shift"};
    err_t err = {""};
    unet_config_t unet = {0};
    vae_config_t vae = {0};
    text_encoder_config_t text = {0};
    const char *root = model_copy();
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        model_copy_set("unet/config.json", keys[i], NULL);
    model_copy_set("vae/config.json", "scaling_factor", NULL);
    model_copy_set("vae/config.json", "use_post_quant_conv", NULL);
    model_copy_set("text_encoder/config.json", "layer_norm_eps", NULL);
    model_copy_set("text_encoder/config.json", "max_position_embeddings", NULL);
    if (open_unet(root, false, &unet, &err) || open_vae(root, false, &vae, &err) ||
        open_text(root, false, &text, &err))
        fail_msg("%s", err.text);
    assert_int_equal(unet.sample_size, 64);
    assert_false(unet.use_linear_projection);
    assert_true(unet.flip_sin_to_cos);
    assert_true(unet.norm_eps == 1e-5 && unet.freq_shift == 0);
    assert_true(unet.transformer_norm_eps == 1e-6 && unet.layer_norm_eps == 1e-5);
    assert_true(vae.scaling_factor == 0.18215 && vae.norm_eps == 1e-6);
    assert_true(vae.use_post_quant_conv);
    assert_true(text.layer_norm_eps == 1e-5);
    assert_int_equal(text.max_position_embeddings, 77);
}

/* ---- tensors that nothing uses -------------------------------------------------- */

static void left_over_tensors(void **state) {
    (void)state;
    static const char name[] = "decoder.extra.weight";
    err_t err = {""};
    const char *root = model_copy();
    model_copy_add(unet_weights_file, name, SHAPE1(3));
    model_copy_add(vae_weights_file, name, SHAPE1(3));
    model_copy_add("text_encoder/model.safetensors", name, SHAPE1(3));
    assert_int_equal(open_unet(root, false, NULL, &err), -1);
    assert_message(&err, "unet", name, "(3)", "--allow-unused", NULL);
    assert_int_equal(open_vae(root, false, NULL, &err), -1);
    assert_message(&err, "vae", name, "(3)", "--allow-unused", NULL);
    assert_int_equal(open_text(root, false, NULL, &err), -1);
    assert_message(&err, "text_encoder", name, "(3)", "--allow-unused", NULL);
    assert_int_equal(open_unet(root, true, NULL, &err), 0);
    assert_int_equal(open_vae(root, true, NULL, &err), 0);
    assert_int_equal(open_text(root, true, NULL, &err), 0);
}

/* diffusers' fused projections, alone and beside the separate ones, which they do not change. */
static void fused_projections(void **state) {
    (void)state;
    static const char block[] = "down_blocks.0.attentions.0.transformer_blocks.0.";
    err_t err = {""};
    char name[128];
    const char *root = model_copy();
    snprintf(name, sizeof name, "%sattn1.to_qkv.weight", block);
    model_copy_add(unet_weights_file, name, SHAPE2(48, 16));
    assert_int_equal(open_unet(root, false, NULL, &err), -1);
    assert_message(&err, "unet", name, "fuse_qkv_projections()", "--allow-unused", NULL);
    assert_int_equal(open_unet(root, true, NULL, &err), 0);
    snprintf(name, sizeof name, "%sattn9.to_kv.weight", block); /* nothing stands beside it */
    model_copy_add(unet_weights_file, name, SHAPE2(32, 40));
    assert_int_equal(open_unet(root, true, NULL, &err), -1);
    assert_message(&err, "unet", name, "split its rows", NULL);
    model_copy_add(vae_weights_file, "decoder.mid_block.attentions.0.to_qkv.bias", SHAPE1(96));
    assert_int_equal(open_vae(root, false, NULL, &err), -1);
    assert_message(&err, "vae", "to_qkv.bias", "to_q, to_k and to_v", NULL);
}

/* What goes down with attention comes up with it. */
static void blocks_that_do_not_mirror(void **state) {
    (void)state;
    err_t err = {""};
    const char *root = model_copy(), *attention = "CrossAttnUpBlock2D", *none = "UpBlock2D";
    model_copy_set("unet/config.json", "up_block_types",
                   json_pack("[s,s,s,s]", none, attention, none, attention));
    assert_int_equal(open_unet(root, false, NULL, &err), -1);
    assert_message(&err, "unet/config.json: up_block_types: ", "[2] CrossAttnUpBlock2D",
                   "down_block_types[1] is CrossAttnDownBlock2D", "found UpBlock2D", NULL);
}

/* The encoder half of a VAE and the positions of an old text encoder are known, and passed over. */
static void known_left_overs(void **state) {
    (void)state;
    err_t err = {""};
    const char *root = model_copy();
    model_copy_add(vae_weights_file, "encoder.extra.weight", SHAPE1(3));
    model_copy_add("text_encoder/model.safetensors", "text_model.embeddings.position_ids",
                   SHAPE2(1, 77));
    if (open_vae(root, false, NULL, &err) || open_text(root, false, NULL, &err))
        fail_msg("%s", err.text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unet_of_another_kind),
        cmocka_unit_test(vae_of_another_kind),
        cmocka_unit_test(heads),
        cmocka_unit_test(defaults),
        cmocka_unit_test(left_over_tensors),
        cmocka_unit_test(known_left_overs),
        cmocka_unit_test(fused_projections),
        cmocka_unit_test(blocks_that_do_not_mirror),
    };
    return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
