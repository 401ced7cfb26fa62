/* npy.c - see npy.h.
 *
 * Layout: "\x93NUMPY", version (major, minor), the header's length (2 bytes in version 1, 4 after
 * that), then a Python dictionary as text, {'descr': '<f4', 'fortran_order': False, 'shape': (2,
 * 3), }, padded with spaces and a newline to a multiple of 64 bytes, then the numbers. The
 * dictionary has exactly these three keys, in any order. */
#include "io/npy.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/file.h"

static const size_t file_limit = (size_t)4 << 30;

static const struct {
    const char *descr;
    dtype_t dtype;
} descrs[] = {
    {"<f8", DTYPE_F64},  {"<f4", DTYPE_F32}, {"<f2", DTYPE_F16}, {"|u1", DTYPE_U8},
    {"|b1", DTYPE_BOOL}, {"<i4", DTYPE_I32}, {"<i8", DTYPE_I64},
};
enum { DESCRS = sizeof descrs / sizeof descrs[0] };

/* ---- the dictionary -------------------------------------------------------------------------- */

typedef struct {
    const char *at, *end;
} cursor_t;

static void skip_space(cursor_t *c) {
    while (c->at < c->end && (*c->at == ' ' || *c->at == '\n')) c->at++;
}

static bool accept(cursor_t *c, char wanted) {
    skip_space(c);
    if (c->at == c->end || *c->at != wanted) return false;
    c->at++;
    return true;
}

static bool accept_word(cursor_t *c, const char *word) {
    size_t length = strlen(word);
    skip_space(c);
    if ((size_t)(c->end - c->at) < length || memcmp(c->at, word, length) != 0) return false;
    c->at += length;
    return true;
}

/* A string in either kind of quotes, without escapes, cut to `size`. */
static bool read_string(cursor_t *c, char *text, size_t size) {
    skip_space(c);
    if (c->at == c->end || (*c->at != '\'' && *c->at != '"')) return false;
    char quote = *c->at++;
    size_t used = 0;
    for (; c->at < c->end && *c->at != quote; c->at++)
        if (used + 1 < size) text[used++] = *c->at;
    text[used] = '\0';
    return accept(c, quote);
}

static bool read_number(cursor_t *c, size_t *number) {
    skip_space(c);
    const char *start = c->at;
    for (*number = 0; c->at < c->end && *c->at >= '0' && *c->at <= '9'; c->at++)
        if (__builtin_mul_overflow(*number, (size_t)10, number) ||
            __builtin_add_overflow(*number, (size_t)(*c->at - '0'), number))
            return false;
    return c->at > start;
}

static bool read_tuple(cursor_t *c, shape_t *shape) {
    if (!accept(c, '(')) return false;
    for (shape->ndim = 0; !accept(c, ')'); shape->ndim++) {
        if (shape->ndim == SHAPE_DIMS || !read_number(c, &shape->dim[shape->ndim])) return false;
        if (accept(c, ',')) continue;
        if (!accept(c, ')')) return false;
        shape->ndim++;
        return true;
    }
    return true;
}

typedef struct {
    char descr[32];
    bool has_descr, has_order, has_shape, fortran;
    shape_t shape;
} dictionary_t;

/* NULL, or what is wrong. */
static const char *read_header(cursor_t c, dictionary_t *header) {
    if (!accept(&c, '{')) return "does not start with '{'";
    while (!accept(&c, '}')) {
        char key[32];
        if (!read_string(&c, key, sizeof key) || !accept(&c, ':')) return "a key was expected";
        if (strcmp(key, "descr") == 0 && !header->has_descr) {
            if (!read_string(&c, header->descr, sizeof header->descr))
                return "descr is not a plain dtype (structured arrays are not read)";
            header->has_descr = true;
        } else if (strcmp(key, "fortran_order") == 0 && !header->has_order) {
            header->fortran = accept_word(&c, "True");
            if (!header->fortran && !accept_word(&c, "False"))
                return "fortran_order is neither True nor False";
            header->has_order = true;
        } else if (strcmp(key, "shape") == 0 && !header->has_shape) {
            if (!read_tuple(&c, &header->shape)) return "shape is not a tuple of at most 8 sizes";
            header->has_shape = true;
        } else {
            return "an unknown or repeated key";
        }
        if (!accept(&c, ',')) {
            if (accept(&c, '}')) break;
            return "',' or '}' was expected";
        }
    }
    skip_space(&c);
    if (c.at != c.end) return "text follows the dictionary";
    if (!header->has_descr || !header->has_order || !header->has_shape)
        return "descr, fortran_order or shape is missing";
    return NULL;
}

