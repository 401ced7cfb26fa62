/* A marked model: the marks of a single-file checkpoint decide how it is sampled, those of a folder must not
 * say another thing than its scheduler_config.json, and no tensor of a checkpoint is passed over unknown. */
#include <unistd.h>

#include "../model/model_copy.h"
#include "../scratch.h"
#include "../unit.h"
#include "io/safetensors.h"
#include "pipeline/pipeline.h"
#include "pipeline/synth_write.h"

/* Copy a file of tensors, with an empty one (NULL: none) and a value of metadata (NULL: none) more. */
static const char *marked(const char *from, const char *tensor, const char *key,
                          const char *value) {
    static char path[1024];
    err_t err;
    st_file_t *old;
    st_writer_t *writer;
    snprintf(path, sizeof path, "%s", scratch_path("marked.safetensors"));
    if (st_open(&old, from, &err) || st_writer_open(&writer, path, &err)) fail_msg("%s", err.text);
    int status = 0;
    for (size_t i = 0; !status && i < st_count(old); i++) {
        const st_tensor_t *t = st_at(old, i);
        status = st_writer_add(writer, t->name, t->dtype, t->shape, t->data, &err);
    }
    if (tensor) status |= st_writer_add(writer, tensor, DTYPE_F32, SHAPE1(0), "", &err);
    if (key) st_writer_metadata(writer, key, value);
    st_close(old);
    if (status || st_writer_finish(writer, &err)) fail_msg("%s", err.text);
    return path;
}

/* ---- single-file checkpoints -------------------------------------------------------------------------- */

static char single[1024];

static int make_single(void **state) {
    err_t err;
    if (scratch_setup(state)) return -1;
    snprintf(single, sizeof single, "%s", scratch_path("single.safetensors"));
    synth_write_t job = {.model = {.kind = SYNTH_MODEL, .arch = "sd15-tiny"},
                         .dtype = DTYPE_F16,
                         .path = single,
                         .ldm = true};
    return synth_write(&job, &err);
}

static int open_single(pipeline_t *p, const char *path, bool allow_unused, notes_t *notes,
                       err_t *err) {
    pipeline_files_t files = {.folder = path,
                              .tokenizer = "synth:sd15-tiny/tokenizer",
                              .allow_unused = allow_unused,
                              .notes = notes};
    *err = (err_t){""};
    return pipeline_open(p, &files, err);
}

static void must_run_as(const char *path, prediction_type_t prediction, bool zero_snr,
                        const char *by) {
    pipeline_t p;
    err_t err;
    notes_t notes = {0};
    if (open_single(&p, path, false, &notes, &err)) fail_msg("%s", err.text);
    assert_int_equal(p.scheduler.prediction_type, prediction);
    assert_int_equal(p.scheduler.rescale_betas_zero_snr, zero_snr);
    assert_string_equal(p.marked_by, by);
    /* Honoured, and said where it is not the usual. */
    assert_int_equal(notes.count, prediction != PREDICT_EPSILON ? 1 : 0);
    if (notes.count) assert_non_null(strstr(notes.text[0], by));
    notes_free(&notes);
    pipeline_close(&p);
}

static void must_refuse_single(const char *path, bool allow_unused, const char *word,
                               const char *other) {
    pipeline_t p;
    err_t err;
    if (open_single(&p, path, allow_unused, NULL, &err) == 0) fail_msg("%s: accepted", word);
    assert_message(&err, "marked.safetensors", word, other, NULL);
}

static void marks_of_a_checkpoint(void **state) {
    (void)state;
    must_run_as(single, PREDICT_EPSILON, false, "");
    must_run_as(marked(single, "v_pred", NULL, NULL), PREDICT_V, false, "tensor 'v_pred'");
    must_run_as(marked(single, "ztsnr", "modelspec.prediction_type", "v"), PREDICT_V, true,
                "metadata modelspec.prediction_type, tensor 'ztsnr'");
    must_run_as(marked(single, NULL, "modelspec.prediction_type", "epsilon"), PREDICT_EPSILON,
                false, "metadata modelspec.prediction_type");
    must_refuse_single(marked(single, "ztsnr", NULL, NULL), false, "ztsnr", "divide by zero");
    must_refuse_single(marked(single, "edm_vpred.sigma_max", NULL, NULL), true, "EDM",
                       "edm_vpred.sigma_max");
}

/* What belongs to no component and is no table of the schedule is a left-over, as everywhere. */
static void tensors_of_no_component(void **state) {
    (void)state;
    static const char *const known[] = {"model_ema.decay", "alphas_cumprod", "logvar",
                                        "model_ema.diffusion_modelout2bias"};
    static const char *const unknown[] = {
        "control_model.input_hint_block.0.weight", "alphas", "lora_unet_x.alpha",
        "cond_stage_model.model.ln_final.bias", "conditioner.embedders.0.x"};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        must_run_as(marked(single, known[i], NULL, NULL), PREDICT_EPSILON, false, "");
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++) {
        pipeline_t p;
        err_t err;
        const char *path = marked(single, unknown[i], NULL, NULL);
        must_refuse_single(path, false, unknown[i], "--allow-unused");
        if (open_single(&p, path, true, NULL, &err)) fail_msg("%s", err.text);
        pipeline_close(&p);
    }
}

/* ---- folders ------------------------------------------------------------------------------------------ */

static const char unet_file[] = "unet/diffusion_pytorch_model.safetensors";

/* A copy of the golden model whose UNet's file is marked, and whose scheduler predicts so. */
static int open_folder(pipeline_t *p, const char *tensor, const char *key, const char *value,
                       const char *scheduler, err_t *err) {
    char path[1200];
    const char *root = model_copy();
    pipeline_files_t files = {.folder = root, .allow_unused = true};
    model_copy_set("scheduler/scheduler_config.json", "prediction_type", json_string(scheduler));
    snprintf(path, sizeof path, "%s/%s", root, unet_file);
    const char *made = marked(path, tensor, key, value);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rename(made, path), 0);
    *err = (err_t){""};
    return pipeline_open(p, &files, err);
}

static void marks_of_a_folder(void **state) {
    (void)state;
    pipeline_t p;
    err_t err;
    if (open_folder(&p, "v_pred", NULL, NULL, "v_prediction", &err)) fail_msg("%s", err.text);
    pipeline_close(&p);
    assert_int_equal(open_folder(&p, "v_pred", NULL, NULL, "epsilon", &err), -1);
    assert_message(&err, unet_file, "tensor 'v_pred' says v_prediction", "epsilon", NULL);
    assert_int_equal(
        open_folder(&p, NULL, "modelspec.prediction_type", "epsilon", "v_prediction", &err), -1);
    assert_message(&err, unet_file, "modelspec.prediction_type says epsilon", "v_prediction", NULL);
    assert_int_equal(open_folder(&p, "ztsnr", NULL, NULL, "v_prediction", &err), -1);
    assert_message(&err, unet_file, "ztsnr", "rescale_betas_zero_snr", NULL);
    assert_int_equal(open_folder(&p, "edm_mean", NULL, NULL, "v_prediction", &err), -1);
    assert_message(&err, unet_file, "edm_mean", NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(marks_of_a_checkpoint),
        cmocka_unit_test(tensors_of_no_component),
        cmocka_unit_test(marks_of_a_folder),
    };
    return cmocka_run_group_tests(tests, make_single, scratch_teardown);
}
