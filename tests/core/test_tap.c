/* Taps: names with suffix and prefix, the NULL sink, and both memory orders. */
#include <stdio.h>
#include <string.h>

#include "../fixture.h"
#include "core/tap.h"

typedef struct {
    tap_sink_t sink;
    char name[512];
    const real_t *x;
    view_t view;
    size_t calls;
} listener_t;

static void hear(tap_sink_t *self, const char *name, real_t *x, view_t view) {
    listener_t *l = (listener_t *)self;
    snprintf(l->name, sizeof l->name, "%s", name);
    l->x = x;
    l->view = view;
    l->calls++;
}

static void names(void **state) {
    (void)state;
    listener_t l = {.sink = {.tap = hear}};
    real_t x[6] = {0};
    tap(&l.sink, "unet.conv_in", x, VIEW_IMAGE(1, 2, 3, 1));
    assert_string_equal(l.name, "unet.conv_in");
    assert_ptr_equal(l.x, x);
    assert_int_equal(l.view.layout, LAYOUT_CHANNELS_LAST);
    assert_true(shape_equal(l.view.shape, SHAPE4(1, 2, 3, 1)));
    tap_suffix(&l.sink, "unet.mid", x, VIEW_TOKENS(1, 2, 3), ".mole.%s.%s", "face", "local");
    assert_string_equal(l.name, "unet.mid.mole.face.local");
    assert_ptr_equal(l.x, x);
    assert_int_equal(l.view.layout, LAYOUT_TORCH);
    tap_suffix(&l.sink, "100%s", x, VIEW_ROWS(2, 3), ".in"); /* a name is no format */
    assert_string_equal(l.name, "100%s.in");
    assert_int_equal(l.calls, 3);
}

/* Nobody is watching: nothing is called, a NULL tensor does not matter. */
static void no_sink(void **state) {
    (void)state;
    tap(NULL, "x", NULL, VIEW_ROWS(1, 1));
    tap_suffix(NULL, "x", NULL, VIEW_ROWS(1, 1), ".%s", "y");
    tap_prefix_t prefix = tap_prefix(NULL, "step.000/");
    assert_null(tap_prefix_sink(&prefix));
}

static void prefixes(void **state) {
    (void)state;
    listener_t l = {.sink = {.tap = hear}};
    real_t x[1] = {0};
    tap_prefix_t step = tap_prefix(&l.sink, "step.003/"),
                 run = tap_prefix(tap_prefix_sink(&step), "a%d.");
    tap(tap_prefix_sink(&step), "unet", x, VIEW_ROWS(1, 1));
    assert_string_equal(l.name, "step.003/unet");
    tap_suffix(tap_prefix_sink(&run), "unet", x, VIEW_ROWS(1, 1), ".in");
    assert_string_equal(l.name, "step.003/a%d.unet.in");
    assert_ptr_equal(l.x, x);
}

/* A name that would be cut would be another module's: the longest that fits passes, one more aborts. */
static char long_name[600];

static void tap_long_name(void) {
    listener_t l = {.sink = {.tap = hear}};
    real_t x[1];
    tap_suffix(&l.sink, long_name, x, VIEW_ROWS(1, 1), "%s", "");
}

static void tap_long_suffix(void) {
    listener_t l = {.sink = {.tap = hear}};
    real_t x[1];
    tap_suffix(&l.sink, "unet.", x, VIEW_ROWS(1, 1), "%s", long_name);
}

static void long_names(void **state) {
    (void)state;
    memset(long_name, 'n', sizeof long_name - 1);
    fixture_aborts(tap_long_name, "tap: name too long");
    fixture_aborts(tap_long_suffix, "tap: name too long");
    listener_t l = {.sink = {.tap = hear}};
    real_t x[1] = {0};
    long_name[511] = '\0';
    tap_suffix(&l.sink, long_name, x, VIEW_ROWS(1, 1), "%s", "");
    assert_string_equal(l.name, long_name);
    long_name[506] = '\0';
    tap_suffix(&l.sink, "unet.", x, VIEW_ROWS(1, 1), "%s", long_name);
    assert_int_equal(strlen(l.name), 511);
}

/* ---- memory orders ---------------------------------------------------------------------------------- */

/* Each number knows where it stands: b, c, p. */
static void channels_last(void **state) {
    (void)state;
    enum { B = 2, C = 3, H = 4, W = 5, P = H * W, N = B * C * P };
    real_t last[N], torch[N], back[N];
    for (size_t b = 0; b < B; b++)
        for (size_t p = 0; p < P; p++)
            for (size_t c = 0; c < C; c++)
                last[(b * P + p) * C + c] = (real_t)(b * 1000 + c * 100 + p);
    view_t view = VIEW_IMAGE(B, C, H, W);
    view_to_torch(torch, last, view);
    for (size_t b = 0; b < B; b++)
        for (size_t c = 0; c < C; c++)
            for (size_t p = 0; p < P; p++)
                assert_true(torch[(b * C + c) * P + p] == (real_t)(b * 1000 + c * 100 + p));
    view_from_torch(back, torch, view);
    assert_memory_equal(back, last, sizeof last);
    view_t flat = {SHAPE3(B, C, P), LAYOUT_CHANNELS_LAST};
    view_to_torch(back, last, flat);
    assert_memory_equal(back, torch, sizeof torch);
}

static void row_major_is_copied(void **state) {
    (void)state;
    view_t views[] = {VIEW_TOKENS(2, 3, 4), VIEW_ROWS(4, 6), {SHAPE4(1, 2, 3, 4), LAYOUT_TORCH}};
    real_t x[24], out[24];
    for (size_t i = 0; i < 24; i++) x[i] = (real_t)i;
    for (size_t i = 0; i < 3; i++) {
        memset(out, 0xFF, sizeof out);
        view_to_torch(out, x, views[i]);
        assert_memory_equal(out, x, sizeof x);
        memset(out, 0xFF, sizeof out);
        view_from_torch(out, x, views[i]);
        assert_memory_equal(out, x, sizeof x);
    }
    real_t scalar = 7, copy = 0;
    view_to_torch(&copy, &scalar, (view_t){SHAPE0(), LAYOUT_TORCH});
    assert_true(copy == 7);
}

static void last_of_two_dimensions(void) {
    real_t x[6] = {0}, out[6];
    view_to_torch(out, x, (view_t){SHAPE2(2, 3), LAYOUT_CHANNELS_LAST});
}

static void contract(void **state) {
    (void)state;
    fixture_aborts(last_of_two_dimensions, "channels-last tensor of 2 dimensions");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        fixture_test(names),      fixture_test(no_sink),       fixture_test(prefixes),
        fixture_test(long_names), fixture_test(channels_last), fixture_test(row_major_is_copied),
        fixture_test(contract),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