/* ---- reading --------------------------------------------------------------------------------- */

/* Fortran order: walk `out` in its order, with an odometer of indices that starts at `first`. */
void npy_gather(void *out, const void *data, const npy_header_t *header, size_t first,
                size_t count) {
    size_t size = dtype_size(header->dtype), stride[SHAPE_DIMS] = {0}, index[SHAPE_DIMS] = {0};
    size_t from = 0, left = first;
    const shape_t *shape = &header->shape;
    const char *in = data;
    REQUIRE(first <= header->count && count <= header->count - first,
            "npy_gather: %zu numbers from %zu, of %zu", count, first, header->count);
    if (count == 0) return;
    if (!header->fortran) {
        memcpy(out, in + first * size, count * size);
        return;
    }
    for (int d = 0; d < shape->ndim; d++) stride[d] = d ? stride[d - 1] * shape->dim[d - 1] : 1;
    for (int d = shape->ndim - 1; d >= 0; d--) {
        index[d] = left % shape->dim[d];
        left /= shape->dim[d];
        from += index[d] * stride[d];
    }
    for (size_t i = 0; i < count; i++) {
        memcpy((char *)out + i * size, in + from * size, size);
        for (int d = shape->ndim - 1; d >= 0; d--) {
            from += stride[d];
            if (++index[d] < shape->dim[d]) break;
            from -= index[d] * stride[d];
            index[d] = 0;
        }
    }
}

/* Start and length of the dictionary's text. */
static int find_header(const unsigned char *in, size_t bytes, size_t total, cursor_t *text,
                       const char *path, err_t *err) {
    if (bytes < 10 || memcmp(in, "\x93NUMPY", 6) != 0)
        return err_set(err, "%s: is not a .npy file (no \\x93NUMPY at its start)", path);
    if (in[6] < 1 || in[6] > 3)
        return err_set(err, "%s: .npy version %d is not known", path, in[6]);
    size_t start = in[6] == 1 ? 10 : 12, length = (size_t)in[8] | (size_t)in[9] << 8;
    if (start == 12 && bytes >= 12) length |= (size_t)in[10] << 16 | (size_t)in[11] << 24;
    if (total < start || length > total - start)
        return err_set(err, "%s: truncated in the header (%zu bytes)", path, total);
    if (length > NPY_HEADER_MOST - 12 || length > bytes - start)
        return err_set(err, "%s: its header takes %zu bytes, at most %d are read", path, length,
                       NPY_HEADER_MOST - 12);
    *text = (cursor_t){(const char *)in + start, (const char *)in + start + length};
    return 0;
}

static int find_dtype(const char *descr, dtype_t *dtype, const char *path, err_t *err) {
    char shown[SHOWN_TEXT];
    for (size_t i = 0; i < DESCRS; i++)
        if (strcmp(descr, descrs[i].descr) == 0) {
            *dtype = descrs[i].dtype;
            return 0;
        }
    return err_set(err, "%s: dtype '%s' is not among <f8 <f4 <f2 |u1 |b1 <i4 <i8", path,
                   text_shown(shown, descr));
}

