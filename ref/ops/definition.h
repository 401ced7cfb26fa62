/* definition.h - operations as their equations say: plain loops, one number of the output at a time, sums in
 * index order, in double, rounded once. Each stands first in its operation's file, before the fast form
 * that the network runs; tests/ops/test_definition.c compares the two. Contracts and letters: ops.h. */
#ifndef MOLE_OPS_DEFINITION_H
#define MOLE_OPS_DEFINITION_H

#include "ops/ops.h"

/* matmul of rows that lie side by side: MATMUL_PLAIN gives the same bits. */
void matmul_definition(real_t *out, const real_t *a, const real_t *b, bool b_transposed,
                       bool accumulate, size_t M, size_t N, size_t K);

/* conv2d without scratch: MATMUL_PLAIN gives the same bits. */
void conv2d_definition(real_t *out, const real_t *in, const real_t *weight, const real_t *bias,
                       size_t B, size_t Ci, size_t H, size_t W, size_t Co,
                       conv2d_geometry_t geometry);

void group_norm_definition(real_t *out, const real_t *x, const real_t *weight, const real_t *bias,
                           size_t B, size_t C, size_t P, size_t G, double eps);
void layer_norm_definition(real_t *out, const real_t *x, const real_t *weight, const real_t *bias,
                           size_t M, size_t C, double eps);
void softmax_definition(real_t *out, const real_t *x, size_t M, size_t N);

/* attention without scratch; the scores are not rounded between the steps. */
void attention_definition(real_t *out, const real_t *q, const real_t *k, const real_t *v, size_t B,
                          size_t T, size_t S, size_t NH, size_t D, double scale, bool causal);

#endif
