/* trace_npz.c - see trace_file.h: a .npz, whose arrays are unpacked piece by piece.
 *
 * One array is under way at a time. Reading on where the last read ended is cheap; reading elsewhere
 * starts the array anew and unpacks what lies before. Of an array in Fortran order row-major pieces lie
 * all over, so that it is unpacked whole: up to 1 GiB. */
#include <stdlib.h>
#include <string.h>

#include "io/file.h"
#include "io/npy.h"
#include "trace/trace_file_internal.h"

enum { PIECE = 1 << 18 };
static const size_t fortran_most = (size_t)1 << 30;

typedef struct {
    trace_source_t source; /* first: a pointer to it is a pointer to the whole */
    npz_t *npz;
    const trace_file_t *trace;
    size_t *array;        /* (trace_file_count) of an entry, in the archive */
    npz_stream_t *stream; /* NULL: none under way */
    npy_header_t header;  /* of the array under way */
    size_t index, at;     /* which it is, and how many of its numbers were unpacked */
    char *piece;          /* (PIECE) */
    char *whole;          /* of an array in Fortran order; or NULL */
} npz_source_t;

static void stop(npz_source_t *s) {
    npz_stream_close(s->stream);
    free(s->whole);
    s->stream = NULL;
    s->whole = NULL;
}

static int start(npz_source_t *s, size_t index, err_t *err) {
    stop(s);
    s->index = index;
    s->at = 0;
    if (npz_stream_open(&s->stream, s->npz, s->array[index], &s->header, err) != 0) return -1;
    if (!s->header.fortran) return 0;
    size_t bytes = s->header.count * dtype_size(s->header.dtype);
    s->whole = malloc(bytes + 1);
    if (!s->whole)
        return err_set(err, "%s: out of memory for %zu bytes", trace_file_path(s->trace), bytes);
    return npz_stream_read(s->stream, s->whole, bytes, err);
}

/* Unpacks the next `count` numbers, at most what fits a piece. */
static int next(npz_source_t *s, size_t count, err_t *err) {
    s->at += count;
    if (npz_stream_read(s->stream, s->piece, count * dtype_size(s->header.dtype), err) != 0)
        return -1;
    if (s->header.swapped) dtype_swap_bytes(s->piece, s->header.dtype, count);
    return 0;
}

static int read_range(npz_source_t *s, size_t index, size_t first, size_t count, double *out,
                      err_t *err) {
    const trace_entry_t *entry = trace_file_at(s->trace, index);
    size_t most = PIECE / dtype_size(entry->dtype);
    if (!s->stream || s->index != index || (!s->whole && s->at > first))
        if (start(s, index, err) != 0) return -1;
    while (!s->whole && s->at < first)
        if (next(s, first - s->at < most ? first - s->at : most, err) != 0) return -1;
    for (size_t done = 0, n; done < count; done += n) {
        n = count - done < most ? count - done : most;
        if (s->whole)
            npy_gather(s->piece, s->whole, &s->header, first + done, n);
        else if (next(s, n, err) != 0)
            return -1;
        if (trace_widen(s->trace, index, out + done, s->piece, n, err) != 0) return -1;
    }
    return 0;
}

static int read_npz(trace_source_t *self, size_t index, size_t first, size_t count, double *out,
                    err_t *err) {
    npz_source_t *s = (npz_source_t *)self;
    int status = read_range(s, index, first, count, out, err);
    if (status != 0) stop(s);
    return status;
}

static void close_npz(trace_source_t *self) {
    npz_source_t *s = (npz_source_t *)self;
    stop(s);
    npz_close(s->npz);
    free(s->array);
    free(s->piece);
    free(s);
}

static int add_entry(trace_file_t *trace, npz_t *npz, size_t index, err_t *err) {
    char shown[SHOWN_TEXT];
    const char *name = npz_name(npz, index);
    npz_stream_t *stream;
    npy_header_t header;
    if (npz_stream_open(&stream, npz, index, &header, err) != 0) return -1;
    npz_stream_close(stream);
    if (*header.unread) return trace_skip(trace, name, header.unread), 0;
    if (header.fortran && header.count * dtype_size(header.dtype) > fortran_most)
        return err_set(err,
                       "%s: '%s' is an array in Fortran order of more than 1 GiB, which would have "
                       "to be held in memory; save numpy.ascontiguousarray of it",
                       trace_file_path(trace), text_shown(shown, name));
    return trace_add(trace, name, header.dtype, header.shape, err);
}

trace_source_t *trace_open_npz(trace_file_t *trace, err_t *err) {
    npz_t *npz;
    if (npz_open(&npz, trace_file_path(trace), err) != 0) return NULL;
    npz_source_t *s = xcalloc(1, sizeof *s);
    s->source = (trace_source_t){read_npz, close_npz, NULL};
    s->npz = npz;
    s->trace = trace;
    s->piece = xmalloc(PIECE);
    s->array = xcalloc(npz_count(npz) + 1, sizeof *s->array);
    for (size_t i = 0; i < npz_count(npz); i++) {
        s->array[trace_file_count(trace)] = i;
        if (add_entry(trace, npz, i, err) != 0) {
            close_npz(&s->source);
            return NULL;
        }
    }
    for (size_t i = 0; i < npz_other_count(npz); i++)
        trace_skip(trace, npz_other_name(npz, i), "no array");
    return &s->source;
}
