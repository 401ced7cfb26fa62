/* npz.c - see npy.h: zip archives of .npy files, through libzip. */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <zip.h>

#include "io/file.h"
#include "io/npy.h"

static const zip_uint64_t entry_limit = (zip_uint64_t)4 << 30;

typedef struct {
    char **names;     /* (count) */
    zip_uint64_t *at; /* (count) in the archive */
    size_t count;
} entries_t;

struct npz {
    char *path;
    zip_t *zip;
    entries_t arrays; /* names as NumPy shows them: without .npy */
    entries_t others;
};

static bool is_named_npy(const char *entry) {
    size_t length = strlen(entry);
    return length > 4 && strcmp(entry + length - 4, ".npy") == 0;
}

/* What macOS adds for each file of an archive: MAC OS X's own attributes, under the file's name. */
static bool is_of_macos(const char *entry) {
    const char *slash = strrchr(entry, '/'), *base = slash ? slash + 1 : entry;
    return strncmp(entry, "__MACOSX/", 9) == 0 || strncmp(base, "._", 2) == 0;
}

/* Whether an entry begins as an array does; false also where it cannot be unpacked. */
static bool begins_as_array(zip_t *zip, zip_uint64_t at) {
    char start[6];
    zip_file_t *file = zip_fopen_index(zip, at, 0);
    if (!file) return false;
    bool array = zip_fread(file, start, sizeof start) == (zip_int64_t)sizeof start &&
                 memcmp(start, "\x93NUMPY", sizeof start) == 0;
    zip_fclose(file);
    return array;
}

static void add_entry(entries_t *entries, const char *name, zip_uint64_t at) {
    size_t n = entries->count++;
    entries->names = xrealloc(entries->names, (n + 1) * sizeof *entries->names);
    entries->at = xrealloc(entries->at, (n + 1) * sizeof *entries->at);
    entries->names[n] = xstrdup(name);
    entries->at[n] = at;
}

/* Sorts entry `at` in. One that is called .npy and begins otherwise is an array, a damaged one. */
static void sort_entry(npz_t *npz, zip_uint64_t at) {
    const char *name = zip_get_name(npz->zip, at, ZIP_FL_ENC_RAW);
    if (!name) name = "";
    bool npy = is_named_npy(name);
    if ((!npy || is_of_macos(name)) && !begins_as_array(npz->zip, at)) {
        add_entry(&npz->others, name, at);
        return;
    }
    char *shown = xasprintf("%.*s", (int)(strlen(name) - (npy ? 4 : 0)), name);
    add_entry(&npz->arrays, shown, at);
    free(shown);
}

static void free_entries(entries_t *entries) {
    for (size_t i = 0; i < entries->count; i++) free(entries->names[i]);
    free(entries->names);
    free(entries->at);
}

int npz_open(npz_t **npz, const char *path, err_t *err) {
    *npz = NULL;
    size_t bytes;
    int code, fd = file_open_read(path, &bytes, err);
    if (fd < 0) return -1;
    zip_t *zip = zip_fdopen(fd, ZIP_CHECKCONS, &code);
    if (!zip) {
        zip_error_t problem;
        zip_error_init_with_code(&problem, code);
        err_set(err, "%s: is not a readable .npz (zip) file: %s", path,
                zip_error_strerror(&problem));
        zip_error_fini(&problem);
        close(fd);
        return -1;
    }
    npz_t *opened = xcalloc(1, sizeof *opened);
    opened->path = xstrdup(path);
    opened->zip = zip;
    zip_int64_t count = zip_get_num_entries(zip, 0);
    for (zip_int64_t i = 0; i < count; i++) sort_entry(opened, (zip_uint64_t)i);
    *npz = opened;
    return 0;
}

void npz_close(npz_t *npz) {
    if (!npz) return;
    zip_discard(npz->zip);
    free_entries(&npz->arrays);
    free_entries(&npz->others);
    free(npz->path);
    free(npz);
}

