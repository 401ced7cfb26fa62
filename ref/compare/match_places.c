/* match_places.c - which numbers of a tensor are looked at to tell whose it is; see match.h. */
#include <stdlib.h>

#include "compare/match.h"

/* A large tensor is not read to its end for a sample. */
enum { END = 1 << 16 };

size_t match_block(size_t count, size_t b) {
    size_t end = count < END ? count : END;
    return (end - MATCH_BLOCK) * b / (MATCH_BLOCKS - 1);
}

size_t match_place(size_t count, size_t k) {
    size_t places = count < MATCH_SPREAD ? count : MATCH_SPREAD, size = count / places;
    return size * k + (k * 2654435761u >> 3) % size;
}

static int by_size(const void *a, const void *b) {
    size_t x = *(const size_t *)a, y = *(const size_t *)b;
    return (x > y) - (x < y);
}

size_t match_places(size_t count, size_t place[MATCH_PLACES]) {
    size_t found = 0, kept = 0;
    for (size_t i = 0; i < MATCH_HEAD && i < count; i++) place[found++] = i;
    for (size_t k = 0; k < MATCH_SPREAD && count > MATCH_HEAD; k++) {
        place[found++] = match_place(count, k);
        place[found++] = match_block(count, k / MATCH_BLOCK) + k % MATCH_BLOCK;
    }
    qsort(place, found, sizeof *place, by_size);
    for (size_t i = 0; i < found; i++)
        if (!kept || place[i] != place[kept - 1]) place[kept++] = place[i];
    return kept;
}
