/* What mole.h promises of bad arguments: -1 and a sentence, never an abort. Every entry of the table
 * breaks one rule of a call that is otherwise good; the last row of each call is the good one. */
#include <math.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#include "../fixture.h"
#include "api/mole.h"

static mole_error_t error;
static real_t a[64], b[64], out[64];
static const int32_t ids[4] = {0, 1, 2, 3};
static const double times[2] = {1, 2};
static const mole_padding_t none = {0, 0, 0, 0};
static const size_t huge = SIZE_MAX / 2;

/* The call is refused, by a message that holds `words`. */
static void refused(int status, const char *words) {
    if (status != -1) fail_msg("accepted, expected: %s", words);
    if (!strstr(error.text, words)) fail_msg("said '%s', expected: %s", error.text, words);
    memset(&error, 0, sizeof error);
}

static void accepted(int status) {
    if (status) fail_msg("%s", error.text);
}

static void products_refuse(void **state) {
    (void)state;
    refused(mole_matmul(NULL, a, b, 0, 0, 2, 2, 2, MOLE_BLAS, &error), "matmul: out is NULL");
    refused(mole_matmul(out, NULL, b, 0, 0, 2, 2, 2, MOLE_BLAS, &error), "a is NULL");
    refused(mole_matmul(out, a, NULL, 0, 0, 2, 2, 2, MOLE_BLAS, &error), "b is NULL");
    refused(mole_matmul(out, out, b, 0, 0, 2, 2, 2, MOLE_BLAS, &error), "a overlaps out");
    refused(mole_matmul(out, a, out + 3, 0, 0, 2, 2, 2, MOLE_BLAS, &error), "b overlaps out");
    refused(mole_matmul(out, a, b, 0, 0, 0, 2, 2, MOLE_BLAS, &error), "at least 1");
    refused(mole_matmul(out, a, b, 0, 0, 2, 2, 0, MOLE_BLAS, &error), "at least 1");
    refused(mole_matmul(out, a, b, 0, 0, 2, huge, huge, MOLE_BLAS, &error), "more numbers than");
    refused(mole_matmul(out, a, b, 0, 0, 2, 2, 2, (mole_how_t)7, &error), "how is 7");
    accepted(mole_matmul(out, a, b, 0, 0, 2, 2, 2, MOLE_BLAS, &error));
    refused(mole_linear(out, a, b, out, 2, 2, 2, MOLE_BLAS, &error), "bias overlaps out");
    refused(mole_linear(out, a, NULL, NULL, 2, 2, 2, MOLE_BLAS, &error), "weight is NULL");
    accepted(mole_linear(out, a, b, NULL, 2, 2, 2, MOLE_BLAS, &error));
    refused(mole_linear_scaled(out, out, b, 1, 2, 2, 2, MOLE_BLAS, &error), "x overlaps out");
    accepted(mole_linear_scaled(out, a, b, 1, 2, 2, 2, MOLE_BLAS, &error));
}

static int conv(real_t *to, const real_t *x, size_t kernel, size_t stride,
                const mole_padding_t *p) {
    return mole_conv2d(to, x, b, NULL, 1, 2, 3, 3, 1, kernel, kernel, stride, p, MOLE_BLAS, &error);
}

static void convolutions_refuse(void **state) {
    (void)state;
    const mole_padding_t wide = {huge, huge, 0, 0};
    size_t size;
    refused(conv(out, a, 3, 1, NULL), "padding is NULL");
    refused(conv(out, a, 4, 1, &none), "a kernel of 4 does not fit 3");
    refused(conv(out, a, 3, 0, &none), "stride 0");
    refused(conv(out, a, 0, 1, &none), "kernel 0");
    refused(conv(out, a, 3, 1, &wide), "too many");
    refused(conv(out, out, 3, 1, &none), "x overlaps out");
    refused(conv(NULL, a, 3, 1, &none), "out is NULL");
    refused(mole_conv2d(out, a, b, NULL, 1, 2, 3, 3, 1, 3, 3, 1, &none, (mole_how_t)-1, &error),
            "how is");
    accepted(conv(out, a, 3, 1, &none));
    refused(mole_conv2d_out(NULL, 3, 0, 0, 3, 1, &error), "out is NULL");
    refused(mole_conv2d_out(&size, 0, 0, 0, 1, 1, &error), "does not fit");
    accepted(mole_conv2d_out(&size, 5, 1, 1, 3, 2, &error));
    assert_int_equal(size, 3);
}

