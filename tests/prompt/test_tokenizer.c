/* test_tokenizer.c - every rule of the tokenizer on vocabularies made here. */
#include <unistd.h>

#include "../unit.h"
#include "prompt/text_normalize.h"
#include "prompt/tokenizer.h"
#include "tokenizer_folder.h"

static tokenizer_t *open_or_fail(void) {
    tokenizer_t *tok;
    err_t err = {""};
    if (tokenizer_open(&tok, folder_path(), &err)) fail_msg("%s", err.text);
    return tok;
}

/* The pieces of text, joined by '|'. */
static void assert_pieces(const tokenizer_t *tok, const char *text, const char *expected) {
    token_list_t ids = {0};
    err_t err = {""};
    if (tokenizer_encode(tok, text, strlen(text), &ids, &err)) fail_msg("%s", err.text);
    char found[4096] = "";
    size_t used = 0;
    for (size_t i = 0; i < ids.count; i++) {
        const char *piece = tokenizer_piece(tok, ids.id[i]);
        assert_non_null(piece);
        used += (size_t)snprintf(found + used, sizeof found - used, i ? "|%s" : "%s", piece);
        assert_true(used < sizeof found);
    }
    token_list_free(&ids);
    if (strcmp(found, expected) != 0) fail_msg("\"%s\": %s, expected %s", text, found, expected);
}

static const char *const no_merges[] = {NULL};

static void pieces(void **state) {
    (void)state;
    folder_pair(no_merges);
    tokenizer_t *tok = open_or_fail();
    assert_pieces(tok, "", "");
    assert_pieces(tok, " \t\r\n\xC2\xA0\xE3\x80\x80\xC2\x85", "");
    assert_pieces(tok, "ab", "a|b</w>");
    assert_pieces(tok, "AB", "a|b</w>");
    assert_pieces(tok, "a b", "a</w>|b</w>");
    assert_pieces(tok, "a12", "a</w>|1</w>|2</w>");
    assert_pieces(tok, "a,.b", "a</w>|,|.</w>|b</w>");
    /* contractions, in any case; the rest of the word stands alone */
    assert_pieces(tok, "a's", "a</w>|'|s</w>");
    assert_pieces(tok, "A'Sb", "a</w>|'|s</w>|b</w>");
    assert_pieces(tok, "'ll'd're've'm't", "'|l|l</w>|'|d</w>|'|r|e</w>|'|v|e</w>|'|m</w>|'|t</w>");
    assert_pieces(tok, "'l", "'</w>|l</w>");
    assert_pieces(tok, "'r", "'</w>|r</w>");
    /* a run of signs takes the apostrophe along */
    assert_pieces(tok, "!'s", "!|'</w>|s</w>");
    assert_pieces(tok, "''s", "'|'</w>|s</w>");
    /* a number that is not a digit: U+00BD; a letter of two bytes */
    assert_pieces(tok, "\xC2\xBDq", "\xC3\x82|\xC2\xBD</w>|q</w>");
    assert_pieces(tok, "\xC3\xA9", "\xC3\x83|\xC2\xA9</w>");
    /* zero-width space and soft hyphen are signs, not white space */
    assert_pieces(tok, "a\xE2\x80\x8B", "a</w>|\xC3\xA2|\xC4\xA2|\xC4\xAD</w>");
    tokenizer_close(tok);
}

