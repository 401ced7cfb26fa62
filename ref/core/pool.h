/* pool.h - memory that lives as long as its owner: module structs, names, small tables.
 *
 * Everything is freed at once by pool_free. Never for activations (arena.h) or weights (io/weights.h). */
#ifndef MOLE_CORE_POOL_H
#define MOLE_CORE_POOL_H

#include <stddef.h>

typedef struct pool_block pool_block_t;
typedef struct {
    pool_block_t *blocks;
} pool_t; /* {0} is an empty pool */

/* Zeroed, aligned to 64 bytes. Never NULL. */
void *pool_alloc(pool_t *pool, size_t count, size_t size);
const char *pool_printf(pool_t *pool, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void pool_free(pool_t *pool);

#endif
