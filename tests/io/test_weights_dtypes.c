/* test_weights_dtypes.c - every number format that a file can hold, as a weight: taken, or refused by
 * name. */
#include "../scratch.h"
#include "../unit.h"
#include "io/safetensors.h"
#include "io/weights.h"

static const struct {
    dtype_t dtype;
    const char *name;
    bool floating;
    uint64_t one; /* the bits of 1, little endian */
} formats[] = {
    {DTYPE_F64, "F64", true, 0x3ff0000000000000u},
    {DTYPE_F32, "F32", true, 0x3f800000u},
    {DTYPE_F16, "F16", true, 0x3c00u},
    {DTYPE_BF16, "BF16", true, 0x3f80u},
    {DTYPE_I64, "I64", false, 1},
    {DTYPE_I32, "I32", false, 1},
    {DTYPE_U8, "U8", false, 1},
    {DTYPE_BOOL, "BOOL", false, 1},
};
enum { FORMATS = sizeof formats / sizeof formats[0], ONES = 8 };

/* A file of one tensor of ones. */
static weights_t *open_one(size_t format, shape_t shape) {
    unsigned char ones[8 * ONES];
    size_t size = dtype_size(formats[format].dtype);
    assert_in_range(shape_count(shape), 1, ONES);
    for (size_t i = 0; i < ONES; i++) memcpy(ones + i * size, &formats[format].one, size);
    err_t err;
    st_writer_t *writer;
    weights_t *weights = NULL;
    const char *path = scratch_path("one.safetensors");
    if (st_writer_open(&writer, path, &err) ||
        st_writer_add(writer, "w", formats[format].dtype, shape, ones, &err) ||
        st_writer_finish(writer, &err) ||
        weights_open_part(&weights, path, SOURCE_EXPERT, "", &err))
        fail_msg("%s", err.text);
    return weights;
}

typedef int take_t(weights_t *, const char *, shape_t, const real_t **, err_t *);

static void check_take(take_t *take, shape_t shape) {
    for (size_t i = 0; i < FORMATS; i++) {
        err_t err = {""};
        const real_t *x = NULL;
        weights_t *weights = open_one(i, shape);
        int status = take(weights, "w", shape, &x, &err);
        if (formats[i].floating) {
            if (status) fail_msg("%s: %s", formats[i].name, err.text);
            for (size_t k = 0; k < shape_count(shape); k++) assert_true(x[k] == 1);
        } else {
            if (!status) fail_msg("%s was taken", formats[i].name);
            assert_message(&err, "one.safetensors", "'w'", "dtype", formats[i].name, NULL);
        }
        weights_close(weights);
    }
}

static void as_a_matrix(void **state) {
    (void)state;
    check_take(weights_take, SHAPE2(2, 3));
}

static void as_a_convolution(void **state) {
    (void)state;
    check_take(weights_take_conv, SHAPE4(3, 2, 1, 1)); /* as it lies in the file */
    check_take(weights_take_conv, SHAPE4(1, 2, 2, 2)); /* packed */
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(as_a_matrix),
                                       cmocka_unit_test(as_a_convolution)};
    return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
