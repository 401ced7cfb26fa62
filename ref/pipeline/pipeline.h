/* pipeline.h - prompt to pixels: what StableDiffusionPipeline does, with MoLE.
 *
 *   ids -> prompt_embeds -> [ latents -> noise_pred -> guided -> latents ] x steps -> image
 *
 * Read before: model/unet.h, sampler/ddim.h. */
#ifndef MOLE_PIPELINE_PIPELINE_H
#define MOLE_PIPELINE_PIPELINE_H

#include "core/notes.h"
#include "model/text_encoder.h"
#include "model/unet.h"
#include "model/vae.h"
#include "mole/mole_file.h"
#include "prompt/prompt.h"
#include "prompt/tokenizer.h"
#include "sampler/ddim.h"

/* ---- a model in memory ---------------------------------------------------------------------------- */

typedef struct {
    /* A diffusers pipeline folder (model_index.json, unet/, vae/, ...), a single-file checkpoint
     * (io/ldm.h), or a specification (io/synth.h). */
    const char *folder;
    const char *tokenizer; /* a tokenizer folder; NULL: the model's own */
    mole_files_t mole;     /* experts = 0: plain Stable Diffusion */
    bool allow_unused;     /* tensors that nothing uses are listed by `inspect`, not refused */
    notes_t *notes;        /* gets what the user must know; NULL: nobody asks */
} pipeline_files_t;

typedef struct {
    tokenizer_t *tokenizer;
    text_encoder_t *text_encoder;
    unet_t *unet;
    vae_t *vae;
    mole_set_t *mole;         /* NULL without experts */
    mole_layer_t *mole_layer; /* (mole_layers), in the order of unet_mole_sites */
    size_t mole_layers;
    ddim_config_t scheduler; /* scheduler/scheduler_config.json; its class, or model_index.json's */
    char marked_by[256]; /* "tensor 'v_pred'": what the file of a model says of it (io/marks.h) */
} pipeline_t;

/* Load and check everything. Returns 0, or -1 and err; on success pipeline_close is due. */
int pipeline_open(pipeline_t *pipeline, const pipeline_files_t *files, err_t *err);
void pipeline_close(pipeline_t *pipeline);
/* The part of pipeline_open that wraps every Linear and 1x1 convolution of the UNet's
 * transformers: p->unet is open, p->mole not. Returns 0, or -1 and err. */
int pipeline_attach_experts(pipeline_t *pipeline, const mole_files_t *files, bool allow_unused,
                            err_t *err);

/* The width and height that the model was made for, in pixels, and the unit they must be multiples of. */
size_t pipeline_default_size(const pipeline_t *pipeline);
size_t pipeline_size_unit(const pipeline_t *pipeline);

/* A part of the model by the name of its tap, "step.000/" passed over; NULL when none with weights has it. */
const module_t *pipeline_module(const pipeline_t *pipeline, const char *name);
/* The same for a ResnetBlock2D or Transformer2DModel; no step before the name. */
const block_t *pipeline_block(const pipeline_t *pipeline, const char *name);

/* ---- one prompt ----------------------------------------------------------------------------------- */

/* The text side of a run, valid until the arena is released below it. */
typedef struct {
    size_t B, S;          /* B 2 with guidance: negative first; 1 without */
    real_t *embeds;       /* (B,S,D) */
    context_kv_t context; /* filled in the first denoising step, kept for every further image */
    bool truncated[2];    /* tokens beyond the limit were cut off: [negative,] prompt */
} pipeline_text_t;

/* Tap: prompt_embeds (B,S,D). guided = false: the negative prompt plays no part. Returns 0, or -1 and
 * err for text that cannot be encoded. */
int pipeline_encode(const run_t *run, const pipeline_t *pipeline, const char *prompt,
                    const char *negative, bool guided, const prompt_options_t *options,
                    pipeline_text_t *text, err_t *err);
/* The two halves of it: the embeddings, for which the text encoder is needed; and room in the arena for what
 * the UNet makes of them, much larger, which one may release and take anew for every prompt. */
int pipeline_embed(const run_t *run, const pipeline_t *pipeline, const char *prompt,
                   const char *negative, bool guided, const prompt_options_t *options,
                   pipeline_text_t *text, err_t *err);
void pipeline_context(const run_t *run, const pipeline_t *pipeline, pipeline_text_t *text);

/* ---- one image ------------------------------------------------------------------------------------ */

typedef enum { NOISE_CPU, NOISE_CUDA } noise_source_t;

typedef struct {
    size_t width, height; /* pixels; multiples of pipeline_size_unit */
    size_t steps;
    double guidance_scale; /* above 1: guided, and text.B must be 2 */
    double eta;            /* 0: deterministic DDIM */
    uint64_t seed;
    noise_source_t noise;
    const real_t *latents;   /* (1,C,H,W) to start from, or NULL: torch.randn of the seed */
    ddim_config_t scheduler; /* the settings to run with */

    /* Called before every step and before decoding (step == steps). Returning false stops the run. May
     * be NULL. */
    bool (*progress)(void *who, size_t step, size_t steps);
    void *who;
} pipeline_image_t;

/* Bytes of the arena that pipeline_generate and an image of `settings` take at most, beside what `text`
 * already holds there: a bound from the configurations, within twice of what is really used. */
size_t pipeline_memory(const run_t *run, const pipeline_t *pipeline, const pipeline_text_t *text,
                       const pipeline_image_t *settings);
/* Is so much left of run->arena? 0, or -1 and err. A larger picture would break the arena's contract. */
int pipeline_check_memory(const run_t *run, const pipeline_t *pipeline, const pipeline_text_t *text,
                          const pipeline_image_t *settings, err_t *err);

/* image (1,3,height,width), row-major, in 0..1. Taps: latents, then in every step step.NNN/ with all of
 * the UNet's, noise_pred (B,C,H,W), guided, latents; then vae.*, image. Returns 0, or -1 and err
 * (settings that make no schedule; stopped). */
int pipeline_generate(const run_t *run, const pipeline_t *pipeline, pipeline_text_t *text,
                      const pipeline_image_t *settings, real_t *image, err_t *err);

/* The two halves of it. latents (1,C,H,W), pipeline_latents numbers: the last step's; decode scales them in
 * place. denoise needs the UNet, decode does not. */
size_t pipeline_latents(const pipeline_t *pipeline, const pipeline_image_t *settings);
int pipeline_denoise(const run_t *run, const pipeline_t *pipeline, pipeline_text_t *text,
                     const pipeline_image_t *settings, real_t *latents, err_t *err);
void pipeline_decode(const run_t *run, const pipeline_t *pipeline, const pipeline_image_t *settings,
                     real_t *latents, real_t *image);

/* Close a part that is done, so that its weights are no longer in memory: the text encoder after the last
 * prompt, the UNet and the experts after the last denoising. What is left works as before; functions that
 * need the part must not be called any more, pipeline_module among them. */
void pipeline_drop_text_encoder(pipeline_t *pipeline);
void pipeline_drop_unet(pipeline_t *pipeline);

/* pixels (H,W,3) = round(255 image), ties to even as numpy's round has them; image (1,3,H,W) in 0..1. */
void pipeline_to_rgb8(uint8_t *pixels, const real_t *image, size_t height, size_t width);

#endif