int npy_header(npy_header_t *header, const void *memory, size_t bytes, size_t total,
               const char *path, err_t *err) {
    dictionary_t dictionary = {0};
    cursor_t text = {0};
    size_t wanted;
    char shape[SHAPE_TEXT];
    *header = (npy_header_t){0};
    if (find_header(memory, bytes, total, &text, path, err) != 0) return -1;
    const char *defect = read_header(text, &dictionary);
    if (defect) return err_set(err, "%s: header: %s", path, defect);
    if (find_dtype(dictionary.descr, &header->dtype, path, err) != 0) return -1;
    header->shape = dictionary.shape;
    header->fortran = dictionary.fortran;
    header->offset = (size_t)(text.end - (const char *)memory);
    size_t found = total - header->offset;
    if (!shape_count_checked(header->shape, &header->count) ||
        __builtin_mul_overflow(header->count, dtype_size(header->dtype), &wanted))
        return err_set(err, "%s: shape %s overflows", path, shape_text(shape, header->shape));
    if (found != wanted)
        return err_set(err, "%s: %s %s takes %zu bytes, %zu follow the header (%s)", path,
                       dictionary.descr, shape_text(shape, header->shape), wanted, found,
                       found < wanted ? "truncated" : "trailing bytes");
    return 0;
}

int npy_parse(npy_t *array, const void *memory, size_t bytes, const char *path, err_t *err) {
    *array = (npy_t){0};
    npy_header_t header;
    if (npy_header(&header, memory, bytes, bytes, path, err) != 0) return -1;
    char *data = malloc(bytes - header.offset + 1);
    if (!data) return err_set(err, "%s: out of memory for %zu bytes", path, bytes - header.offset);
    npy_gather(data, (const char *)memory + header.offset, &header, 0, header.count);
    *array = (npy_t){.dtype = header.dtype, .shape = header.shape, .data = data};
    return 0;
}

int npy_read(npy_t *array, const char *path, err_t *err) {
    *array = (npy_t){0};
    char *memory = NULL;
    size_t bytes = 0;
    if (file_read(path, file_limit, &memory, &bytes, err) != 0) return -1;
    int status = npy_parse(array, memory, bytes, path, err);
    free(memory);
    return status;
}

void npy_free(npy_t *array) {
    free(array->data);
    *array = (npy_t){0};
}

/* ---- writing --------------------------------------------------------------------------------- */

/* (2, 3) as Python writes it: (2,) for one dimension, () for none. */
static void tuple_text(char *text, size_t size, shape_t shape) {
    size_t used = (size_t)snprintf(text, size, "(");
    for (int i = 0; i < shape.ndim; i++)
        used += (size_t)snprintf(text + used, size - used, i ? ", %zu" : "%zu", shape.dim[i]);
    snprintf(text + used, size - used, shape.ndim == 1 ? ",)" : ")");
}

int npy_write(const char *path, dtype_t dtype, shape_t shape, const void *data, err_t *err) {
    const char *descr = NULL;
    size_t count, bytes;
    for (size_t i = 0; i < DESCRS; i++)
        if (descrs[i].dtype == dtype) descr = descrs[i].descr;
    if (!descr) return err_set(err, "%s: NumPy has no type for %s", path, dtype_name(dtype));
    if (!shape_count_checked(shape, &count) ||
        __builtin_mul_overflow(count, dtype_size(dtype), &bytes))
        return err_set(err, "%s: its size overflows", path);

    enum { PREFIX = 10, UNIT = 64, TEXT = 320 }; /* PREFIX: magic, version, length */
    char tuple[SHAPE_TEXT + 4], text[PREFIX + TEXT + UNIT];
    tuple_text(tuple, sizeof tuple, shape);
    int length = snprintf(text + PREFIX, TEXT,
                          "{'descr': '%s', 'fortran_order': False, 'shape': %s, }", descr, tuple);
    size_t total = (PREFIX + (size_t)length + 1 + UNIT - 1) / UNIT * UNIT;
    memset(text + PREFIX + length, ' ', total - PREFIX - (size_t)length);
    text[total - 1] = '\n';
    memcpy(text, "\x93NUMPY\x01\x00", 8);
    text[8] = (char)((total - PREFIX) & 0xff);
    text[9] = (char)((total - PREFIX) >> 8);

    out_file_t out;
    if (out_file_open(&out, path, "", err) != 0) return -1;
    if (out_file_write(&out, text, total, err) != 0 ||
        out_file_write(&out, data, bytes, err) != 0) {
        out_file_abort(&out);
        return -1;
    }
    return out_file_commit(&out, err);
}
