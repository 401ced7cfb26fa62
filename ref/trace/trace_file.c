/* trace_file.c - see trace_file.h: what the formats have in common, and safetensors. */
#include "trace/trace_file.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/name_ids.h"
#include "io/file.h"
#include "io/safetensors.h"
#include "trace/trace_file_internal.h"

typedef struct {
    bool set;
    trace_layout_t layout;
    shape_t stored;
} laid_out_t;

struct trace_file {
    char *path;
    trace_source_t *source;
    name_ids_t names;       /* in the order of execution */
    trace_entry_t *entries; /* (names.count), each with the name of its number */
    trace_skip_t *skipped;  /* (skips) */
    size_t skips;
    bool rounds;        /* trace_file_round */
    laid_out_t *layout; /* (names.count), or NULL: every entry is read as it is stored */
    trace_band_t band;
};

/* ---- names ----------------------------------------------------------------------------------- */

/* NULL, or what is wrong with a name: it ends up in terminals, HTML and XML. */
static const char *name_defect(const char *name) {
    size_t length = strnlen(name, TRACE_NAME_MOST + 1);
    if (length == 0) return "is empty";
    if (length > TRACE_NAME_MOST) return "is longer than 4096 bytes";
    if (text_defect(name)) return text_defect(name);
    if (strstr(name, "\xef\xbf\xbe") || strstr(name, "\xef\xbf\xbf"))
        return "holds U+FFFE or U+FFFF, which no XML report can";
    return NULL;
}

/* Only ASCII of a name that has a defect: what else it holds may be what is wrong with it. */
static const char *ascii_shown(char shown[SHOWN_TEXT], const char *name) {
    text_shown(shown, name);
    for (char *p = shown; *p; p++)
        if ((unsigned char)*p >= 0x80) *p = '?';
    return shown;
}

static int refuse_name(const trace_file_t *trace, const char *name, const char *defect,
                       err_t *err) {
    char shown[SHOWN_TEXT];
    return err_set(err, "%s: the name '%s' %s", trace->path, ascii_shown(shown, name), defect);
}

int trace_add(trace_file_t *trace, const char *name, dtype_t dtype, shape_t shape, err_t *err) {
    char shown[SHOWN_TEXT];
    size_t count;
    const char *defect = name_defect(name);
    if (defect) return refuse_name(trace, name, defect, err);
    if (name_id_of(&trace->names, name) != SIZE_MAX)
        return err_set(err,
                       "%s: the name '%s' stands for two tensors; each tap has a name of its own",
                       trace->path, text_shown(shown, name));
    if (!shape_count_checked(shape, &count) || count > SIZE_MAX / sizeof(double))
        return err_set(err, "%s: '%s': its size overflows", trace->path, text_shown(shown, name));
    size_t index = name_id(&trace->names, name);
    trace->entries = xrealloc(trace->entries, trace->names.room * sizeof *trace->entries);
    trace->entries[index] = (trace_entry_t){trace->names.text[index], NULL, dtype, shape, count};
    return 0;
}

/* ---- what is skipped ------------------------------------------------------------------------- */

void trace_skip(trace_file_t *trace, const char *name, const char *reason) {
    char shown[SHOWN_TEXT], why[SHOWN_TEXT];
    if (name_defect(name))
        ascii_shown(shown, name);
    else
        text_shown(shown, name);
    if (name_defect(reason))
        ascii_shown(why, reason);
    else
        text_shown(why, reason);
    size_t n = trace->skips++;
    trace->skipped = xrealloc(trace->skipped, (n + 1) * sizeof *trace->skipped);
    trace->skipped[n] = (trace_skip_t){xstrdup(shown), xstrdup(why)};
}

char *trace_file_skipped_text(const trace_file_t *trace) {
    enum { NAMED = 4 };
    char *text = NULL;
    for (size_t i = 0; i < trace->skips && i < NAMED; i++) {
        const trace_skip_t *skip = &trace->skipped[i];
        char *longer = xasprintf("%s%s'%s' (%s)", text ? text : "", text ? ", " : "", skip->name,
                                 skip->reason);
        free(text);
        text = longer;
    }
    if (trace->skips <= NAMED) return text;
    char *longer = xasprintf("%s and %zu more", text, trace->skips - NAMED);
    free(text);
    return longer;
}

static int refuse_skipped(const trace_file_t *trace, err_t *err) {
    char *text = trace_file_skipped_text(trace);
    err_set(err, "%s: holds no numbers that are read: %s", trace->path, text);
    free(text);
    return -1;
}

/* ---- numbers --------------------------------------------------------------------------------- */

