/* test_tokenizer_files.c - hostile and broken tokenizer folders: one message each, nothing leaked. */
#include "../unit.h"
#include "prompt/tokenizer.h"
#include "tokenizer_folder.h"

static const char *const merges[] = {"a b", "ab c</w>", NULL};

static void missing_files(void **state) {
    (void)state;
    assert_refused("tokenizer.json", "vocab.json", "merges.txt", folder_path(), NULL);
    folder_pair(merges);
    folder_text("merges.txt", NULL);
    assert_refused("merges.txt is missing", "vocab.json", NULL);
    folder_pair(merges);
    folder_text("vocab.json", NULL);
    assert_refused("vocab.json is missing", "merges.txt", NULL);
    tokenizer_t *tok;
    err_t err;
    assert_int_equal(tokenizer_open(&tok, "/nowhere/at/all", &err), -1);
    assert_non_null(strstr(err.text, "/nowhere/at/all"));
}

static void bad_vocabulary(void **state) {
    (void)state;
    static const char *const table[][3] = {
        {"", "vocab.json:1", "not JSON"},
        {"{\"a\": 0", "vocab.json:1", "not JSON"},
        {"[1]", "vocab.json", "object"},
        {"{}", "vocab.json", "0 pieces"},
        {"{\"a\": 0, \"a\": 1}", "vocab.json", "duplicate"},
        {"{\"a\": 0, \"b\": 0}", "\"a\"", "unique"},
        {"{\"a\": -1}", "\"a\"", "from 0 to 1"},
        {"{\"a\": 0, \"b\": 4}", "\"b\"", "from 0 to 3"},
        {"{\"a\": 0, \"b\": 1e300}", "\"b\"", "from 0 to 3"},
        {"{\"a\": 0, \"b\": 1.5}", "\"b\"", "integer"},
        {"{\"a\": \"0\"}", "\"a\"", "integer"},
        {"{\"a\": null}", "\"a\"", "integer"},
        {"{\"\": 0}", "empty piece", "vocab.json"},
        {"{\"\\u0000\": 0}", "vocab.json:1", "not JSON"},
        {"{\"\xFF\": 0}", "vocab.json:1", "not JSON"},
        {"{\"a\": 0}", "\"b\"", "merge"},
        {"{\"a\\u001b[2J\": -1}", "a?[2J", "from 0"},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        folder_text("vocab.json", table[i][0]);
        folder_text("merges.txt", "#version: 0.2\na b\n");
        assert_refused(table[i][1], table[i][2], NULL);
    }
    size_t deep = 1 << 20;
    char *text = xmalloc(deep);
    memset(text, '[', deep);
    folder_bytes("vocab.json", text, deep);
    assert_refused("vocab.json:1", "not JSON", NULL);
    free(text);
}

static void bad_merges(void **state) {
    (void)state;
    static const char *const table[][3] = {
        {"#version: 0.2\na b\n\na c\n", "merge 3", "found \"\""},
        {"a  b\n", "merge 1", "left right"},
        {"a b c\n", "merge 1", "a b c"},
        {"ab\n", "merge 1", "left right"},
        {" a\n", "merge 1", "left right"},
        {"a \n", "merge 1", "left right"},
        {"a xyz\n", "merge 1", "\"xyz\" is not in the vocabulary"},
        {"a b\nb a\n", "merge 2", "gives \"ba\""},
        {"#version\na b\nab c</w>\na b\n", "merge 4", "merge 1 of the list"},
    };
    folder_pair(merges);
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        folder_text("merges.txt", table[i][0]);
        assert_refused(table[i][1], table[i][2], "merges.txt", NULL);
    }
    folder_bytes("merges.txt", "a\0b c\n", 6);
    assert_refused("merge 1", "left right", NULL);
    size_t lines = 2000000;
    char *text = xmalloc(lines);
    memset(text, '\n', lines);
    folder_bytes("merges.txt", text, lines);
    assert_refused("2000001 lines", "at most", NULL);
    free(text);
}

