/* replay_call.c - mole replay op.NAME: one operation, described as a golden case of kind "calls" does. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/op_table.h"
#include "cli/replay.h"
#include "golden/run_call.h"
#include "io/file.h"

/* The name "" stands for the only tensor of the file. */
static int read_tensor(const void *who, const char *name, tensor_file_t *tensor, err_t *err) {
    const replay_options_t *o = who;
    return tensor_file_read(tensor, o->inputs, *name ? name : NULL, err);
}

static bool has_tensor(const replay_options_t *o, const char *name) {
    tensor_file_t tensor;
    err_t ignored;
    if (tensor_file_read(&tensor, o->inputs, *name ? name : NULL, &ignored)) return false;
    tensor_file_free(&tensor);
    return true;
}

/* Of an input given once the name, of one given several times the list of names; NULL: not given. */
static json_t *names_of(const replay_options_t *o, const char *key) {
    json_t *names = json_array();
    for (size_t i = 0; i < o->given; i++)
        if (strcmp(o->input[i].key, key) == 0)
            json_array_append_new(names, json_string_nocheck(o->input[i].name));
    json_t *value =
        json_array_size(names) > 1 ? json_incref(names) : json_incref(json_array_get(names, 0));
    json_decref(names);
    return value;
}

/* Each input that was given, and of the others those whose key is a tensor of the file. The first may also be
 * given without its key, or be all that the file holds. */
static json_t *inputs_of(const replay_options_t *o, const op_t *op) {
    json_t *inputs = json_object();
    for (size_t i = 0; i < OP_INPUTS && op->input[i].name; i++) {
        const char *key = op->input[i].name;
        bool first = i == 0;
        json_t *names = names_of(o, key);
        if (!names && first) names = names_of(o, "");
        if (!names && has_tensor(o, key)) names = json_string(key);
        if (!names && first && has_tensor(o, "")) names = json_string("");
        if (names) json_object_set_new(inputs, key, names);
    }
    /* Keys that the operation does not take are the call's to refuse. */
    for (size_t i = 0; i < o->given; i++)
        if (*o->input[i].key && !json_object_get(inputs, o->input[i].key))
            json_object_set_new_nocheck(inputs, o->input[i].key, names_of(o, o->input[i].key));
    return inputs;
}

static int unknown_operation(const char *module, err_t *err) {
    char names[400] = "";
    const op_t *op;
    for (size_t i = 0, used = 0; (op = op_at(i)); i++)
        used +=
            (size_t)snprintf(names + used, sizeof names - used, "%s%s", i ? ", " : "", op->name);
    return err_set(err, "%s: no such operation; there are %s", module, names);
}

int replay_operation(const replay_options_t *o, err_t *err) {
    const char *name = o->module + strlen("op.");
    const op_t *op = op_of(name);
    size_t bytes;
    int file = file_open_read(o->inputs, &bytes, err); /* else it would seem to hold no tensor */
    if (file < 0) return -1;
    close(file);
    if (!op) return unknown_operation(o->module, err);
    json_t *call = json_pack("{s:s, s:s, s:O, s:o}", "id", o->module, "op", name, "attrs", o->attrs,
                             "inputs", inputs_of(o, op));
    /* The experts of op.mole are no attr but a part of the call itself. */
    json_t *experts = json_object_get(o->attrs, "experts");
    if (experts) {
        json_object_set(call, "experts", experts);
        json_object_del(o->attrs, "experts");
    }
    char *wanted = xasprintf("%s.out", o->module);
    replay_results_t results;
    run_t run = {.matmul = o->common.matmul, .conv = o->common.conv, .form = o->common.form};
    int status = replay_results_open(&results, o, wanted, err);
    if (!status) {
        run.sink = &results.sink;
        status = arena_create(&run.arena, 0, err);
        if (!status) {
            call_tensors_t tensors = {read_tensor, o};
            status = calls_execute(&run, &tensors, (json_node_t){o->module, call, ""}, err);
            arena_destroy(run.arena);
        }
        status = replay_results_close(&results, o, status);
    }
    free(wanted);
    json_decref(call);
    return status;
}
