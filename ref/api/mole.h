/* mole.h - the reference as a library: operations, the MoLE layer, torch's random numbers, DDIM, the
 * tokenizer and whole models, for a program or a test that wants to ask "what should this be?".
 *
 * Two libraries have the same functions: libmole-f32 computes with float, libmole-f64 with double.
 * Define MOLE_F64 for the second (pkg-config --cflags mole-f64 does); linking the other one then fails.
 * A process that wants both loads them with dlopen and RTLD_LOCAL, as Python's ctypes does.
 *
 * Rules for every function. Tensors are row-major in torch's dimension order: images (B,C,H,W), tokens
 * (B,T,C). The caller owns all memory; scratch is allocated and freed inside. `out` comes first and
 * overlaps no input unless its entry says "out may be x". Every dimension is at least 1. Returns 0, or
 * -1 with one sentence in error->text (error may be NULL); out then holds nothing of worth. Pointers
 * must be good for as many numbers as the shapes say: the one thing that cannot be checked.
 * Nothing is global but what libraries below keep (OpenMP's threads): calls from several threads are
 * fine, one at a time for each handle.
 *
 * Letters: B batch, T query tokens, S context tokens, C channels (Ci in, Co out), H W height and width,
 * P = H*W, M rows, N columns, K summed length, NH heads, D width of a head, G groups, E experts, R rank. */
#ifndef MOLE_H
#define MOLE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MOLE_VERSION "0.1.0"

#if defined(__GNUC__)
#define MOLE_API  __attribute__((visibility("default")))
#define MOLE_KEPT __attribute__((used))
#else
#define MOLE_API
#define MOLE_KEPT
#endif

#ifdef MOLE_F64
typedef double mole_real_t;
#define MOLE_BUILT_FOR mole_built_for_f64
#else
typedef float mole_real_t;
#define MOLE_BUILT_FOR mole_built_for_f32
#endif

/* A program compiled for one precision does not link with the library of the other: that one has no
 * symbol of this name. */
MOLE_API extern const char MOLE_BUILT_FOR;
static const char *const mole_built_for MOLE_KEPT = &MOLE_BUILT_FOR;

typedef struct {
    char text[2048];
} mole_error_t;

/* MOLE_VERSION of the library that is in use; "f32" or "f64". */
MOLE_API const char *mole_version(void);
MOLE_API const char *mole_precision(void);

/* At most so many threads from now on, for calls from this thread. Results do not depend on it. */
MOLE_API int mole_set_threads(size_t threads, mole_error_t *error);

/* How matrix products are computed: by OpenBLAS, or by loops that define the result (sums in index
 * order, in double, rounded once; the same bits on every run). */
typedef enum { MOLE_BLAS, MOLE_PLAIN } mole_how_t;

/* ---- matrix products --------------------------------------------------------------------------------- */

/* matmul                torch.matmul(a, b), or a @ b.T with b_transposed
 *   out[m,n] = sum_k a[m,k] b[k,n]          (b_transposed: b[n,k])
 *   accumulate: the sum is added to what out holds
 *   out (M,N), a (M,K), b (K,N) or (N,K) */
MOLE_API int mole_matmul(mole_real_t *out, const mole_real_t *a, const mole_real_t *b,
                         int b_transposed, int accumulate, size_t M, size_t N, size_t K,
                         mole_how_t how, mole_error_t *error);

/* linear                torch.nn.functional.linear
 *   out[m,n] = sum_k x[m,k] weight[n,k] + bias[n]
 *   out (M,N), x (M,K), weight (N,K), bias (N) or NULL */
MOLE_API int mole_linear(mole_real_t *out, const mole_real_t *x, const mole_real_t *weight,
                         const mole_real_t *bias, size_t M, size_t K, size_t N, mole_how_t how,
                         mole_error_t *error);

/* linear_scaled         scale * torch.nn.functional.linear(x, weight); shapes as above */
MOLE_API int mole_linear_scaled(mole_real_t *out, const mole_real_t *x, const mole_real_t *weight,
                                double scale, size_t M, size_t K, size_t N, mole_how_t how,
                                mole_error_t *error);

