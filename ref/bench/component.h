/* component.h - one part of the pipeline by itself, to be run again and again on made-up inputs. */
#ifndef MOLE_BENCH_COMPONENT_H
#define MOLE_BENCH_COMPONENT_H

#include "bench/profile.h"
#include "pipeline/pipeline.h"

typedef enum {
    COMPONENT_TEXT_ENCODER, /* 77 tokens (or as many as the model has positions) of each of the batch */
    COMPONENT_TEXT_ENCODER_2,
    COMPONENT_UNET, /* one denoising step; with experts when files name some */
    COMPONENT_VAE_DECODER
} component_kind_t;

typedef struct component component_t;

/* Does the model have that part? */
bool component_exists(component_kind_t kind, const pipeline_files_t *files);

/* Opens that part and no other. width and height in pixels, multiples of the model's unit; 0: the UNet's own
 * size, and 512 for the VAE.
 * Of `run` matmul, conv and form count. Returns 0, or -1 and err. */
int component_open(component_t **component, component_kind_t kind, const pipeline_files_t *files,
                   const run_t *run, size_t batch, size_t width, size_t height, err_t *err);
void component_close(component_t *component);

/* Run once. The UNet's first run also computes cross-attention's keys and values, which are kept. */
void component_run(component_t *component, tap_sink_t *sink);

/* Bytes of all weights of the part, experts included, as float32 or float64. */
size_t component_weight_bytes(const component_t *component);
/* Operations of a run after the first, in 10^9 (see profile.h); runs it once. */
double component_gflop(component_t *component);

#endif