static void norms_refuse(void **state) {
    (void)state;
    refused(mole_group_norm(out, a, b, b, 1, 6, 2, 4, 1e-5, &error), "4 groups do not divide 6");
    refused(mole_group_norm(out, a, b, b, 1, 6, 2, 0, 1e-5, &error), "0 groups");
    refused(mole_group_norm(out, a, b, b, 1, 6, 2, 3, 0, &error), "eps is 0");
    refused(mole_group_norm(out, a, b, b, 1, 6, 2, 3, (double)NAN, &error), "eps is");
    refused(mole_group_norm(out, out + 1, b, b, 1, 6, 2, 3, 1e-5, &error), "not the same tensor");
    refused(mole_group_norm(out, a, NULL, b, 1, 6, 2, 3, 1e-5, &error), "weight is NULL");
    accepted(mole_group_norm(out, out, b, b, 1, 6, 2, 3, 1e-5, &error));
    refused(mole_layer_norm(out, a, b, b, 2, 6, -1, &error), "eps is -1");
    refused(mole_layer_norm(out, a, b, b, 2, 6, 0, &error), "eps is 0");
    refused(mole_layer_norm(out, a, b, b, 2, 6, (double)NAN, &error), "eps is");
    refused(mole_layer_norm(out, a, b, NULL, 2, 6, 1e-5, &error), "bias is NULL");
    accepted(mole_layer_norm(out, a, b, b, 2, 6, 1e-5, &error));
}

static void activations_refuse(void **state) {
    (void)state;
    int (*const each[])(mole_real_t *, const mole_real_t *, size_t,
                        mole_error_t *) = {mole_sigmoid, mole_silu, mole_gelu, mole_quick_gelu};
    const char *const name[] = {"sigmoid: ", "silu: ", "gelu: ", "quick_gelu: "};
    for (size_t i = 0; i < 4; i++) {
        refused(each[i](out, NULL, 4, &error), name[i]);
        refused(each[i](out, a, 0, &error), "at least 1");
        refused(each[i](out, out + 1, 4, &error), "overlaps out");
        refused(each[i](out, a, SIZE_MAX, &error), "more numbers");
        accepted(each[i](out, a, 4, &error));
    }
    refused(mole_geglu(out, out, 2, 2, &error), "x overlaps out");
    refused(mole_geglu(out, a, 2, SIZE_MAX, &error), "overflows");
    accepted(mole_geglu(out, a, 2, 2, &error));
    refused(mole_softmax(out, a, 2, 0, &error), "at least 1");
    refused(mole_add(out, a, NULL, 2, &error), "b is NULL");
    refused(mole_guidance(out, NULL, a, 2, 2, &error), "uncond is NULL");
}

static int attend(real_t *to, size_t T, size_t S, size_t NH, int causal) {
    return mole_attention(to, a, b, b, 1, T, S, NH, 2, 0.5, causal, MOLE_BLAS, &error);
}

