/* test_compare_layouts.c - right and wrong traces in other layouts: the word on the plain one, and a note. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compare_made.h"

/* ---- traces in another layout ---------------------------------------------------------------- */

/* y = x with its axes in another order, y's axis i being x's axis order[i]: index by index. */
static void turn(double *x, shape_t *shape, const int *order) {
    size_t count = shape_count(*shape), step[SHAPE_DIMS];
    double *y = fixture_bytes(count * sizeof *y);
    shape_t turned = {shape->ndim, {0}};
    step[shape->ndim - 1] = 1;
    for (int i = shape->ndim - 1; i > 0; i--) step[i - 1] = step[i] * shape->dim[i];
    for (int i = 0; i < shape->ndim; i++) turned.dim[i] = shape->dim[order[i]];
    for (size_t n = 0; n < count; n++) {
        size_t rest = n, at = 0;
        for (int i = turned.ndim - 1; i >= 0; i--) {
            at += rest % turned.dim[i] * step[order[i]];
            rest /= turned.dim[i];
        }
        y[n] = x[at];
    }
    memcpy(x, y, count * sizeof *x);
    *shape = turned;
}

static const int to_nhwc[] = {0, 2, 3, 1}, to_chwn[] = {1, 2, 3, 0}, to_bct[] = {0, 2, 1},
                 backwards[] = {3, 2, 1, 0}, backwards3[] = {2, 1, 0};

static void as_it_is(double *x, shape_t *shape) {
    (void)x, (void)shape;
}
static void images_last(double *x, shape_t *shape) {
    if (shape->ndim == 4) turn(x, shape, to_nhwc);
}
static void batch_last(double *x, shape_t *shape) {
    if (shape->ndim == 4) turn(x, shape, to_chwn);
}
static void tokens_last(double *x, shape_t *shape) {
    if (shape->ndim == 3) turn(x, shape, to_bct);
}
static void as_tokens(double *x, shape_t *shape) {
    images_last(x, shape);
    if (shape->ndim == 4)
        *shape = SHAPE3(shape->dim[0], shape->dim[1] * shape->dim[2], shape->dim[3]);
}
static void as_images(double *x, shape_t *shape) {
    if (shape->ndim != 3) return;
    turn(x, shape, to_bct);
    *shape = SHAPE4(shape->dim[0], shape->dim[1], 4, shape->dim[2] / 4);
}
static void no_batch(double *x, shape_t *shape) {
    (void)x;
    for (int i = 1; i < shape->ndim; i++) shape->dim[i - 1] = shape->dim[i];
    shape->ndim--;
}
static void reversed(double *x, shape_t *shape) {
    shape_t s = *shape;
    (void)x;
    for (int i = 0; i < s.ndim; i++) shape->dim[i] = s.dim[s.ndim - 1 - i];
}
static void channels_last_writer(double *x, shape_t *shape) {
    shape_t s = *shape;
    images_last(x, shape);
    *shape = s;
}
static void fortran_writer(double *x, shape_t *shape) {
    shape_t s = *shape;
    turn(x, shape, s.ndim == 4 ? backwards : backwards3);
    *shape = s;
}

/* The truth with TAP edited, and then every tap in another layout, or every tap from number `from` on. */
static void make_all(const char *path, edit_t *layout, edit_t *edit, size_t from) {
    err_t err;
    st_writer_t *w;
    assert_int_equal(st_writer_open(&w, path, &err), 0);
    for (size_t i = 0; i < golden.taps; i++) {
        const golden_tap_t *t = &golden.tap[i];
        shape_t shape = t->shape;
        double *x = fixture_bytes(2 * shape_count(shape) * sizeof *x);
        dtype_to_double(x, t->truth->data, DTYPE_F64, shape_count(shape));
        if (edit && strcmp(t->name, TAP) == 0) edit(x, &shape);
        if (i >= from) layout(x, &shape);
        put(w, t->name, DTYPE_F64, shape, x);
    }
    if (st_writer_finish(w, &err)) fail_msg("%s", err.text);
    fixture_free(NULL);
}

