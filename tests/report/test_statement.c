/* The statement's JSON: what is written is read back, a file that is no statement is refused, and what is
 * not the same again is told. */
#include <math.h>
#include <sys/stat.h>

#include <jansson.h>

#include "../scratch.h"
#include "../unit.h"
#include "report/statement.h"
#include "report_sample.h"

#define HASH "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static statement_entry_t plain(void) {
    return (statement_entry_t){.name = "silu",
                               .golden = {"cases/silu", HASH},
                               .candidate = {"../port.npz", HASH},
                               .isolate = true,
                               .found = {.agrees = true,
                                         .budget = BUDGET_F32,
                                         .batch_row = SIZE_MAX,
                                         .taps = 5,
                                         .compared = 4,
                                         .count = {[ROW_AGREES] = 4, [ROW_MISSING] = 1},
                                         .worst_ratio = 1.75,
                                         .limit = 16}};
}

/* Every option, and everything found. */
static statement_entry_t full(void) {
    statement_entry_t e = plain();
    e.name = "unet";
    e.golden.path = "cases/unet";
    e.map = (statement_file_t){"names.map", HASH};
    e.budget = BUDGET_BF16;
    e.limit = 0.1;
    e.only = "unet.**";
    e.complete = true;
    e.isolate = false;
    e.found = (statement_found_t){.statistics = true,
                                  .budget = BUDGET_BF16,
                                  .batch_row = 1,
                                  .taps = 21,
                                  .compared = 20,
                                  .count = {6, 5, 4, 3, 1, 2, 0},
                                  .worst_ratio = INFINITY,
                                  .limit = 0.1,
                                  .culprit = "unet.conv_in"};
    return e;
}

static void write_two(const char *path, const statement_entry_t *a, const statement_entry_t *b) {
    statement_t s;
    err_t err;
    must(statement_open_or_new(&s, path, &err), &err);
    must(statement_put(&s, a, &err), &err);
    if (b) must(statement_put(&s, b, &err), &err);
    must(statement_write(&s, &err), &err);
    statement_free(&s);
}

static void same_file(const statement_file_t *a, const statement_file_t *b) {
    assert_string_equal(a->path, b->path);
    assert_string_equal(a->sha256, b->sha256);
}

static void same_found(const statement_found_t *a, const statement_found_t *b) {
    assert_true(a->agrees == b->agrees && a->statistics == b->statistics);
    assert_true(a->budget == b->budget && a->batch_row == b->batch_row);
    assert_true(a->taps == b->taps && a->compared == b->compared);
    assert_memory_equal(a->count, b->count, sizeof a->count);
    assert_true(a->worst_ratio == b->worst_ratio && a->limit == b->limit);
}

static void read_back(void **state) {
    (void)state;
    const char *path = scratch_path("two.json");
    statement_entry_t a = plain(), b = full();
    write_two(path, &a, &b);
    statement_t s;
    err_t err;
    must(statement_open(&s, path, &err), &err);
    assert_int_equal(s.entries, 2);
    same_file(&s.entry[0].golden, &a.golden);
    same_file(&s.entry[0].candidate, &a.candidate);
    same_found(&s.entry[0].found, &a.found);
    assert_null(s.entry[0].map.path);
    assert_null(s.entry[0].only);
    assert_null(s.entry[0].found.culprit);
    assert_true(s.entry[0].budget == BUDGET_AUTO && s.entry[0].limit == 0);
    assert_true(s.entry[0].isolate && !s.entry[0].complete);
    same_file(&s.entry[1].map, &b.map);
    same_found(&s.entry[1].found, &b.found);
    assert_string_equal(s.entry[1].only, "unet.**");
    assert_string_equal(s.entry[1].found.culprit, "unet.conv_in");
    assert_true(s.entry[1].budget == BUDGET_BF16 && s.entry[1].limit == 0.1);
    assert_true(!s.entry[1].isolate && s.entry[1].complete);
    char *opened = statement_path(&s, s.entry[0].candidate.path);
    char *expected = xasprintf("%s/../port.npz", scratch_folder());
    assert_string_equal(opened, expected);
    free(opened);
    free(expected);
    statement_free(&s);
}

static void lines(void **state) {
    (void)state;
    statement_entry_t e[3] = {plain(), full(), plain()};
    statement_t s = {.made_with = "1.2", .entry = e, .entries = 1};
    char *line = statement_line(&s);
    /* 1.75 of 16 is 10.9 % */
    assert_string_equal(
        line, "mole 1.2: agrees with 1 of 1 case, 4 of 5 taps, f32, at most 11 % of a limit");
    free(line);
    s.entries = 3;
    line = statement_line(&s);
    assert_string_equal(line, "mole 1.2: agrees with 2 of 3 cases, 28 of 31 taps, f32 and bf16; "
                              "limits of its own; only some taps asked for; by statistics alone; "
                              "one row of a batch; not isolated");
    free(line);
}

