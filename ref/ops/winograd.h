/* winograd.h - the fast way of a 3x3 convolution, for conv2d.c alone, of which it calls nothing: the size of
 * the output comes in. ops.h has the contract. */
#ifndef MOLE_OPS_WINOGRAD_H
#define MOLE_OPS_WINOGRAD_H

#include "ops/ops.h"

/* 3x3, stride 1; any padding. */
bool winograd_can(conv2d_geometry_t geometry);
/* Is it the faster way? */
bool winograd_pays(size_t B, size_t Ci, size_t Ho, size_t Wo, size_t Co);

size_t winograd_work(size_t B, size_t Ci, size_t Ho, size_t Wo, size_t Co);

/* As conv2d; out is (B,Co,Ho,Wo). */
void winograd(real_t *out, const real_t *in, const real_t *weight, const real_t *bias, size_t B,
              size_t Ci, size_t H, size_t W, size_t Co, conv2d_geometry_t geometry, size_t Ho,
              size_t Wo, real_t *work, matmul_way_t how);

#endif
