/* pipeline.h - prompt to pixels: what StableDiffusionPipeline does, with MoLE.
 *
 *   ids -> prompt_embeds -> [ latents -> noise_pred -> guided -> latents ] x steps -> image
 *
 * Read before: model/unet.h, sampler/sampler.h. */
#ifndef MOLE_PIPELINE_PIPELINE_H
#define MOLE_PIPELINE_PIPELINE_H

#include "core/notes.h"
#include "model/text_encoder.h"
#include "model/unet.h"
#include "model/vae.h"
#include "mole/mole_file.h"
#include "prompt/prompt.h"
#include "prompt/tokenizer.h"
#include "sampler/sampler.h"

/* ---- a model in memory ---------------------------------------------------------------------------- */

typedef struct {
    /* A diffusers pipeline folder (model_index.json, unet/, vae/, ...), a single-file checkpoint
     * (io/ldm.h), or a specification (io/synth.h). */
    const char *folder;
    const char *tokenizer; /* a tokenizer folder; NULL: the model's own */
    mole_files_t mole;     /* experts = 0: plain Stable Diffusion */
    bool allow_unused;     /* tensors that nothing uses are listed by `inspect`, not refused */
    bool scheduler_given;  /* the user says what a model predicts that does not say it itself */
    widen_t widen;         /* the matrices of the UNet's transformers, and experts with them */
    notes_t *notes;        /* gets what the user must know; NULL: nobody asks */
} pipeline_files_t;

enum { PIPELINE_TEXTS = 2, PIPELINE_COMPONENTS = PIPELINE_TEXTS + 2 };

/* What a pipeline is made of, and takes of its text encoders, by the class that model_index.json names. */
typedef struct {
    const char *class_name;
    size_t texts; /* text encoders, each with a tokenizer */
    text_use_t use[PIPELINE_TEXTS];
} pipeline_kind_t;

/* force_zeros_for_empty_prompt of a pipeline that has such a rule: what stands for a negative prompt that is
 * not given. */
typedef enum { EMPTY_NOT_SAID, EMPTY_ENCODED, EMPTY_ZEROS } empty_rule_t;

typedef struct {
    const pipeline_kind_t *kind;
    size_t texts; /* those that are open or were */
    tokenizer_t *tokenizer[PIPELINE_TEXTS];
    text_encoder_t *text_encoder[PIPELINE_TEXTS];
    unet_t *unet;
    vae_t *vae;
    mole_set_t *mole;         /* NULL without experts */
    mole_layer_t *mole_layer; /* (mole_layers), in the order of unet_mole_sites */
    size_t mole_layers;
    ddim_config_t scheduler; /* scheduler/scheduler_config.json; its class, or model_index.json's */
    char marked_by[256]; /* "tensor 'v_pred'": what the file of a model says of it (io/marks.h) */
    bool prediction_assumed; /* nothing says what the model predicts: v_prediction was taken */
    empty_rule_t empty;      /* of model_index.json */
} pipeline_t;

/* Load and check everything. Returns 0, or -1 and err; on success pipeline_close is due. */
int pipeline_open(pipeline_t *pipeline, const pipeline_files_t *files, err_t *err);
void pipeline_close(pipeline_t *pipeline);
/* The part of pipeline_open that wraps every Linear and 1x1 convolution of the UNet's
 * transformers: p->unet is open, p->mole not. Returns 0, or -1 and err. */
int pipeline_attach_experts(pipeline_t *pipeline, const mole_files_t *files, bool allow_unused,
                            err_t *err);

/* A component with weights. */
typedef struct {
    const char *name; /* its folder, and the first element of its taps' names: "text_encoder" */
    const weights_t *weights;
    modules_t modules;
    const char *unknown_keys; /* of its configuration */
} pipeline_component_t;

/* Those that are open, in the order of the run. Returns how many. */
size_t pipeline_components(const pipeline_t *pipeline,
                           pipeline_component_t component[PIPELINE_COMPONENTS]);
/* "text_encoder", "text_encoder_2"; "tokenizer", "tokenizer_2". */
const char *pipeline_text_encoder_name(size_t text);
const char *pipeline_tokenizer_name(size_t text);

/* The width and height that the model was made for, in pixels, and the unit they must be multiples of. */
size_t pipeline_default_size(const pipeline_t *pipeline);
size_t pipeline_size_unit(const pipeline_t *pipeline);

/* A part of the model by the name of its tap, "step.000/" passed over; NULL when none with weights has it. */
const module_t *pipeline_module(const pipeline_t *pipeline, const char *name);
/* The same for a ResnetBlock2D or Transformer2DModel; no step before the name. */
const block_t *pipeline_block(const pipeline_t *pipeline, const char *name);

/* Can this model run with these deviations? The pooled text times its projection unturned takes a model that
 * pools, and a projection as wide as its input. Returns 0, or -1 and err. */
int pipeline_check_deviations(const pipeline_t *pipeline, deviations_t deviations, err_t *err);

/* ---- one prompt ----------------------------------------------------------------------------------- */

/* What stands for a negative prompt that is not given: zeros, as diffusers' pipeline for two text encoders
 * has it; or the encoded empty text, as its other pipeline and the authors' scripts have it. */
