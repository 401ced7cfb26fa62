/* test_npz.c - zip archives of NumPy's files: as wholes, in pieces, and when their sizes lie. */
#include "../scratch.h"
#include "../trace/trace_fixture.h"
#include "../unit.h"
#include "io/npy.h"
#include "npy_bytes.h"

static const float f32[6] = {0, 1, 2, 3, 4, 5};

static void archives(void **state) {
    (void)state;
    err_t err;
    npz_t *npz;
    npy_t array;
    char one[512], two[512];
    size_t one_bytes = build(one, 1, DICT("<f4", "False", "(2, 3)"), f32, sizeof f32);
    size_t two_bytes = build(two, 2, DICT("<f4", "False", "(6,)"), f32, sizeof f32);
    const fixture_entry_t entries[] = {
        {"latents.npy", one, one_bytes}, {"a.b/c.npy", two, two_bytes}, {"text", "x", 1}};
    const char *path = fixture_zip("x.npz", ZIP_IN_TURN, entries, 3);
    if (npz_open(&npz, path, &err) != 0) fail_msg("%s", err.text);
    assert_int_equal(npz_count(npz), 2);
    assert_string_equal(npz_name(npz, 0), "latents");
    assert_string_equal(npz_name(npz, 1), "a.b/c");
    assert_int_equal(npz_other_count(npz), 1);
    assert_string_equal(npz_other_name(npz, 0), "text");
    for (int i = 0; i < 2; i++) {
        if (npz_read(npz, npz_name(npz, (size_t)i), &array, &err) != 0) fail_msg("%s", err.text);
        assert_true(shape_equal(array.shape, i ? SHAPE1(6) : SHAPE2(2, 3)));
        assert_memory_equal(array.data, f32, sizeof f32);
        npy_free(&array);
    }
    assert_int_equal(npz_read(npz, "nothing", &array, &err), -1);
    assert_message(&err, "x.npz", "has no array 'nothing'", NULL);
    assert_int_equal(npz_read(npz, "text", &array, &err), -1);
    assert_message(&err, "x.npz", "has no array 'text'", NULL);
    npz_close(npz);
}

/* As wholes too: in either order of bytes and axes the same numbers; what holds none is refused. */
static void whole_and_turned(void **state) {
    (void)state;
    static const struct {
        const char *dictionary, *data;
    } forms[] = {
        {DICT("<f4", "False", "(2, 3)"), "\0\0\0\0"
                                         "\0\0\x80?\0\0\0@\0\0@@\0\0\x80@\0\0\xa0@"},
        {DICT(">f4", "False", "(2, 3)"), "\0\0\0\0"
                                         "?\x80\0\0"
                                         "@\0\0\0"
                                         "@@\0\0"
                                         "@\x80\0\0"
                                         "@\xa0\0\0"},
        {DICT(">f4", "True", "(2, 3)"), "\0\0\0\0"
                                        "@@\0\0"
                                        "?\x80\0\0"
                                        "@\x80\0\0"
                                        "@\0\0\0"
                                        "@\xa0\0\0"},
        {DICT("|O", "False", "(2, 3)"), "pickled, and 24 bytes long"},
    };
    for (int f = 0; f < 4; f++) {
        err_t err = {""};
        npz_t *npz;
        npy_t alone, packed;
        char file[512];
        size_t bytes = build(file, 1, forms[f].dictionary, forms[f].data, 24);
        const fixture_entry_t entry = {"x.npy", file, bytes};
        if (npz_open(&npz, fixture_zip("w.npz", ZIP_IN_TURN, &entry, 1), &err) != 0)
            fail_msg("%s", err.text);
        assert_int_equal(npy_parse(&alone, file, bytes, "x.npy", &err), f < 3 ? 0 : -1);
        if (f == 3) assert_message(&err, "x.npy: dtype '|O': Python objects", "f2 f4 f8", NULL);
        assert_int_equal(npz_read(npz, "x", &packed, &err), f < 3 ? 0 : -1);
        if (f == 3) assert_message(&err, "w.npz: x: dtype '|O'", "f2 f4 f8", NULL);
        if (f < 3) {
            assert_memory_equal(alone.data, f32, sizeof f32);
            assert_memory_equal(packed.data, f32, sizeof f32);
        }
        npy_free(&alone);
        npy_free(&packed);
        npz_close(npz);
    }
}

