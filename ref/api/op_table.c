/* op_table.c - see op_table.h. */
#include "api/op_table.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const op_t *const tables[] = {api_ops, api_images, api_layers};
enum { TABLES = sizeof tables / sizeof *tables };

/* Row number `index` of all tables together, in the order of the files. */
static const op_t *row_at(size_t index) {
    for (size_t t = 0; t < TABLES; t++)
        for (const op_t *op = tables[t]; op->name; op++)
            if (index-- == 0) return op;
    return NULL;
}

const op_t *op_at(size_t index) {
    const op_t *op, *other;
    for (size_t i = 0; (op = row_at(i)); i++) {
        size_t before = 0;
        for (size_t j = 0; (other = row_at(j)); j++) before += strcmp(other->name, op->name) < 0;
        if (before == index) return op;
    }
    return NULL;
}

const op_t *op_of(const char *name) {
    const op_t *op;
    for (size_t i = 0; (op = row_at(i)); i++)
        if (strcmp(op->name, name) == 0) return op;
    return NULL;
}

/* ---- shapes -------------------------------------------------------------------------------------------- */

static size_t find_letter(const op_call_t *c, const char *name) {
    size_t i = 0;
    while (i < c->letters && strcmp(c->letter[i].name, name) != 0) i++;
    return i;
}

size_t op_size(const op_call_t *c, const char *letter) {
    size_t i = find_letter(c, letter);
    REQUIRE(i < c->letters, "%s: no dimension %s", c->op->name, letter);
    return c->letter[i].size;
}

/* The names of a row's dimensions; *open: one of them is "...". */
static int split(const char *row, char name[SHAPE_DIMS][4], bool *open) {
    int names = 0;
    *open = false;
    for (size_t length; (length = strcspn(row, " ")); row += length, row += *row == ' ') {
        snprintf(name[names], 4, "%.*s", (int)length, row);
        *open = *open || strcmp(name[names], "...") == 0;
        names++;
    }
    return names;
}

/* Every dimension is known from the inputs before: the shape is this one and no other. */
static bool known_shape(const op_call_t *c, char name[SHAPE_DIMS][4], int names, shape_t *shape) {
    *shape = (shape_t){.ndim = names};
    for (int d = 0; d < names; d++) {
        size_t i = find_letter(c, name[d]);
        if (i == c->letters) return false;
        shape->dim[d] = c->letter[i].size;
    }
    return true;
}

/* A named dimension of this size: the first one says what it is, later ones agree. */
static int bind(op_call_t *c, size_t input, const char name[4], size_t size, shape_t shape,
                err_t *err) {
    char text[SHAPE_TEXT], other[SHAPE_TEXT];
    size_t i = find_letter(c, name);
    if (strcmp(name, "_") == 0 || (strcmp(name, "...") == 0 && i < c->letters)) return 0;
    if (i < c->letters) {
        size_t from = c->letter[i].input;
        if (c->letter[i].size == size) return 0;
        return err_set(err, "shape %s does not fit %s's %s", shape_text(text, shape),
                       c->op->input[from].name, shape_text(other, c->input[from]->shape));
    }
    memcpy(c->letter[i].name, name, sizeof c->letter[i].name);
    c->letter[i].size = size;
    c->letter[i].input = input;
    c->letters++;
    return 0;
}

int op_fit(op_call_t *c, size_t input, const op_tensor_t *tensor, err_t *err) {
    char name[SHAPE_DIMS][4], expected[SHAPE_TEXT], found[SHAPE_TEXT];
    bool open;
    shape_t shape = tensor->shape, only;
    int names = split(c->op->input[input].shape, name, &open), least = names - open;
    if (!open && known_shape(c, name, names, &only)) {
        if (shape_equal(shape, only)) return 0;
        return err_set(err, "expected shape %s, found %s", shape_text(expected, only),
                       shape_text(found, shape));
    }
    int most = open ? SHAPE_DIMS : least, many = shape.ndim - least;
    if (least == 0) least = 1;
    if (shape.ndim < least || shape.ndim > most)
        return err_set(err, "expected %d to %d dimensions, found %d", least, most, shape.ndim);
    for (int i = 0, d = 0; i < names; i++) {
        bool all = strcmp(name[i], "...") == 0;
        size_t size = 1;
        for (int end = d + (all ? many : 1); d < end; d++) size *= shape.dim[d];
        if (bind(c, input, name[i], size, shape, err)) return -1;
    }
    return 0;
}

/* ---- for the rows -------------------------------------------------------------------------------------- */

const int32_t *op_ids(op_call_t *c, size_t input) {
    const op_tensor_t *in = c->input[input];
    int32_t *ids = arena_bytes(c->arena, in->count * sizeof *ids);
    for (size_t i = 0; i < in->count; i++) {
        double id = in->numbers[i];
        if (!(id >= 0 && id <= INT32_MAX && id == floor(id)))
            return op_refuse(c, "%s holds %g, which is no id: no row of the table has it",
                             c->op->input[input].name, id),
                   NULL;
        ids[i] = (int32_t)id;
    }
    return ids;
}

real_t *op_result(op_call_t *c, shape_t shape) {
    c->shape = shape;
    return c->out = arena_reals(c->arena, shape_count(shape));
}

shape_t op_with_last(const op_call_t *c, size_t input, size_t last) {
    shape_t shape = op_shape(c, input);
    shape.dim[shape.ndim - 1] = last;
    return shape;
}

int op_refuse(op_call_t *c, const char *format, ...) {
    char sentence[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(sentence, sizeof sentence, format, args);
    va_end(args);
    return err_set(api_err(&c->error), "%s: %s", c->op->name, sentence);
}

/* The checked functions begin their sentence with their own name, which the reader of a case says anyway. */
int op_run(op_call_t *c) {
    const op_tensor_t *x = c->input[0];
    if ((c->op->run ? c->op->run(c)
                    : c->op->each(op_result(c, x->shape), x->x, x->count, &c->error)) == 0)
        return 0;
    char *sentence = strstr(c->error.text, ": ");
    if (sentence) memmove(c->error.text, sentence + 2, strlen(sentence + 2) + 1);
    return -1;
}
