/* What the program runs in place of what a file asks for, and what it leaves out, is said: on stderr, in
 * `mole inspect`, and in the picture. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "../model/model_copy.h"
#include "../scratch.h"
#include "io/png.h"
#include "io/safetensors.h"
#include "program.h"

#define SCHEDULER "scheduler/scheduler_config.json"
#define GENERATE  "generate --prompt x --steps 1 --width 8 --height 8 -q --model %s -o %s"

/* The text of the picture of a run that works; *err is what it said on stderr. */
static char *note_of_run(const char *model, const char *words, const char **err) {
    char all[1400];
    const char *out = program_file("out.png");
    snprintf(all, sizeof all, "%s%s%s", GENERATE, *words ? " " : "", words);
    ran_t ran = program_run(NULL, all, model, out);
    if (ran.status) fail_msg("%s: %d, %s", words, ran.status, ran.err);
    *err = ran.err;
    err_t error;
    picture_t picture;
    if (picture_read(&picture, out, &error)) fail_msg("%s", error.text);
    char *text = fixture_bytes(strlen(picture.values[0]) + 1);
    strcpy(text, picture.values[0]);
    picture_free(&picture);
    return text;
}

static void says(const char *text, const char *word) {
    if (!strstr(text, word)) fail_msg("\"%s\" is not in: %s", word, text);
}

static void is_silent(const char *model, const char *words) {
    const char *err;
    const char *note = note_of_run(model, words, &err);
    assert_string_equal(err, "");
    assert_null(strstr(note, "asked for"));
}

static json_t *inspect(const char *model) {
    json_error_t error;
    ran_t ran = program_run(NULL, "inspect --json --model %s", model);
    if (ran.status) fail_msg("%s", ran.err);
    json_t *all = json_loads(ran.out, 0, &error);
    if (!all) fail_msg("%s", error.text);
    return all;
}

static const char *string_of(json_t *all, const char *key) {
    return json_string_value(json_object_get(json_object_get(all, "scheduler_config"), key));
}

/* ---- another scheduler ------------------------------------------------------------------------------- */

static void euler(void **state) {
    (void)state;
    const char *model = model_copy(), *err;
    model_copy_set(SCHEDULER, "_class_name", json_string("EulerDiscreteScheduler"));
    model_copy_set(SCHEDULER, "use_karras_sigmas", json_true());
    model_copy_set(SCHEDULER, "clip_sample", NULL);
    const char *note = note_of_run(model, "--scheduler config", &err);
    says(note, "Sampler: DDIM");
    says(note, "Scheduler asked for: EulerDiscreteScheduler");
    says(err, "mole generate: warning: ");
    says(err, "asks for EulerDiscreteScheduler; DDIM runs in its place; taken over: ");
    says(err, "beta_schedule scaled_linear");
    says(err, "steps_offset 1");
    says(err, "DDIM's own: clip_sample true;");
    says(err, "left out: use_karras_sigmas\n");
    json_t *all = inspect(model);
    assert_string_equal(string_of(all, "asked_for"), "EulerDiscreteScheduler");
    assert_string_equal(string_of(all, "runs"), "DDIMScheduler");
    assert_string_equal(string_of(all, "defaults_taken_for"), "clip_sample true");
    assert_string_equal(string_of(all, "left_out"), "use_karras_sigmas");
    json_decref(all);
    says(program_run(NULL, "inspect --model %s", model).err, "asks for EulerDiscreteScheduler");
    is_silent(model, ""); /* the authors' settings: nothing of the folder's is run */
    is_silent("golden/models/sd15-tiny", "--scheduler config");
}

/* The class that diffusers would make is that of model_index.json. */
static void index_names_another(void **state) {
    (void)state;
    const char *model = model_copy(), *err;
    model_copy_set("model_index.json", "scheduler",
                   json_pack("[s,s]", "diffusers", "PNDMScheduler"));
    says(note_of_run(model, "--scheduler config", &err), "Scheduler asked for: PNDMScheduler,");
    says(err, "asks for PNDMScheduler; DDIM runs in its place");
    model_copy_set(SCHEDULER, "_class_name", json_string("EulerDiscreteScheduler"));
    note_of_run(model, "--scheduler config", &err);
    says(err, "asks for EulerDiscreteScheduler, PNDMScheduler; DDIM runs");
    model_copy_set("model_index.json", "scheduler",
                   json_pack("[s,s]", "diffusers", "DDIMScheduler"));
    model_copy_set(SCHEDULER, "_class_name", json_string("DDIMParallelScheduler"));
    is_silent(model, "--scheduler config");
}