typedef enum { NEGATIVE_ENCODED, NEGATIVE_ZEROS } negative_rule_t;

typedef struct {
    const char *text;
    const char *negative; /* NULL: not given */
    negative_rule_t rule;
    bool guided; /* false: the negative prompt plays no part */
    prompt_options_t syntax;
} pipeline_prompt_t;

/* The text side of a run, valid until the arena is released below it. */
typedef struct {
    size_t B, S;          /* B 2 with guidance: negative first; 1 without */
    real_t *embeds;       /* (B,S,D), of several encoders side by side */
    real_t *pooled;       /* (B,P), or NULL where the UNet takes none */
    context_kv_t context; /* filled in the first denoising step, kept for every further image */
    bool truncated[2];    /* tokens beyond the limit were cut off: [negative,] prompt */
} pipeline_text_t;

/* Taps: prompt_embeds (B,S,D), add_text_embeds (B,P). Returns 0, or -1 and err for text that cannot be
 * encoded. */
int pipeline_encode(const run_t *run, const pipeline_t *pipeline, const pipeline_prompt_t *prompt,
                    pipeline_text_t *text, err_t *err);
/* The two halves of it: the embeddings, for which the text encoders are needed; and room in the arena for
 * what the UNet makes of them, much larger, which one may release and take anew for every prompt. */
int pipeline_embed(const run_t *run, const pipeline_t *pipeline, const pipeline_prompt_t *prompt,
                   pipeline_text_t *text, err_t *err);
void pipeline_context(const run_t *run, const pipeline_t *pipeline, pipeline_text_t *text);

/* ---- one image ------------------------------------------------------------------------------------ */

typedef enum { NOISE_CPU, NOISE_CUDA } noise_source_t;

/* What a model of two text encoders is told of the picture's size, by diffusers' names, height (top) first. A
 * size of 0 x 0 stands for the picture's own. */
typedef struct {
    size_t original_size[2], crops_coords_top_left[2], target_size[2];
} size_conditioning_t;

typedef struct {
    size_t width, height; /* pixels; multiples of pipeline_size_unit */
    size_t steps;
    double guidance_scale; /* above 1: guided, and text.B must be 2 */
    double eta;            /* 0: deterministic */
    uint64_t seed;
    noise_source_t noise;
    const real_t *latents;   /* (1,C,H,W) to start from, or NULL: torch.randn of the seed */
    ddim_config_t scheduler; /* the settings to run with */
    sampler_choice_t sampler;
    size_conditioning_t size; /* of a UNet that is told it */

    /* Called before every step and before decoding (step == steps). Returning false stops the run. May
     * be NULL. */
    bool (*progress)(void *who, size_t step, size_t steps);
    void *who;
} pipeline_image_t;

/* Bytes of the arena that pipeline_generate and an image of `settings` take at most, beside what `text`
 * already holds there: the larger of what the two halves take. */
size_t pipeline_memory_denoise(const run_t *run, const pipeline_t *pipeline,
                               const pipeline_text_t *text, const pipeline_image_t *settings);
size_t pipeline_memory(const run_t *run, const pipeline_t *pipeline, const pipeline_text_t *text,
                       const pipeline_image_t *settings);
/* Is so much left of run->arena? 0, or -1 and err. A larger picture would break the arena's contract. */
int pipeline_check_memory(const run_t *run, const pipeline_t *pipeline, const pipeline_text_t *text,
                          const pipeline_image_t *settings, err_t *err);

/* image (1,3,height,width), row-major, in 0..1. Taps: add_time_ids (B,6), latents, then in every step
 * step.NNN/ with all of the UNet's, noise_pred (B,C,H,W), guided, latents; then vae.*, image. Returns 0, or
 * -1 and err (settings that make no schedule; stopped). */
int pipeline_generate(const run_t *run, const pipeline_t *pipeline, pipeline_text_t *text,
                      const pipeline_image_t *settings, real_t *image, err_t *err);

/* The two halves of it. latents (1,C,H,W), pipeline_latents numbers: the last step's; decode scales them in
 * place. denoise needs the UNet, decode does not. */
size_t pipeline_latents(const pipeline_t *pipeline, const pipeline_image_t *settings);
int pipeline_denoise(const run_t *run, const pipeline_t *pipeline, pipeline_text_t *text,
                     const pipeline_image_t *settings, real_t *latents, err_t *err);
void pipeline_decode(const run_t *run, const pipeline_t *pipeline, const pipeline_image_t *settings,
                     real_t *latents, real_t *image);

/* Close a part that is done, so that its weights are no longer in memory: the text encoders after the last
 * prompt, the UNet and the experts after the last denoising. What is left works as before; functions that
 * need the part must not be called any more, pipeline_module among them. */
void pipeline_drop_text_encoders(pipeline_t *pipeline);
void pipeline_drop_unet(pipeline_t *pipeline);

/* pixels (H,W,3) = round(255 image), ties to even as numpy's round has them; image (1,3,H,W) in 0..1. */
void pipeline_to_rgb8(uint8_t *pixels, const real_t *image, size_t height, size_t width);

#endif