static void special_tokens(void **state) {
    (void)state;
    folder_pair(no_merges);
    tokenizer_t *tok = open_or_fail();
    assert_pieces(tok, "a<|endoftext|>b", "a</w>|<|endoftext|>|b</w>");
    assert_pieces(tok, "<|startoftext|>", "<|startoftext|>");
    assert_pieces(tok, "!<|endoftext|>!", "!</w>|<|endoftext|>|!</w>");
    /* in capitals it is text, and the signs behind it do not join it */
    assert_pieces(tok, "<|ENDOFTEXT|>!", "<||</w>|e|n|d|o|f|t|e|x|t</w>|||></w>|!</w>");
    tokenizer_close(tok);

    /* "normalized" tokens are found after lower-casing, the others before; pad "!" is a token. */
    folder_text(
        "tokenizer_config.json",
        "{\"bos_token\": {\"__type\": \"AddedToken\", \"content\": \"<|startoftext|>\","
        "  \"normalized\": true},"
        " \"eos_token\": \"<|endoftext|>\", \"pad_token\": \"!\", \"model_max_length\": 5}");
    tok = open_or_fail();
    assert_pieces(tok, "<|STARTOFTEXT|>", "<|startoftext|>");
    assert_pieces(tok, "<|ENDOFTEXT|>", "<||</w>|e|n|d|o|f|t|e|x|t</w>|||></w>");
    assert_pieces(tok, "a!!b", "a</w>|!|!|b</w>");
    int32_t row[5];
    bool truncated;
    err_t err;
    const tokenizer_info_t *info = tokenizer_info(tok);
    assert_int_equal(tokenizer_encode_padded(tok, "a", 1, row, &truncated, &err), 0);
    const int32_t expected[5] = {info->bos, 'a' + 256, info->eos, '!', '!'};
    assert_memory_equal(row, expected, sizeof row);
    assert_false(truncated);
    assert_int_equal(tokenizer_encode_padded(tok, "a a a", 5, row, &truncated, &err), 0);
    assert_false(truncated);
    assert_int_equal(tokenizer_encode_padded(tok, "a a a b", 7, row, &truncated, &err), 0);
    assert_true(truncated);
    assert_int_equal(row[3], 'a' + 256);
    assert_int_equal(row[4], info->eos);
    tokenizer_close(tok);
}

/* Of tokens with the same content the last counts, but one that is equal to an earlier is left out. */
static void flags_of_one_content(void **state) {
    (void)state;
#define ANY_CASE "{\"content\": \"<|endoftext|>\", \"normalized\": true}"
#define AS_IS    "{\"content\": \"<|endoftext|>\", \"normalized\": false}"
    static const struct {
        const char *eos, *unk, *pad;
        bool any_case;
    } table[] = {
        {ANY_CASE, ANY_CASE, "\"<|endoftext|>\"", false},
        {AS_IS, ANY_CASE, ANY_CASE, true},
        {ANY_CASE, AS_IS, ANY_CASE, false},
        {"\"<|endoftext|>\"", ANY_CASE, ANY_CASE, true},
    };
    folder_pair(no_merges);
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        char text[512];
        snprintf(text, sizeof text, "{\"eos_token\": %s, \"unk_token\": %s, \"pad_token\": %s}",
                 table[i].eos, table[i].unk, table[i].pad);
        folder_text("tokenizer_config.json", text);
        tokenizer_t *tok = open_or_fail();
        assert_pieces(tok, "<|endoftext|>", "<|endoftext|>");
        assert_pieces(tok, "<|EndOfText|>",
                      table[i].any_case ? "<|endoftext|>"
                                        : "<||</w>|e|n|d|o|f|t|e|x|t</w>|||></w>");
        tokenizer_close(tok);
    }
}

/* Of two tokens that start at one place the longer is taken; an added one gets the next free id. */
static void added_tokens(void **state) {
    (void)state;
    folder_pair(no_merges);
    folder_text("added_tokens.json", "{\"<cat>\": 514, \"<cat>s\": 515}");
    tokenizer_t *tok = open_or_fail();
    assert_int_equal(tokenizer_info(tok)->vocab, 516);
    assert_pieces(tok, "a<cat>s<CAT>", "a</w>|<cat>s|<cat>");
    tokenizer_close(tok);
    folder_text("added_tokens.json", "{\"<cat>\": 515}");
    assert_refused("<cat>", "515", "514", NULL);
    folder_text("added_tokens.json", "{\"a\": 514}");
    assert_refused("\"a\"", "514", "vocabulary", NULL);
}

