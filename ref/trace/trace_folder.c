/* trace_folder.c - see trace_file.h: a folder of .npy files, or one such file.
 *
 * Headers are read and checked when the trace is opened. A file's numbers are mapped when they are first
 * asked for, one file at a time, so that neither memory nor file descriptors grow with the trace. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "io/file.h"
#include "io/npy.h"
#include "trace/trace_file_internal.h"
#include "trace/trace_index.h"

enum { PIECE = 1 << 18 };

typedef struct {
    npy_header_t header;
    size_t bytes; /* of the whole file */
} npy_file_t;

typedef struct {
    trace_source_t source; /* first: a pointer to it is a pointer to the whole */
    const trace_file_t *trace;
    char *folder; /* that the files' names are below */
    trace_index_t index;
    npy_file_t *files; /* (index.rows) */
    size_t *row;       /* (trace_file_count) of an entry */
    char *piece;       /* (PIECE) */
    char *map;         /* file `mapped`, or NULL */
    size_t mapped;
    size_t kept; /* bytes of it that were read since they last left memory */
} folder_t;

static void unmap(folder_t *f) {
    if (f->map) munmap(f->map, f->files[f->mapped].bytes);
    f->map = NULL;
}

static int map(folder_t *f, size_t row, err_t *err) {
    if (f->map && f->mapped == row) return 0;
    unmap(f);
    char *path = file_join(f->folder, f->index.row[row].file);
    size_t bytes = 0;
    int fd = file_open_read(path, &bytes, err), status = fd < 0 ? -1 : 0;
    if (fd >= 0 && bytes != f->files[row].bytes)
        status = err_set(err, "%s: has %zu bytes now, had %zu when the trace was opened", path,
                         bytes, f->files[row].bytes);
    if (status == 0) {
        void *memory = mmap(NULL, bytes, PROT_READ, MAP_PRIVATE, fd, 0);
        if (memory == MAP_FAILED)
            status = err_set(err, "%s: cannot map: %s", path, strerror(errno));
        else
            f->map = memory;
    }
    if (fd >= 0) close(fd);
    free(path);
    f->mapped = row;
    f->kept = 0;
    return status;
}

static int read_folder(trace_source_t *self, size_t index, size_t first, size_t count, double *out,
                       err_t *err) {
    folder_t *f = (folder_t *)self;
    size_t row = f->row[index];
    const npy_header_t *header = &f->files[row].header;
    size_t size = dtype_size(header->dtype), most = PIECE / size;
    if (map(f, row, err) != 0) return -1;
    for (size_t done = 0, n; done < count; done += n) {
        n = count - done < most ? count - done : most;
        npy_gather(f->piece, f->map + header->offset, header, first + done, n);
        if (trace_widen(f->trace, index, out + done, f->piece, n, err) != 0) return -1;
        f->kept += n * size;
        /* In Fortran order the next piece lies on the very same pages. */
        if (f->kept < TRACE_KEEP || header->fortran) continue;
        (void)madvise(f->map, f->files[row].bytes, MADV_DONTNEED);
        f->kept = 0;
    }
    return 0;
}

static void close_folder(trace_source_t *self) {
    folder_t *f = (folder_t *)self;
    unmap(f);
    trace_index_free(&f->index);
    free(f->files);
    free(f->row);
    free(f->piece);
    free(f->folder);
    free(f);
}

/* The header of one file; `start` is (NPY_HEADER_MOST) bytes of work. */
static int read_header(npy_file_t *file, const char *path, char *start, err_t *err) {
    size_t held = 0;
    int fd = file_open_read(path, &file->bytes, err);
    if (fd < 0) return -1;
    while (held < NPY_HEADER_MOST) {
        ssize_t got = read(fd, start + held, NPY_HEADER_MOST - held);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) break;
        held += (size_t)got;
    }
    close(fd);
    if (held < NPY_HEADER_MOST && held != file->bytes)
        return err_set(err, "%s: cannot be read", path);
    return npy_header(&file->header, start, held, file->bytes, path, err);
}

static int add_files(folder_t *f, trace_file_t *trace, err_t *err) {
    char *start = xmalloc(NPY_HEADER_MOST);
    int status = 0;
    for (size_t i = 0; status == 0 && i < f->index.rows; i++) {
        const trace_index_row_t *row = &f->index.row[i];
        char *path = file_join(f->folder, row->file), shown[SHOWN_TEXT];
        const npy_header_t *header = &f->files[i].header;
        f->row[trace_file_count(trace)] = i;
        if (read_header(&f->files[i], path, start, err) != 0)
            status = err_prefix(err, "%s: '%s'", f->index.path, text_shown(shown, row->name));
        else if (*header->unread)
            trace_skip(trace, row->name, header->unread);
        else
            status = trace_add(trace, row->name, header->dtype, header->shape, err);
        free(path);
    }
    free(start);
    return status;
}

static folder_t *folder_new(const trace_file_t *trace, char *folder) {
    folder_t *f = xcalloc(1, sizeof *f);
    f->source = (trace_source_t){read_folder, close_folder, NULL};
    f->trace = trace;
    f->folder = folder;
    f->piece = xmalloc(PIECE);
    return f;
}

/* Of the files in the index. */
static trace_source_t *open_files(folder_t *f, trace_file_t *trace, int status, err_t *err) {
    f->files = xcalloc(f->index.rows + 1, sizeof *f->files);
    f->row = xcalloc(f->index.rows + 1, sizeof *f->row);
    if (status == 0) status = add_files(f, trace, err);
    if (status == 0) return &f->source;
    close_folder(&f->source);
    return NULL;
}

trace_source_t *trace_open_folder(trace_file_t *trace, err_t *err) {
    folder_t *f = folder_new(trace, xstrdup(trace_file_path(trace)));
    int status = trace_index_read(&f->index, f->folder, err);
    return open_files(f, trace, status, err);
}

trace_source_t *trace_open_npy(trace_file_t *trace, err_t *err) {
    const char *path = trace_file_path(trace), *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    folder_t *f = folder_new(trace, xasprintf("%.*s", (int)(name - path), path));
    f->index.path = xstrdup(path);
    f->index.row = xcalloc(1, sizeof *f->index.row);
    f->index.rows = 1;
    int stem = (int)strlen(name) - (text_ends(name, ".npy") ? 4 : 0);
    f->index.row[0] = (trace_index_row_t){xasprintf("%.*s", stem, name), xstrdup(name)};
    return open_files(f, trace, 0, err);
}
