/* text_encoder.h - transformers' CLIPTextModel and CLIPTextModelWithProjection: token ids in, one vector per
 * token out, and one for the whole text.
 *
 *   x = token_embedding[ids] + position_embedding                              hidden_states[0]
 *   layer i:  x += self_attn(layer_norm1(x));  x += mlp(layer_norm2(x))        hidden_states[i + 1]
 *   last_hidden_state = final_layer_norm(x)
 *   text_embeds = text_projection(last_hidden_state at the end of the text)    (pool_text)
 *
 * Which of them condition the UNet is the pipeline's choice (text_use_t). Padding tokens are ordinary tokens:
 * there is no padding mask, only the causal one. */
#ifndef MOLE_MODEL_TEXT_ENCODER_H
#define MOLE_MODEL_TEXT_ENCODER_H

#include "io/config_keys.h"
#include "model/layers.h"

typedef enum { ACT_QUICK_GELU, ACT_GELU } text_act_t;

/* config.json of the component, resolved. */
typedef struct {
    size_t vocab_size, hidden_size, intermediate_size, num_hidden_layers, num_attention_heads;
    size_t max_position_embeddings;
    size_t projection_dim; /* of the pooled vector */
    int32_t eos_token_id;  /* the pooled vector is that of this token; see pool_text */
    text_act_t hidden_act;
    double layer_norm_eps;
    char unknown_keys[CONFIG_UNKNOWN];
} text_encoder_config_t;

/* What a pipeline takes of an encoder. A layer of which nothing is taken does not run, and is neither read
 * nor checked. */
typedef struct {
    size_t
        skip; /* the hidden states are those before the last `skip` layers: hidden_states[-1 - skip] */
    bool final_norm; /* they go through final_layer_norm */
    bool pooled;     /* text_embeds is wanted: of the last layer in any case */
} text_use_t;

/* last_hidden_state alone. */
#define TEXT_USE_LAST ((text_use_t){.final_norm = true})

typedef struct text_encoder text_encoder_t;

/* FOLDER/config.json and FOLDER/model.safetensors. `component` is the first element of its taps' names,
 * "text_encoder". Returns 0, or -1 and err. */
int text_encoder_open(text_encoder_t **encoder, const char *folder, const char *component,
                      text_use_t use, bool allow_unused, err_t *err);
void text_encoder_close(text_encoder_t *encoder);
const text_encoder_config_t *text_encoder_config(const text_encoder_t *encoder);
const weights_t *text_encoder_weights(const text_encoder_t *encoder);
modules_t text_encoder_modules(const text_encoder_t *encoder);
text_use_t text_encoder_use(const text_encoder_t *encoder);
/* What hidden_states[0] adds up: token (vocab_size,hidden_size) and position (max_position_embeddings,
 * hidden_size). */
void text_encoder_tables(const text_encoder_t *encoder, const real_t **token,
                         const real_t **position);

/* hidden (B,T,hidden_size), and pooled (B,projection_dim) where use.pooled is set, else NULL, of ids (B,T),
 * every id < vocab_size, T at most max_position_embeddings. */
void text_encoder_forward(const run_t *run, const text_encoder_t *encoder, real_t *hidden,
                          real_t *pooled, const int32_t *ids, size_t B, size_t T);

#endif
