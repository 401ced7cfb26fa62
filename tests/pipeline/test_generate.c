/* test_generate.c - that each setting of a run reaches the place where it acts, and no other run.
 *
 * Small pictures, two steps: the numbers themselves are held to PyTorch in tests/verify. Here the
 * taps of a run say what went into every step, and the step is taken once more beside it. */
#include <math.h>
#include <omp.h>

#include "../unit.h"
#include "pipeline/pipeline.h"
#include "sampler/noise.h"

enum {
    WIDTH = 24,
    HEIGHT = 16,
    N = 4 * (HEIGHT / 8) * (WIDTH / 8),
    STEPS = 2,
    PIXELS = WIDTH * HEIGHT
};

static pipeline_t model;

static int open_model(void **state) {
    (void)state;
    omp_set_num_threads(1); /* on so small a picture more only wait for one another */
    err_t err;
    pipeline_files_t files = {.folder = "golden/models/sd15-tiny",
                              .mole = {2,
                                       {"face", "hand"},
                                       {"golden/models/sd15-tiny-mole/face.safetensors",
                                        "golden/models/sd15-tiny-mole/hand.safetensors"},
                                       "golden/models/sd15-tiny-mole/gates.safetensors",
                                       false}};
    if (pipeline_open(&model, &files, &err) == 0) return 0;
    print_error("%s\n", err.text);
    return -1;
}

static int close_model(void **state) {
    (void)state;
    pipeline_close(&model);
    return 0;
}

/* ---- a run that is watched ------------------------------------------------------------------------ */

typedef struct {
    tap_sink_t sink; /* first: a pointer to the sink is a pointer to the watch */
    real_t latents[STEPS + 1][N], pred[STEPS][2 * N], guided[STEPS][N];
    real_t decoder[3 * PIXELS], image[3 * PIXELS];
    size_t latents_seen, inner_keys[STEPS];
} watch_t;

static void keep(real_t *to, const real_t *x, view_t view, size_t room) {
    size_t count = shape_count(view.shape);
    assert_in_range(count, 1, room);
    view_to_torch(to, x, view);
}

static void watch_tap(tap_sink_t *self, const char *name, real_t *x, view_t view) {
    watch_t *w = (watch_t *)self;
    size_t step = strncmp(name, "step.", 5) == 0 ? (size_t)strtoul(name + 5, NULL, 10) : 0;
    const char *slash = strchr(name, '/'), *what = slash ? slash + 1 : name;
    assert_in_range(step, 0, STEPS - 1);
    if (strcmp(what, "latents") == 0) {
        assert_in_range(w->latents_seen, 0, STEPS);
        keep(w->latents[w->latents_seen++], x, view, N);
    }
    if (strcmp(what, "noise_pred") == 0) keep(w->pred[step], x, view, 2 * N);
    if (strcmp(what, "guided") == 0) keep(w->guided[step], x, view, N);
    if (strcmp(what, "vae.decoder") == 0) keep(w->decoder, x, view, 3 * PIXELS);
    if (strcmp(what, "image") == 0) keep(w->image, x, view, 3 * PIXELS);
    if (strstr(what, ".attn2.to_k.mole.")) w->inner_keys[step]++;
}

/* A run's settings with what most cases share. */
typedef struct {
    const char *prompt, *negative;
    mole_form_t form;
    prompt_options_t options;
    pipeline_image_t image;
} settings_t;

static settings_t usual(void) {
    return (settings_t){.prompt = "two hands around a cup",
                        .negative = "bad face",
                        .form = MOLE_STACKED,
                        .options = {PROMPT_PLAIN, 1},
                        .image = {.width = WIDTH,
                                  .height = HEIGHT,
                                  .steps = STEPS,
                                  .guidance_scale = 7.5,
                                  .seed = 5,
                                  .scheduler = ddim_config_authors}};
}

static pipeline_prompt_t prompt_of(const settings_t *s) {
    return (pipeline_prompt_t){.text = s->prompt,
                               .negative = s->negative,
                               .guided = s->image.guidance_scale > 1,
                               .syntax = s->options};
}

/* Runs on `arena`, which keeps nothing. */
static void run_on(arena_t *arena, const settings_t *s, watch_t *w) {
    err_t err;
    *w = (watch_t){.sink = {.tap = watch_tap}};
    run_t run = {.arena = arena, .sink = &w->sink, .matmul = MATMUL_BLAS, .form = s->form};
    pipeline_text_t text;
    arena_mark_t mark = arena_mark(arena);
    pipeline_prompt_t prompt = prompt_of(s);
    if (pipeline_encode(&run, &model, &prompt, &text, &err)) fail_msg("%s", err.text);
    real_t *image = arena_reals(arena, 3 * PIXELS);
    if (pipeline_generate(&run, &model, &text, &s->image, image, &err)) fail_msg("%s", err.text);
    assert_memory_equal(image, w->image, 3 * PIXELS * sizeof *image);
    arena_release(arena, mark);
}

