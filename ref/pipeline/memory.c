/* memory.c - how much of the arena a picture needs; see pipeline_memory in pipeline.h.
 *
 * What a network takes is counted beside its code (unet_work, vae_work); here is what the run holds besides.
 * tests/pipeline/test_memory.c holds both against the arena's peak. */
#include "pipeline/pipeline.h"

/* Rounding to cache lines, guards of debug builds, bookkeeping of a few dozen blocks. */
enum { SLACK_BYTES = 32 << 10 };

/* The picture, the latents, the noise and its buffer; six numbers for each text. */
static size_t always(const pipeline_t *p, const pipeline_image_t *settings) {
    return 3 * settings->width * settings->height + 3 * pipeline_latents(p, settings) +
           2 * UNET_TIME_IDS;
}

size_t pipeline_memory_denoise(const run_t *run, const pipeline_t *p, const pipeline_text_t *text,
                               const pipeline_image_t *settings) {
    size_t unit = vae_scale(p->vae), H = settings->height / unit, W = settings->width / unit;
    size_t batch = 2 * text->B * pipeline_latents(p, settings); /* sample and prediction */
    return SLACK_BYTES + sizeof(real_t) * (always(p, settings) + batch +
                                           unet_work(run, p->unet, text->B, text->S, H, W));
}

static size_t memory_decode(const run_t *run, const pipeline_t *p,
                            const pipeline_image_t *settings) {
    size_t unit = vae_scale(p->vae), H = settings->height / unit, W = settings->width / unit;
    return SLACK_BYTES + sizeof(real_t) * (always(p, settings) + vae_work(run, p->vae, 1, H, W));
}

size_t pipeline_memory(const run_t *run, const pipeline_t *p, const pipeline_text_t *text,
                       const pipeline_image_t *settings) {
    size_t denoise = pipeline_memory_denoise(run, p, text, settings);
    size_t decode = memory_decode(run, p, settings);
    return denoise > decode ? denoise : decode;
}

int pipeline_check_memory(const run_t *run, const pipeline_t *p, const pipeline_text_t *text,
                          const pipeline_image_t *settings, err_t *err) {
    size_t need = pipeline_memory(run, p, text, settings), left = arena_left(run->arena);
    if (need <= left) return 0;
    return err_set(err,
                   "%zu x %zu pixels need about %zu MiB of memory beside the weights; this machine "
                   "has %zu MiB. Choose a smaller --width or --height.",
                   settings->width, settings->height, need >> 20, left >> 20);
}
