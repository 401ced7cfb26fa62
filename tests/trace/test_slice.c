/* Slices: random ones of every format against a plain loop, what Python does at the ends, what is refused. */
#include "../fixture.h"
#include "../scratch.h"
#include "trace/slice.h"
#include "trace_fixture.h"

enum { DIMS = 4, NUMBERS = 3 * 4 * 5 * 6 };
static const shape_t shape = {DIMS, {3, 4, 5, 6}};

/* Every number is its own place. */
static const char *numbered(format_t format) {
    static double x[NUMBERS];
    for (size_t i = 0; i < NUMBERS; i++) x[i] = (double)i;
    fixture_tensor_t tensors[] = {{"before", DTYPE_F64, SHAPE1(3), x, false},
                                  {"x", DTYPE_F64, shape, x, format == NPZ_STORED}};
    return fixture_trace(format_names[format], format, tensors, 2);
}

/* One dimension of a random slice as text, and which places it means, by counting alone. */
static size_t random_part(char *text, size_t room, size_t size, size_t place[8], bool *dropped) {
    size_t count = 0;
    int n = (int)size, start = rand() % n, stop = rand() % (n + 3), step = 1 + rand() % 3;
    *dropped = false;
    switch (rand() % 5) {
    case 0:
        snprintf(text, room, "%d", rand() % 2 ? start : start - n);
        *dropped = true;
        place[count++] = (size_t)start;
        return count;
    case 1: snprintf(text, room, ":"), start = 0, stop = n, step = 1; break;
    case 2: snprintf(text, room, " %d : %d", start, stop), step = 1; break;
    case 3: snprintf(text, room, "%d:-%d:%d", start - n, 1, step), stop = n - 1; break;
    default: snprintf(text, room, "::%d", step), start = 0, stop = n; break;
    }
    for (int i = start; i < stop && i < n; i += step) place[count++] = (size_t)i;
    return count;
}

static void check_random(trace_file_t *trace, size_t index) {
    char part[DIMS][32], text[160];
    size_t place[DIMS][8], count[DIMS], all = 1;
    bool dropped[DIMS];
    slice_t slice;
    err_t err;
    for (int d = 0; d < DIMS; d++) {
        count[d] = random_part(part[d], sizeof part[d], shape.dim[d], place[d], &dropped[d]);
        all *= count[d];
    }
    snprintf(text, sizeof text, "[%s,%s, %s,%s]", part[0], part[1], part[2], part[3]);
    must(slice_parse(&slice, text, shape, &err), &err);
    int d = 0;
    for (int i = 0; i < DIMS; i++)
        if (!dropped[i]) assert_int_equal(slice.shape.dim[d++], count[i]);
    assert_int_equal(slice.shape.ndim, d);
    double got[NUMBERS];
    size_t cut = all ? (size_t)rand() % (all + 1) : 0; /* in two reads */
    must(slice_read(trace, index, &slice, 0, cut, got, &err), &err);
    must(slice_read(trace, index, &slice, cut, all - cut, got + cut, &err), &err);
    size_t at = 0;
    for (size_t a = 0; a < count[0]; a++)
        for (size_t b = 0; b < count[1]; b++)
            for (size_t c = 0; c < count[2]; c++)
                for (size_t e = 0; e < count[3]; e++, at++) {
                    size_t truth =
                        ((place[0][a] * 4 + place[1][b]) * 5 + place[2][c]) * 6 + place[3][e];
                    if (got[at] != (double)truth)
                        fail_msg("%s, number %zu: %g, not %zu", text, at, got[at], truth);
                }
}

static void every_format(void **state) {
    (void)state;
    for (format_t format = 0; format < TRACE_FORMATS; format++) {
        srand(16 + (unsigned)format);
        trace_file_t *trace = trace_opened(numbered(format));
        size_t index = trace_file_find(trace, "x");
        for (int i = 0; i < 400; i++) check_random(trace, index);
        trace_file_close(trace);
    }
}