static arena_t *new_arena(void) {
    arena_t *arena;
    err_t err;
    if (arena_create(&arena, (size_t)1 << 30, &err)) fail_msg("%s", err.text);
    return arena;
}

static watch_t *watched(const settings_t *s) {
    watch_t *w = malloc(sizeof *w);
    arena_t *arena = new_arena();
    run_on(arena, s, w);
    arena_destroy(arena);
    return w;
}

static void check_same(const real_t *a, const real_t *b, size_t n, const char *what) {
    for (size_t i = 0; i < n; i++)
        if (a[i] != b[i])
            fail_msg("%s[%zu]: %.17g, expected %.17g", what, i, (double)a[i], (double)b[i]);
}

static bool differ(const real_t *a, const real_t *b, size_t n) {
    return memcmp(a, b, n * sizeof *a) != 0;
}

/* ---- prompts -------------------------------------------------------------------------------------- */

/* What was computed from one prompt is not used for the next, on one model and one arena. */
static void second_prompt_is_its_own(void **state) {
    (void)state;
    settings_t first = usual(), second = usual();
    first.prompt = "an old man with a hat";
    first.negative = "blue";
    watch_t *alone = watched(&second), *w = malloc(sizeof *w);
    arena_t *arena = new_arena();
    run_on(arena, &first, w);
    assert_true(differ(w->image, alone->image, 3 * PIXELS));
    run_on(arena, &second, w);
    check_same(w->image, alone->image, 3 * PIXELS, "image of the second prompt");
    arena_destroy(arena);
    free(w);
    free(alone);
}

/* Keys and values of the prompt are computed in the first step, and only there. */
static void keys_are_computed_once(void **state) {
    (void)state;
    settings_t s = usual();
    s.form = MOLE_DIRECT;
    watch_t *w = watched(&s);
    assert_int_equal(w->inner_keys[0], 16 * 9); /* 16 attn2, base and two experts of four taps */
    for (size_t k = 1; k < STEPS; k++) assert_int_equal(w->inner_keys[k], 0);
    free(w);
}

static void both_prompts_matter(void **state) {
    (void)state;
    settings_t s = usual(), other = usual(), negative = usual();
    other.prompt = "two hands around a hat";
    negative.negative = "";
    watch_t *w = watched(&s), *o = watched(&other), *n = watched(&negative);
    /* Row 0 is the negative prompt's, row 1 the prompt's: the first step starts from equal latents. */
    check_same(o->pred[0], w->pred[0], N, "negative row");
    assert_true(differ(o->pred[0] + N, w->pred[0] + N, N));
    assert_true(differ(n->pred[0], w->pred[0], N));
    check_same(n->pred[0] + N, w->pred[0] + N, N, "conditional row");
    free(w);
    free(o);
    free(n);
}

/* A row of text that carries no weights is what it is without the syntax; one that does is not. */
static void weights_act_on_their_own_row(void **state) {
    (void)state;
    settings_t plain = usual(), prompt = usual(), negative = usual();
    prompt.options.syntax = negative.options.syntax = PROMPT_WEIGHTED;
    prompt.prompt = "two (hands:1.5) around a cup";
    negative.negative = "bad (face:1.5)";
    watch_t *w = watched(&plain), *p = watched(&prompt), *n = watched(&negative);
    check_same(p->pred[0], w->pred[0], N, "negative row");
    assert_true(differ(p->pred[0] + N, w->pred[0] + N, N));
    assert_true(differ(n->pred[0], w->pred[0], N));
    check_same(n->pred[0] + N, w->pred[0] + N, N, "conditional row");
    free(w);
    free(p);
    free(n);
}

static void cut_prompts_are_told(void **state) {
    (void)state;
    char longer[400] = "";
    for (size_t i = 0; i < 90; i++) strcat(longer, " a a");
    for (int which = 0; which < 4; which++) {
        err_t err;
        arena_t *arena = new_arena();
        run_t run = {.arena = arena, .matmul = MATMUL_BLAS};
        pipeline_prompt_t prompt = {which & 1 ? longer : "a", which & 2 ? longer : "a",
                                    NEGATIVE_ENCODED, true, PROMPT_DEFAULTS};
        pipeline_text_t text;
        if (pipeline_encode(&run, &model, &prompt, &text, &err)) fail_msg("%s", err.text);
        assert_int_equal(text.truncated[0], (which & 2) != 0);
        assert_int_equal(text.truncated[1], which & 1);
        arena_destroy(arena);
    }
}