static void the_rest_refuses(void **state) {
    (void)state;
    const int32_t wrong[2] = {0, 4}, negative[2] = {-1, 0};
    refused(attend(out, 2, 3, 2, 1), "T=2 and S=3");
    refused(attend(out, 2, 0, 2, 0), "at least 1");
    refused(attend(a, 2, 3, 2, 0), "q overlaps out");
    refused(attend(b, 2, 3, 2, 0), "k overlaps out");
    accepted(attend(out, 2, 3, 2, 0));
    refused(mole_embedding(out, wrong, a, 2, 4, 2, &error), "id 4 at position 1, table of 4");
    refused(mole_embedding(out, negative, a, 2, 4, 2, &error), "id -1 at position 0");
    refused(mole_embedding(out, NULL, a, 2, 4, 2, &error), "ids is NULL");
    accepted(mole_embedding(out, ids, a, 4, 4, 2, &error));
    refused(mole_timestep_embedding(out, times, 2, 8, 1, 4, 1e4, 0, &error), "freq_shift 4");
    refused(mole_timestep_embedding(out, times, 2, 8, 1, 0, 0, 0, &error), "max_period is 0");
    refused(mole_timestep_embedding(out, NULL, 2, 8, 1, 0, 1e4, 0, &error), "t is NULL");
    accepted(mole_timestep_embedding(out, times, 2, 8, 1, 0, 1e4, 0, &error));
    refused(mole_upsample_nearest(out, a, 1, 1, 2, 2, 0, 4, &error), "at least 1");
    refused(mole_upsample_nearest(out, out, 1, 1, 2, 2, 4, 4, &error), "x overlaps out");
    refused(mole_concat(out, a, b, 1, SIZE_MAX, 1, 1, &error), "overflows");
    refused(mole_concat(out, a, out, 1, 2, 2, 1, &error), "b overlaps out");
    refused(mole_add_per_channel(out, a, out, 1, 2, 2, &error), "y overlaps out");
    refused(mole_to_channels_last(out, out, 1, 2, 2, &error), "x overlaps out");
    refused(mole_from_channels_last(out, out, 1, 2, 2, &error), "x overlaps out");
    refused(mole_set_threads(0, &error), "0 threads");
    refused(mole_set_threads(100000, &error), "100000 threads");
    /* Nobody has to want the message. */
    assert_int_equal(mole_geglu(NULL, NULL, 0, 0, NULL), -1);
}

/* ---- the MoLE layer ---------------------------------------------------------------------------- */

static void layers_refuse(void **state) {
    (void)state;
    mole_layer_expert_t good_expert = {.rank = 1, .down = a, .up = a, .scale_weight = a};
    mole_layer_expert_t e = good_expert;
    mole_layer_args_t good_layer = {.d_in = 2,
                                    .d_out = 2,
                                    .weight = a,
                                    .local_weight = b,
                                    .local_bias = b,
                                    .expert = &e,
                                    .experts = 1};
    mole_layer_args_t l = good_layer;
#define LAYER() mole_layer(out, a, &l, 1, 2, MOLE_PLAIN, &error)
#define REFUSED(change, words)                                                                     \
    l = good_layer, e = good_expert, change;                                                       \
    refused(LAYER(), words)
    REFUSED(l.weight = NULL, "layer: weight is NULL");
    REFUSED(l.bias = out, "bias overlaps out");
    REFUSED(l.experts = 0, "no experts");
    REFUSED(l.expert = NULL, "no experts");
    REFUSED(l.local_bias = NULL, "local_bias is NULL");
    REFUSED(l.d_in = 0, "at least 1");
    REFUSED(e.rank = 0, "expert 0 has rank 0");
    REFUSED(e.down = NULL, "down is NULL");
    REFUSED(e.up = NULL, "up is NULL");
    REFUSED(e.scale_weight = NULL, "scale_weight is NULL");
    REFUSED(e.alpha = (double)INFINITY, "alpha is");
    REFUSED((l.local_weight = NULL, e.tap_local = b), "need gates");
    refused(mole_layer(out, a, NULL, 1, 2, MOLE_PLAIN, &error), "layer is NULL");
    refused(mole_layer(out, out, &good_layer, 1, 2, MOLE_PLAIN, &error), "x overlaps out");
    refused(mole_layer(out, a, &good_layer, 1, 2, (mole_how_t)2, &error), "how is 2");
    l = good_layer, e = good_expert;
    accepted(LAYER());
    l.local_weight = NULL; /* plain LoRA */
    accepted(LAYER());
#undef LAYER
#undef REFUSED
}

/* ---- handles ----------------------------------------------------------------------------------- */

