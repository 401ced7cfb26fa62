/* test_prompt.c - the weight syntax, chunks and the mean of weighted embeddings. */
#include <jansson.h>
#include <math.h>
#include <unistd.h>

#include "../unit.h"
#include "prompt/prompt.h"
#include "tokenizer_folder.h"

#define TINY "golden/models/sd15-tiny/tokenizer"

static json_t *golden;

static int load_golden(void **state) {
    (void)state;
    json_error_t where;
    golden = json_load_file("golden/prompts.json", JSON_ALLOW_NUL, &where);
    if (!golden) print_error("golden/prompts.json: %s\n", where.text);
    return golden ? 0 : -1;
}

static int drop_golden(void **state) {
    (void)state;
    json_decref(golden);
    return 0;
}

/* ---- the parser ------------------------------------------------------------------------ */

static bool segment_is(const prompt_segment_t *segment, const char *text, double weight) {
    return segment->length == strlen(text) && strcmp(segment->text, text) == 0 &&
           segment->weight == weight;
}

static void parser_golden(void **state) {
    (void)state;
    const json_t *table = json_object_get(golden, "parser");
    assert_true(json_array_size(table) >= 40);
    for (size_t i = 0; i < json_array_size(table); i++) {
        const json_t *entry = json_array_get(table, i);
        const char *text = json_string_value(json_object_get(entry, "text"));
        const json_t *segments = json_object_get(entry, "segments");
        prompt_t prompt;
        err_t err = {""};
        int status = prompt_parse(&prompt, text, strlen(text), &err);
        if (status != (json_is_null(segments) ? -1 : 0))
            fail_msg("\"%s\": status %d, %s", text, status, err.text);
        if (prompt.count != json_array_size(segments))
            fail_msg("\"%s\": %zu segments, expected %zu", text, prompt.count,
                     json_array_size(segments));
        for (size_t k = 0; k < prompt.count; k++) {
            const json_t *pair = json_array_get(segments, k);
            const char *expected = json_string_value(json_array_get(pair, 0));
            double weight = json_number_value(json_array_get(pair, 1));
            if (!segment_is(&prompt.segment[k], expected, weight))
                fail_msg("\"%s\": segment %zu is \"%s\" %.17g, expected \"%s\" %.17g", text, k,
                         prompt.segment[k].text, prompt.segment[k].weight, expected, weight);
        }
        prompt_free(&prompt);
    }
}

/* The examples of the specification, and the corners of BREAK. */
static void parser_vectors(void **state) {
    (void)state;
    static const struct {
        const char *text;
        struct {
            const char *text;
            double weight;
            int is_break;
        } segments[8];
    } table[] = {
        {"", {{"", 1, 0}}},
        {"()", {{"", 1, 0}}},
        {"a ((red)) [blue] (green:1.3) x",
         {{"a ", 1, 0},
          {"red", 1.1 * 1.1, 0},
          {" ", 1, 0},
          {"blue", 1 / 1.1, 0},
          {" ", 1, 0},
          {"green", 1.3, 0},
          {" x", 1, 0}}},
        {"((a)b:2)", {{"a", 2.2, 0}, {"b", 2, 0}}},
        {"((a:1.5):2)", {{"a", 3, 0}}},
        {"(a:1.5", {{"a:1.5", 1.1, 0}}},
        {"(a: 1.3)", {{"a: 1.3", 1.1, 0}}},
        {"[a:0.5]", {{"a:0.5", 1 / 1.1, 0}}},
        {"x) y]", {{"x) y]", 1, 0}}},
        {"\\(lit\\)", {{"(lit)", 1, 0}}},
        {"(a:-.5)(b:+2.)", {{"a", -.5, 0}, {"b", 2, 0}}},
        {":1.3)", {{":1.3)", 1, 0}}},
        {":1.2.3)", {{":1.2.3)", 1, 0}}},
        {"(\\a\\", {{"a", 1.1, 0}}},
        {"(\\\\:2)", {{"\\", 2, 0}}},
        {"[(a", {{"a", 1.1 * (1 / 1.1), 0}}},
        {"a BREAK b", {{"a ", 1, 0}, {"BREAK", 1, 1}, {" b", 1, 0}}},
        {"BREAKFAST", {{"", 1, 0}, {"BREAK", 1, 1}, {"FAST", 1, 0}}},
        {"a (BREAK)", {{"a ", 1, 0}, {"", 1.1, 0}, {"BREAK", 1.1, 1}, {")", 1.1, 0}}},
        {"BRE\\AK x", {{"BREAK x", 1, 0}}},
        {"BRE\\AK\\ x", {{"BREAK", 1, 1}, {" x", 1, 0}}},
        {"\xE3\x80\x80"
         "BRE\\AK\x1F\\ x",
         {{"\xE3\x80\x80"
           "BREAK\x1F",
           1, 1},
          {" x", 1, 0}}},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        prompt_t prompt;
        err_t err = {""};
        if (prompt_parse(&prompt, table[i].text, strlen(table[i].text), &err))
            fail_msg("\"%s\": %s", table[i].text, err.text);
        size_t k = 0;
        for (; k < prompt.count && k < 8 && table[i].segments[k].text; k++)
            if (!segment_is(&prompt.segment[k], table[i].segments[k].text,
                            table[i].segments[k].weight) ||
                prompt.segment[k].is_break != (table[i].segments[k].is_break == 1))
                fail_msg("\"%s\": segment %zu is \"%s\" %.17g break %d", table[i].text, k,
                         prompt.segment[k].text, prompt.segment[k].weight,
                         prompt.segment[k].is_break);
        if (k != prompt.count || (k < 8 && table[i].segments[k].text))
            fail_msg("\"%s\": %zu segments", table[i].text, prompt.count);
        prompt_free(&prompt);
    }
}