/* ---- convolution ------------------------------------------------------------------------------------- */

/* Zero padding in torch.nn.functional.pad's order. */
typedef struct {
    size_t left, right, top, bottom;
} mole_padding_t;

/* *out = (n + before + after - kernel) / stride + 1: height or width of a convolution's result */
MOLE_API int mole_conv2d_out(size_t *out, size_t n, size_t before, size_t after, size_t kernel,
                             size_t stride, mole_error_t *error);

/* conv2d                torch.nn.functional.conv2d (dilation 1, groups 1) after torch.nn.functional.pad
 *   out[b,o,y,x] = bias[o] + sum_{i,u,v} weight[o,i,u,v] x[b,i, y*stride+u-top, x*stride+v-left]
 *   x (B,Ci,H,W), weight (Co,Ci,kernel_h,kernel_w), bias (Co) or NULL, out (B,Co,Ho,Wo) */
MOLE_API int mole_conv2d(mole_real_t *out, const mole_real_t *x, const mole_real_t *weight,
                         const mole_real_t *bias, size_t B, size_t Ci, size_t H, size_t W,
                         size_t Co, size_t kernel_h, size_t kernel_w, size_t stride,
                         const mole_padding_t *padding, mole_how_t how, mole_error_t *error);

/* ---- normalisation ----------------------------------------------------------------------------------- */

/* group_norm            torch.nn.functional.group_norm; Wu & He 2018, section 3
 *   out[b,c,p] = (x[b,c,p] - mean) / sqrt(var + eps) * weight[c] + bias[c]
 *   mean, var over the C/G channels of c's group and all p; var divides by their number, not one less
 *   out, x (B,C,P); weight, bias (C); out may be x; G divides C; eps > 0 */
MOLE_API int mole_group_norm(mole_real_t *out, const mole_real_t *x, const mole_real_t *weight,
                             const mole_real_t *bias, size_t B, size_t C, size_t P, size_t G,
                             double eps, mole_error_t *error);

/* layer_norm            torch.nn.functional.layer_norm over the last dimension
 *   out, x (M,C); weight, bias (C); out may be x; eps > 0 */
MOLE_API int mole_layer_norm(mole_real_t *out, const mole_real_t *x, const mole_real_t *weight,
                             const mole_real_t *bias, size_t M, size_t C, double eps,
                             mole_error_t *error);

/* ---- activations: n numbers, out may be x ------------------------------------------------------------ */

/* 1 / (1 + exp(-x));  x sigmoid(x);  x/2 (1 + erf(x / sqrt 2));  x sigmoid(1.702 x)
 * of -Inf: 0, and -0 for the others, where torch has NaN */
MOLE_API int mole_sigmoid(mole_real_t *out, const mole_real_t *x, size_t n, mole_error_t *error);
MOLE_API int mole_silu(mole_real_t *out, const mole_real_t *x, size_t n, mole_error_t *error);
MOLE_API int mole_gelu(mole_real_t *out, const mole_real_t *x, size_t n, mole_error_t *error);
MOLE_API int mole_quick_gelu(mole_real_t *out, const mole_real_t *x, size_t n, mole_error_t *error);

/* geglu                 diffusers' GEGLU after its projection
 *   out[m,n] = x[m,n] gelu(x[m,N+n])        the first half is the value, the second the gate
 *   out (M,N), x (M,2N) */
MOLE_API int mole_geglu(mole_real_t *out, const mole_real_t *x, size_t M, size_t N,
                        mole_error_t *error);

/* ---- attention --------------------------------------------------------------------------------------- */

/* softmax               torch.softmax over the last dimension; out, x (M,N); out may be x */
MOLE_API int mole_softmax(mole_real_t *out, const mole_real_t *x, size_t M, size_t N,
                          mole_error_t *error);

/* attention             torch.nn.functional.scaled_dot_product_attention on heads side by side
 *   out[b,t,h,:] = sum_s softmax_s(scale q[b,t,h,:] . k[b,s,h,:]) v[b,s,h,:]
 *   causal: s <= t only, T = S required
 *   out, q (B,T,NH*D); k, v (B,S,NH*D); a head is D neighbouring channels */