static void normal_form(void **state) {
    (void)state;
    static const char *const pairs[][2] = {
        {"e\xCC\x81", "\xC3\xA9"},                     /* e, acute: composed */
        {"E\xCC\x81", "\xC3\xA9"},                     /* and lower-cased */
        {"\xE2\x84\xAB", "\xC3\xA5"},                  /* Angstrom sign */
        {"a\xCC\x81\xCC\xA3", "\xE1\xBA\xA1\xCC\x81"}, /* marks put in order, then composed */
        /* marks of one class keep their order */
        {"q\xCC\x82\xCC\x81\xCC\xA3", "q\xCC\xA3\xCC\x82\xCC\x81"},
        {"\xE1\x84\x80\xE1\x85\xA1\xE1\x86\xA8", "\xEA\xB0\x81"}, /* Hangul */
        {"\xE0\xA5\x98", "\xE0\xA4\x95\xE0\xA4\xBC"}, /* U+0958 is excluded from composition */
        {"\xC4\xB0", "i\xCC\x87"},                    /* U+0130 gives two code points */
        {"\xCE\xA3\xCE\x91\xCE\xA3", "\xCF\x83\xCE\xB1\xCF\x83"}, /* no final sigma */
        {"\xE1\xBA\x9E", "\xC3\x9F"},                             /* capital sharp s */
        {"\xEF\xAC\x81", "\xEF\xAC\x81"},                         /* a ligature stays: not NFKC */
        {" \t\xC2\xA0x\xE2\x80\xA8\n", " x "},                    /* runs of white space */
        {"\xE0\xA3\x8A\xCC\xA3",
         "\xE0\xA3\x8A\xCC\xA3"}, /* U+08CA, newer than Unicode 9: not sorted */
        {"\xF0\x91\xA4\xB5\xF0\x91\xA4\xB0", "\xF0\x91\xA4\xB5\xF0\x91\xA4\xB0"}, /* nor composed */
        {"\xEA\x9F\x8B\xEA\x9F\x9C",
         "\xC9\xA4\xC6\x9B"}, /* U+A7CB, U+A7DC: capitals of Unicode 16 */
    };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        size_t length;
        char *found = text_normalize(pairs[i][0], strlen(pairs[i][0]), &length);
        assert_int_equal(length, strlen(found));
        if (strcmp(found, pairs[i][1]) != 0) fail_msg("pair %zu: found \"%s\"", i, found);
        free(found);
    }
}

static void classes(void **state) {
    (void)state;
    static const struct {
        int32_t code;
        char_class_t is;
    } table[] = {
        {'a', CHAR_LETTER},     {'_', CHAR_OTHER},      {'7', CHAR_NUMBER},
        {0x85, CHAR_SPACE},     {0xA0, CHAR_SPACE},     {0x180E, CHAR_OTHER},
        {0x200B, CHAR_OTHER},   {0x3000, CHAR_SPACE},   {0xFEFF, CHAR_OTHER},
        {0x1C, CHAR_OTHER},     {0x2160, CHAR_NUMBER},  {0x24B6, CHAR_OTHER},
        {0x301, CHAR_OTHER},    {0x4E00, CHAR_LETTER},  {0x1F600, CHAR_OTHER},
        {0x2EBF0, CHAR_LETTER}, {0x2EE5D, CHAR_LETTER}, {0x2EE5E, CHAR_OTHER},
        {0x1E030, CHAR_LETTER}, {0x116D5, CHAR_NUMBER}, {0x10FFFF, CHAR_OTHER},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (char_class(table[i].code) != table[i].is)
            fail_msg("U+%04X is of class %d", (unsigned)table[i].code, char_class(table[i].code));
}

/* ---- merges against a slow oracle ------------------------------------------------------ */

enum { RULES = 120, WORDS = 3000, WORD = 40, PIECE = 64 };

static uint64_t seed = 1;
static unsigned draw(unsigned below) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)((seed >> 33) % below);
}

/* RULES random rules over a, b, c: parts are results of earlier rules. Returns how many. */
static size_t random_rules(char rules[RULES][2 * PIECE], char parts[RULES][2][PIECE]) {
    static char known[RULES + 6][PIECE] = {"a", "b", "c", "a</w>", "b</w>", "c</w>"};
    size_t pool = 6, count = 0;
    while (count < RULES) {
        const char *left = known[draw((unsigned)pool)], *right = known[draw((unsigned)pool)];
        bool repeated = strlen(left) + strlen(right) >= 16 || strstr(left, "</w>");
        for (size_t i = 0; i < count && !repeated; i++)
            repeated = !strcmp(parts[i][0], left) && !strcmp(parts[i][1], right);
        if (repeated) continue;
        snprintf(parts[count][0], PIECE, "%s", left);
        snprintf(parts[count][1], PIECE, "%s", right);
        snprintf(rules[count], 2 * PIECE, "%.60s %.60s", left, right);
        snprintf(known[pool++], PIECE, "%.30s%.30s", left, right);
        count++;
    }
    return count;
}

