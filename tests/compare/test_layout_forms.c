/* test_layout_forms.c - tensors stored in every way: the way is among those found, and gives the numbers
 * back. */
#include "../unit.h"
#include "compare/layout_forms.h"

static form_t found[FORMS_MOST];

/* How the text of the n-th form begins with "label order": for looking one up. */
static const form_t *find(size_t count, form_label_t label, const char *order) {
    for (size_t f = 0; f < count; f++) {
        bool same = found[f].label == label && (int)strlen(order) == found[f].axes;
        for (int i = 0; same && i < found[f].axes; i++) same = found[f].order[i] == order[i] - '0';
        if (same) return &found[f];
    }
    return NULL;
}

/* In the form, number i of the tensor is stored where the strides of `view`, slowest axis first, put it. */
static void known_ways(void **state) {
    (void)state;
    static const struct {
        shape_t shape, stored;
        form_label_t label;
        const char *order, *text;
        bool likely;
    } ways[] = {
        {{4, {2, 16, 5, 4}}, {4, {2, 5, 4, 16}}, LABEL_PLAIN, "0231", "(N,H,W,C)", true},
        {{4, {2, 16, 5, 4}}, {4, {16, 5, 4, 2}}, LABEL_PLAIN, "1230", "(C,H,W,N)", false},
        {{4, {2, 16, 5, 4}}, {4, {4, 5, 16, 2}}, LABEL_PLAIN, "3210", "(W,H,C,N)", false},
        {{4, {2, 16, 5, 4}}, {4, {4, 5, 16, 2}}, LABEL_REVERSED, "0123", "(W,H,C,N)", true},
        {{4, {2, 16, 5, 4}}, {4, {16, 4, 5, 2}}, LABEL_REVERSED, "0231", "(C,W,H,N)", false},
        {{4, {2, 16, 5, 4}}, {4, {2, 16, 5, 4}}, LABEL_IGNORED, "0231", "(N,H,W,C)", false},
        {{4, {2, 16, 5, 4}}, {4, {2, 16, 5, 4}}, LABEL_PLAIN, "0123", "(N,C,H,W)", true},
        {{4, {2, 16, 5, 4}}, {3, {2, 20, 16}}, LABEL_PLAIN, "0231", "(N,HW,C)", true},
        {{4, {2, 16, 5, 4}}, {2, {2, 320}}, LABEL_PLAIN, "0123", "(N,CHW)", true},
        {{4, {2, 16, 5, 4}}, {2, {2, 320}}, LABEL_PLAIN, "0231", "(N,HWC)", true},
        {{4, {2, 16, 5, 4}}, {1, {640}}, LABEL_PLAIN, "0123", "(NCHW)", true},
        {{4, {1, 16, 5, 4}}, {3, {16, 5, 4}}, LABEL_PLAIN, "0123", "(C,H,W)", true},
        {{4, {1, 16, 5, 4}}, {3, {5, 4, 16}}, LABEL_PLAIN, "0231", "(H,W,C)", true},
        {{4, {2, 16, 1, 1}}, {4, {2, 1, 1, 16}}, LABEL_PLAIN, "0231", "(N,H,W,C)", true},
        {{3, {2, 20, 16}}, {3, {2, 16, 20}}, LABEL_PLAIN, "021", "(B,C,T)", true},
        {{3, {2, 20, 16}}, {3, {20, 2, 16}}, LABEL_PLAIN, "102", "(T,B,C)", true},
        {{3, {2, 20, 16}}, {4, {2, 16, 5, 4}}, LABEL_PLAIN, "021", "(B,C,T1,T2)", true},
        {{3, {2, 20, 16}}, {2, {40, 16}}, LABEL_PLAIN, "012", "(BT,C)", true},
        {{3, {2, 20, 16}}, {4, {16, 20, 2, 1}}, LABEL_REVERSED, "012", "(C,T,B,1)", true},
        {{3, {2, 20, 16}}, {4, {2, 8, 20, 2}}, LABEL_PLAIN, "0213", "(B,h,T,d)", true},
        {{3, {2, 20, 16}}, {3, {16, 20, 2}}, LABEL_PLAIN, "0213", "(Bh,T,d)", true},
        {{2, {2, 16}}, {2, {16, 2}}, LABEL_PLAIN, "10", "(C,N)", true},
        {{2, {2, 16}}, {4, {1, 2, 1, 16}}, LABEL_PLAIN, "01", "(1,N,1,C)", true},
        {{1, {5}}, {3, {1, 5, 1}}, LABEL_PLAIN, "0", "(1,N,1)", true},
        {{0, {0}}, {1, {1}}, LABEL_PLAIN, "", "(1)", true},
        {{5, {2, 3, 4, 5, 6}}, {4, {2, 3, 20, 6}}, LABEL_PLAIN, "0123", "(a,b,cd,e)", true},
    };
    char text[FORM_TEXT];
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        size_t count = layout_forms(found, ways[i].shape, ways[i].stored, false);
        const form_t *form = find(count, ways[i].label, ways[i].order);
        if (!form) fail_msg("way %zu is not among %zu", i, count);
        assert_int_equal(form->likely, ways[i].likely);
        assert_string_equal(form_stored_text(text, form, ways[i].shape, ways[i].stored),
                            ways[i].text);
    }
}

