/* tensor_file.h - one tensor from any file that users have tensors in: .npy, .npz, .safetensors. */
#ifndef MOLE_IO_TENSOR_FILE_H
#define MOLE_IO_TENSOR_FILE_H

#include "core/err.h"
#include "core/shape.h"

typedef struct {
    shape_t shape;
    double *data; /* row-major in torch's order; owned */
} tensor_file_t;

/* The tensor called `name`; with NULL the only one (a file with several is refused, with their
 * names). The kind of file is told by its first bytes. A .npy has no names: `name` must be NULL.
 * 0, or -1 and err. */
int tensor_file_read(tensor_file_t *tensor, const char *path, const char *name, err_t *err);
/* The same of a tensor whose shape is known: another is refused before it is unpacked or widened. */
int tensor_file_read_shape(tensor_file_t *tensor, const char *path, const char *name,
                           const shape_t *wanted, err_t *err);
/* Frees data; safe on a zeroed struct. */
void tensor_file_free(tensor_file_t *tensor);

#endif
