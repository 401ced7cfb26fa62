/* pipeline.c - see pipeline.h: denoise with guidance, decode. The texts are encoded in pipeline_text.c. */
#include "pipeline/pipeline.h"

#include <math.h>
#include <stdlib.h>

#include "core/tap_name.h"
#include "io/trace.h"
#include "sampler/noise.h"

/* One denoising step on latents (1,C,H,W), in place. noise: for eta > 0, else NULL. */
static void denoise(const run_t *run, const pipeline_t *p, pipeline_text_t *text,
                    const pipeline_image_t *settings, const sampler_t *sampler, size_t step,
                    real_t *latents, const real_t *noise, size_t C, size_t H, size_t W) {
    size_t n = C * H * W, B = text->B;
    view_t one = {SHAPE4(1, C, H, W), LAYOUT_TORCH}, batch = {SHAPE4(B, C, H, W), LAYOUT_TORCH};
    arena_mark_t mark = arena_mark(run->arena);
    real_t *sample = arena_reals(run->arena, B * n), *pred = arena_reals(run->arena, B * n);
    for (size_t b = 0; b < B; b++) sampler_scale_input(sample + b * n, sampler, step, latents, n);

    unet_forward(run, p->unet, pred, sample, sampler_timestep(sampler, step), &text->context, H, W);
    tap(run->sink, "noise_pred", pred, batch);
    if (B == 2) guidance(pred, pred, pred + n, settings->guidance_scale, n);
    tap(run->sink, "guided", pred, one);
    sampler_step(latents, sampler, step, pred, latents, n, noise);
    tap(run->sink, "latents", latents, one);
    arena_release(run->arena, mark);
}

/* out (n) from torch's generator: the next randn of the CPU's, or a fresh one of CUDA's. */
static int draw(real_t *out, float *buffer, size_t n, const pipeline_image_t *settings,
                generator_t *generator, uint64_t *offset, err_t *err) {
    if (settings->noise == NOISE_CPU) {
        noise_randn(buffer, n, generator);
    } else {
        if (noise_randn_cuda(buffer, n, settings->seed, *offset, 0, err)) return -1;
        *offset += noise_cuda_advance(n, 0);
    }
    for (size_t j = 0; j < n; j++) out[j] = (real_t)buffer[j];
    return 0;
}

static int denoise_all(const run_t *run, const pipeline_t *p, pipeline_text_t *text,
                       const pipeline_image_t *settings, const sampler_t *sampler, real_t *latents,
                       size_t C, size_t H, size_t W, err_t *err) {
    size_t n = C * H * W;
    uint64_t offset = 0;
    generator_t generator;
    noise_seed(&generator, settings->seed);
    real_t *noise = arena_reals(run->arena, n);
    float *buffer = arena_bytes(run->arena, n * sizeof *buffer);

    if (settings->latents)
        for (size_t j = 0; j < n; j++) latents[j] = settings->latents[j];
    else if (draw(latents, buffer, n, settings, &generator, &offset, err))
        return -1;
    sampler_start(sampler, latents, n);
    tap(run->sink, "latents", latents, (view_t){SHAPE4(1, C, H, W), LAYOUT_TORCH});

    for (size_t k = 0; k < sampler->steps; k++) {
        if (settings->progress && !settings->progress(settings->who, k, sampler->steps))
            return err_set(err, "stopped after %zu of %zu steps", k, sampler->steps);
        bool noisy = settings->eta > 0;
        if (noisy && draw(noise, buffer, n, settings, &generator, &offset, err)) return -1;

        char text_prefix[STEP_PREFIX];
        tap_prefix_t prefix = tap_prefix(run->sink, tap_step(text_prefix, k));
        run_t step = *run;
        step.sink = tap_prefix_sink(&prefix);
        denoise(&step, p, text, settings, sampler, k, latents, noisy ? noise : NULL, C, H, W);
    }
    if (settings->progress && !settings->progress(settings->who, sampler->steps, sampler->steps))
        return err_set(err, "stopped before decoding");
    return 0;
}

/* A size, or the picture's own where it is 0 x 0. */
static void put_size(real_t *ids, const size_t size[2], const pipeline_image_t *image) {
    bool own = size[0] == 0 && size[1] == 0;
    ids[0] = (real_t)(own ? image->height : size[0]);
    ids[1] = (real_t)(own ? image->width : size[1]);
}

