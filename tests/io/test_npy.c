/* test_npy.c - NumPy's files: bytes as NumPy writes them, orders, versions, damage, zip
 * archives. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <zip.h>

#include "../scratch.h"
#include "io/npy.h"

/* A .npy file as bytes: magic, version, length, dictionary, data. Returns its size. */
static size_t build(char *out, int version, const char *dictionary, const void *data,
                    size_t bytes) {
    size_t length = strlen(dictionary), start = version == 1 ? 10 : 12;
    memcpy(out, "\x93NUMPY", 6);
    out[6] = (char)version;
    out[7] = 0;
    for (size_t i = 8; i < start; i++) out[i] = (char)(length >> 8 * (i - 8));
    memcpy(out + start, dictionary, length);
    memcpy(out + start + length, data, bytes);
    return start + length + bytes;
}

#define DICT(descr, order, shape)                                                                  \
    "{'descr': '" descr "', 'fortran_order': " order ", 'shape': " shape ", }\n"

static const float f32[6] = {0, 1, 2, 3, 4, 5};

#define SPACES "                                                                                "

/* What numpy.save writes for numpy.arange(6, dtype='f4').reshape(2, 3). */
static void bytes_of_numpy(void **state) {
    (void)state;
    err_t err;
    size_t bytes;
    const char *path = scratch_path("x.npy");
    const char dictionary[] = DICT("<f4", "False", "(2, 3)");
    char expected[128 + sizeof f32] = "\x93NUMPY\x01";
    memset(expected + 10, ' ', 118);
    expected[8] = 118;
    memcpy(expected + 10, dictionary, sizeof dictionary - 2);
    expected[127] = '\n';
    memcpy(expected + 128, f32, sizeof f32);
    assert_int_equal(npy_write(path, DTYPE_F32, SHAPE2(2, 3), f32, &err), 0);
    char *found = scratch_slurp(path, &bytes);
    assert_int_equal(bytes, sizeof expected);
    assert_memory_equal(found, expected, sizeof expected);
    free(found);
    /* a tuple of one needs its comma */
    assert_int_equal(npy_write(path, DTYPE_F32, SHAPE1(6), f32, &err), 0);
    found = scratch_slurp(path, &bytes);
    assert_non_null(strstr(found + 10, "'shape': (6,), }"));
    free(found);
    unlink(path);
    assert_int_equal(npy_write(path, DTYPE_BF16, SHAPE1(1), f32, &err), -1);
    assert_message(&err, "x.npy", "BF16", NULL);
    assert_int_equal(npy_write(scratch_path("no/x.npy"), DTYPE_F32, SHAPE1(1), f32, &err), -1);
    assert_message(&err, "no/x.npy", "cannot write", NULL);
    assert_int_equal(scratch_entries(), 0);
}

static void round_trips(void **state) {
    (void)state;
    const dtype_t dtypes[] = {DTYPE_F64,  DTYPE_F32, DTYPE_F16, DTYPE_U8,
                              DTYPE_BOOL, DTYPE_I32, DTYPE_I64};
    const shape_t shapes[] = {{0, {0}}, {1, {5}}, {2, {0, 3}}, {8, {1, 2, 1, 2, 1, 3, 1, 1}}};
    unsigned char data[8 * 12];
    for (size_t i = 0; i < sizeof data; i++) data[i] = (unsigned char)(7 * i + 1);
    for (size_t d = 0; d < sizeof dtypes / sizeof dtypes[0]; d++)
        for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++) {
            err_t err;
            npy_t array;
            const char *path = scratch_path("x.npy");
            size_t bytes = shape_count(shapes[s]) * dtype_size(dtypes[d]);
            assert_int_equal(npy_write(path, dtypes[d], shapes[s], data, &err), 0);
            if (npy_read(&array, path, &err) != 0) fail_msg("%s", err.text);
            assert_int_equal(array.dtype, dtypes[d]);
            assert_true(shape_equal(array.shape, shapes[s]));
            if (bytes) assert_memory_equal(array.data, data, bytes);
            npy_free(&array);
        }
}

