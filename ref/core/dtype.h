/* dtype.h - the number formats that files hold, and the one widening from them to real_t. */
#ifndef MOLE_CORE_DTYPE_H
#define MOLE_CORE_DTYPE_H

#include <stddef.h>

#include "core/real.h"

typedef enum {
    DTYPE_F64,
    DTYPE_F32,
    DTYPE_F16,
    DTYPE_BF16,
    DTYPE_I64,
    DTYPE_I32,
    DTYPE_U8,
    DTYPE_BOOL,
    DTYPE_U64,
    DTYPE_U32,
    DTYPE_I16,
    DTYPE_U16,
    DTYPE_I8,
    DTYPE_F8_E4M3,
    DTYPE_F8_E5M2,
    DTYPE_F8_E4M3FNUZ,
    DTYPE_F8_E5M2FNUZ,
    DTYPE_F8_E8M0
} dtype_t;

enum { DTYPES = DTYPE_F8_E8M0 + 1 };

/* DTYPE_ of real_t in this build. */
dtype_t dtype_real(void);
/* Bytes of one number. */
size_t dtype_size(dtype_t dtype);
/* "F32", as safetensors spells it. */
const char *dtype_name(dtype_t dtype);
/* 0 and *dtype, or -1 for a name that is not among them. */
int dtype_parse(const char *name, dtype_t *dtype);

/* out[i] = in[i] for `count` numbers of F64, F32, F16 or BF16, possibly unaligned.
 * Widening is exact; F64 to a float real_t rounds to nearest, ties to even. */
void dtype_to_real(real_t *out, const void *in, dtype_t dtype, size_t count);
/* The same of every dtype into double: exact but for I64 and U64 beyond 2^53. */
void dtype_to_double(double *out, const void *in, dtype_t dtype, size_t count);

/* Has this machine the order of bytes of a file of that order? Numbers of files are turned into the machine's
 * order where the file is read (safetensors_read.c, npy.c) and back where it is written
 * (safetensors_write.c); no other file knows of an order. */
static inline int dtype_order_is_ours(int big_endian) {
    return big_endian == (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__);
}

/* Turns the bytes of each of `count` numbers around, in place. */
void dtype_swap_bytes(void *data, dtype_t dtype, size_t count);

/* out[i] = in[i] as F32, F16 or BF16, rounded to nearest, ties to even; what F16 cannot hold
 * becomes Inf. out may be in. Not for NaN. */
void dtype_from_f32(void *out, const float *in, dtype_t dtype, size_t count);

#endif