/* Lines that end in CR LF, no newline at the end, no #version line, nothing at all: all fine. */
static void merges_that_are_fine(void **state) {
    (void)state;
    static const char *const table[] = {"a b\r\nab c</w>\r\n", "a b\nab c</w>",
                                        "#version: 9\na b\nab c</w>\n", ""};
    folder_pair(merges);
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        folder_text("merges.txt", table[i]);
        tokenizer_t *tok;
        err_t err = {""};
        if (tokenizer_open(&tok, folder_path(), &err)) fail_msg("%zu: %s", i, err.text);
        assert_int_equal(tokenizer_info(tok)->merges, *table[i] ? 2 : 0);
        tokenizer_close(tok);
    }
}

static void bad_whole(void **state) {
    (void)state;
    static const char *const table[][3] = {
        {"{}", "tokenizer.json", "\"model\""},
        {"{\"model\": 1}", "tokenizer.json", "\"model\""},
        {"{\"model\": {\"type\": \"Unigram\"}}", "Unigram", "BPE"},
        {"{\"model\": {\"type\": \"BPE\"}}", "end_of_word_suffix", "</w>"},
        {"{\"model\": {\"end_of_word_suffix\": \"</w>\"}}", "model.vocab", "object"},
        {"{\"model\": {\"end_of_word_suffix\": \"</w>\", \"vocab\": {\"a\": 0}}}", "model.merges",
         "array"},
        {"{\"model\": {\"end_of_word_suffix\": \"</w>\", \"vocab\": {\"a\": 0},"
         " \"merges\": [\"a\"]}}",
         "model.merges: merge 1", "left right"},
        {"{\"model\": {\"end_of_word_suffix\": \"</w>\", \"vocab\": {\"a\": 0},"
         " \"merges\": [[\"a\", \"a\", \"a\"]]}}",
         "model.merges: merge 1", "[\"left\", \"right\"]"},
        {"{\"model\": {\"end_of_word_suffix\": \"</w>\", \"vocab\": {\"a\": 0},"
         " \"merges\": [{\"a\": 1}]}}",
         "model.merges: merge 1", "[\"left\", \"right\"]"},
        {"{\"added_tokens\": [{\"id\": 0.5, \"content\": \"a\"}], \"model\":"
         " {\"end_of_word_suffix\": \"</w>\", \"vocab\": {\"a\": 0}, \"merges\": []}}",
         "tokenizer.json: added_tokens", "0.5"},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        folder_text("tokenizer.json", table[i][0]);
        assert_refused(table[i][1], table[i][2], NULL);
    }
}

/* tokenizer.json with one more member, a JSON text. */
static void whole_with(const char *key, const char *value) {
    char path[1200];
    folder_whole(merges, 0);
    snprintf(path, sizeof path, "%s/tokenizer.json", folder_path());
    json_t *whole = json_load_file(path, 0, NULL), *member = json_loads(value, 0, NULL);
    assert_non_null(whole);
    assert_non_null(member);
    json_object_set_new(whole, key, member);
    folder_json("tokenizer.json", whole);
    json_decref(whole);
}

/* transformers cuts and fills rows as tokenizer.json says, where no call says otherwise. */
static void rows_of_a_whole(void **state) {
    (void)state;
    static const char pad[] =
        "{\"direction\": \"Right\", \"pad_token\": \"!</w>\", \"pad_id\": 256}";
    tokenizer_t *tok;
    err_t err = {""};
    whole_with("truncation", "{\"direction\": \"Left\", \"max_length\": 77}");
    assert_refused("tokenizer.json", "truncation.direction", "Left", NULL);
    whole_with("padding", "{\"direction\": \"Left\"}");
    assert_refused("tokenizer.json", "padding.direction", "Left", NULL);
    whole_with("padding", "{\"direction\": 3}");
    assert_refused("tokenizer.json", "padding.direction", NULL);
    whole_with("padding", pad);
    assert_refused("tokenizer.json", "padding.pad_token", "!</w>", "tokenizer_config.json", NULL);
    folder_text("tokenizer_config.json", "{\"pad_token\": \"<|endoftext|>\"}");
    if (tokenizer_open(&tok, folder_path(), &err)) fail_msg("%s", err.text);
    assert_int_equal(tokenizer_info(tok)->pad, tokenizer_info(tok)->eos);
    tokenizer_close(tok);
    folder_text("tokenizer_config.json", NULL);
    whole_with("truncation", "{\"direction\": \"Right\", \"max_length\": 10}");
    if (tokenizer_open(&tok, folder_path(), &err)) fail_msg("%s", err.text);
    tokenizer_close(tok);
    folder_text("tokenizer.json", NULL);
}

