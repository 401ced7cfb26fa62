/* npy.c - see npy.h.
 *
 * Layout: "\x93NUMPY", version (major, minor), the header's length (2 bytes in version 1, 4 after
 * that), then a Python dictionary as text, {'descr': '<f4', 'fortran_order': False, 'shape': (2,
 * 3), }, padded with spaces and a newline to a multiple of 64 bytes, then the numbers. The
 * dictionary has exactly these three keys, in any order. Python 2 writes sizes as 2L. A descr is the order of
 * bytes (<, >, or | and = where there is none to tell), a letter for the kind, and the bytes of an item. */
#include "io/npy.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/file.h"

static const size_t file_limit = (size_t)4 << 30;

static const struct {
    char kind;
    size_t size;
    dtype_t dtype;
} types[] = {
    {'f', 8, DTYPE_F64},
    {'f', 4, DTYPE_F32},
    {'f', 2, DTYPE_F16},
    {'b', 1, DTYPE_BOOL},
    {'i', 8, DTYPE_I64},
    {'i', 4, DTYPE_I32},
    {'i', 2, DTYPE_I16},
    {'i', 1, DTYPE_I8},
    {'u', 8, DTYPE_U64},
    {'u', 4, DTYPE_U32},
    {'u', 2, DTYPE_U16},
    {'u', 1, DTYPE_U8},
    /* of ml_dtypes, which NumPy does not know; all its other types are V1, whichever they are */
    {'V', 2, DTYPE_BF16},
    {'f', 1, DTYPE_F8_E5M2},
};
enum { TYPES = sizeof types / sizeof types[0] };

/* ---- the dictionary -------------------------------------------------------------------------- */

typedef struct {
    const char *at, *end;
} cursor_t;

