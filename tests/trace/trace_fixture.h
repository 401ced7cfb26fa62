/* trace_fixture.h - traces of every format, written from one list of tensors; opened or refused. */
#ifndef MOLE_TESTS_TRACE_TRACE_FIXTURE_H
#define MOLE_TESTS_TRACE_TRACE_FIXTURE_H

#include <stdbool.h>
#include <stddef.h>

#include "core/dtype.h"
#include "core/shape.h"
#include "trace/trace_file.h"

typedef struct {
    const char *name;
    dtype_t dtype;
    shape_t shape;
    const void *data; /* row-major, little endian */
    bool fortran;     /* .npy and .npz: stored with the first index fastest */
} fixture_tensor_t;

typedef enum { SAFETENSORS, NPY_JSON, NPY_CSV, NPZ_STORED, NPZ_DEFLATED, TRACE_FORMATS } format_t;
extern const char *const format_names[TRACE_FORMATS];

/* Bytes of a .npy file, version 1.0; the caller frees them. */
char *fixture_npy(const fixture_tensor_t *tensor, size_t *bytes);

/* Such a file, row-major, in the scratch folder; its path. */
const char *fixture_npy_file(const char *name, dtype_t dtype, shape_t shape, const void *data);

/* The same of any dictionary and data, version 1, 2 or 3. */
char *fixture_npy_bytes(int version, const char *dictionary, const void *data, size_t count,
                        size_t *bytes);
/* A safetensors file of any header and data; returns its path. */
const char *fixture_safetensors(const char *name, const char *header, const void *data,
                                size_t bytes);

/* Writes a trace called `name` into the scratch folder; returns its path. Folders hold 000.npy,
 * 001.npy ... numbered from the last to the first, so that no sort gives the order. */
const char *fixture_trace(const char *name, format_t format, const fixture_tensor_t *tensors,
                          size_t count);

/* A zip of entries with any bytes: all stored, all deflated, or the first deflated and then in turn. */
typedef enum { ZIP_STORED, ZIP_DEFLATED, ZIP_IN_TURN } packing_t;
typedef struct {
    const char *name;
    const void *data;
    size_t bytes;
} fixture_entry_t;
const char *fixture_zip(const char *name, packing_t packing, const fixture_entry_t *entries,
                        size_t count);

/* The trace; trace_file_close is due. */
trace_file_t *trace_opened(const char *path);
/* Fails unless the file is refused with the path and these words, in one line; `two` may be NULL. */
void trace_refused(const char *path, const char *one, const char *two);

#endif
