/* shape.c - see shape.h. */
#include "core/shape.h"

#include <stdio.h>

bool shape_count_checked(shape_t shape, size_t *count) {
    size_t product = 1;
    for (int i = 0; i < shape.ndim; i++)
        if (__builtin_mul_overflow(product, shape.dim[i], &product)) return false;
    *count = product;
    return true;
}

size_t shape_count(shape_t shape) {
    size_t product = 1;
    for (int i = 0; i < shape.ndim; i++) product *= shape.dim[i];
    return product;
}

bool shape_equal(shape_t a, shape_t b) {
    if (a.ndim != b.ndim) return false;
    for (int i = 0; i < a.ndim; i++)
        if (a.dim[i] != b.dim[i]) return false;
    return true;
}

const char *shape_text(char text[SHAPE_TEXT], shape_t shape) {
    size_t used = (size_t)snprintf(text, SHAPE_TEXT, "(");
    for (int i = 0; i < shape.ndim; i++)
        used += (size_t)snprintf(text + used, SHAPE_TEXT - used, i ? ", %zu" : "%zu", shape.dim[i]);
    snprintf(text + used, SHAPE_TEXT - used, ")");
    return text;
}

void shape_index(size_t index[SHAPE_DIMS], shape_t shape, size_t flat) {
    for (int d = shape.ndim - 1; d >= 0; d--) {
        size_t size = shape.dim[d] > 0 ? shape.dim[d] : 1;
        index[d] = flat % size;
        flat /= size;
    }
}

const char *shape_index_text(char text[SHAPE_TEXT], shape_t shape, size_t flat) {
    size_t index[SHAPE_DIMS] = {0};
    shape_index(index, shape, flat);
    size_t used = (size_t)snprintf(text, SHAPE_TEXT, "[");
    for (int d = 0; d < shape.ndim; d++)
        used += (size_t)snprintf(text + used, SHAPE_TEXT - used, "%s%zu", d ? "," : "", index[d]);
    snprintf(text + used, SHAPE_TEXT - used, "]");
    return text;
}

bool shape_next_order(int *p, int n) {
    int i = n - 2, j = n - 1;
    while (i >= 0 && p[i] > p[i + 1]) i--;
    if (i < 0) return false;
    while (p[j] < p[i]) j--;
    int t = p[i];
    p[i] = p[j], p[j] = t;
    for (int a = i + 1, b = n - 1; a < b; a++, b--) t = p[a], p[a] = p[b], p[b] = t;
    return true;
}
