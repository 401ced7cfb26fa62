/* name_ids.c - see name_ids.h. */
#include "core/name_ids.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/err.h"
#include "core/hash.h"

/* room > 0, a power of two, with 2 room slots. */
static size_t *slot_of(const name_ids_t *ids, const char *text) {
    size_t mask = 2 * ids->room - 1, at = (size_t)hash_bytes(text, strlen(text)) & mask;
    while (ids->slot[at] && strcmp(ids->text[ids->slot[at] - 1], text) != 0) at = (at + 1) & mask;
    return &ids->slot[at];
}

static void make_room(name_ids_t *ids) {
    if (ids->count < ids->room) return;
    ids->room = ids->room ? 2 * ids->room : 64;
    ids->text = xrealloc(ids->text, ids->room * sizeof *ids->text);
    free(ids->slot);
    ids->slot = xcalloc(2 * ids->room, sizeof *ids->slot);
    for (size_t i = 0; i < ids->count; i++) *slot_of(ids, ids->text[i]) = i + 1;
}

size_t name_id_of(const name_ids_t *ids, const char *text) {
    size_t slot = ids->room ? *slot_of(ids, text) : 0;
    return slot ? slot - 1 : SIZE_MAX;
}

size_t name_id(name_ids_t *ids, const char *text) {
    make_room(ids);
    size_t *slot = slot_of(ids, text);
    if (*slot) return *slot - 1;
    ids->text[ids->count] = xstrdup(text);
    *slot = ++ids->count;
    return ids->count - 1;
}

void name_ids_free(name_ids_t *ids) {
    for (size_t i = 0; i < ids->count; i++) free(ids->text[i]);
    free(ids->text);
    free(ids->slot);
    *ids = (name_ids_t){0};
}