static void samplers_refuse(void **state) {
    (void)state;
    float f[4];
    mole_generator_t *generator;
    mole_ddim_t *ddim;
    mole_ddim_settings_t good_settings, s;
    refused(mole_generator_open(NULL, 1, &error), "generator is NULL");
    refused(mole_randn_f32(f, 4, NULL, &error), "generator is NULL");
    accepted(mole_generator_open(&generator, 1, &error));
    refused(mole_rand_f32(NULL, 4, generator, &error), "out is NULL");
    mole_generator_close(generator);
    refused(mole_randn_cuda(f, 4, 1, 3, 0, NULL, &error), "not a multiple of 4");
    refused(mole_randn_cuda(f, 4, 1, 0, 100, NULL, &error), "100 threads");

    mole_ddim_settings_authors(&good_settings);
#define REFUSED(change, words)                                                                     \
    s = good_settings, change;                                                                     \
    refused(mole_ddim_open(&ddim, &s, 10, &error), words);                                         \
    assert_null(ddim)
    REFUSED(s.num_train_timesteps = 0, "num_train_timesteps is 0");
    REFUSED(s.num_train_timesteps = -1, "num_train_timesteps is -1");
    REFUSED(s.beta_schedule = (mole_beta_schedule_t)3, "beta_schedule is 3");
    REFUSED(s.timestep_spacing = (mole_spacing_t)-1, "timestep_spacing is -1");
    REFUSED(s.prediction_type = (mole_prediction_t)3, "prediction_type is 3");
    REFUSED(s.beta_start = 0, "beta_start 0");
    REFUSED(s.beta_end = (double)NAN, "beta_end nan");
    REFUSED((s.clip_sample = 1, s.clip_sample_range = -1), "clip_sample_range is -1");
    REFUSED(s.rescale_betas_zero_snr = 1, "divide by zero");
    REFUSED(s.steps_offset = 1000, "outside 0..999");
#undef REFUSED
    refused(mole_ddim_open(&ddim, &good_settings, 0, &error), "0 steps");
    refused(mole_ddim_open(&ddim, NULL, 10, &error), "settings is NULL");
    refused(mole_ddim_settings_read(&s, "no/such.json", &error), "no/such.json");
    accepted(mole_ddim_open(&ddim, &good_settings, 10, &error));
    refused(mole_ddim_step(out, ddim, 10, a, b, 4, 0, NULL, &error), "step 10 of 10");
    refused(mole_ddim_step(out, ddim, 0, a, b, 4, 0.5, NULL, &error), "needs noise");
    refused(mole_ddim_step(out, ddim, 0, a, b, 4, 0, a, &error), "takes no noise");
    refused(mole_ddim_step(out, ddim, 9, a, b, 4, -1, a, &error), "eta -1");
    refused(mole_ddim_step(out, NULL, 0, a, b, 4, 0, NULL, &error), "ddim is NULL");
    accepted(mole_ddim_step(out, ddim, 9, a, b, 4, 1, a, &error));
    mole_ddim_close(ddim);
    mole_ddim_close(NULL);
}

static void texts_refuse(void **state) {
    (void)state;
    mole_tokenizer_t *t;
    int32_t row[77];
    size_t count;
    refused(mole_tokenizer_open(&t, "no/such/folder", &error), "no/such/folder");
    assert_null(t);
    refused(mole_tokenizer_open(NULL, "x", &error), "tokenizer is NULL");
    accepted(mole_tokenizer_open(&t, "golden/models/sd15-tiny/tokenizer", &error));
    refused(mole_tokenizer_encode(t, "\xff", 1, row, 77, &count, &error), "UTF-8");
    refused(mole_tokenizer_encode(t, NULL, 3, row, 77, &count, &error), "text is NULL");
    refused(mole_tokenizer_encode(t, "a", 1, NULL, 77, &count, &error), "ids is NULL");
    refused(mole_tokenizer_encode(t, "a", 1, row, 77, NULL, &error), "count is NULL");
    refused(mole_tokenizer_row(t, "a\0b", 3, row, NULL, &error), "NUL");
    refused(mole_tokenizer_row(t, "a", 1, NULL, NULL, &error), "row is NULL");
    assert_null(mole_tokenizer_piece(t, -1));
    mole_tokenizer_close(t);
    mole_tokenizer_close(NULL);
}

