/* golden.c - see golden.h. */
#include "golden.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"

#include "core/dtype.h"
#include "core/err.h"
#include "golden/run_call.h"
#include "golden/sha256.h"
#include "io/safetensors.h"
#include "trace/diff.h"

struct golden {
    char *folder;
    json_t *manifest, *calls;
    st_file_t *tensors;
};

static bool text_is(const json_t *object, const char *key, const char *expected) {
    const char *text = json_string_value(json_object_get(object, key));
    return text && strcmp(text, expected) == 0;
}

static void open_manifest(golden_t *g, const char *path) {
    json_error_t error;
    g->manifest = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
    if (!g->manifest) fail_msg("%s: line %d: %s", path, error.line, error.text);
    if (!text_is(g->manifest, "format", "mole-golden") ||
        json_integer_value(json_object_get(g->manifest, "version")) != 1)
        fail_msg("%s: not a golden case of version 1", path);
    if (!text_is(g->manifest, "kind", "calls")) fail_msg("%s: not of kind \"calls\"", path);
    g->calls = json_object_get(g->manifest, "calls");
    if (json_array_size(g->calls) == 0) fail_msg("%s: no calls in it", path);
}

/* A case whose numbers are not those that were made is no case. */
static void check_sha256(const golden_t *g, const char *path) {
    json_t *entry = json_object_get(json_object_get(g->manifest, "files"), "tensors.safetensors");
    char found[SHA256_TEXT];
    err_t err;
    if (sha256_file(found, path, &err) != 0) fail_msg("%s", err.text);
    if (!text_is(entry, "sha256", found))
        fail_msg("%s: SHA-256 is %s, which is not what the manifest says", path, found);
}

golden_t *golden_open(const char *folder) {
    golden_t *g = xcalloc(1, sizeof *g);
    g->folder = xstrdup(folder);
    char *path = xasprintf("%s/manifest.json", folder);
    open_manifest(g, path);
    free(path);
    path = xasprintf("%s/tensors.safetensors", folder);
    check_sha256(g, path);
    err_t err;
    if (st_open(&g->tensors, path, &err) != 0) fail_msg("%s", err.text);
    free(path);
    return g;
}

void golden_close(golden_t *g) {
    if (!g) return;
    st_close(g->tensors);
    json_decref(g->manifest);
    free(g->folder);
    free(g);
}

size_t golden_call_count(const golden_t *g) {
    return json_array_size(g->calls);
}

golden_call_t golden_call(golden_t *g, size_t index) {
    json_t *entry = json_array_get(g->calls, index);
    golden_call_t call = {.golden = g,
                          .id = json_string_value(json_object_get(entry, "id")),
                          .op = json_string_value(json_object_get(entry, "op")),
                          .entry = entry,
                          .attrs = json_object_get(entry, "attrs"),
                          .inputs = json_object_get(entry, "inputs"),
                          .outputs = json_object_get(entry, "outputs")};
    if (!call.id || !call.op || !call.attrs || !call.inputs || json_array_size(call.outputs) == 0)
        fail_msg("%s: call %zu lacks id, op, attrs, inputs or outputs", g->folder, index);
    return call;
}

/* A member that must be there. */
static json_t *member(const golden_call_t *call, json_t *object, const char *name) {
    json_t *value = json_object_get(object, name);
    if (!value) fail_msg("%s: call %s has no \"%s\"", call->golden->folder, call->id, name);
    return value;
}

_Noreturn static void wrong_type(const golden_call_t *call, const char *name,
                                 const char *expected) {
    fail_msg("%s: call %s: \"%s\" is not %s", call->golden->folder, call->id, name, expected);
    abort(); /* fail_msg does not return, but does not say so */
}

double golden_number(const golden_call_t *call, const char *name) {
    json_t *value = member(call, call->attrs, name);
    if (!json_is_number(value)) wrong_type(call, name, "a number");
    return json_number_value(value);
}

static size_t size_of(const golden_call_t *call, const char *name, const json_t *value) {
    if (!json_is_integer(value) || json_integer_value(value) < 0) wrong_type(call, name, "a size");
    return (size_t)json_integer_value(value);
}

size_t golden_size(const golden_call_t *call, const char *name) {
    return size_of(call, name, member(call, call->attrs, name));
}

bool golden_flag(const golden_call_t *call, const char *name) {
    json_t *value = member(call, call->attrs, name);
    if (!json_is_boolean(value)) wrong_type(call, name, "true or false");
    return json_is_true(value);
}

const char *golden_text(const golden_call_t *call, const char *name) {
    json_t *value = member(call, call->attrs, name);
    if (!json_is_string(value)) wrong_type(call, name, "a text");
    return json_string_value(value);
}

void golden_sizes(const golden_call_t *call, const char *name, size_t *out, size_t count) {
    json_t *value = member(call, call->attrs, name);
    if (json_array_size(value) != count) wrong_type(call, name, "a list of the right length");
    for (size_t i = 0; i < count; i++) out[i] = size_of(call, name, json_array_get(value, i));
}