/* In pieces of every size, stored and deflated, both orders: the same bytes as the whole. */
static void streams(void **state) {
    (void)state;
    enum { NUMBERS = 40000 };
    static float numbers[NUMBERS], pieces[NUMBERS];
    static char npy[sizeof numbers + 512];
    err_t err;
    npz_t *npz;
    npy_header_t header;
    npz_stream_t *stream;
    for (int i = 0; i < NUMBERS; i++) numbers[i] = (float)(i * 7 % 1001);
    size_t size = build(npy, 1, DICT("<f4", "True", "(200, 200)"), numbers, sizeof numbers);
    const fixture_entry_t entries[] = {{"a.npy", npy, size}, {"b.npy", npy, size}};
    if (npz_open(&npz, fixture_zip("s.npz", ZIP_IN_TURN, entries, 2), &err) != 0)
        fail_msg("%s", err.text);
    const size_t steps[] = {1, 4, 1000, 65536, 65548, 100000, sizeof numbers};
    for (size_t e = 0; e < 2; e++)
        for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
            if (npz_stream_open(&stream, npz, e, &header, &err) != 0) fail_msg("%s", err.text);
            assert_true(header.fortran && header.dtype == DTYPE_F32 && header.count == NUMBERS);
            assert_true(shape_equal(header.shape, SHAPE2(200, 200)));
            memset(pieces, 0, sizeof pieces);
            for (size_t at = 0, n; at < sizeof pieces; at += n) {
                n = steps[i] < sizeof pieces - at ? steps[i] : sizeof pieces - at;
                if (npz_stream_read(stream, (char *)pieces + at, n, &err) != 0)
                    fail_msg("%s", err.text);
            }
            assert_memory_equal(pieces, numbers, sizeof numbers);
            npz_stream_close(stream);
        }
    npz_close(npz);
}

/* Overwrite the size that an entry states: `field` bytes after each header's signature. */
static void patch(char *file, size_t bytes, uint32_t old, uint32_t new_value) {
    for (size_t i = 0; i + 30 < bytes; i++) {
        size_t at = memcmp(file + i, "PK\3\4", 4) == 0   ? i + 22
                    : memcmp(file + i, "PK\1\2", 4) == 0 ? i + 24
                                                         : 0;
        uint32_t found;
        if (!at) continue;
        memcpy(&found, file + at, 4);
        if (found == old) memcpy(file + at, &new_value, 4);
    }
}

static int read_patched(const char *file, size_t bytes, err_t *err) {
    npz_t *npz;
    npy_t array = {0};
    err->text[0] = '\0';
    if (npz_open(&npz, scratch_write("lies.npz", file, bytes), err) != 0) return -1;
    int status = npz_count(npz) ? npz_read(npz, npz_name(npz, 0), &array, err) : -1;
    npy_free(&array);
    npz_close(npz);
    return status;
}

/* Archive and array tell the same lie about how much there is to unpack. */
static void lying_together(void **state) {
    (void)state;
    enum { NUMBERS = 50000 };
    static float zeros[NUMBERS];
    static char npy[NUMBERS * 4 + 512];
    const struct {
        const char *dictionary;
        int claim;
        const char *defect;
    } pairs[] = {
        {DICT("<f4", "False", "(50000,)"), 0, NULL},
        {DICT("<f4", "False", "(49975,)"), -100, "more bytes than it says"},
        {DICT("<f4", "False", "(50025,)"), 100, "100 bytes are missing"},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        err_t err;
        size_t bytes, size = build(npy, 1, pairs[i].dictionary, zeros, sizeof zeros);
        const fixture_entry_t entry = {"x.npy", npy, size};
        char *pair = scratch_slurp(fixture_zip("pair.npz", ZIP_IN_TURN, &entry, 1), &bytes);
        patch(pair, bytes, (uint32_t)size, (uint32_t)((int)size + pairs[i].claim));
        assert_int_equal(read_patched(pair, bytes, &err), pairs[i].defect ? -1 : 0);
        if (pairs[i].defect) assert_message(&err, "lies.npz", pairs[i].defect, NULL);
        free(pair);
    }
}

