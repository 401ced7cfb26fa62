/* text_encoder.h - transformers' CLIPTextModel: token ids in, one vector per token out.
 *
 *   x = token_embedding[ids] + position_embedding
 *   per layer:  x += self_attn(layer_norm1(x));  x += mlp(layer_norm2(x))      (causal, pre-norm)
 *   last_hidden_state = final_layer_norm(x)
 *
 * SD v1.5 conditions the UNet on last_hidden_state. Padding tokens are ordinary tokens: there is no
 * padding mask, only the causal one. */
#ifndef MOLE_MODEL_TEXT_ENCODER_H
#define MOLE_MODEL_TEXT_ENCODER_H

#include "io/config_keys.h"
#include "model/layers.h"

typedef enum { ACT_QUICK_GELU, ACT_GELU } text_act_t;

/* config.json of the component, resolved. */
typedef struct {
    size_t vocab_size, hidden_size, intermediate_size, num_hidden_layers, num_attention_heads;
    size_t max_position_embeddings;
    text_act_t hidden_act;
    double layer_norm_eps;
    char unknown_keys[CONFIG_UNKNOWN];
} text_encoder_config_t;

typedef struct text_encoder text_encoder_t;

/* FOLDER/config.json and FOLDER/model.safetensors. Returns 0, or -1 and err. */
int text_encoder_open(text_encoder_t **encoder, const char *folder, bool allow_unused, err_t *err);
void text_encoder_close(text_encoder_t *encoder);
const text_encoder_config_t *text_encoder_config(const text_encoder_t *encoder);
const weights_t *text_encoder_weights(const text_encoder_t *encoder);
modules_t text_encoder_modules(const text_encoder_t *encoder);

/* out (B,T,hidden_size) = last_hidden_state of ids (B,T), every id < vocab_size, T at most
 * max_position_embeddings. */
void text_encoder_forward(const run_t *run, const text_encoder_t *encoder, real_t *out,
                          const int32_t *ids, size_t B, size_t T);

#endif
