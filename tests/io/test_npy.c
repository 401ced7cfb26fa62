/* test_npy.c - NumPy's files: bytes as NumPy writes them, orders, versions, damage. */
#include <unistd.h>

#include "../scratch.h"
#include "../trace/trace_fixture.h"
#include "../unit.h"
#include "io/npy.h"
#include "npy_bytes.h"

static const float f32[6] = {0, 1, 2, 3, 4, 5};

#define SPACES "                                                                                "

static void types_and_shapes(void **state) {
    (void)state;
    const dtype_t dtypes[] = {DTYPE_F64, DTYPE_F32, DTYPE_F16, DTYPE_U8,  DTYPE_BOOL, DTYPE_I32,
                              DTYPE_I64, DTYPE_I16, DTYPE_I8,  DTYPE_U16, DTYPE_U32,  DTYPE_U64};
    const shape_t shapes[] = {{0, {0}}, {1, {5}}, {2, {0, 3}}, {8, {1, 2, 1, 2, 1, 3, 1, 1}}};
    unsigned char data[8 * 12];
    for (size_t i = 0; i < sizeof data; i++) data[i] = (unsigned char)(7 * i + 1);
    for (size_t d = 0; d < sizeof dtypes / sizeof dtypes[0]; d++)
        for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++) {
            err_t err;
            npy_t array;
            const char *path = fixture_npy_file("x.npy", dtypes[d], shapes[s], data);
            size_t bytes = shape_count(shapes[s]) * dtype_size(dtypes[d]);
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
        /* Python 2 */
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2L, 3L), }",
        "{'fortran_order': False, 'shape': (2L, 3L,), 'descr': '<f4'}\t\r\n",
        /* no order of bytes: the machine's, as NumPy takes it */
        DICT("=f4", "False", "(2, 3)"),
        DICT("|f4", "False", "(2, 3)"),
        DICT("f4", "False", "(2, 3)"),
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
        {DICT("|O", "False", "(2,)"), 16, "dtype '|O'"},
        {DICT("<c8", "False", "(2,)"), 16, "dtype '<c8'"},
        {"{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2,), }", 8, "structured"},
        {"{'descr': [('a', '<f4'], 'fortran_order': False, 'shape': (2,), }", 8,
         "descr is no dtype"},
        {"{'descr': [('a', '<f4'), 'fortran_order': False, 'shape': (2,), }", 8,
         "descr is no dtype"},
        {"{'descr': ['a\\'], 'fortran_order': False, 'shape': (2,), }", 8, "descr is no dtype"},
        {"{'descr': [", 0, "descr is no dtype"},
        {"{'descr': ['", 0, "descr is no dtype"},
        {"{'descr': [\"\\", 0, "descr is no dtype"},
        {"{'descr': None, 'fortran_order': False, 'shape': (2,), }", 8, "descr is no dtype"},
        {"{'descr': {'a': '<f4'}, 'fortran_order': False, 'shape': (2,), }", 8,
         "descr is no dtype"},
        {DICT("<f", "False", "(2,)"), 8, "dtype '<f'"},
        {DICT("<f4x", "False", "(2,)"), 8, "dtype '<f4x'"},
        {DICT("<<f4", "False", "(2,)"), 8, "dtype '<<f4'"},
        {DICT("<f3", "False", "(2,)"), 6, "dtype '<f3'"},
        {DICT("<f99999999999999999999999", "False", "(2,)"), 8, "overflows"},
        {DICT("<U9223372036854775807", "False", "(0,)"), 0, "text"},
        {DICT("<V2", "False", "(2,)"), 5, "trailing"},
        {DICT("<f4", "False", "(2LL,)"), 8, "shape is not"},
        {DICT("<f4", "False", "(L,)"), 8, "shape is not"},
        {DICT(">f4", "False", "(2, 3)"), 23, "truncated"},
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

/* Part of an array, from any place on. */
static void gathers(void **state) {
    (void)state;
    float data[24], out[24];
    npy_header_t header = {.shape = SHAPE3(2, 3, 4), .count = 24, .fortran = true};
    header.dtype = DTYPE_F32;
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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(types_and_shapes), cmocka_unit_test(versions_and_spellings),
        cmocka_unit_test(fortran_order),    cmocka_unit_test(refused),
        cmocka_unit_test(damage),           cmocka_unit_test(gathers),
    };
    return cmocka_run_group_tests_name("npy", tests, scratch_setup, scratch_teardown);
}