static void a_file_of_another(void **state) {
    (void)state;
    const char *err, *file = program_file("lms.json");
    char words[1200];
    scratch_text("lms.json", "{\"_class_name\": \"LMSDiscreteScheduler\", \"num_train_timesteps\": "
                             "1000, \"beta_start\": 0.00085, \"beta_end\": 0.012, "
                             "\"beta_schedule\": \"scaled_linear\"}");
    snprintf(words, sizeof words, "--scheduler %s", file);
    says(note_of_run("golden/models/sd15-tiny", words, &err), "asked for: LMSDiscreteScheduler");
    says(err, "lms.json asks for LMSDiscreteScheduler; DDIM runs");
    says(err, "set_alpha_to_one true");
}

/* ---- noise levels that the model was not made for ------------------------------------------------------ */

static void other_noise_levels(void **state) {
    (void)state;
    const char *model = model_copy(), *err, *file = program_file("usual.json");
    char words[1200];
    model_copy_set(SCHEDULER, "prediction_type", json_string("v_prediction"));
    model_copy_set(SCHEDULER, "rescale_betas_zero_snr", json_true());
    const char *note = note_of_run(model, "", &err); /* of the weights: taken by the preset, too */
    says(note, "Prediction type: v_prediction");
    says(note, "Rescale betas zero SNR: true");
    assert_string_equal(err, "");
    scratch_text("usual.json",
                 "{\"_class_name\": \"DDIMScheduler\", \"num_train_timesteps\": 1000, "
                 "\"beta_start\": 0.00085, \"beta_end\": 0.012, "
                 "\"beta_schedule\": \"scaled_linear\"}");
    snprintf(words, sizeof words, "--scheduler %s", file);
    note_of_run(model, words, &err);
    says(err, "warning: prediction_type epsilon, where the model has v_prediction");
    says(err, "warning: rescale_betas_zero_snr false, where the model has the opposite");
    model_copy_set(SCHEDULER, "beta_schedule", json_string("linear"));
    note_of_run(model, "", &err);
    says(err, "warning: noise levels scaled_linear 0.00085 to 0.012 over 1000, where the model has "
              "linear 0.00085 to 0.012 over 1000");
    is_silent(model, "--scheduler config");
}

/* ---- keys that nothing knows --------------------------------------------------------------------------- */

static void unknown_keys(void **state) {
    (void)state;
    const char *model = model_copy(), *err;
    model_copy_set("unet/config.json", "a_key_of_tomorrow", json_integer(1));
    note_of_run(model, "", &err);
    says(err, "mole generate: warning: ");
    says(err, "unet/config.json: passed over");
    says(err, "a_key_of_tomorrow");
    json_t *all = inspect(model), *notes = json_object_get(all, "notes");
    assert_int_equal(json_array_size(notes), 1);
    says(json_string_value(json_array_get(notes, 0)), "a_key_of_tomorrow");
    json_decref(all);
    ran_t ran = program_run(NULL,
                            "replay vae.post_quant_conv --model %s --inputs "
                            "golden/runs/vae-decode/tensors.safetensors --input input/latents",
                            model);
    assert_int_equal(ran.status, 0);
    says(ran.err, "mole replay: warning: ");
}

/* ---- experts ------------------------------------------------------------------------------------------- */

/* A copy with one more tensor, of `count` numbers, and a value of metadata, where there is a key. */
static void copy_with(const char *path, const char *from, const char *tensor, size_t count,
                      const char *key, const char *value) {
    err_t err;
    st_file_t *old;
    st_writer_t *writer;
    float one = 1;
    must(st_open(&old, from, &err), &err);
    must(st_writer_open(&writer, path, &err), &err);
    must(st_writer_add(writer, tensor, DTYPE_F32, SHAPE1(count), &one, &err), &err);
    if (key) st_writer_metadata(writer, key, value);
    for (size_t i = 0; i < st_count(old); i++) {
        const st_tensor_t *t = st_at(old, i);
        must(st_writer_add(writer, t->name, t->dtype, t->shape, t->data, &err), &err);
    }
    st_close(old);
    must(st_writer_finish(writer, &err), &err);
}

