/* real.h - the number types every room computes with.
 *
 * The same sources build twice: real_t is float (the product), or double (its own error meter,
 * `mole --precision f64`). acc_t is double in both: sums of norms, softmax and pooling run in it. */
#ifndef MOLE_CORE_REAL_H
#define MOLE_CORE_REAL_H

#ifdef MOLE_F64
typedef double real_t;
#define REAL_NAME "f64"
#else
typedef float real_t;
#define REAL_NAME "f32"
#endif

typedef double acc_t;

#endif