static const char *name_at(const npz_t *npz, const entries_t *entries, size_t index) {
    REQUIRE(index < entries->count, "npz_name: %s has %zu such entries", npz->path, entries->count);
    return entries->names[index];
}

size_t npz_count(const npz_t *npz) {
    return npz->arrays.count;
}

const char *npz_name(const npz_t *npz, size_t index) {
    return name_at(npz, &npz->arrays, index);
}

size_t npz_other_count(const npz_t *npz) {
    return npz->others.count;
}

const char *npz_other_name(const npz_t *npz, size_t index) {
    return name_at(npz, &npz->others, index);
}

/* ---- an entry in pieces ---------------------------------------------------------------------- */

struct npz_stream {
    zip_file_t *file;
    char *path;  /* "FILE.npz: NAME", for messages */
    char *start; /* what was unpacked to see the header: start[at .. held) was not asked for yet */
    size_t at, held;
    zip_uint64_t left;   /* bytes of the array that were not handed out */
    zip_uint64_t packed; /* what the entry takes in the archive */
};

/* Fills out; -1 and err when the entry ends before. */
static int unpack(npz_stream_t *s, char *out, zip_uint64_t bytes, err_t *err) {
    for (zip_uint64_t done = 0; done < bytes;) {
        zip_int64_t got = zip_fread(s->file, out + done, bytes - done);
        if (got < 0)
            return err_set(err, "%s: cannot unpack: %s", s->path, zip_file_strerror(s->file));
        if (got == 0)
            return err_set(err, "%s: truncated: its last %llu bytes are missing", s->path,
                           (unsigned long long)(bytes - done));
        done += (zip_uint64_t)got;
    }
    return 0;
}

/* Reading on at the end makes libzip verify the checksum. */
static int check_end(npz_stream_t *s, err_t *err) {
    char more;
    zip_int64_t got = zip_fread(s->file, &more, 1);
    if (got > 0) return err_set(err, "%s: unpacks to more bytes than it says", s->path);
    if (got < 0) return err_set(err, "%s: cannot unpack: %s", s->path, zip_file_strerror(s->file));
    return 0;
}

/* The stated size is a claim; a small file that claims much is refused before memory is asked
 * for. */
static int check_size(const zip_stat_t *stat, const char *path, err_t *err) {
    enum { DEFLATE_MOST = 1032 }; /* the most that deflate can shrink anything */
    zip_uint64_t need = ZIP_STAT_SIZE | ZIP_STAT_COMP_SIZE;
    if ((stat->valid & need) != need) return err_set(err, "%s: does not say its size", path);
    if (stat->size / DEFLATE_MOST > stat->comp_size)
        return err_set(err, "%s: claims to unpack %llu bytes from %llu: the size lies", path,
                       (unsigned long long)stat->size, (unsigned long long)stat->comp_size);
    return 0;
}

static int start_stream(npz_stream_t *s, npz_t *npz, size_t index, npy_header_t *header,
                        err_t *err) {
    zip_stat_t stat;
    zip_uint64_t at = npz->arrays.at[index];
    if (zip_stat_index(npz->zip, at, 0, &stat) != 0)
        return err_set(err, "%s: %s", s->path, zip_strerror(npz->zip));
    if (check_size(&stat, s->path, err) != 0) return -1;
    s->file = zip_fopen_index(npz->zip, at, 0);
    if (!s->file) return err_set(err, "%s: cannot unpack: %s", s->path, zip_strerror(npz->zip));
    s->held = stat.size < NPY_HEADER_MOST ? (size_t)stat.size : NPY_HEADER_MOST;
    s->start = xmalloc(s->held + 1);
    if (unpack(s, s->start, s->held, err) != 0) return -1;
    if (npy_header(header, s->start, s->held, (size_t)stat.size, s->path, err) != 0) return -1;
    s->at = header->offset;
    s->left = stat.size - header->offset;
    s->packed = stat.comp_size;
    return s->left == 0 ? check_end(s, err) : 0;
}

