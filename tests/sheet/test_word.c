/* Which word is looked at, and which tokens it is. */
#include "../fixture.h"
#include "sheet/word.h"

static const mole_files_t both = {.experts = 2, .name = {"face", "hand"}}, none = {.experts = 0};

static void usual_is(const char *prompt, const mole_files_t *experts, const char *expected) {
    char *word = word_usual(prompt, experts);
    const char *found = word ? word : "none";
    if (strcmp(found, expected) != 0)
        fail_msg("'%s': '%s', should be '%s'", prompt, found, expected);
    free(word);
}

static void the_usual_word(void **state) {
    (void)state;
    usual_is("a portrait of a smiling woman waving her Hand, soft light", &both, "hand");
    usual_is("two hands and a face", &both, "hands");
    usual_is("a handsome man with a hat", &both, "man");
    usual_is("a photo of a cat in the rain", &none, "cat");
    usual_is("a portrait of a smiling woman waving her hand", &none, "hand");
    usual_is("portrait, soft light", &none, "portrait");
    usual_is("in the rain", &none, "rain");
    usual_is("(red) house", &none, "red");
    usual_is("\xe6\x89\x8b", &none, "\xe6\x89\x8b");
    usual_is("the", &both, "none");
    usual_is("", &both, "none");
    usual_is("1 + 1", &both, "none");
}

static tokenizer_t *open_tokenizer(void) {
    tokenizer_t *tokenizer;
    err_t err;
    if (tokenizer_open(&tokenizer, "golden/models/sd15-tiny/tokenizer", &err))
        fail_msg("%s", err.text);
    return tokenizer;
}

static void tokens_are(const char *prompt, prompt_options_t options, const char *word,
                       const size_t *expected, size_t count_of) {
    tokenizer_t *tokenizer = open_tokenizer();
    size_t *token, count;
    err_t err = {""};
    int status = word_tokens(&token, &count, tokenizer, prompt, &options, word, &err);
    if (status != (count_of ? 0 : -1)) fail_msg("'%s' in '%s': %s", word, prompt, err.text);
    assert_int_equal(count, count_of);
    for (size_t i = 0; i < count; i++) assert_int_equal(token[i], expected[i]);
    if (!count_of && !strstr(err.text, "its words: ")) fail_msg("%s", err.text);
    free(token);
    tokenizer_close(tokenizer);
}

/* Position 0 is the begin of the row. */
static void its_tokens(void **state) {
    (void)state;
    static const prompt_options_t plain = {PROMPT_PLAIN, 1}, weighted = {PROMPT_WEIGHTED, 2};
    static const char *const prompt = "Two hands, a face and hand";
    tokens_are(prompt, plain, "hand", (const size_t[]){7}, 1);
    tokens_are(prompt, plain, "HANDS", (const size_t[]){2}, 1);
    tokens_are(prompt, plain, "a face", (const size_t[]){4, 5}, 2);
    tokens_are("hand hand", plain, "hand", (const size_t[]){1, 2}, 2);
    tokens_are(prompt, plain, "foot", NULL, 0);
    tokens_are(prompt, plain, "", NULL, 0);
    tokens_are("", plain, "foot", NULL, 0);
    /* "woman" is more than one token of this small vocabulary. */
    tokens_are("a woman", plain, "woman", (const size_t[]){2, 3, 4}, 3);
    /* Brackets are no tokens. BREAK fills up to 77 tokens, of which the first row takes 75: begin, two more
     * that fill, "a", "face". */
    tokens_are("(hand:1.3) face", weighted, "hand", (const size_t[]){1}, 1);
    tokens_are("a hand BREAK a face", weighted, "face", (const size_t[]){77 + 4}, 1);
}

/* What is cut off is not there; the message lists the words. */
static void cut_off(void **state) {
    (void)state;
    char prompt[400] = "";
    for (int i = 0; i < 75; i++) strcat(prompt, "a ");
    strcat(prompt, "hand");
    tokens_are(prompt, PROMPT_DEFAULTS, "hand", NULL, 0);
    tokenizer_t *tokenizer = open_tokenizer();
    size_t *token, count;
    err_t err;
    prompt_options_t options = PROMPT_DEFAULTS;
    assert_int_equal(
        word_tokens(&token, &count, tokenizer, "Two hands, a face", &options, "foot", &err), -1);
    assert_string_equal(err.text, "the word 'foot' is not among the prompt's tokens; its words: "
                                  "two, hands, a, face");
    tokenizer_close(tokenizer);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        fixture_test(the_usual_word),
        fixture_test(its_tokens),
        fixture_test(cut_off),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