static void versions_and_spellings(void **state) {
    (void)state;
    const char *spellings[] = {
        DICT("<f4", "False", "(2, 3)"),
        DICT("<f4", "False", "(2,3,)"),
        "{'shape':(2,3),'descr':'<f4','fortran_order':False}",
        /* more than 255 bytes, so that the length takes both of its bytes */
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }" SPACES SPACES SPACES "\n",
        "  { \"descr\" : \"<f4\" , \"fortran_order\" : False , \"shape\" : ( 2 , 3 ) }   \n",
    };
    for (int version = 1; version <= 3; version++)
        for (size_t i = 0; i < sizeof spellings / sizeof spellings[0]; i++) {
            err_t err;
            npy_t array;
            char file[512];
            size_t bytes = build(file, version, spellings[i], f32, sizeof f32);
            if (npy_parse(&array, file, bytes, "x.npy", &err) != 0) fail_msg("%s", err.text);
            assert_true(shape_equal(array.shape, SHAPE2(2, 3)));
            assert_memory_equal(array.data, f32, sizeof f32);
            npy_free(&array);
        }
}

/* In Fortran order the first index runs fastest. */
static void fortran_order(void **state) {
    (void)state;
    enum { A = 2, B = 3, C = 4 };
    err_t err;
    npy_t array;
    int32_t data[A * B * C];
    char file[512];
    for (int a = 0; a < A; a++)
        for (int b = 0; b < B; b++)
            for (int c = 0; c < C; c++) data[a + A * (b + B * c)] = 100 * a + 10 * b + c;
    size_t bytes = build(file, 1, DICT("<i4", "True", "(2, 3, 4)"), data, sizeof data);
    if (npy_parse(&array, file, bytes, "x.npy", &err) != 0) fail_msg("%s", err.text);
    for (int a = 0; a < A; a++)
        for (int b = 0; b < B; b++)
            for (int c = 0; c < C; c++)
                assert_int_equal(((int32_t *)array.data)[(a * B + b) * C + c],
                                 100 * a + 10 * b + c);
    npy_free(&array);
    bytes = build(file, 1, DICT("<i4", "True", "()"), data, 4);
    assert_int_equal(npy_parse(&array, file, bytes, "x.npy", &err), 0);
    npy_free(&array);
    bytes = build(file, 1, DICT("<i4", "True", "(0, 2)"), data, 0);
    assert_int_equal(npy_parse(&array, file, bytes, "x.npy", &err), 0);
    npy_free(&array);
}

