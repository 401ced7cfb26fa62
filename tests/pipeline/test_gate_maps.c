/* test_gate_maps.c - pictures of the gates, from taps whose picture is known. */
#include "../scratch.h"
#include "../unit.h"
#include "io/png.h"
#include "pipeline/gate_maps.h"

enum { H = 2, W = 3, SIDE = 8 };

typedef struct {
    tap_sink_t sink;
    size_t taps;
} counter_t;

static void count_tap(tap_sink_t *self, const char *name, real_t *x, view_t view) {
    (void)name, (void)x, (void)view;
    ((counter_t *)self)->taps++;
}

static const mole_files_t files = {.experts = 2, .name = {"face", "hand"}};

/* The gates of one layer and expert: local (B,T), global (B). */
static void gate_taps(tap_sink_t *sink, const char *layer, const char *expert, real_t *local,
                      real_t *global, size_t B, size_t T) {
    tap_suffix(sink, layer, local, (view_t){SHAPE2(B, T), LAYOUT_TORCH}, ".mole.%s.local", expert);
    tap_suffix(sink, layer, global, (view_t){SHAPE1(B), LAYOUT_TORCH}, ".mole.%s.global", expert);
}

static picture_t read_map(const char *name) {
    picture_t picture;
    err_t err;
    if (picture_read(&picture, scratch_path(name), &err)) fail_msg("%s", err.text);
    return picture;
}

static uint8_t pixel(const picture_t *p, size_t column, size_t y, size_t x) {
    return p->pixels[y * SIDE * p->width + column * W * SIDE + x * SIDE];
}

/* Two layers at full size: the mean of D G over both, of the second (conditional) row. */
static void mean_strength_of_the_conditional_row(void **state) {
    (void)state;
    counter_t counter = {{count_tap, false}, 0};
    gate_maps_t *maps = gate_maps_new(&files, H, W, &counter.sink);
    tap_sink_t *sink = gate_maps_sink(maps);
    real_t local[2 * H * W] = {9, 9, 9, 9, 9, 9, 0, 0.25, 0.5, 0.75, 1, 0.5};
    real_t other[2 * H * W] = {9, 9, 9, 9, 9, 9, 0, 0.5, 0.5, 0.5, 1, 0};
    real_t global[2] = {9, 0.5}, strong[2] = {9, 1}, small[2] = {0.25, 0.75};
    real_t text[2 * 6] = {0, 0, 0, 0, 0, 0, 9, 9, 9, 9, 9, 9};
    err_t err;
    gate_taps(sink, "step.000/unet.a.to_q", "face", local, global, 2, H * W);
    gate_taps(sink, "step.000/unet.a.to_q", "hand", other, strong, 2, H * W);
    gate_taps(sink, "step.001/unet.a.to_q", "face", local, strong, 2, H * W);
    /* What sees the text is no part of the picture, even where the number of tokens would fit. */
    gate_taps(sink, "step.001/unet.a.attn2.to_k", "face", text, strong, 2, H * W);
    gate_taps(sink, "step.001/unet.a.attn2.to_v", "hand", text, strong, 2, H * W);
    /* A coarser level: (1,2). */
    gate_taps(sink, "step.001/unet.b.to_q", "face", small, global, 1, 2);
    tap(sink, "step.001/unet.b.to_q", small, VIEW_ROWS(1, 2));
    assert_int_equal(counter.taps, 13);
    if (gate_maps_write(maps, scratch_path("maps"), &err)) fail_msg("%s", err.text);
    gate_maps_free(maps);

    picture_t face = read_map("maps/face.png"), hand = read_map("maps/hand.png");
    assert_int_equal(face.channels, 1);
    assert_int_equal(face.height, H * SIDE);
    assert_int_equal(face.width, 2 * W * SIDE); /* two levels side by side */
    assert_int_equal(hand.width, W * SIDE);
    static const uint8_t expected[H][W] = {{0, 64, 128}, {191, 255, 128}};
    static const uint8_t hands[H][W] = {{0, 128, 128}, {128, 255, 0}};
    for (size_t y = 0; y < H; y++)
        for (size_t x = 0; x < W; x++) {
            assert_int_equal(pixel(&face, 0, y, x), expected[y][x]);
            assert_int_equal(pixel(&hand, 0, y, x), hands[y][x]);
        }
    assert_int_equal(pixel(&face, 1, 0, 0), 0);
    assert_int_equal(pixel(&face, 1, 1, W - 1), 255);
    /* D from 0 to 1, G 0.5 and 1: the mean of G is 0.75. The coarse level's G is 9, of its only row. */
    assert_int_equal(face.text_count, 1);
    assert_string_equal(face.keys[0], "mole:gates");
    if (!strstr(face.values[0], "face: 3x2 0.0000..0.7500 2x1 2.2500..6.7500"))
        fail_msg("%s", face.values[0]);
    if (!strstr(hand.values[0], "hand: 3x2 0.0000..1.0000")) fail_msg("%s", hand.values[0]);
    picture_free(&face);
    picture_free(&hand);
}

static void nothing_seen(void **state) {
    (void)state;
    err_t err;
    gate_maps_t *maps = gate_maps_new(&files, H, W, NULL);
    assert_int_equal(gate_maps_write(maps, scratch_path("none"), &err), -1);
    assert_message(&err, "face", NULL);
    gate_maps_free(maps);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mean_strength_of_the_conditional_row),
        cmocka_unit_test(nothing_seen),
    };
    return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
