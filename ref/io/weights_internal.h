/* weights_internal.h - what the files of weights.h share, and nobody else includes. */
#ifndef MOLE_IO_WEIGHTS_INTERNAL_H
#define MOLE_IO_WEIGHTS_INTERNAL_H

#include "io/weights.h"

typedef struct {
    bool suffix;
    char *name_part, *saved_part;
} alias_t;

struct weights {
    source_t *source;
    bool *taken; /* (taken_room) by the source's index; those above are not */
    size_t taken_room;
    alias_t *aliases;
    size_t alias_count;
    char **ignored; /* patterns */
    size_t ignored_count;
    char **blocks; /* owned memory; the newest has block_left bytes free at block_next */
    size_t block_count;
    char *block_next;
    size_t block_left;
    size_t owned, parameters;
    bool late; /* large matrices stay as they are stored */
};

/* The source's index of the tensor of that name, aliases applied, or SOURCE_NONE. */
size_t weights_find(const weights_t *weights, const char *name, shape_t shape);
bool weights_is_taken(const weights_t *weights, size_t index);

/* The name not yet taken that is nearest to `name`, when near enough for a slip of the pen; or
 * NULL. */
const char *weights_nearest(const weights_t *weights, const char *name);

#endif
