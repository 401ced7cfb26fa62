/* trace_fixture.c - see trace_fixture.h. Writes .npy bytes by itself, not by ref/io. */
#include "trace_fixture.h"

#include <sys/stat.h>
#include <unistd.h>

#include <zip.h>

#include "../scratch.h"
#include "../unit.h"
#include "core/err.h"
#include "io/safetensors.h"

const char *const format_names[TRACE_FORMATS] = {"safetensors", "npy + index.json",
                                                 "npy + index.csv", "npz, stored", "npz, deflated"};

static const char *descr(dtype_t dtype) {
    switch (dtype) {
    case DTYPE_F64: return "<f8";
    case DTYPE_F32: return "<f4";
    case DTYPE_F16: return "<f2";
    case DTYPE_I64: return "<i8";
    case DTYPE_U64: return "<u8";
    case DTYPE_I32: return "<i4";
    case DTYPE_I16: return "<i2";
    case DTYPE_I8: return "|i1";
    case DTYPE_U32: return "<u4";
    case DTYPE_U16: return "<u2";
    case DTYPE_U8: return "|u1";
    case DTYPE_BOOL: return "|b1";
    default: fail_msg("NumPy has no %s", dtype_name(dtype)); return NULL;
    }
}

/* The numbers with the first index fastest. */
static void reorder(char *out, const char *in, shape_t shape, size_t size) {
    size_t count = shape_count(shape);
    for (size_t i = 0; i < count; i++) {
        size_t left = i, to = 0, index[SHAPE_DIMS];
        for (int d = shape.ndim - 1; d >= 0; d--) {
            index[d] = left % shape.dim[d];
            left /= shape.dim[d];
        }
        for (int d = shape.ndim - 1; d >= 0; d--) to = to * shape.dim[d] + index[d];
        memcpy(out + to * size, in + i * size, size);
    }
}

char *fixture_npy_bytes(int version, const char *dictionary, const void *data, size_t count,
                        size_t *bytes) {
    size_t length = strlen(dictionary), start = version == 1 ? 10 : 12;
    char *file = xmalloc(start + length + count);
    memcpy(file, "\x93NUMPY", 6);
    file[6] = (char)version;
    file[7] = 0;
    for (size_t i = 8; i < start; i++) file[i] = (char)(length >> 8 * (i - 8) & 0xff);
    memcpy(file + start, dictionary, length);
    if (count) memcpy(file + start + length, data, count);
    *bytes = start + length + count;
    return file;
}

char *fixture_npy(const fixture_tensor_t *tensor, size_t *bytes) {
    char shape[SHAPE_TEXT], dictionary[400];
    shape_text(shape, tensor->shape);
    if (tensor->shape.ndim == 1) snprintf(shape, sizeof shape, "(%zu,)", tensor->shape.dim[0]);
    snprintf(dictionary, sizeof dictionary, "{'descr': '%s', 'fortran_order': %s, 'shape': %s, }\n",
             descr(tensor->dtype), tensor->fortran ? "True" : "False", shape);
    size_t size = dtype_size(tensor->dtype), data = shape_count(tensor->shape) * size;
    char *file = fixture_npy_bytes(1, dictionary, tensor->data, data, bytes);
    if (tensor->fortran) reorder(file + *bytes - data, tensor->data, tensor->shape, size);
    return file;
}

const char *fixture_npy_file(const char *name, dtype_t dtype, shape_t shape, const void *data) {
    const fixture_tensor_t tensor = {name, dtype, shape, data, false};
    size_t bytes;
    char *file = fixture_npy(&tensor, &bytes);
    const char *path = scratch_write(name, file, bytes);
    free(file);
    return path;
}

const char *fixture_safetensors(const char *name, const char *header, const void *data,
                                size_t bytes) {
    uint64_t length = strlen(header);
    char *file = xmalloc(8 + length + bytes);
    memcpy(file, &length, 8);
    memcpy(file + 8, header, length);
    if (bytes) memcpy(file + 8 + length, data, bytes);
    const char *path = scratch_write(name, file, 8 + length + bytes);
    free(file);
    return path;
}

