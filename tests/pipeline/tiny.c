/* tiny.c - see tiny.h. */
#include "tiny.h"

#include <math.h>
#include <omp.h>
#include <string.h>

#define EXPERTS "golden/models/sd15-tiny-mole/"

pipeline_t tiny_open(bool with_mole) {
    pipeline_files_t files = {.folder = "golden/models/sd15-tiny"};
    if (with_mole)
        files.mole =
            (mole_files_t){.experts = 2,
                           .name = {"face", "hand"},
                           .path = {EXPERTS "face.safetensors", EXPERTS "hand.safetensors"},
                           .gates = EXPERTS "gates.safetensors"};
    pipeline_t pipeline;
    err_t err = {""};
    if (pipeline_open(&pipeline, &files, &err)) fail_msg("%s", err.text);
    return pipeline;
}

tiny_run_t tiny_usual(void) {
    return (tiny_run_t){.run = {.matmul = MATMUL_BLAS, .form = MOLE_STACKED},
                        .threads = 2,
                        .prompt = "a portrait, waving",
                        .negative = "blurry",
                        .image = {.width = 32,
                                  .height = 24,
                                  .steps = 2,
                                  .guidance_scale = 7.5,
                                  .seed = 1,
                                  .scheduler = ddim_config_authors}};
}

/* Remembers the latents that came last, and passes every tap on. */
typedef struct {
    tap_sink_t sink, *next;
    tiny_picture_t *picture;
} listener_t;

static void hear(tap_sink_t *self, const char *name, real_t *x, view_t view) {
    listener_t *l = (listener_t *)self;
    if (l->next) l->next->tap(l->next, name, x, view);
    size_t length = strlen(name), n = shape_count(view.shape);
    if (length < 7 || strcmp(name + length - 7, "latents") != 0) return;
    if (!l->picture->latent) l->picture->latent = fixture_bytes(n * sizeof *x);
    l->picture->latents = n;
    memcpy(l->picture->latent, x, n * sizeof *x);
}

void tiny_start(const pipeline_t *pipeline, const tiny_run_t *settings, run_t *run,
                pipeline_text_t *text) {
    err_t err = {""};
    *run = settings->run;
    omp_set_num_threads(settings->threads);
    if (arena_create(&run->arena, 0, &err)) fail_msg("%s", err.text);
    pipeline_prompt_t prompt = {.text = settings->prompt,
                                .negative = settings->negative,
                                .guided = settings->image.guidance_scale > 1,
                                .syntax = PROMPT_DEFAULTS};
    if (pipeline_encode(run, pipeline, &prompt, text, &err)) fail_msg("%s", err.text);
}

tiny_picture_t tiny_draw(const pipeline_t *pipeline, const tiny_run_t *settings, const run_t *run,
                         pipeline_text_t *text) {
    err_t err = {""};
    tiny_picture_t picture = {.pixels = 3 * settings->image.width * settings->image.height};
    picture.image = fixture_blank(picture.pixels);
    listener_t listener = {{hear, false}, run->sink, &picture};
    run_t heard = *run;
    heard.sink = &listener.sink;
    if (pipeline_generate(&heard, pipeline, text, &settings->image, picture.image, &err))
        fail_msg("%s", err.text);
    return picture;
}

tiny_picture_t tiny_picture(const pipeline_t *pipeline, const tiny_run_t *settings) {
    run_t run;
    pipeline_text_t text;
    tiny_start(pipeline, settings, &run, &text);
    tiny_picture_t picture = tiny_draw(pipeline, settings, &run, &text);
    arena_destroy(run.arena);
    return picture;
}

void tiny_same(const tiny_picture_t *a, const tiny_picture_t *b, const char *what) {
    assert_int_equal(a->latents, b->latents);
    assert_int_equal(a->pixels, b->pixels);
    for (size_t i = 0; i < a->latents; i++)
        if (memcmp(&a->latent[i], &b->latent[i], sizeof(real_t)) != 0)
            fail_msg("%s: latent %zu is %.17g and %.17g", what, i, (double)a->latent[i],
                     (double)b->latent[i]);
    if (memcmp(a->image, b->image, a->pixels * sizeof(real_t)) != 0)
        fail_msg("%s: equal latents, but not equal pixels", what);
}

double tiny_distance(const tiny_picture_t *a, const tiny_picture_t *b) {
    double worst = 0, scale = 0;
    assert_int_equal(a->latents, b->latents);
    for (size_t i = 0; i < a->latents; i++) {
        worst = fmax(worst, fabs((double)a->latent[i] - (double)b->latent[i]));
        scale = fmax(scale, fabs((double)b->latent[i]));
    }
    return worst / scale;
}