static void parser_errors(void **state) {
    (void)state;
    static char deep[PROMPT_DEPTH_MAX + 4], digits[512], huge[512];
    memset(deep, '(', sizeof deep - 1);
    snprintf(digits, sizeof digits, "BREAK (x:%0500d)", 9);
    digits[9] = '9';
    snprintf(huge, sizeof huge, "((x:%0250d):%0250d)", 9, 9);
    huge[4] = huge[4 + 250 + 2] = '9';
    static const struct {
        const char *text;
        size_t length;
        const char *words[2];
    } table[] = {
        {"a (b:1.2.3)", 11, {"at byte 4", "1.2.3"}},
        {"a BREAK (b:.)", 13, {"at byte 10", "\".\""}},
        {"BREAKBREAK((b:..)", 17, {"at byte 13", "number"}},
        {digits, 510, {"at byte 8", "number"}},
        {deep, sizeof deep - 1, {"at byte 128", "more than 128 open '('"}},
        {"ab\0c", 4, {"NUL", "byte 2"}},
        {"abc\xC3", 4, {"UTF-8", "byte 3"}},
        {huge, 507, {"too large", "multiply"}},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        prompt_t prompt = {.count = 9};
        err_t err = {""};
        if (!prompt_parse(&prompt, table[i].text, table[i].length, &err)) fail_msg("%zu", i);
        assert_int_equal(prompt.count, 0);
        assert_null(prompt.segment);
        for (int k = 0; k < 2; k++)
            if (!strstr(err.text, table[i].words[k])) fail_msg("%zu: %s", i, err.text);
    }
}

/* A megabyte of each character that the scanner knows, and of pairs that open and close. */
static void parser_is_not_quadratic(void **state) {
    (void)state;
    static const char *const units[] = {")",      ":",     "\\",    " \\", "(a)",
                                        "[(a)b]", "BREAK", "(a:2)", "x"};
    size_t length = TOKENIZER_TEXT_MAX;
    char *text = xmalloc(length + 1);
    alarm(120);
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        size_t unit = strlen(units[i]), whole = length / unit * unit;
        for (size_t at = 0; at < whole; at += unit) memcpy(text + at, units[i], unit);
        prompt_t prompt;
        err_t err = {""};
        if (prompt_parse(&prompt, text, whole, &err)) fail_msg("%s: %s", units[i], err.text);
        prompt_free(&prompt);
    }
    alarm(0);
    free(text);
}

/* ---- rows ------------------------------------------------------------------------------ */

static tokenizer_t *open_or_fail(const char *folder) {
    tokenizer_t *tok;
    err_t err = {""};
    if (tokenizer_open(&tok, folder, &err)) fail_msg("%s", err.text);
    return tok;
}

