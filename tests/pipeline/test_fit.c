/* test_fit.c - components that are each sound and were not made for each other. */
#include "../model/model_copy.h"
#include "../scratch.h"
#include "../unit.h"
#include "pipeline/pipeline.h"

static const char unet_file[] = "unet/diffusion_pytorch_model.safetensors";
static const char vae_file[] = "vae/diffusion_pytorch_model.safetensors";

static void must_refuse(const char *folder, const char *word, const char *other,
                        const char *third) {
    pipeline_t pipeline;
    pipeline_files_t files = {.folder = folder};
    err_t err = {""};
    if (pipeline_open(&pipeline, &files, &err) == 0) fail_msg("%s was accepted", word);
    assert_message(&err, folder, word, other, third, NULL);
}

static void untouched_copy_opens(void **state) {
    (void)state;
    pipeline_t pipeline;
    notes_t notes = {0};
    pipeline_files_t files = {.folder = model_copy(), .notes = &notes};
    err_t err;
    if (pipeline_open(&pipeline, &files, &err)) fail_msg("%s", err.text);
    assert_int_equal(pipeline_size_unit(&pipeline), 8);
    assert_int_equal(notes.count, 0);
    pipeline_close(&pipeline);
}

static void text_of_another_width(void **state) {
    (void)state;
    for (size_t width = 32; width <= 48; width += 16) {
        const char *folder = model_copy();
        model_copy_set("unet/config.json", "cross_attention_dim", json_integer((json_int_t)width));
        model_copy_resize(unet_file, "attn2.to_k.weight", 1, width);
        model_copy_resize(unet_file, "attn2.to_v.weight", 1, width);
        must_refuse(folder, "cross_attention_dim", "hidden_size", width == 32 ? "32" : "48");
    }
}

/* Nine input channels: a model for inpainting. */
static void inpainting_model(void **state) {
    (void)state;
    const char *folder = model_copy();
    model_copy_set("unet/config.json", "in_channels", json_integer(9));
    model_copy_resize(unet_file, "conv_in.weight", 1, 9);
    must_refuse(folder, "9", "4 latent channels", "inpainting");
}

static void picture_of_four_channels(void **state) {
    (void)state;
    const char *folder = model_copy();
    model_copy_set("vae/config.json", "out_channels", json_integer(4));
    model_copy_resize(vae_file, "decoder.conv_out.weight", 0, 4);
    model_copy_resize(vae_file, "decoder.conv_out.bias", 0, 4);
    must_refuse(folder, "VAE", "4 channels", "3");
}

static void rows_longer_than_positions(void **state) {
    (void)state;
    const char *folder = model_copy();
    model_copy_set("tokenizer/tokenizer_config.json", "model_max_length", json_integer(78));
    must_refuse(folder, "78", "77", "positions");
}

static void more_tokens_than_embeddings(void **state) {
    (void)state;
    const char *folder = model_copy();
    model_copy_set("text_encoder/config.json", "vocab_size", json_integer(1000));
    model_copy_resize("text_encoder/model.safetensors", "token_embedding.weight", 0, 1000);
    must_refuse(folder, "tokenizer", "1014", "1000");
}

static void another_pipeline(void **state) {
    (void)state;
    const char *folder = model_copy();
    model_copy_set("model_index.json", "_class_name", json_string("StableDiffusion3Pipeline"));
    must_refuse(folder, "_class_name", "StableDiffusionPipeline", "StableDiffusion3Pipeline");
    /* The refiner's. */
    model_copy_set("model_index.json", "_class_name",
                   json_string("StableDiffusionXLImg2ImgPipeline"));
    must_refuse(folder, "_class_name", "StableDiffusionXLPipeline",
                "StableDiffusionXLImg2ImgPipeline");
}

/* A class that needs a second text encoder without one, and one that does not with one. */
static void text_encoders_by_class(void **state) {
    (void)state;
    const char *folder = model_copy();
    model_copy_set("model_index.json", "_class_name", json_string("StableDiffusionXLPipeline"));
    must_refuse(folder, "model_index.json", "text_encoder_2", "expected one");
    folder = model_copy();
    model_copy_set("model_index.json", "text_encoder_2",
                   json_pack("[s,s]", "transformers", "CLIPTextModelWithProjection"));
    must_refuse(folder, "model_index.json", "text_encoder_2", "expected none");
}

/* What stands in model_index.json is what diffusers would load. */
static void components_of_another_kind(void **state) {
    (void)state;
    static const char *const rows[][2] = {{"vae", "AutoencoderTiny"},
                                          {"unet", "FlaxUNet2DConditionModel"},
                                          {"text_encoder", "T5EncoderModel"},
                                          {"tokenizer", "T5Tokenizer"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const char *folder = model_copy();
        model_copy_set("model_index.json", rows[i][0], json_pack("[s,s]", "diffusers", rows[i][1]));
        must_refuse(folder, "model_index.json", rows[i][0], rows[i][1]);
    }
}

/* What nothing here knows is told, one sentence for each file. */
static void keys_that_nothing_knows(void **state) {
    (void)state;
    static const char *const names[] = {"model_index.json", "tokenizer/tokenizer_config.json",
                                        "text_encoder/config.json", "unet/config.json",
                                        "vae/config.json"};
    enum { NAMES = sizeof names / sizeof *names };
    pipeline_t pipeline;
    notes_t notes = {0};
    pipeline_files_t files = {.folder = model_copy(), .notes = &notes};
    err_t err;
    for (size_t i = 0; i < NAMES; i++) model_copy_set(names[i], "a_new_key", json_integer(1));
    if (pipeline_open(&pipeline, &files, &err)) fail_msg("%s", err.text);
    assert_int_equal(notes.count, NAMES);
    for (size_t i = 0; i < NAMES; i++) {
        err_t said = {""};
        err_set(&said, "%s", notes.text[i]);
        assert_message(&said, "warning: ", names[i], "a_new_key", NULL);
    }
    notes_free(&notes);
    pipeline_close(&pipeline);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(untouched_copy_opens),       cmocka_unit_test(text_of_another_width),
        cmocka_unit_test(inpainting_model),           cmocka_unit_test(picture_of_four_channels),
        cmocka_unit_test(rows_longer_than_positions), cmocka_unit_test(more_tokens_than_embeddings),
        cmocka_unit_test(another_pipeline),           cmocka_unit_test(components_of_another_kind),
        cmocka_unit_test(text_encoders_by_class),     cmocka_unit_test(keys_that_nothing_knows),
    };
    return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
