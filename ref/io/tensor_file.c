/* tensor_file.c - see tensor_file.h. */
#include "io/tensor_file.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/dtype.h"
#include "io/file.h"
#include "io/npy.h"
#include "io/safetensors.h"

static int widen(tensor_file_t *tensor, dtype_t dtype, shape_t shape, const void *data,
                 const char *path, err_t *err) {
    size_t count = shape_count(shape);
    double *wide = count <= SIZE_MAX / sizeof *wide - 1 ? malloc((count + 1) * sizeof *wide) : NULL;
    if (!wide) return err_set(err, "%s: out of memory for %zu numbers", path, count);
    dtype_to_double(wide, data, dtype, count);
    *tensor = (tensor_file_t){.shape = shape, .data = wide};
    return 0;
}

/* wanted: NULL for any. */
static int check_shape(shape_t found, const shape_t *wanted, const char *path, err_t *err) {
    char want[SHAPE_TEXT], have[SHAPE_TEXT];
    if (!wanted || shape_equal(found, *wanted)) return 0;
    return err_set(err, "%s: expected a tensor of shape %s, found %s", path,
                   shape_text(want, *wanted), shape_text(have, found));
}

/* Which of `count` names is meant; names come from name_at(file, i). */
typedef const char *name_at_t(const void *file, size_t index);

static int choose(const void *file, name_at_t *name_at, size_t count, const char *wanted,
                  const char *path, const char **chosen, err_t *err) {
    enum { NAMED = 5 };
    char list[NAMED * (SHOWN_TEXT + 4)] = "", shown[SHOWN_TEXT];
    size_t used = 0;
    for (size_t i = 0; i < count; i++)
        if (wanted ? strcmp(name_at(file, i), wanted) == 0 : count == 1) {
            *chosen = name_at(file, i);
            return 0;
        }
    for (size_t i = 0; i < count && i < NAMED; i++)
        used += (size_t)snprintf(list + used, sizeof list - used, "%s'%s'", used ? ", " : "",
                                 text_shown(shown, name_at(file, i)));
    const char *more = count > NAMED ? ", ..." : "";
    if (wanted)
        return err_set(err, "%s: has no tensor '%s', only %zu: %s%s", path, wanted, count, list,
                       more);
    return err_set(err, "%s: holds %zu tensors, expected one (or its name): %s%s", path, count,
                   list, more);
}

static const char *st_name_at(const void *file, size_t index) {
    return st_at(file, index)->name;
}

static const char *npz_name_at(const void *file, size_t index) {
    return npz_name(file, index);
}

static int read_safetensors(tensor_file_t *tensor, const char *path, const char *name,
                            const shape_t *wanted, err_t *err) {
    st_file_t *file;
    const char *chosen = NULL;
    if (st_open(&file, path, err) != 0) return -1;
    int status = choose(file, st_name_at, st_count(file), name, path, &chosen, err);
    if (status == 0) {
        const st_tensor_t *found = st_find(file, chosen);
        status = check_shape(found->shape, wanted, path, err);
        if (status == 0) status = widen(tensor, found->dtype, found->shape, found->data, path, err);
    }
    st_close(file);
    return status;
}

static int read_npy(tensor_file_t *tensor, const char *path, const char *name,
                    const shape_t *wanted, err_t *err) {
    npy_t array;
    if (name) return err_set(err, "%s: a .npy file has no tensor names ('%s')", path, name);
    if (npy_read(&array, path, err) != 0) return -1;
    int status = check_shape(array.shape, wanted, path, err);
    if (status == 0) status = widen(tensor, array.dtype, array.shape, array.data, path, err);
    npy_free(&array);
    return status;
}

/* The shape of an array of an archive, from its first bytes. */
static int npz_shape(npz_t *npz, const char *name, shape_t *shape, err_t *err) {
    npz_stream_t *stream;
    npy_header_t header;
    size_t index = 0;
    while (strcmp(npz_name(npz, index), name) != 0) index++;
    if (npz_stream_open(&stream, npz, index, &header, err) != 0) return -1;
    *shape = header.shape;
    npz_stream_close(stream);
    return 0;
}

static int read_npz(tensor_file_t *tensor, const char *path, const char *name,
                    const shape_t *wanted, err_t *err) {
    npz_t *npz;
    npy_t array = {0};
    const char *chosen = NULL;
    if (npz_open(&npz, path, err) != 0) return -1;
    int status = choose(npz, npz_name_at, npz_count(npz), name, path, &chosen, err);
    shape_t shape = {0};
    if (status == 0 && wanted) status = npz_shape(npz, chosen, &shape, err);
    if (status == 0 && wanted) status = check_shape(shape, wanted, path, err);
    if (status == 0) status = npz_read(npz, chosen, &array, err);
    if (status == 0) status = widen(tensor, array.dtype, array.shape, array.data, path, err);
    npy_free(&array);
    npz_close(npz);
    return status;
}

int tensor_file_read_shape(tensor_file_t *tensor, const char *path, const char *name,
                           const shape_t *wanted, err_t *err) {
    *tensor = (tensor_file_t){0};
    size_t bytes;
    char magic[6] = {0};
    int fd = file_open_read(path, &bytes, err);
    if (fd < 0) return -1;
    ssize_t got = read(fd, magic, sizeof magic);
    close(fd);
    if (got == (ssize_t)sizeof magic && memcmp(magic, "\x93NUMPY", 6) == 0)
        return read_npy(tensor, path, name, wanted, err);
    /* A pickled .pt is a zip too: its entries are not .npy, and st_open explains what it is. */
    size_t length = strlen(path);
    if (memcmp(magic, "PK", 2) == 0 && length > 4 && strcmp(path + length - 4, ".npz") == 0)
        return read_npz(tensor, path, name, wanted, err);
    return read_safetensors(tensor, path, name, wanted, err);
}

int tensor_file_read(tensor_file_t *tensor, const char *path, const char *name, err_t *err) {
    return tensor_file_read_shape(tensor, path, name, NULL, err);
}

void tensor_file_free(tensor_file_t *tensor) {
    free(tensor->data);
    *tensor = (tensor_file_t){0};
}