static void models_refuse(void **state) {
    (void)state;
    const char *folder = "golden/models/sd15-tiny";
    mole_model_t *m;
    mole_expert_file_t e[2] = {{"face", "no/such/file"}, {"face", "no/such/file"}};
    refused(mole_model_open(NULL, folder, NULL, 0, NULL, &error), "model is NULL");
    refused(mole_model_open(&m, NULL, NULL, 0, NULL, &error), "folder is NULL");
    refused(mole_model_open(&m, "golden/ops", NULL, 0, NULL, &error), "golden/ops");
    assert_null(m);
    refused(mole_model_open(&m, folder, NULL, 1, NULL, &error), "expert is NULL");
    refused(mole_model_open(&m, folder, NULL, 0, "gates", &error), "gates without experts");
    refused(mole_model_open(&m, folder, e, 17, NULL, &error), "17 experts");
    refused(mole_model_open(&m, folder, e, 2, NULL, &error), "'face' is given twice");
    refused(mole_model_open(&m, folder, e, 1, NULL, &error), "no/such/file");
    e[0].name = "Face!";
    refused(mole_model_open(&m, folder, e, 1, NULL, &error), "a-z");
    e[0].name = NULL;
    refused(mole_model_open(&m, folder, e, 1, NULL, &error), "no name");
    accepted(mole_model_open(&m, folder, NULL, 0, NULL, &error));
    mole_model_info_t info;
    mole_model_info(m, &info);
    static real_t x[4096], y[65536];
    const int32_t bad[2] = {0, 100000};
    refused(mole_model_encode_text(m, y, bad, 1, 2, &error), "id 100000 at position 1");
    refused(mole_model_encode_text(m, y, ids, 1, info.max_length + 1, &error), "at most 77");
    refused(mole_model_unet(m, x, x, 1, y, 1, 2, 2, 1, &error), "sample overlaps out");
    refused(mole_model_unet(m, y, x, (double)NAN, y + 4096, 1, 2, 2, 1, &error), "timestep is");
    refused(mole_model_unet(m, y, x, 1, NULL, 1, 2, 2, 1, &error), "context is NULL");
    refused(mole_model_unet(m, y, x, 1, y + 4096, 1, 0, 2, 1, &error), "at least 1");
    refused(mole_model_decode(m, y, x, 1, SIZE_MAX, 2, &error), "too large");
    refused(mole_model_decode(m, y, NULL, 1, 2, 2, &error), "latents is NULL");
    refused(mole_model_set(m, MOLE_PLAIN, (mole_layer_form_t)2, &error), "form is 2");
    refused(mole_model_set(NULL, MOLE_PLAIN, MOLE_FORM_DIRECT, &error), "model is NULL");
    accepted(mole_model_decode(m, y, x, 1, 2, 2, &error)); /* refusals leave it usable */
    mole_model_close(m);
    mole_model_close(NULL);
}

/* A latent image that the machine cannot hold, in addresses without memory: only they are looked at. */
static void more_than_the_machine_has_is_refused(void **state) {
    (void)state;
    const size_t H = 1 << 20, W = 1 << 16, bytes = 4 * H * W * sizeof(real_t);
    char *far =
        mmap(NULL, 2 * bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    assert_true(far != MAP_FAILED);
    mole_model_t *m;
    accepted(mole_model_open(&m, "golden/models/sd15-tiny", NULL, 0, NULL, &error));
    refused(mole_model_unet(m, (real_t *)(void *)far, (real_t *)(void *)(far + bytes), 1, a, 1, H,
                            W, 1, &error),
            "more memory");
    mole_model_close(m);
    munmap(far, 2 * bytes);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_refuse),  cmocka_unit_test(convolutions_refuse),
        cmocka_unit_test(norms_refuse),     cmocka_unit_test(activations_refuse),
        cmocka_unit_test(the_rest_refuses), cmocka_unit_test(layers_refuse),
        cmocka_unit_test(samplers_refuse),  cmocka_unit_test(texts_refuse),
        cmocka_unit_test(models_refuse),    cmocka_unit_test(more_than_the_machine_has_is_refused),
    };
    return cmocka_run_group_tests_name("api/refusals " REAL_NAME, tests, NULL, NULL);
}