const char *fixture_zip(const char *name, packing_t packing, const fixture_entry_t *entries,
                        size_t count) {
    const char *path = scratch_path(name);
    int code;
    unlink(path);
    zip_t *zip = zip_open(path, ZIP_CREATE | ZIP_TRUNCATE, &code);
    assert_non_null(zip);
    for (size_t i = 0; i < count; i++) {
        zip_source_t *source = zip_source_buffer(zip, entries[i].data, entries[i].bytes, 0);
        zip_int64_t index = zip_file_add(zip, entries[i].name, source, 0);
        assert_true(index >= 0);
        bool store = packing == ZIP_STORED || (packing == ZIP_IN_TURN && i % 2);
        zip_set_file_compression(zip, (zip_uint64_t)index, store ? ZIP_CM_STORE : ZIP_CM_DEFLATE,
                                 0);
    }
    assert_int_equal(zip_close(zip), 0);
    return path;
}

static const char *write_safetensors(const char *name, const fixture_tensor_t *tensors,
                                     size_t count) {
    err_t err;
    st_writer_t *writer;
    const char *path = scratch_path(name);
    assert_int_equal(st_writer_open(&writer, path, &err), 0);
    st_writer_metadata(writer, "format", "mole-trace");
    for (size_t i = 0; i < count; i++)
        assert_int_equal(st_writer_add(writer, tensors[i].name, tensors[i].dtype, tensors[i].shape,
                                       tensors[i].data, &err),
                         0);
    assert_int_equal(st_writer_finish(writer, &err), 0);
    return path;
}

static const char *write_folder(const char *name, bool csv, const fixture_tensor_t *tensors,
                                size_t count) {
    char inside[256], index[8192];
    size_t used = 0;
    assert_int_equal(mkdir(scratch_path(name), 0700), 0);
    used += (size_t)snprintf(index, sizeof index, csv ? "order,name,file\n" : "[");
    for (size_t i = 0; i < count; i++) {
        size_t bytes;
        char *npy = fixture_npy(&tensors[i], &bytes);
        snprintf(inside, sizeof inside, "%s/%03zu.npy", name, count - i);
        scratch_write(inside, npy, bytes);
        free(npy);
        const char *file = strrchr(inside, '/') + 1;
        used += csv ? (size_t)snprintf(index + used, sizeof index - used, "%zu,%s,%s\n", i,
                                       tensors[i].name, file)
                    : (size_t)snprintf(index + used, sizeof index - used,
                                       "%s{\"name\": \"%s\", \"file\": \"%s\"}", i ? ", " : "",
                                       tensors[i].name, file);
    }
    snprintf(index + used, sizeof index - used, csv ? "" : "]\n");
    snprintf(inside, sizeof inside, "%s/index.%s", name, csv ? "csv" : "json");
    scratch_text(inside, index);
    return scratch_path(name);
}

static const char *write_npz(const char *name, packing_t packing, const fixture_tensor_t *tensors,
                             size_t count) {
    enum { MOST = 64 };
    fixture_entry_t entries[MOST] = {{0}};
    char *files[MOST];
    char names[MOST][128];
    assert_true(count <= MOST);
    for (size_t i = 0; i < count; i++) {
        snprintf(names[i], sizeof names[i], "%s.npy", tensors[i].name);
        entries[i].name = names[i];
        entries[i].data = files[i] = fixture_npy(&tensors[i], &entries[i].bytes);
    }
    const char *path = fixture_zip(name, packing, entries, count);
    for (size_t i = 0; i < count; i++) free(files[i]);
    return path;
}

const char *fixture_trace(const char *name, format_t format, const fixture_tensor_t *tensors,
                          size_t count) {
    char full[128];
    static const char *const ends[TRACE_FORMATS] = {".safetensors", "", "-csv", ".npz", "-z.npz"};
    snprintf(full, sizeof full, "%s%s", name, ends[format]);
    switch (format) {
    case SAFETENSORS: return write_safetensors(full, tensors, count);
    case NPY_JSON: return write_folder(full, false, tensors, count);
    case NPY_CSV: return write_folder(full, true, tensors, count);
    default: return write_npz(full, format == NPZ_DEFLATED, tensors, count);
    }
}

trace_file_t *trace_opened(const char *path) {
    err_t err;
    trace_file_t *trace;
    must(trace_file_open(&trace, path, &err), &err);
    assert_string_equal(trace_file_path(trace), path);
    return trace;
}

void trace_refused(const char *path, const char *one, const char *two) {
    err_t err = {""};
    trace_file_t *trace = (trace_file_t *)&err;
    if (trace_file_open(&trace, path, &err) == 0) fail_msg("accepted: %s (%s)", path, one);
    assert_null(trace);
    assert_message(&err, path, one, two, NULL);
    assert_null(strchr(err.text, '\n'));
}
