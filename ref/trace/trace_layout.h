/* trace_layout.h - a tensor whose numbers are stored in another order, or with other axes, than they are
 * read.
 *
 * The axes of `view` are those of `shape`, some of them split in two, so that a number's place in the
 * stored tensor is a sum of index times stride. Every stored number is read, and where a stride is 0 more
 * than once. Numbers are gathered into a band of at most TRACE_BAND of them, in their new order, by one
 * pass over the part of the stored tensor that it needs, front to back: a tensor that is larger is passed
 * over once for each band. */
#ifndef MOLE_TRACE_TRACE_LAYOUT_H
#define MOLE_TRACE_TRACE_LAYOUT_H

#include <stdbool.h>
#include <stddef.h>

#include "core/err.h"
#include "core/shape.h"

enum { TRACE_BAND = 8 << 20 }; /* 64 MiB of doubles */

typedef struct {
    shape_t shape; /* as it is read */
    shape_t view;  /* as many numbers */
    size_t stride
        [SHAPE_DIMS]; /* of the axes of the view, in stored numbers; 0: stored once for all of them */
} trace_layout_t;

/* Strides that make numbers lie with order[0] as the slowest axis, order[ndim - 1] as the fastest; an
 * axis with repeat[axis] (or repeat NULL) is stored once. */
void trace_layout_order(trace_layout_t *layout, const int *order, const bool *repeat);
/* Where number `flat` (row-major in shape) is stored. */
size_t trace_layout_place(const trace_layout_t *layout, size_t flat);
/* Whether numbers are read in the order in which they are stored. */
bool trace_layout_is_plain(const trace_layout_t *layout);
/* How many numbers are stored. */
size_t trace_layout_stored(const trace_layout_t *layout);

typedef struct {
    double *x;
    size_t room, entry, first, count; /* numbers first .. first + count of an entry */
} trace_band_t;

/* Stored numbers first .. first + count of an entry. */
typedef int trace_stored_t(void *who, size_t entry, size_t first, size_t count, double *out,
                           err_t *err);

/* out = numbers first .. first + count of the tensor as it is read. 0, or -1 and err. The band is {0} at
 * first. */
int trace_layout_read(const trace_layout_t *layout, trace_band_t *band, size_t entry,
                      trace_stored_t *read, void *who, size_t first, size_t count, double *out,
                      err_t *err);

#endif