/* The tiny model's tokenizer with "!" as pad token, as SD 2 has it. */
static tokenizer_t *open_with_pad_0(void) {
    static const char *const names[] = {"vocab.json", "merges.txt"};
    for (int i = 0; i < 2; i++) {
        char path[256];
        static char text[1 << 20];
        snprintf(path, sizeof path, TINY "/%s", names[i]);
        FILE *file = fopen(path, "rb");
        assert_non_null(file);
        size_t bytes = fread(text, 1, sizeof text, file);
        fclose(file);
        folder_bytes(names[i], text, bytes);
    }
    folder_text("tokenizer_config.json", "{\"pad_token\": \"!\", \"model_max_length\": 77}");
    return open_or_fail(folder_path());
}

static void check_batch(const tokenizer_t *tok, const json_t *batch, size_t number) {
    const char *texts[8] = {0};
    const json_t *prompts = json_object_get(batch, "prompts"),
                 *rows = json_object_get(batch, "rows");
    size_t count = json_array_size(prompts);
    assert_true(count > 0 && count <= 8 && json_array_size(rows) == count);
    for (size_t i = 0; i < count; i++) texts[i] = json_string_value(json_array_get(prompts, i));
    prompt_options_t options = {PROMPT_WEIGHTED, (size_t)json_integer_value(json_object_get(
                                                     batch, "max_embeddings_multiples"))};
    prompt_tokens_t tokens;
    err_t err = {""};
    if (prompt_encode(&tokens, tok, texts, NULL, count, &options, &err)) fail_msg("%s", err.text);
    size_t T = tokens.max_length;
    for (size_t i = 0; i < count; i++) {
        const json_t *ids = json_object_get(json_array_get(rows, i), "ids");
        const json_t *weights = json_object_get(json_array_get(rows, i), "weights");
        if (json_array_size(ids) != tokens.chunks)
            fail_msg("batch %zu: %zu chunks, expected %zu", number, tokens.chunks,
                     json_array_size(ids));
        for (size_t k = 0; k < tokens.chunks * T; k++) {
            const json_t *id = json_array_get(json_array_get(ids, k / T), k % T);
            const json_t *weight = json_array_get(json_array_get(weights, k / T), k % T);
            size_t at = i * tokens.chunks * T + k;
            if (json_integer_value(id) != tokens.ids[at] ||
                json_number_value(weight) != tokens.weights[at])
                fail_msg("batch %zu, prompt %zu, position %zu: %d x %g, expected %lld x %g", number,
                         i, k, tokens.ids[at], tokens.weights[at],
                         (long long)json_integer_value(id), json_number_value(weight));
        }
    }
    prompt_tokens_free(&tokens);
}

static void chunks_golden(void **state) {
    (void)state;
    const json_t *batches = json_object_get(golden, "chunks");
    tokenizer_t *pad_eos = open_or_fail(TINY), *pad_0 = open_with_pad_0();
    size_t with_0 = 0, several = 0;
    for (size_t i = 0; i < json_array_size(batches); i++) {
        const json_t *batch = json_array_get(batches, i);
        bool is_0 = json_integer_value(json_object_get(batch, "pad")) == 0;
        check_batch(is_0 ? pad_0 : pad_eos, batch, i);
        with_0 += is_0;
        several += json_integer_value(json_object_get(batch, "max_embeddings_multiples")) > 1;
    }
    assert_true(with_0 >= 5 && several >= 5 && json_array_size(batches) > with_0);
    tokenizer_close(pad_eos);
    tokenizer_close(pad_0);
}