static void refused(void **state) {
    (void)state;
    const struct {
        const char *dictionary;
        size_t data;
        const char *defect;
    } bad[] = {
        {DICT(">f4", "False", "(2, 3)"), 24, "dtype '>f4'"},
        {DICT("|O", "False", "(2,)"), 16, "dtype '|O'"},
        {DICT("<c8", "False", "(2,)"), 16, "dtype '<c8'"},
        {"{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2,), }", 8, "structured"},
        {DICT("<f4", "No", "(2, 3)"), 24, "neither True nor False"},
        {DICT("<f4", "False", "(2, -3)"), 24, "shape is not"},
        {DICT("<f4", "False", "(2, 3"), 24, "shape is not"},
        {DICT("<f4", "False", "[2, 3]"), 24, "shape is not"},
        {DICT("<f4", "False", "(1,1,1,1,1,1,1,1,1)"), 4, "at most 8"},
        {DICT("<f4", "False", "(99999999999999999999999,)"), 4, "shape is not"},
        {DICT("<f4", "False", "(4294967296, 4294967296)"), 4, "overflows"},
        {DICT("<f8", "False", "(2305843009213693952,)"), 4, "overflows"},
        {DICT("<f4", "False", "(2, 3)"), 23, "truncated"},
        {DICT("<f4", "False", "(2, 3)"), 25, "trailing"},
        {"{'descr': '<f4', 'shape': (2,), }", 8, "is missing"},
        {"{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (2,)}", 8, "repeated"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (2,), 'x': 1}", 8, "unknown"},
        {"{'descr': '<f4' 'fortran_order': False, 'shape': (2,)}", 8, "',' or '}'"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (2,)} x", 8, "follows"},
        {"[]", 8, "does not start with '{'"},
        {"", 8, "does not start with '{'"},
        {"{'descr", 0, "a key was expected"},
    };
    char zeros[64] = {0}, file[512];
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        err_t err = {""};
        npy_t array;
        size_t bytes = build(file, 1, bad[i].dictionary, zeros, bad[i].data);
        if (npy_read(&array, scratch_write("bad.npy", file, bytes), &err) == 0)
            fail_msg("accepted: %s", bad[i].dictionary);
        assert_null(array.data);
        assert_message(&err, "bad.npy", bad[i].defect, NULL);
    }
    err_t err;
    npy_t array;
    size_t bytes = build(file, 4, DICT("<f4", "False", "(1,)"), zeros, 4);
    assert_int_equal(npy_parse(&array, file, bytes, "bad.npy", &err), -1);
    assert_message(&err, "bad.npy", "version 4", NULL);
}

static void damage(void **state) {
    (void)state;
    err_t err;
    npy_t array;
    char file[512];
    for (int version = 1; version <= 2; version++) {
        size_t bytes = build(file, version, DICT("<f4", "True", "(2, 3)"), f32, sizeof f32);
        for (size_t length = 0; length < bytes; length++) {
            char *cut = xmalloc(length + 1); /* exactly so long: a byte too far is seen */
            memcpy(cut, file, length);
            char *exact = xrealloc(cut, length ? length : 1);
            assert_int_equal(npy_parse(&array, exact, length, "cut.npy", &err), -1);
            bool in_magic = length < 10, in_header = length < bytes - sizeof f32;
            assert_message(&err, "cut.npy",
                           in_magic    ? "no \\x93NUMPY"
                           : in_header ? "truncated in the header"
                                       : "(truncated)",
                           NULL);
            free(exact);
        }
        uint64_t random = 88172645463325252u;
        for (int round = 0; round < 4000; round++) {
            char copy[512];
            memcpy(copy, file, bytes);
            random ^= random << 13, random ^= random >> 7, random ^= random << 17;
            copy[random % (bytes - sizeof f32)] = (char)(random >> 32);
            if (npy_parse(&array, copy, bytes, "flip.npy", &err) == 0) npy_free(&array);
        }
    }
}

/* ---- .npz ------------------------------------------------------------------------------------ */

typedef struct {
    const char *name;
    const void *data;
    size_t bytes;
} entry_t;

static const char *write_zip(const char *name, const entry_t *entries, size_t count) {
    const char *path = scratch_path(name);
    int code;
    unlink(path);
    zip_t *zip = zip_open(path, ZIP_CREATE | ZIP_TRUNCATE, &code);
    assert_non_null(zip);
    for (size_t i = 0; i < count; i++) {
        zip_source_t *source = zip_source_buffer(zip, entries[i].data, entries[i].bytes, 0);
        zip_int64_t index = zip_file_add(zip, entries[i].name, source, 0);
        assert_true(index >= 0);
        if (i % 2) zip_set_file_compression(zip, (zip_uint64_t)index, ZIP_CM_STORE, 0);
    }
    assert_int_equal(zip_close(zip), 0);
    return path;
}

