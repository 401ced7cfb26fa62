/* test_safetensors.c - good files: what is written is read back, in order; outputs appear whole or
 * not at all. (Bad files: test_safetensors_hostile.c.) */
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../scratch.h"
#include "../unit.h"
#include "io/safetensors.h"

static const float numbers[6] = {1, -2, 3.5f, 0, 1e-30f, 6};

static void write_three(const char *path) {
    err_t err;
    st_writer_t *writer;
    const double one_third = 1.0 / 3.0;
    assert_int_equal(st_writer_open(&writer, path, &err), 0);
    st_writer_metadata(writer, "key", "quote \" back \\ line\n tab\t \xc3\xa9");
    assert_int_equal(st_writer_add(writer, "z/first", DTYPE_F32, SHAPE2(2, 3), numbers, &err), 0);
    assert_int_equal(st_writer_add(writer, "empty", DTYPE_F16, SHAPE2(0, 4), NULL, &err), 0);
    assert_int_equal(
        st_writer_add(writer, "a \"scalar\"\x01", DTYPE_F64, SHAPE0(), &one_third, &err), 0);
    assert_int_equal(st_writer_finish(writer, &err), 0);
}

static void round_trip(void **state) {
    (void)state;
    err_t err;
    st_file_t *file;
    const char *path = scratch_path("three.safetensors");
    write_three(path);
    if (st_open(&file, path, &err) != 0) fail_msg("%s", err.text);
    assert_string_equal(st_path(file), path);
    assert_int_equal(st_count(file), 3);
    assert_string_equal(st_at(file, 0)->name, "z/first");
    assert_string_equal(st_at(file, 1)->name, "empty");
    assert_string_equal(st_at(file, 2)->name, "a \"scalar\"\x01");
    for (size_t i = 0; i < 3; i++)
        assert_ptr_equal(st_find(file, st_at(file, i)->name), st_at(file, i));
    assert_null(st_find(file, "z/firs"));
    assert_null(st_find(file, "__metadata__"));
    assert_string_equal(st_metadata(file, "key"), "quote \" back \\ line\n tab\t \xc3\xa9");
    assert_null(st_metadata(file, "nokey"));

    const st_tensor_t *first = st_at(file, 0), *scalar = st_at(file, 2);
    assert_int_equal(first->dtype, DTYPE_F32);
    assert_true(shape_equal(first->shape, SHAPE2(2, 3)));
    assert_int_equal(first->bytes, sizeof numbers);
    assert_memory_equal(first->data, numbers, sizeof numbers);
    assert_int_equal((uintptr_t)first->data % 8, 0);
    assert_int_equal(st_at(file, 1)->bytes, 0);
    assert_int_equal(scalar->shape.ndim, 0);
    double third;
    memcpy(&third, scalar->data, sizeof third);
    assert_true(third == 1.0 / 3.0);
    st_close(file);
    unlink(path);
    assert_int_equal(scratch_entries(), 0);
}

/* The exact bytes: 8-byte length, metadata first, tensors in the order of their data, padding. */
static void bytes_are_as_documented(void **state) {
    (void)state;
    err_t err;
    st_writer_t *writer;
    const char *path = scratch_path("bytes.safetensors");
    const uint8_t data[3] = {7, 8, 9};
    assert_int_equal(st_writer_open(&writer, path, &err), 0);
    assert_int_equal(st_writer_add(writer, "b", DTYPE_U8, SHAPE1(2), data, &err), 0);
    assert_int_equal(st_writer_add(writer, "a", DTYPE_U8, SHAPE0(), data + 2, &err), 0);
    st_writer_metadata(writer, "format", "pt");
    assert_int_equal(st_writer_finish(writer, &err), 0);
    const char header[] = "{\"__metadata__\":{\"format\":\"pt\"},\"b\":{\"dtype\":\"U8\",\"shape\":"
                          "[2],\"data_offsets\":[0,2]},"
                          "\"a\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[2,3]}}";
    size_t padded = (sizeof header - 1 + 7) / 8 * 8, bytes;
    char *file = scratch_slurp(path, &bytes);
    uint64_t length;
    memcpy(&length, file, 8);
    assert_int_equal(length, padded);
    assert_int_equal(bytes, 8 + padded + 3);
    assert_memory_equal(file + 8, header, sizeof header - 1);
    for (size_t i = sizeof header - 1; i < padded; i++) assert_int_equal(file[8 + i], ' ');
    assert_memory_equal(file + 8 + padded, data, 3);
    free(file);
    unlink(path);
}

