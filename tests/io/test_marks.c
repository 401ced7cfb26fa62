/* What a file of weights says of itself: marker tensors and metadata, in every spelling, and what is refused
 * because DDIM cannot run it or because two do not agree. */
#include "../scratch.h"
#include "../unit.h"
#include "io/marks.h"
#include "io/safetensors.h"

/* "v_pred ztsnr key=value": empty tensors of these names, metadata. */
static int read_marks(marks_t *marks, const char *what, err_t *err) {
    char words[512];
    st_writer_t *writer;
    weights_t *weights = NULL;
    const char *path = scratch_path("marked.safetensors");
    float one = 1;
    *err = (err_t){""};
    snprintf(words, sizeof words, "%s", what);
    if (st_writer_open(&writer, path, err)) fail_msg("%s", err->text);
    int status = st_writer_add(writer, "conv_in.weight", DTYPE_F32, SHAPE1(1), &one, err);
    for (char *word = strtok(words, " "); word; word = strtok(NULL, " ")) {
        char *equals = strchr(word, '=');
        if (equals) *equals = '\0';
        if (equals)
            st_writer_metadata(writer, word, equals + 1);
        else
            status |= st_writer_add(writer, word, DTYPE_F32, SHAPE1(0), &one, err);
    }
    if (status || st_writer_finish(writer, err) ||
        weights_open_part(&weights, path, SOURCE_EXPERT, "", err))
        fail_msg("%s", err->text);
    status = marks_read(marks, weights, err);
    weights_close(weights);
    return status;
}

static void must_say(const char *what, const char *prediction, bool zero_snr, const char *by) {
    marks_t marks;
    err_t err;
    if (read_marks(&marks, what, &err)) fail_msg("%s: %s", what, err.text);
    if (!prediction) assert_null(marks.prediction);
    if (prediction) assert_string_equal(marks.prediction, prediction);
    assert_int_equal(marks.zero_snr, zero_snr);
    assert_non_null(strstr(prediction ? marks.prediction_by : marks.zero_snr_by, by));
}

static void must_refuse(const char *what, const char *word, const char *other) {
    marks_t marks;
    err_t err;
    if (read_marks(&marks, what, &err) == 0) fail_msg("%s was accepted", what);
    assert_message(&err, "marked.safetensors", word, other, NULL);
}

static void nothing_said(void **state) {
    (void)state;
    must_say("", NULL, false, "");
    must_say("v_predictor ztsnr2 format=pt modelspec.title=v_pred", NULL, false, "");
    must_say("ss_zero_terminal_snr=False ss_v_parameterization=False", NULL, false, "");
}

static void tensors(void **state) {
    (void)state;
    must_say("v_pred", "v_prediction", false, "tensor 'v_pred'");
    must_say("v_pred ztsnr", "v_prediction", true, "tensor 'v_pred'");
    must_say("ztsnr", NULL, true, "tensor 'ztsnr'");
}

static void metadata(void **state) {
    (void)state;
    static const char *const v[] = {"v",      "V",     "v_prediction", "v-prediction", "v_pred",
                                    "v-pred", "vpred", "velocity",     "V_Prediction"};
    static const char *const keys[] = {"modelspec.prediction_type", "modelspec.predict_key"};
    for (size_t k = 0; k < 2; k++) {
        char what[128];
        for (size_t i = 0; i < sizeof v / sizeof *v; i++) {
            snprintf(what, sizeof what, "%s=%s", keys[k], v[i]);
            must_say(what, "v_prediction", false, keys[k]);
        }
        snprintf(what, sizeof what, "%s=epsilon", keys[k]);
        must_say(what, "epsilon", false, keys[k]);
        snprintf(what, sizeof what, "%s=eps", keys[k]);
        must_say(what, "epsilon", false, keys[k]);
        snprintf(what, sizeof what, "%s=sample", keys[k]);
        must_say(what, "sample", false, keys[k]);
        snprintf(what, sizeof what, "%s=rectified-flow", keys[k]);
        must_refuse(what, keys[k], "rectified-flow");
    }
    must_say("ss_v_parameterization=True", "v_prediction", false, "ss_v_parameterization");
    must_say("ss_zero_terminal_snr=True", NULL, true, "ss_zero_terminal_snr");
    must_say("modelspec.noise_process=ddpm", NULL, false, "");
    must_refuse("modelspec.noise_process=flow", "modelspec.noise_process", "flow");
}

static void what_ddim_cannot_run(void **state) {
    (void)state;
    must_refuse("edm_vpred.sigma_max", "edm_vpred.sigma_max", "EDM");
    must_refuse("edm_vpred.sigma_max edm_vpred.sigma_min v_pred", "edm_vpred.sigma_m", "EDM");
    must_refuse("edm_mean edm_std", "edm_", "EDM");
    must_refuse("v_pred edm_eps.sigma_max", "edm_eps.sigma_max", "EDM");
}

static void contradictions(void **state) {
    (void)state;
    must_say("v_pred modelspec.prediction_type=v", "v_prediction", false, "tensor 'v_pred'");
    must_refuse("v_pred modelspec.prediction_type=epsilon", "tensor 'v_pred' says v_prediction",
                "modelspec.prediction_type says epsilon");
    must_refuse("modelspec.prediction_type=epsilon modelspec.predict_key=v", "says epsilon",
                "says v_prediction");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_said),   cmocka_unit_test(tensors),
        cmocka_unit_test(metadata),       cmocka_unit_test(what_ddim_cannot_run),
        cmocka_unit_test(contradictions),
    };
    return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
