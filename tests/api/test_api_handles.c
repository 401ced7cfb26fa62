/* The handles of mole.h: random numbers, DDIM, the tokenizer and models give what the rooms behind them
 * give, and what golden/runs holds; taps come by, in torch's order, and can be answered. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "../fixture.h"
#include "api/mole.h"
#include "core/dtype.h"
#include "golden/golden.h"
#include "io/safetensors.h"
#include "sampler/noise.h"
#include "trace/diff.h"

static const bool is_f64 = sizeof(real_t) == sizeof(double);
static mole_error_t error;

static void good(int status) {
    if (status) fail_msg("%s", error.text);
}

/* ---- random numbers ---------------------------------------------------------------------------- */

static void generators_go_on(void **state) {
    (void)state;
    enum { N = 40 };
    float ours[N], theirs[N];
    double ours64[N], theirs64[N];
    mole_generator_t *g;
    generator_t noise;
    good(mole_generator_open(&g, 42, &error));
    noise_seed(&noise, 42);
    for (int round = 0; round < 2; round++) {
        good(mole_randn_f32(ours, N, g, &error));
        noise_randn(theirs, N, &noise);
        assert_memory_equal(ours, theirs, sizeof ours);
        good(mole_rand_f32(ours, 3, g, &error));
        noise_rand(theirs, 3, &noise);
        assert_memory_equal(ours, theirs, 3 * sizeof *ours);
        good(mole_randn_f64(ours64, 5, g, &error));
        noise_randn_f64(theirs64, 5, &noise);
        assert_memory_equal(ours64, theirs64, 5 * sizeof *ours64);
        good(mole_rand_f64(ours64, N, g, &error));
        noise_rand_f64(theirs64, N, &noise);
        assert_memory_equal(ours64, theirs64, sizeof ours64);
    }
    mole_generator_close(g);
    mole_generator_close(NULL);
    uint64_t advance = 0;
    good(mole_randn_cuda(ours, N, 7, 8, 0, &advance, &error));
    assert_int_equal(noise_randn_cuda(theirs, N, 7, 8, 0, NULL), 0);
    assert_memory_equal(ours, theirs, sizeof ours);
    assert_int_equal(advance, noise_cuda_advance(N, 0));
}

/* torch.manual_seed(42); torch.randn(17): from the file, not from our own code. */
static void randn_is_torchs(void **state) {
    (void)state;
    st_file_t *file;
    err_t err;
    assert_int_equal(st_open(&file, "golden/sampler/randn/tensors.safetensors", &err), 0);
    const st_tensor_t *truth = st_find(file, "randn/float32/42/17");
    assert_non_null(truth);
    float ours[17];
    mole_generator_t *g;
    good(mole_generator_open(&g, 42, &error));
    good(mole_randn_f32(ours, 17, g, &error));
    assert_memory_equal(ours, truth->data, sizeof ours);
    mole_generator_close(g);
    st_close(file);
}

/* ---- DDIM -------------------------------------------------------------------------------------- */

