/* A pipeline of two text encoders, sdxl-tiny: what its UNet is told beside the text, the two rules for a
 * negative prompt that is not given, and files that do not fit. The numbers: golden/runs/sdxl-*. */
#include <math.h>
#include <string.h>
#include <sys/stat.h>

#include "../fixture.h"
#include "../scratch.h"
#include "io/file.h"
#include "io/safetensors.h"
#include "pipeline/pipeline.h"

#define MODEL "golden/models/sdxl-tiny"

static pipeline_files_t files_of(const char *folder, bool with_mole) {
    pipeline_files_t files = {.folder = folder};
    if (with_mole)
        files.mole =
            (mole_files_t){.experts = 2,
                           .name = {"face", "hand"},
                           .path = {MODEL "-mole/face.safetensors", MODEL "-mole/hand.safetensors"},
                           .gates = MODEL "-mole/gates.safetensors"};
    return files;
}

static pipeline_t open_model(const char *folder, bool with_mole) {
    pipeline_files_t given = files_of(folder, with_mole);
    pipeline_t p;
    err_t err;
    if (pipeline_open(&p, &given, &err)) fail_msg("%s", err.text);
    return p;
}

/* ---- a run that is watched ----------------------------------------------------------------------------- */

enum { ROOM = 2 * 77 * 36 };

typedef struct {
    tap_sink_t sink;
    real_t embeds[ROOM], pooled[2 * 20], ids[12], latents[4 * 16 * 16];
    size_t seen; /* of the four */
} watch_t;

static void hear(tap_sink_t *self, const char *name, real_t *x, view_t view) {
    watch_t *w = (watch_t *)self;
    const struct {
        const char *name;
        real_t *to;
        size_t room;
    } rows[] = {{"prompt_embeds", w->embeds, ROOM},
                {"add_text_embeds", w->pooled, 40},
                {"add_time_ids", w->ids, 12},
                {"step.001/latents", w->latents, 4 * 16 * 16}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (strcmp(name, rows[i].name) != 0) continue;
        assert_true(shape_count(view.shape) <= rows[i].room);
        memcpy(rows[i].to, x, shape_count(view.shape) * sizeof *x);
        w->seen++;
    }
}

typedef struct {
    pipeline_prompt_t prompt;
    pipeline_image_t image;
} settings_t;

static settings_t usual(void) {
    return (settings_t){.prompt = {.text = "two hands", .guided = true, .syntax = PROMPT_DEFAULTS},
                        .image = {.width = 64,
                                  .height = 32,
                                  .steps = 2,
                                  .guidance_scale = 7.5,
                                  .seed = 4,
                                  .scheduler = ddim_config_authors}};
}

static watch_t *watched_form(const pipeline_t *p, const settings_t *s, mole_form_t form) {
    watch_t *w = fixture_bytes(sizeof *w);
    err_t err;
    memset(w, 0, sizeof *w);
    w->sink.tap = hear;
    run_t run = {.sink = &w->sink, .matmul = MATMUL_BLAS, .form = form};
    pipeline_text_t text;
    if (arena_create(&run.arena, 0, &err) || pipeline_encode(&run, p, &s->prompt, &text, &err))
        fail_msg("%s", err.text);
    size_t before = arena_mark(run.arena);
    real_t *image = arena_reals(run.arena, 3 * s->image.width * s->image.height);
    if (pipeline_generate(&run, p, &text, &s->image, image, &err)) fail_msg("%s", err.text);
    assert_int_equal(w->seen, 4);
    size_t used = arena_peak(run.arena) - before;
    size_t bound = pipeline_memory(&run, p, &text, &s->image);
    assert_true(used <= bound);
    arena_destroy(run.arena);
    return w;
}

static watch_t *watched(const pipeline_t *p, const settings_t *s) {
    return watched_form(p, s, MOLE_STACKED);
}

/* ---- sizes --------------------------------------------------------------------------------------------- */

/* Height before width, and the picture's own size where none is given; both rows of guidance alike. */
static void sizes_in_order(void **state) {
    (void)state;
    static const real_t own[] = {32, 64, 0, 0, 32, 64}, six[] = {101, 202, 3, 4, 505, 606};
    pipeline_t p = open_model(MODEL, false);
    settings_t s = usual();
    watch_t *plain = watched(&p, &s);
    for (size_t i = 0; i < 12; i++) assert_true(plain->ids[i] == own[i % 6]);
    s.image.size = (size_conditioning_t){{101, 202}, {3, 4}, {505, 606}};
    watch_t *told = watched(&p, &s);
    for (size_t i = 0; i < 12; i++) assert_true(told->ids[i] == six[i % 6]);
    assert_memory_not_equal(plain->latents, told->latents, sizeof plain->latents);
    /* Each of the six is heard. */
    for (size_t i = 0; i < 6; i++) {
        size_t *number[] = {
            &s.image.size.original_size[0],         &s.image.size.original_size[1],
            &s.image.size.crops_coords_top_left[0], &s.image.size.crops_coords_top_left[1],
            &s.image.size.target_size[0],           &s.image.size.target_size[1]};
        *number[i] += 1;
        watch_t *other = watched(&p, &s);
        assert_memory_not_equal(other->latents, told->latents, sizeof told->latents);
        *number[i] -= 1;
    }
    pipeline_close(&p);
}

