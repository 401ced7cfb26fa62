/* npy.h - NumPy's array files: .npy read and written, .npz read.
 *
 * Read: format versions 1 to 3, as Python 2 and 3 write them; f8 f4 f2, i1 to i8, u1 to u8 and b1 in either
 * order of bytes; V2, which is how ml_dtypes writes bfloat16 (NumPy has no name for it), and its f1
 * (F8_E5M2). Fortran order is transposed into row-major. What holds no such numbers (pickled objects, text,
 * complex numbers, structured arrays) is told apart from what is damaged. */
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
    void *
        data; /* row-major, in the machine's order of bytes, shape_count * dtype_size bytes; owned */
} npy_t;

/* What stands before the numbers. */
typedef struct {
    dtype_t dtype;
    shape_t shape;
    size_t count;  /* numbers */
    bool fortran;  /* the first index runs fastest */
    size_t offset; /* of the first number, from the start of the file */
    bool swapped;  /* the file has the other order of bytes */
    char
        unread[96]; /* "", or why this array's numbers are not read: "dtype '|O': Python objects" */
} npy_header_t;

/* No more than the first so many bytes are needed to read a header. */
enum { NPY_HEADER_MOST = 12 + (1 << 16) };

/* The header of a file of `total` bytes of which the first `bytes` (all, or NPY_HEADER_MOST and more)
 * are in memory; what it announces must take the rest exactly (where the size of its type is known). 0, or
 * -1 and err. An array that is sound and `unread` is no error here; its dtype and shape say nothing. */
int npy_header(npy_header_t *header, const void *memory, size_t bytes, size_t total,
               const char *path, err_t *err);
/* Says that an array is `unread` where numbers are needed; returns -1. */
int npy_refuse_unread(const npy_header_t *header, const char *path, err_t *err);
/* out = numbers first .. first + count in row-major order and the machine's order of bytes; data: all
 * numbers, as they are in the file. Not for `unread`. */
void npy_gather(void *out, const void *data, const npy_header_t *header, size_t first,
                size_t count);

/* The array in `bytes` of memory, which must be all of it. `path` is for messages. 0, or -1 and
 * err. */
int npy_parse(npy_t *array, const void *memory, size_t bytes, const char *path, err_t *err);
/* A .npy file of at most 4 GiB. */
int npy_read(npy_t *array, const char *path, err_t *err);
/* Frees data; safe on a zeroed struct. */
void npy_free(npy_t *array);

/* A .npz: a zip of NAME.npy. An entry that unpacks to more than 4 GiB, or to another size than it
 * says, is refused. An entry that neither is called .npy nor begins as one (README.txt, a folder) is no
 * array, nor is what macOS adds (below __MACOSX, or called ._NAME). */
typedef struct npz npz_t;
int npz_open(npz_t **npz, const char *path, err_t *err);
void npz_close(npz_t *npz);
/* The arrays, in the order of the archive; names without ".npy". */
size_t npz_count(const npz_t *npz);
const char *npz_name(const npz_t *npz, size_t index);
/* The entries that are none, by their full names. */
size_t npz_other_count(const npz_t *npz);
const char *npz_other_name(const npz_t *npz, size_t index);
int npz_read(npz_t *npz, const char *name, npy_t *array, err_t *err);

/* Array `index` from its start to its end in pieces, of any size and without memory for the whole.
 * The bytes come as they are in the file (header->fortran, swapped, unread). 0 and the header, or -1
 * and err; npz_stream_close is due on success and before npz_close. */
typedef struct npz_stream npz_stream_t;
int npz_stream_open(npz_stream_t **stream, npz_t *npz, size_t index, npy_header_t *header,
                    err_t *err);
/* The next `bytes`, at most what is left. The piece that ends the array also verifies the checksum,
 * and that the entry ends with it. After a failure only npz_stream_close makes sense. */
int npz_stream_read(npz_stream_t *stream, void *out, size_t bytes, err_t *err);
void npz_stream_close(npz_stream_t *stream);

#endif