/* Rows of 5 with three tokens each: the edges of chunks, by hand. a = 'a' + 256 and so on. */
static void chunk_edges(void **state) {
    (void)state;
    static const char *const no_merges[] = {NULL};
    folder_pair(no_merges);
    folder_text("tokenizer_config.json", "{\"model_max_length\": 5, \"pad_token\": \"!\"}");
    tokenizer_t *tok = open_or_fail(folder_path());
    enum { A = 'a' + 256, B = 'b' + 256, BOS = 512, EOS = 513, PAD = '!' };
    static const struct {
        const char *text;
        size_t max_chunks, chunks;
        int32_t ids[15];
        int truncated;
    } table[] = {
        {"", 3, 1, {BOS, EOS, PAD, PAD, PAD}, 0},
        {"a a a", 3, 1, {BOS, A, A, A, EOS}, 0},
        {"a a a b", 1, 1, {BOS, A, A, A, EOS}, 1},
        {"a a a b", 2, 2, {BOS, A, A, A, EOS, BOS, B, EOS, PAD, PAD}, 0},
        {"a a a b b b", 2, 2, {BOS, A, A, A, EOS, BOS, B, B, B, EOS}, 0},
        {"a a a b b b a", 2, 2, {BOS, A, A, A, EOS, BOS, B, B, B, EOS}, 1},
        /* BREAK fills to 5, not to 3; the last of chunk 0 is a pad and stays; the second of chunk 1
         * was a pad and becomes EOS */
        {"a BREAK b", 2, 2, {BOS, A, PAD, PAD, PAD, BOS, EOS, PAD, B, EOS}, 0},
        /* "!" is the pad token: it stands at both edges */
        {"a a a ! b", 2, 2, {BOS, A, A, A, PAD, BOS, EOS, B, EOS, PAD}, 0},
        {"BREAK", 1, 1, {BOS, PAD, PAD, PAD, EOS}, 1},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        prompt_options_t options = {PROMPT_WEIGHTED, table[i].max_chunks};
        prompt_tokens_t tokens;
        err_t err = {""};
        assert_int_equal(prompt_encode(&tokens, tok, &table[i].text, NULL, 1, &options, &err), 0);
        assert_int_equal(tokens.chunks, table[i].chunks);
        assert_int_equal(tokens.truncated[0], table[i].truncated);
        assert_false(tokens.weighted);
        for (size_t k = 0; k < 5 * tokens.chunks; k++)
            if (tokens.ids[k] != table[i].ids[k])
                fail_msg("\"%s\" position %zu: %d, expected %d", table[i].text, k, tokens.ids[k],
                         table[i].ids[k]);
        prompt_tokens_free(&tokens);
    }
    tokenizer_close(tok);
}

/* The tokens of a segment have its weight; BOS, EOS and padding, also of a BREAK in brackets, 1. */
static void weights_of_a_row(void **state) {
    (void)state;
    tokenizer_t *tok = open_or_fail(TINY);
    static const char *const text = "(1 BREAK 2:2) [3";
    prompt_options_t options = {PROMPT_WEIGHTED, 2};
    prompt_tokens_t tokens;
    err_t err = {""};
    assert_int_equal(prompt_encode(&tokens, tok, &text, NULL, 1, &options, &err), 0);
    assert_true(tokens.weighted);
    assert_int_equal(tokens.chunks, 2);
    /* "1" is token 0; BREAK fills to 77, which is the third token of chunk 1 */
    for (size_t k = 0; k < 154; k++) {
        double expected = k == 1 || k == 77 + 3 ? 2 : k == 77 + 4 ? 1 / 1.1 : 1;
        if (tokens.weights[k] != expected) fail_msg("position %zu: %g", k, tokens.weights[k]);
    }
    prompt_tokens_free(&tokens);
    tokenizer_close(tok);
}

/* Without the weight syntax brackets are text, and a row is that of tokenizer_encode_padded. */
static void plain_prompts(void **state) {
    (void)state;
    tokenizer_t *tok = open_or_fail(TINY);
    static const char *const texts[] = {"a (hand:1.3) [x] BREAK \\(y", "", "a <|endoftext|> b"};
    const size_t lengths[] = {strlen(texts[0]), 0, 1};
    prompt_tokens_t tokens;
    err_t err = {""};
    assert_int_equal(prompt_encode(&tokens, tok, texts, lengths, 3, &PROMPT_DEFAULTS, &err), 0);
    assert_int_equal(tokens.chunks, 1);
    assert_false(tokens.weighted);
    int32_t row[77];
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(tokenizer_encode_padded(tok, texts[i], lengths[i], row, NULL, &err), 0);
        assert_memory_equal(tokens.ids + 77 * i, row, sizeof row);
        assert_false(tokens.truncated[i]);
        for (size_t k = 0; k < 77; k++) assert_true(tokens.weights[77 * i + k] == 1.0);
    }
    prompt_tokens_free(&tokens);

    char longer[2 * 76 + 1];
    for (size_t i = 0; i < 76; i++) memcpy(longer + 2 * i, "1 ", 2);
    longer[2 * 76] = '\0';
    const char *two[] = {"1", longer};
    assert_int_equal(prompt_encode(&tokens, tok, two, NULL, 2, &PROMPT_DEFAULTS, &err), 0);
    assert_false(tokens.truncated[0]);
    assert_true(tokens.truncated[1]);
    prompt_tokens_free(&tokens);
    tokenizer_close(tok);
}