/* ---- the steps ------------------------------------------------------------------------------------ */

/* Each step beside the run: guidance from the two rows, DDIM from what the run had. */
static void check_steps(const settings_t *s, const watch_t *w, real_t noise[STEPS][N]) {
    ddim_plan_t ddim;
    err_t err;
    if (ddim_plan(&ddim, &s->image.scheduler, STEPS, &err)) fail_msg("%s", err.text);
    for (size_t k = 0; k < STEPS; k++) {
        real_t expected[N];
        if (s->image.guidance_scale > 1)
            guidance(expected, w->pred[k], w->pred[k] + N, s->image.guidance_scale, N);
        else
            memcpy(expected, w->pred[k], sizeof expected);
        check_same(w->guided[k], expected, N, "guided");
        ddim_step(expected, &ddim, k, w->guided[k], w->latents[k], N, s->image.eta,
                  noise ? noise[k] : NULL);
        check_same(w->latents[k + 1], expected, N, "latents");
    }
    ddim_free(&ddim);
    assert_int_equal(w->latents_seen, STEPS + 1);
}

static void to_reals(real_t *out, const float *x) {
    for (size_t i = 0; i < N; i++) out[i] = (real_t)x[i];
}

/* torch.randn of the seed in torch's order, then one more draw of the same generator per step. */
static void cpu_noise(void **state) {
    (void)state;
    settings_t s = usual();
    s.image.eta = 1;
    s.image.scheduler.set_alpha_to_one = false; /* else the last step's noise counts nothing */
    watch_t *w = watched(&s);
    generator_t generator;
    float drawn[N];
    real_t first[N], noise[STEPS][N];
    noise_seed(&generator, s.image.seed);
    noise_randn(drawn, N, &generator);
    to_reals(first, drawn);
    for (size_t k = 0; k < STEPS; k++) {
        noise_randn(drawn, N, &generator);
        to_reals(noise[k], drawn);
    }
    check_same(w->latents[0], first, N, "first latents");
    check_steps(&s, w, noise);
    free(w);
}

/* CUDA's generator: every draw starts where the offset of the one before ended. */
static void cuda_noise(void **state) {
    (void)state;
    settings_t s = usual();
    s.image.eta = 0.5;
    s.image.scheduler.set_alpha_to_one = false;
    s.image.noise = NOISE_CUDA;
    watch_t *w = watched(&s);
    err_t err;
    float drawn[N];
    real_t first[N], noise[STEPS][N];
    uint64_t advance = noise_cuda_advance(N, 0);
    assert_int_equal(advance, 4);
    assert_int_equal(noise_randn_cuda(drawn, N, s.image.seed, 0, 0, &err), 0);
    to_reals(first, drawn);
    for (size_t k = 0; k < STEPS; k++) {
        assert_int_equal(noise_randn_cuda(drawn, N, s.image.seed, (k + 1) * advance, 0, &err), 0);
        to_reals(noise[k], drawn);
    }
    check_same(w->latents[0], first, N, "first latents");
    check_steps(&s, w, noise);
    free(w);
}

/* eta = 0 takes no draw. */
static void deterministic_steps(void **state) {
    (void)state;
    settings_t s = usual();
    watch_t *w = watched(&s);
    check_steps(&s, w, NULL);
    s.image.scheduler.set_alpha_to_one = false;
    s.image.scheduler.timestep_spacing = SPACING_TRAILING;
    watch_t *other = watched(&s);
    check_steps(&s, other, NULL);
    assert_true(differ(w->latents[STEPS], other->latents[STEPS], N));
    free(w);
    free(other);
}

/* A scale of 1 or less: one row, which is used as it is, and no negative prompt. */
static void unguided(void **state) {
    (void)state;
    settings_t s = usual(), other = usual();
    s.image.guidance_scale = other.image.guidance_scale = 1;
    other.negative = "something else";
    watch_t *w = watched(&s), *o = watched(&other);
    check_steps(&s, w, NULL);
    check_same(o->image, w->image, 3 * PIXELS, "image");
    free(w);
    free(o);
}

/* The caller's latents are the first, as they are. */
static void latents_of_the_caller(void **state) {
    (void)state;
    settings_t s = usual();
    real_t given[N];
    for (size_t i = 0; i < N; i++) given[i] = (real_t)sin(0.7 * (double)i);
    s.image.latents = given;
    watch_t *w = watched(&s);
    check_same(w->latents[0], given, N, "first latents");
    check_steps(&s, w, NULL);
    free(w);
}