static void impossible_ways(void **state) {
    (void)state;
    static const shape_t shapes[][2] = {
        {{4, {1, 32, 3, 4}}, {4, {1, 16, 3, 4}}}, /* fewer */
        {{4, {1, 32, 3, 4}}, {4, {2, 32, 3, 4}}}, /* more */
        {{4, {1, 32, 3, 4}}, {4, {0, 32, 3, 4}}}, /* none */
        {{4, {1, 32, 3, 4}}, {4, {1, 8, 6, 8}}},  /* as many, and no order of axes */
        {{3, {2, 12, 32}}, {3, {3, 8, 32}}},      /* regrouped */
        {{2, {6, 35}}, {2, {10, 21}}},
        {{4, {2, 16, 5, 4}}, {4, {1, 16, 5, 4}}}, /* one row of two that are not equal */
    };
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++)
        assert_int_equal(layout_forms(found, shapes[i][0], shapes[i][1], false), 0);
}

static uint32_t next(uint32_t *seed, uint32_t below) {
    *seed = *seed * 1664525 + 1013904223;
    return (*seed >> 8) % below;
}

/* An order of memory, the neighbours of which are stored as one axis here and there, with axes of size 1. */
static void random_ways(void **state) {
    (void)state;
    uint32_t seed = 3;
    for (int round = 0; round < 4000; round++) {
        shape_t shape = {.ndim = 1 + (int)next(&seed, 4)}, stored = {0, {0}};
        int order[FORM_AXES] = {0, 1, 2, 3};
        char name[FORM_AXES + 1] = "";
        for (int i = 0; i < shape.ndim; i++) shape.dim[i] = 1 + next(&seed, 9);
        for (int i = shape.ndim - 1; i > 0; i--) {
            int k = (int)next(&seed, (uint32_t)i + 1), t = order[i];
            order[i] = order[k], order[k] = t;
        }
        bool once = shape.dim[0] > 1 && next(&seed, 5) == 0, joined = false;
        for (int i = 0; i < shape.ndim; i++) {
            name[i] = (char)('0' + order[i]);
            if (once && order[i] == 0) continue;
            if (joined)
                stored.dim[stored.ndim - 1] *= shape.dim[order[i]];
            else if (next(&seed, 9) == 0 && stored.ndim < 3)
                stored.dim[stored.ndim++] = 1, stored.dim[stored.ndim++] = shape.dim[order[i]];
            else
                stored.dim[stored.ndim++] = shape.dim[order[i]];
            joined = next(&seed, 4) == 0;
        }
        size_t count = layout_forms(found, shape, stored, once);
        const form_t *form = find(count, LABEL_PLAIN, name);
        if (!form) fail_msg("round %d: order %s is not among %zu", round, name, count);
        assert_int_equal(form->once, once);
        trace_layout_t layout = form_layout(form, shape, stored), wanted = {shape, shape, {0}};
        trace_layout_order(&wanted, order, (const bool[SHAPE_DIMS]){once});
        for (size_t i = 0; i < shape_count(shape); i++)
            assert_int_equal(trace_layout_place(&layout, i), trace_layout_place(&wanted, i));
        assert_int_equal(trace_layout_stored(&layout), shape_count(stored));
    }
}

/* Heads: number (b, t, c) of (B,T,C) is number (b, c / d, t, c % d) of (B,h,T,d). */
static void heads_are_two_axes(void **state) {
    (void)state;
    shape_t shape = SHAPE3(2, 5, 12), stored = SHAPE4(2, 3, 5, 4);
    size_t count = layout_forms(found, shape, stored, false);
    const form_t *form = find(count, LABEL_PLAIN, "0213");
    assert_non_null(form);
    trace_layout_t layout = form_layout(form, shape, stored);
    assert_true(shape_equal(layout.shape, shape));
    for (size_t b = 0; b < 2; b++)
        for (size_t t = 0; t < 5; t++)
            for (size_t c = 0; c < 12; c++)
                assert_int_equal(trace_layout_place(&layout, (b * 5 + t) * 12 + c),
                                 ((b * 3 + c / 4) * 5 + t) * 4 + c % 4);
}

/* What is likelier comes first, and the own order before all. */
static void likely_ways_come_first(void **state) {
    (void)state;
    assert_true(layout_forms(found, SHAPE4(2, 4, 4, 4), SHAPE4(2, 4, 4, 4), false) > 20);
    assert_true(found[0].label == LABEL_PLAIN && form_is_plain(&found[0]));
    assert_true(found[1].order[1] == 2 && found[1].order[3] == 1); /* channels last */
    assert_false(form_equal(&found[0], &found[1]));
    assert_true(form_equal(&found[1], &found[1]));
    assert_true(layout_forms(found, SHAPE4(2, 16, 5, 4), SHAPE4(2, 16, 5, 4), false) > 0);
    for (size_t f = 1; found[f].label == LABEL_IGNORED; f++) assert_false(found[f].likely);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_ways),
        cmocka_unit_test(impossible_ways),
        cmocka_unit_test(random_ways),
        cmocka_unit_test(heads_are_two_axes),
        cmocka_unit_test(likely_ways_come_first),
    };
    return cmocka_run_group_tests_name("layout_forms", tests, NULL, NULL);
}
