/* npy_bytes.h - .npy files from their parts, by hand. */
#ifndef MOLE_TESTS_IO_NPY_BYTES_H
#define MOLE_TESTS_IO_NPY_BYTES_H

#include <stddef.h>
#include <string.h>

/* A .npy file as bytes: magic, version, length, dictionary, data. Returns its size. */
static inline size_t build(char *out, int version, const char *dictionary, const void *data,
                           size_t bytes) {
    size_t length = strlen(dictionary), start = version == 1 ? 10 : 12;
    memcpy(out, "\x93NUMPY", 6);
    out[6] = (char)version;
    out[7] = 0;
    for (size_t i = 8; i < start; i++) out[i] = (char)(length >> 8 * (i - 8));
    memcpy(out + start, dictionary, length);
    memcpy(out + start + length, data, bytes);
    return start + length + bytes;
}

#define DICT(descr, order, shape)                                                                  \
    "{'descr': '" descr "', 'fortran_order': " order ", 'shape': " shape ", }\n"

#endif