/* ---- the negative prompt ------------------------------------------------------------------------------- */

static double size_of(const real_t *x, size_t n) {
    double most = 0;
    for (size_t i = 0; i < n; i++) most = fmax(most, fabs((double)x[i]));
    return most;
}

/* Rows encoded together and alone differ by BLAS' rounding. */
static void assert_near(const real_t *a, const real_t *b, size_t n) {
    double bound = (sizeof(real_t) == 8 ? 1e-12 : 1e-4) * size_of(b, n);
    for (size_t i = 0; i < n; i++)
        if (!(fabs((double)a[i] - (double)b[i]) <= bound))
            fail_msg("number %zu is %g and %g", i, (double)a[i], (double)b[i]);
}

/* Not given: the encoded empty text, or zeros for hidden states and pooled vector. Given, if only "":
 * encoded by either rule. */
static void negative_rules(void **state) {
    (void)state;
    enum { ROW = 77 * 36 };
    pipeline_t p = open_model(MODEL, false);
    settings_t s = usual();
    watch_t *absent = watched(&p, &s);
    s.prompt.negative = "";
    watch_t *empty = watched(&p, &s);
    s.prompt.rule = NEGATIVE_ZEROS;
    watch_t *given = watched(&p, &s);
    s.prompt.negative = NULL;
    watch_t *zeros = watched(&p, &s);
    assert_true(size_of(empty->embeds, ROW) > 0.1 && size_of(empty->pooled, 20) > 0.01);
    assert_memory_equal(absent->embeds, empty->embeds, sizeof empty->embeds);
    assert_memory_equal(given->embeds, empty->embeds, sizeof empty->embeds);
    assert_memory_equal(given->latents, empty->latents, sizeof empty->latents);
    assert_true(size_of(zeros->embeds, ROW) == 0 && size_of(zeros->pooled, 20) == 0);
    assert_near(zeros->embeds + ROW, empty->embeds + ROW, ROW);
    assert_near(zeros->pooled + 20, empty->pooled + 20, 20);
    assert_memory_not_equal(zeros->latents, empty->latents, sizeof empty->latents);
    pipeline_close(&p);
}

/* Weights act on the hidden states, each encoder's by itself, and leave the pooled vector alone; of a text of
 * several chunks the pooled vector is that of the first. */
static void weights_and_chunks(void **state) {
    (void)state;
    pipeline_t p = open_model(MODEL, false);
    settings_t s = usual();
    s.prompt.guided = false;
    s.image.guidance_scale = 1;
    s.prompt.text = "a hand and a face";
    watch_t *plain = watched(&p, &s);
    s.prompt.syntax.syntax = PROMPT_WEIGHTED;
    s.prompt.text = "a (hand:1.7) and a face";
    watch_t *weighted = watched(&p, &s);
    assert_memory_not_equal(plain->embeds, weighted->embeds, 77 * 36 * sizeof(real_t));
    err_t err;
    run_t run = {.matmul = MATMUL_BLAS};
    pipeline_text_t one, two;
    assert_int_equal(arena_create(&run.arena, 0, &err), 0);
    char longer[400] = "a";
    while (strlen(longer) < 240) strcat(longer, " a a"); /* no two chunks of it are alike */
    s.prompt.syntax = (prompt_options_t){PROMPT_WEIGHTED, 1};
    s.prompt.text = longer;
    assert_int_equal(pipeline_embed(&run, &p, &s.prompt, &one, &err), 0);
    s.prompt.syntax.max_chunks = 2;
    assert_int_equal(pipeline_embed(&run, &p, &s.prompt, &two, &err), 0);
    assert_int_equal(one.S, 77);
    assert_int_equal(two.S, 154);
    assert_near(one.pooled, two.pooled, 20);
    arena_destroy(run.arena);
    pipeline_close(&p);
}

/* ---- Euler and experts --------------------------------------------------------------------------------- */