static void ddim_has_the_tables(void **state) {
    (void)state;
    mole_ddim_settings_t s, d, f;
    mole_ddim_t *ddim;
    size_t steps, levels;
    mole_ddim_settings_authors(&s);
    mole_ddim_settings_diffusers(&d);
    good(mole_ddim_settings_read(&f, "golden/models/sd15-tiny/scheduler/scheduler_config.json",
                                 &error));
    assert_int_equal(s.steps_offset, 1);
    assert_int_equal(d.steps_offset, 0);
    assert_true(s.set_alpha_to_one && !s.clip_sample && d.clip_sample);
    assert_true(s.beta_start == 0.00085 && s.beta_end == 0.012 && d.beta_end == 0.02);
    assert_int_equal(s.beta_schedule, MOLE_BETA_SCALED_LINEAR);
    assert_int_equal(d.beta_schedule, MOLE_BETA_LINEAR);
    assert_int_equal(f.num_train_timesteps, 1000);
    good(mole_ddim_open(&ddim, &s, 50, &error));
    const int *timesteps = mole_ddim_timesteps(ddim, &steps);
    const float *alphas = mole_ddim_alphas_cumprod(ddim, &levels);
    assert_int_equal(steps, 50);
    assert_int_equal(levels, 1000);
    assert_int_equal(timesteps[0], 981);
    assert_int_equal(timesteps[49], 1);
    assert_true(mole_ddim_final_alpha_cumprod(ddim) == 1.0f);
    /* x0 = (x - sqrt(1-a) e) / sqrt(a), x' = sqrt(a') x0 + sqrt(1-a') e */
    real_t x = (real_t)0.5, e = (real_t)-0.25, out, noise = 1;
    good(mole_ddim_step(&out, ddim, 49, &e, &x, 1, 0, NULL, &error));
    double alpha = (double)alphas[1];
    double expected =
        (0.5 + 0.25 * sqrt(1 - alpha)) / sqrt(alpha); /* a' is 1: final_alpha_cumprod */
    assert_true(fabs((double)out - expected) <= 8 * UNIT * fabs(expected));
    good(mole_ddim_step(&x, ddim, 0, &e, &x, 1, 1, &noise, &error)); /* in place, with noise */
    mole_ddim_close(ddim);
}

/* ---- tokenizer --------------------------------------------------------------------------------- */

static void tokens_are_transformers(void **state) {
    (void)state;
    static const int32_t truth[] = {320, 805, 523, 320, 86, 78, 671};
    const char *text = "a photo of a woman";
    mole_tokenizer_t *t;
    int32_t ids[7], few[2] = {-1, -1}, row[77];
    size_t count;
    int truncated = -1;
    good(mole_tokenizer_open(&t, "golden/models/sd15-tiny/tokenizer", &error));
    assert_int_equal(mole_tokenizer_vocab(t), 1014);
    assert_int_equal(mole_tokenizer_max_length(t), 77);
    good(mole_tokenizer_encode(t, text, strlen(text), NULL, 0, &count, &error));
    assert_int_equal(count, 7);
    good(mole_tokenizer_encode(t, text, strlen(text), ids, 7, &count, &error));
    assert_memory_equal(ids, truth, sizeof truth);
    good(mole_tokenizer_encode(t, text, strlen(text), few, 1, &count, &error));
    assert_true(few[0] == 320 && few[1] == -1 && count == 7);
    good(mole_tokenizer_row(t, text, strlen(text), row, &truncated, &error));
    assert_true(row[0] == 1012 && row[8] == 1013 && row[76] == 1013 && truncated == 0);
    assert_memory_equal(row + 1, truth, sizeof truth);
    good(mole_tokenizer_encode(t, NULL, 0, ids, 7, &count, &error));
    assert_int_equal(count, 0);
    assert_string_equal(mole_tokenizer_piece(t, 320), "a</w>");
    mole_tokenizer_close(t);
}

/* ---- models ------------------------------------------------------------------------------------ */

static mole_model_t *open_model(void) {
    const char *folder = "golden/models/sd15-tiny-mole/";
    char names[2][8] = {"face", "hand"}, face[64], hand[64], gates[64];
    snprintf(face, sizeof face, "%sface.safetensors", folder);
    snprintf(hand, sizeof hand, "%shand.safetensors", folder);
    snprintf(gates, sizeof gates, "%sgates.safetensors", folder);
    mole_expert_file_t expert[2] = {{names[0], face}, {names[1], hand}};
    mole_model_t *m;
    good(mole_model_open(&m, "golden/models/sd15-tiny", expert, 2, gates, &error));
    memset(names, '?', sizeof names); /* the model keeps copies */
    return m;
}

typedef struct {
    golden_case_t golden;
    size_t seen, inputs;
    double worst;
    const char *alter; /* zeros in place of this tap... */
    bool altered;
} watcher_t;