/* Of the sample: verdicts as report_sample.h lists them. */
static void found_in_a_comparison(void **state) {
    (void)state;
    compare_result_t r;
    statement_found_t found;
    pool_t pool = {0};
    report_sample(&r, 5);
    r.row[SAMPLE_INHERITED].one_row = true;
    r.row[SAMPLE_INHERITED].batch_row = 3;
    for (size_t i = 0; i < r.rows; i++) r.row[i].limit = 16, r.row[i].ratio = 2;
    r.row[SAMPLE_EXACT].limit = 4; /* half of its limit, the others an eighth */
    r.row[SAMPLE_SHAPE].verdict = ROW_MISSING;
    statement_find(&found, &r, &pool);
    assert_true(found.worst_ratio == 2 && found.limit == 4);
    r.row[SAMPLE_SHAPE].verdict = ROW_SHAPE;
    statement_find(&found, &r, &pool);
    assert_false(found.agrees);
    assert_int_equal(found.taps, SAMPLE_ROWS + 5);
    assert_int_equal(found.count[ROW_AGREES], 3 + 5);
    assert_int_equal(found.count[ROW_DIFFERS], 2);
    assert_int_equal(found.count[ROW_MISSING], 1);
    assert_int_equal(found.batch_row, 3);
    assert_string_equal(found.culprit, "unet.down_blocks.0.resnets.0.norm1");
    assert_true(isinf(found.worst_ratio) && found.limit == 16); /* a row of another shape */
    compare_free(&r);
    pool_free(&pool);
}

static void differences(void **state) {
    (void)state;
    const statement_found_t a = plain().found;
    statement_found_t changed[] = {a, a, a, a, a, a, a, a, a, a};
    static const char *const word[] = {"verdict: stated agrees, found differs",
                                       "budget: stated f32, found tf32",
                                       "candidate holds: stated tensors, found statistics",
                                       "batch: stated all rows, found row 0 alone",
                                       "taps: stated 5, found 6",
                                       "taps compared: stated 4, found 3",
                                       "suspicious: stated 0, found 1",
                                       "culprit: stated none, found x",
                                       "limit: stated 16, found 8",
                                       "worst ratio: stated 1.8x, found 1.7x"};
    changed[0].agrees = false;
    changed[1].budget = BUDGET_TF32;
    changed[2].statistics = true;
    changed[3].batch_row = 0;
    changed[4].taps = 6;
    changed[5].compared = 3;
    changed[6].count[ROW_SUSPICIOUS] = 1;
    changed[7].culprit = "x";
    changed[8].limit = 8;
    changed[9].worst_ratio = 1.75 * 0.985;
    for (size_t i = 0; i < 10; i++) {
        char *text = statement_difference(&a, &changed[i]);
        if (!text || strcmp(text, word[i]) != 0) fail_msg("%s, expected %s", text, word[i]);
        free(text);
    }
    statement_found_t near = a;
    near.worst_ratio = 1.75 * 0.995;
    assert_null(statement_difference(&a, &near));
    near.worst_ratio = NAN;
    char *text = statement_difference(&a, &near);
    assert_non_null(text);
    free(text);
}

/* ---- what is refused --------------------------------------------------------------------------------- */

/* In the entry of a good statement, `part` (NULL: the entry; "": the root) gets this value, as JSON; NULL:
 * the key is taken away. */
static const struct {
    const char *part, *key, *value, *word;
} bad[] = {
    {"", "format", "\"mole-compare\"", "expected \"mole-statement\""},
    {"", "version", "2", "version"},
    {"", "made_with", "7", "made_with"},
    {"", "line", "null", "line"},
    {"", "entries", "[]", "expected 1 to 1000"},
    {"", "entries", "[7]", "entries[0]"},
    {"", "more", "1", "no statement has this key"},
    {"", "mo\\u001bre", "1", "mo?re"},
    {NULL, "what", "\"verify\"", "what"},
    {NULL, "name", NULL, "is missing"},
    {NULL, "name", "\"a\\u001b[2J\"", "control"},
    {NULL, "case", "\"silu\"", "case"},
    {"case", "path", "\"/etc/passwd\"", "expected a path relative"},
    {"case", "path", "\"\"", "expected a path relative"},
    {"case", "sha256", "null", "sha256"},
    {"case", "sha256", "\"0123\"", "64 digits"},
    {"candidate", "size", "1", "candidate.size"},
    {"options", "budget", "\"int8\"", "no budget"},
    {"options", "limit", "-1", "above 0"},
    {"options", "limit", "\"16\"", "limit"},
    {"options", "map", "{\"path\": \"x.map\", \"sha256\": null}", "no built-in map"},
    {"options", "complete", "1", "complete"},
    {"options", "isolate", NULL, "is missing"},
    {"found", "verdict", "\"fine\"", "verdict"},
    {"found", "budget", "\"auto\"", "no budget"},
    {"found", "candidate_kind", "\"picture\"", "candidate_kind"},
    {"found", "batch_row", "-1", "batch_row"},
    {"found", "taps", "0", "taps"},
    {"found", "taps", "1e3", "taps"},
    {"found", "compared", "6", "compared"},
    {"found", "taps", "6", "their sum is 5, and there are 6"},
    {"found", "worst_ratio", "-0.5", "from 0 on"},
    {"found", "worst_ratio", "\"-Infinity\"", "worst_ratio"},
    {"found", "limit", "0", "above 0"},
    {"found", "culprit", "7", "culprit"},
};

