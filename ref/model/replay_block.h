/* replay_block.h - the containers of a model on given inputs: what `replay` runs beside replay_module.h.
 *
 *   diffusers' class     x                 second input
 *   ResnetBlock2D        (B,in,H,W)        temb (B,time_channels), before its SiLU; the VAE's have none
 *   Transformer2DModel   (B,C,H,W)         encoder_hidden_states (B,S,cross_attention_dim) */
#ifndef MOLE_MODEL_REPLAY_BLOCK_H
#define MOLE_MODEL_REPLAY_BLOCK_H

#include "model/layers.h"

typedef struct {
    const real_t *x; /* row-major in torch's order, as all of these */
    shape_t shape;
    const real_t *second; /* NULL where there is none */
    shape_t second_shape;
} block_input_t;

/* "temb", "encoder_hidden_states", or NULL for a block of one input. */
const char *block_second(const block_t *block);
/* out = block(x, second), in torch's order, not overlapping the inputs; equation: resnet.h, transformer.h.
 * *shape_out receives the shape; out NULL: only that, no numbers are read. Taps, the block's own among
 * them, go to run->sink; scratch is in run->arena and given back. Returns 0, or -1 and err when a shape does
 * not fit. */
int block_replay(const run_t *run, const block_t *block, real_t *out, shape_t *shape_out,
                 const block_input_t *in, err_t *err);

#endif
