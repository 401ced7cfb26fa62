/* model_copy.h - a copy of the tiny model in the scratch folder (scratch.h), to be spoiled. Files are
 * links to the originals until one is changed. */
#ifndef MOLE_TESTS_MODEL_COPY_H
#define MOLE_TESTS_MODEL_COPY_H

#include <jansson.h>

#include "core/shape.h"

/* A fresh copy, replacing one of before. Returns its folder, good until the next call. */
const char *model_copy(void);
/* The same in the scratch folder under this name. */
const char *model_copy_named(const char *name);

/* Set a key of a JSON file of the copy, as "unet/config.json"; the value is taken over; NULL removes the
 * key. */
void model_copy_set(const char *file, const char *key, json_t *value);

/* Add a float32 tensor of zeros to a safetensors file of the copy, as "unet/diffusion...". */
void model_copy_add(const char *file, const char *name, shape_t shape);

/* Zeros in the place of every tensor whose name ends with `ending`, dimension `dim` of which is now
 * `size`. */
void model_copy_resize(const char *file, const char *ending, int dim, size_t size);

#endif
