/* png.h - pictures out: 8-bit RGB or grey PNG with text metadata, through libpng. */
#ifndef MOLE_IO_PNG_H
#define MOLE_IO_PNG_H

#include <stddef.h>
#include <stdint.h>

#include "core/err.h"

typedef struct {
    const char *key; /* 1 to 79 printable ASCII characters; "parameters" is what other tools read */
    const char *value; /* UTF-8; stored as tEXt where it is Latin-1, else as iTXt */
} picture_text_t;

/* pixels: `height` rows of width * channels bytes, without gaps; channels 3 (RGB) or 1 (grey). The
 * same input gives the same bytes (fixed filter and compression, no time stamp) with one version of
 * libpng and zlib. The file appears whole or not at all. 0, or -1 and err: cannot be written, disk
 * full, a size of 0 or above 65535, a bad key, text that is not UTF-8. */
int picture_write(const char *path, const uint8_t *pixels, size_t width, size_t height,
                  size_t channels, const picture_text_t *texts, size_t text_count, err_t *err);

/* The bytes of such a PNG, without texts, in fresh memory. Sizes from 1 to 65535. */
uint8_t *picture_bytes(size_t *bytes, const uint8_t *pixels, size_t width, size_t height,
                       size_t channels);

/* A picture with its texts, in the file's order. */
typedef struct {
    size_t width, height, channels;
    uint8_t *pixels;
    size_t text_count;
    char **keys, **values; /* UTF-8 */
} picture_t;

/* 8-bit RGB or grey; any other kind is refused. 0 and *picture (picture_free it), or -1 and err. */
int picture_read(picture_t *picture, const char *path, err_t *err);
void picture_free(picture_t *picture);

#endif