/* ---- the picture ---------------------------------------------------------------------------------- */

/* (x / 2 + 1/2) held to 0..1; this run's decoder goes beyond. */
static void image_is_clamped(void **state) {
    (void)state;
    settings_t s = usual();
    size_t low = 0, high = 0;
    watch_t *w = watched(&s);
    for (size_t i = 0; i < 3 * PIXELS; i++) {
        double x = (double)w->decoder[i] / 2 + 0.5;
        low += x < 0;
        high += x > 1;
        assert_true(w->image[i] == (real_t)(x < 0 ? 0 : x > 1 ? 1 : x));
    }
    assert_true(low + high > 0);
    free(w);
}

static bool stop_at_second(void *who, size_t step, size_t steps) {
    (void)steps;
    ++*(size_t *)who;
    return step < 1;
}

static void a_stopped_run(void **state) {
    (void)state;
    settings_t s = usual();
    size_t calls = 0;
    err_t err;
    arena_t *arena = new_arena();
    run_t run = {.arena = arena, .matmul = MATMUL_BLAS};
    pipeline_text_t text;
    s.image.progress = stop_at_second;
    s.image.who = &calls;
    pipeline_prompt_t prompt = prompt_of(&s);
    assert_int_equal(pipeline_encode(&run, &model, &prompt, &text, &err), 0);
    real_t *image = arena_reals(arena, 3 * PIXELS);
    assert_int_equal(pipeline_generate(&run, &model, &text, &s.image, image, &err), -1);
    assert_int_equal(calls, 2);
    assert_non_null(strstr(err.text, "1 of 2"));
    arena_destroy(arena);
}

/* ---- parts that are done -------------------------------------------------------------------------- */

/* Is a file with this in its path mapped into this process? */
static bool is_mapped(const char *part) {
    static char line[4096];
    bool found = false;
    FILE *maps = fopen("/proc/self/maps", "r");
    if (!maps) return false;
    while (!found && fgets(line, sizeof line, maps)) found = strstr(line, part) != NULL;
    fclose(maps);
    return found;
}

/* Each part closed after its last use: the same picture, and the weights are gone from memory. */
static void dropped_parts(void **state) {
    settings_t s = usual();
    watch_t *w = watched(&s);
    close_model(state); /* whose files are mapped too */
    assert_int_equal(open_model(state), 0);
    arena_t *arena = new_arena();
    run_t run = {.arena = arena, .matmul = MATMUL_BLAS, .form = s.form};
    pipeline_text_t text;
    err_t err;
    real_t *image = arena_reals(arena, 3 * PIXELS), *latents = arena_reals(arena, N);
    bool in_place = sizeof(real_t) == sizeof(float); /* else widened, and the files are closed */
    assert_int_equal(pipeline_latents(&model, &s.image), N);

    pipeline_prompt_t prompt = prompt_of(&s);
    assert_int_equal(pipeline_embed(&run, &model, &prompt, &text, &err), 0);
    if (in_place) assert_true(is_mapped("sd15-tiny/text_encoder/"));
    pipeline_drop_text_encoders(&model);
    assert_null(model.text_encoder[0]);
    assert_false(is_mapped("sd15-tiny/text_encoder/"));

    pipeline_context(&run, &model, &text);
    assert_int_equal(pipeline_denoise(&run, &model, &text, &s.image, latents, &err), 0);
    if (in_place) assert_true(is_mapped("sd15-tiny/unet/") && is_mapped("face.safetensors"));
    pipeline_drop_unet(&model);
    assert_null(model.unet);
    assert_null(model.mole);
    assert_false(is_mapped("sd15-tiny/unet/") || is_mapped("sd15-tiny-mole/"));
    pipeline_decode(&run, &model, &s.image, latents, image);
    check_same(image, w->image, 3 * PIXELS, "image");

    close_model(state); /* of what is left */
    assert_int_equal(open_model(state), 0);
    arena_destroy(arena);
    free(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(second_prompt_is_its_own),
        cmocka_unit_test(keys_are_computed_once),
        cmocka_unit_test(both_prompts_matter),
        cmocka_unit_test(weights_act_on_their_own_row),
        cmocka_unit_test(cut_prompts_are_told),
        cmocka_unit_test(cpu_noise),
        cmocka_unit_test(cuda_noise),
        cmocka_unit_test(deterministic_steps),
        cmocka_unit_test(unguided),
        cmocka_unit_test(latents_of_the_caller),
        cmocka_unit_test(image_is_clamped),
        cmocka_unit_test(a_stopped_run),
        cmocka_unit_test(dropped_parts),
    };
    return cmocka_run_group_tests(tests, open_model, close_model);
}