static real_t *case_input(const watcher_t *w, const char *key) {
    const st_tensor_t *t = st_find(w->golden.tensors, key);
    assert_non_null(t);
    real_t *x = fixture_blank(shape_count(t->shape));
    dtype_to_real(x, t->data, t->dtype, shape_count(t->shape));
    return x;
}

static int look(void *who, const char *name, size_t ndim, const size_t *dims, mole_real_t *x) {
    watcher_t *w = who;
    size_t length = strlen(name);
    if (length > 3 && strcmp(name + length - 3, ".in") == 0) {
        w->inputs++;
        x[0] = 1e6f; /* may not have an effect */
        return 1;
    }
    const golden_tap_t *tap = golden_case_find(&w->golden, name);
    if (!tap) fail_msg("%s is not in the golden case", name);
    shape_t shape = {(int)ndim, {0}};
    memcpy(shape.dim, dims, ndim * sizeof *dims);
    assert_true(shape_equal(shape, tap->shape));
    size_t count = shape_count(shape);
    diff_t d = diff_tensors(fixture_doubles(x, count), tap->truth->data, count);
    if (diff_relative(&d) > w->worst) w->worst = diff_relative(&d);
    w->seen++;
    if (!w->alter || strcmp(w->alter, name) != 0) return 0;
    memset(x, 0, count * sizeof *x);
    w->altered = true;
    return 1;
}

static void open_case(watcher_t *w, const char *folder) {
    *w = (watcher_t){0};
    err_t err;
    if (golden_case_open(&w->golden, folder, &err)) fail_msg("%s", err.text);
}

static const double tolerance = sizeof(real_t) == sizeof(double) ? 1e-11 : 5e-5;

/* All 2257 taps of one UNet pass, names, shapes and numbers; then the same numbers without anybody
 * watching, with inputs shown, and other ones after a tap was answered. */
static void a_unet_pass_is_pytorchs(void **state) {
    (void)state;
    watcher_t w;
    open_case(&w, "golden/runs/unet-step");
    mole_model_t *m = open_model();
    mole_model_info_t info;
    mole_model_info(m, &info);
    assert_int_equal(info.mole_layers, 192);
    shape_t s = st_find(w.golden.tensors, "input/sample")->shape;
    size_t B = s.dim[0], H = s.dim[2], W = s.dim[3], N = shape_count(s);
    size_t S = st_find(w.golden.tensors, "input/context")->shape.dim[1];
    assert_int_equal(info.latent_channels, s.dim[1]);
    real_t *sample = case_input(&w, "input/sample"), *context = case_input(&w, "input/context");
    real_t *out = fixture_blank(N), *again = fixture_blank(N), *altered = fixture_blank(N);
    good(mole_model_set(m, MOLE_PLAIN, MOLE_FORM_DIRECT, &error));
    good(mole_model_watch(m, look, &w, 0, &error));
    good(mole_model_unet(m, out, sample, 981, context, B, H, W, S, &error));
    printf("%zu taps, worst error %.2e\n", w.seen, w.worst);
    assert_int_equal(w.seen, w.golden.taps);
    assert_int_equal(w.inputs, 0);
    assert_true(w.worst <= tolerance);

    good(mole_model_watch(m, NULL, NULL, 0, &error));
    good(mole_model_unet(m, again, sample, 981, context, B, H, W, S, &error));
    assert_memory_equal(out, again, N * sizeof *out);
    assert_int_equal(w.seen, w.golden.taps);

    good(mole_model_watch(m, look, &w, 1, &error));
    good(mole_model_unet(m, again, sample, 981, context, B, H, W, S, &error));
    assert_memory_equal(out, again, N * sizeof *out);
    assert_true(w.inputs > 192);

    w.alter = "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_v.mole.face.expert";
    good(mole_model_unet(m, altered, sample, 981, context, B, H, W, S, &error));
    assert_true(w.altered);
    assert_memory_not_equal(out, altered, N * sizeof *out);
    mole_model_close(m);
    golden_case_close(&w.golden);
}

