/* safetensors.h - read and write the one tensor file format of this project.
 *
 * Layout: 8 bytes N (little endian), N bytes of JSON, then the data. The file is hostile until
 * checked: st_open refuses a header that is too long, malformed or nested too deep, duplicate
 * names, unknown dtypes, shapes whose product overflows, offsets that are out of range, overlap,
 * leave holes, or do not match dtype and shape. What st_open returned can be read without further
 * checks.
 *
 * Reading maps the file; tensors are const views that live until st_close. */
#ifndef MOLE_IO_SAFETENSORS_H
#define MOLE_IO_SAFETENSORS_H

#include <stddef.h>

#include "core/dtype.h"
#include "core/err.h"
#include "core/shape.h"

typedef struct {
    const char *name;
    dtype_t dtype;
    shape_t shape;
    const void *data; /* row-major, not necessarily aligned, in the machine's order of bytes */
    size_t bytes;
    char *
        unread; /* NULL, or (st_unread_at) why its numbers are not read: dtype and shape say nothing */
} st_tensor_t;

typedef struct st_file st_file_t;

/* 0, or -1 and err ("FILE: ..."). A pickled file is refused with the conversion to do. */
int st_open(st_file_t **file, const char *path, err_t *err);
void st_close(st_file_t *file);
const char *st_path(const st_file_t *file);

/* The same for files of which any part is of use: a tensor of a type that is not read (C64, F4, a name that
 * is not known) or of more than 8 dimensions is set apart, not refused. Its place in the file is checked as
 * any other's, and its size where its type has one. */
int st_open_partly(st_file_t **file, const char *path, err_t *err);
size_t st_unread_count(const st_file_t *file);
const st_tensor_t *st_unread_at(const st_file_t *file, size_t index);

/* Tensors stand in the order of their data, which for a trace is the order of execution. */
size_t st_count(const st_file_t *file);
const st_tensor_t *st_at(const st_file_t *file, size_t index);
/* NULL when there is none of that name. Constant time. */
const st_tensor_t *st_find(const st_file_t *file, const char *name);
/* A value of __metadata__, or NULL. */
const char *st_metadata(const st_file_t *file, const char *key);
/* All of them, one by one. */
void st_metadata_each(const st_file_t *file,
                      void (*visit)(void *who, const char *key, const char *value), void *who);

/* The pages of the mapping that were read may leave memory: every view stays valid and is read anew.
 * For whoever walks through a file that is larger than the machine. */
void st_forget(const st_file_t *file);
/* The same of the pages that hold nothing but this tensor: for whoever made a copy of it. */
void st_forget_tensor(const st_file_t *file, const st_tensor_t *tensor);

/* Streaming writer: tensors go to disk as they come, nothing is held but their names. The file
 * appears under its own name only in st_writer_finish, whole; until then, and after a failure or
 * st_writer_abort, there is nothing under that name that was not there before. */
typedef struct st_writer st_writer_t;

int st_writer_open(st_writer_t **writer, const char *path, err_t *err);
void st_writer_metadata(st_writer_t *writer, const char *key, const char *value);
/* A name may be added once. Returns 0, or -1 and err (disk full, duplicate name). */
int st_writer_add(st_writer_t *writer, const char *name, dtype_t dtype, shape_t shape,
                  const void *data, err_t *err);
/* Writes the header, renames, frees the writer in every case. */
int st_writer_finish(st_writer_t *writer, err_t *err);
void st_writer_abort(st_writer_t *writer);

#endif