/* The report but for its notes. */
static void keep_words(char *to) {
    for (char *line = output, *next; *line; line = next) {
        next = line + strcspn(line, "\n");
        next += *next == '\n';
        if (strncmp(line, "note", 4) == 0) continue;
        memcpy(to, line, (size_t)(next - line));
        to += next - line;
    }
    *to = '\0';
}

static const struct {
    edit_t *layout;
    const char *said;
} ways[] = {
    {images_last, "layout: 90 taps are stored as (N,H,W,C) and were read as (N,C,H,W): '"},
    {batch_last, "layout: 90 taps are stored as (C,H,W,1) and were read as (N,C,H,W): '"},
    {tokens_last, "layout: 5 taps are stored as (B,C,T) and were read as (B,T,C): '"},
    {as_tokens,
     "layout: 90 taps are stored as tokens (N,HW,C) and were read as images (N,C,H,W): '"},
    {as_images, "layout: 5 taps are stored as (B,C,T1,T2) and were read as (B,T,C): '"},
    {no_batch, "layout: 90 taps are stored as (C,H,W) and were read as (N,C,H,W): '"},
    {reversed, "layout: 90 taps are stored with the innermost axis first, as (W,H,C,N) and were"},
    {flat, "layout: 90 taps are stored as (CHW) and were read as (N,C,H,W): '"},
    {channels_last_writer, "in the order of memory, (N,H,W,C): the writer, not the port, ignored"},
    {fortran_writer, "in the order of memory, (W,H,C,N), (B,C,T): the writer, not the port"},
};
enum { WAYS = sizeof ways / sizeof ways[0] };

/* Every word but the notes is that on the plain trace. */
static void the_word_is_the_same(void **state) {
    (void)state;
    static edit_t *const edits[] = {NULL, spike, gain, zeros, one_nan, ones};
    static char plain[sizeof output], other[sizeof output];
    for (size_t e = 0; e < sizeof edits / sizeof *edits; e++) {
        make_all(candidate, as_it_is, edits[e], 0);
        expect(edits[e] ? 1 : 0, edits[e] ? TAP : NULL, CASE, "--all");
        assert_null(strstr(output, "layout:"));
        keep_words(plain);
        for (size_t i = 0; i < WAYS; i++) {
            make_all(candidate, ways[i].layout, edits[e], 0);
            expect(edits[e] ? 1 : 0, ways[i].said, CASE, "--all");
            keep_words(other);
            assert_string_equal(plain, other);
        }
    }
}

/* ---- what is no layout ----------------------------------------------------------------------- */

/* Axes of one tensor exchanged under its shape are a mistake; so are those of half of them. */
static void mistakes_stay(void **state) {
    (void)state;
    make(candidate, (made_t){.edit = nhwc});
    expect(1, "culprit    #3 " TAP, CASE, "");
    assert_null(strstr(output, "layout:"));
    make_all(candidate, channels_last_writer, NULL, golden.taps / 2);
    expect(1, "DIFFERS", CASE, "");
    assert_null(strstr(output, "layout:"));
}

/* Of another shape one tensor alone is understood, by its numbers; of no possible shape it is not. */
static void one_tensor_alone(void **state) {
    (void)state;
    static edit_t *const right[] = {images_last, batch_last, as_tokens, no_batch, reversed, flat};
    static edit_t *const never[] = {fewer, more, nothing};
    for (size_t i = 0; i < sizeof right / sizeof *right; i++) {
        make(candidate, (made_t){.edit = right[i]});
        expect(0, "layout: 1 tap is stored ", CASE, "");
    }
    for (size_t i = 0; i < sizeof never / sizeof *never; i++) {
        make(candidate, (made_t){.edit = never[i]});
        expect(1, "shape is (", CASE, "");
        assert_null(strstr(output, "layout:"));
    }
}

