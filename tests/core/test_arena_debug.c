/* The arena of debug builds: its source is compiled here with MOLE_DEBUG, whatever the build, and takes the
 * place of the library's. */
#ifndef MOLE_DEBUG
#define MOLE_DEBUG
#endif
#include "../../ref/core/arena.c"

#include <math.h>

#include "../fixture.h"

static arena_t *small(void) {
    arena_t *arena = NULL;
    err_t err;
    assert_int_equal(arena_create(&arena, 1 << 16, &err), 0);
    return arena;
}

static void fresh_memory_is_nan(void **state) {
    (void)state;
    arena_t *arena = small();
    for (int again = 0; again < 2; again++) {
        arena_mark_t mark = arena_mark(arena);
        real_t *x = arena_reals(arena, 33);
        double *d = arena_bytes(arena, 9 * sizeof *d);
        for (size_t i = 0; i < 33; i++) assert_true(isnan(x[i]));
        for (size_t i = 0; i < 9; i++) assert_true(isnan(d[i]));
        for (size_t i = 0; i < 33; i++) x[i] = 1; /* what was written must not be seen again */
        arena_release(arena, mark);
        assert_true(isnan(x[0]));
    }
    arena_destroy(arena);
}

/* Every size, written to its last byte, is no overrun. */
static void the_whole_block_is_ours(void **state) {
    (void)state;
    arena_t *arena = small();
    arena_mark_t mark = arena_mark(arena);
    for (size_t bytes = 0; bytes < 130; bytes++) memset(arena_bytes(arena, bytes), 0, bytes);
    arena_release(arena, mark);
    assert_int_equal(arena_mark(arena), mark);
    arena_destroy(arena);
}

/* Guards stand at multiples of 64 bytes; a block of 64 has none to spare. */
static void overrun(void) {
    arena_t *arena = small();
    arena_mark_t mark = arena_mark(arena);
    char *at = arena_bytes(arena, 64);
    at[64] = 0;
    arena_release(arena, mark);
}

static void underrun(void) {
    arena_t *arena = small();
    arena_mark_t mark = arena_mark(arena);
    char *at = arena_bytes(arena, 64);
    at[-64] = 0;
    arena_release(arena, mark);
}

/* An overrun of the lower of two blocks, into the guard between them. */
static void overrun_below(void) {
    arena_t *arena = small();
    arena_mark_t mark = arena_mark(arena);
    real_t *lower = arena_reals(arena, 64);
    arena_reals(arena, 3);
    lower[64] = 0;
    arena_release(arena, mark);
}

/* The size that the lower guard remembers is guarded too. */
static void spoilt_size(void) {
    arena_t *arena = small();
    arena_mark_t mark = arena_mark(arena);
    char *at = arena_bytes(arena, 64);
    at[-64 + 8] ^= 64;
    arena_release(arena, mark);
}

static void mark_inside_a_block(void) {
    arena_t *arena = small();
    arena_bytes(arena, 640);
    arena_release(arena, 128);
}

static void overfill(void) {
    arena_t *arena = small();
    arena_bytes(arena, (1 << 16) - 64); /* would fit without its guards */
}

static void what_is_caught(void **state) {
    (void)state;
    fixture_aborts(overrun, "wrote past its end");
    fixture_aborts(underrun, "wrote past its end");
    fixture_aborts(overrun_below, "wrote past its end");
    fixture_aborts(spoilt_size, "guard words disagree");
    fixture_aborts(mark_inside_a_block, "not the start of a block");
    fixture_aborts(overfill, "bytes wanted");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        fixture_test(fresh_memory_is_nan),
        fixture_test(the_whole_block_is_ours),
        fixture_test(what_is_caught),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
