/* trace_file_internal.h - what the files of trace_file.h share, and nobody else includes.
 *
 * A format is a source: its opener declares the entries with trace_add, in order, and hands over how
 * to read them. */
#ifndef MOLE_TRACE_TRACE_FILE_INTERNAL_H
#define MOLE_TRACE_TRACE_FILE_INTERNAL_H

#include "trace/trace_file.h"

/* Bytes of the file that a reader keeps in memory at most, beside one piece being converted. */
enum { TRACE_KEEP = 16 << 20 };
/* A longer name is refused. */
enum { TRACE_NAME_MOST = 4096 };

typedef struct trace_source trace_source_t;
struct trace_source {
    /* As trace_file_read; the entry and the range are valid, count is not 0. */
    int (*read)(trace_source_t *self, size_t index, size_t first, size_t count, double *out,
                err_t *err);
    void (*close)(trace_source_t *self); /* frees self */
    /* NULL where the numbers are there */
    const statistics_t *(*statistics)(const trace_source_t *self, size_t index);
};

/* The next entry. 0, or -1 and err: a name that is empty, too long, not UTF-8, with control
 * characters, or there already. The name is copied. */
int trace_add(trace_file_t *trace, const char *name, dtype_t dtype, shape_t shape, err_t *err);

/* What is in the file and no entry, and why. Both are copied, and cleaned. */
void trace_skip(trace_file_t *trace, const char *name, const char *reason);

/* Each declares the entries of trace_file_path and returns its source, which the trace then owns; or
 * NULL and err. */
trace_source_t *trace_open_safetensors(trace_file_t *trace, err_t *err);
trace_source_t *trace_open_folder(trace_file_t *trace, err_t *err);
trace_source_t *trace_open_npy(trace_file_t *trace, err_t *err); /* one array */
trace_source_t *trace_open_npz(trace_file_t *trace, err_t *err);
trace_source_t *trace_open_statistics(trace_file_t *trace, err_t *err);

/* out = `count` numbers of entry `index` as they are in the file, widened; -1 and err ("PATH: 'NAME':
 * ...") for an I64 or U64 beyond 2^53. */
int trace_widen(const trace_file_t *trace, size_t index, double *out, const void *in, size_t count,
                err_t *err);

#endif