static void wrong_and_last(double *x, shape_t *shape) {
    for (size_t i = 0; i < shape_count(*shape); i++) x[i] = (double)(i * 7 % 11);
    turn(x, shape, to_nhwc);
}
static void wrong_and_odd(double *x, shape_t *shape) {
    for (size_t i = 0; i < shape_count(*shape); i++) x[i] = (double)(i * 7 % 11);
    turn(x, shape, (const int[]){0, 3, 1, 2});
}

/* Wrong numbers of another shape: what frameworks have is believed of the shape alone, and said; nothing
 * else is. */
static void by_the_shape_alone(void **state) {
    (void)state;
    make(candidate, (made_t){.edit = wrong_and_last});
    expect(1, "by the shape alone, since the numbers fit in no order", CASE, "");
    assert_null(strstr(output, "shape is ("));
    make(candidate, (made_t){.edit = wrong_and_odd});
    expect(1, "shape is (1, 4, 32, 3), expected (1, 32, 3, 4)", CASE, "");
}

/* ---- a trace as reference --------------------------------------------------------------------- */

static void write_one(const char *path, const char *name, shape_t shape, const double *x) {
    err_t err;
    st_writer_t *w;
    assert_int_equal(st_writer_open(&w, path, &err), 0);
    put(w, name, DTYPE_F64, shape, x);
    assert_int_equal(st_writer_finish(w, &err), 0);
}

static void write_two(const char *path, shape_t shape, const double *a, const double *b) {
    err_t err;
    st_writer_t *w;
    assert_int_equal(st_writer_open(&w, path, &err), 0);
    put(w, "a", DTYPE_F64, shape, a);
    put(w, "b", DTYPE_F64, SHAPE3(2, 4, 6), b);
    assert_int_equal(st_writer_finish(w, &err), 0);
}

/* One row stands for several if they are equal, or if the others are nowhere in the trace. */
static void equal_rows_may_stand_once(void **state) {
    (void)state;
    double *x = fixture_random(24, 7, 1), two[48];
    memcpy(two, x, 24 * sizeof *x);
    memcpy(two + 24, x, 24 * sizeof *x);
    write_one(reference, "a", SHAPE3(2, 4, 6), two);
    static const shape_t shapes[] = {{3, {1, 4, 6}}, {2, {4, 6}}, {1, {24}}, {3, {4, 1, 6}}};
    for (size_t i = 0; i < 4; i++) {
        write_one(candidate, "a", shapes[i], x);
        expect(0, "layout: 1 tap has one row where the reference has 2 equal ones", reference, "");
    }
    x[5] += 1e-3;
    write_one(candidate, "a", shapes[0], x);
    expect(1, "DIFFERS", reference, "");
    x[5] -= 1e-3;
    two[40] += 1e-3;
    write_one(reference, "a", SHAPE3(2, 4, 6), two);
    write_one(candidate, "a", shapes[0], x);
    expect(0, "by the numbers it is row 0", reference, "");
    write_two(reference, SHAPE3(2, 4, 6), two, two);
    write_two(candidate, SHAPE3(1, 4, 6), x, two);
    expect(1, "shape is (1, 4, 6), expected (2, 4, 6)", reference, "");
}

