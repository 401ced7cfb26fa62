/* test_trace_types.c - every type of number in every container, in either order of bytes: the bytes are those
 * that NumPy 2.4 and ml_dtypes write for the values beside them. */
#include <math.h>
#include <sys/stat.h>

#include "../scratch.h"
#include "../unit.h"
#include "trace/ranges.h"
#include "trace/trace_file.h"
#include "trace_fixture.h"

typedef struct {
    dtype_t dtype;
    const char *descr, *little; /* "" and NULL: NumPy has none */
    const char *big_descr, *big;
    double value[6];
} type_t;

static const type_t types[] = {
    {DTYPE_F64,
     "<f8",
     "555555555555d53f00000000000000800100000000000000ffffffffffffef7f000000000000f0ff0000000000001"
     "c40",
     ">f8",
     "3fd5555555555555800000000000000000000000000000017feffffffffffffffff0000000000000401c000000000"
     "000",
     {0x1.5555555555555p-2, -0.0, 0x1p-1074, 0x1.fffffffffffffp+1023, -INFINITY, 7}},
    {DTYPE_F32,
     "<f4",
     "cdcccc3d0000008001000000ffff7f7f0000807f0000e0c0",
     ">f4",
     "3dcccccd80000000000000017f7fffff7f800000c0e00000",
     {0x1.99999ap-4, -0.0, 0x1p-149, 0x1.fffffep+127, INFINITY, -7}},
    {DTYPE_F16,
     "<f2",
     "553500800100ff7b00fc0047",
     ">f2",
     "3555800000017bfffc004700",
     {0x1.554p-2, -0.0, 0x1p-24, 65504, -INFINITY, 7}},
    {DTYPE_BF16,
     "<V2",
     "ab3e0080003bc042e0c04040",
     ">V2",
     "3eab80003b0042c0c0e04040",
     {0x1.56p-2, -0.0, 0x1p-9, 96, -7, 3}},
    {DTYPE_I64,
     "<i8",
     "0000000000000000ffffffffffffffff0000000000002000000000000000e0ffffc00000000000000001000000000"
     "000",
     ">i8",
     "0000000000000000ffffffffffffffff0020000000000000ffe0000000000000000000000000c0ff0000000000000"
     "100",
     {0, -1, 0x1p53, -0x1p53, 49407, 256}},
    {DTYPE_I32,
     "<i4",
     "00000000ffffffffffffff7f000000800300000000010000",
     ">i4",
     "00000000ffffffff7fffffff800000000000000300000100",
     {0, -1, 2147483647, -0x1p31, 3, 256}},
    {DTYPE_I16,
     "<i2",
     "0000ffffff7f008003000001",
     ">i2",
     "0000ffff7fff800000030100",
     {0, -1, 32767, -32768, 3, 256}},
    {DTYPE_I8, "|i1", "00ff7f800364", "<i1", "00ff7f800364", {0, -1, 127, -128, 3, 100}},
    {DTYPE_U64,
     "<u8",
     "0000000000000000010000000000000000000000000020000000000001000000ffc00000000000000001000000000"
     "000",
     ">u8",
     "0000000000000000000000000000000100200000000000000000000100000000000000000000c0ff0000000000000"
     "100",
     {0, 1, 0x1p53, 0x1p32, 49407, 256}},
    {DTYPE_U32,
     "<u4",
     "0000000001000000ffffffff000000800300000000010000",
     ">u4",
     "0000000000000001ffffffff800000000000000300000100",
     {0, 1, 4294967295, 0x1p31, 3, 256}},
    {DTYPE_U16,
     "<u2",
     "00000100ffff008003000001",
     ">u2",
     "00000001ffff800000030100",
     {0, 1, 65535, 32768, 3, 256}},
    {DTYPE_U8, "|u1", "0001ff800364", "<u1", "0001ff800364", {0, 1, 255, 128, 3, 100}},
    {DTYPE_BOOL, "|b1", "000101000001", "<b1", "000101000001", {0, 1, 1, 0, 0, 1}},
    {DTYPE_F8_E5M2,
     "<f1",
     "35801856c742",
     "|f1",
     "35801856c742",
     {0.3125, -0.0, 0x1p-9, 96, -7, 3}},
    {DTYPE_F8_E4M3, "", "2b80016cce44", "", NULL, {0x1.6p-2, -0.0, 0x1p-9, 96, -7, 3}},
    {DTYPE_F8_E4M3FNUZ, "", "33000274d64c", "", NULL, {0x1.6p-2, 0, 0x1p-9, 96, -7, 3}},
    {DTYPE_F8_E5M2FNUZ, "", "39001c5acb46", "", NULL, {0.3125, 0, 0x1p-9, 96, -7, 3}},
    {DTYPE_F8_E8M0, "", "7f807e00fe85", "", NULL, {1, 2, 0.5, 0x1p-127, 0x1p127, 64}},
};
enum { TYPES = sizeof types / sizeof types[0] };
_Static_assert((int)TYPES == (int)DTYPES, "every type");