golden_tensor_t golden_tensor(golden_t *g, const char *key) {
    const st_tensor_t *found = st_find(g->tensors, key);
    if (!found) fail_msg("%s: no tensor \"%s\"", st_path(g->tensors), key);
    golden_tensor_t tensor = {.shape = found->shape, .count = shape_count(found->shape)};
    tensor.x = fixture_bytes(tensor.count * sizeof *tensor.x);
    dtype_to_double(tensor.x, found->data, found->dtype, tensor.count);
    return tensor;
}

golden_tensor_t golden_input(const golden_call_t *call, const char *name) {
    json_t *key = member(call, call->inputs, name);
    if (json_is_null(key)) return (golden_tensor_t){.x = NULL};
    if (!json_is_string(key)) wrong_type(call, name, "the key of a tensor");
    return golden_tensor(call->golden, json_string_value(key));
}

golden_tensor_t golden_input_at(const golden_call_t *call, const char *name, size_t index) {
    json_t *key = json_array_get(member(call, call->inputs, name), index);
    if (!json_is_string(key)) wrong_type(call, name, "a list of keys, or a shorter one");
    return golden_tensor(call->golden, json_string_value(key));
}

size_t golden_input_count(const golden_call_t *call, const char *name) {
    return json_array_size(member(call, call->inputs, name));
}

static int read_tensor(const void *who, const char *name, tensor_file_t *tensor, err_t *err) {
    golden_t *const *g = who;
    golden_tensor_t found = golden_tensor(*g, name);
    (void)err;
    *tensor = (tensor_file_t){found.shape, xmalloc((found.count + 1) * sizeof *found.x)};
    memcpy(tensor->data, found.x, found.count * sizeof *found.x);
    return 0;
}

void golden_run(const golden_call_t *call, matmul_way_t how, tap_sink_t *sink) {
    err_t err;
    run_t run = {.sink = sink, .matmul = how, .conv = CONV_TILES, .form = MOLE_DIRECT};
    call_tensors_t tensors = {read_tensor, &call->golden};
    if (arena_create(&run.arena, 1 << 26, &err)) fail_msg("%s", err.text);
    int status = calls_execute(&run, &tensors, (json_node_t){NULL, call->entry, ""}, &err);
    arena_destroy(run.arena);
    if (status) fail_msg("%s: %s", call->id, err.text);
}

/* The stated shape must be the tensor's own. */
static void check_shape(const golden_call_t *call, const char *name, const json_t *stated,
                        shape_t shape) {
    shape_t expected = {.ndim = (int)json_array_size(stated)};
    for (int d = 0; d < expected.ndim && d < SHAPE_DIMS; d++)
        expected.dim[d] = size_of(call, "shape", json_array_get(stated, (size_t)d));
    char text[SHAPE_TEXT];
    if (!json_is_array(stated) || !shape_equal(expected, shape))
        fail_msg("%s: call %s: output \"%s\" is %s, which is not its stated shape",
                 call->golden->folder, call->id, name, shape_text(text, shape));
}

golden_tensor_t golden_output(const golden_call_t *call, const char *name, double *f32_rms) {
    for (size_t i = 0; i < json_array_size(call->outputs); i++) {
        json_t *entry = json_array_get(call->outputs, i);
        const char *key = json_string_value(json_object_get(entry, "tensor"));
        if (!text_is(entry, "name", name)) continue;
        if (!key || json_object_get(entry, "file"))
            fail_msg("%s: call %s: output \"%s\" is not in tensors.safetensors",
                     call->golden->folder, call->id, name);
        golden_tensor_t truth = golden_tensor(call->golden, key);
        check_shape(call, name, json_object_get(entry, "shape"), truth.shape);
        json_t *rms = json_object_get(json_object_get(entry, "f32_error"), "rms");
        if (!json_is_number(rms)) wrong_type(call, "f32_error", "there");
        if (f32_rms) *f32_rms = json_number_value(rms);
        return truth;
    }
    fail_msg("%s: call %s has no output \"%s\"", call->golden->folder, call->id, name);
    return (golden_tensor_t){.x = NULL};
}

bool golden_check(const golden_call_t *call, const char *output, const double *candidate,
                  size_t count, double ratio, const char *way) {
    double f32_rms = 0;
    golden_tensor_t truth = golden_output(call, output, &f32_rms);
    if (count != truth.count)
        fail_msg("%s: call %s: output \"%s\" has %zu numbers, the candidate %zu",
                 call->golden->folder, call->id, output, truth.count, count);
    diff_t diff = diff_tensors(candidate, truth.x, count);
    char line[768], name[256];
    snprintf(name, sizeof name, "%s/%s%s%s %s", call->op, call->id, *way ? ", " : "", way, output);
    diff_describe(line, sizeof line, name, truth.shape, &diff, GOLDEN_RELATIVE);
    if (sizeof(real_t) == sizeof(double)) {
        bool good = diff_relative(&diff) <= GOLDEN_RELATIVE;
        print_message("%s %s\n", good ? "    " : "BAD ", line);
        return good;
    }
    char *share = strrchr(line, ','); /* diff_describe ends in the float64 tolerance */
    if (share) *share = '\0';
    double used = diff_ratio(&diff, f32_rms);
    print_message("%s %s, %.2g of PyTorch's error, %.0f%% of %g\n", used <= ratio ? "    " : "BAD ",
                  line, used, 100 * used / ratio, ratio);
    return used <= ratio;
}
