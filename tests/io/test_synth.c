/* test_synth.c - weights by formula: the bits of the NumPy twin, specifications, in place, bad input. */
#include <jansson.h>

#include "../scratch.h"
#include "../unit.h"
#include "golden/sha256.h"
#include "io/file.h"
#include "io/synth.h"
#include "io/weights.h"
#include "pipeline/pipeline.h"

static json_t *hashes(void) {
    json_error_t error;
    json_t *root = json_load_file("golden/synth/hashes.json", 0, &error);
    if (!root) fail_msg("golden/synth/hashes.json: %s", error.text);
    return root;
}

static const char *text_of(const json_t *row, const char *key) {
    return json_string_value(json_object_get(row, key));
}

/* Every listed tensor, made in two parts, has the bits that NumPy gives. */
static void tensors_have_numpys_bits(void **state) {
    (void)state;
    json_t *root = hashes(), *rows = json_object_get(root, "tensors"), *row;
    size_t i;
    assert_true(json_array_size(rows) > 10);
    json_array_foreach(rows, i, row) {
        synth_spec_t spec = {.seed = strtoull(text_of(row, "seed"), NULL, 10),
                             .rank = (size_t)json_integer_value(json_object_get(row, "rank")),
                             .alpha = json_number_value(json_object_get(row, "alpha"))};
        const json_t *dims = json_object_get(row, "shape");
        shape_t shape = {.ndim = (int)json_array_size(dims)};
        for (int d = 0; d < shape.ndim; d++)
            shape.dim[d] = (size_t)json_integer_value(json_array_get(dims, (size_t)d));
        size_t count = shape_count(shape), half = count / 3;
        float *x = malloc(count * sizeof *x);
        assert_non_null(x);
        synth_tensor_t tensor = synth_tensor(&spec, text_of(row, "name"), shape);
        synth_numbers_f32(x, &tensor, half, count - half);
        memmove(x + half, x, (count - half) * sizeof *x);
        synth_numbers_f32(x, &tensor, 0, half);
        char found[SHA256_TEXT];
        sha256_memory(found, x, count * sizeof *x);
        free(x);
        if (strcmp(found, text_of(row, "sha256")) != 0)
            fail_msg("%s: %s, NumPy has %s", text_of(row, "name"), found, text_of(row, "sha256"));
    }
    json_decref(root);
}

/* ---- a whole model --------------------------------------------------------------------------------- */

static int by_name(const void *a, const void *b) {
    return strcmp(((const weight_entry_t *)a)->name, ((const weight_entry_t *)b)->name);
}

/* Over all tensors in the order of their names: name, NUL, float32 numbers. */
static void assert_part(const json_t *root, const char *part, synth_kind_t kind,
                        const weights_t *w) {
    err_t err;
    synth_spec_t spec;
    if (synth_parse(&spec, kind, weights_path(w), NULL, &err)) fail_msg("%s", err.text);
    size_t count = 0, at;
    weight_entry_t *entry = calloc(weights_count(w), sizeof *entry);
    assert_non_null(entry);
    for (size_t i = 0; i < weights_count(w); i++)
        if (weights_entry(w, i).shape.ndim > 0) entry[count++] = weights_entry(w, i);
    qsort(entry, count, sizeof *entry, by_name);
    sha256_t hash;
    sha256_init(&hash);
    for (size_t i = 0; i < count; i++) {
        char name[512];
        snprintf(name, sizeof name, "%s.%s", part, entry[i].name);
        size_t numbers = shape_count(entry[i].shape);
        float *x = malloc(numbers * sizeof *x);
        assert_non_null(x);
        synth_tensor_t tensor = synth_tensor(&spec, name, entry[i].shape);
        synth_numbers_f32(x, &tensor, 0, numbers);
        sha256_update(&hash, entry[i].name, strlen(entry[i].name) + 1);
        sha256_update(&hash, x, numbers * sizeof *x);
        free(x);
    }
    free(entry);
    uint8_t digest[SHA256_BYTES];
    char found[SHA256_TEXT];
    sha256_final(&hash, digest);
    sha256_hex(found, digest);
    const json_t *rows = json_object_get(root, "sd15-tiny"), *row;
    json_array_foreach(rows, at, row) {
        if (strcmp(text_of(row, "part"), part) != 0) continue;
        assert_int_equal(json_integer_value(json_object_get(row, "tensors")), count);
        if (strcmp(found, text_of(row, "sha256")) != 0)
            fail_msg("%s: %s, NumPy has %s", part, found, text_of(row, "sha256"));
        return;
    }
    fail_msg("no hash of %s", part);
}

