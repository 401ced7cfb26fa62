/* sampler_calls.c - see sampler_calls.h. */
#include "sampler_calls.h"

#include "../scratch.h"
#include "../unit.h"
#include "core/dtype.h"
#include "io/file.h"

void sampler_calls(const char *name, size_t least,
                   void (*check)(json_node_t call, const st_file_t *tensors)) {
    json_file_t *file;
    st_file_t *tensors;
    json_node_t call;
    size_t count;
    err_t err;
    char *folder = file_join("golden/sampler", name);
    char *manifest = file_join(folder, "manifest.json");
    char *numbers = file_join(folder, "tensors.safetensors");
    must(json_file_open(&file, manifest, &err), &err);
    must(st_open(&tensors, numbers, &err), &err);
    json_node_t root = json_file_root(file);
    must(json_get_length(root, "calls", &count, &err), &err);
    assert_true(count >= least);
    for (size_t i = 0; i < count; i++) {
        must(json_get_item(root, "calls", i, &call, &err), &err);
        check(call, tensors);
    }
    st_close(tensors);
    json_file_close(file);
    free(numbers);
    free(manifest);
    free(folder);
}

size_t sampler_tensor(const st_file_t *tensors, const char *name, double *out) {
    const st_tensor_t *tensor = st_find(tensors, name);
    assert_non_null(tensor);
    size_t n = shape_count(tensor->shape);
    assert_true(n <= NUMBERS_MAX);
    dtype_to_double(out, tensor->data, tensor->dtype, n);
    return n;
}

size_t sampler_input(json_node_t call, const char *key, const st_file_t *tensors, real_t *out) {
    double numbers[NUMBERS_MAX];
    json_node_t inputs;
    const char *name;
    err_t err;
    must(json_get_object(call, "inputs", &inputs, &err), &err);
    if (!json_node_has(inputs, key)) return 0;
    must(json_get_string(inputs, key, &name, &err), &err);
    size_t n = sampler_tensor(tensors, name, numbers);
    for (size_t i = 0; i < n; i++) out[i] = (real_t)numbers[i];
    return n;
}