/* The golden face expert with one more tensor and a value of metadata. */
static const char *changed_face(const char *tensor, const char *key, const char *value) {
    const char *path = program_file("face.safetensors");
    copy_with(path, EXPERTS "face.safetensors", tensor, 1, key, value);
    return path;
}

static void experts(void **state) {
    (void)state;
    static const char model[] = "golden/models/sd15-tiny";
    char words[1200];
    const char *err, *path = changed_face("lora_te_text_model_encoder_layers_0_mlp_fc1.alpha",
                                          "modelspec.prediction_type", "v");
    snprintf(words, sizeof words, "--plain-lora --face %s", path);
    note_of_run(model, words, &err);
    says(err, "mole generate: warning: ");
    says(err, "1 tensor of a text encoder is not applied");
    says(err, "lora_te_text_model_encoder_layers_0_mlp_fc1.alpha");
    says(err, "modelspec.prediction_type says v_prediction, the model predicts epsilon");
    changed_face("lora_unet_left_over.alpha", "modelspec.prediction_type", "epsilon");
    strcat(words, " --allow-unused");
    note_of_run(model, words, &err);
    says(err, "1 tensor that nothing uses: 'lora_unet_left_over.alpha'");
    assert_null(strstr(err, "modelspec"));
    ran_t ran =
        program_run(NULL, "inspect --model %s --plain-lora --allow-unused --face %s", model, path);
    says(ran.out, "lora_unet_left_over.alpha");
}

/* ---- a marked checkpoint ------------------------------------------------------------------------------- */

static void marked_checkpoint(void **state) {
    (void)state;
    const char *plain = program_file("plain.safetensors"), *path = program_file("v.safetensors");
    ran_t ran =
        program_run(NULL, "synth --arch sd15-tiny --format ldm --dtype f16 -q -o %s", plain);
    assert_int_equal(ran.status, 0);
    copy_with(path, plain, "v_pred", 0, NULL, NULL);
    const char *said, *words = "--tokenizer synth:sd15-tiny/tokenizer";
    says(note_of_run(path, words, &said), "Prediction type: v_prediction");
    says(said, "v.safetensors: prediction_type v_prediction, as tensor 'v_pred' says");
    ran = program_run(NULL,
                      "generate --prompt x --steps 1 --width 8 --height 8 --tokenizer "
                      "synth:sd15-tiny/tokenizer --model %s -o %s",
                      path, program_file("out.png"));
    says(ran.out, "v_prediction");
    says(ran.out, "marked by  tensor 'v_pred'");
    /* Also where something else is wrong, so that both can be mended. */
    ran =
        program_run(NULL, "inspect --model %s --tokenizer golden/models/sd15-tiny/tokenizer", path);
    assert_int_equal(ran.status, 3);
    says(ran.err, "as tensor 'v_pred' says");
}

/* v2's single file says nothing of what the model predicts: a file of the scheduler is the word that is
 * asked for, and no contradiction. */
static void word_of_a_scheduler_file(void **state) {
    (void)state;
    const char *plain = program_file("v2.safetensors"), *err, *file = program_file("epsilon.json");
    char words[1200];
    program_works(program_run(NULL, "synth --arch sd21-tiny --format ldm -q -o %s", plain));
    says(note_of_run(plain, "--tokenizer synth:sd21-tiny/tokenizer", &err), "v_prediction");
    says(err, "nothing in it says what the model predicts; v_prediction is taken");
    scratch_text("epsilon.json",
                 "{\"_class_name\": \"DDIMScheduler\", \"num_train_timesteps\": 1000, "
                 "\"beta_start\": 0.00085, \"beta_end\": 0.012, "
                 "\"beta_schedule\": \"scaled_linear\", \"prediction_type\": \"epsilon\"}");
    snprintf(words, sizeof words, "--tokenizer synth:sd21-tiny/tokenizer --scheduler %s", file);
    says(note_of_run(plain, words, &err), "Prediction type: epsilon");
    assert_string_equal(err, "");
}

/* ---- a negative prompt that is not given --------------------------------------------------------------- */