/* The same six numbers for every text: original size, corner, target size. */
static void add_time_ids(const run_t *run, pipeline_text_t *text, const pipeline_image_t *image) {
    real_t *ids = arena_reals(run->arena, text->B * UNET_TIME_IDS);
    put_size(ids, image->size.original_size, image);
    for (size_t i = 0; i < 2; i++) ids[2 + i] = (real_t)image->size.crops_coords_top_left[i];
    put_size(ids + 4, image->size.target_size, image);
    for (size_t i = UNET_TIME_IDS; i < text->B * UNET_TIME_IDS; i++)
        ids[i] = ids[i % UNET_TIME_IDS];
    text->context.given.time_ids = ids;
    tap(run->sink, "add_time_ids", ids, VIEW_ROWS(text->B, UNET_TIME_IDS));
}

int pipeline_denoise(const run_t *run, const pipeline_t *p, pipeline_text_t *text,
                     const pipeline_image_t *settings, real_t *latents, err_t *err) {
    size_t C = vae_config(p->vae)->latent_channels, unit = vae_scale(p->vae);
    size_t H = settings->height / unit, W = settings->width / unit;
    REQUIRE(H && W && H * unit == settings->height && W * unit == settings->width,
            "pipeline: %zu x %zu pixels, unit %zu", settings->width, settings->height, unit);
    REQUIRE(text->B == (settings->guidance_scale > 1 ? 2 : 1), "pipeline: %zu texts, guidance %g",
            text->B, settings->guidance_scale);
    sampler_t sampler;
    if (sampler_plan(&sampler, settings->sampler, &settings->scheduler, settings->steps,
                     settings->eta, err))
        return -1;
    arena_mark_t mark = arena_mark(run->arena);
    if (text->pooled) add_time_ids(run, text, settings);
    int status = denoise_all(run, p, text, settings, &sampler, latents, C, H, W, err);
    arena_release(run->arena, mark);
    sampler_free(&sampler);
    return status;
}

void pipeline_decode(const run_t *run, const pipeline_t *p, const pipeline_image_t *settings,
                     real_t *latents, real_t *image) {
    const vae_config_t *vae = vae_config(p->vae);
    size_t unit = vae_scale(p->vae), H = settings->height / unit, W = settings->width / unit;
    size_t n = vae->latent_channels * H * W, pixels = 3 * settings->height * settings->width;
    for (size_t j = 0; j < n; j++) latents[j] = (real_t)((acc_t)latents[j] / vae->scaling_factor);
    vae_decode(run, p->vae, image, latents, 1, H, W);
    for (size_t j = 0; j < pixels; j++) { /* as torch.clamp: NaN stays NaN */
        acc_t x = (acc_t)image[j] / 2 + 0.5;
        image[j] = (real_t)(x < 0 ? 0 : x > 1 ? 1 : x);
    }
    view_t view = {SHAPE4(1, 3, settings->height, settings->width), LAYOUT_TORCH};
    tap(run->sink, "image", image, view);
}

int pipeline_generate(const run_t *run, const pipeline_t *p, pipeline_text_t *text,
                      const pipeline_image_t *settings, real_t *image, err_t *err) {
    arena_mark_t mark = arena_mark(run->arena);
    real_t *latents = arena_reals(run->arena, pipeline_latents(p, settings));
    int status = pipeline_denoise(run, p, text, settings, latents, err);
    if (!status) pipeline_decode(run, p, settings, latents, image);
    arena_release(run->arena, mark);
    return status;
}

/* ---- parts that are done -------------------------------------------------------------------------- */

size_t pipeline_latents(const pipeline_t *p, const pipeline_image_t *settings) {
    size_t unit = vae_scale(p->vae);
    return vae_config(p->vae)->latent_channels * (settings->height / unit) *
           (settings->width / unit);
}

void pipeline_drop_text_encoders(pipeline_t *p) {
    for (size_t i = 0; i < p->texts; i++) {
        text_encoder_close(p->text_encoder[i]);
        p->text_encoder[i] = NULL;
    }
}

void pipeline_drop_unet(pipeline_t *p) {
    unet_close(p->unet);
    mole_set_free(p->mole);
    free(p->mole_layer);
    p->unet = NULL;
    p->mole = NULL;
    p->mole_layer = NULL;
    p->mole_layers = 0;
}

void pipeline_to_rgb8(uint8_t *pixels, const real_t *image, size_t height, size_t width) {
    size_t P = height * width;
    for (size_t p = 0; p < P; p++)
        for (size_t c = 0; c < 3; c++)
            pixels[p * 3 + c] =
                isnan(image[c * P + p]) ? 0 : (uint8_t)nearbyint(255.0 * (acc_t)image[c * P + p]);
}
