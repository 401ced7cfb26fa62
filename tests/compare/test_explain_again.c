/* test_explain_again.c - causes of what stands between the taps of a case: the reference runs once more with
 * one thing changed, and a layer is known whose input is not. The wrong numbers are made by the model's own
 * parts, on a wrong input. */
#include <stdlib.h>
#include <string.h>

#include "../fixture.h"
#include "../scratch.h"
#include "golden/golden.h"
#include "io/safetensors.h"
#include "model/text_encoder.h"
#include "model/vae.h"
#include "mole_says.h"

#define MODEL "golden/models/sd15-tiny"
#define RUN   "golden/runs/run-5-mole"
#define TEXT  "golden/runs/text-encoder"
#define NORM  "text_encoder.text_model.final_layer_norm"

static run_t run;

static int setup(void **state) {
    err_t err;
    run = (run_t){.matmul = MATMUL_PLAIN, .conv = CONV_TILES, .form = MOLE_DIRECT};
    must(arena_create(&run.arena, 0, &err), &err);
    return scratch_setup(state);
}

static int teardown(void **state) {
    arena_destroy(run.arena);
    return scratch_teardown(state);
}

static double *truth_of(const golden_case_t *golden, const char *name, size_t *count) {
    const golden_tap_t *tap = golden_case_find(golden, name);
    *count = shape_count(tap->shape);
    double *x = fixture_bytes(*count * sizeof *x);
    dtype_to_double(x, tap->truth->data, tap->truth->dtype, *count);
    return x;
}

/* The case's taps, one of them others, and those not whose name holds `without`. */
static const char *dump(const golden_case_t *golden, const char *name, const double *other,
                        const char *without) {
    const char *path = scratch_path("port.safetensors");
    st_writer_t *w;
    err_t err;
    must(st_writer_open(&w, path, &err), &err);
    for (size_t i = 0; i < golden->taps; i++) {
        const golden_tap_t *t = &golden->tap[i];
        size_t count;
        if (!t->truth || strstr(t->name, without)) continue;
        const double *x = strcmp(t->name, name) ? truth_of(golden, t->name, &count) : other;
        must(st_writer_add(w, t->name, DTYPE_F64, t->shape, x, &err), &err);
    }
    must(st_writer_finish(w, &err), &err);
    return path;
}

static void expect(const char *folder, const char *path, const char *culprit, const char *cause) {
    int found = mole_says("compare %s %s", folder, path);
    const char *line = strstr(output, "culprit    #");
    if (found != 1 || !line || !strstr(line, culprit) || !strstr(line, cause))
        fail_msg("exit code %d, or without '%s' and '%s':\n%s", found, culprit, cause, output);
}

/* The pictures of latents that are divided by `factor`. */
static const double *decoded(const vae_t *vae, const double *latents, double factor) {
    enum { H = 8, W = 8, C = 4 };
    size_t s = vae_scale(vae), count = 3 * H * s * W * s;
    real_t *x = fixture_reals(latents, C * H * W), *y = fixture_blank(count);
    for (size_t i = 0; i < C * H * W; i++) x[i] = (real_t)((double)x[i] / factor);
    vae_decode(&run, vae, y, x, 1, H, W);
    return fixture_doubles(y, count);
}

static void latents_of_another_scale(void **state) {
    (void)state;
    golden_case_t golden;
    vae_t *vae;
    err_t err;
    size_t count;
    must(golden_case_open(&golden, RUN, &err), &err);
    must(vae_open(&vae, MODEL "/vae", false, &err), &err);
    const double *latents = truth_of(&golden, "step.004/latents", &count);
    assert_int_equal(count, 4 * 8 * 8);
    expect(RUN, dump(&golden, "vae.decoder", decoded(vae, latents, 1), "image"), "vae.decoder",
           "the latents are not divided by the scaling factor, 0.18215");
    expect(RUN, dump(&golden, "vae.decoder", decoded(vae, latents, 0.13025), "image"),
           "vae.decoder",
           "the latents are divided by 0.13025, SDXL's factor; it should be 0.18215");
    vae_close(vae);
    golden_case_close(&golden);
}

/* The last layer was not dumped, and not computed. */
static void a_layer_on_an_earlier_tensor(void **state) {
    (void)state;
    golden_case_t golden;
    text_encoder_t *e;
    err_t err;
    const text_use_t use = {.skip = 1, .final_norm = true};
    must(golden_case_open(&golden, TEXT, &err), &err);
    must(text_encoder_open(&e, MODEL "/text_encoder", "text_encoder", use, true, &err), &err);
    const st_tensor_t *ids = st_find(golden.tensors, "input/input_ids");
    const golden_tap_t *tap = golden_case_find(&golden, NORM);
    size_t B = tap->shape.dim[0], T = tap->shape.dim[1], count = shape_count(tap->shape);
    int32_t *tokens = fixture_bytes(B * T * sizeof *tokens);
    for (size_t i = 0; i < B * T; i++) tokens[i] = (int32_t)((const int64_t *)ids->data)[i];
    real_t *y = fixture_blank(count);
    text_encoder_forward(&run, e, y, NULL, tokens, B, T);
    expect(
        TEXT, dump(&golden, NORM, fixture_doubles(y, count), "encoder.layers.2"), NORM,
        "the layer is given your text_encoder.text_model.encoder.layers.1; another tensor is due");
    text_encoder_close(e);
    golden_case_close(&golden);
}

int main(void) {
    const struct CMUnitTest tests[] = {fixture_test(latents_of_another_scale),
                                       fixture_test(a_layer_on_an_earlier_tensor)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
