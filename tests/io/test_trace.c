/* test_trace.c - what a run's taps become in a file: order, names, torch's dimension order, metadata. */
#include <signal.h>
#include <sys/resource.h>

#include "../scratch.h"
#include "../unit.h"
#include "core/tap_name.h"
#include "io/safetensors.h"
#include "io/trace.h"

static trace_t *open_with(const char *path, bool inputs) {
    trace_t *trace;
    err_t err;
    if (trace_open(&trace, path, inputs, &err)) fail_msg("%s", err.text);
    return trace;
}

static trace_t *open_trace(const char *path) {
    return open_with(path, false);
}

static void close_trace(trace_t *trace) {
    err_t err;
    if (trace_close(trace, true, &err)) fail_msg("%s", err.text);
}

static st_file_t *open_file(const char *path) {
    st_file_t *file;
    err_t err;
    if (st_open(&file, path, &err)) fail_msg("%s", err.text);
    return file;
}

/* Not the order of the alphabet, nor of size: that in which they came, steps in front. */
static void order_of_execution(void **state) {
    (void)state;
    static const char *const names[] = {"prompt_embeds",
                                        "latents",
                                        "step.000/unet.conv_in",
                                        "step.000/unet",
                                        "step.001/unet.conv_in",
                                        "step.001/unet",
                                        "image"};
    enum { COUNT = sizeof names / sizeof *names };
    real_t x[4] = {1, 2, 3, 4};
    const char *path = scratch_path("order.safetensors");
    trace_t *trace = open_trace(path);
    tap_sink_t *sink = trace_sink(trace);
    tap(sink, names[0], x, VIEW_ROWS(1, 4));
    tap(sink, names[1], x, VIEW_ROWS(1, 1));
    for (size_t step = 0; step < 2; step++) {
        char text[STEP_PREFIX];
        tap_prefix_t prefix = tap_prefix(sink, tap_step(text, step));
        tap(tap_prefix_sink(&prefix), "unet.conv_in", x, VIEW_ROWS(1, 3));
        tap_suffix(tap_prefix_sink(&prefix), "un", x, VIEW_ROWS(1, 2), "%s", "et");
    }
    tap(sink, names[COUNT - 1], x, VIEW_ROWS(2, 2));
    assert_int_equal(trace_count(trace), COUNT);
    close_trace(trace);
    st_file_t *file = open_file(path);
    assert_int_equal(st_count(file), COUNT);
    for (size_t i = 0; i < COUNT; i++) assert_string_equal(st_at(file, i)->name, names[i]);
    st_close(file);
}

/* Whatever memory looks like, the file is row-major in torch's order: number (b,c,y,x) is
 * 1000 b + 100 c + 10 y + x. */
static void dimension_order(void **state) {
    (void)state;
    enum { B = 2, C = 3, H = 4, W = 5 };
    real_t last[B * C * H * W], tokens[B * C * H], flat[B * C * H];
    for (size_t b = 0, i = 0; b < B; b++)
        for (size_t y = 0; y < H; y++)
            for (size_t x = 0; x < W; x++)
                for (size_t c = 0; c < C; c++)
                    last[i++] = (real_t)(1000 * b + 100 * c + 10 * y + x);
    for (size_t i = 0; i < B * C * H; i++) tokens[i] = (real_t)i;
    for (size_t b = 0, i = 0; b < B; b++)
        for (size_t p = 0; p < H; p++)
            for (size_t c = 0; c < C; c++) flat[i++] = (real_t)(100 * b + 10 * c + p);

    const char *path = scratch_path("layout.safetensors");
    trace_t *trace = open_trace(path);
    tap(trace_sink(trace), "flat", flat, (view_t){SHAPE3(B, C, H), LAYOUT_CHANNELS_LAST});
    tap(trace_sink(trace), "image", last, VIEW_IMAGE(B, C, H, W));
    tap(trace_sink(trace), "tokens", tokens, VIEW_TOKENS(B, C, H));
    close_trace(trace);

    st_file_t *file = open_file(path);
    const st_tensor_t *image = st_find(file, "image"), *same = st_find(file, "tokens");
    const st_tensor_t *turned = st_find(file, "flat");
    assert_true(shape_equal(image->shape, SHAPE4(B, C, H, W)));
    assert_true(shape_equal(turned->shape, SHAPE3(B, C, H)));
    assert_int_equal(image->dtype, dtype_real());
    double x[B * C * H * W];
    dtype_to_double(x, image->data, image->dtype, B * C * H * W);
    for (size_t i = 0; i < B * C * H * W; i++)
        assert_true(x[i] == (double)(1000 * (i / (C * H * W)) + 100 * (i / (H * W) % C) +
                                     10 * (i / W % H) + i % W));
    dtype_to_double(x, turned->data, turned->dtype, B * C * H);
    for (size_t i = 0; i < B * C * H; i++)
        assert_true(x[i] == (double)(100 * (i / (C * H)) + 10 * (i / H % C) + i % H));
    assert_memory_equal(same->data, tokens, sizeof tokens);
    st_close(file);
}