static void archives(void **state) {
    (void)state;
    err_t err;
    npz_t *npz;
    npy_t array;
    char one[512], two[512];
    size_t one_bytes = build(one, 1, DICT("<f4", "False", "(2, 3)"), f32, sizeof f32);
    size_t two_bytes = build(two, 2, DICT("<f4", "False", "(6,)"), f32, sizeof f32);
    const entry_t entries[] = {
        {"latents.npy", one, one_bytes}, {"a.b/c.npy", two, two_bytes}, {"text", "x", 1}};
    const char *path = write_zip("x.npz", entries, 3);
    if (npz_open(&npz, path, &err) != 0) fail_msg("%s", err.text);
    assert_int_equal(npz_count(npz), 3);
    assert_string_equal(npz_name(npz, 0), "latents");
    assert_string_equal(npz_name(npz, 1), "a.b/c");
    assert_string_equal(npz_name(npz, 2), "text");
    for (int i = 0; i < 2; i++) {
        if (npz_read(npz, npz_name(npz, (size_t)i), &array, &err) != 0) fail_msg("%s", err.text);
        assert_true(shape_equal(array.shape, i ? SHAPE1(6) : SHAPE2(2, 3)));
        assert_memory_equal(array.data, f32, sizeof f32);
        npy_free(&array);
    }
    assert_int_equal(npz_read(npz, "nothing", &array, &err), -1);
    assert_message(&err, "x.npz", "has no array 'nothing'", NULL);
    assert_int_equal(npz_read(npz, "text", &array, &err), -1);
    assert_message(&err, "x.npz: text", "not a .npy", NULL);
    npz_close(npz);
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
    const entry_t entries[] = {{"a.npy", npy, size}, {"b.npy", npy, size}};
    if (npz_open(&npz, write_zip("s.npz", entries, 2), &err) != 0) fail_msg("%s", err.text);
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

/* Part of an array, from any place on. */
static void gathers(void **state) {
    (void)state;
    float data[24], out[24];
    npy_header_t header = {DTYPE_F32, SHAPE3(2, 3, 4), 24, true, 0};
    for (int a = 0; a < 2; a++)
        for (int b = 0; b < 3; b++)
            for (int c = 0; c < 4; c++) data[a + 2 * (b + 3 * c)] = (float)((a * 3 + b) * 4 + c);
    for (size_t first = 0; first <= 24; first++)
        for (size_t count = 0; count <= 24 - first; count++) {
            out[count % 24] = -1;
            npy_gather(out, data, &header, first, count);
            for (size_t i = 0; i < count; i++) assert_true(out[i] == (float)(first + i));
            if (count < 24) assert_true(out[count] == -1);
        }
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
        const entry_t entry = {"x.npy", npy, size};
        char *pair = scratch_slurp(write_zip("pair.npz", &entry, 1), &bytes);
        patch(pair, bytes, (uint32_t)size, (uint32_t)((int)size + pairs[i].claim));
        assert_int_equal(read_patched(pair, bytes, &err), pairs[i].defect ? -1 : 0);
        if (pairs[i].defect) assert_message(&err, "lies.npz", pairs[i].defect, NULL);
        free(pair);
    }
}

static void lying_archives(void **state) {
    (void)state;
    enum { NUMBERS = 50000 };
    static float zeros[NUMBERS];
    static char npy[NUMBERS * 4 + 512];
    err_t err;
    size_t bytes, size = build(npy, 1, DICT("<f4", "False", "(50000,)"), zeros, sizeof zeros);
    const entry_t entry = {"x.npy", npy, size};
    char *good = scratch_slurp(write_zip("good.npz", &entry, 1), &bytes), *bad = xmalloc(bytes);
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
        cmocka_unit_test(bytes_of_numpy),
        cmocka_unit_test(round_trips),
        cmocka_unit_test(versions_and_spellings),
        cmocka_unit_test(fortran_order),
        cmocka_unit_test(refused),
        cmocka_unit_test(damage),
        cmocka_unit_test(archives),
        cmocka_unit_test(streams),
        cmocka_unit_test(gathers),
        cmocka_unit_test(lying_together),
        cmocka_unit_test(lying_archives),
    };
    return cmocka_run_group_tests_name("npy", tests, scratch_setup, scratch_teardown);
}
