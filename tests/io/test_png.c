/* test_png.c - pictures: pixels and texts come back, bytes do not vary, failures leave nothing. */
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include "../scratch.h"
#include "../unit.h"
#include "io/png.h"

static void fill(uint8_t *pixels, size_t count) {
    uint32_t x = 12345;
    for (size_t i = 0; i < count; i++)
        pixels[i] = (uint8_t)((x = x * 1664525u + 1013904223u) >> 24);
}

static void round_trips(void **state) {
    (void)state;
    const size_t sizes[][2] = {{1, 1}, {7, 3}, {3, 7}, {64, 48}};
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++)
        for (size_t channels = 1; channels <= 3; channels += 2) {
            err_t err;
            picture_t picture;
            uint8_t pixels[64 * 48 * 3];
            size_t width = sizes[s][0], height = sizes[s][1], bytes = width * height * channels;
            const char *path = scratch_path("x.png");
            fill(pixels, bytes);
            assert_int_equal(picture_write(path, pixels, width, height, channels, NULL, 0, &err),
                             0);
            if (picture_read(&picture, path, &err) != 0) fail_msg("%s", err.text);
            assert_int_equal(picture.width, width);
            assert_int_equal(picture.height, height);
            assert_int_equal(picture.channels, channels);
            assert_int_equal(picture.text_count, 0);
            assert_memory_equal(picture.pixels, pixels, bytes);
            picture_free(&picture);
        }
}

/* A picture in memory, written down as it is, is a PNG of these pixels. */
static void in_memory(void **state) {
    (void)state;
    for (size_t channels = 1; channels <= 3; channels += 2) {
        err_t err;
        picture_t picture;
        uint8_t pixels[7 * 5 * 3];
        size_t bytes;
        fill(pixels, sizeof pixels);
        uint8_t *png = picture_bytes(&bytes, pixels, 7, 5, channels);
        must(picture_read(&picture, scratch_write("x.png", png, bytes), &err), &err);
        assert_int_equal(picture.width * 100 + picture.height * 10 + picture.channels,
                         750 + channels);
        assert_memory_equal(picture.pixels, pixels, 7 * 5 * channels);
        picture_free(&picture);
        free(png);
    }
}

static const uint8_t grey[4] = {0, 85, 170, 255};

/* The chunk that starts with `type` and then `bytes`, anywhere in the file. */
static bool has_chunk(const char *file, size_t size, const char *chunk, size_t bytes) {
    for (size_t i = 0; i + bytes <= size; i++)
        if (memcmp(file + i, chunk, bytes) == 0) return true;
    return false;
}

static void texts(void **state) {
    (void)state;
    err_t err;
    picture_t picture;
    size_t bytes;
    static char megabyte[1 << 20];
    memset(megabyte, 'm', sizeof megabyte - 1);
    const picture_text_t in[] = {
        {"parameters", "a face\nSteps: 50, Seed: 1"},
        {"latin", "caf\xc3\xa9"},
        {"wide", "\xe9\xa1\x94 \xf0\x9f\x98\x80"},
        {"empty", ""},
        {"long", megabyte},
    };
    const char *path = scratch_path("text.png");
    assert_int_equal(picture_write(path, grey, 2, 2, 1, in, 5, &err), 0);
    if (picture_read(&picture, path, &err) != 0) fail_msg("%s", err.text);
    assert_int_equal(picture.text_count, 5);
    for (size_t i = 0; i < 5; i++) {
        assert_string_equal(picture.keys[i], in[i].key);
        assert_string_equal(picture.values[i], in[i].value);
    }
    picture_free(&picture);
    char *file = scratch_slurp(path, &bytes);
    assert_true(has_chunk(file, bytes, "tEXtparameters\0a face\n", 22));
    assert_true(has_chunk(file, bytes, "tEXtlatin\0caf\xe9", 14));
    assert_true(has_chunk(file, bytes, "iTXtwide\0\0\0\0\0\xe9\xa1\x94", 16));
    assert_false(has_chunk(file, bytes, "tIME", 4));
    free(file);
}

