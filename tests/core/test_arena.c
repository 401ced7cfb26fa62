/* The arena as every build has it: alignment, marks, the peak, and what happens at its end. */
#include <stdint.h>
#include <string.h>

#include "../fixture.h"
#include "core/arena.h"

static arena_t *small(void) {
    arena_t *arena;
    err_t err;
    assert_int_equal(arena_create(&arena, 1 << 16, &err), 0);
    return arena;
}

static void blocks_are_aligned_and_apart(void **state) {
    (void)state;
    arena_t *arena = small();
    unsigned char *before = NULL;
    size_t length = 0;
    for (size_t bytes = 0; bytes < 200; bytes += 13) {
        unsigned char *at = arena_bytes(arena, bytes);
        assert_int_equal((uintptr_t)at % 64, 0);
        if (before) assert_true(at >= before + length);
        for (size_t i = 0; i < bytes; i++) at[i] = (unsigned char)bytes; /* ours to write */
        before = at;
        length = bytes;
    }
    arena_destroy(arena);
}

static void a_release_gives_back(void **state) {
    (void)state;
    arena_t *arena = small();
    real_t *keep = arena_reals(arena, 5);
    keep[4] = 3;
    size_t left = arena_left(arena);
    arena_mark_t mark = arena_mark(arena);
    real_t *first = arena_reals(arena, 100);
    arena_reals(arena, 7);
    assert_true(arena_left(arena) <= left - 107 * sizeof(real_t));
    arena_release(arena, mark);
    assert_int_equal(arena_left(arena), left);
    assert_ptr_equal(arena_reals(arena, 100), first);
    arena_release(arena, mark);
    assert_true(keep[4] == 3);
    arena_release(arena, mark); /* nothing above it: nothing to do */
    arena_destroy(arena);
}

static void the_peak_stays(void **state) {
    (void)state;
    arena_t *arena = small();
    assert_int_equal(arena_peak(arena), 0);
    arena_mark_t mark = arena_mark(arena);
    arena_bytes(arena, 6400);
    size_t peak = arena_peak(arena);
    assert_true(peak >= 6400);
    arena_release(arena, mark);
    arena_bytes(arena, 64);
    assert_int_equal(arena_peak(arena), peak);
    arena_destroy(arena);
}

/* bytes = 0 reserves as much as the machine has, without taking it. */
static void the_usual_size(void **state) {
    (void)state;
    arena_t *arena;
    err_t err;
    assert_int_equal(arena_create(&arena, 0, &err), 0);
    assert_true(arena_left(arena) > (size_t)1 << 26);
    char *last = (char *)arena_bytes(arena, (size_t)1 << 26) + ((size_t)1 << 26) - 1;
    *last = 1;
    arena_destroy(arena);
    arena_destroy(NULL);
}

static void more_than_can_be_reserved(void **state) {
    (void)state;
    arena_t *arena;
    err_t err;
    assert_int_equal(arena_create(&arena, (size_t)1 << 60, &err), -1);
    assert_non_null(strstr(err.text, "MiB of address space"));
}

static void overfill(void) {
    arena_t *arena = small();
    arena_bytes(arena, 60000);
    arena_bytes(arena, 6000);
}

static void overflow(void) {
    arena_bytes(small(), SIZE_MAX - 10);
}

static void overflow_of_reals(void) {
    arena_reals(small(), SIZE_MAX / 2);
}

static void release_upward(void) {
    arena_t *arena = small();
    arena_release(arena, 64);
}

static void contracts(void **state) {
    (void)state;
    fixture_aborts(overfill, "arena: 6000 bytes wanted");
    fixture_aborts(overflow, "arena:");
    fixture_aborts(overflow_of_reals, "numbers wanted");
    fixture_aborts(release_upward, "arena: release to 64 above 0");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        fixture_test(blocks_are_aligned_and_apart),
        fixture_test(a_release_gives_back),
        fixture_test(the_peak_stays),
        fixture_test(the_usual_size),
        fixture_test(more_than_can_be_reserved),
        fixture_test(contracts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
