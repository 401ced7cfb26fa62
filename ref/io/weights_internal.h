/* weights_internal.h - what the files of weights.h share, and nobody else includes. */
#ifndef MOLE_IO_WEIGHTS_INTERNAL_H
#define MOLE_IO_WEIGHTS_INTERNAL_H

#include "io/safetensors.h"
#include "io/weights.h"

typedef struct {
    bool suffix;
    char *name_part, *saved_part;
} alias_t;

/* A tensor that was made. */
typedef struct {
    char *name;
    shape_t shape;
} made_t;

struct weights {
    char *path;
    st_file_t **files;
    bool **taken; /* taken[f][i]: tensor i of files[f] */
    size_t file_count;
    alias_t *aliases;
    size_t alias_count;
    char **ignored; /* patterns */
    size_t ignored_count;
    char **blocks; /* owned memory; the newest has block_left bytes free at block_next */
    size_t block_count;
    char *block_next;
    size_t block_left;
    size_t owned, parameters;
    synth_spec_t *synth; /* NULL: from files */
    char *component;     /* of made ones, and of those of a single-file checkpoint */
    bool ldm;            /* names are those of ldm.h */
    made_t *made;
    size_t made_count, made_room;
};

/* Where a tensor is: tensor `index` of files[file]. */
typedef struct {
    size_t file, index;
} weight_place_t;

/* The tensor of that name, aliases applied; NULL when there is none. */
const st_tensor_t *weights_find(const weights_t *weights, const char *name, weight_place_t *place);

/* The name not yet taken that is nearest to `name`, when near enough for a slip of the pen; or
 * NULL. */
const char *weights_nearest(const weights_t *weights, const char *name);

/* Make a tensor (weights_take) or a convolution's weight (weights_take_conv) of weights without a file. */
int weights_make(weights_t *weights, const char *name, shape_t shape, bool conv, const real_t **out,
                 err_t *err);

void weights_note_made(weights_t *weights, const char *name, shape_t shape);

/* out (kh*kw, Ci) of one filter = its x (Ci, kh*kw), transposed */
void weights_pack_filter(real_t *out, const real_t *x, size_t Ci, size_t taps);

/* `count` numbers, 64-byte aligned, that live until weights_close; NULL when memory is out. */
real_t *weights_own(weights_t *weights, size_t count);

#endif