static size_t unhex(unsigned char *out, const char *hex) {
    size_t n = strlen(hex) / 2;
    for (size_t i = 0; i < n; i++) {
        const char byte[3] = {hex[2 * i], hex[2 * i + 1], '\0'};
        out[i] = (unsigned char)strtoul(byte, NULL, 16);
    }
    return n;
}

static void check(trace_file_t *trace, size_t index, const type_t *type, const double *wanted) {
    err_t err;
    double out[7];
    const trace_entry_t *entry = trace_file_at(trace, index);
    assert_int_equal(entry->dtype, type->dtype);
    assert_true(shape_equal(entry->shape, SHAPE2(2, 3)));
    for (size_t first = 0; first < 6; first++) { /* from any place on */
        size_t n = 6 - first;
        out[n] = -99;
        if (trace_file_read(trace, index, first, n, out, &err) != 0) fail_msg("%s", err.text);
        for (size_t i = 0; i < n; i++)
            if (out[i] != wanted[first + i] || signbit(out[i]) != signbit(wanted[first + i]))
                fail_msg("%s '%s'[%zu] is %a, not %a", dtype_name(type->dtype), entry->name,
                         first + i, out[i], wanted[first + i]);
        assert_true(out[n] == -99);
    }
}

/* ---- safetensors ----------------------------------------------------------------------------- */

static void all_of_safetensors(void **state) {
    (void)state;
    unsigned char data[6 * 8 * TYPES];
    char header[4096] = "{";
    size_t at = 0, used = 1;
    for (size_t i = 0; i < TYPES; i++) {
        size_t n = unhex(data + at, types[i].little);
        used += (size_t)snprintf(
            header + used, sizeof header - used,
            "%s\"%zu\":{\"dtype\":\"%s\",\"shape\":[2,3],\"data_offsets\":[%zu,%zu]}", i ? "," : "",
            i, dtype_name(types[i].dtype), at, at + n);
        at += n;
    }
    strcat(header, "}");
    trace_file_t *trace = trace_opened(fixture_safetensors("all.safetensors", header, data, at));
    assert_int_equal(trace_file_count(trace), TYPES);
    assert_int_equal(trace_file_skips(trace), 0);
    for (size_t i = 0; i < TYPES; i++) check(trace, i, &types[i], types[i].value);
    trace_file_close(trace);
}

/* ---- .npy and .npz --------------------------------------------------------------------------- */

typedef struct {
    const type_t *type;
    const char *descr, *hex;
    bool fortran;
} array_t;

/* All that NumPy can write: types, orders of bytes, orders of axes. */
static size_t list_arrays(array_t arrays[4 * TYPES]) {
    size_t count = 0;
    for (size_t i = 0; i < TYPES; i++)
        for (int k = 0; k < 4 && *types[i].descr; k++)
            arrays[count++] = k < 2 ? (array_t){&types[i], types[i].descr, types[i].little, k % 2}
                                    : (array_t){&types[i], types[i].big_descr, types[i].big, k % 2};
    return count;
}

/* The file of an array, in one of the three versions. In Fortran order the very same bytes are (2,3) again,
 * with other numbers at other places. */
static char *file_of(const array_t *array, size_t index, size_t *bytes) {
    unsigned char data[48];
    char dictionary[128];
    size_t n = unhex(data, array->hex);
    snprintf(dictionary, sizeof dictionary,
             "{'descr': '%s', 'fortran_order': %s, 'shape': (2, 3), }\n", array->descr,
             array->fortran ? "True" : "False");
    return fixture_npy_bytes(1 + (int)(index % 3), dictionary, data, n, bytes);
}

static void check_arrays(trace_file_t *trace, const array_t *arrays, size_t count) {
    assert_int_equal(trace_file_count(trace), count);
    assert_int_equal(trace_file_skips(trace), 0);
    for (size_t i = 0; i < count; i++) {
        const double *v = arrays[i].type->value;
        double turned[6] = {v[0], v[2], v[4], v[1], v[3], v[5]};
        char name[32];
        snprintf(name, sizeof name, "%02zu", i);
        size_t at = trace_file_find(trace, name);
        assert_int_not_equal(at, SIZE_MAX);
        check(trace, at, arrays[i].type, arrays[i].fortran ? turned : v);
    }
}

static void all_of_npy(void **state) {
    (void)state;
    array_t arrays[4 * TYPES];
    size_t count = list_arrays(arrays), bytes;
    assert_int_equal(mkdir(scratch_path("npy"), 0700), 0);
    for (size_t i = 0; i < count; i++) {
        char name[48], *file = file_of(&arrays[i], i, &bytes);
        snprintf(name, sizeof name, "npy/%02zu.npy", i);
        scratch_write(name, file, bytes);
        free(file);
    }
    trace_file_t *trace = trace_opened(scratch_path("npy"));
    check_arrays(trace, arrays, count);
    trace_file_close(trace);
}

