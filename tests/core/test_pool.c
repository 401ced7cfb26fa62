/* The pool: zeroed, aligned, apart, and freed at once (which the leak check of a sanitizer build sees). */
#include <stdint.h>
#include <string.h>

#include "../fixture.h"
#include "core/pool.h"

static void blocks(void **state) {
    (void)state;
    pool_t pool = {0};
    unsigned char *block[50];
    for (size_t k = 0; k < 50; k++) {
        block[k] = pool_alloc(&pool, k, 7);
        assert_non_null(block[k]);
        assert_int_equal((uintptr_t)block[k] % 64, 0);
        for (size_t i = 0; i < 7 * k; i++) assert_int_equal(block[k][i], 0);
        memset(block[k], (int)k, 7 * k);
    }
    for (size_t k = 0; k < 50; k++)
        for (size_t i = 0; i < 7 * k; i++) assert_int_equal(block[k][i], k);
    pool_free(&pool);
    assert_null(pool.blocks);
    pool_free(&pool); /* an empty pool again */
    assert_non_null(pool_alloc(&pool, 1, 1));
    pool_free(&pool);
}

static void text(void **state) {
    (void)state;
    pool_t pool = {0};
    const char *name = pool_printf(&pool, "down_blocks.%zu.%s", (size_t)2, "attn1");
    const char *none = pool_printf(&pool, "%s", "");
    char words[1000];
    memset(words, 'w', sizeof words - 1);
    words[sizeof words - 1] = '\0';
    const char *longer = pool_printf(&pool, "%s%s", words, words);
    assert_string_equal(name, "down_blocks.2.attn1");
    assert_string_equal(none, "");
    assert_int_equal(strlen(longer), 1998);
    pool_free(&pool);
}

static void overflow(void) {
    pool_t pool = {0};
    pool_alloc(&pool, SIZE_MAX / 4 + 2, 4); /* 4 bytes, if it were not checked */
}

static void too_much(void) {
    pool_t pool = {0};
    pool_alloc(&pool, SIZE_MAX, 1);
}

static void contracts(void **state) {
    (void)state;
    fixture_aborts(overflow, "pool: 4611686018427387905 items of 4 bytes");
    fixture_aborts(too_much, "pool:");
}

int main(void) {
    const struct CMUnitTest tests[] = {fixture_test(blocks), fixture_test(text),
                                       fixture_test(contracts)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
