/* real.h - the number types every room computes with.
 *
 * The same sources build twice: real_t is float (the product), or double (its own error meter,
 * `mole --precision f64`). acc_t is double in both: sums of norms, softmax and pooling run in it. */
#ifndef MOLE_CORE_REAL_H
#define MOLE_CORE_REAL_H

#include <float.h>

/* Every operation is rounded once, to nearest, to the type that is written. core/ieee.h asks the running
 * program the rest: fused operations, the rounding mode, subnormal numbers. */
#ifdef __FAST_MATH__
#error "-ffast-math changes results: build with the flags of the Makefile"
#endif
_Static_assert(FLT_EVAL_METHOD == 0,
               "float and double are computed in a wider type: build with -fexcess-precision=fast, "
               "for 32-bit x86 also with -msse2 -mfpmath=sse");

#ifdef MOLE_F64
typedef double real_t;
#define REAL_NAME "f64"
#else
typedef float real_t;
#define REAL_NAME "f32"
#endif

typedef double acc_t;

#endif