MOLE_API int mole_attention(mole_real_t *out, const mole_real_t *q, const mole_real_t *k,
                            const mole_real_t *v, size_t B, size_t T, size_t S, size_t NH, size_t D,
                            double scale, int causal, mole_how_t how, mole_error_t *error);

/* ---- tables, time, space ----------------------------------------------------------------------------- */

/* embedding             torch.nn.functional.embedding
 *   out[n,:] = table[ids[n],:];  out (N,C), ids (N), table (V,C), 0 <= ids[n] < V */
MOLE_API int mole_embedding(mole_real_t *out, const int32_t *ids, const mole_real_t *table,
                            size_t N, size_t V, size_t C, mole_error_t *error);

/* pool_text             transformers' CLIPTextModel, pooled_output of its last hidden states
 *   out[b,:] = x[b,t,:], t the first with ids[b,t] = eos, else 0; eos = 2: the first with the largest id
 *   out (B,C), x (B,T,C), ids (B,T) */
MOLE_API int mole_pool_text(mole_real_t *out, const mole_real_t *x, const int32_t *ids, size_t B,
                            size_t T, size_t C, int32_t eos, mole_error_t *error);

/* timestep_embedding    diffusers' get_timestep_embedding
 *   angle_j = t exp(-ln(max_period) j / (dim/2 - freq_shift)),  j < dim/2
 *   out[b] = [sin | cos], or [cos | sin] with flip_sin_to_cos; a zero at the end when dim is odd
 *   angles_f32: exponent, frequency and angle rounded to float32 at each step, as diffusers does
 *   out (B,dim), t (B) */
MOLE_API int mole_timestep_embedding(mole_real_t *out, const double *t, size_t B, size_t dim,
                                     int flip_sin_to_cos, double freq_shift, double max_period,
                                     int angles_f32, mole_error_t *error);

/* upsample_nearest      torch.nn.functional.interpolate(x, size=(Ho, Wo), mode="nearest")
 *   x (B,C,H,W), out (B,C,Ho,Wo) */
MOLE_API int mole_upsample_nearest(mole_real_t *out, const mole_real_t *x, size_t B, size_t C,
                                   size_t H, size_t W, size_t Ho, size_t Wo, mole_error_t *error);

/* concat                torch.cat((a, b), dim=1)
 *   out (B,Ca+Cb,P), a (B,Ca,P), b (B,Cb,P); P = 1 joins rows */
MOLE_API int mole_concat(mole_real_t *out, const mole_real_t *a, const mole_real_t *b, size_t B,
                         size_t Ca, size_t Cb, size_t P, mole_error_t *error);

/* add                   out = a + b, n numbers; out may be a or b */
MOLE_API int mole_add(mole_real_t *out, const mole_real_t *a, const mole_real_t *b, size_t n,
                      mole_error_t *error);

/* add_per_channel       out[b,c,p] = x[b,c,p] + y[b,c]: the time embedding's way into a ResNet
 *   out, x (B,C,P), y (B,C); out may be x */
MOLE_API int mole_add_per_channel(mole_real_t *out, const mole_real_t *x, const mole_real_t *y,
                                  size_t B, size_t C, size_t P, mole_error_t *error);

/* (B,C,P) -> (B,P,C), torch's channels_last memory, and back */
MOLE_API int mole_to_channels_last(mole_real_t *out, const mole_real_t *x, size_t B, size_t C,
                                   size_t P, mole_error_t *error);
MOLE_API int mole_from_channels_last(mole_real_t *out, const mole_real_t *x, size_t B, size_t C,
                                     size_t P, mole_error_t *error);

/* ---- the MoLE layer ---------------------------------------------------------------------------------- */

