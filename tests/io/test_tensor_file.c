/* test_tensor_file.c - one tensor from .npy, .npz and .safetensors, the same way. */
#include <zip.h>

#include "../scratch.h"
#include "../trace/trace_fixture.h"
#include "../unit.h"
#include "io/safetensors.h"
#include "io/tensor_file.h"

static const float numbers[6] = {0.5f, -1, 2, 3, 4, 1e-20f};

static const char *make_safetensors(const char *name, int count) {
    err_t err;
    st_writer_t *writer;
    const char *path = scratch_path(name), *names[] = {"latents", "other"};
    assert_int_equal(st_writer_open(&writer, path, &err), 0);
    for (int i = 0; i < count; i++)
        assert_int_equal(st_writer_add(writer, names[i], DTYPE_F32, SHAPE2(2, 3), numbers, &err),
                         0);
    assert_int_equal(st_writer_finish(writer, &err), 0);
    return path;
}

static const char *make_npy(const char *name) {
    return fixture_npy_file(name, DTYPE_F32, SHAPE2(2, 3), numbers);
}

static const char *make_npz(const char *name, int count) {
    size_t bytes;
    char *npy = scratch_slurp(make_npy("inner.npy"), &bytes);
    const fixture_entry_t entries[] = {{"latents.npy", npy, bytes}, {"other.npy", npy, bytes}};
    const char *path = fixture_zip(name, ZIP_DEFLATED, entries, (size_t)count);
    free(npy);
    return path;
}

static void assert_reads(const char *path, const char *name) {
    err_t err;
    tensor_file_t tensor;
    if (tensor_file_read(&tensor, path, name, &err) != 0) fail_msg("%s", err.text);
    assert_true(shape_equal(tensor.shape, SHAPE2(2, 3)));
    for (int i = 0; i < 6; i++) assert_true(tensor.data[i] == (double)numbers[i]);
    tensor_file_free(&tensor);
}

static void every_kind(void **state) {
    (void)state;
    assert_reads(make_npy("x.npy"), NULL);
    assert_reads(make_npy("named.safetensors"), NULL); /* the content decides */
    assert_reads(make_safetensors("x.safetensors", 1), NULL);
    assert_reads(make_safetensors("x.safetensors", 1), "latents");
    assert_reads(make_safetensors("xy.safetensors", 2), "other");
    assert_reads(make_npz("x.npz", 1), NULL);
    assert_reads(make_npz("xy.npz", 2), "other");
}

/* A README beside the one array is no second tensor; the order of bytes is the writer's affair. */
static void of_others(void **state) {
    (void)state;
    static const char npy[] = "\x93NUMPY\x01\0\x3c\0"
                              "{'descr': '>f2', 'fortran_order': False, 'shape': (2L, 3L)}\n"
                              "\x38\0\xbc\0\x40\0\x42\0\x44\0\0\0";
    const double values[6] = {0.5, -1, 2, 3, 4, 0};
    int code;
    err_t err;
    tensor_file_t tensor;
    const char *path = scratch_path("others.npz");
    zip_t *zip = zip_open(path, ZIP_CREATE | ZIP_TRUNCATE, &code);
    assert_non_null(zip);
    assert_true(zip_file_add(zip, "README", zip_source_buffer(zip, "hi", 2, 0), 0) >= 0);
    assert_true(zip_dir_add(zip, "sub", 0) >= 0);
    assert_true(zip_file_add(zip, "sub/x.npy", zip_source_buffer(zip, npy, sizeof npy - 1, 0), 0) >=
                0);
    assert_int_equal(zip_close(zip), 0);
    if (tensor_file_read(&tensor, path, NULL, &err) != 0) fail_msg("%s", err.text);
    assert_true(shape_equal(tensor.shape, SHAPE2(2, 3)));
    for (int i = 0; i < 6; i++) assert_true(tensor.data[i] == values[i]);
    tensor_file_free(&tensor);
}