static const pipeline_files_t tiny = {
    .folder = "synth:sd15-tiny",
    .mole = {
        2, {"face", "hand"}, {"synth:rank=4,alpha=2", "synth:rank=6,alpha=4"}, "synth:", false}};

/* The names and shapes that the models ask for are those of diffusers and of the authors' files. */
static void tiny_model_has_numpys_bits(void **state) {
    (void)state;
    err_t err;
    pipeline_t p;
    json_t *root = hashes();
    if (pipeline_open(&p, &tiny, &err)) fail_msg("%s", err.text);
    assert_part(root, "unet", SYNTH_MODEL, unet_weights(p.unet));
    assert_part(root, "vae", SYNTH_MODEL, vae_weights(p.vae));
    assert_part(root, "text_encoder", SYNTH_MODEL, text_encoder_weights(p.text_encoder[0]));
    assert_part(root, "face", SYNTH_EXPERT, mole_set_expert(p.mole, 0));
    assert_part(root, "hand", SYNTH_EXPERT, mole_set_expert(p.mole, 1));
    assert_part(root, "gates", SYNTH_GATES, mole_set_gates(p.mole));
    assert_int_equal(p.mole_layer[0].expert[1].rank, 6);
    assert_true(p.mole_layer[0].expert[1].scale == 4.0 / 6);
    pipeline_close(&p);
    json_decref(root);
}

/* A convolution's weight is the formula's, packed; a second taking is refused. */
static void taken_in_place(void **state) {
    (void)state;
    enum { CO = 70, CI = 33 };
    err_t err;
    weights_t *w;
    const real_t *x;
    assert_int_equal(weights_open(&w, "synth:sd15,seed=5/unet", "any", &err), 0);
    assert_int_equal(weights_take_conv(w, "conv_in.weight", SHAPE4(CO, CI, 3, 3), &x, &err), 0);
    assert_int_equal(weights_take_conv(w, "conv_in.weight", SHAPE4(CO, CI, 3, 3), &x, &err), -1);
    assert_message(&err, "conv_in.weight", "twice", NULL);
    synth_spec_t spec = {.seed = 5};
    synth_tensor_t tensor = synth_tensor(&spec, "unet.conv_in.weight", SHAPE4(CO, CI, 3, 3));
    for (size_t o = 0; o < CO; o++)
        for (size_t c = 0; c < CI; c++)
            for (size_t t = 0; t < 9; t++) {
                real_t one;
                synth_numbers(&one, &tensor, (o * CI + c) * 9 + t, 1);
                assert_true(x[(o * 9 + t) * CI + c] == one);
            }
    assert_true(weights_has(w, "any"));
    assert_int_equal(weights_parameters(w), CO * CI * 9);
    assert_int_equal(weights_count(w), 1);
    assert_int_equal(weights_finish(w, false, &err), 0);
    weights_close(w);
}

/* ---- specifications ---------------------------------------------------------------------------------- */

static void specifications(void **state) {
    (void)state;
    err_t err;
    synth_spec_t s;
    const char *rest;
    assert_true(synth_is("synth:"));
    assert_false(synth_is("synth"));
    assert_int_equal(synth_parse(&s, SYNTH_MODEL, "synth:sd15,seed=12/unet/a", &rest, &err), 0);
    assert_string_equal(s.arch, "sd15");
    assert_true(s.seed == 12);
    assert_string_equal(rest, "unet/a");
    assert_int_equal(synth_parse(&s, SYNTH_EXPERT, "synth:", NULL, &err), 0);
    assert_int_equal(s.rank, 256);
    assert_true(s.alpha == 256);
    assert_int_equal(synth_parse(&s, SYNTH_EXPERT, "synth:seed=1,alpha=0.5,rank=8", NULL, &err), 0);
    assert_true(s.rank == 8 && s.alpha == 0.5 && s.seed == 1);
    assert_int_equal(synth_parse(&s, SYNTH_GATES, "synth:seed=18446744073709551615", NULL, &err),
                     0);
    assert_true(s.seed == UINT64_MAX);
    static const struct {
        synth_kind_t kind;
        const char *text;
    } bad[] = {
        {SYNTH_MODEL, "synth:"},
        {SYNTH_MODEL, "synth:sd15,"},
        {SYNTH_MODEL, "synth:sd15,rank=4"},
        {SYNTH_MODEL, "synth:sd14"},
        {SYNTH_MODEL, "synth:sd15,seed=-1"},
        {SYNTH_MODEL, "synth:sd15,seed=18446744073709551616"},
        {SYNTH_MODEL, "sd15"},
        {SYNTH_EXPERT, "synth:rank=0"},
        {SYNTH_EXPERT, "synth:rank=4,"},
        {SYNTH_EXPERT, "synth:,rank=4"},
        {SYNTH_EXPERT, "synth:rank=70000"},
        {SYNTH_EXPERT, "synth:alpha=0"},
        {SYNTH_EXPERT, "synth:alpha=nan"},
        {SYNTH_EXPERT, "synth:alpha=1e99"},
        {SYNTH_EXPERT, "synth:alpha=-1"},
        {SYNTH_EXPERT, "synth:sd15"},
        {SYNTH_GATES, "synth:rank=4"},
        {SYNTH_GATES, "synth:seed="},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (!synth_parse(&s, bad[i].kind, bad[i].text, NULL, &err)) fail_msg("%s", bad[i].text);
        assert_message(&err, bad[i].text, "expected synth:", NULL);
    }
}