static void euler_runs(void **state) {
    (void)state;
    pipeline_t p = open_model(MODEL, true);
    settings_t s = usual();
    watch_t *ddim = watched(&p, &s);
    s.image.sampler.kind = SAMPLER_EULER;
    watch_t *euler = watched(&p, &s);
    /* Two samplers from the same noise end at pictures of the same size, not at the same one. */
    double a = size_of(ddim->latents, 4 * 4 * 8), b = size_of(euler->latents, 4 * 4 * 8);
    assert_true(a > 0 && b > 0 && a < 10 * b && b < 10 * a);
    assert_memory_not_equal(ddim->latents, euler->latents, 4 * 4 * 8 * sizeof(real_t));
    pipeline_close(&p);
}

static watch_t *watched_with(const settings_t *s, widen_t widen, mole_form_t form) {
    pipeline_files_t given = files_of(MODEL, true);
    given.widen = widen;
    pipeline_t p;
    err_t err;
    if (pipeline_open(&p, &given, &err)) fail_msg("%s", err.text);
    assert_int_equal(weights_late(unet_weights(p.unet)), widen == WIDEN_AS_USED);
    watch_t *w = watched_form(&p, s, form);
    pipeline_close(&p);
    return w;
}

/* Widened at load or whenever they are used: the same bits, in both forms, within the memory foreseen. */
static void widened_as_used(void **state) {
    (void)state;
    static const mole_form_t forms[] = {MOLE_STACKED, MOLE_DIRECT};
    settings_t s = usual();
    for (size_t i = 0; i < 2; i++) {
        watch_t *load = watched_with(&s, WIDEN_AT_LOAD, forms[i]);
        watch_t *size = watched_with(&s, WIDEN_BY_SIZE, forms[i]); /* tiny: at load */
        watch_t *used = watched_with(&s, WIDEN_AS_USED, forms[i]);
        assert_memory_equal(load->latents, used->latents, sizeof load->latents);
        assert_memory_equal(load->latents, size->latents, sizeof load->latents);
    }
}

/* What a model cannot do is said, not computed. */
static void deviations_that_fit(void **state) {
    (void)state;
    err_t err;
    pipeline_t p = open_model(MODEL, false), v15 = open_model("golden/models/sd15-tiny", false);
    deviations_t others =
        DEVIATION_PROMPT_SUFFIXES | DEVIATION_VAE_WITHOUT_ATTENTION | DEVIATION_BF16_GATES;
    deviations_t all = others | DEVIATION_TEXT_PROJECTION_UNTURNED;
    assert_int_equal(pipeline_check_deviations(&p, all, &err), 0);
    assert_int_equal(pipeline_check_deviations(&v15, others, &err), 0);
    assert_int_equal(pipeline_check_deviations(&v15, all, &err), -1);
    assert_message(&err, "text-projection-unturned", "StableDiffusionPipeline", NULL);
    pipeline_close(&p);
    pipeline_close(&v15);
}

/* ---- files that do not fit
 * --------------------------------------------------------------------------------- */

static const char *const files[] = {"model_index.json",
                                    "scheduler/scheduler_config.json",
                                    "text_encoder/config.json",
                                    "text_encoder/model.safetensors",
                                    "text_encoder_2/config.json",
                                    "text_encoder_2/model.safetensors",
                                    "tokenizer/tokenizer.json",
                                    "tokenizer/tokenizer_config.json",
                                    "tokenizer/special_tokens_map.json",
                                    "tokenizer_2/tokenizer.json",
                                    "tokenizer_2/tokenizer_config.json",
                                    "tokenizer_2/special_tokens_map.json",
                                    "unet/config.json",
                                    "unet/diffusion_pytorch_model.safetensors",
                                    "vae/config.json",
                                    "vae/diffusion_pytorch_model.safetensors"};

/* A copy of the model, to be changed. */
static char *copy_model(const char *name) {
    char *root = xstrdup(scratch_path(name));
    assert_int_equal(mkdir(root, 0777), 0);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char *from = file_join(MODEL, files[i]), *to = file_join(root, files[i]);
        char *slash = strrchr(to, '/');
        size_t bytes;
        *slash = '\0';
        mkdir(to, 0777);
        *slash = '/';
        char *data = scratch_slurp(from, &bytes);
        scratch_store(to, data, bytes);
        free(data);
        free(from);
        free(to);
    }
    return root;
}

static void set_number(const char *root, const char *file, const char *key, int value) {
    json_error_t error;
    char *path = file_join(root, file);
    json_t *json = json_load_file(path, 0, &error);
    assert_non_null(json);
    json_object_set_new(json, key, json_integer(value));
    assert_int_equal(json_dump_file(json, path, 0), 0);
    json_decref(json);
    free(path);
}

static void must_refuse(const char *root, const char *first, const char *second) {
    pipeline_t p;
    err_t err;
    pipeline_files_t opened = {.folder = root};
    assert_int_equal(pipeline_open(&p, &opened, &err), -1);
    assert_message(&err, first, second, NULL);
}