/* The definition, on strings: the first rule of the list that applies anywhere, at its first place. */
static size_t slow_merge(char word[WORD][PIECE], size_t count, char parts[RULES][2][PIECE]) {
    for (size_t rule = 0; rule < RULES;) {
        size_t at = 0;
        while (at + 1 < count &&
               (strcmp(word[at], parts[rule][0]) != 0 || strcmp(word[at + 1], parts[rule][1]) != 0))
            at++;
        if (at + 1 >= count) {
            rule++;
            continue;
        }
        char joined[2 * PIECE];
        snprintf(joined, sizeof joined, "%s%s", word[at], word[at + 1]);
        assert_true(strlen(joined) < PIECE);
        memcpy(word[at], joined, PIECE);
        memmove(word[at + 1], word[at + 2], (count - at - 2) * PIECE);
        count--;
        rule = 0;
    }
    return count;
}

static void merges_equal_the_definition(void **state) {
    (void)state;
    static char rules[RULES][2 * PIECE], parts[RULES][2][PIECE], word[WORD][PIECE];
    const char *list[RULES + 1] = {0};
    size_t count = random_rules(rules, parts), merged = 0;
    for (size_t i = 0; i < count; i++) list[i] = rules[i];
    folder_pair(list);
    tokenizer_t *tok = open_or_fail();
    assert_int_equal(tokenizer_info(tok)->merges, count);
    for (int i = 0; i < WORDS; i++) {
        char text[WORD + 1] = "", expected[4096] = "";
        size_t length = 1 + draw(WORD - 1);
        for (size_t k = 0; k < length; k++) {
            text[k] = (char)('a' + draw(3));
            snprintf(word[k], PIECE, "%c%s", text[k], k + 1 < length ? "" : "</w>");
        }
        size_t left = slow_merge(word, length, parts);
        for (size_t k = 0, used = 0; k < left; k++)
            used += (size_t)snprintf(expected + used, sizeof expected - used, k ? "|%s" : "%s",
                                     word[k]);
        merged += length - left;
        assert_pieces(tok, text, expected);
    }
    assert_true(merged > WORDS);
    tokenizer_close(tok);
}

/* ---- files ----------------------------------------------------------------------------- */

static const char *const word_merges[] = {"a b", "ab c</w>", NULL};

static void sources_agree(void **state) {
    (void)state;
    folder_pair(word_merges);
    tokenizer_t *tok = open_or_fail();
    assert_pieces(tok, "abc aabc ab", "abc</w>|a|abc</w>|a|b</w>");
    assert_non_null(strstr(tokenizer_info(tok)->source, "vocab.json"));
    assert_string_equal(tokenizer_info(tok)->defaults,
                        "bos_token, eos_token, unk_token, pad_token, model_max_length");
    assert_int_equal(tokenizer_info(tok)->max_length, 77);
    tokenizer_close(tok);
    folder_text("vocab.json", NULL);
    folder_text("merges.txt", NULL);
    for (int as_lists = 0; as_lists < 2; as_lists++) {
        folder_whole(word_merges, as_lists);
        tok = open_or_fail();
        assert_pieces(tok, "abc aabc ab", "abc</w>|a|abc</w>|a|b</w>");
        assert_non_null(strstr(tokenizer_info(tok)->source, "tokenizer.json"));
        assert_null(tokenizer_piece(tok, -1));
        assert_null(tokenizer_piece(tok, (int32_t)tokenizer_info(tok)->vocab));
        tokenizer_close(tok);
    }
    /* With both there, tokenizer.json counts, as for transformers. */
    folder_pair(no_merges);
    tok = open_or_fail();
    assert_pieces(tok, "abc", "abc</w>");
    tokenizer_close(tok);
}

/* special_tokens_map.json goes before tokenizer_config.json, unless that has an
 * added_tokens_decoder. */
static void precedence(void **state) {
    (void)state;
    folder_pair(no_merges);
    folder_text("tokenizer_config.json", "{\"pad_token\": \"<|endoftext|>\","
                                         " \"model_max_length\": 1000000000000000019884624838656}");
    folder_text("special_tokens_map.json",
                "{\"pad_token\": {\"content\": \"!\"}, \"bos_token\": \"<|startoftext|>\"}");
    tokenizer_t *tok = open_or_fail();
    assert_int_equal(tokenizer_info(tok)->pad, '!');
    assert_string_equal(tokenizer_info(tok)->defaults, "eos_token, unk_token, model_max_length");
    tokenizer_close(tok);
    folder_text("tokenizer_config.json",
                "{\"pad_token\": \"<|endoftext|>\", \"model_max_length\": 9,"
                " \"added_tokens_decoder\": {\"513\": {\"content\": \"<|endoftext|>\","
                " \"normalized\": true}}}");
    tok = open_or_fail();
    assert_int_equal(tokenizer_info(tok)->pad, 513);
    assert_int_equal(tokenizer_info(tok)->max_length, 9);
    assert_pieces(tok, "<|ENDOFTEXT|>", "<|endoftext|>");
    tokenizer_close(tok);
}