static int refuse_integer(const trace_entry_t *entry, int64_t bits, const char *path, err_t *err) {
    char shown[SHOWN_TEXT], number[32];
    if (entry->dtype == DTYPE_U64)
        snprintf(number, sizeof number, "%llu", (unsigned long long)bits);
    else
        snprintf(number, sizeof number, "%lld", (long long)bits);
    return err_set(err,
                   "%s: '%s' holds the %s %s, beyond 2^53, where float64 has no longer every "
                   "integer; store it as F64",
                   path, text_shown(shown, entry->name), dtype_name(entry->dtype), number);
}

int trace_widen(const trace_file_t *trace, size_t index, double *out, const void *in, size_t count,
                err_t *err) {
    const trace_entry_t *entry = &trace->entries[index];
    const int64_t most = (int64_t)1 << 53;
    dtype_to_double(out, in, entry->dtype, count);
    if (trace->rounds || (entry->dtype != DTYPE_I64 && entry->dtype != DTYPE_U64)) return 0;
    for (size_t i = 0; i < count; i++) {
        int64_t value; /* a U64 beyond 2^63 is negative here, and beyond 2^53 too */
        memcpy(&value, (const char *)in + i * sizeof value, sizeof value);
        if (value > most || value < (entry->dtype == DTYPE_U64 ? 0 : -most))
            return refuse_integer(entry, value, trace->path, err);
    }
    return 0;
}

/* ---- safetensors ----------------------------------------------------------------------------- */

typedef struct {
    trace_source_t source; /* first: a pointer to it is a pointer to the whole */
    st_file_t *file;
    const trace_file_t *trace;
    size_t kept; /* bytes that were read since st_forget */
} safetensors_t;

static int read_safetensors(trace_source_t *self, size_t index, size_t first, size_t count,
                            double *out, err_t *err) {
    safetensors_t *s = (safetensors_t *)self;
    const trace_entry_t *entry = trace_file_at(s->trace, index);
    size_t size = dtype_size(entry->dtype), most = TRACE_KEEP / size;
    const char *data = (const char *)st_at(s->file, index)->data + first * size;
    for (size_t done = 0, n; done < count; done += n) {
        n = count - done < most ? count - done : most;
        if (s->kept + n * size > TRACE_KEEP) {
            st_forget(s->file);
            s->kept = 0;
        }
        s->kept += n * size;
        if (trace_widen(s->trace, index, out + done, data + done * size, n, err) != 0) return -1;
    }
    return 0;
}

static void close_safetensors(trace_source_t *self) {
    st_close(((safetensors_t *)self)->file);
    free(self);
}

trace_source_t *trace_open_safetensors(trace_file_t *trace, err_t *err) {
    st_file_t *file;
    if (st_open_partly(&file, trace_file_path(trace), err) != 0) return NULL;
    for (size_t i = 0; i < st_unread_count(file); i++)
        trace_skip(trace, st_unread_at(file, i)->name, st_unread_at(file, i)->unread);
    for (size_t i = 0; i < st_count(file); i++) {
        const st_tensor_t *tensor = st_at(file, i);
        if (trace_add(trace, tensor->name, tensor->dtype, tensor->shape, err) != 0) {
            st_close(file);
            return NULL;
        }
    }
    safetensors_t *s = xcalloc(1, sizeof *s);
    s->source = (trace_source_t){read_safetensors, close_safetensors, NULL};
    s->file = file;
    s->trace = trace;
    return &s->source;
}

/* ---- the interface --------------------------------------------------------------------------- */

/* By what it is; of archives by the name too, since a pickled .pt is a zip as well, about which st_open
 * has more to say. */
static trace_source_t *open_source(trace_file_t *trace, bool single, err_t *err) {
    struct stat status;
    char magic[6] = {0};
    size_t bytes;
    if (stat(trace->path, &status) == 0 && S_ISDIR(status.st_mode))
        return trace_open_folder(trace, err);
    int fd = file_open_read(trace->path, &bytes, err);
    if (fd < 0) return NULL;
    ssize_t got = read(fd, magic, sizeof magic);
    close(fd);
    if (got == (ssize_t)sizeof magic && memcmp(magic, "\x93NUMPY", 6) == 0) {
        if (single) return trace_open_npy(trace, err);
        err_set(err,
                "%s: is a single array, a trace has many: name the folder that it is in, or a .npz",
                trace->path);
        return NULL;
    }
    if (text_ends(trace->path, ".npz")) return trace_open_npz(trace, err);
    if (text_ends(trace->path, ".json") || text_ends(trace->path, ".csv"))
        return trace_open_statistics(trace, err);
    return trace_open_safetensors(trace, err);
}

/* single: whether a file of one array will do. */
static int open_file(trace_file_t **trace, const char *path, bool single, err_t *err) {
    trace_file_t *opened = xcalloc(1, sizeof *opened);
    *trace = NULL;
    opened->path = xstrdup(path);
    opened->source = open_source(opened, single, err);
    int status = opened->source ? 0 : -1;
    if (status == 0 && opened->names.count == 0 && opened->skips)
        status = refuse_skipped(opened, err);
    if (status == 0)
        *trace = opened;
    else
        trace_file_close(opened);
    return status;
}

