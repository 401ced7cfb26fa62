/* pool.c - see pool.h. */
#include "core/pool.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/err.h"

enum { ALIGNMENT = 64 };

struct pool_block {
    _Alignas(ALIGNMENT) pool_block_t *next;
};

void *pool_alloc(pool_t *pool, size_t count, size_t size) {
    size_t bytes;
    REQUIRE(!__builtin_mul_overflow(count, size, &bytes) && bytes < SIZE_MAX / 2,
            "pool: %zu items of %zu bytes", count, size);
    size_t total = sizeof(pool_block_t) + (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    pool_block_t *block = aligned_alloc(ALIGNMENT, total);
    REQUIRE(block, "pool: out of memory (%zu bytes asked for)", total);
    memset(block, 0, total);
    block->next = pool->blocks;
    pool->blocks = block;
    return block + 1;
}

const char *pool_printf(pool_t *pool, const char *format, ...) {
    va_list args;
    va_start(args, format);
    int length = vsnprintf(NULL, 0, format, args);
    va_end(args);
    REQUIRE(length >= 0, "pool: format '%s'", format);
    char *text = pool_alloc(pool, (size_t)length + 1, 1);
    va_start(args, format);
    vsnprintf(text, (size_t)length + 1, format, args);
    va_end(args);
    return text;
}

void pool_free(pool_t *pool) {
    for (pool_block_t *block = pool->blocks; block;) {
        pool_block_t *next = block->next;
        free(block);
        block = next;
    }
    pool->blocks = NULL;
}
