/* arena.h - the one place where activations live.
 *
 * A stack: allocate upward, take a mark on entry to a block, release to it on exit. The address range
 * is reserved once; memory is committed by first use and reused by every later step, so that after the
 * first denoising step no page is faulted in again. Operations never allocate.
 *
 * Debug builds (make DEBUG=1) fill fresh memory with NaN and put guard words around every block; a
 * release checks them. */
#ifndef MOLE_CORE_ARENA_H
#define MOLE_CORE_ARENA_H

#include <stddef.h>

#include "core/err.h"
#include "core/real.h"

typedef struct arena arena_t;

/* Reserve `bytes` of address space (0: as much as the machine has memory). Returns 0, or -1 and err. */
int arena_create(arena_t **arena, size_t bytes, err_t *err);
void arena_destroy(arena_t *arena);

/* `count` numbers, 64-byte aligned, not zeroed, valid until a release below them. REQUIRE-fails when
 * the reservation is exhausted. */
real_t *arena_reals(arena_t *arena, size_t count);
/* The same for any type, in bytes. */
void *arena_bytes(arena_t *arena, size_t bytes);

/* `count` doubles, counted as numbers. */
static inline size_t arena_doubles(size_t count) {
    return count * sizeof(double) / sizeof(real_t);
}

typedef size_t arena_mark_t;
arena_mark_t arena_mark(const arena_t *arena);
void arena_release(arena_t *arena, arena_mark_t mark);

/* What is left of the reservation, and the most that was ever in use, in bytes. */
size_t arena_left(const arena_t *arena);
size_t arena_peak(const arena_t *arena);

#endif