/* A small file of one number over and over may not take a gigabyte; stored as it is, or small, it may. */
static void what_shrinks_too_well(void **state) {
    (void)state;
    enum { NUMBERS = (64 << 20) / 4 + 1024 };
    char *npy = xcalloc(NUMBERS + 128, 4);
    float *numbers = xcalloc(NUMBERS, sizeof *numbers);
    const struct {
        size_t numbers;
        const char *dictionary;
        bool refused;
    } cases[] = {{NUMBERS, DICT("<f4", "False", "(16778240,)"), true},
                 {NUMBERS - 1024 - 64, DICT("<f4", "False", "(16777152,)"), false}};
    for (size_t i = 0; i < 2; i++) {
        err_t err;
        npz_t *npz;
        npy_t array = {0};
        size_t size = build(npy, 1, cases[i].dictionary, numbers, cases[i].numbers * 4);
        const fixture_entry_t entry = {"zeros.npy", npy, size};
        if (npz_open(&npz, fixture_zip("zeros.npz", ZIP_IN_TURN, &entry, 1), &err))
            fail_msg("%s", err.text);
        assert_int_equal(npz_read(npz, "zeros", &array, &err), cases[i].refused ? -1 : 0);
        if (cases[i].refused) assert_message(&err, "zeros.npz", "more than 10 times as many", NULL);
        npy_free(&array);
        npz_close(npz);
    }
    free(numbers);
    free(npy);
}

static void lying_archives(void **state) {
    (void)state;
    enum { NUMBERS = 50000 };
    static float zeros[NUMBERS];
    static char npy[NUMBERS * 4 + 512];
    err_t err;
    size_t bytes, size = build(npy, 1, DICT("<f4", "False", "(50000,)"), zeros, sizeof zeros);
    const fixture_entry_t entry = {"x.npy", npy, size};
    char *good = scratch_slurp(fixture_zip("good.npz", ZIP_IN_TURN, &entry, 1), &bytes),
         *bad = xmalloc(bytes);
    assert_true(bytes < size / 10);
    if (read_patched(good, bytes, &err) != 0) fail_msg("%s", err.text);

    const struct {
        uint32_t claim;
        const char *defect;
    } claims[] = {
        {UINT32_MAX - 1, "the size lies"},
        {1u << 30, "the size lies"},
        {(uint32_t)size + 100, "trailing bytes"},
        {(uint32_t)size - 100, "(truncated)"},
        {0, "no \\x93NUMPY"},
    };
    for (size_t i = 0; i < sizeof claims / sizeof claims[0]; i++) {
        memcpy(bad, good, bytes);
        patch(bad, bytes, (uint32_t)size, claims[i].claim);
        assert_int_equal(read_patched(bad, bytes, &err), -1);
        assert_message(&err, "lies.npz", claims[i].defect, NULL);
    }
    for (size_t length = 0; length < bytes; length += 3) {
        assert_int_equal(read_patched(good, length, &err), -1);
        assert_message(&err, "lies.npz", NULL);
    }
    uint64_t random = 88172645463325252u;
    for (int round = 0; round < 3000; round++) {
        memcpy(bad, good, bytes);
        random ^= random << 13, random ^= random >> 7, random ^= random << 17;
        bad[random % bytes] = (char)(random >> 32);
        (void)read_patched(bad, bytes, &err);
    }
    free(good);
    free(bad);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(archives),
        cmocka_unit_test(whole_and_turned),
        cmocka_unit_test(streams),
        cmocka_unit_test(lying_together),
        cmocka_unit_test(what_shrinks_too_well),
        cmocka_unit_test(lying_archives),
    };
    return cmocka_run_group_tests_name("npz", tests, scratch_setup, scratch_teardown);
}