int npz_stream_open(npz_stream_t **stream, npz_t *npz, size_t index, npy_header_t *header,
                    err_t *err) {
    char shown[SHOWN_TEXT];
    npz_stream_t *s = xcalloc(1, sizeof *s);
    *stream = NULL;
    s->path = xasprintf("%s: %s", npz->path, text_shown(shown, npz_name(npz, index)));
    if (start_stream(s, npz, index, header, err) != 0) {
        npz_stream_close(s);
        return -1;
    }
    *stream = s;
    return 0;
}

int npz_stream_read(npz_stream_t *s, void *out, size_t bytes, err_t *err) {
    REQUIRE(bytes <= s->left, "npz_stream_read: %zu bytes of %llu", bytes,
            (unsigned long long)s->left);
    size_t kept = s->held - s->at < bytes ? s->held - s->at : bytes;
    if (kept) memcpy(out, s->start + s->at, kept);
    s->at += kept;
    if (unpack(s, (char *)out + kept, bytes - kept, err) != 0) return -1;
    s->left -= bytes;
    return bytes && s->left == 0 ? check_end(s, err) : 0;
}

void npz_stream_close(npz_stream_t *stream) {
    if (!stream) return;
    if (stream->file) zip_fclose(stream->file);
    free(stream->start);
    free(stream->path);
    free(stream);
}

/* ---- an entry as a whole --------------------------------------------------------------------- */

/* Numbers of a model shrink to nine tenths; what shrinks to a tenth and is large is few numbers over and
 * over, from a file of any size: 10 MB of bytes would become 100 MB, and 800 MB as doubles. */
static int check_memory(const npz_stream_t *s, err_t *err) {
    enum { SHRINKS = 10, LARGE = 64 << 20 };
    if (s->left > entry_limit)
        return err_set(err, "%s: unpacks to %llu bytes, at most %llu are read", s->path,
                       (unsigned long long)s->left, (unsigned long long)entry_limit);
    if (s->left > LARGE && s->left / SHRINKS > s->packed)
        return err_set(err,
                       "%s: unpacks to %llu bytes from %llu, more than %d times as many: store it "
                       "without compression if that is meant",
                       s->path, (unsigned long long)s->left, (unsigned long long)s->packed,
                       SHRINKS);
    return 0;
}

static int read_rest(npz_stream_t *s, const npy_header_t *header, npy_t *array, err_t *err) {
    size_t bytes = (size_t)s->left;
    if (*header->unread) return npy_refuse_unread(header, s->path, err);
    if (check_memory(s, err)) return -1;
    char *data = malloc(bytes + 1), *rows = header->fortran ? malloc(bytes + 1) : NULL;
    int status = 0;
    if (!data || (header->fortran && !rows))
        status = err_set(err, "%s: out of memory for %zu bytes", s->path, bytes);
    if (status == 0) status = npz_stream_read(s, data, bytes, err);
    if (status == 0 && header->fortran)
        npy_gather(rows, data, header, 0, header->count);
    else if (status == 0 && header->swapped)
        dtype_swap_bytes(data, header->dtype, header->count);
    if (status == 0) {
        char *kept = header->fortran ? rows : data;
        *array = (npy_t){.dtype = header->dtype, .shape = header->shape, .data = kept};
    }
    if (status != 0 || header->fortran) free(data);
    if (status != 0) free(rows);
    return status;
}

int npz_read(npz_t *npz, const char *name, npy_t *array, err_t *err) {
    char shown[SHOWN_TEXT];
    *array = (npy_t){0};
    for (size_t i = 0; i < npz->arrays.count; i++) {
        npz_stream_t *stream;
        npy_header_t header;
        if (strcmp(npz->arrays.names[i], name) != 0) continue;
        if (npz_stream_open(&stream, npz, i, &header, err) != 0) return -1;
        int status = read_rest(stream, &header, array, err);
        npz_stream_close(stream);
        return status;
    }
    return err_set(err, "%s: has no array '%s'", npz->path, text_shown(shown, name));
}
