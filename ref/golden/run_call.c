/* run_call.c - see run_call.h. A case comes from a file. What the rows of api/op_table.h ask of names, types
 * and shapes is checked here; what an operation asks of its numbers is checked by its function of mole.h.
 * Either way it is an error of the file. */
#include "golden/run_call.h"

#include <stdio.h>
#include <string.h>

#include "api/api_layer.h"
#include "api/op_table.h"

typedef struct {
    const run_t *run;
    const call_tensors_t *tensors;
    json_node_t call, attrs, inputs;
    const char *id;
    op_call_t o;
    err_t *err;
} call_t;

/* Of inputs that are each right, but not together. */
static int refuse(const call_t *c, const char *what) {
    return json_node_error(c->call, "inputs", c->err, "%s '%s': %s", c->o.op->name, c->id, what);
}

/* ---- inputs ------------------------------------------------------------------------------------------ */

/* The tensor `name`, that node.key names, into the arena. */
static int read_tensor(const call_t *c, json_node_t node, const char *key, const char *name,
                       op_tensor_t *in) {
    err_t why;
    tensor_file_t stored = {0};
    if (c->tensors->read(c->tensors->who, name, &stored, &why))
        return json_node_error(node, key, c->err, "%s", why.text);
    in->shape = stored.shape;
    in->count = shape_count(stored.shape);
    if (in->count > 0) {
        in->x = arena_reals(c->run->arena, in->count);
        in->numbers = arena_bytes(c->run->arena, in->count * sizeof *in->numbers);
        memcpy(in->numbers, stored.data, in->count * sizeof *in->numbers);
        for (size_t i = 0; i < in->count; i++) in->x[i] = (real_t)stored.data[i];
    }
    tensor_file_free(&stored);
    if (in->count == 0) return json_node_error(node, key, c->err, "'%s' holds no numbers", name);
    return 0;
}

/* Room for the tensors of an input. */
static op_tensor_t *input_room(call_t *c, size_t i, size_t length) {
    op_tensor_t *in = arena_bytes(c->run->arena, (length + 1) * sizeof *in);
    memset(in, 0, (length + 1) * sizeof *in);
    c->o.length[i] = length;
    return c->o.input[i] = in;
}

/* The first of a list fits its row; whether the others fit it is the operation's to say. */
static int read_list(call_t *c, size_t i) {
    const char *key = c->o.op->input[i].name;
    const json_t *list = json_object_get(c->inputs.value, key);
    size_t length = json_array_size(list);
    op_tensor_t *in = input_room(c, i, length);
    if (length == 0) return json_node_error(c->inputs, key, c->err, "expected a list of keys");
    for (size_t k = 0; k < length; k++) {
        const char *name = json_string_value(json_array_get(list, k));
        if (!name) return json_node_error(c->inputs, key, c->err, "expected a list of keys");
        if (read_tensor(c, c->inputs, key, name, &in[k])) return -1;
    }
    return 0;
}

static int read_input(call_t *c, size_t i) {
    const op_input_t *input = &c->o.op->input[i];
    const char *name;
    err_t why;
    if (input->is_list) {
        if (read_list(c, i)) return -1;
    } else if (!json_node_has(c->inputs, input->name)) {
        if (input->may_be_null) return 0;
        return json_node_error(c->inputs, input->name, c->err, "is missing: the name of a tensor");
    } else if (json_get_string(c->inputs, input->name, &name, c->err) ||
               read_tensor(c, c->inputs, input->name, name, input_room(c, i, 1))) {
        return -1;
    }
    if (op_fit(&c->o, i, c->o.input[i], &why) == 0) return 0;
    return json_node_error(c->inputs, input->name, c->err, "%s", why.text);
}

/* ---- attributes -------------------------------------------------------------------------------------- */