/* What Python's list(range(5))[...] gives: checked by hand. */
static void ends(void **state) {
    (void)state;
    static const struct {
        const char *text;
        size_t start, step, count;
    } cases[] = {{"[:]", 0, 1, 5},        {"[2:]", 2, 1, 3},    {"[:2]", 0, 1, 2},
                 {"[-2:]", 3, 1, 2},      {"[:-2]", 0, 1, 3},   {"[-9:9]", 0, 1, 5},
                 {"[4:2]", 4, 1, 0},      {"[5:]", 5, 1, 0},    {"[::2]", 0, 2, 3},
                 {"[1::2]", 1, 2, 2},     {"[1:4:9]", 1, 9, 1}, {"[-3:-1:2]", 2, 2, 1},
                 {"[ +1 : 3 ]", 1, 1, 2}, {"[...]", 0, 1, 5},   {"[..., ::5]", 0, 5, 1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        slice_t s;
        err_t err;
        must(slice_parse(&s, cases[i].text, SHAPE1(5), &err), &err);
        assert_int_equal(s.range[0].start, cases[i].start);
        assert_int_equal(s.range[0].step, cases[i].step);
        assert_int_equal(s.range[0].count, cases[i].count);
        assert_int_equal(s.shape.dim[0], cases[i].count);
    }
}

/* "..." stands for what is missing, also for nothing. */
static void rest(void **state) {
    (void)state;
    static const struct {
        const char *text;
        shape_t result;
    } cases[] = {{"[0]", {3, {4, 5, 6}}},         {"[..., 0]", {3, {3, 4, 5}}},
                 {"[0, ..., 0]", {2, {4, 5}}},    {"[0, ..., 0, 0, 0]", {0, {0}}},
                 {"[0, 0, 0, 0, ...]", {0, {0}}}, {"[1:, ..., 2:]", {4, {2, 4, 5, 4}}},
                 {"[:, 1]", {3, {3, 5, 6}}}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        slice_t s;
        err_t err;
        must(slice_parse(&s, cases[i].text, shape, &err), &err);
        if (!shape_equal(s.shape, cases[i].result)) fail_msg("%s", cases[i].text);
    }
    slice_t s;
    err_t err;
    must(slice_parse(&s, "[...]", SHAPE0(), &err), &err);
    assert_int_equal(shape_count(s.shape), 1);
}

static void refused(void **state) {
    (void)state;
    static const char *const no_index[] = {"[]",     "[",      "[1",    "[1,]",
                                           "[,1]",   "[a]",    "[1.5]", "[1 2]",
                                           "[::1:]", "[1]]",   "[1]x",  "[0,0,0,0,0,0,0,0,0,0]",
                                           "1]",     "[....]", "[\n]",  "[99999999999999999999]"};
    slice_t s;
    err_t err;
    for (size_t i = 0; i < sizeof no_index / sizeof *no_index; i++) {
        if (!slice_parse(&s, no_index[i], shape, &err)) fail_msg("%s is taken", no_index[i]);
        assert_message(&err, "is no index", "[0, :, -3:, ::2]", NULL);
        assert_null(strchr(err.text, '\n'));
    }
    assert_int_equal(slice_parse(&s, "[0, 4]", shape, &err), -1);
    assert_message(&err, "dimension 1 has 4 places", "not a place 4", "(3, 4, 5, 6)", NULL);
    assert_int_equal(slice_parse(&s, "[-4]", shape, &err), -1);
    assert_message(&err, "dimension 0 has 3 places", "not a place -4", NULL);
    assert_int_equal(slice_parse(&s, "[0, 0, 0, 0, 0]", shape, &err), -1);
    assert_message(&err, "5 dimensions", "(3, 4, 5, 6)", NULL);
    assert_int_equal(slice_parse(&s, "[0]", SHAPE0(), &err), -1);
    assert_message(&err, "1 dimensions", "the shape is ()", NULL);
    assert_int_equal(slice_parse(&s, "[..., ...]", shape, &err), -1);
    assert_message(&err, "more than one '...'", NULL);
    assert_int_equal(slice_parse(&s, "[::0]", shape, &err), -1);
    assert_message(&err, "a step of 0", "1 or more", NULL);
    assert_int_equal(slice_parse(&s, "[::-1]", shape, &err), -1);
    assert_message(&err, "a step of -1", NULL);
    assert_int_equal(slice_parse(&s, "[0]", SHAPE1(0), &err), -1);
    assert_message(&err, "dimension 0 has 0 places", NULL);
    assert_int_equal(slice_parse(&s, "[-9223372036854775808]", shape, &err), -1);
    assert_message(&err, "dimension 0 has 3 places", NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        fixture_test(every_format),
        fixture_test(ends),
        fixture_test(rest),
        fixture_test(refused),
    };
    return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
