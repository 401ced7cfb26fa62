/* spoil.c - see spoil.h. */
#include "spoil.h"

#include <limits.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../fixture.h"
#include "../scratch.h"
#include "io/safetensors.h"

const char *const spoil_name[SPOIL_KINDS] = {
    "empty", "truncated", "cut-tail", "huge-header", "overlap",   "duplicate", "pickle",
    "zip",   "dtype",     "nan",      "inf",         "misshaped", "missing",   "left-over"};

static void write_bytes(const char *path, const void *data, size_t bytes) {
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, bytes, file), bytes);
    assert_int_equal(fclose(file), 0);
}

/* A file of a hand-written header and zeros. */
static void write_header(const char *path, const char *header, size_t data) {
    size_t length = strlen(header);
    unsigned char *bytes = fixture_bytes(8 + length + data);
    memset(bytes, 0, 8 + length + data);
    for (int i = 0; i < 8; i++) bytes[i] = (unsigned char)((uint64_t)length >> (8 * i));
    memcpy(bytes + 8, header, length);
    write_bytes(path, bytes, 8 + length + data);
}

static void spoil_bytes(const char *from, const char *to, spoil_t how) {
    static const char pickle[] = "\x80\x02}q\x01(X\x05\x00\x00\x00";
    static const char zip[] = "PK\x03\x04\x00\x00\x08\x08\x00\x00archive/data.pkl";
    size_t bytes;
    char *data = scratch_slurp(from, &bytes);
    switch (how) {
    case SPOIL_TRUNCATED: write_bytes(to, data, bytes / 2); break;
    case SPOIL_CUT_TAIL: write_bytes(to, data, bytes - 1); break;
    case SPOIL_HUGE_HEADER:
        memcpy(data, "\x00\x00\x00\x00\x00\x00\x00\x10", 8);
        write_bytes(to, data, bytes);
        break;
    case SPOIL_OVERLAP:
        write_header(to,
                     "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
                     "\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[4,12]}}",
                     12);
        break;
    case SPOIL_DUPLICATE:
        write_header(to,
                     "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
                     "\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}",
                     8);
        break;
    case SPOIL_PICKLE: write_bytes(to, pickle, sizeof pickle); break;
    case SPOIL_ZIP_PICKLE: write_bytes(to, zip, sizeof zip); break;
    default: write_bytes(to, "", 0);
    }
    free(data);
}

static void add(st_writer_t *writer, const char *name, dtype_t dtype, shape_t shape,
                const void *data) {
    err_t err;
    if (st_writer_add(writer, name, dtype, shape, data, &err)) fail_msg("%s", err.text);
}

static void add_spoilt(st_writer_t *writer, const st_tensor_t *t, spoil_t how) {
    size_t count = shape_count(t->shape);
    double *x = fixture_bytes(2 * count * sizeof *x);
    int64_t *whole = fixture_bytes(count * sizeof *whole);
    shape_t shape = t->shape;
    memset(x, 0, 2 * count * sizeof *x);
    memset(whole, 0, count * sizeof *whole);
    dtype_to_double(x, t->data, t->dtype, count);
    x[count / 2] = how == SPOIL_NAN ? NAN : how == SPOIL_INF ? INFINITY : x[count / 2];
    if (how == SPOIL_SHAPE && shape.ndim) shape.dim[0]++; /* a row of zeros more */
    if (how == SPOIL_SHAPE && !t->shape.ndim) shape = SHAPE1(2);
    char more[512];
    snprintf(more, sizeof more, "%s_more", t->name);
    if (how == SPOIL_DTYPE)
        add(writer, t->name, DTYPE_I64, shape, whole);
    else if (how != SPOIL_MISSING)
        add(writer, t->name, DTYPE_F64, shape, x);
    if (how == SPOIL_LEFT_OVER) add(writer, more, DTYPE_F64, shape, x);
}

void spoil_file(const char *from, const char *to, spoil_t how, const char *tensor) {
    unlink(to);
    if (how < SPOIL_DTYPE) {
        spoil_bytes(from, to, how);
        return;
    }
    err_t err;
    st_file_t *file;
    st_writer_t *writer;
    if (st_open(&file, from, &err) || st_writer_open(&writer, to, &err)) fail_msg("%s", err.text);
    bool found = false;
    for (size_t i = 0; i < st_count(file); i++) {
        const st_tensor_t *t = st_at(file, i);
        bool meant = strcmp(t->name, tensor) == 0;
        found |= meant;
        if (meant)
            add_spoilt(writer, t, how);
        else
            add(writer, t->name, t->dtype, t->shape, t->data);
    }
    if (!found) fail_msg("%s has no tensor %s to spoil", from, tensor);
    if (st_writer_finish(writer, &err)) fail_msg("%s", err.text);
    st_close(file);
}

void spoil_remove(const char *model, const char *file) {
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", model, file);
    assert_int_equal(unlink(path), 0);
}
