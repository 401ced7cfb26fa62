/* What a path names: a folder, a single file, a formula; and what is read of each. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../fixture.h"
#include "../scratch.h"
#include "io/file.h"
#include "io/safetensors.h"
#include "io/source.h"

static void kinds(void **state) {
    (void)state;
    char *file = xstrdup(scratch_text("model.safetensors", "x"));
    char *inside = file_join(file, "unet"), *folder = xstrdup(scratch_path("f.safetensors"));
    char *in_folder = file_join(folder, "x.safetensors/unet");
    assert_int_equal(mkdir(folder, 0777), 0);
    assert_true(source_is_single(file));
    assert_true(source_is_single(inside));
    assert_false(source_is_single(folder));
    assert_false(source_is_single(in_folder));
    assert_false(source_is_single("synth:sd15.safetensors"));
    assert_true(source_is_formula("synth:sd15/unet"));
    assert_false(source_is_formula("./synth:sd15"));
    char *formula = source_path("cases/one", "synth:sd15"),
         *path = source_path("cases/one", "../m");
    assert_string_equal(formula, "synth:sd15");
    assert_string_equal(path, "cases/one/../m");
    rmdir(folder);
    free(file);
    free(inside);
    free(folder);
    free(in_folder);
    free(formula);
    free(path);
}

static void whole_models(void **state) {
    (void)state;
    err_t err;
    assert_int_equal(source_check("golden/models/sd15-tiny", &err), 0);
    assert_int_equal(source_check("synth:sd15,seed=3", &err), 0);
    assert_int_equal(source_check(scratch_text("m.safetensors", "x"), &err), 0);
    assert_int_equal(source_check("synth:sd15/unet", &err), -1);
    assert_message(&err, "synth:sd15/unet", "a whole model", NULL);
    assert_int_equal(source_check("synth:sd16", &err), -1);
    assert_message(&err, "synth:sd16", "expected synth:sd15", NULL);
    assert_int_equal(source_check(scratch_path("nowhere"), &err), -1);
    assert_message(&err, "nowhere", "No such file", "--model takes", NULL);
    assert_int_equal(source_check(scratch_text("model.ckpt", "x"), &err), -1);
    assert_message(&err, "model.ckpt: not a folder", "single-file checkpoint", NULL);
}

static void texts_of_a_folder(void **state) {
    (void)state;
    err_t err;
    char *text;
    size_t bytes;
    const char *path = scratch_text("a.json", "{\"a\": 1}"), *none = scratch_path("none.json");
    assert_true(source_has(path));
    assert_false(source_has(none));
    assert_int_equal(source_read(path, 100, &text, &bytes, &err), 0);
    assert_string_equal(text, "{\"a\": 1}");
    assert_int_equal(bytes, 8);
    free(text);
    assert_int_equal(source_read(path, 7, &text, &bytes, &err), -1);
    assert_message(&err, "a.json", "8 bytes", NULL);
    json_file_t *file;
    assert_int_equal(source_json(&file, none, &err), -1);
    assert_message(&err, "/none.json: cannot open: No such file", "model folder has this file",
                   NULL);
}

/* A single file that is none of Stable Diffusion's has no configurations. */
static void texts_of_a_single_file(void **state) {
    (void)state;
    static const char first[] = "model.diffusion_model.input_blocks.0.0.weight";
    err_t err;
    char *text;
    size_t bytes;
    float zeros[16 * 4 * 9] = {0};
    for (size_t width = 15; width <= 16; width++) {
        const char *path = scratch_path("one.safetensors");
        const char *config = scratch_path("one.safetensors/unet/config.json");
        const char *vocab = scratch_path("one.safetensors/tokenizer/vocab.json");
        st_writer_t *writer;
        assert_int_equal(st_writer_open(&writer, path, &err), 0);
        assert_int_equal(
            st_writer_add(writer, first, DTYPE_F32, SHAPE4(width, 4, 3, 3), zeros, &err), 0);
        assert_int_equal(st_writer_finish(writer, &err), 0);
        int status = source_read(config, 1000, &text, &bytes, &err);
        if (width == 15) {
            assert_int_equal(status, -1);
            assert_message(&err, "one.safetensors", first, "found (15, 4, 3, 3)", NULL);
            continue;
        }
        assert_int_equal(status, 0);
        assert_non_null(strstr(text, "\"block_out_channels\": [16, 32, 64, 64]"));
        assert_int_equal(bytes, strlen(text));
        free(text);
        assert_false(source_has(vocab));
    }
}

