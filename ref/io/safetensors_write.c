/* safetensors_write.c - see safetensors.h.
 *
 * The header stands in front of the data but is known only after it, so the data is spooled to a
 * second temporary file and copied behind the header at the end: disk space for two, memory for
 * none. The header lists __metadata__, then the tensors in the order of their data, and is padded
 * with spaces so that the data starts at a multiple of 8. */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#include "io/file.h"
#include "io/safetensors.h"

struct st_writer {
    out_file_t spool;
    char *path;
    json_t *metadata, *tensors;
    size_t bytes;       /* of data so far */
    char *failed;       /* message of the first write that failed: the spool is not whole */
    char *bad_metadata; /* key of a value that is not UTF-8 */
};

int st_writer_open(st_writer_t **writer, const char *path, err_t *err) {
    *writer = NULL;
    out_file_t spool;
    if (out_file_open(&spool, path, ".data", err) != 0) return -1;
    st_writer_t *opened = xcalloc(1, sizeof *opened);
    opened->spool = spool;
    opened->path = xstrdup(path);
    opened->metadata = json_object();
    opened->tensors = json_object();
    *writer = opened;
    return 0;
}

void st_writer_metadata(st_writer_t *writer, const char *key, const char *value) {
    if (json_object_set_new(writer->metadata, key, json_string(value)) != 0 &&
        !writer->bad_metadata)
        writer->bad_metadata = xstrdup(key);
}

static json_t *describe(dtype_t dtype, shape_t shape, size_t begin, size_t end) {
    json_t *dims = json_array();
    for (int i = 0; i < shape.ndim; i++)
        json_array_append_new(dims, json_integer((json_int_t)shape.dim[i]));
    return json_pack("{s:s, s:o, s:[I, I]}", "dtype", dtype_name(dtype), "shape", dims,
                     "data_offsets", (json_int_t)begin, (json_int_t)end);
}

/* In the order of bytes of the file, a piece at a time where the machine has the other. */
static int write_numbers(out_file_t *out, dtype_t dtype, const void *data, size_t count,
                         err_t *err) {
    enum { PIECE = 1024 };
    uint64_t piece[PIECE];
    size_t size = dtype_size(dtype);
    if (dtype_order_is_ours(0)) return out_file_write(out, data, count * size, err);
    for (size_t done = 0, n; done < count; done += n) {
        n = count - done < PIECE ? count - done : PIECE;
        memcpy(piece, (const char *)data + done * size, n * size);
        dtype_swap_bytes(piece, dtype, n);
        if (out_file_write(out, piece, n * size, err)) return -1;
    }
    return 0;
}

int st_writer_add(st_writer_t *writer, const char *name, dtype_t dtype, shape_t shape,
                  const void *data, err_t *err) {
    char shown[SHOWN_TEXT];
    text_shown(shown, name);
    size_t count, bytes, end;
    if (writer->failed) return err_set(err, "%s", writer->failed);
    if (strcmp(name, "__metadata__") == 0)
        return err_set(err, "%s: no tensor can have the name '%s'", writer->path, name);
    if (json_object_get(writer->tensors, name))
        return err_set(err, "%s: duplicate tensor name '%s'", writer->path, shown);
    if (!shape_count_checked(shape, &count) ||
        __builtin_mul_overflow(count, dtype_size(dtype), &bytes) ||
        __builtin_add_overflow(writer->bytes, bytes, &end))
        return err_set(err, "%s: tensor '%s': its size overflows", writer->path, shown);
    if (json_object_set_new(writer->tensors, name, describe(dtype, shape, writer->bytes, end)) != 0)
        return err_set(err, "%s: tensor name '%s' is not UTF-8", writer->path, shown);

    err_t problem;
    if (write_numbers(&writer->spool, dtype, data, count, &problem) != 0) {
        writer->failed = xasprintf("%s (tensor '%s')", problem.text, shown);
        return err_set(err, "%s", writer->failed);
    }
    writer->bytes = end;
    return 0;
}

/* The header's text without padding, in memory of jansson's (free it), or NULL. */
static char *header_text(const st_writer_t *writer) {
    json_t *header = json_object();
    if (json_object_size(writer->metadata))
        json_object_set(header, "__metadata__", writer->metadata);
    json_object_update(header, writer->tensors);
    char *text = json_dumps(header, JSON_COMPACT);
    json_decref(header);
    return text;
}

static int write_header(const st_writer_t *writer, out_file_t *out, err_t *err) {
    char *text = header_text(writer);
    if (!text) return err_set(err, "%s: out of memory for the header", writer->path);
    size_t used = strlen(text), padding = (8 - used % 8) % 8;
    uint64_t length = used + padding;
    unsigned char bytes[8];
    for (int i = 0; i < 8; i++) bytes[i] = (unsigned char)(length >> 8 * i);
    int status = 0;
    if (length > 100000000)
        status = err_set(err, "%s: a header of %zu bytes is above the format's limit", writer->path,
                         (size_t)length);
    if (status == 0) status = out_file_write(out, bytes, sizeof bytes, err);
    if (status == 0) status = out_file_write(out, text, used, err);
    if (status == 0) status = out_file_write(out, "        ", padding, err);
    free(text);
    return status;
}

static int copy_data(const st_writer_t *writer, out_file_t *out, err_t *err) {
    enum { CHUNK = 4 << 20 };
    size_t chunk = writer->bytes < CHUNK ? writer->bytes + 1 : CHUNK;
    char *buffer = xmalloc(chunk);
    int status = 0;
    for (size_t done = 0; status == 0 && done < writer->bytes;) {
        ssize_t got = pread(writer->spool.fd, buffer, chunk, (off_t)done);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0)
            status = err_set(err, "%s: cannot read back %s: %s", writer->path, writer->spool.temp,
                             got < 0 ? strerror(errno) : "it shrank");
        else
            status = out_file_write(out, buffer, (size_t)got, err);
        if (got > 0) done += (size_t)got;
    }
    free(buffer);
    return status;
}

static int assemble(const st_writer_t *writer, err_t *err) {
    char shown[SHOWN_TEXT];
    out_file_t out;
    if (writer->failed) return err_set(err, "%s", writer->failed);
    if (writer->bad_metadata)
        return err_set(err, "%s: metadata '%s' is not UTF-8", writer->path,
                       text_shown(shown, writer->bad_metadata));
    if (out_file_open(&out, writer->path, "", err) != 0) return -1;
    if (write_header(writer, &out, err) != 0 || copy_data(writer, &out, err) != 0) {
        out_file_abort(&out);
        return -1;
    }
    return out_file_commit(&out, err);
}

int st_writer_finish(st_writer_t *writer, err_t *err) {
    int status = assemble(writer, err);
    st_writer_abort(writer);
    return status;
}

void st_writer_abort(st_writer_t *writer) {
    if (!writer) return;
    out_file_abort(&writer->spool);
    json_decref(writer->metadata);
    json_decref(writer->tensors);
    free(writer->failed);
    free(writer->bad_metadata);
    free(writer->path);
    free(writer);
}