static void skip_space(cursor_t *c) {
    while (c->at < c->end && (*c->at == ' ' || (*c->at >= '\t' && *c->at <= '\r'))) c->at++;
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

/* Past a list or a tuple of whatever, with its brackets. */
static bool skip_list(cursor_t *c) {
    size_t depth = 0;
    char quote = '\0';
    for (; c->at < c->end; c->at++) {
        if (quote && *c->at == '\\' && c->at + 1 < c->end)
            c->at++;
        else if (quote || *c->at == '\'' || *c->at == '"')
            quote = !quote ? *c->at : *c->at == quote ? '\0' : quote;
        else if (*c->at == '[' || *c->at == '(')
            depth++;
        else if ((*c->at == ']' || *c->at == ')') && depth > 0 && --depth == 0)
            return c->at++, true;
        if (depth == 0) return false;
    }
    return false;
}

/* 3, or 3L. */
static bool read_number(cursor_t *c, size_t *number) {
    skip_space(c);
    const char *start = c->at;
    for (*number = 0; c->at < c->end && *c->at >= '0' && *c->at <= '9'; c->at++)
        if (__builtin_mul_overflow(*number, (size_t)10, number) ||
            __builtin_add_overflow(*number, (size_t)(*c->at - '0'), number))
            return false;
    if (c->at == start) return false;
    if (c->at < c->end && *c->at == 'L') c->at++;
    return true;
}

typedef struct {
    char descr[32];
    bool has_descr, has_order, has_shape, structured, fortran;
    size_t dims, count; /* of the shape: the first SHAPE_DIMS are kept */
    bool overflows;
    shape_t shape;
} dictionary_t;

static bool read_tuple(cursor_t *c, dictionary_t *header) {
    if (!accept(c, '(')) return false;
    for (header->count = 1; !accept(c, ')'); header->dims++) {
        size_t dim;
        if (!read_number(c, &dim)) return false;
        if (__builtin_mul_overflow(header->count, dim, &header->count)) header->overflows = true;
        if (header->dims < SHAPE_DIMS) header->shape.dim[header->shape.ndim++] = dim;
        if (accept(c, ',')) continue;
        header->dims++;
        return accept(c, ')');
    }
    return true;
}

static bool read_descr(cursor_t *c, dictionary_t *header) {
    skip_space(c);
    header->structured = c->at < c->end && (*c->at == '[' || *c->at == '(');
    header->has_descr = true;
    if (header->structured) return skip_list(c);
    return read_string(c, header->descr, sizeof header->descr);
}

static bool read_order(cursor_t *c, dictionary_t *header) {
    header->has_order = true;
    header->fortran = accept_word(c, "True");
    return header->fortran || accept_word(c, "False");
}

/* One key and its value. NULL, or what is wrong. */
static const char *read_item(cursor_t *c, dictionary_t *header) {
    char key[32];
    if (!read_string(c, key, sizeof key) || !accept(c, ':')) return "a key was expected";
    if (strcmp(key, "descr") == 0 && !header->has_descr)
        return read_descr(c, header) ? NULL : "descr is no dtype";
    if (strcmp(key, "fortran_order") == 0 && !header->has_order)
        return read_order(c, header) ? NULL : "fortran_order is neither True nor False";
    if (strcmp(key, "shape") == 0 && !header->has_shape) {
        header->has_shape = true;
        return read_tuple(c, header) ? NULL : "shape is not a tuple of sizes";
    }
    return "an unknown or repeated key";
}

/* NULL, or what is wrong. */
static const char *read_header(cursor_t c, dictionary_t *header) {
    if (!accept(&c, '{')) return "does not start with '{'";
    while (!accept(&c, '}')) {
        const char *defect = read_item(&c, header);
        if (defect) return defect;
        if (accept(&c, ',')) continue;
        if (accept(&c, '}')) break;
        return "',' or '}' was expected";
    }
    skip_space(&c);
    if (c.at != c.end) return "text follows the dictionary";
    if (!header->has_descr || !header->has_order || !header->has_shape)
        return "descr, fortran_order or shape is missing";
    return NULL;
}

/* ---- types ----------------------------------------------------------------------------------- */

/* What a kind stands for that is not read; *size: bytes of an item of `stated`, 0 where unknown. */
static const char *other_kind(char kind, size_t stated, size_t *size) {
    *size = stated;
    switch (kind) {
    case 'c': return "complex numbers";
    case 'M':
    case 'm': return "dates or times";
    case 'S':
    case 'a': return "text";
    case 'U': return *size = stated <= SIZE_MAX / 4 ? 4 * stated : 0, "text";
    case 'V': return "raw bytes";
    case 'f':
    case 'i':
    case 'u':
    case 'b': return "no type that is read";
    case 'O': return *size = 0, "Python objects";
    default: return *size = 0, "no type that is known";
    }
}

/* Fill dtype and swapped, or unread. Returns the bytes of an item, 0 where unknown. */
static size_t find_type(npy_header_t *header, const char *descr) {
    const char *kind = descr + (*descr && strchr("<>|=", *descr) != NULL);
    char *rest = NULL;
    size_t size =
        *kind >= 'A' && kind[1] >= '0' && kind[1] <= '9' ? strtoul(kind + 1, &rest, 10) : 0;
    for (size_t i = 0; size && *rest == '\0' && i < TYPES; i++)
        if (types[i].kind == *kind && types[i].size == size) {
            header->dtype = types[i].dtype;
            header->swapped = !dtype_order_is_ours(*descr == '>');
            return size;
        }
    const char *what = other_kind(*kind, size, &size);
    snprintf(header->unread, sizeof header->unread, "dtype '%s': %s", descr, what);
    return size;
}

/* The same of a whole dictionary. */
static size_t find_item(npy_header_t *header, const dictionary_t *dictionary) {
    char shown[SHOWN_TEXT];
    size_t size = 0;
    if (dictionary->structured)
        snprintf(header->unread, sizeof header->unread, "a structured array");
    else
        size = find_type(header, text_shown(shown, dictionary->descr));
    if (dictionary->dims > SHAPE_DIMS && !*header->unread)
        snprintf(header->unread, sizeof header->unread,
                 "its shape has %zu dimensions, at most %d are read", dictionary->dims, SHAPE_DIMS);
    return size;
}

/* ---- reading --------------------------------------------------------------------------------- */

/* Fortran order: walk `out` in its order, with an odometer of indices that starts at `first`. */
static void gather_fortran(void *out, const void *data, const npy_header_t *header, size_t first,
                           size_t count) {
    size_t size = dtype_size(header->dtype), stride[SHAPE_DIMS] = {0}, index[SHAPE_DIMS] = {0};
    size_t from = 0, left = first;
    const shape_t *shape = &header->shape;
    const char *in = data;
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

void npy_gather(void *out, const void *data, const npy_header_t *header, size_t first,
                size_t count) {
    REQUIRE(!*header->unread && first <= header->count && count <= header->count - first,
            "npy_gather: %zu numbers from %zu, of %zu", count, first, header->count);
    if (count == 0) return;
    size_t size = dtype_size(header->dtype);
    if (header->fortran)
        gather_fortran(out, data, header, first, count);
    else
        memcpy(out, (const char *)data + first * size, count * size);
    if (header->swapped) dtype_swap_bytes(out, header->dtype, count);
}

/* Start and length of the dictionary's text; start NULL: it is longer than what is read. */
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
    if (length <= NPY_HEADER_MOST - 12)
        *text = (cursor_t){(const char *)in + start, (const char *)in + start + length};
    return 0;
}

static int check_size(const npy_header_t *header, const dictionary_t *dictionary, size_t item,
                      size_t found, const char *path, err_t *err) {
    char shape[SHAPE_TEXT];
    size_t wanted;
    shape_text(shape, dictionary->shape);
    if (dictionary->overflows || __builtin_mul_overflow(header->count, item, &wanted))
        return err_set(err, "%s: shape %s overflows", path, shape);
    if (item && found != wanted)
        return err_set(err, "%s: %s %s takes %zu bytes, %zu follow the header (%s)", path,
                       dictionary->descr, shape, wanted, found,
                       found < wanted ? "truncated" : "trailing bytes");
    return 0;
}

int npy_header(npy_header_t *header, const void *memory, size_t bytes, size_t total,
               const char *path, err_t *err) {
    dictionary_t dictionary = {0};
    cursor_t text = {0};
    *header = (npy_header_t){0};
    if (find_header(memory, bytes, total, &text, path, err) != 0) return -1;
    if (!text.at) {
        snprintf(header->unread, sizeof header->unread,
                 "its header takes more than the %d bytes that are read", NPY_HEADER_MOST - 12);
        return 0;
    }
    const char *defect = read_header(text, &dictionary);
    if (defect) return err_set(err, "%s: header: %s", path, defect);
    size_t item = find_item(header, &dictionary);
    header->shape = dictionary.shape;
    header->count = dictionary.count;
    header->fortran = dictionary.fortran;
    header->offset = (size_t)(text.end - (const char *)memory);
    return check_size(header, &dictionary, item, total - header->offset, path, err);
}

int npy_refuse_unread(const npy_header_t *header, const char *path, err_t *err) {
    return err_set(err,
                   "%s: %s; numbers of NumPy's types f2 f4 f8, i1 i2 i4 i8, u1 u2 u4 u8, b1, or V2 "
                   "for bfloat16, were expected",
                   path, header->unread);
}

int npy_parse(npy_t *array, const void *memory, size_t bytes, const char *path, err_t *err) {
    *array = (npy_t){0};
    npy_header_t header;
    if (npy_header(&header, memory, bytes, bytes, path, err) != 0) return -1;
    if (*header.unread) return npy_refuse_unread(&header, path, err);
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