/* Every tensor whose name has `part` filled with NaN. */
static void spoil(const char *root, const char *file, const char *part) {
    char *path = file_join(root, file);
    err_t err;
    st_file_t *read;
    size_t bytes, spoilt = 0;
    char *data = scratch_slurp(path, &bytes);
    assert_int_equal(st_open(&read, path, &err), 0);
    const char *base = st_at(read, 0)->data;
    for (size_t i = 1; i < st_count(read); i++)
        if ((const char *)st_at(read, i)->data < base) base = st_at(read, i)->data;
    size_t all = 0;
    for (size_t i = 0; i < st_count(read); i++)
        all += shape_count(st_at(read, i)->shape) * dtype_size(st_at(read, i)->dtype);
    for (size_t i = 0; i < st_count(read); i++) {
        const st_tensor_t *t = st_at(read, i);
        if (!strstr(t->name, part)) continue;
        size_t at = bytes - all + (size_t)((const char *)t->data - base);
        memset(data + at, 0xFF, shape_count(t->shape) * dtype_size(t->dtype));
        spoilt++;
    }
    st_close(read);
    assert_true(spoilt > 0);
    scratch_store(path, data, bytes);
    free(data);
    free(path);
}

/* Files in circulation have rubbish in the last layer of the first text encoder, of which nothing is used;
 * the second's last layer makes the pooled vector. */
static void rubbish_that_nothing_uses(void **state) {
    (void)state;
    char *root = copy_model("rubbish");
    spoil(root, "text_encoder/model.safetensors", "encoder.layers.2.");
    spoil(root, "text_encoder/model.safetensors", "final_layer_norm");
    pipeline_t good = open_model(MODEL, false), p = open_model(root, false);
    settings_t s = usual();
    watch_t *expected = watched(&good, &s), *found = watched(&p, &s);
    assert_memory_equal(expected->latents, found->latents, sizeof found->latents);
    pipeline_close(&good);
    pipeline_close(&p);
    spoil(root, "text_encoder_2/model.safetensors", "encoder.layers.3.");
    must_refuse(root, "text_encoder_2", "NaN");
    free(root);
}

static void components_that_do_not_fit(void **state) {
    (void)state;
    char *root = copy_model("misfit");
    set_number(root, "unet/config.json", "projection_class_embeddings_input_dim", 60);
    must_refuse(root, "tensor 'add_embedding.linear_1.weight'", "expected shape");
    set_number(root, "unet/config.json", "projection_class_embeddings_input_dim", 48);
    must_refuse(root, "projection_class_embeddings_input_dim", "6 x addition_time_embed_dim");
    set_number(root, "unet/config.json", "projection_class_embeddings_input_dim", 68);
    set_number(root, "unet/config.json", "addition_time_embed_dim", 0);
    must_refuse(root, "addition_time_embed_dim", "above 0");
    set_number(root, "unet/config.json", "addition_time_embed_dim", 7);
    must_refuse(root, "projection_class_embeddings_input_dim is 68, expected 62", "6 x");
    set_number(root, "unet/config.json", "addition_time_embed_dim", 8);
    set_number(root, "text_encoder/config.json", "num_hidden_layers", 1);
    must_refuse(root, "num_hidden_layers", "expected more than 1");
    free(root);
}

/* The UNet's file with another number of columns in the first layer of add_embedding. */
static void resize_added(const char *root, size_t columns) {
    char *path = file_join(root, "unet/diffusion_pytorch_model.safetensors");
    err_t err;
    st_file_t *read;
    st_writer_t *writer;
    must(st_open(&read, path, &err), &err);
    must(st_writer_open(&writer, path, &err), &err);
    for (size_t i = 0; i < st_count(read); i++) {
        st_tensor_t t = *st_at(read, i);
        if (strcmp(t.name, "add_embedding.linear_1.weight") == 0) t.shape.dim[1] = columns;
        must(st_writer_add(writer, t.name, t.dtype, t.shape, t.data, &err), &err);
    }
    must(st_writer_finish(writer, &err), &err);
    st_close(read);
    free(path);
}

/* The pooled vector (20) and five numbers of 8 in place of six. */
static void refiner(void **state) {
    (void)state;
    char *root = copy_model("refiner");
    set_number(root, "unet/config.json", "projection_class_embeddings_input_dim", 60);
    resize_added(root, 60);
    must_refuse(root, "projection_class_embeddings_input_dim is 60, expected 68",
                "a refiner, which is told five numbers, is not supported");
    free(root);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        fixture_test(sizes_in_order),
        fixture_test(negative_rules),
        fixture_test(weights_and_chunks),
        fixture_test(euler_runs),
        fixture_test(deviations_that_fit),
        fixture_test(widened_as_used),
        fixture_test(rubbish_that_nothing_uses),
        fixture_test(components_that_do_not_fit),
        fixture_test(refiner),
    };
    return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