static void bad_settings(void **state) {
    (void)state;
    static const char *const table[][3] = {
        {"{\"bos_token\": \"[BOS]\"}", "bos_token", "[BOS]"},
        {"{\"pad_token\": null}", "pad_token", "expected a token"},
        {"{\"eos_token\": 5}", "eos_token", "expected a token"},
        {"{\"eos_token\": \"\"}", "eos_token", "expected a token"},
        {"{\"eos_token\": {\"text\": \"x\"}}", "eos_token", "content"},
        {"{\"eos_token\": {\"content\": \"a\", \"single_word\": true}}", "eos_token",
         "single_word"},
        {"{\"model_max_length\": 2}", "model_max_length", "from 3"},
        {"{\"model_max_length\": 77.5}", "model_max_length", "integer"},
        {"{\"model_max_length\": 1000000}", "model_max_length", "65536"},
        {"{\"model_max_length\": \"77\"}", "model_max_length", "integer"},
        {"{\"tokenizer_class\": \"T5Tokenizer\"}", "T5Tokenizer", "CLIPTokenizer"},
        {"{\"padding_side\": \"left\"}", "padding_side", "left"},
        {"{\"truncation_side\": \"left\"}", "truncation_side", "left"},
        {"{\"split_special_tokens\": true}", "split_special_tokens", "not supported"},
        {"{\"added_tokens_decoder\": {\"x\": {\"content\": \"a\"}}}", "\"x\"", "token id"},
        {"{\"added_tokens_decoder\": {\"-1\": {\"content\": \"a\"}}}", "\"-1\"", "token id"},
        {"{\"added_tokens_decoder\": {\"nan\": {\"content\": \"a\"}}}", "\"nan\"", "token id"},
        {"{\"added_tokens_decoder\": {\"9\": {}}}", "\"9\"", "content"},
        {"{\"added_tokens_decoder\": {\"9\": {\"content\": \"q9\"}}}", "q9", "expected 516"},
        {"{\"additional_special_tokens\": \"x\"}", "additional_special_tokens", "list"},
        {"{\"additional_special_tokens\": [1]}", "additional_special_tokens", "expected a token"},
        {"[]", "tokenizer_config.json", "object"},
        {"{", "tokenizer_config.json:1", "not JSON"},
    };
    folder_pair(merges);
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        folder_text("tokenizer_config.json", table[i][0]);
        assert_refused(table[i][1], table[i][2], NULL);
    }
    folder_text("tokenizer_config.json", "{}");
    folder_text("special_tokens_map.json", "{\"pad_token\": \"nowhere\"}");
    assert_refused("pad_token", "nowhere", "not in the vocabulary", NULL);
    folder_text("special_tokens_map.json", NULL);
    folder_text("added_tokens.json", "{\"<cat>\": \"514\"}");
    assert_refused("added_tokens.json", "<cat>", "token id", NULL);

    json_t *many = json_object();
    for (int i = 0; i < 2000; i++) {
        char name[16];
        snprintf(name, sizeof name, "<%d>", i);
        json_object_set_new(many, name, json_integer(516 + i));
    }
    folder_json("added_tokens.json", many);
    json_decref(many);
    assert_refused("more than 1024 added tokens", NULL);
}

/* Every prefix of a good tokenizer.json is refused, and nothing of it leaks. */
static void truncated_whole(void **state) {
    (void)state;
    folder_whole(merges, 1);
    char path[512];
    snprintf(path, sizeof path, "%s/tokenizer.json", folder_path());
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    static char text[1 << 16];
    size_t bytes = fread(text, 1, sizeof text, file);
    fclose(file);
    assert_true(bytes > 1000 && bytes < sizeof text);
    for (size_t cut = 0; cut < bytes; cut += 97) {
        folder_bytes("tokenizer.json", text, cut);
        assert_refused("tokenizer.json", "not JSON", NULL);
    }
}

#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, folder_setup, folder_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        IN_FOLDER(missing_files),        IN_FOLDER(bad_vocabulary),  IN_FOLDER(bad_merges),
        IN_FOLDER(merges_that_are_fine), IN_FOLDER(bad_whole),       IN_FOLDER(bad_settings),
        IN_FOLDER(truncated_whole),      IN_FOLDER(rows_of_a_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
