/* name_ids.h - texts as numbers from 0 on: the same text, the same number. */
#ifndef MOLE_CORE_NAME_IDS_H
#define MOLE_CORE_NAME_IDS_H

#include <stddef.h>

typedef struct {
    char **text; /* (count), owned */
    size_t count, room;
    size_t *slot; /* number + 1, 0 for empty; at most half full */
} name_ids_t;

/* The number of a text that is there, or SIZE_MAX. */
size_t name_id_of(const name_ids_t *ids, const char *text);
/* Its number, a new one if need be. */
size_t name_id(name_ids_t *ids, const char *text);
void name_ids_free(name_ids_t *ids);

#endif
