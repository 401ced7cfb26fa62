/* arena.c - see arena.h. */
#include "core/arena.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { ALIGNMENT = 64 };

struct arena {
    unsigned char *base;
    size_t size, used, peak;
};

/* As much as the machine has, but where addresses have 32 bits only a quarter of them: programs, libraries
 * and mapped files want theirs. */
static size_t all_memory(void) {
    uint64_t bytes = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    return bytes < SIZE_MAX / 4 ? (size_t)bytes : SIZE_MAX / 4 + 1;
}

int arena_create(arena_t **arena, size_t bytes, err_t *err) {
    if (bytes == 0) bytes = all_memory();
    void *base = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED)
        return err_set(err,
                       "cannot reserve %zu MiB of address space for activations: %s. "
                       "Raise the limit (ulimit -v) and try again.",
                       bytes >> 20, strerror(errno));
#ifdef MADV_HUGEPAGE
    madvise(base, bytes, MADV_HUGEPAGE); /* 512 times fewer page faults where the system has them */
#endif
    *arena = xmalloc(sizeof **arena);
    **arena = (arena_t){.base = base, .size = bytes};
    return 0;
}

void arena_destroy(arena_t *arena) {
    if (!arena) return;
    munmap(arena->base, arena->size);
    free(arena);
}

static size_t round_up(size_t bytes) {
    return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

#ifdef MOLE_DEBUG
/* Each block stands between two guards; the lower one remembers the block's size so that a release can
 * walk down from the top and find every guard. */
static const uint64_t GUARD = 0xA5A5F00DFACE5A5AULL;
enum { GUARD_BYTES = ALIGNMENT };

static void guard_write(unsigned char *at, uint64_t size) {
    uint64_t words[2] = {GUARD, size};
    memcpy(at, words, sizeof words);
}

static uint64_t guard_size(const unsigned char *at) {
    uint64_t words[2];
    memcpy(words, at, sizeof words);
    REQUIRE(words[0] == GUARD,
            "arena: a guard word was overwritten: some operation wrote past its end");
    return words[1];
}

void *arena_bytes(arena_t *arena, size_t bytes) {
    size_t body = round_up(bytes), total = body + 2 * GUARD_BYTES;
    REQUIRE(bytes <= arena->size && total <= arena->size - arena->used,
            "arena: %zu bytes wanted, %zu of %zu in use", bytes, arena->used, arena->size);
    unsigned char *at = arena->base + arena->used;
    guard_write(at, body);
    guard_write(at + GUARD_BYTES + body, body);
    memset(at + GUARD_BYTES, 0xFF, body); /* every float and double made of 0xFF bytes is a NaN */
    arena->used += total;
    if (arena->used > arena->peak) arena->peak = arena->used;
    return at + GUARD_BYTES;
}

void arena_release(arena_t *arena, arena_mark_t mark) {
    REQUIRE(mark <= arena->used, "arena: release to %zu above %zu", mark, arena->used);
    while (arena->used > mark) {
        unsigned char *top = arena->base + arena->used - GUARD_BYTES;
        uint64_t body = guard_size(top);
        unsigned char *bottom = top - body - GUARD_BYTES;
        REQUIRE(guard_size(bottom) == body, "arena: guard words disagree");
        memset(bottom, 0xFF, body + 2 * GUARD_BYTES);
        arena->used = (size_t)(bottom - arena->base);
    }
    REQUIRE(arena->used == mark, "arena: mark %zu is not the start of a block", mark);
}
#else
void *arena_bytes(arena_t *arena, size_t bytes) {
    size_t total = round_up(bytes);
    REQUIRE(bytes <= arena->size && total <= arena->size - arena->used,
            "arena: %zu bytes wanted, %zu of %zu in use", bytes, arena->used, arena->size);
    void *at = arena->base + arena->used;
    arena->used += total;
    if (arena->used > arena->peak) arena->peak = arena->used;
    return at;
}

void arena_release(arena_t *arena, arena_mark_t mark) {
    REQUIRE(mark <= arena->used, "arena: release to %zu above %zu", mark, arena->used);
    arena->used = mark;
}
#endif

real_t *arena_reals(arena_t *arena, size_t count) {
    REQUIRE(count <= SIZE_MAX / sizeof(real_t), "arena: %zu numbers wanted", count);
    return arena_bytes(arena, count * sizeof(real_t));
}

arena_mark_t arena_mark(const arena_t *arena) {
    return arena->used;
}

size_t arena_left(const arena_t *arena) {
    return arena->size - arena->used;
}

size_t arena_peak(const arena_t *arena) {
    return arena->peak;
}