/* A square tensor follows its neighbours, whose shapes show the order; what is right as it stands stays. */
static void square_tensors_follow(void **state) {
    (void)state;
    err_t err;
    for (int right = 0; right < 2; right++) {
        st_writer_t *r, *c;
        assert_int_equal(st_writer_open(&r, reference, &err), 0);
        assert_int_equal(st_writer_open(&c, candidate, &err), 0);
        for (uint64_t i = 0; i < 5; i++) {
            static const char *const names[] = {"a", "b", "c", "d", "square"};
            bool square = i == 4;
            shape_t shape = square ? SHAPE4(1, 6, 6, 6) : SHAPE4(1, 8, 6, 5);
            double *x = fixture_random(240, i + 1, 1);
            put(r, names[i], DTYPE_F64, shape, x);
            if (!(square && right)) images_last(x, &shape);
            put(c, names[i], DTYPE_F64, shape, x);
        }
        assert_int_equal(st_writer_finish(r, &err), 0);
        assert_int_equal(st_writer_finish(c, &err), 0);
        expect(0, right ? "layout: 4 taps" : "layout: 5 taps", reference, "");
    }
}

/* Right tensors with axes of size 1 fit many orders: that which fits the wrong ones' shapes is meant. */
static void small_tensors_speak_for_large_ones(void **state) {
    (void)state;
    err_t err;
    st_writer_t *r, *c;
    assert_int_equal(st_writer_open(&r, reference, &err), 0);
    assert_int_equal(st_writer_open(&c, candidate, &err), 0);
    for (uint64_t i = 0; i < 4; i++) {
        static const char *const names[] = {"a", "b", "c", "d"};
        shape_t shape = i < 2 ? SHAPE4(2, 8, 1, 1) : SHAPE4(2, 8, 3, 2);
        double *x = fixture_random(96, i + 1, 1);
        put(r, names[i], DTYPE_F64, shape, x);
        (i < 2 ? images_last : wrong_and_last)(x, &shape);
        put(c, names[i], DTYPE_F64, shape, x);
    }
    assert_int_equal(st_writer_finish(r, &err), 0);
    assert_int_equal(st_writer_finish(c, &err), 0);
    expect(1, "layout: 4 taps are stored as (N,H,W,C) and were read as (N,C,H,W)", reference, "");
    assert_null(strstr(output, "shape is ("));
}

static void wrong_heads(double *x, shape_t *shape) {
    size_t T = shape->dim[1], d = shape->dim[2] / 2;
    for (size_t i = 0; i < shape_count(*shape); i++) x[i] = (double)(i * 7 % 11);
    *shape = SHAPE4(shape->dim[0], T, 2, d);
    turn(x, shape, (const int[]){0, 2, 1, 3});
}

/* Wrong numbers alone: what fits one tensor in two ways is meant as the others of its kind, (B,h,T,d) here,
 * which for (2,12,24) might be (B,C1,C2,T) as well. */
static void neighbours_decide_between_shapes(void **state) {
    (void)state;
    err_t err;
    st_writer_t *r, *c;
    assert_int_equal(st_writer_open(&r, reference, &err), 0);
    assert_int_equal(st_writer_open(&c, candidate, &err), 0);
    for (uint64_t i = 0; i < 3; i++) {
        static const char *const names[] = {"a", "b", "c"};
        shape_t shape = i ? SHAPE3(2, 12, 16) : SHAPE3(2, 12, 24);
        double *x = fixture_random(2 * 12 * 24, i + 1, 1);
        put(r, names[i], DTYPE_F64, shape, x);
        wrong_heads(x, &shape);
        put(c, names[i], DTYPE_F64, shape, x);
    }
    assert_int_equal(st_writer_finish(r, &err), 0);
    assert_int_equal(st_writer_finish(c, &err), 0);
    expect(1, "layout: 3 taps are stored as (B,h,T,d) and were read as (B,T,C), by the shape alone",
           reference, "");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        fixture_test(the_word_is_the_same),
        fixture_test(mistakes_stay),
        fixture_test(one_tensor_alone),
        fixture_test(by_the_shape_alone),
        fixture_test(equal_rows_may_stand_once),
        fixture_test(square_tensors_follow),
        fixture_test(small_tensors_speak_for_large_ones),
        fixture_test(neighbours_decide_between_shapes),
    };
    return cmocka_run_group_tests_name("compare_layouts", tests, open_case, close_case);
}