int trace_file_open(trace_file_t **trace, const char *path, err_t *err) {
    return open_file(trace, path, false, err);
}

int trace_file_open_any(trace_file_t **trace, const char *path, err_t *err) {
    return open_file(trace, path, true, err);
}

void trace_file_close(trace_file_t *trace) {
    if (!trace) return;
    if (trace->source) trace->source->close(trace->source);
    for (size_t i = 0; i < trace->skips; i++) {
        free(trace->skipped[i].name);
        free(trace->skipped[i].reason);
    }
    for (size_t i = 0; i < trace->names.count; i++) free(trace->entries[i].alias);
    free(trace->entries);
    free(trace->skipped);
    name_ids_free(&trace->names);
    free(trace->layout);
    free(trace->band.x);
    free(trace->path);
    free(trace);
}

const char *trace_file_path(const trace_file_t *trace) {
    return trace->path;
}

size_t trace_file_count(const trace_file_t *trace) {
    return trace->names.count;
}

const trace_entry_t *trace_file_at(const trace_file_t *trace, size_t index) {
    REQUIRE(index < trace->names.count, "trace_file_at: %s has %zu tensors, not %zu", trace->path,
            trace->names.count, index);
    return &trace->entries[index];
}

size_t trace_file_find(const trace_file_t *trace, const char *name) {
    return name_id_of(&trace->names, name);
}

void trace_file_set_alias(trace_file_t *trace, size_t index, const char *alias) {
    REQUIRE(index < trace->names.count, "trace_file_set_alias: %s has %zu tensors, not %zu",
            trace->path, trace->names.count, index);
    trace_entry_t *entry = &trace->entries[index];
    free(entry->alias);
    entry->alias = alias ? xstrdup(alias) : NULL;
}

size_t trace_file_skips(const trace_file_t *trace) {
    return trace->skips;
}

const trace_skip_t *trace_file_skipped(const trace_file_t *trace, size_t index) {
    REQUIRE(index < trace->skips, "trace_file_skipped: %s has %zu, not %zu", trace->path,
            trace->skips, index);
    return &trace->skipped[index];
}

const statistics_t *trace_file_statistics(const trace_file_t *trace, size_t index) {
    REQUIRE(index < trace->names.count, "trace_file_statistics: %s has %zu tensors, not %zu",
            trace->path, trace->names.count, index);
    return trace->source->statistics ? trace->source->statistics(trace->source, index) : NULL;
}

void trace_file_round(trace_file_t *trace) {
    trace->rounds = true;
}

shape_t trace_file_stored_shape(const trace_file_t *trace, size_t index) {
    bool set = trace->layout && trace->layout[index].set;
    return set ? trace->layout[index].stored : trace_file_at(trace, index)->shape;
}

void trace_file_set_layout(trace_file_t *trace, size_t index, const trace_layout_t *layout) {
    shape_t stored = trace_file_stored_shape(trace, index);
    trace_entry_t *entry = &trace->entries[index];
    if (!trace->layout) trace->layout = xcalloc(trace->names.count, sizeof *trace->layout);
    trace->layout[index] = (laid_out_t){.stored = stored, .set = layout != NULL};
    trace->band.count = 0;
    entry->shape = layout ? layout->shape : stored;
    entry->count = shape_count(entry->shape);
    if (!layout) return;
    trace->layout[index].layout = *layout;
    REQUIRE(trace_layout_stored(layout) == shape_count(stored) &&
                shape_count(layout->view) == entry->count,
            "trace_file_set_layout: '%s': a layout of %zu numbers for %zu stored", entry->name,
            trace_layout_stored(layout), shape_count(stored));
}

bool trace_file_has_layout(const trace_file_t *trace, size_t index) {
    return trace->layout && trace->layout[index].set;
}

static int read_stored(void *who, size_t index, size_t first, size_t count, double *out,
                       err_t *err) {
    trace_file_t *trace = who;
    return trace->source->read(trace->source, index, first, count, out, err);
}

int trace_file_read(trace_file_t *trace, size_t index, size_t first, size_t count, double *out,
                    err_t *err) {
    const trace_entry_t *entry = trace_file_at(trace, index);
    REQUIRE(first <= entry->count && count <= entry->count - first,
            "trace_file_read: '%s': %zu numbers from %zu, of %zu", entry->name, count, first,
            entry->count);
    if (!count) return 0;
    if (!trace->layout || !trace->layout[index].set)
        return trace->source->read(trace->source, index, first, count, out, err);
    return trace_layout_read(&trace->layout[index].layout, &trace->band, index, read_stored, trace,
                             first, count, out, err);
}
