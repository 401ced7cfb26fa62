/* npy.h - NumPy's array files: .npy read and written, .npz read.
 *
 * Read: format versions 1 to 3; dtypes <f8 <f4 <f2 |u1 |b1 <i4 <i8; Fortran order is transposed
 * into row-major. Anything else (pickled objects, big endian, complex) is refused with what was
 * found. */
#ifndef MOLE_IO_NPY_H
#define MOLE_IO_NPY_H

#include <stddef.h>

#include "core/dtype.h"
#include "core/err.h"
#include "core/shape.h"

typedef struct {
    dtype_t dtype;
    shape_t shape;
    void *data; /* row-major, little endian, shape_count * dtype_size bytes; owned */
} npy_t;

/* The array in `bytes` of memory, which must be all of it. `path` is for messages. 0, or -1 and
 * err. */
int npy_parse(npy_t *array, const void *memory, size_t bytes, const char *path, err_t *err);
/* A .npy file of at most 4 GiB. */
int npy_read(npy_t *array, const char *path, err_t *err);
/* Frees data; safe on a zeroed struct. */
void npy_free(npy_t *array);

/* Write version 1.0, row-major; whole or not at all. BF16 has no NumPy type and is refused. */
int npy_write(const char *path, dtype_t dtype, shape_t shape, const void *data, err_t *err);

/* A .npz: a zip of NAME.npy. An entry that unpacks to more than 4 GiB, or to another size than it
 * says, is refused. */
typedef struct npz npz_t;
int npz_open(npz_t **npz, const char *path, err_t *err);
void npz_close(npz_t *npz);
size_t npz_count(const npz_t *npz);
/* Without ".npy". Entries that are not .npy are listed under their full name. */
const char *npz_name(const npz_t *npz, size_t index);
int npz_read(npz_t *npz, const char *name, npy_t *array, err_t *err);

#endif
