/* trace_file.h - reading a trace, whoever wrote it: the tensors of a run in the order of execution.
 *
 *   FILE.safetensors     tensors in the order of their data
 *   FOLDER               .npy files and an index: index.json (a list of names, or of {"name", "file"}), or
 *                        index.csv with a header line that has the columns name and file; without an index
 *                        every .npy of the folder and its subfolders, the name being the file's path without
 *                        ".npy", in the byte order of names
 *   FILE.npz             arrays in the order of the archive
 *   FILE.json, FILE.csv  no tensors: statistics of them (trace_file_statistics)
 *
 * docs/trace-format.md says exactly what is read. An entry that holds no numbers, or numbers of a type that
 * is not read, is skipped: it is no entry of the trace, and listed with its reason. The file is hostile
 * until checked; what trace_file_open returned can be read without further checks but for I/O errors.
 * Nothing is held in memory but names and at most 16 MiB: a trace may be larger than the machine. (Two
 * exceptions: an array in Fortran order is held while it is read, since its rows lie all over it; such an
 * array of more than 1 GiB in a .npz is refused. A tensor in another layout, see trace_layout.h, is held
 * up to 64 MiB and else read several times.) */
#ifndef MOLE_TRACE_TRACE_FILE_H
#define MOLE_TRACE_TRACE_FILE_H

#include <stddef.h>

#include "core/dtype.h"
#include "core/err.h"
#include "core/shape.h"
#include "trace/statistics.h"
#include "trace/trace_layout.h"

typedef struct {
    const char *name; /* UTF-8 without control characters */
    char *alias;      /* what it was found to be, or NULL: see trace_file_set_alias */
    dtype_t dtype;
    shape_t shape;
    size_t count;
} trace_entry_t;

typedef struct trace_file trace_file_t;

/* 0, or -1 and err: also where all that the file holds was skipped. trace_file_close is due on success. */
int trace_file_open(trace_file_t **trace, const char *path, err_t *err);
/* The same of any file that holds tensors: also of a single .npy, whose tensor has the file's name without
 * ".npy". */
int trace_file_open_any(trace_file_t **trace, const char *path, err_t *err);
void trace_file_close(trace_file_t *trace);
const char *trace_file_path(const trace_file_t *trace);

/* Entries in the order of execution; find: the index, or SIZE_MAX. Constant time. */
size_t trace_file_count(const trace_file_t *trace);
const trace_entry_t *trace_file_at(const trace_file_t *trace, size_t index);
size_t trace_file_find(const trace_file_t *trace, const char *name);
/* From now on an entry has this shape, and its numbers come in this order; NULL: as it is stored. */
void trace_file_set_layout(trace_file_t *trace, size_t index, const trace_layout_t *layout);
/* Whether such an order was set: then its numbers do not come as they are stored. */
bool trace_file_has_layout(const trace_file_t *trace, size_t index);
/* The shape under which it is stored. */
shape_t trace_file_stored_shape(const trace_file_t *trace, size_t index);

/* Says which of another's names an entry stands for: its own, or one that a map led to; NULL takes it
 * back. */
void trace_file_set_alias(trace_file_t *trace, size_t index, const char *alias);

/* What the file holds besides, and no trace of numbers does: in the file's order. Names and reasons are
 * UTF-8 without control characters, at most 199 bytes. */
typedef struct {
    char *name, *reason; /* "ids", "dtype 'C64': complex numbers" */
} trace_skip_t;
size_t trace_file_skips(const trace_file_t *trace);
const trace_skip_t *trace_file_skipped(const trace_file_t *trace, size_t index);
/* "'ids' (dtype 'C64': complex numbers), 'README.txt' (no array) and 3 more": owned by the caller; NULL where
 * nothing was skipped. */
char *trace_file_skipped_text(const trace_file_t *trace);
/* out[0 .. count) = numbers first .. first + count of an entry, row-major in torch's order, exact.
 * 0, or -1 and err: an I/O error, a file that changed, or an I64 or U64 beyond 2^53, where doubles have gaps.
 * Sequential reads of one entry are cheap in every format; in a .npz any other read starts it anew. One
 * thread at a time. */
int trace_file_read(trace_file_t *trace, size_t index, size_t first, size_t count, double *out,
                    err_t *err);

/* Of a trace that holds no numbers, what it holds of an entry; NULL of any other trace. Its entries cannot be
 * read, and have the shape (N), or (0), where none is stated (has_shape, has_count). */
const statistics_t *trace_file_statistics(const trace_file_t *trace, size_t index);

/* From now on an integer beyond 2^53 is rounded to a double and no error: for whoever asks how large numbers
 * are, not which. */
void trace_file_round(trace_file_t *trace);

#endif
