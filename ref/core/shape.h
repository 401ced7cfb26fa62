/* shape.h - a tensor's dimensions, outermost first, as torch prints them. */
#ifndef MOLE_CORE_SHAPE_H
#define MOLE_CORE_SHAPE_H

#include <stdbool.h>
#include <stddef.h>

enum { SHAPE_DIMS = 8, SHAPE_TEXT = 192 };

typedef struct {
    int ndim; /* 0 is a scalar */
    size_t dim[SHAPE_DIMS];
} shape_t;

#define SHAPE0()           ((shape_t){0, {0}})
#define SHAPE1(a)          ((shape_t){1, {(size_t)(a)}})
#define SHAPE2(a, b)       ((shape_t){2, {(size_t)(a), (size_t)(b)}})
#define SHAPE3(a, b, c)    ((shape_t){3, {(size_t)(a), (size_t)(b), (size_t)(c)}})
#define SHAPE4(a, b, c, d) ((shape_t){4, {(size_t)(a), (size_t)(b), (size_t)(c), (size_t)(d)}})

/* Product of the dimensions (1 for a scalar). The caller vouches that it does not overflow; files are
 * checked with shape_count_checked. */
size_t shape_count(shape_t shape);
/* The same, or false when the product overflows size_t. */
bool shape_count_checked(shape_t shape, size_t *count);
bool shape_equal(shape_t a, shape_t b);
/* "(2, 4, 64, 64)", "()" for a scalar; returns text. */
const char *shape_text(char text[SHAPE_TEXT], shape_t shape);
/* The index of the number at `flat` in row-major order; as text: "[0,3,1,2]", "[]" in a scalar. */
void shape_index(size_t index[SHAPE_DIMS], shape_t shape, size_t flat);
const char *shape_index_text(char text[SHAPE_TEXT], shape_t shape, size_t flat);
/* order[0 .. n), a permutation of axes, becomes the next one in lexicographic order; false after the last. */
bool shape_next_order(int *order, int n);

#endif
