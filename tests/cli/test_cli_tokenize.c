/* mole tokenize: nothing of a text is lost without a word. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "../scratch.h"
#include "program.h"

#define TOKENIZE "tokenize --model golden/models/sd15-tiny "

static ran_t tokenize(const char *words, const char *text) {
    char all[256];
    snprintf(all, sizeof all, TOKENIZE "%s %%s", words);
    ran_t ran = program_run(NULL, all, text);
    if (ran.status) fail_msg("%s: %d, %s", all, ran.status, ran.err);
    return ran;
}

/* Lines of `text` that start with `start`. */
static size_t lines(const char *text, const char *start) {
    size_t count = 0;
    for (const char *line = text; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        count += strncmp(line, start, strlen(start)) == 0;
    }
    return count;
}

static char *many(const char *word, size_t count) {
    char *text = fixture_bytes(count * (strlen(word) + 1) + 1);
    *text = '\0';
    for (size_t i = 0; i < count; i++) {
        strcat(text, word);
        strcat(text, " ");
    }
    return text;
}

/* BREAK starts a chunk, which generate takes only when it may. */
static void text_after_break(void **state) {
    (void)state;
    static const char text[] = "a hand BREAK a face";
    ran_t cut = tokenize("--syntax weighted", text);
    assert_non_null(
        strstr(cut.err, "warning: the text makes 2 chunks of 75 tokens; generate takes 1"));
    assert_non_null(strstr(cut.out, "hand</w>"));
    assert_null(strstr(cut.out, "face</w>"));
    ran_t whole = tokenize("--syntax weighted --max-chunks 2", text);
    assert_string_equal(whole.err, "");
    const char *second = strstr(whole.out, "chunk 2/2\n");
    assert_int_equal(strncmp(whole.out, "chunk 1/2\n", 10), 0);
    assert_non_null(second);
    assert_non_null(strstr(second, "face</w>"));
    assert_true(strstr(whole.out, "hand</w>") < second);
    assert_int_equal(lines(whole.out, "  "), 2 * 77);
    ran_t plain = tokenize("", text); /* ordinary text there */
    assert_string_equal(plain.err, "");
    assert_non_null(strstr(plain.out, "face</w>"));
}

/* The same of a long text, whatever the form: 75 tokens are a chunk. */
static void long_text(void **state) {
    (void)state;
    static const char *const forms[] = {"", "--padded", "--syntax weighted", "--json"};
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        char two[64];
        assert_string_equal(tokenize(forms[i], many("hand", 75)).err, "");
        assert_non_null(strstr(tokenize(forms[i], many("hand", 76)).err, "makes 2 chunks"));
        snprintf(two, sizeof two, "--max-chunks 2 %s", forms[i]);
        assert_string_equal(tokenize(two, many("hand", 150)).err, "");
        assert_non_null(strstr(tokenize(two, many("hand", 151)).err, "makes 3 chunks"));
    }
    ran_t more = tokenize("--syntax weighted", many("BREAK", 1100));
    assert_non_null(strstr(more.err, "makes more than 1024 chunks"));
}

/* As JSON every token of a row names its chunk. */
static void chunks_as_json(void **state) {
    (void)state;
    json_error_t error;
    ran_t ran = tokenize("--json --padded --max-chunks 3", many("hand", 76));
    json_t *list = json_loads(ran.out, 0, &error);
    if (!list) fail_msg("%s", error.text);
    assert_int_equal(json_array_size(list), 2 * 77);
    for (size_t i = 0; i < 2 * 77; i++)
        assert_int_equal(json_integer_value(json_object_get(json_array_get(list, i), "chunk")),
                         i / 77 + 1);
    json_decref(list);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        fixture_test(text_after_break),
        fixture_test(long_text),
        fixture_test(chunks_as_json),
    };
    return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
