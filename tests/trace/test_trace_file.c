/* test_trace_file.c - one trace in every format: order, numbers, chunks, names. */
#include <math.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../scratch.h"
#include "../unit.h"
#include "io/safetensors.h"
#include "io/trace.h"
#include "trace/trace_file.h"
#include "trace_fixture.h"

static void read_good(trace_file_t *trace, size_t index, size_t first, size_t count, double *out) {
    err_t err;
    if (trace_file_read(trace, index, first, count, out, &err) != 0) fail_msg("%s", err.text);
}

/* ---- every dtype, value by value ------------------------------------------------------------- */

static const uint16_t f16[6] = {0x3c00, 0xc000, 0x0001, 0x7bff, 0x7c00, 0x8000};
static const double f16_values[6] = {1, -2, 0x1p-24, 65504, INFINITY, -0.0};
static const uint16_t bf16[6] = {0x3f80, 0xc000, 0x0001, 0x7f7f, 0xff80, 0x8000};
static const double bf16_values[6] = {1, -2, 0x1p-133, 0x1.fep127, -INFINITY, -0.0};
static const float f32[6] = {0x1p-149f, 3.4028234e38f, -0.1f, 0, -0.0f, 7};
static const double f64[6] = {0x1p-1074, 1.7976931348623157e308, 0.1, -0.0, INFINITY, 7};
static const int64_t i64[6] = {0, -1, 49407, (int64_t)1 << 53, -((int64_t)1 << 53), 5};
static const int32_t i32[6] = {0, -1, INT32_MAX, INT32_MIN, 3, 5};
static const uint8_t u8[6] = {0, 1, 2, 127, 128, 255}, flags[6] = {0, 1, 1, 0, 0, 1};

#define ROW(name, dtype, data)                                                                     \
    { name, dtype, {2, {2, 3}}, data, false }
#define TURNED(name, dtype, data)                                                                  \
    { name, dtype, {2, {2, 3}}, data, true }
static const fixture_tensor_t tensors[] = {
    ROW("step.000/unet.conv_in", DTYPE_F32, f32),
    ROW("step.000/unet.conv_in.in", DTYPE_F64, f64),
    TURNED("unet.time_proj", DTYPE_F16, f16),
    ROW("ids", DTYPE_I64, i64),
    {"empty", DTYPE_F32, {2, {0, 3}}, NULL, true},
    TURNED("a.turned", DTYPE_I32, i32),
    {"scalar", DTYPE_F32, {0, {0}}, &f32[5], false},
    ROW("bytes", DTYPE_U8, u8),
    ROW("flags", DTYPE_BOOL, flags),
    {"x\xc3\xa9", DTYPE_F64, {4, {1, 3, 2, 1}}, f64, true},
};
enum { TENSORS = sizeof tensors / sizeof tensors[0] };

static double value_of(const fixture_tensor_t *tensor, size_t i) {
    switch (tensor->dtype) {
    case DTYPE_F64: return ((const double *)tensor->data)[i];
    case DTYPE_F32: return ((const float *)tensor->data)[i];
    case DTYPE_F16: return f16_values[i];
    case DTYPE_BF16: return bf16_values[i];
    case DTYPE_I64: return (double)((const int64_t *)tensor->data)[i];
    case DTYPE_I32: return ((const int32_t *)tensor->data)[i];
    default: return ((const uint8_t *)tensor->data)[i];
    }
}

static void check_tensor(trace_file_t *trace, size_t index, const fixture_tensor_t *tensor) {
    double out[8];
    const trace_entry_t *entry = trace_file_at(trace, index);
    assert_string_equal(entry->name, tensor->name);
    assert_int_equal(entry->dtype, tensor->dtype);
    assert_true(shape_equal(entry->shape, tensor->shape));
    assert_int_equal(entry->count, shape_count(tensor->shape));
    assert_int_equal(trace_file_find(trace, tensor->name), index);
    read_good(trace, index, 0, entry->count, out);
    for (size_t i = 0; i < entry->count; i++) {
        double wanted = value_of(tensor, i);
        if (out[i] != wanted || signbit(out[i]) != signbit(wanted))
            fail_msg("'%s'[%zu] is %a, not %a", entry->name, i, out[i], wanted);
    }
}

static void every_format(void **state) {
    (void)state;
    for (int f = 0; f < TRACE_FORMATS; f++) {
        print_message("  %s\n", format_names[f]);
        trace_file_t *trace = trace_opened(fixture_trace("every", (format_t)f, tensors, TENSORS));
        assert_int_equal(trace_file_count(trace), TENSORS);
        for (size_t i = 0; i < TENSORS; i++) check_tensor(trace, i, &tensors[i]);
        for (size_t i = TENSORS; i-- > 0;) check_tensor(trace, i, &tensors[i]); /* and back */
        assert_int_equal(trace_file_find(trace, "nothing"), SIZE_MAX);
        assert_int_equal(trace_file_find(trace, ""), SIZE_MAX);
        trace_file_close(trace);
    }
    const fixture_tensor_t brain[] = {ROW("b", DTYPE_BF16, bf16), ROW("h", DTYPE_F16, f16)};
    trace_file_t *trace = trace_opened(fixture_trace("brain", SAFETENSORS, brain, 2));
    check_tensor(trace, 0, &brain[0]);
    check_tensor(trace, 1, &brain[1]);
    trace_file_close(trace);
}

