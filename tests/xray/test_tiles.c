/* Tensors as small pictures, against plain loops in torch's order: which row and number is taken in each
 * layout, figures, means of cells, levels. */
#include <math.h>

#include "../fixture.h"
#include "xray/tiles.h"

enum { B = 2, C = 5, H = 6, W = 7, P = H * W };

/* The same numbers (B,C,H,W) as a network has them in each layout. */
typedef struct {
    double *torch;
    planes_t planes[3];
} same_t;

static same_t same_numbers(void) {
    same_t s = {.torch = fixture_random(B * C * P, 7, 3)};
    real_t *rows = fixture_reals(s.torch, B * C * P), *last = fixture_reals_last(s.torch, B, C, P);
    view_t torch = {SHAPE4(B, C, H, W), LAYOUT_TORCH};
    s.planes[0] = planes_of(rows, torch, 1, 1, false);
    s.planes[1] = planes_of(last, VIEW_IMAGE(B, C, H, W), 1, 1, false);
    s.planes[2] = planes_of(last, VIEW_TOKENS(B, P, C), H, W, false);
    return s;
}

static void every_layout(void **state) {
    (void)state;
    same_t s = same_numbers();
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(s.planes[i].channels, C);
        assert_int_equal(s.planes[i].H * 100 + s.planes[i].W, H * 100 + W);
        for (size_t c = 0; c < C; c++)
            for (size_t p = 0; p < P; p++)
                assert_true(plane_number(&s.planes[i], c, p / W, p % W) ==
                            s.torch[(C + c) * P + p]); /* the second row of the batch */
    }
}

/* Text as tokens down and channels across; a row. */
static void one_plane(void **state) {
    (void)state;
    double *x = fixture_random(B * 4 * 3, 8, 1);
    real_t *r = fixture_reals(x, B * 4 * 3);
    planes_t text = planes_of(r, VIEW_TOKENS(B, 4, 3), 1, 1, true);
    assert_int_equal(text.channels * 100 + text.H * 10 + text.W, 143);
    assert_true(plane_number(&text, 0, 2, 1) == x[12 + 2 * 3 + 1]);
    planes_t row = planes_of(r, VIEW_ROWS(B, 12), 9, 9, false);
    assert_int_equal(row.channels * 1000 + row.H * 100 + row.W, 1112);
    assert_true(plane_number(&row, 0, 0, 11) == x[23]);
}

static void figures(void **state) {
    (void)state;
    same_t s = same_numbers();
    const double *x = s.torch + C * P;
    double sum = 0, squares = 0, least = x[0], most = x[0];
    for (size_t i = 0; i < C * P; i++) sum += x[i];
    double mean = sum / (C * P);
    for (size_t i = 0; i < C * P; i++) {
        squares += (x[i] - mean) * (x[i] - mean);
        if (x[i] < least) least = x[i];
        if (x[i] > most) most = x[i];
    }
    for (size_t i = 0; i < 3; i++) {
        figures_t f = planes_figures(&s.planes[i]);
        assert_true(fabs(f.mean - mean) < 1e-13);
        assert_true(fabs(f.deviation - sqrt(squares / (C * P))) < 1e-13);
        assert_true(f.least == least && f.most == most);
    }
    real_t bad[] = {1, NAN, 3};
    planes_t p = planes_of(bad, VIEW_ROWS(1, 3), 1, 1, false);
    assert_true(isnan(planes_figures(&p).mean));
}

/* 6 x 7 to 4 x 3: rows 0, 1-2, 3, 4-5; columns 0-1, 2-3, 4-6. */
static void shrunk(void **state) {
    (void)state;
    static const size_t row[] = {0, 1, 3, 4, 6}, column[] = {0, 2, 4, 7};
    same_t s = same_numbers();
    for (size_t i = 0; i < 3; i++)
        for (size_t c = 0; c < C; c++) {
            double got[4 * 3];
            plane_shrink(got, &s.planes[i], c, 4, 3);
            for (size_t r = 0; r < 4; r++)
                for (size_t k = 0; k < 3; k++) {
                    double sum = 0, n = 0;
                    for (size_t y = row[r]; y < row[r + 1]; y++)
                        for (size_t x = column[k]; x < column[k + 1]; x++, n++)
                            sum += s.torch[(C + c) * P + y * W + x];
                    assert_true(fabs(got[r * 3 + k] - sum / n) < 1e-13);
                }
        }
}

static void levels(void **state) {
    (void)state;
    static const double x[] = {-2, 6, 2, -2 + 8.0 * 31 / 63, -9, 99, NAN, INFINITY};
    char cells[8];
    tile_levels(cells, x, 8, -2, 6);
    assert_memory_equal(cells, "A/gfA/A/", 8); /* 0, 63, 31.5 up, 31, then what is outside */
    tile_levels(cells, x, 8, 1, 1);
    assert_memory_equal(cells, "AAAAAAAA", 8);
    assert_int_equal(strlen(tile_alphabet), 64);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        fixture_test(every_layout), fixture_test(one_plane), fixture_test(figures),
        fixture_test(shrunk),       fixture_test(levels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
