/* op_table.h - every operation as data: the names and shapes of what goes in, its attributes, and the checked
 * function of mole.h that computes it. A golden case of kind "calls", `mole replay op.NAME` and the tests run
 * operations through this table alone.
 *
 * An operation's row stands below its checked function, in api_ops.c, api_images.c or api_layer.c. */
#ifndef MOLE_API_OP_TABLE_H
#define MOLE_API_OP_TABLE_H

#include "api/api_check.h"
#include "core/arena.h"

enum { OP_INPUTS = 6, OP_ATTRS = 6, OP_ATTR_NUMBERS = 4, OP_LETTERS = 12 };

/* A tensor, or a list of them. `shape` names its dimensions, "B Ci H W"; a name that another input has too
 * is the same size there. "..." is any number of dimensions, "_" one of any size. */
typedef struct {
    const char *name, *shape;
    bool may_be_null, is_list;
} op_input_t;

/* Every attribute must be given: operations have no defaults. */
typedef struct {
    const char *name;
    enum { OP_SIZE, OP_SIZES, OP_NUMBER, OP_FLAG, OP_WORD } type;
    int least, most;      /* OP_SIZE, OP_SIZES: the sizes that are taken */
    size_t count;         /* OP_SIZES: how many */
    const char *words[2]; /* OP_WORD: what may be said; the value is its index */
} op_attr_t;

typedef struct {
    shape_t shape;
    size_t count;
    real_t *x;       /* NULL where the input is null */
    double *numbers; /* the same, as they were stored */
} op_tensor_t;

typedef struct op_call op_call_t;

typedef struct {
    const char *name;
    op_input_t input[OP_INPUTS]; /* up to the first without a name, as the attributes */
    op_attr_t attr[OP_ATTRS];
    /* One of them; neither: "mole", which runs on experts too (api_layer). */
    int (*run)(op_call_t *call);
    int (*each)(mole_real_t *out, const mole_real_t *x, size_t n, mole_error_t *error);
    bool multiplies; /* whether `how` makes a difference */
} op_t;

/* A call: the reader of a case fills in all but the result. */
struct op_call {
    const op_t *op;
    arena_t *arena; /* of the tensors and the result */
    mole_how_t how;
    conv2d_way_t way;
    op_tensor_t *input[OP_INPUTS];
    size_t length[OP_INPUTS]; /* tensors of an input; 0: null */
    double attr[OP_ATTRS][OP_ATTR_NUMBERS];
    struct {
        char name[4];
        size_t size, input;
    } letter[OP_LETTERS]; /* op_fit's: the named dimensions */
    size_t letters;
    real_t *out;
    shape_t shape;
    mole_error_t error;
};

/* The operations in alphabetical order; NULL behind the last, or when there is none of this name. */
const op_t *op_at(size_t index);
const op_t *op_of(const char *name);

/* Whether a tensor has the shape that its input's row asks for, given those that came before it. Returns 0,
 * or -1 and err, without a name before the sentence. */
int op_fit(op_call_t *call, size_t input, const op_tensor_t *tensor, err_t *err);
/* Run the call on inputs that fit: call->out and call->shape. Returns 0, or -1 and call->error. */
int op_run(op_call_t *call);

/* ---- for the rows -------------------------------------------------------------------------------------- */

/* The size of a named dimension; of "..." the product, in the first input that has it. */
size_t op_size(const op_call_t *call, const char *letter);
/* An input that may not be null: its shape. */
static inline shape_t op_shape(const op_call_t *call, size_t input) {
    REQUIRE(call->input[input], "%s: no input %zu", call->op->name, input);
    return call->input[input]->shape;
}
/* Numbers of an input; NULL where it is null. */
static inline const real_t *op_x(const op_call_t *call, size_t input) {
    return call->length[input] ? call->input[input]->x : NULL;
}
/* An input of whole numbers as int32, or NULL after a complaint. */
const int32_t *op_ids(op_call_t *call, size_t input);
/* Memory for the result of this shape. */
real_t *op_result(op_call_t *call, shape_t shape);
/* The shape of an input with another last dimension. */
shape_t op_with_last(const op_call_t *call, size_t input, size_t last);
/* -1 and call->error, which begins with the operation's name as that of a checked function does. */
int op_refuse(op_call_t *call, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define TENSOR(n, s)                                                                               \
    { .name = (n), .shape = (s) }
#define TENSOR_OR_NULL(n, s)                                                                       \
    { .name = (n), .shape = (s), .may_be_null = true }
#define TENSORS(n, s)                                                                              \
    { .name = (n), .shape = (s), .is_list = true }
#define SIZE(n, from, to)                                                                          \
    { .name = (n), .type = OP_SIZE, .least = (from), .most = (to), .count = 1 }
#define SIZES(n, k, from, to)                                                                      \
    { .name = (n), .type = OP_SIZES, .least = (from), .most = (to), .count = (k) }
#define NUMBER(n)                                                                                  \
    { .name = (n), .type = OP_NUMBER }
#define FLAG(n)                                                                                    \
    { .name = (n), .type = OP_FLAG }
#define WORD(n, a, b)                                                                              \
    {                                                                                              \
        .name = (n), .type = OP_WORD, .words = {(a), (b) }                                         \
    }

extern const op_t api_ops[], api_images[], api_layers[]; /* each ends in a row without a name */

#endif