/* The order is that of the data, not of the header's keys. */
static void order_of_data(void **state) {
    (void)state;
    const char header[] = "{\"z\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[2,4]},"
                          "\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[4,5]},"
                          "\"m\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]}}";
    char file[512] = {0};
    size_t length = strlen(header);
    file[0] = (char)length;
    memcpy(file + 8, header, length);
    memcpy(file + 8 + length, "\1\2\3\4\5", 5);
    trace_file_t *trace = trace_opened(scratch_write("order.safetensors", file, 8 + length + 5));
    double out[2];
    const char *names[] = {"m", "z", "a"};
    for (size_t i = 0; i < 3; i++) {
        assert_string_equal(trace_file_at(trace, i)->name, names[i]);
        read_good(trace, i, 0, 1, out);
        assert_true(out[0] == (double)(2 * i + 1));
    }
    trace_file_close(trace);
}

/* ---- chunks ---------------------------------------------------------------------------------- */

enum { ROWS = 700, COLUMNS = 311, MANY = ROWS * COLUMNS };

/* A number that says where it stands. */
static void check_range(trace_file_t *trace, size_t index, size_t first, size_t count,
                        double *out) {
    out[count] = -1;
    read_good(trace, index, first, count, out);
    for (size_t i = 0; i < count; i++)
        if (out[i] != (double)(first + i))
            fail_msg("tensor %zu: number %zu of %zu from %zu is %g", index, i, count, first,
                     out[i]);
    assert_true(out[count] == -1);
}

/* 217,700 numbers: more than one piece of every reader (64 Ki floats), and over 64 KiB in a zip. */
static void chunks(void **state) {
    (void)state;
    float *data = xmalloc(MANY * sizeof *data);
    double *out = xmalloc((MANY + 1) * sizeof *out);
    for (size_t i = 0; i < MANY; i++) data[i] = (float)i;
    const fixture_tensor_t big[] = {{"rows", DTYPE_F32, SHAPE2(ROWS, COLUMNS), data, false},
                                    {"turned", DTYPE_F32, SHAPE2(ROWS, COLUMNS), data, true}};
    const size_t sizes[] = {1, 4093, 65536, 65537, 131072, MANY};
    for (int f = 0; f < TRACE_FORMATS; f++) {
        trace_file_t *trace = trace_opened(fixture_trace("chunks", (format_t)f, big, 2));
        for (size_t t = 0; t < 2; t++) {
            for (size_t s = 1; s < sizeof sizes / sizeof sizes[0]; s++)
                for (size_t at = 0, n; at < MANY; at += n) {
                    n = sizes[s] < MANY - at ? sizes[s] : MANY - at;
                    check_range(trace, t, at, n, out);
                }
            uint64_t random = 88172645463325252u; /* anywhere, also backwards and across tensors */
            for (int round = 0; round < 40; round++) {
                random ^= random << 13, random ^= random >> 7, random ^= random << 17;
                size_t first = random % (MANY + 1), room = MANY - first;
                check_range(trace, round % 3 ? t : 1 - t, first, (random >> 40) % (room + 1), out);
            }
            check_range(trace, t, MANY, 0, out);
            check_range(trace, t, MANY - 1, 1, out);
            check_range(trace, t, 0, 1, out);
        }
        trace_file_close(trace);
    }
    free(data);
    free(out);
}

/* More than what a reader keeps in memory: views are given up and taken again. */
static void beyond_what_is_kept(void **state) {
    (void)state;
    enum { COUNT = 5 << 20, STEP = 300007 };
    float *data = xmalloc(COUNT * sizeof *data);
    double *out = xmalloc((COUNT + 1) * sizeof *out);
    for (size_t i = 0; i < COUNT; i++) data[i] = (float)i;
    const fixture_tensor_t big = {"big", DTYPE_F32, SHAPE1(COUNT), data, false};
    for (int f = SAFETENSORS; f <= NPY_JSON; f++) {
        trace_file_t *trace = trace_opened(fixture_trace("kept", (format_t)f, &big, 1));
        check_range(trace, 0, 0, COUNT, out);
        for (size_t at = 0, n; at < COUNT; at += n) {
            n = STEP < COUNT - at ? STEP : COUNT - at;
            check_range(trace, 0, at, n, out);
        }
        trace_file_close(trace);
    }
    free(data);
    free(out);
}

/* MiB by which the peak memory of a process of its own grows when it reads a file of `mib` whole. */
static double growth(const char *path, size_t mib) {
    enum { PIECE = 1 << 16 };
    int ends[2];
    double grown = 1e9;
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        static double out[PIECE];
        struct rusage before, after;
        trace_file_t *trace = trace_opened(path);
        memset(out, 1, sizeof out);
        getrusage(RUSAGE_SELF, &before);
        for (size_t at = 0; at < mib << 18; at += PIECE) read_good(trace, 0, at, PIECE, out);
        getrusage(RUSAGE_SELF, &after);
        grown = (double)(after.ru_maxrss - before.ru_maxrss) / 1024;
        _exit(write(ends[1], &grown, sizeof grown) != sizeof grown);
    }
    close(ends[1]);
    (void)!read(ends[0], &grown, sizeof grown);
    close(ends[0]);
    waitpid(child, NULL, 0);
    return grown;
}

