/* transformer.h - diffusers' Transformer2DModel: the container whose every Linear and 1x1 Conv2d MoLE
 * wraps with experts.
 *
 *   h = proj_in(norm(x));  h = blocks(h, context);  x = x + proj_out(h)
 *   block:  h += attn1(norm1(h));  h += attn2(norm2(h), context);  h += ff(norm3(h))
 *
 * attn2's keys and values depend on the prompt alone, gates included: they are computed in the first
 * denoising step and kept in a context_kv_t. */
#ifndef MOLE_MODEL_TRANSFORMER_H
#define MOLE_MODEL_TRANSFORMER_H

#include "model/layers.h"

typedef struct {
    const char *name;
    size_t heads, width; /* NH heads of D channels */
    linear_t to_q, to_k, to_v, to_out;
} attention_t;

typedef struct {
    const char *name, *name_ff, *name_geglu;
    norm_t norm1, norm2, norm3;
    attention_t attn1, attn2;
    linear_t ff_proj, ff_out; /* ff.net.0.proj, ff.net.2 */
    size_t kv;                /* which slot of the context attn2 uses */
} transformer_block_t;

typedef struct transformer {
    const char *name;
    size_t channels;
    norm_t norm;
    linear_t proj_in, proj_out;
    bool linear_projection; /* Linear after flattening; else 1x1 Conv2d before it */
    size_t depth;
    transformer_block_t *block;
} transformer_t;

/* What a UNet is told beside the image and the timestep, by diffusers' names. */
typedef struct {
    size_t B, S;                         /* samples, tokens */
    const real_t *encoder_hidden_states; /* (B,S,cross_attention_dim) */
    const real_t
        *text_embeds;       /* (B,P) the pooled text; NULL for a UNet without an added embedding */
    const real_t *time_ids; /* (B,N) numbers that are embedded as a timestep is; NULL likewise */
} conditioning_t;

/* The same, and what attn2 has made of the text. */
typedef struct {
    conditioning_t given;
    bool ready;            /* key and value are filled */
    real_t **key, **value; /* per attn2: (B,S,channels) */
} context_kv_t;

typedef struct {
    size_t channels, heads, depth, context_channels, groups;
    bool linear_projection;
    double norm_eps, layer_norm_eps;
} transformer_config_t;

/* *kv counts the attn2 modules bound so far. */
void bind_transformer(binder_t *b, transformer_t *t, transformer_config_t config, size_t *kv,
                      const char *name);

/* x (B,C,H,W) channels-last, in place. */
void transformer_forward(const run_t *run, const transformer_t *t, real_t *x,
                         const context_kv_t *context, grid_t g);

/* Numbers of scratch that it takes of the arena, with S tokens of text. */
size_t transformer_work(const run_t *run, const transformer_t *t, size_t S, grid_t g);

#endif
