/* calls_input.c - the tensors that go into a call, checked. */
#include <string.h>

#include "golden/calls_internal.h"

int call_refuse(const call_t *c, const char *what) {
    return json_node_error(c->call, "inputs", c->err, "%s '%s': %s", c->op, c->id, what);
}

int call_read(const call_t *c, json_node_t node, const char *key, const char *name, input_t *in) {
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

int call_take(const call_t *c, const char *key, int least, int most, input_t *in) {
    const char *name;
    *in = (input_t){0};
    if (!json_node_has(c->inputs, key))
        return least == 0
                   ? 0
                   : json_node_error(c->inputs, key, c->err, "is missing: the name of a tensor");
    if (json_get_string(c->inputs, key, &name, c->err) || call_read(c, c->inputs, key, name, in))
        return -1;
    if (in->shape.ndim < least || in->shape.ndim > most)
        return json_node_error(c->inputs, key, c->err, "expected %d to %d dimensions, found %d",
                               least, most, in->shape.ndim);
    return 0;
}

int call_take_shape(const call_t *c, const char *key, bool may_be_null, shape_t shape,
                    input_t *in) {
    char expected[SHAPE_TEXT], found[SHAPE_TEXT];
    if (may_be_null && !json_node_has(c->inputs, key)) return *in = (input_t){0}, 0;
    if (call_take(c, key, 1, SHAPE_DIMS, in)) return -1;
    if (shape_equal(in->shape, shape)) return 0;
    return json_node_error(c->inputs, key, c->err, "expected shape %s, found %s",
                           shape_text(expected, shape), shape_text(found, in->shape));
}

int call_misfit(const call_t *c, const char *key, const input_t *in, const char *other,
                const input_t *to) {
    char shape[SHAPE_TEXT], other_shape[SHAPE_TEXT];
    return json_node_error(c->inputs, key, c->err, "shape %s does not fit %s's %s",
                           shape_text(shape, in->shape), other, shape_text(other_shape, to->shape));
}
