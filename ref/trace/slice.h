/* slice.h - a part of a tensor, written as Python writes it: "[0, :, -3:, ::2]".
 *
 *   N          one place of a dimension, which the result has no longer; negative: counted from the end
 *   A:B  A:B:S from A up to but not B, every S-th; what is left out is the start, the end, 1. Beyond an end
 *              is that end, as in Python; S is 1 or more, as in PyTorch
 *   ...        as many ':' as are missing (at most once); missing ones at the end are ':'
 */
#ifndef MOLE_TRACE_SLICE_H
#define MOLE_TRACE_SLICE_H

#include <stdbool.h>

#include "trace/trace_file.h"

typedef struct {
    size_t start, step, count;
    bool dropped; /* N: not a dimension of the result */
} slice_range_t;

typedef struct {
    shape_t source, shape; /* of the tensor, of the result */
    slice_range_t range[SHAPE_DIMS];
} slice_t;

/* All of a tensor. */
slice_t slice_whole(shape_t shape);
/* `text` with its brackets. 0, or -1 and err: what is wrong with the text, or why it does not fit the shape,
 * which the message says. */
int slice_parse(slice_t *slice, const char *text, shape_t shape, err_t *err);
/* out = numbers first .. first + count of the result, row-major; as trace_file_read of an entry with the
 * slice's source shape, of which no other numbers are widened. */
int slice_read(trace_file_t *trace, size_t index, const slice_t *slice, size_t first, size_t count,
               double *out, err_t *err);

#endif