/* One low-rank expert of a layer d -> d', and where its taps go. */
typedef struct {
    size_t rank;             /* R */
    double alpha;            /* scale s = alpha / R; 0 stands for R, as in the authors' code */
    const mole_real_t *down; /* (R,d)  lora_down */
    const mole_real_t *up;   /* (d',R) lora_up */
    const mole_real_t *scale_weight; /* (d')   <expert>_scale.weight; unused without gates */
    double scale_bias;               /*        <expert>_scale.bias */
    /* Taps, each NULL or memory for it: E_i as out, D_i (B,T), G_i (B), D_i G_i E_i as out. */
    mole_real_t *tap_expert, *tap_local, *tap_global, *tap_out;
} mole_layer_expert_t;

/* A frozen Linear (tokens) or 1x1 Conv2d (image) and what gates its experts. */
typedef struct {
    size_t d_in, d_out;
    const mole_real_t *weight; /* (d',d) */
    const mole_real_t *bias;   /* (d') or NULL */
    const mole_real_t
        *local_weight; /* Phi (E,d), or NULL: no gates, every D and G is 1 (plain LoRA) */
    const mole_real_t *local_bias; /* phi (E) */
    const mole_layer_expert_t *expert;
    size_t experts; /* E, at least 1 */
    int image;      /* x (B,d,T) and out (B,d',T) with T = H*W; else x (B,T,d) and out (B,T,d') */
    mole_real_t *tap_base; /* as out: the frozen layer alone; or NULL */
} mole_layer_args_t;

/* layer                 arXiv 2410.23332, section 3.3, computed as it is defined
 *   expert   E_i[b,t] = s_i up_i (down_i x[b,t])
 *   local    D_i[b,t] = sigmoid(Phi_i . x[b,t] + phi_i)
 *   global   G_i[b]   = sigmoid(scale_weight_i . mean_t E_i[b,t] + scale_bias_i)
 *   out[b,t] = weight x[b,t] + bias + sum_i D_i[b,t] G_i[b] E_i[b,t]
 *   Without gates tap_local, tap_global and tap_out must be NULL. */
MOLE_API int mole_layer(mole_real_t *out, const mole_real_t *x, const mole_layer_args_t *layer,
                        size_t B, size_t T, mole_how_t how, mole_error_t *error);

/* ---- torch's random numbers -------------------------------------------------------------------------- */

/* torch.Generator(): calls go on where the last one stopped. */
typedef struct mole_generator mole_generator_t;
/* ... .manual_seed(seed). On success mole_generator_close is due. */
MOLE_API int mole_generator_open(mole_generator_t **generator, uint64_t seed, mole_error_t *error);
MOLE_API void mole_generator_close(mole_generator_t *generator); /* NULL is allowed */

/* torch.rand and torch.randn on the CPU, of n numbers, dtype float32 or float64: bits for bits what a
 * torch with AVX2 gives. The same in both libraries. */
MOLE_API int mole_rand_f32(float *out, size_t n, mole_generator_t *generator, mole_error_t *error);
MOLE_API int mole_rand_f64(double *out, size_t n, mole_generator_t *generator, mole_error_t *error);
MOLE_API int mole_randn_f32(float *out, size_t n, mole_generator_t *generator, mole_error_t *error);
MOLE_API int mole_randn_f64(double *out, size_t n, mole_generator_t *generator,
                            mole_error_t *error);

/* torch.randn(n, device="cuda") after manual_seed(seed), as far as our log, sin and cos are CUDA's.
 *   offset     the generator's philox offset, a multiple of 4; *advance (may be NULL): what to add to it
 *   threads    what the GPU holds at once; 0: any GPU, for n up to 40960 */
MOLE_API int mole_randn_cuda(float *out, size_t n, uint64_t seed, uint64_t offset, size_t threads,
                             uint64_t *advance, mole_error_t *error);

/* ---- DDIM -------------------------------------------------------------------------------------------- */

typedef enum {
    MOLE_BETA_LINEAR,
    MOLE_BETA_SCALED_LINEAR,
    MOLE_BETA_SQUAREDCOS_CAP_V2
} mole_beta_schedule_t;
typedef enum { MOLE_SPACING_LEADING, MOLE_SPACING_TRAILING, MOLE_SPACING_LINSPACE } mole_spacing_t;
typedef enum { MOLE_PREDICT_EPSILON, MOLE_PREDICT_V, MOLE_PREDICT_SAMPLE } mole_prediction_t;