static void other_negative_rule(void **state) {
    (void)state;
    static const char xl[] = "golden/models/sdxl-tiny", other[] = "golden/models/other-tiny";
    static const char key[] = "force_zeros_for_empty_prompt";
    const char *err;
    note_of_run(xl, "", &err);
    says(err, "model_index.json has force_zeros_for_empty_prompt true, so diffusers takes zeros");
    says(err, "here the empty text is encoded (--negative-rule zeros does as diffusers)");
    note_of_run(other, "--negative-rule zeros", &err);
    says(err, "force_zeros_for_empty_prompt false, so diffusers encodes the empty text");
    says(err, "here zeros are taken (--negative-rule encoded does as diffusers)");
    static const char *const silent[] = {"--negative-rule zeros", "--negative y", "--scale 1"};
    for (size_t i = 0; i < 3; i++) {
        note_of_run(xl, silent[i], &err);
        assert_null(strstr(err, key));
    }
    note_of_run(other, "", &err);
    assert_null(strstr(err, key));
    /* The pipeline of one text encoder has no such rule. */
    const char *model = model_copy();
    model_copy_set("model_index.json", key, json_true());
    is_silent(model, "");
}

/* ---- families ------------------------------------------------------------------------------------------ */

/* What `mole inspect --json` says of a file under "for"; NULL for nothing. */
static char *for_whom(const char *path) {
    json_error_t error;
    json_t *all =
        json_loads(program_works(program_run(NULL, "inspect --json %s", path)).out, 0, &error);
    if (!all) fail_msg("%s", error.text);
    const char *text = json_string_value(json_object_get(all, "for"));
    char *copy = fixture_bytes(text ? strlen(text) + 1 : 1);
    if (text) strcpy(copy, text);
    json_decref(all);
    return text ? copy : NULL;
}

static void families_of_files(void **state) {
    (void)state;
    static const char xl[] = "golden/models/sdxl-tiny-mole/";
    static const struct {
        const char *part;
        size_t text, token;
        const char *said;
    } rows[] = {{"lora_down", 2048, 640, "Stable Diffusion XL (experts)"},
                {"lora_down", 1024, 320, "Stable Diffusion v2 (experts)"},
                {"softmoe.Phi_1", 768, 320, "Stable Diffusion v1 (gates)"},
                {"softmoe.Phi_1", 1280, 768, "the refiner of Stable Diffusion XL (gates)"},
                {"lora_down", 768, 640, "none of the published families (experts)"}};
    char path[1200], name[128];
    snprintf(path, sizeof path, "%sgates.safetensors", xl);
    assert_string_equal(for_whom(path), "none of the published families (gates)");
    assert_null(for_whom("golden/models/people/unet/diffusion_pytorch_model.safetensors"));
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        static const float zeros[2 * 2048];
        const char *file = program_file("part.safetensors");
        err_t err;
        st_writer_t *writer;
        must(st_writer_open(&writer, file, &err), &err);
        snprintf(name, sizeof name, "lora_unet_x_attn2_to_k.%s.weight", rows[i].part);
        must(st_writer_add(writer, name, DTYPE_F32, SHAPE2(2, rows[i].text), zeros, &err), &err);
        snprintf(name, sizeof name, "lora_unet_x_attn1_to_q.%s.weight", rows[i].part);
        must(st_writer_add(writer, name, DTYPE_F32, SHAPE2(2, rows[i].token), zeros, &err), &err);
        must(st_writer_finish(writer, &err), &err);
        assert_string_equal(for_whom(file), rows[i].said);
    }
}

static void families_of_models(void **state) {
    (void)state;
    static const char *const rows[][2] = {
        {"golden/models/people", "none of the published families"},
        {"golden/models/other-tiny", "none of the published families"},
        {"golden/models/sd15-tiny", "Stable Diffusion v1, in other widths"},
        {"golden/models/sd21-tiny", "Stable Diffusion v2, in other widths"},
        {"golden/models/sdxl-tiny", "Stable Diffusion XL, in other widths"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        json_t *all = inspect(rows[i][0]);
        assert_string_equal(json_string_value(json_object_get(all, "kind")), rows[i][1]);
        json_decref(all);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        fixture_test(euler),
        fixture_test(index_names_another),
        fixture_test(a_file_of_another),
        fixture_test(other_noise_levels),
        fixture_test(unknown_keys),
        fixture_test(marked_checkpoint),
        fixture_test(experts),
        fixture_test(word_of_a_scheduler_file),
        fixture_test(other_negative_rule),
        fixture_test(families_of_files),
        fixture_test(families_of_models),
    };
    return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
