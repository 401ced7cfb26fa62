/* test_json.c - configurations: types, ranges, null, positions in the messages. */
#include <unistd.h>

#include "../scratch.h"
#include "../unit.h"
#include "io/json.h"

static json_file_t *open_text(const char *text) {
    err_t err;
    json_file_t *file;
    if (json_file_open(&file, scratch_text("config.json", text), &err) != 0)
        fail_msg("%s", err.text);
    return file;
}

static void syntax(void **state) {
    (void)state;
    const struct {
        const char *text, *where, *what;
    } bad[] = {
        {"", "config.json:1:", "empty"},
        {"{\n  \"a\": 1,\n  \"b\" 2\n}", "config.json:3:", "':' expected"},
        {"{\"a\": 1,\n \"a\": 2}", "config.json:2:", "duplicate"},
        {"{\"a\": 1} x", "config.json:1:", "end of file expected"},
        {"{\"a\": NaN}", "config.json:1:", "invalid token"},
        {"{\"a\": \"\xff\"}", "config.json:1:", "unable to decode byte 0xff"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        err_t err;
        json_file_t *file;
        assert_int_equal(json_file_open(&file, scratch_text("config.json", bad[i].text), &err), -1);
        assert_null(file);
        assert_message(&err, bad[i].where, bad[i].what, NULL);
    }
    err_t err;
    json_file_t *file;
    unlink(scratch_path("config.json"));
    assert_int_equal(json_file_open(&file, scratch_path("config.json"), &err), -1);
    assert_message(&err, "config.json", "No such file", NULL);
}

static void single_values(void **state) {
    (void)state;
    err_t err;
    json_file_t *file =
        open_text("{\"i\": -3, \"d\": 0.5, \"e\": 1e-5, \"b\": true, \"s\": \"text\","
                  " \"n\": null, \"f\": 3.0, \"big\": 9223372036854775807}");
    json_node_t root = json_file_root(file);
    int64_t i = 77;
    double d = 77;
    bool b = false;
    const char *s = NULL;
    assert_int_equal(json_get_int(root, "i", -3, -3, &i, &err), 0);
    assert_int_equal(i, -3);
    assert_int_equal(json_get_int(root, "big", INT64_MIN, INT64_MAX, &i, &err), 0);
    assert_true(i == INT64_MAX);
    assert_int_equal(json_get_double(root, "d", &d, &err), 0);
    assert_true(d == 0.5);
    assert_int_equal(json_get_double(root, "e", &d, &err), 0);
    assert_true(d == 1e-5);
    assert_int_equal(json_get_double(root, "i", &d, &err), 0);
    assert_true(d == -3.0);
    assert_int_equal(json_get_bool(root, "b", &b, &err), 0);
    assert_true(b);
    assert_int_equal(json_get_string(root, "s", &s, &err), 0);
    assert_string_equal(s, "text");

    i = 77;
    assert_int_equal(json_get_int(root, "i", -2, 9, &i, &err), -1);
    assert_message(&err, "config.json: i: expected an integer from -2 to 9, found -3", NULL);
    assert_int_equal(json_get_int(root, "f", 0, INT64_MAX, &i, &err), -1);
    assert_message(&err, "f: expected an integer from 0 on, found 3.0", NULL);
    assert_int_equal(json_get_int(root, "b", INT64_MIN, INT64_MAX, &i, &err), -1);
    assert_message(&err, "b: expected an integer, found true", NULL);
    assert_int_equal(json_get_int(root, "n", 0, 9, &i, &err), -1);
    assert_message(&err, "config.json: n: is null", NULL);
    assert_int_equal(json_get_int(root, "x", 0, 9, &i, &err), -1);
    assert_message(&err, "config.json: x: is missing", "integer from 0 to 9", NULL);
    assert_int_equal(i, 77);
    assert_int_equal(json_get_double(root, "s", &d, &err), -1);
    assert_message(&err, "s: expected a number, found \"text\"", NULL);
    assert_int_equal(json_get_bool(root, "i", &b, &err), -1);
    assert_message(&err, "i: expected true or false, found -3", NULL);
    assert_int_equal(json_get_string(root, "d", &s, &err), -1);
    assert_message(&err, "d: expected a string, found 0.5", NULL);
    json_file_close(file);
}

static void fallbacks(void **state) {
    (void)state;
    err_t err;
    json_file_t *file = open_text("{\"i\": 4, \"n\": null, \"s\": \"t\"}");
    json_node_t root = json_file_root(file);
    int64_t i;
    double d;
    bool b;
    const char *s;
    assert_true(json_node_has(root, "i") && !json_node_has(root, "n") && !json_node_has(root, "x"));
    assert_int_equal(json_get_int_or(root, "i", 0, 9, 5, &i, &err), 0);
    assert_int_equal(i, 4);
    assert_int_equal(json_get_int_or(root, "n", 0, 9, 5, &i, &err), 0);
    assert_int_equal(i, 5);
    assert_int_equal(json_get_int_or(root, "x", 0, 9, 6, &i, &err), 0);
    assert_int_equal(i, 6);
    assert_int_equal(json_get_int_or(root, "s", 0, 9, 5, &i, &err), -1);
    assert_message(&err, "s: expected an integer", NULL);
    assert_int_equal(json_get_int_or(root, "i", 5, 9, 5, &i, &err), -1);
    assert_int_equal(json_get_double_or(root, "x", 0.25, &d, &err), 0);
    assert_true(d == 0.25);
    assert_int_equal(json_get_bool_or(root, "n", true, &b, &err), 0);
    assert_true(b);
    assert_int_equal(json_get_string_or(root, "x", NULL, &s, &err), 0);
    assert_null(s);
    assert_int_equal(json_get_string_or(root, "s", NULL, &s, &err), 0);
    assert_string_equal(s, "t");
    json_file_close(file);
}

static void lists_and_objects(void **state) {
    (void)state;
    err_t err;
    json_file_t *file = open_text(
        "{\"l\": [320, 640], \"one\": 8, \"mixed\": [1, \"a\"], \"names\": [\"x\", \"y\"],"
        " \"zero\": [0], \"o\": {\"in\": {\"k\": \"v\", \"l\": [{}]}}, \"items\": "
        "[{\"k\": 1}, 2]}");
    json_node_t root = json_file_root(file), node, inner;
    int64_t ints[4] = {0};
    static const char *const words[] = {"w", "x", "y", NULL};
    const char *names[2];
    size_t count, sizes[4] = {0};
    assert_int_equal(json_get_ints(root, "l", 1, 999, 1, 4, ints, &count, &err), 0);
    assert_true(count == 2 && ints[0] == 320 && ints[1] == 640);
    assert_int_equal(json_get_ints(root, "l", 1, 639, 1, 4, ints, &count, &err), -1);
    assert_message(&err, "config.json: l[1]: expected an integer from 1 to 639, found 640", NULL);
    assert_int_equal(json_get_ints(root, "l", 1, 999, 3, 4, ints, &count, &err), -1);
    assert_message(&err, "l: expected a list of 3 to 4, found 2", NULL);
    assert_int_equal(json_get_ints(root, "one", 1, 999, 1, 4, ints, &count, &err), -1);
    assert_message(&err, "one: expected a list, found 8", NULL);
    assert_int_equal(json_get_ints(root, "mixed", 1, 9, 2, 2, ints, &count, &err), -1);
    assert_message(&err, "mixed[1]: expected an integer", "found \"a\"", NULL);

    assert_int_equal(json_get_sizes(root, "l", 999, 1, 4, sizes, &count, &err), 0);
    assert_true(count == 2 && sizes[0] == 320 && sizes[1] == 640);
    assert_int_equal(json_get_sizes(root, "zero", 9, 1, 4, sizes, &count, &err), -1);
    assert_message(&err, "zero[0]: expected an integer from 1 to 9, found 0", NULL);
    assert_int_equal(json_get_sizes_each_or(root, "one", 9, 4, 7, sizes, &err), 0);
    assert_true(sizes[0] == 8 && sizes[3] == 8);
    assert_int_equal(json_get_sizes_each_or(root, "l", 999, 2, 7, sizes, &err), 0);
    assert_true(sizes[0] == 320 && sizes[1] == 640);
    assert_int_equal(json_get_sizes_each_or(root, "none", 999, 2, 7, sizes, &err), 0);
    assert_true(sizes[0] == 7 && sizes[1] == 7);
    assert_int_equal(json_get_sizes_each_or(root, "l", 999, 4, 7, sizes, &err), -1);
    assert_message(&err, "l: expected a list of 4, found 2", NULL);
    assert_int_equal(json_get_strings(root, "names", 1, 2, names, &count, &err), 0);
    assert_string_equal(names[1], "y");
    assert_int_equal(json_get_strings(root, "mixed", 1, 2, names, &count, &err), -1);
    assert_message(&err, "mixed[0]: expected a string, found 1", NULL);

    assert_int_equal(json_get_choices(root, "names", words, 2, sizes, &err), 0);
    assert_true(sizes[0] == 1 && sizes[1] == 2);
    assert_int_equal(json_get_choices(root, "names", words + 1, 2, sizes, &err), 0);
    assert_true(sizes[0] == 0 && sizes[1] == 1);
    assert_int_equal(json_get_choices(root, "names", words + 2, 2, sizes, &err), -1);
    assert_message(&err, "config.json: names[0]: expected one of y, found \"x\"", NULL);
    assert_int_equal(json_get_choices(root, "names", words, 3, sizes, &err), -1);
    assert_message(&err, "names: expected a list of 3, found 2", NULL);

    assert_int_equal(json_get_object(root, "o", &node, &err), 0);
    assert_int_equal(json_get_object(node, "in", &inner, &err), 0);
    assert_int_equal(json_get_int(inner, "k", 0, 9, ints, &err), -1);
    assert_message(&err, "config.json: o.in.k: expected an integer from 0 to 9, found \"v\"", NULL);
    assert_int_equal(json_get_item(inner, "l", 0, &node, &err), 0);
    assert_int_equal(json_get_int(node, "k", 0, 9, ints, &err), -1);
    assert_message(&err, "config.json: o.in.l[0].k: is missing", NULL);
    assert_int_equal(json_get_object(root, "l", &node, &err), -1);
    assert_message(&err, "l: expected an object, found a list", NULL);
    assert_int_equal(json_get_length(root, "items", &count, &err), 0);
    assert_int_equal(count, 2);
    assert_int_equal(json_get_item(root, "items", 0, &node, &err), 0);
    assert_int_equal(json_get_string(node, "k", names, &err), -1);
    assert_message(&err, "config.json: items[0].k: expected a string, found 1", NULL);
    assert_int_equal(json_get_item(root, "items", 1, &node, &err), -1);
    assert_message(&err, "items[1]: expected an object, found 2", NULL);
    assert_int_equal(json_get_item(root, "items", 2, &node, &err), -1);
    assert_message(&err, "items: has no item 2", NULL);
    json_file_close(file);
}

static void one_of_several_words(void **state) {
    (void)state;
    static const char *const words[] = {"leading", "trailing", NULL};
    err_t err;
    size_t index = 9;
    json_file_t *file = open_text("{\"a\": \"trailing\", \"b\": \"lead\", \"c\": 1}");
    json_node_t root = json_file_root(file);
    assert_int_equal(json_get_choice(root, "a", words, &index, &err), 0);
    assert_int_equal(index, 1);
    assert_int_equal(json_get_choice_or(root, "none", words, 0, &index, &err), 0);
    assert_int_equal(index, 0);
    assert_int_equal(json_get_choice_or(root, "b", words, 0, &index, &err), -1);
    assert_message(&err, "config.json: b: expected one of leading, trailing, found \"lead\"", NULL);
    assert_int_equal(json_get_choice(root, "c", words, &index, &err), -1);
    assert_message(&err, "config.json: c: expected a string, found 1", NULL);
    assert_int_equal(json_get_choice(root, "none", words, &index, &err), -1);
    assert_message(&err, "config.json: none: is missing", NULL);
    json_file_close(file);
}

static void root_of_another_type(void **state) {
    (void)state;
    err_t err;
    int64_t i;
    json_file_t *file = open_text("[1, 2]");
    assert_int_equal(json_get_int(json_file_root(file), "i", 0, 9, &i, &err), -1);
    assert_message(&err, "config.json: i:", "object", NULL);
    assert_int_equal(json_get_int_or(json_file_root(file), "i", 0, 9, 1, &i, &err), -1);
    json_file_close(file);
    json_file_close(NULL);
}

/* Many small values take far more memory than their text; in a string they are text. */
static void memory_before_parsing(void **state) {
    (void)state;
    static const struct {
        const char *start, *unit, *end;
        size_t count;
        bool refused;
    } cases[] = {
        {"[", "{},", "{}]", 3000000, true},        {"[", "{},", "{}]", 100000, false},
        {"[", "[],", "[]]", 3000000, true},        {"[\"", "{},", "\"]", 3000000, false},
        {"[\"", "\\\"{},", "\"]", 1000000, false}, {"[", "\"\\\\\",{},", "1]", 3000000, true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t unit = strlen(cases[i].unit), used = strlen(cases[i].start);
        char *text = malloc(unit * cases[i].count + 16);
        strcpy(text, cases[i].start);
        for (size_t k = 0; k < cases[i].count; k++, used += unit)
            memcpy(text + used, cases[i].unit, unit);
        strcpy(text + used, cases[i].end);
        err_t err;
        int status = json_check_memory("x.json", text, strlen(text), &err);
        if (status != (cases[i].refused ? -1 : 0)) fail_msg("case %zu: %d", i, status);
        if (status) assert_message(&err, "x.json: its JSON would take about", "at most 512", NULL);
        free(text);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(syntax),
        cmocka_unit_test(single_values),
        cmocka_unit_test(fallbacks),
        cmocka_unit_test(lists_and_objects),
        cmocka_unit_test(one_of_several_words),
        cmocka_unit_test(root_of_another_type),
        cmocka_unit_test(memory_before_parsing),
    };
    return cmocka_run_group_tests_name("json", tests, scratch_setup, scratch_teardown);
}