static void encode_errors(void **state) {
    (void)state;
    tokenizer_t *tok = open_or_fail(TINY);
    static const char *const texts[] = {"a hand", "(a:1.1.1)"};
    prompt_options_t weighted = {PROMPT_WEIGHTED, 1};
    prompt_tokens_t tokens = {.prompts = 5};
    err_t err = {""};
    assert_int_equal(prompt_encode(&tokens, tok, texts, NULL, 2, &weighted, &err), -1);
    assert_non_null(strstr(err.text, "prompt 2"));
    assert_non_null(strstr(err.text, "byte 2"));
    assert_int_equal(tokens.prompts, 0);
    assert_null(tokens.ids);
    const char *nul = "a\0b";
    const size_t length = 3;
    assert_int_equal(prompt_encode(&tokens, tok, &nul, &length, 1, &PROMPT_DEFAULTS, &err), -1);
    assert_non_null(strstr(err.text, "NUL character at byte 1"));
    tokenizer_close(tok);
}

/* ---- weights --------------------------------------------------------------------------- */

static void mean_is_restored(void **state) {
    (void)state;
    enum { N = 7, DIM = 5 };
    real_t embeds[N * DIM], before[N * DIM];
    double weights[N] = {1, 1.3, 1.1, 1, 0.5, -1, 1}, mu0 = 0, mu1 = 0;
    for (int i = 0; i < N * DIM; i++)
        before[i] = embeds[i] = (real_t)(0.25 + 0.125 * ((i * 7) % 11));
    for (int i = 0; i < N * DIM; i++) {
        mu0 += (double)before[i];
        mu1 += (double)before[i] * weights[i / DIM];
    }
    err_t err = {""};
    assert_int_equal(prompt_apply_weights(embeds, weights, N, DIM, &err), 0);
    double epsilon = sizeof(real_t) == 4 ? 1e-6 : 1e-14, mean = 0;
    for (int i = 0; i < N * DIM; i++) {
        double expected = (double)before[i] * weights[i / DIM] * mu0 / mu1;
        mean += (double)embeds[i];
        if (!(fabs((double)embeds[i] - expected) <= epsilon * fabs(expected)))
            fail_msg("%d: %.17g, expected %.17g", i, (double)embeds[i], expected);
    }
    assert_true(fabs(mean - mu0) <= 10 * epsilon * mu0);
}

static void ones_change_nothing_and_zero_is_refused(void **state) {
    (void)state;
    real_t embeds[4] = {(real_t)0.1, (real_t)0.3, (real_t)-0.7, (real_t)0.2}, before[4];
    memcpy(before, embeds, sizeof before);
    err_t err = {""};
    double ones[2] = {1, 1}, zeros[2] = {0, 0}, opposite[2] = {1, -1};
    assert_int_equal(prompt_apply_weights(embeds, ones, 2, 2, &err), 0);
    assert_memory_equal(embeds, before, sizeof before);
    assert_int_equal(prompt_apply_weights(embeds, zeros, 2, 2, &err), -1);
    assert_non_null(strstr(err.text, "mean"));
    assert_memory_equal(embeds, before, sizeof before);
    real_t even[4] = {1, 2, 2, 1}, level[4] = {1, -1, 2, -2};
    assert_int_equal(prompt_apply_weights(level, ones, 2, 2, &err), 0);
    assert_true(level[3] == -2);
    assert_int_equal(prompt_apply_weights(even, opposite, 2, 2, &err), -1);
    assert_true(even[2] == 2);
}

static void suffixes_of_the_paper(void **state) {
    (void)state;
    assert_string_equal(prompt_paper_positive, " best quality, 8K");
    assert_string_equal(prompt_paper_negative, " poor quality, unclear hand, bad face ");
}

#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, folder_setup, folder_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parser_golden),
        cmocka_unit_test(parser_vectors),
        cmocka_unit_test(parser_errors),
        cmocka_unit_test(parser_is_not_quadratic),
        IN_FOLDER(chunks_golden),
        IN_FOLDER(chunk_edges),
        cmocka_unit_test(weights_of_a_row),
        cmocka_unit_test(plain_prompts),
        cmocka_unit_test(encode_errors),
        cmocka_unit_test(mean_is_restored),
        cmocka_unit_test(ones_change_nothing_and_zero_is_refused),
        cmocka_unit_test(suffixes_of_the_paper),
    };
    return cmocka_run_group_tests(tests, load_golden, drop_golden);
}
