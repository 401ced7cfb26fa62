/* source_internal.h - what the implementations of source.h share, and nobody else includes. */
#ifndef MOLE_IO_SOURCE_INTERNAL_H
#define MOLE_IO_SOURCE_INTERNAL_H

#include <stdint.h>

#include "io/safetensors.h"
#include "io/source.h"
#include "io/synth.h"

extern const source_class_t source_folder, source_single, source_formula;

/* Tensors in safetensors files, the indices of one file after those of the one before. */
typedef struct {
    source_t source;
    st_file_t **file;
    size_t files;
} source_files_t;

/* One file. */
int source_open_file(source_t **source, const char *path, err_t *err);
size_t source_files_find(source_t *source, const char *name, shape_t shape);
size_t source_files_count(const source_t *source);
source_tensor_t source_files_at(const source_t *source, size_t index);
void source_files_numbers(const source_t *source, size_t index, size_t first, size_t count,
                          real_t *out);
void source_files_forget(const source_t *source, size_t index);
void source_files_metadata(const source_t *source,
                           void (*visit)(void *who, const char *key, const char *value), void *who);
void source_files_close(source_t *source);

/* "FILE.safetensors" or "FILE.safetensors/REST" of a regular file: true, *file in fresh memory, *rest in
 * path. */
bool source_split(const char *path, char **file, const char **rest);

/* A formula whose tensors' names start with `component`. */
source_t *source_formula_open(const char *path, const synth_spec_t *spec, const char *component);

#endif
