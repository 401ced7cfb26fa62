/* Messages: set, prefixed, cut where they are too long; what aborts, and with which words. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../fixture.h"
#include "core/err.h"

static void set_and_prefix(void **state) {
    (void)state;
    err_t err;
    assert_int_equal(err_set(&err, "%s: %d of %zu", "file", 3, (size_t)4), -1);
    assert_string_equal(err.text, "file: 3 of 4");
    assert_int_equal(err_prefix(&err, "layer %d", 7), -1);
    assert_string_equal(err.text, "layer 7: file: 3 of 4");
    assert_int_equal(err_set(&err, "%s", "anew"), -1);
    assert_string_equal(err.text, "anew");
    assert_int_equal(err_set(&err, "100%%: %s", err.text),
                     -1); /* formats are formats, texts texts */
    assert_int_equal(err_set(NULL, "nobody listens"), -1);
    assert_int_equal(err_prefix(NULL, "nobody listens"), -1);
}

static void long_messages_are_cut(void **state) {
    (void)state;
    err_t err;
    char words[2 * sizeof err.text];
    memset(words, 'w', sizeof words - 1);
    words[sizeof words - 1] = '\0';
    err_set(&err, "%s", words);
    assert_int_equal(strlen(err.text), sizeof err.text - 1);
    err_prefix(&err, "file");
    assert_int_equal(strlen(err.text), sizeof err.text - 1);
    assert_memory_equal(err.text, "file: www", 9);
    err_prefix(&err, "%s", words); /* no room for what it stands before */
    assert_int_equal(strlen(err.text), sizeof err.text - 1);
    assert_int_equal(err.text[sizeof err.text - 2], 'w');
}

static void break_contract(void) {
    int B = 3;
    REQUIRE(B == 2, "operation: B=%d, expected %d", B, 2);
}

static void too_much(void) {
    xmalloc((size_t)1 << 62);
}

static void too_many(void) {
    xcalloc((size_t)1 << 62, 16);
}

static void too_much_again(void) {
    xrealloc(NULL, (size_t)1 << 62);
}

static void aborts(void **state) {
    (void)state;
    fixture_aborts(break_contract, "broken contract: operation: B=3, expected 2 [");
    fixture_aborts(break_contract, "B == 2");
    fixture_aborts(break_contract, "test_err.c");
    int evaluated = 0;
    REQUIRE(++evaluated, "never");
    assert_int_equal(evaluated, 1);
}

/* Requests that no machine can meet end with a message. (The sanitizers report them themselves.) */
static void out_of_memory(void **state) {
    (void)state;
#if defined(__SANITIZE_ADDRESS__)
    printf("SKIP: the address sanitizer answers for malloc\n");
    skip();
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
    printf("SKIP: the address sanitizer answers for malloc\n");
    skip();
#endif
#endif
    fixture_aborts(too_much, "out of memory (4611686018427387904 bytes");
    fixture_aborts(too_many, "out of memory");
    fixture_aborts(too_much_again, "out of memory");
}

static void strings(void **state) {
    (void)state;
    char *copy = xstrdup("text"), *made = xasprintf("%s-%04d%s", copy, 7, ""),
         *none = xasprintf("%s", "");
    assert_string_equal(copy, "text");
    assert_string_equal(made, "text-0007");
    assert_string_equal(none, "");
    char words[5000];
    memset(words, 'w', sizeof words - 1);
    words[sizeof words - 1] = '\0';
    char *longer = xasprintf("%s!", words);
    assert_int_equal(strlen(longer), 5000);
    unsigned char *zeros = xcalloc(7, 3);
    for (int i = 0; i < 21; i++) assert_int_equal(zeros[i], 0);
    free(xrealloc(zeros, 100));
    free(xcalloc(0, 8));
    free(copy);
    free(made);
    free(none);
    free(longer);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        fixture_test(set_and_prefix), fixture_test(long_messages_are_cut),
        fixture_test(aborts),         fixture_test(out_of_memory),
        fixture_test(strings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