static void refused(const char *path, const char *word) {
    statement_t s;
    err_t err = {""};
    int status = statement_open(&s, path, &err);
    statement_free(&s);
    if (status != -1) fail_msg("read, and expected: %s", word);
    assert_message(&err, path, word, NULL);
}

static void hostile(void **state) {
    (void)state;
    const char *path = scratch_path("good.json"), *spoilt = scratch_path("bad.json");
    statement_entry_t a = plain();
    write_two(path, &a, NULL);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        json_t *all = json_load_file(path, 0, NULL);
        json_t *entry = json_array_get(json_object_get(all, "entries"), 0);
        json_t *at = !bad[i].part   ? entry
                     : *bad[i].part ? json_object_get(entry, bad[i].part)
                                    : all;
        char *quoted = xasprintf("\"%s\"", bad[i].key);
        json_t *key = json_loads(quoted, JSON_DECODE_ANY, NULL);
        if (bad[i].value)
            json_object_set_new(at, json_string_value(key),
                                json_loads(bad[i].value, JSON_DECODE_ANY, NULL));
        else
            json_object_del(at, json_string_value(key));
        assert_int_equal(json_dump_file(all, spoilt, 0), 0);
        json_decref(all);
        json_decref(key);
        free(quoted);
        refused(spoilt, bad[i].word);
    }
}

static void hostile_wholes(void **state) {
    (void)state;
    refused(scratch_text("list.json", "[]"), "format");
    refused(scratch_text("empty.json", ""), "empty");
    refused(scratch_path("nowhere.json"), "nowhere");
    refused(scratch_folder(), "");
    char *large = xcalloc(1, STATEMENT_BYTES + 2);
    memset(large, ' ', STATEMENT_BYTES + 1);
    refused(scratch_text("large.json", large), "large.json");
    free(large);
    /* a case twice */
    const char *path = scratch_path("twice.json");
    statement_entry_t a = plain();
    write_two(path, &a, NULL);
    json_t *all = json_load_file(path, 0, NULL), *entries = json_object_get(all, "entries");
    json_array_append(entries, json_array_get(entries, 0));
    assert_int_equal(json_dump_file(all, path, 0), 0);
    json_decref(all);
    refused(path, "stands here twice");
}

/* ---- hashes, schema ---------------------------------------------------------------------------------- */

/* A folder's hash is what a shell computes. */
static void hash_of_a_folder(void **state) {
    (void)state;
    char hash[SHA256_TEXT], expected[SHA256_TEXT];
    err_t err;
    const char *folder = scratch_path("trace");
    assert_int_equal(mkdir(folder, 0777), 0);
    scratch_text("trace/b.npy", "one");
    scratch_text("trace/a.npy", "two");
    for (int indexed = 0; indexed < 2; indexed++) {
        if (indexed) scratch_text("trace/index.json", "[\"b\", \"a\"]");
        char *command = xasprintf("cd '%s' && sha256sum %s | sha256sum", folder,
                                  indexed ? "index.json b.npy a.npy" : "a.npy b.npy");
        FILE *pipe = popen(command, "r");
        assert_non_null(fgets(expected, sizeof expected, pipe));
        pclose(pipe);
        free(command);
        must(statement_hash(hash, folder, &err), &err);
        assert_string_equal(hash, expected);
    }
}

static int validate(const char *path) {
    char *command =
        xasprintf("python3 tests/report/validate.py docs/statement.schema.json %s", path);
    int status = report_shell(command);
    free(command);
    return status;
}

static void schema(void **state) {
    (void)state;
    if (validate("") == 77 || report_shell("command -v python3 >/dev/null") != 0) {
        print_message(
            "SKIP: no python3 with jsonschema to hold the statement against its schema\n");
        skip();
    }
    const char *path = scratch_path("schema.json");
    statement_entry_t a = plain(), b = full();
    write_two(path, &a, &b);
    assert_int_equal(validate(path), 0);
    json_t *all = json_load_file(path, 0, NULL);
    json_object_set_new(json_array_get(json_object_get(all, "entries"), 0), "trust", json_true());
    assert_int_equal(json_dump_file(all, path, 0), 0);
    json_decref(all);
    assert_int_equal(validate(path), 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(read_back),   cmocka_unit_test(lines),
        cmocka_unit_test(differences), cmocka_unit_test(found_in_a_comparison),
        cmocka_unit_test(hostile),     cmocka_unit_test(hostile_wholes),
        cmocka_unit_test(schema),      cmocka_unit_test(hash_of_a_folder),
    };
    return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