static void text_and_pixels_are_pytorchs(void **state) {
    (void)state;
    watcher_t w;
    mole_model_t *m = open_model();
    mole_model_info_t info;
    mole_model_info(m, &info);

    open_case(&w, "golden/runs/text-encoder");
    const st_tensor_t *input = st_find(w.golden.tensors, "input/input_ids");
    size_t B = input->shape.dim[0], T = input->shape.dim[1];
    double *numbers = fixture_bytes(B * T * sizeof *numbers);
    int32_t *ids = fixture_bytes(B * T * sizeof *ids);
    dtype_to_double(numbers, input->data, input->dtype, B * T);
    for (size_t i = 0; i < B * T; i++) ids[i] = (int32_t)numbers[i];
    good(mole_model_watch(m, look, &w, 0, &error));
    good(mole_model_encode_text(m, fixture_blank(B * T * info.hidden_size), ids, B, T, &error));
    assert_int_equal(w.seen, w.golden.taps);
    assert_true(w.worst <= tolerance);
    golden_case_close(&w.golden);

    open_case(&w, "golden/runs/vae-decode");
    shape_t s = st_find(w.golden.tensors, "input/latents")->shape;
    size_t side = info.pixels_per_latent;
    real_t *image =
        fixture_blank(s.dim[0] * info.image_channels * s.dim[2] * s.dim[3] * side * side);
    good(mole_model_decode(m, image, case_input(&w, "input/latents"), s.dim[0], s.dim[2], s.dim[3],
                           &error));
    assert_int_equal(w.seen, w.golden.taps);
    assert_true(w.worst <= tolerance);
    golden_case_close(&w.golden);
    mole_model_close(m);
}

/* ---- one call at a time ------------------------------------------------------------------------ */

typedef struct {
    mole_model_t *model;
    int status;
    mole_error_t error;
} caller_t;

static int call_back(void *who, const char *name, size_t ndim, const size_t *dims, mole_real_t *x) {
    (void)name, (void)ndim, (void)dims, (void)x;
    caller_t *c = who;
    c->status = mole_model_set(c->model, MOLE_BLAS, MOLE_FORM_DIRECT, &c->error);
    return 0;
}

static void a_tap_cannot_call_back(void **state) {
    (void)state;
    caller_t c = {.model = open_model()};
    real_t *latents = fixture_reals(fixture_random(4 * 4, 5, 1), 4 * 4);
    good(mole_model_watch(c.model, call_back, &c, 0, &error));
    good(mole_model_decode(c.model, fixture_blank(3 * 16 * 16), latents, 1, 2, 2, &error));
    assert_int_equal(c.status, -1);
    assert_non_null(strstr(c.error.text, "in use"));
    mole_model_close(c.model);
}

static void it_says_what_it_is(void **state) {
    (void)state;
    assert_string_equal(mole_version(), MOLE_VERSION);
    assert_string_equal(mole_precision(), is_f64 ? "f64" : "f32");
    good(mole_set_threads(2, &error));
    mole_model_t *m = open_model();
    assert_string_equal(mole_tokenizer_piece(mole_model_tokenizer(m), 320), "a</w>");
    mole_model_close(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        fixture_test(generators_go_on),        fixture_test(randn_is_torchs),
        fixture_test(ddim_has_the_tables),     fixture_test(tokens_are_transformers),
        fixture_test(a_unet_pass_is_pytorchs), fixture_test(text_and_pixels_are_pytorchs),
        fixture_test(a_tap_cannot_call_back),  fixture_test(it_says_what_it_is),
    };
    return cmocka_run_group_tests_name("api/handles " REAL_NAME, tests, NULL, NULL);
}