static void files_of_a_made_folder(void **state) {
    (void)state;
    err_t err;
    char *text;
    size_t bytes;
    for (size_t i = 0; synth_file_name(i); i++) {
        bool second = strstr(synth_file_name(i), "_2/"); /* of models with two text encoders */
        char *none = file_join("synth:sd15", synth_file_name(i));
        char *path = file_join("synth:sdxl", synth_file_name(i));
        assert_int_equal(source_has(none), !second);
        free(none);
        assert_true(source_has(path));
        assert_int_equal(source_read(path, 64 << 20, &text, &bytes, &err), 0);
        assert_int_equal(strlen(text), bytes);
        free(text);
        free(path);
    }
    assert_false(source_has("synth:sd15/unet/weights.bin"));
    assert_false(source_has("synth:sd16/unet/config.json"));
    assert_int_equal(source_read("synth:sd15/none", 100, &text, &bytes, &err), 0);
    assert_null(text);
    json_file_t *file;
    assert_int_equal(source_json(&file, "synth:sd15/none", &err), -1);
    assert_message(&err, "synth:sd15/none", "No such file", NULL);
    assert_int_equal(source_json(&file, "synth:sd15/unet/config.json", &err), 0);
    json_file_close(file);
}

static void tokens_are_bytes(void **state) {
    (void)state;
    err_t err;
    tokenizer_t *tok;
    int32_t row[77];
    if (tokenizer_open(&tok, "synth:sd15/tokenizer", &err)) fail_msg("%s", err.text);
    const tokenizer_info_t *info = tokenizer_info(tok);
    assert_int_equal(info->vocab, 49408);
    assert_int_equal(info->bos, 49406);
    assert_int_equal(info->eos, 49407);
    assert_int_equal(info->merges, 0);
    assert_int_equal(tokenizer_encode_padded(tok, "ab \"", 4, row, NULL, &err), 0);
    int32_t expected[] = {49406, 'a' - 33, 'b' - 33 + 256, '"' - 33 + 256, 49407, 49407};
    assert_memory_equal(row, expected, sizeof expected);
    for (int32_t id = 0; id < 49408; id++) assert_non_null(tokenizer_piece(tok, id));
    tokenizer_close(tok);
}

static void bad_models(void **state) {
    (void)state;
    static const struct {
        const char *model, *face, *gates, *word;
    } bad[] = {{"synth:sd16", NULL, NULL, "synth:sd15-tiny"},
               {"synth:sd15-tiny/unet", NULL, NULL, "whole model"},
               {"synth:sd15-tiny", "synth:rank=x", "synth:", "rank=R"},
               {"synth:sd15-tiny", "synth:rank=2", "synth:rank=2", "seed=N"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        err_t err;
        pipeline_t p;
        pipeline_files_t files = {.folder = bad[i].model};
        if (bad[i].face)
            files.mole = (mole_files_t){1, {"face"}, {bad[i].face}, bad[i].gates, false};
        assert_int_equal(pipeline_open(&p, &files, &err), -1);
        assert_message(&err, bad[i].word, NULL);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tensors_have_numpys_bits),
        cmocka_unit_test(tiny_model_has_numpys_bits),
        cmocka_unit_test(taken_in_place),
        cmocka_unit_test(specifications),
        cmocka_unit_test(files_of_a_made_folder),
        cmocka_unit_test(tokens_are_bytes),
        cmocka_unit_test(bad_models),
    };
    return cmocka_run_group_tests_name("synth", tests, NULL, NULL);
}
