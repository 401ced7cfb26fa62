/* calls_internal.h - what calls.c and calls_input.c share. */
#ifndef MOLE_GOLDEN_CALLS_INTERNAL_H
#define MOLE_GOLDEN_CALLS_INTERNAL_H

#include "golden/calls.h"

typedef struct {
    const run_t *run;
    const call_tensors_t *tensors;
    json_node_t call, attrs, inputs;
    const char *id, *op;
    err_t *err;
} call_t;

typedef struct {
    real_t *x;       /* NULL where the input is null */
    double *numbers; /* the same, as they were stored */
    shape_t shape;
    size_t count;
} input_t;

/* The tensor `name`, that node.key names, into the arena. All return 0, or -1 and c->err. */
int call_read(const call_t *c, json_node_t node, const char *key, const char *name, input_t *in);
/* An input of `least` to `most` dimensions; least 0: it may be null. */
int call_take(const call_t *c, const char *key, int least, int most, input_t *in);
/* An input of exactly this shape, or null where that is allowed. */
int call_take_shape(const call_t *c, const char *key, bool may_be_null, shape_t shape, input_t *in);

/* Refusals: -1 and c->err. Of two inputs that are each right, but not with each other; of the rest. */
int call_misfit(const call_t *c, const char *key, const input_t *in, const char *other,
                const input_t *to);
int call_refuse(const call_t *c, const char *what);

#endif