static void bad_texts(void **state) {
    (void)state;
    char key80[81];
    memset(key80, 'k', 80);
    key80[80] = '\0';
    const picture_text_t bad[] = {{"", "x"},     {" a", "x"},          {"a ", "x"},  {"a  b", "x"},
                                  {"a\nb", "x"}, {"\xc3\xa9", "x"},    {key80, "x"}, {"a", "\xff"},
                                  {"a", "\xc3"}, {"a", "\xed\xa0\x80"}};
    unlink(scratch_path("text.png"));
    unlink(scratch_path("x.png"));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        err_t err;
        assert_int_equal(picture_write(scratch_path("bad.png"), grey, 2, 2, 1, &bad[i], 1, &err),
                         -1);
        assert_message(&err, "bad.png", i < 7 ? "text key" : "text 'a' is not UTF-8", NULL);
        assert_int_equal(scratch_entries(), 0);
    }
}

static void same_bytes_twice(void **state) {
    (void)state;
    err_t err;
    size_t first_bytes, second_bytes;
    uint8_t pixels[32 * 32 * 3];
    const picture_text_t text = {"parameters", "x"};
    fill(pixels, sizeof pixels);
    const char *path = scratch_path("same.png");
    assert_int_equal(picture_write(path, pixels, 32, 32, 3, &text, 1, &err), 0);
    char *first = scratch_slurp(path, &first_bytes);
    assert_int_equal(picture_write(path, pixels, 32, 32, 3, &text, 1, &err), 0);
    char *second = scratch_slurp(path, &second_bytes);
    assert_int_equal(first_bytes, second_bytes);
    assert_memory_equal(first, second, first_bytes);
    free(first);
    free(second);
    unlink(path);
}

static void failures_leave_nothing(void **state) {
    (void)state;
    enum { SIDE = 300 };
    static uint8_t pixels[SIDE * SIDE * 3];
    err_t err;
    fill(pixels, sizeof pixels);
    assert_int_equal(picture_write(scratch_path("no/x.png"), grey, 2, 2, 1, NULL, 0, &err), -1);
    assert_message(&err, "no/x.png", "cannot write", "No such file", NULL);
    assert_int_equal(picture_write(scratch_path("x.png"), grey, 0, 2, 1, NULL, 0, &err), -1);
    assert_message(&err, "x.png", "0 x 2", NULL);
    assert_int_equal(picture_write(scratch_path("x.png"), grey, 2, 65536, 1, NULL, 0, &err), -1);
    assert_message(&err, "x.png", "2 x 65536", NULL);

    struct rlimit old, limit;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    const size_t rooms[] = {0, 10, 1000, 100000}; /* in the signature, the header, the rows */
    for (size_t i = 0; i < 4; i++) {
        limit = old;
        limit.rlim_cur = rooms[i];
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
        int status = picture_write(scratch_path("x.png"), pixels, SIDE, SIDE, 3, NULL, 0, &err);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
        assert_int_equal(status, -1);
        assert_message(&err, "x.png", "cannot write", "File too large", NULL);
        assert_int_equal(scratch_entries(), 0);
    }
}

static void bad_files(void **state) {
    (void)state;
    err_t err;
    picture_t picture;
    size_t bytes;
    const picture_text_t text = {"parameters", "x"};
    const char *path = scratch_path("x.png");
    assert_int_equal(picture_write(path, grey, 2, 2, 1, &text, 1, &err), 0);
    char *file = scratch_slurp(path, &bytes);
    for (size_t length = 0; length < bytes; length++) {
        assert_int_equal(picture_read(&picture, scratch_write("cut.png", file, length), &err), -1);
        assert_message(&err, "cut.png", NULL);
        assert_null(picture.pixels);
    }
    for (size_t i = 0; i < bytes; i++) {
        file[i] ^= 0x55;
        err.text[0] = '\0';
        if (picture_read(&picture, scratch_write("flip.png", file, bytes), &err) == 0)
            picture_free(&picture);
        else
            assert_message(&err, "flip.png", NULL);
        file[i] ^= 0x55;
    }
    free(file);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trips),
        cmocka_unit_test(in_memory),
        cmocka_unit_test(texts),
        cmocka_unit_test(bad_texts),
        cmocka_unit_test(same_bytes_twice),
        cmocka_unit_test(failures_leave_nothing),
        cmocka_unit_test(bad_files),
    };
    return cmocka_run_group_tests_name("png", tests, scratch_setup, scratch_teardown);
}