/* NAME.in stands before NAME, where it was asked for, and behind a prefix too. */
static void inputs_where_wanted(void **state) {
    (void)state;
    for (int wanted = 0; wanted < 2; wanted++) {
        real_t x[2] = {1, 2}, y[2] = {3, 4};
        char text[STEP_PREFIX];
        const char *path = scratch_path("inputs.safetensors");
        trace_t *trace = open_with(path, wanted);
        tap_prefix_t prefix = tap_prefix(trace_sink(trace), tap_step(text, 0));
        tap_input(tap_prefix_sink(&prefix), "unet.conv_in", x, VIEW_ROWS(1, 2));
        tap(tap_prefix_sink(&prefix), "unet.conv_in", y, VIEW_ROWS(1, 2));
        close_trace(trace);
        st_file_t *file = open_file(path);
        assert_int_equal(st_count(file), 1 + wanted);
        assert_string_equal(st_at(file, wanted)->name, "step.000/unet.conv_in");
        assert_memory_equal(st_at(file, wanted)->data, y, sizeof y);
        if (wanted) {
            assert_string_equal(st_at(file, 0)->name, "step.000/unet.conv_in.in");
            assert_memory_equal(st_at(file, 0)->data, x, sizeof x);
        }
        st_close(file);
    }
}

static void metadata(void **state) {
    (void)state;
    const char *path = scratch_path("metadata.safetensors");
    trace_t *trace = open_trace(path);
    trace_metadata(trace, "prompt", "two hands");
    close_trace(trace);
    st_file_t *file = open_file(path);
    assert_string_equal(st_metadata(file, "format"), "mole-trace");
    assert_string_equal(st_metadata(file, "version"), "1");
    assert_string_equal(st_metadata(file, "precision"), sizeof(real_t) == 8 ? "f64" : "f32");
    assert_string_equal(st_metadata(file, "prompt"), "two hands");
    st_close(file);
}

/* A tap cannot fail; what it met is said at the end, and nothing stays behind. */
static void failures_are_told_at_the_end(void **state) {
    (void)state;
    enum { COUNT = 1 << 16 };
    real_t *x = calloc(COUNT, sizeof *x);
    err_t err = {""};
    size_t before = scratch_entries();
    struct rlimit old, small = {COUNT / 2, COUNT / 2};
    const char *path = scratch_path("failed.safetensors");

    trace_t *trace = open_trace(path);
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &old);
    small.rlim_max = old.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    tap(trace_sink(trace), "large", x, VIEW_ROWS(1, COUNT));
    tap(trace_sink(trace), "small", x, VIEW_ROWS(1, 1));
    int status = trace_close(trace, true, &err);
    setrlimit(RLIMIT_FSIZE, &old);
    assert_int_equal(status, -1);
    assert_message(&err, "failed.safetensors", "large", NULL);
    assert_int_equal(scratch_entries(), before);

    trace = open_trace(path);
    tap(trace_sink(trace), "twice", x, VIEW_ROWS(1, 1));
    tap(trace_sink(trace), "twice", x, VIEW_ROWS(1, 1));
    assert_int_equal(trace_close(trace, true, &err), -1);
    assert_message(&err, "twice", NULL);
    assert_int_equal(scratch_entries(), before);

    trace = open_trace(path);
    tap(trace_sink(trace), "unwanted", x, VIEW_ROWS(1, 1));
    assert_int_equal(trace_close(trace, false, &err), 0);
    assert_int_equal(scratch_entries(), before);
    free(x);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(order_of_execution),           cmocka_unit_test(dimension_order),
        cmocka_unit_test(inputs_where_wanted),          cmocka_unit_test(metadata),
        cmocka_unit_test(failures_are_told_at_the_end),
    };
    return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