static void all_of_npz(void **state) {
    (void)state;
    array_t arrays[4 * TYPES];
    size_t count = list_arrays(arrays);
    char names[4 * TYPES][32], *files[4 * TYPES];
    fixture_entry_t entries[4 * TYPES];
    for (size_t i = 0; i < count; i++) {
        files[i] = file_of(&arrays[i], i, &entries[i].bytes);
        snprintf(names[i], sizeof names[i], "%02zu.npy", i);
        entries[i].name = names[i];
        entries[i].data = files[i];
    }
    for (int deflate = 0; deflate < 2; deflate++) {
        trace_file_t *trace = trace_opened(fixture_zip("all.npz", deflate, entries, count));
        check_arrays(trace, arrays, count);
        trace_file_close(trace);
    }
    for (size_t i = 0; i < count; i++) free(files[i]);
}

/* More than a piece of any reader: the bytes of each piece are turned around once. */
static void big_endian_in_pieces(void **state) {
    (void)state;
    enum { COUNT = 150001 };
    unsigned char *data = xmalloc(4 * COUNT);
    double *out = xmalloc(COUNT * sizeof *out);
    size_t bytes;
    err_t err;
    for (size_t i = 0; i < COUNT; i++) {
        float x = (float)i + 0.25f;
        uint32_t bits;
        memcpy(&bits, &x, 4);
        for (int k = 0; k < 4; k++) data[4 * i + (size_t)k] = (unsigned char)(bits >> (24 - 8 * k));
    }
    char *file =
        fixture_npy_bytes(1, "{'descr': '>f4', 'fortran_order': False, 'shape': (150001,), }\n",
                          data, 4 * COUNT, &bytes);
    mkdir(scratch_path("pieces"), 0700);
    scratch_write("pieces/x.npy", file, bytes);
    const fixture_entry_t entry = {"x.npy", file, bytes};
    const char *paths[] = {scratch_path("pieces"),
                           fixture_zip("pieces.npz", ZIP_DEFLATED, &entry, 1)};
    for (int p = 0; p < 2; p++) {
        trace_file_t *trace = trace_opened(paths[p]);
        for (size_t step = 30011; step < 4 * COUNT; step *= 5)
            for (size_t at = 0, n; at < COUNT; at += n) {
                n = step < COUNT - at ? step : COUNT - at;
                if (trace_file_read(trace, 0, at, n, out, &err)) fail_msg("%s", err.text);
                for (size_t i = 0; i < n; i++)
                    if (out[i] != (double)(at + i) + 0.25)
                        fail_msg("%s: number %zu is %a", paths[p], at + i, out[i]);
            }
        trace_file_close(trace);
    }
    free(file);
    free(data);
    free(out);
}

/* ---- integers where doubles have gaps -------------------------------------------------------- */

/* A seed or a hash of 64 bits is no reason to refuse the trace: only who reads it is told. */
static void beyond_2_to_53(void **state) {
    (void)state;
    const uint64_t most = (uint64_t)1 << 53, huge[3] = {0, most, most + 1}, top[1] = {UINT64_MAX};
    const int64_t down[1] = {-(int64_t)most - 1};
    const float one = 1;
    const fixture_tensor_t tensors[] = {{"huge", DTYPE_U64, SHAPE1(3), huge, false},
                                        {"top", DTYPE_U64, SHAPE1(1), top, false},
                                        {"down", DTYPE_I64, SHAPE1(1), down, false},
                                        {"x", DTYPE_F32, SHAPE0(), &one, false}};
    for (int f = 0; f < TRACE_FORMATS; f++) {
        err_t err = {""};
        double out[3];
        trace_file_t *trace = trace_opened(fixture_trace("huge", (format_t)f, tensors, 4));
        assert_int_equal(trace_file_read(trace, 3, 0, 1, out, &err), 0);
        assert_true(out[0] == 1);
        assert_int_equal(trace_file_read(trace, 0, 0, 2, out, &err), 0);
        assert_true(out[1] == 0x1p53);
        assert_int_equal(trace_file_read(trace, 0, 0, 3, out, &err), -1);
        assert_message(&err, trace_file_path(trace), "'huge'", "U64 9007199254740993", "F64", NULL);
        assert_int_equal(trace_file_read(trace, 1, 0, 1, out, &err), -1);
        assert_message(&err, "'top'", "U64 18446744073709551615", NULL);
        assert_int_equal(trace_file_read(trace, 2, 0, 1, out, &err), -1);
        assert_message(&err, "'down'", "I64 -9007199254740993", NULL);
        ranges_t ranges; /* which asks how large, not which number */
        if (ranges_of_trace(&ranges, trace, &err) != 0) fail_msg("%s", err.text);
        assert_true(ranges.tap[1].max_abs == 0x1p64 && ranges.tap[2].max_abs == 0x1p53);
        ranges_free(&ranges);
        trace_file_close(trace);
    }
}

#define fresh(f) cmocka_unit_test_setup_teardown(f, scratch_setup, scratch_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        fresh(all_of_safetensors),   fresh(all_of_npy),     fresh(all_of_npz),
        fresh(big_endian_in_pieces), fresh(beyond_2_to_53),
    };
    return cmocka_run_group_tests_name("trace_types", tests, NULL, NULL);
}