static void many_tensors_are_found(void **state) {
    (void)state;
    enum { MANY = 5000 };
    err_t err;
    st_writer_t *writer;
    st_file_t *file;
    const char *path = scratch_path("many.safetensors");
    char name[32];
    assert_int_equal(st_writer_open(&writer, path, &err), 0);
    for (int32_t i = 0; i < MANY; i++) {
        snprintf(name, sizeof name, "layer.%d.weight", i);
        assert_int_equal(st_writer_add(writer, name, DTYPE_I32, SHAPE1(1), &i, &err), 0);
    }
    assert_int_equal(st_writer_finish(writer, &err), 0);
    assert_int_equal(st_open(&file, path, &err), 0);
    assert_int_equal(st_count(file), MANY);
    for (int32_t i = 0; i < MANY; i++) {
        snprintf(name, sizeof name, "layer.%d.weight", i);
        const st_tensor_t *tensor = st_find(file, name);
        assert_non_null(tensor);
        assert_ptr_equal(tensor, st_at(file, (size_t)i));
        assert_memory_equal(tensor->data, &i, sizeof i);
    }
    st_close(file);
    unlink(path);
}

/* Data larger than the copy's buffer, in an order that is not the alphabet's. */
static void large_data_survives_the_spool(void **state) {
    (void)state;
    enum { NUMBERS = 3 << 20 };
    err_t err;
    st_writer_t *writer;
    st_file_t *file;
    const char *path = scratch_path("large.safetensors");
    uint32_t *data = xmalloc(NUMBERS * sizeof *data);
    for (uint32_t i = 0; i < NUMBERS; i++) data[i] = i * 2654435761u;
    assert_int_equal(st_writer_open(&writer, path, &err), 0);
    assert_int_equal(st_writer_add(writer, "b", DTYPE_I32, SHAPE1(NUMBERS), data, &err), 0);
    assert_int_equal(st_writer_add(writer, "a", DTYPE_I32, SHAPE1(5), data, &err), 0);
    assert_int_equal(st_writer_finish(writer, &err), 0);
    assert_int_equal(st_open(&file, path, &err), 0);
    assert_memory_equal(st_find(file, "b")->data, data, NUMBERS * sizeof *data);
    assert_memory_equal(st_find(file, "a")->data, data, 5 * sizeof *data);
    st_close(file);
    free(data);
    unlink(path);
}

static void writer_refuses_bad_names(void **state) {
    (void)state;
    err_t err;
    st_writer_t *writer;
    const char *path = scratch_path("names.safetensors");
    assert_int_equal(st_writer_open(&writer, path, &err), 0);
    assert_int_equal(st_writer_add(writer, "x", DTYPE_F32, SHAPE1(6), numbers, &err), 0);
    assert_int_equal(st_writer_add(writer, "x", DTYPE_F32, SHAPE1(6), numbers, &err), -1);
    assert_message(&err, "names.safetensors", "duplicate", "'x'", NULL);
    assert_int_equal(st_writer_add(writer, "__metadata__", DTYPE_F32, SHAPE1(6), numbers, &err),
                     -1);
    assert_message(&err, "names.safetensors", "__metadata__", NULL);
    assert_int_equal(st_writer_add(writer, "\xff", DTYPE_F32, SHAPE1(6), numbers, &err), -1);
    assert_message(&err, "names.safetensors", "UTF-8", NULL);
    assert_int_equal(st_writer_add(writer, "big", DTYPE_F32, SHAPE2(SIZE_MAX, 2), numbers, &err),
                     -1);
    assert_message(&err, "names.safetensors", "overflow", NULL);
    st_writer_metadata(writer, "key", "\xc0");
    assert_int_equal(st_writer_finish(writer, &err), -1);
    assert_message(&err, "names.safetensors", "'key'", "UTF-8", NULL);
    assert_int_equal(scratch_entries(), 0);
}