static int read_sizes(const call_t *c, const op_attr_t *a, double *value) {
    int64_t sizes[OP_ATTR_NUMBERS];
    size_t count;
    int status = a->type == OP_SIZE
                     ? json_get_int(c->attrs, a->name, a->least, a->most, sizes, c->err)
                     : json_get_ints(c->attrs, a->name, a->least, a->most, a->count, a->count,
                                     sizes, &count, c->err);
    for (size_t k = 0; !status && k < a->count; k++) value[k] = (double)sizes[k];
    return status;
}

static int read_word(const call_t *c, const op_attr_t *a, double *value) {
    const char *word;
    if (json_get_string(c->attrs, a->name, &word, c->err)) return -1;
    for (size_t k = 0; k < 2; k++)
        if (strcmp(word, a->words[k]) == 0) return *value = (double)k, 0;
    return json_node_error(c->attrs, a->name, c->err, "expected \"%s\" or \"%s\", found \"%s\"",
                           a->words[0], a->words[1], word);
}

static int read_attr(const call_t *c, const op_attr_t *a, double *value) {
    bool flag;
    switch (a->type) {
    case OP_SIZE:
    case OP_SIZES: return read_sizes(c, a, value);
    case OP_WORD: return read_word(c, a, value);
    case OP_NUMBER: return json_get_double(c->attrs, a->name, value, c->err);
    case OP_FLAG:
        if (json_get_bool(c->attrs, a->name, &flag, c->err)) return -1;
        *value = flag;
    }
    return 0;
}

/* ---- the MoLE layer ---------------------------------------------------------------------------------- */

static int take_factor(const call_t *c, json_node_t expert, const char *key, size_t count,
                       op_tensor_t *in) {
    const char *name;
    *in = (op_tensor_t){0};
    if (json_get_string(expert, key, &name, c->err) || read_tensor(c, expert, key, name, in))
        return -1;
    if (count == 0 || in->count == count) return 0;
    return json_node_error(expert, key, c->err, "expected %zu numbers, found %zu", count,
                           in->count);
}

static int take_expert(const call_t *c, size_t index, const mole_layer_args_t *layer,
                       const char **name, mole_layer_expert_t *expert) {
    json_node_t node;
    op_tensor_t down, up, w, bias;
    double alpha;
    if (json_get_item(c->call, "experts", index, &node, c->err) ||
        json_get_name(node, "name", name, c->err))
        return -1;
    if (strlen(*name) > CALL_NAME_MOST) return refuse(c, "a name is too long");
    if (json_get_double(node, "alpha", &alpha, c->err) ||
        take_factor(c, node, "lora_down", 0, &down))
        return -1;
    size_t rank = down.shape.dim[0];
    if (down.count != rank * layer->d_in) return refuse(c, "lora_down does not fit x");
    if (take_factor(c, node, "lora_up", layer->d_out * rank, &up) ||
        take_factor(c, node, "scale_weight", layer->d_out, &w) ||
        take_factor(c, node, "scale_bias", 1, &bias))
        return -1;
    *expert = (mole_layer_expert_t){.rank = rank,
                                    .alpha = alpha,
                                    .down = down.x,
                                    .up = up.x,
                                    .scale_weight = w.x,
                                    .scale_bias = (double)*bias.x};
    return 0;
}

static int run_mole(call_t *c) {
    op_call_t *o = &c->o;
    shape_t shape = op_shape(o, 0);
    size_t experts;
    bool image = shape.ndim == 4;
    mole_layer_args_t layer = {.d_in = shape.dim[image ? 1 : shape.ndim - 1],
                               .d_out = op_size(o, "N"),
                               .weight = op_x(o, 1),
                               .bias = op_x(o, 2),
                               .local_weight = op_x(o, 3),
                               .local_bias = op_x(o, 4),
                               .image = image};
    if (json_get_length(c->call, "experts", &experts, c->err)) return -1;
    if (shape.ndim < 3 || shape.ndim > 4) return refuse(c, "x is neither tokens nor an image");
    if (shape_count(op_shape(o, 1)) != layer.d_in * layer.d_out || experts == 0)
        return refuse(c, "weight does not fit x, or there is no expert");
    if (op_size(o, "E") != experts || shape_count(op_shape(o, 3)) != experts * layer.d_in)
        return refuse(c, "Phi does not fit x and experts");
    mole_layer_expert_t *expert = arena_bytes(c->run->arena, experts * sizeof *expert);
    const char **names = arena_bytes(c->run->arena, experts * sizeof *names);
    for (size_t i = 0; i < experts; i++)
        if (take_expert(c, i, &layer, &names[i], &expert[i])) return -1;
    layer.expert = expert;
    layer.experts = experts;
    shape.dim[image ? 1 : shape.ndim - 1] = layer.d_out;
    if (api_layer(c->run, c->id, names, shape, op_result(o, shape), op_x(o, 0), &layer, &o->error))
        return refuse(c, o->error.text);
    return 0;
}

