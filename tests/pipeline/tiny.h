/* tiny.h - runs of the golden model, sd15-tiny, for tests of the pipeline. */
#ifndef MOLE_TESTS_PIPELINE_TINY_H
#define MOLE_TESTS_PIPELINE_TINY_H

#include "../fixture.h"
#include "pipeline/pipeline.h"

/* The model, with both experts and gates or plain; closed with pipeline_close. */
pipeline_t tiny_open(bool with_mole);

/* What a run is made of; tiny_usual is where to start from. */
typedef struct {
    run_t run; /* sink, matmul, form; the arena is made and freed by tiny_picture */
    int threads;
    pipeline_image_t image;
    const char *prompt, *negative;
} tiny_run_t;
tiny_run_t tiny_usual(void); /* 32 x 24 pixels, 2 steps, guided, BLAS, stacked, seed 1, 2 threads */

typedef struct {
    size_t latents, pixels;
    real_t *latent, *image; /* the last latents, and (3,height,width); until fixture_free */
} tiny_picture_t;

tiny_picture_t tiny_picture(const pipeline_t *pipeline, const tiny_run_t *settings);

/* An arena, a text encoded in it, and a picture from both: the parts of tiny_picture. */
void tiny_start(const pipeline_t *pipeline, const tiny_run_t *settings, run_t *run,
                pipeline_text_t *text);
tiny_picture_t tiny_draw(const pipeline_t *pipeline, const tiny_run_t *settings, const run_t *run,
                         pipeline_text_t *text);

/* Fails unless both are the same, bit for bit. */
void tiny_same(const tiny_picture_t *a, const tiny_picture_t *b, const char *what);
/* max |a - b| / max |b| over the latents. */
double tiny_distance(const tiny_picture_t *a, const tiny_picture_t *b);

#endif
