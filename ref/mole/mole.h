/* mole.h - the heart: a frozen linear layer with low-rank experts, mixed by two kinds of gates.
 *
 * MoLE, arXiv 2410.23332, section 3.3. One layer, input x (B,T,d), expert i of E:
 *
 *   expert   E_i[b,t] = s_i up_i (down_i x[b,t])                      s_i = alpha_i / rank_i
 *   local    D_i[b,t] = sigmoid(Phi_i . x[b,t] + phi_i)               one number per token
 *   global   G_i[b]   = sigmoid(w_i . mean_t E_i[b,t] + c_i)          one number per sample
 *   mixture  y[b,t]   = W x[b,t] + bias + sum_i D_i[b,t] G_i[b] E_i[b,t]
 *
 * What is easily got wrong: s_i acts before the pooling; the pooling is over the expert's output, over
 * all tokens of one sample (padding tokens too), never over the batch; the gates are independent
 * sigmoids, nothing sums to one. A 1x1 convolution is the same layer with the pixels as tokens.
 *
 * The stacked form is equal and cheaper. Pooling commutes with the two linear maps, so with the vector
 * u_i = s_i down_i^T up_i^T w_i, computed once at load, G_i[b] = sigmoid(u_i . mean_t x[b,t] + c_i).
 * All down-projections and all local logits are one product with [down_0; down_1; ...; Phi], and after
 * scaling each row's ranks by s_i D_i G_i one product with [up_0 up_1 ...] adds every expert.
 *
 * DEVIATION_BF16_GATES (core/deviations.h): D = bf16(sigmoid(bf16(logit))), G likewise.
 *
 * An expert costs R (d + d') multiplications per token that way, against d d' if s_i up_i down_i were
 * multiplied out at load. Where the ranks are so high that this is less (256 at 320 -> 320: 205 thousand
 * instead of 328), it is done: the product is then of [D_0 G_0 x, D_1 G_1 x, ...] with
 * [s_0 up_0 down_0, s_1 up_1 down_1, ...]. */
#ifndef MOLE_MOLE_MOLE_H
#define MOLE_MOLE_MOLE_H

#include "core/pool.h"
#include "io/weights.h"
#include "mole/run.h"

typedef struct {
    const char *name;            /* "face", "hand": the middle part of its taps */
    size_t rank;                 /* R, may differ per layer and expert */
    double scale;                /* s = alpha / rank */
    const real_t *down;          /* (R,d)  lora_down.weight; NULL: late_down has it */
    const real_t *up;            /* (d',R) lora_up.weight; NULL: late_up has it */
    const real_t *global_weight; /* (d')   <name>_scale.weight; NULL in an ungated layer */
    double global_bias;          /* <name>_scale.bias */
    late_t late_down, late_up;   /* as they are stored (io/weights.h) */
} mole_expert_t;

typedef struct {
    size_t d_in, d_out, experts;
    mole_expert_t *expert;      /* (E) in the order of Phi's rows */
    const real_t *local_weight; /* Phi (E,d); NULL: no gates, every D and G is 1 (plain LoRA) */
    const real_t *local_bias;   /* phi (E) */

    bool late; /* factors stay as they are stored, and are stacked whenever the layer runs */

    /* Made by mole_layer_prepare for the stacked form. */
    size_t ranks; /* R_0 + R_1 + ...; E d when multiplied out */
    const real_t
        *stacked_down;        /* (ranks + E, d): the down factors, then Phi (without gates: no Phi);
                                 * NULL when multiplied out */
    const real_t *stacked_up; /* (d', ranks): [up_0 ...] or [s_0 up_0 down_0 ...] */
    const double *pooled_weight; /* u (E,d) */
} mole_layer_t;

/* Fill the stacked form's members from the others; memory comes from pool. */
void mole_layer_prepare(mole_layer_t *layer, pool_t *pool);

/* out (B,T,d') = the mixture of x (B,T,d); weight (d',d) and bias (d') or NULL are the frozen layer's.
 * `name` and `view` (of out) are the wrapped module's, for the taps:
 *   direct:  NAME.mole.base, then per expert NAME.mole.<expert>.expert .local (B,T) .global (B) .out
 *   stacked: NAME.mole.<expert>.local, .global
 * out does not overlap x. The form and the way of multiplying come from run, and run->what_if, where a user
 * asks for it, what is put in place of gates (the taps show it) and how strong each expert's term is:
 *   y = W x + bias + sum_i strength_i D_i G_i E_i */
void mole_forward(const run_t *run, const mole_layer_t *layer, const char *name, view_t view,
                  real_t *out, const real_t *x, const real_t *weight, const real_t *bias, size_t B,
                  size_t T);

/* Numbers of scratch that it takes of the arena. */
size_t mole_work(const run_t *run, const mole_layer_t *layer, size_t B, size_t T);

#endif