/* ---- bad and big text ------------------------------------------------------------------ */

static void bad_text(void **state) {
    (void)state;
    folder_pair(no_merges);
    tokenizer_t *tok = open_or_fail();
    static const struct {
        const char *text;
        size_t length;
        const char *word;
    } table[] = {
        {"ab\xFF", 3, "byte 2"},           {"a\xC3", 2, "byte 1"},
        {"\xC0\xAF", 2, "byte 0"},         {"xy\xED\xA0\x80", 5, "byte 2"},
        {"\xF4\x90\x80\x80", 4, "byte 0"}, {"abc\0d", 5, "NUL character at byte 3"},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        token_list_t ids = {0};
        token_list_push(&ids, 7);
        int32_t row[77] = {42};
        err_t err = {""};
        assert_int_equal(tokenizer_encode(tok, table[i].text, table[i].length, &ids, &err), -1);
        if (!strstr(err.text, table[i].word)) fail_msg("%zu: %s", i, err.text);
        assert_int_equal(ids.count, 1);
        assert_int_equal(
            tokenizer_encode_padded(tok, table[i].text, table[i].length, row, NULL, NULL), -1);
        assert_int_equal(row[0], 42);
        token_list_free(&ids);
    }
    tokenizer_close(tok);
}

static void big_text(void **state) {
    (void)state;
    static const char *const doubling[] = {"a a", "aa aa", "aaaa aaaa", "aaaaaaaa aaaaaaaa", NULL};
    folder_pair(doubling);
    tokenizer_t *tok = open_or_fail();
    size_t length = TOKENIZER_TEXT_MAX;
    char *text = xmalloc(length + 1);
    err_t err = {""};
    alarm(120); /* time quadratic in the length would take hours */
    memset(text, 'a', length + 1);
    token_list_t ids = {0};
    assert_int_equal(tokenizer_encode(tok, text, length, &ids, &err), 0);
    /* 16 at a time; the final byte is "a</w>", which has no rule: 8 + 4 + 2 + 1 + 1 of the last */
    assert_int_equal(ids.count, length / 16 + 4);
    ids.count = 0;
    assert_int_equal(tokenizer_encode(tok, text, length + 1, &ids, &err), -1);
    assert_non_null(strstr(err.text, "1048577"));
    /* one letter under a stack of marks in the wrong order */
    for (size_t i = 0; i < length; i++) text[i] = "\xCC\x81\xCC\xA3"[i % 4];
    assert_int_equal(tokenizer_encode(tok, text, length, &ids, &err), 0);
    assert_int_equal(ids.count, length);
    alarm(0);
    token_list_free(&ids);
    free(text);
    tokenizer_close(tok);
}

/* A byte that the vocabulary lacks is the unknown token, one for each. */
static void unknown_bytes(void **state) {
    (void)state;
    json_t *pieces = folder_vocabulary(no_merges);
    json_object_del(pieces, "q");
    folder_json("vocab.json", pieces);
    json_decref(pieces);
    folder_text("merges.txt", "#version: 0.2\n");
    tokenizer_t *tok = open_or_fail();
    assert_pieces(tok, "qqaq", "<|endoftext|>|<|endoftext|>|a|q</w>");
    tokenizer_close(tok);
}

#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, folder_setup, folder_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        IN_FOLDER(pieces),
        IN_FOLDER(special_tokens),
        IN_FOLDER(flags_of_one_content),
        IN_FOLDER(added_tokens),
        cmocka_unit_test(normal_form),
        cmocka_unit_test(classes),
        IN_FOLDER(merges_equal_the_definition),
        IN_FOLDER(sources_agree),
        IN_FOLDER(precedence),
        IN_FOLDER(bad_text),
        IN_FOLDER(big_text),
        IN_FOLDER(unknown_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
