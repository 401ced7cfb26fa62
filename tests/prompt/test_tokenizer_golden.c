/* test_tokenizer_golden.c - ids of golden/tokenizer/, which transformers' CLIPTokenizer made. */
#include <jansson.h>

#include "../unit.h"
#include "prompt/tokenizer.h"

enum { AT_LEAST = 300 };

static int show_ids(char *text, size_t size, const int32_t *ids, size_t count) {
    size_t used = 0;
    for (size_t i = 0; i < count && used + 16 < size; i++)
        used += (size_t)snprintf(text + used, size - used, " %d", ids[i]);
    return (int)used;
}

/* Whether ids are those of the list; prints both when not. */
static int same_ids(const char *what, const char *text, const json_t *expected, const int32_t *ids,
                    size_t count) {
    size_t at = 0;
    while (at < count && json_integer_value(json_array_get(expected, at)) == ids[at]) at++;
    if (at == count && json_array_size(expected) == count) return 1;
    char found[512] = "";
    show_ids(found, sizeof found, ids, count);
    char *wanted = json_dumps(expected, JSON_COMPACT);
    print_error("%s of \"%s\": differs at %zu: found%s, expected %s\n", what, text, at, found,
                wanted);
    free(wanted);
    return 0;
}

static size_t check_string(const tokenizer_t *tok, const json_t *entry) {
    const json_t *text = json_object_get(entry, "text"), *full = json_object_get(entry, "full");
    size_t max_length = tokenizer_info(tok)->max_length, wrong = 0;
    const char *value = json_string_value(text);
    size_t length = json_string_length(text);
    token_list_t ids = {0};
    err_t err = {""};
    if (tokenizer_encode(tok, value, length, &ids, &err)) {
        print_error("\"%s\": %s\n", value, err.text);
        return 1;
    }
    wrong += !same_ids("ids", value, json_object_get(entry, "ids"), ids.id, ids.count);
    if (full) {
        int32_t *row = xmalloc(max_length * sizeof *row);
        bool truncated = false;
        assert_int_equal(tokenizer_encode_padded(tok, value, length, row, &truncated, &err), 0);
        wrong += !same_ids("row", value, full, row, max_length);
        assert_int_equal(truncated, ids.count > max_length - 2);
        free(row);
    }
    token_list_free(&ids);
    return wrong;
}

static void check_file(const char *path, const char *folder, size_t at_least) {
    json_error_t where;
    json_t *golden = json_load_file(path, JSON_ALLOW_NUL, &where);
    if (!golden) fail_msg("%s: %s", path, where.text);
    tokenizer_t *tok;
    err_t err = {""};
    if (tokenizer_open(&tok, folder, &err)) fail_msg("%s", err.text);
    const tokenizer_info_t *info = tokenizer_info(tok);
    assert_int_equal(info->vocab, json_integer_value(json_object_get(golden, "vocab_size")));
    assert_int_equal(info->bos, json_integer_value(json_object_get(golden, "bos")));
    assert_int_equal(info->eos, json_integer_value(json_object_get(golden, "eos")));
    assert_int_equal(info->pad, json_integer_value(json_object_get(golden, "pad")));
    assert_int_equal(info->max_length, json_integer_value(json_object_get(golden, "max_length")));

    const json_t *strings = json_object_get(golden, "strings");
    size_t wrong = 0, rows = 0, i;
    const json_t *entry;
    assert_true(json_array_size(strings) >= at_least);
    json_array_foreach((json_t *)strings, i, entry) {
        wrong += check_string(tok, entry);
        rows += json_object_get(entry, "full") != NULL;
    }
    assert_true(rows > 0);
    print_message("%s: %zu strings, %zu rows, %zu differ\n", path, json_array_size(strings), rows,
                  wrong);
    tokenizer_close(tok);
    json_decref(golden);
    assert_int_equal(wrong, 0);
}

static void tiny_vocabulary(void **state) {
    (void)state;
    check_file("golden/tokenizer/sd15-tiny.json", "golden/models/sd15-tiny/tokenizer", AT_LEAST);
}

/* "!" is a character and, in v2.1's tokenizer and XL's second, what prompts are padded with. */
static void a_padding_character(void **state) {
    (void)state;
    check_file("golden/tokenizer/sd21-tiny.json", "golden/models/sd21-tiny/tokenizer", 20);
    check_file("golden/tokenizer/sd21-tiny.json", "golden/models/sdxl-tiny/tokenizer_2", 20);
}

/* CLIP's own vocabulary is not part of this repository. */
static void clip_vocabulary(void **state) {
    (void)state;
    const char *folder = getenv("MOLE_CLIP_VOCAB");
    if (!folder || !*folder) {
        print_message(
            "SKIP clip_vocabulary: MOLE_CLIP_VOCAB names no folder with CLIP's vocab.json "
            "and merges.txt; scripts/golden/clip_vocab.py makes one\n");
        skip();
    }
    check_file("golden/tokenizer/clip-vit-l14.json", folder, AT_LEAST);
}

/* The vectors of the specification, without any file of golden data. */
static void clip_vectors(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int32_t ids[12];
        size_t count;
    } vectors[] = {
        {"a photo of a woman", {320, 1125, 539, 320, 2308}, 5},
        {"Two people's hands, 1990s!!",
         {1237, 1047, 568, 3500, 267, 272, 280, 280, 271, 338, 748},
         11},
        {" best quality, 8K", {949, 3027, 267, 279, 330}, 5},
        {" poor quality, unclear hand, bad face ",
         {3665, 3027, 267, 32955, 2463, 267, 2103, 1710},
         8},
    };
    const char *folder = getenv("MOLE_CLIP_VOCAB");
    if (!folder || !*folder) {
        print_message("SKIP clip_vectors: MOLE_CLIP_VOCAB is not set\n");
        skip();
    }
    tokenizer_t *tok;
    err_t err = {""};
    if (tokenizer_open(&tok, folder, &err)) fail_msg("%s", err.text);
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
        token_list_t ids = {0};
        const char *text = vectors[i].text;
        assert_int_equal(tokenizer_encode(tok, text, strlen(text), &ids, &err), 0);
        assert_int_equal(ids.count, vectors[i].count);
        assert_memory_equal(ids.id, vectors[i].ids, ids.count * sizeof *ids.id);
        token_list_free(&ids);
    }
    tokenizer_close(tok);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tiny_vocabulary),
        cmocka_unit_test(a_padding_character),
        cmocka_unit_test(clip_vocabulary),
        cmocka_unit_test(clip_vectors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
