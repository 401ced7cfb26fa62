/* edit_distance.h - how many slips of the pen part two names. */
#ifndef MOLE_CORE_EDIT_DISTANCE_H
#define MOLE_CORE_EDIT_DISTANCE_H

#include <stddef.h>

/* Levenshtein's distance: bytes to insert, to leave out or to change. limit + 1 as soon as it must exceed
 * `limit`, and of texts longer than 256 bytes. */
size_t edit_distance(const char *a, const char *b, size_t limit);

#endif