/* Files of other families and of other tasks, each by its own word. */
static void strangers(void **state) {
    (void)state;
    static const char first[] = "model.diffusion_model.input_blocks.0.0.weight";
    static const char context[] =
        "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight";
    static const struct {
        const char *name;
        shape_t shape;
        const char *word;
    } rows[] = {
        {"double_blocks.0.img_attn.qkv.weight", {2, {3, 3}}, "Flux"},
        {"model.diffusion_model.double_blocks.0.img_attn.qkv.weight", {2, {3, 3}}, "Flux"},
        {"model.diffusion_model.joint_blocks.0.x.weight", {2, {3, 3}}, "Stable Diffusion 3"},
        {"conditioner.embedders.0.model.ln_final.weight", {1, {8}}, "refiner"},
        {first, {4, {320, 9, 3, 3}}, "inpainting"},
        {first, {4, {320, 8, 3, 3}}, "takes 8 channels"},
    };
    err_t err;
    char *text;
    size_t bytes;
    float *zeros = fixture_bytes((size_t)320 * 9 * 9 * sizeof *zeros);
    memset(zeros, 0, (size_t)320 * 9 * 9 * sizeof *zeros);
    const char *path = scratch_path("other.safetensors");
    const char *config = scratch_path("other.safetensors/unet/config.json");
    for (size_t i = 0; i <= sizeof rows / sizeof *rows; i++) {
        st_writer_t *writer;
        bool last = i == sizeof rows / sizeof *rows; /* v1's text encoder, v2's width */
        assert_int_equal(st_writer_open(&writer, path, &err), 0);
        if (last) {
            assert_int_equal(
                st_writer_add(writer, first, DTYPE_F32, SHAPE4(320, 4, 3, 3), zeros, &err), 0);
            assert_int_equal(
                st_writer_add(writer, context, DTYPE_F32, SHAPE2(4, 1024), zeros, &err), 0);
            assert_int_equal(st_writer_add(writer, "cond_stage_model.transformer.x", DTYPE_F32,
                                           SHAPE1(1), zeros, &err),
                             0);
        } else {
            assert_int_equal(
                st_writer_add(writer, rows[i].name, DTYPE_F32, rows[i].shape, zeros, &err), 0);
        }
        assert_int_equal(st_writer_finish(writer, &err), 0);
        assert_int_equal(source_read(config, 1000, &text, &bytes, &err), -1);
        assert_message(&err, "other.safetensors", last ? "(4, 1024)" : rows[i].word, NULL);
    }
}

/* A file without text encoders is still of its family, by its UNet. */
static void families_of_a_unet(void **state) {
    (void)state;
    static const char front[] = "model.diffusion_model.";
    static const struct {
        const char *block, *more; /* where the first attention is; a tensor besides */
        size_t text;
        const char *has; /* of its unet/config.json */
    } rows[] = {{"1", "out.0.bias", 768, "\"cross_attention_dim\": 768"},
                {"1", "out.0.bias", 1024, "\"cross_attention_dim\": 1024"},
                {"4", "label_emb.0.0.bias", 2048, "\"cross_attention_dim\": 2048"}};
    err_t err;
    char *text, name[128];
    size_t bytes;
    float *zeros = fixture_bytes((size_t)320 * 4 * 9 * sizeof *zeros);
    memset(zeros, 0, (size_t)320 * 4 * 9 * sizeof *zeros);
    for (size_t i = 0; i < 3; i++) {
        st_writer_t *writer;
        const char *path = scratch_path("unet.safetensors");
        assert_int_equal(st_writer_open(&writer, path, &err), 0);
        snprintf(name, sizeof name, "%sinput_blocks.0.0.weight", front);
        int status = st_writer_add(writer, name, DTYPE_F32, SHAPE4(320, 4, 3, 3), zeros, &err);
        snprintf(name, sizeof name, "%sinput_blocks.%s.1.transformer_blocks.0.attn2.to_k.weight",
                 front, rows[i].block);
        status |= st_writer_add(writer, name, DTYPE_F32, SHAPE2(2, rows[i].text), zeros, &err);
        snprintf(name, sizeof name, "%s%s", front, rows[i].more);
        status |= st_writer_add(writer, name, DTYPE_F32, SHAPE1(2), zeros, &err);
        assert_int_equal(status | st_writer_finish(writer, &err), 0);
        const char *config = scratch_path("unet.safetensors/unet/config.json");
        if (source_read(config, 1000, &text, &bytes, &err)) fail_msg("%s", err.text);
        assert_non_null(strstr(text, rows[i].has));
        free(text);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kinds),
        cmocka_unit_test(whole_models),
        cmocka_unit_test(texts_of_a_folder),
        cmocka_unit_test(texts_of_a_single_file),
        fixture_test(strangers),
        fixture_test(families_of_a_unet),
    };
    return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
