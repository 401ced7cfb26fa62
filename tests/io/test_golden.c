/* test_golden.c - files that Python's safetensors wrote: every number as torch widens it, shards,
 * and names without their prefix. */
#include <math.h>

#include "../unit.h"
#include "core/dtype.h"
#include "io/file.h"
#include "io/json.h"
#include "io/safetensors.h"
#include "io/weights.h"

enum { MOST = 64 };

static bool same(double a, double b) {
    return a == b && !signbit(a) == !signbit(b);
}

#define OK(call)                                                                                   \
    do {                                                                                           \
        if ((call) != 0) fail_msg("%s", err.text);                                                 \
    } while (0)

typedef struct {
    const char *file, *tensor, *dtype;
    shape_t shape;
    double values[MOST];
    size_t count;
} row_t;

static row_t read_row(json_node_t list, size_t index) {
    err_t err;
    json_node_t node;
    row_t row = {0};
    int64_t dims[SHAPE_DIMS];
    const char *texts[MOST];
    size_t ndim;
    OK(json_get_item(list, "tensors", index, &node, &err));
    OK(json_get_string(node, "file", &row.file, &err));
    OK(json_get_string(node, "tensor", &row.tensor, &err));
    OK(json_get_string(node, "dtype", &row.dtype, &err));
    OK(json_get_ints(node, "shape", 0, MOST, 0, SHAPE_DIMS, dims, &ndim, &err));
    OK(json_get_strings(node, "values", 0, MOST, texts, &row.count, &err));
    row.shape.ndim = (int)ndim;
    for (size_t i = 0; i < ndim; i++) row.shape.dim[i] = (size_t)dims[i];
    for (size_t i = 0; i < row.count; i++) {
        char *end;
        row.values[i] = strtod(texts[i], &end);
        assert_true(end != texts[i] && *end == '\0');
    }
    return row;
}

static void check_row(const row_t *row) {
    err_t err;
    st_file_t *file;
    char *path = file_join("golden/io", row->file);
    double wide[MOST];
    real_t real[MOST];
    OK(st_open(&file, path, &err));
    const st_tensor_t *tensor = st_find(file, row->tensor);
    assert_non_null(tensor);
    assert_string_equal(dtype_name(tensor->dtype), row->dtype);
    assert_true(shape_equal(tensor->shape, row->shape));
    assert_int_equal(shape_count(tensor->shape), row->count);
    dtype_to_double(wide, tensor->data, tensor->dtype, row->count);
    dtype_to_real(real, tensor->data, tensor->dtype, row->count);
    for (size_t i = 0; i < row->count; i++)
        if (!same(wide[i], row->values[i]) ||
            !same((double)real[i], (double)(real_t)row->values[i]))
            fail_msg("%s %s[%zu]: %a and %a, expected %a", row->file, row->tensor, i, wide[i],
                     (double)real[i], row->values[i]);
    assert_string_equal(st_metadata(file, "format"), "pt");
    st_close(file);
    free(path);
}

static void every_number(void **state) {
    (void)state;
    err_t err;
    json_file_t *json;
    size_t rows, numbers = 0;
    OK(json_file_open(&json, "golden/io/values.json", &err));
    json_node_t root = json_file_root(json);
    OK(json_get_length(root, "tensors", &rows, &err));
    for (size_t i = 0; i < rows; i++) {
        row_t row = read_row(root, i);
        check_row(&row);
        numbers += row.count;
    }
    json_file_close(json);
    print_message("%zu tensors, %zu numbers\n", rows, numbers);
    assert_true(rows >= 24 && numbers >= 4 * 38);
}

/* The four tensors of the shards are one matrix in four dtypes. */
static void shards(void **state) {
    (void)state;
    err_t err;
    weights_t *weights;
    const char *names[] = {"f64", "f32", "f16", "bf16"};
    const double rounding[] = {0, 0x1p-24, 0x1p-11, 0x1p-8};
    const real_t *x[4];
    OK(weights_open(&weights, "golden/io/sharded", "model", &err));
    for (int t = 0; t < 4; t++) OK(weights_take(weights, names[t], SHAPE2(3, 5), &x[t], &err));
    for (int i = 0; i < 15; i++)
        for (int t = 1; t < 4; t++)
            if (fabs((double)x[t][i] - (double)x[0][i]) > rounding[t] * fabs((double)x[0][i]))
                fail_msg("%s[%d]: %a for %a", names[t], i, (double)x[t][i], (double)x[0][i]);
    OK(weights_finish(weights, false, &err));
    weights_close(weights);
}

static void infinities_are_refused(void **state) {
    (void)state;
    const char *files[] = {"f64", "f32", "f16", "bf16"};
    for (int f = 0; f < 4; f++) {
        err_t err;
        weights_t *weights;
        const real_t *x;
        char path[64];
        snprintf(path, sizeof path, "golden/io/%s.safetensors", files[f]);
        OK(weights_open_part(&weights, path, SOURCE_EXPERT, "", &err));
        OK(weights_take(weights, "matrix", SHAPE2(3, 5), &x, &err));
        OK(weights_take_conv(weights, "kernel", SHAPE4(2, 3, 1, 1), &x, &err));
        assert_int_equal(weights_take(weights, "odd", SHAPE1(15), &x, &err), -1);
        assert_non_null(strstr(err.text, path));
        assert_non_null(strstr(err.text, "'odd' holds Inf at index ("));
        weights_close(weights);
    }
}

/* As transformers 5 saves a text encoder: without "text_model." in front. */
static void names_without_prefix(void **state) {
    (void)state;
    err_t err;
    weights_t *weights;
    OK(weights_open(&weights, "golden/io/text-encoder-names/model/text_encoder", "model", &err));
    assert_false(weights_has(weights, "text_model.encoder.layers.1.mlp.fc1.weight"));
    weights_alias_prefix(weights, "text_model.", "");
    for (size_t i = 0; i < weights_count(weights); i++) {
        weight_entry_t entry = weights_entry(weights, i);
        char name[256];
        const real_t *x;
        snprintf(name, sizeof name, "text_model.%s", entry.name);
        OK(weights_take(weights, name, entry.shape, &x, &err));
    }
    OK(weights_finish(weights, false, &err));
    weights_close(weights);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_number),
        cmocka_unit_test(shards),
        cmocka_unit_test(infinities_are_refused),
        cmocka_unit_test(names_without_prefix),
    };
    return cmocka_run_group_tests_name("io-golden", tests, NULL, NULL);
}
