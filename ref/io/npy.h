/* npy.h - NumPy's array files: .npy read and written, .npz read.
 *
 * Read: format versions 1 to 3; dtypes <f8 <f4 <f2 |u1 |b1 <i4 <i8; Fortran order is transposed
 * into row-major. Anything else (pickled objects, big endian, complex) is refused with what was
 * found. */
#ifndef MOLE_IO_NPY_H
#define MOLE_IO_NPY_H

#include <stdbool.h>
#include <stddef.h>

#include "core/dtype.h"
#include "core/err.h"
#include "core/shape.h"

typedef struct {
    dtype_t dtype;
    shape_t shape;
    void *data; /* row-major, little endian, shape_count * dtype_size bytes; owned */
} npy_t;

/* What stands before the numbers. */
typedef struct {
    dtype_t dtype;
    shape_t shape;
    size_t count;  /* numbers */
    bool fortran;  /* the first index runs fastest */
    size_t offset; /* of the first number, from the start of the file */
} npy_header_t;

/* No more than the first so many bytes are needed to read a header. */
enum { NPY_HEADER_MOST = 12 + (1 << 16) };

/* The header of a file of `total` bytes of which the first `bytes` (all, or NPY_HEADER_MOST and more)
 * are in memory; the numbers that it announces must take the rest exactly. 0, or -1 and err. */
int npy_header(npy_header_t *header, const void *memory, size_t bytes, size_t total,
               const char *path, err_t *err);
/* out = numbers first .. first + count in row-major order; data: all numbers, in the file's order. */
void npy_gather(void *out, const void *data, const npy_header_t *header, size_t first,
                size_t count);

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

/* Entry `index` from its start to its end in pieces, of any size and without memory for the whole.
 * The numbers come in the file's order (header->fortran). 0 and the header, or -1 and err;
 * npz_stream_close is due on success and before npz_close. */
typedef struct npz_stream npz_stream_t;
int npz_stream_open(npz_stream_t **stream, npz_t *npz, size_t index, npy_header_t *header,
                    err_t *err);
/* The next `bytes`, at most what is left. The piece that ends the array also verifies the checksum,
 * and that the entry ends with it. After a failure only npz_stream_close makes sense. */
int npz_stream_read(npz_stream_t *stream, void *out, size_t bytes, err_t *err);
void npz_stream_close(npz_stream_t *stream);

#endif