static void refused(void **state) {
    (void)state;
    err_t err;
    tensor_file_t tensor;
    assert_int_equal(tensor_file_read(&tensor, make_safetensors("xy.safetensors", 2), NULL, &err),
                     -1);
    assert_message(&err, "xy.safetensors", "holds 2 tensors", "'latents', 'other'", NULL);
    assert_int_equal(tensor_file_read(&tensor, make_npz("xy.npz", 2), NULL, &err), -1);
    assert_message(&err, "xy.npz", "holds 2 tensors", "'latents', 'other'", NULL);
    assert_int_equal(tensor_file_read(&tensor, make_npz("xy.npz", 2), "third", &err), -1);
    assert_message(&err, "xy.npz", "no tensor 'third'", "'latents', 'other'", NULL);
    assert_int_equal(tensor_file_read(&tensor, make_safetensors("none.safetensors", 0), NULL, &err),
                     -1);
    assert_message(&err, "none.safetensors", "holds 0 tensors", NULL);
    assert_int_equal(tensor_file_read(&tensor, make_npy("x.npy"), "latents", &err), -1);
    assert_message(&err, "x.npy", "no tensor names", NULL);
    assert_int_equal(tensor_file_read(&tensor, scratch_path("missing.npy"), NULL, &err), -1);
    assert_message(&err, "missing.npy", "No such file", NULL);
    assert_int_equal(tensor_file_read(&tensor, scratch_text("x.pt", "PK\3\4...."), NULL, &err), -1);
    assert_message(&err, "x.pt", "pickled", NULL);
    assert_int_equal(tensor_file_read(&tensor, scratch_text("x.csv", "1,2,3"), NULL, &err), -1);
    assert_message(&err, "x.csv", "is not a safetensors file", NULL);
    assert_int_equal(tensor_file_read(&tensor, scratch_text("empty", ""), NULL, &err), -1);
    assert_message(&err, "empty", "0 bytes", NULL);
    assert_null(tensor.data);
}

/* A shape that is known is asked for before any number is unpacked: of an archive whose array claims to be
 * huge, the shape is what is wrong with it. */
static void of_a_known_shape(void **state) {
    (void)state;
    err_t err;
    tensor_file_t tensor;
    shape_t right = SHAPE2(2, 3), wrong = SHAPE2(3, 2);
    const char *const paths[] = {make_npy("x.npy"), make_npz("x.npz", 1),
                                 make_safetensors("x.safetensors", 1)};
    for (int i = 0; i < 3; i++) {
        if (tensor_file_read_shape(&tensor, paths[i], NULL, &right, &err)) fail_msg("%s", err.text);
        assert_true(tensor.data[5] == (double)numbers[5]);
        tensor_file_free(&tensor);
        assert_int_equal(tensor_file_read_shape(&tensor, paths[i], NULL, &wrong, &err), -1);
        assert_message(&err, paths[i], "shape (3, 2), found (2, 3)", NULL);
    }
    size_t bytes = 80 << 20;
    char *zeros = calloc(1, bytes + 128);
    memcpy(zeros, "\x93NUMPY\x01\0\x76\0", 10);
    memset(zeros + 10, ' ', 117);
    memcpy(zeros + 10, "{'descr': '|u1', 'fortran_order': False, 'shape': (83886080,), }", 64);
    zeros[127] = '\n';
    const fixture_entry_t entry = {"latents.npy", zeros, bytes + 128};
    const char *bomb = fixture_zip("bomb.npz", ZIP_DEFLATED, &entry, 1);
    free(zeros);
    assert_int_equal(tensor_file_read_shape(&tensor, bomb, NULL, &right, &err), -1);
    assert_message(&err, "bomb.npz", "found (83886080)", NULL);
    assert_int_equal(tensor_file_read(&tensor, bomb, NULL, &err), -1);
    assert_message(&err, "bomb.npz", "more than 10 times as many", NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind),
        cmocka_unit_test(of_others),
        cmocka_unit_test(refused),
        cmocka_unit_test(of_a_known_shape),
    };
    return cmocka_run_group_tests_name("tensor_file", tests, scratch_setup, scratch_teardown);
}