/* ---- a call ------------------------------------------------------------------------------------------ */

bool calls_apply(json_node_t call) {
    if (sizeof(real_t) == sizeof(float)) return true;
    const json_t *attrs = json_object_get(call.value, "attrs");
    const char *angles = json_string_value(json_object_get(attrs, "angles"));
    return !angles || strcmp(angles, "f32") != 0;
}

/* Every key is one that the operation takes: a misspelt one would be no mistake that anyone sees. */
static int check_keys(const call_t *c, json_node_t node, const char *const *names) {
    const char *key;
    json_t *value;
    char all[256] = "";
    for (size_t i = 0, used = 0; names[i]; i++)
        used += (size_t)snprintf(all + used, sizeof all - used, "%s%s", i ? " " : "", names[i]);
    json_object_foreach(node.value, key, value) {
        size_t i = 0;
        while (names[i] && strcmp(names[i], key) != 0) i++;
        if (!names[i])
            return json_node_error(node, key, c->err, "%s takes %s%s", c->o.op->name,
                                   *all ? "only: " : "none", all);
    }
    return 0;
}

static int check_all_keys(const call_t *c) {
    const char *inputs[OP_INPUTS + 1] = {NULL}, *attrs[OP_ATTRS + 1] = {NULL};
    for (size_t i = 0; i < OP_INPUTS; i++) inputs[i] = c->o.op->input[i].name;
    for (size_t i = 0; i < OP_ATTRS; i++) attrs[i] = c->o.op->attr[i].name;
    return check_keys(c, c->attrs, attrs) || check_keys(c, c->inputs, inputs) ? -1 : 0;
}

static int read_call(call_t *c) {
    for (size_t i = 0; i < OP_INPUTS && c->o.op->input[i].name; i++)
        if (read_input(c, i)) return -1;
    for (size_t i = 0; i < OP_ATTRS && c->o.op->attr[i].name; i++)
        if (read_attr(c, &c->o.op->attr[i], c->o.attr[i])) return -1;
    return 0;
}

int calls_execute(const run_t *run, const call_tensors_t *tensors, json_node_t call, err_t *err) {
    const char *op;
    call_t c = {.run = run, .tensors = tensors, .call = call, .err = err};
    if (json_get_name(c.call, "id", &c.id, err) || json_get_name(c.call, "op", &op, err) ||
        json_get_object(c.call, "attrs", &c.attrs, err) ||
        json_get_object(c.call, "inputs", &c.inputs, err))
        return -1;
    if (!calls_apply(c.call)) return 0;
    c.o = (op_call_t){.op = op_of(op),
                      .arena = run->arena,
                      .how = run->matmul == MATMUL_PLAIN ? MOLE_PLAIN : MOLE_BLAS,
                      .way = run->conv};
    if (!c.o.op)
        return json_node_error(c.call, "op", err,
                               "no operation '%s' that a case of kind calls can name", op);
    if (check_all_keys(&c) || read_call(&c)) return -1;
    if (!c.o.op->run && !c.o.op->each) {
        if (run_mole(&c)) return -1;
    } else if (op_run(&c.o)) {
        return refuse(&c, c.o.error.text);
    }
    tap_suffix(run->sink, c.id, c.o.out, (view_t){c.o.shape, LAYOUT_TORCH}, ".out");
    return 0;
}