/* Until finish, and after abort, the old file is there, untouched. */
static void the_old_file_stays(void **state) {
    (void)state;
    err_t err;
    st_writer_t *writer;
    const char *path = scratch_text("old.safetensors", "old content");
    size_t bytes;
    assert_int_equal(st_writer_open(&writer, path, &err), 0);
    assert_int_equal(st_writer_add(writer, "x", DTYPE_F32, SHAPE1(6), numbers, &err), 0);
    char *content = scratch_slurp(path, &bytes);
    assert_string_equal(content, "old content");
    free(content);
    assert_true(scratch_entries() > 1);
    st_writer_abort(writer);
    assert_int_equal(scratch_entries(), 1);
    content = scratch_slurp(path, &bytes);
    assert_string_equal(content, "old content");
    free(content);
    unlink(path);
}

static void writer_needs_a_place(void **state) {
    (void)state;
    err_t err;
    st_writer_t *writer;
    assert_int_equal(st_writer_open(&writer, scratch_path("no/such/file"), &err), -1);
    assert_message(&err, "no/such/file", "cannot write", "No such file", NULL);
    assert_int_equal(st_writer_open(&writer, scratch_folder(), &err), -1);
    assert_message(&err, scratch_folder(), "directory", NULL);
    assert_int_equal(st_writer_open(&writer, "/dev/null", &err), -1);
    assert_message(&err, "/dev/null", "not a regular file", NULL);
    assert_int_equal(st_writer_open(&writer, "", &err), -1);
    assert_message(&err, "empty", NULL);
    struct stat status;
    assert_int_equal(stat("/dev/null", &status), 0);
    assert_true(S_ISCHR(status.st_mode));
    assert_int_equal(scratch_entries(), 0);
}

/* A disk that fills up, as a limit on the size of files: in the spool, then in the final copy. */
static void full_disk(void **state) {
    (void)state;
    enum { NUMBERS = 1 << 16 };
    static float data[NUMBERS];
    err_t err;
    st_writer_t *writer;
    const char *path = scratch_path("full.safetensors");
    struct rlimit old, limit;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    for (int round = 0; round < 2; round++) {
        limit = old;
        limit.rlim_cur = round ? sizeof data : sizeof data / 2;
        assert_int_equal(st_writer_open(&writer, path, &err), 0);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
        int added = st_writer_add(writer, "x", DTYPE_F32, SHAPE1(NUMBERS), data, &err);
        int again = round ? 0 : st_writer_add(writer, "y", DTYPE_F32, SHAPE1(1), data, &err);
        int finished = st_writer_finish(writer, &err);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
        assert_int_equal(added, round ? 0 : -1);
        assert_int_equal(again, round ? 0 : -1);
        assert_int_equal(finished, -1);
        assert_message(&err, "full.safetensors", "cannot write", "File too large", NULL);
        assert_int_equal(scratch_entries(), 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),
        cmocka_unit_test(bytes_are_as_documented),
        cmocka_unit_test(many_tensors_are_found),
        cmocka_unit_test(large_data_survives_the_spool),
        cmocka_unit_test(writer_refuses_bad_names),
        cmocka_unit_test(the_old_file_stays),
        cmocka_unit_test(writer_needs_a_place),
        cmocka_unit_test(full_disk),
    };
    return cmocka_run_group_tests_name("safetensors", tests, scratch_setup, scratch_teardown);
}