/* The fields of diffusers' DDIMScheduler, in its names. */
typedef struct {
    int num_train_timesteps;
    double beta_start, beta_end;
    mole_beta_schedule_t beta_schedule;
    mole_spacing_t timestep_spacing;
    int steps_offset;
    int set_alpha_to_one;
    int clip_sample;
    double clip_sample_range;
    mole_prediction_t prediction_type;
    int rescale_betas_zero_snr;
} mole_ddim_settings_t;

/* What the authors' scripts end up with; DDIMScheduler's own defaults; a scheduler_config.json. */
MOLE_API void mole_ddim_settings_authors(mole_ddim_settings_t *settings);
MOLE_API void mole_ddim_settings_diffusers(mole_ddim_settings_t *settings);
MOLE_API int mole_ddim_settings_read(mole_ddim_settings_t *settings, const char *path,
                                     mole_error_t *error);

/* A schedule of `steps` steps. On success mole_ddim_close is due. */
typedef struct mole_ddim mole_ddim_t;
MOLE_API int mole_ddim_open(mole_ddim_t **ddim, const mole_ddim_settings_t *settings, size_t steps,
                            mole_error_t *error);
MOLE_API void mole_ddim_close(mole_ddim_t *ddim); /* NULL is allowed */

/* Tables that live as long as the schedule: timesteps (steps), in the order of the run; torch's float32
 * alphas_cumprod (num_train_timesteps) and final_alpha_cumprod. *count may be NULL. */
MOLE_API const int *mole_ddim_timesteps(const mole_ddim_t *ddim, size_t *count);
MOLE_API const float *mole_ddim_alphas_cumprod(const mole_ddim_t *ddim, size_t *count);
MOLE_API float mole_ddim_final_alpha_cumprod(const mole_ddim_t *ddim);

/* ddim_step             DDIMScheduler.step at timesteps[k]; Song, Meng & Ermon 2021, equation (12)
 *   out, model_output, sample, noise (n); noise is NULL exactly when eta = 0; out may be any of them */
MOLE_API int mole_ddim_step(mole_real_t *out, const mole_ddim_t *ddim, size_t k,
                            const mole_real_t *model_output, const mole_real_t *sample, size_t n,
                            double eta, const mole_real_t *noise, mole_error_t *error);

/* guidance              out = uncond + scale (cond - uncond), n numbers; out may be either */
MOLE_API int mole_guidance(mole_real_t *out, const mole_real_t *uncond, const mole_real_t *cond,
                           double scale, size_t n, mole_error_t *error);

/* ---- tokenizer --------------------------------------------------------------------------------------- */

/* CLIP's byte-level BPE. Read-only after opening: threads may share one. */
typedef struct mole_tokenizer mole_tokenizer_t;
/* A tokenizer folder (vocab.json + merges.txt, or tokenizer.json). mole_tokenizer_close is due. */
MOLE_API int mole_tokenizer_open(mole_tokenizer_t **tokenizer, const char *folder,
                                 mole_error_t *error);
MOLE_API void mole_tokenizer_close(mole_tokenizer_t *tokenizer); /* NULL is allowed */

/* Ids are 0 .. vocab-1; a row of the text encoder's input has max_length of them. */
MOLE_API size_t mole_tokenizer_vocab(const mole_tokenizer_t *tokenizer);
MOLE_API size_t mole_tokenizer_max_length(const mole_tokenizer_t *tokenizer);

/* The ids of `length` bytes of UTF-8, without BOS and EOS, no limit: *count of them, of which the first
 * `room` are written to ids (NULL when room = 0). */
MOLE_API int mole_tokenizer_encode(const mole_tokenizer_t *tokenizer, const char *text,
                                   size_t length, int32_t *ids, size_t room, size_t *count,
                                   mole_error_t *error);
/* row (max_length): BOS, ids, EOS, padding; *truncated (may be NULL): ids were cut off */
MOLE_API int mole_tokenizer_row(const mole_tokenizer_t *tokenizer, const char *text, size_t length,
                                int32_t *row, int *truncated, mole_error_t *error);
