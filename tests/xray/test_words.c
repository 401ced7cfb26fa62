/* The words of a prompt: their texts, and that the tokens at their places are theirs. */
#include "../fixture.h"
#include "../scratch.h"
#include "xray/words.h"

static tokenizer_t *tokenizer;

static int open_tokenizer(void **state) {
    (void)state;
    err_t err;
    return tokenizer_open(&tokenizer, "golden/models/sd15-tiny/tokenizer", &err);
}

static int close_tokenizer(void **state) {
    (void)state;
    tokenizer_close(tokenizer);
    return 0;
}

static words_t find(const char *prompt, prompt_options_t options) {
    words_t words;
    err_t err;
    if (words_find(&words, tokenizer, prompt, &options, &err)) fail_msg("%s", err.text);
    return words;
}

/* `expected`: the words with '|' between them. Each, encoded alone, is the ids at its places. */
static void words_are(const char *prompt, prompt_options_t options, const char *expected) {
    words_t words = find(prompt, options);
    prompt_tokens_t rows;
    err_t err;
    char all[4096] = "";
    if (prompt_encode(&rows, tokenizer, &prompt, NULL, 1, &options, &err)) fail_msg("%s", err.text);
    for (size_t i = 0; i < words.count; i++) {
        const word_t *w = &words.word[i];
        token_list_t ids = {0};
        strcat(strcat(all, i ? "|" : ""), w->text);
        assert_int_equal(tokenizer_encode(tokenizer, w->text, strlen(w->text), &ids, &err), 0);
        assert_int_equal(ids.count, w->count);
        assert_memory_equal(ids.id, rows.ids + w->first, w->count * sizeof *ids.id);
        token_list_free(&ids);
    }
    assert_string_equal(all, expected);
    prompt_tokens_free(&rows);
    words_free(&words);
}

static void the_words(void **state) {
    (void)state;
    prompt_options_t weighted = {PROMPT_WEIGHTED, 2};
    words_are("", PROMPT_DEFAULTS, "");
    words_are("A hand, waving", PROMPT_DEFAULTS, "a|hand|,|waving");
    words_are("hand hand", PROMPT_DEFAULTS, "hand|hand");
    words_are("(red) [face:1.5]", weighted, "red|face|:|1|.|5");
    words_are("\xc3\xa9t\xc3\xa9 \xe6\x89\x8b", PROMPT_DEFAULTS, "\xc3\xa9t\xc3\xa9|\xe6\x89\x8b");
    words_are("</script>", PROMPT_DEFAULTS, "</|script|>");
}

/* Places go on in the second row; more words than there is room for are counted. */
static void long_prompts(void **state) {
    (void)state;
    char prompt[2 * 100 + 1];
    for (size_t i = 0; i < 100; i++) memcpy(prompt + 2 * i, i == 80 ? "b " : "a ", 3);
    words_t one = find(prompt, PROMPT_DEFAULTS);
    assert_int_equal(one.count, WORDS_MOST);
    assert_int_equal(one.left_out, 75 - WORDS_MOST);
    words_free(&one);
    words_t two = find(prompt, (prompt_options_t){PROMPT_WEIGHTED, 2});
    assert_int_equal(two.left_out, 100 - WORDS_MOST);
    words_free(&two);
    words_are("a BREAK hand", (prompt_options_t){PROMPT_WEIGHTED, 2}, "a|hand");
}

/* Padding with a token of text, as v2.1 has it ("!"), is no word; the same token in the prompt is. */
static void padding(void **state) {
    (void)state;
    tokenizer_t *kept = tokenizer;
    token_list_t ids = {0};
    err_t err;
    must(tokenizer_open(&tokenizer, "golden/models/sd15-tiny/tokenizer", &err), &err);
    must(tokenizer_encode(tokenizer, "a", 1, &ids, &err), &err);
    tokenizer_set_pad(tokenizer, ids.id[0]);
    words_are("a hand", PROMPT_DEFAULTS, "a|hand");
    words_are("hand a", (prompt_options_t){PROMPT_WEIGHTED, 2}, "hand|a");
    tokenizer_close(tokenizer);
    token_list_free(&ids);
    tokenizer = kept;
}

/* A character that the row cuts in two, and what turns the direction of text. */
static void what_cannot_be_shown(void **state) {
    (void)state;
    words_t words = find("x\xe2\x80\xaey", PROMPT_DEFAULTS);
    for (size_t i = 0; i < words.count; i++)
        assert_null(strstr(words.word[i].text, "\xe2\x80\xae"));
    words_free(&words);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        fixture_test(the_words),
        fixture_test(long_prompts),
        fixture_test(padding),
        fixture_test(what_cannot_be_shown),
    };
    return cmocka_run_group_tests(tests, open_tokenizer, close_tokenizer);
}
