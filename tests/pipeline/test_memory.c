/* pipeline_memory bounds what a picture takes of the arena, and not by much. */
#include <stdio.h>
#include <string.h>

#include "tiny.h"

static bool stop_before_decoding(void *who, size_t step, size_t steps) {
    (void)who;
    return step < steps;
}

/* A run with or without its decoding against the bound of that part. */
static void check(bool with_mole, tiny_run_t settings, bool decode, const char *what) {
    pipeline_t pipeline = tiny_open(with_mole);
    run_t run;
    pipeline_text_t text;
    tiny_start(&pipeline, &settings, &run, &text);
    size_t before = arena_mark(run.arena);
    real_t *image = arena_reals(run.arena, 3 * settings.image.width * settings.image.height);
    err_t err = {""};
    if (!decode) settings.image.progress = stop_before_decoding;
    int status = pipeline_generate(&run, &pipeline, &text, &settings.image, image, &err);
    assert_int_equal(status, decode ? 0 : -1);
    size_t used = arena_peak(run.arena) - before;
    size_t bound = decode ? pipeline_memory(&run, &pipeline, &text, &settings.image)
                          : pipeline_memory_denoise(&run, &pipeline, &text, &settings.image);
    printf("%-10s %4zu x %-4zu %d threads: used %8zu KiB, bound %8zu KiB\n", what,
           settings.image.width, settings.image.height, settings.threads, used >> 10, bound >> 10);
    assert_true(used <= bound);
    if (used > (size_t)512 << 10) assert_true(bound <= used + used / 4);
    arena_destroy(run.arena);
    pipeline_close(&pipeline);
}

static const size_t sizes[][2] = {{8, 8}, {136, 72}, {8, 400}, {256, 192}};

static tiny_run_t of_size(size_t i) {
    tiny_run_t settings = tiny_usual();
    settings.image.steps = 1;
    settings.image.width = sizes[i][0];
    settings.image.height = sizes[i][1];
    settings.threads = 1 + (int)i % 3;
    return settings;
}

static void bounds_decoding(void **state) {
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        tiny_run_t settings = of_size(i);
        settings.image.guidance_scale = 1;
        check(false, settings, true, "decoding");
    }
}

static void bounds_denoising(void **state) {
    (void)state;
    static const char *const names[] = {"plain", "stacked", "direct", "unguided"};
    for (size_t kind = 0; kind < 4; kind++) {
        for (size_t i = 0; i < 4; i++) {
            tiny_run_t settings = of_size(i);
            if (kind == 2) settings.run.form = MOLE_DIRECT;
            if (kind == 3) settings.image.guidance_scale = 1;
            check(kind > 0, settings, false, names[kind]);
        }
    }
}

/* An arena that is one byte too small is refused with the size; one that is just large enough serves. */
static void is_checked(void **state) {
    (void)state;
    pipeline_t pipeline = tiny_open(true);
    tiny_run_t settings = tiny_usual();
    run_t run;
    pipeline_text_t text;
    tiny_start(&pipeline, &settings, &run, &text);
    size_t bound = pipeline_memory(&run, &pipeline, &text, &settings.image);
    arena_t *whole = run.arena;
    err_t err = {""};
    assert_int_equal(arena_create(&run.arena, bound, &err), 0);
    assert_int_equal(pipeline_check_memory(&run, &pipeline, &text, &settings.image, &err), 0);
    arena_destroy(run.arena);
    assert_int_equal(arena_create(&run.arena, bound - 1, &err), 0);
    assert_int_equal(pipeline_check_memory(&run, &pipeline, &text, &settings.image, &err), -1);
    assert_non_null(strstr(err.text, "32 x 24 pixels need about"));
    arena_destroy(run.arena);
    arena_destroy(whole);
    pipeline_close(&pipeline);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        fixture_test(bounds_decoding),
        fixture_test(bounds_denoising),
        fixture_test(is_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