/* The vocabulary's spelling, as "photo</w>"; NULL for what is no id. */
MOLE_API const char *mole_tokenizer_piece(const mole_tokenizer_t *tokenizer, int32_t id);

/* ---- models ------------------------------------------------------------------------------------------ */

typedef struct mole_model mole_model_t;

/* An expert: "face" and its LoRA file (.safetensors, kohya names). */
typedef struct {
    const char *name, *path;
} mole_expert_file_t;

/* A diffusers pipeline folder, with experts in the order of the gates' rows. experts = 0 (expert and gates
 * NULL): plain Stable Diffusion. experts without gates: they are added at full strength (plain LoRA).
 * Every weight is bound exactly once; a missing or left-over one is an error. mole_model_close is due.
 *
 * A run that needs more memory than the machine has ends the process. */
MOLE_API int mole_model_open(mole_model_t **model, const char *folder,
                             const mole_expert_file_t *expert, size_t experts, const char *gates,
                             mole_error_t *error);
MOLE_API void mole_model_close(mole_model_t *model); /* NULL is allowed */

typedef struct {
    size_t vocab, max_length,
        hidden_size; /* text encoder: ids < vocab, T <= max_length, out (B,T,hidden_size) */
    size_t latent_channels,
        context_width; /* UNet: (B,latent_channels,H,W) and (B,S,context_width) */
    size_t image_channels,
        pixels_per_latent; /* VAE: (B,image_channels, H*pixels_per_latent, ...) */
    double scaling_factor; /* what latents are divided by before decoding */
    size_t mole_layers;    /* layers that experts joined */
} mole_model_info_t;
MOLE_API void mole_model_info(const mole_model_t *model, mole_model_info_t *info);

/* The tokenizer of the folder; lives as long as the model. */
MOLE_API const mole_tokenizer_t *mole_model_tokenizer(const mole_model_t *model);

/* The definition with every tap, or the cheaper equal form (mole/mole.h in the sources). */
typedef enum { MOLE_FORM_DIRECT, MOLE_FORM_STACKED } mole_layer_form_t;
/* A model starts as MOLE_BLAS, MOLE_FORM_DIRECT. */
MOLE_API int mole_model_set(mole_model_t *model, mole_how_t how, mole_layer_form_t form,
                            mole_error_t *error);

/* Called for the output of every module under its diffusers path, in the order of execution.
 *   x (dims[0], ..., dims[ndim-1]): a copy, valid during the call
 * Returns 0, or 1 after writing to x: the run then goes on with these numbers. It may not call
 * functions of the same model. */
typedef int mole_tap_t(void *who, const char *name, size_t ndim, const size_t *dims,
                       mole_real_t *x);
/* Watch every further run; tap NULL: no longer. inputs: modules with weights also show what goes into
 * them, as NAME.in, which cannot be changed. */
MOLE_API int mole_model_watch(mole_model_t *model, mole_tap_t *tap, void *who, int inputs,
                              mole_error_t *error);

/* out (B,T,hidden_size) = CLIPTextModel's last_hidden_state of ids (B,T) */
MOLE_API int mole_model_encode_text(mole_model_t *model, mole_real_t *out, const int32_t *ids,
                                    size_t B, size_t T, mole_error_t *error);
/* out (B,latent_channels,H,W) = the UNet of sample (B,latent_channels,H,W), timestep and
 * context (B,S,context_width) */
MOLE_API int mole_model_unet(mole_model_t *model, mole_real_t *out, const mole_real_t *sample,
                             double timestep, const mole_real_t *context, size_t B, size_t H,
                             size_t W, size_t S, mole_error_t *error);
/* image (B,image_channels, H*pixels_per_latent, W*pixels_per_latent), about -1..1 and not clamped, from
 * latents (B,latent_channels,H,W) already divided by scaling_factor */
MOLE_API int mole_model_decode(mole_model_t *model, mole_real_t *image, const mole_real_t *latents,
                               size_t B, size_t H, size_t W, mole_error_t *error);

#ifdef __cplusplus
}
#endif

#endif