/* Files of 256 MiB, all holes: no format keeps more than 16 MiB of one. */
static void memory_is_bounded(void **state) {
    (void)state;
    enum { MIB = 256 };
    static const char *const headers[] = {
        "{\"x\":{\"dtype\":\"F32\",\"shape\":[67108864],\"data_offsets\":[0,268435456]}}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (67108864,), }\n"};
    for (int npy = 0; npy < 2; npy++) {
        char file[256] = {0};
        size_t length = strlen(headers[npy]), start = npy ? 10 : 8;
        if (npy) memcpy(file, "\x93NUMPY\x01\x00", 8);
        file[npy ? 8 : 0] = (char)length;
        memcpy(file + start, headers[npy], length);
        if (npy) assert_int_equal(mkdir(scratch_path("big"), 0700), 0);
        const char *path =
            scratch_write(npy ? "big/x.npy" : "big.safetensors", file, start + length);
        assert_int_equal(truncate(path, (off_t)(start + length + ((size_t)MIB << 20))), 0);
        double grown = growth(npy ? scratch_path("big") : path, MIB);
        if (grown > 40) fail_msg("%s: %.0f MiB", path, grown);
    }
}

/* ---- traces that have nothing, or come from elsewhere ---------------------------------------- */

static void empty_traces(void **state) {
    (void)state;
    for (int f = 0; f < NPZ_STORED; f++) {
        trace_file_t *trace = trace_opened(fixture_trace("none", (format_t)f, NULL, 0));
        assert_int_equal(trace_file_count(trace), 0);
        assert_int_equal(trace_file_find(trace, "x"), SIZE_MAX);
        trace_file_close(trace);
    }
    /* what numpy.savez writes without arrays: the end of a central directory */
    trace_file_t *trace =
        trace_opened(scratch_write("none.npz", "PK\5\6\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 22));
    assert_int_equal(trace_file_count(trace), 0);
    trace_file_close(trace);
}

/* What a run of this program writes. */
static void of_a_run(void **state) {
    (void)state;
    err_t err;
    trace_t *writer;
    const char *path = scratch_path("run.safetensors");
    real_t image[12], tokens[6] = {5, 4, 3, 2, 1, 0};
    for (int i = 0; i < 12; i++) image[i] = (real_t)i;
    assert_int_equal(trace_open(&writer, path, false, &err), 0);
    tap(trace_sink(writer), "unet.conv_in", image, VIEW_IMAGE(1, 3, 2, 2));
    tap(trace_sink(writer), "a", tokens, VIEW_TOKENS(1, 2, 3));
    trace_metadata(writer, "model", "sd15-tiny");
    assert_int_equal(trace_close(writer, true, &err), 0);
    trace_file_t *trace = trace_opened(path);
    assert_int_equal(trace_file_find(trace, "unet.conv_in"), 0);
    assert_int_equal(trace_file_find(trace, "a"), 1);
    double out[12];
    read_good(trace, 0, 0, 12, out);
    for (int c = 0; c < 3; c++)
        for (int p = 0; p < 4; p++) assert_true(out[c * 4 + p] == p * 3 + c);
    trace_file_close(trace);
    st_file_t *file;
    must(st_open(&file, path, &err), &err);
    assert_string_equal(st_metadata(file, "model"), "sd15-tiny");
    assert_string_equal(st_metadata(file, "precision"), REAL_NAME);
    st_close(file);
}

/* Names enough for the table to grow several times. */
static void many_names(void **state) {
    (void)state;
    enum { COUNT = 3000 };
    err_t err;
    st_writer_t *writer;
    char name[64];
    const char *path = scratch_path("many.safetensors");
    assert_int_equal(st_writer_open(&writer, path, &err), 0);
    for (size_t i = 0; i < COUNT; i++) {
        double value = (double)i;
        snprintf(name, sizeof name, "step.%03zu/tap.%zu", i / 7, i);
        assert_int_equal(st_writer_add(writer, name, DTYPE_F64, SHAPE0(), &value, &err), 0);
    }
    assert_int_equal(st_writer_finish(writer, &err), 0);
    trace_file_t *trace = trace_opened(path);
    for (size_t i = 0; i < COUNT; i++) {
        double out;
        snprintf(name, sizeof name, "step.%03zu/tap.%zu", i / 7, i);
        assert_int_equal(trace_file_find(trace, name), i);
        read_good(trace, i, 0, 1, &out);
        assert_true(out == (double)i);
    }
    trace_file_close(trace);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_format, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(order_of_data, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(chunks, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(beyond_what_is_kept, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(memory_is_bounded, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(empty_traces, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(of_a_run, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(many_names, scratch_setup, scratch_teardown),
    };
    return cmocka_run_group_tests_name("trace_file", tests, NULL, NULL);
}
