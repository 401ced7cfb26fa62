/* blas.h - the BLAS below matmul as a thing of its own: what it is, and what it can do alone. For measuring
 * (mole bench) and for saying what a program was built with; the network uses ops.h. */
#ifndef MOLE_OPS_BLAS_H
#define MOLE_OPS_BLAS_H

#include <stddef.h>

#include "core/real.h"

/* matmul_whole          torch.matmul of square matrices, as one call of BLAS with all its threads and
 *   no tiles or pieces: what the machine can do, for comparison. out, a, b (N,N) */
void matmul_whole(real_t *out, const real_t *a, const real_t *b, size_t N);
/* The BLAS in use, its version, and the kernel that it chose for this processor. */
const char *matmul_library(void);
const char *matmul_kernel(void);

#endif
