/* peek_picture.c - mole peek --png: a tensor as a picture; see peek.h. */
#include <math.h>
#include <stdlib.h>

#include "cli/peek.h"
#include "sheet/tensor_picture.h"

/* "a tile: 8 down, 8 across / min -3.1, max 2.9, mean 0.01, deviation 1; yellow: 3 NaN, 0 Inf" */
static char *notes_of(const peek_t *p) {
    const tally_t *t = &p->tally;
    char number[4][PEEK_NUMBER];
    const double figure[4] = {t->min, t->max, t->mean, t->deviation};
    for (int i = 0; i < 4; i++) peek_number(number[i], figure[i], DTYPE_F64, p->digits);
    char *tail =
        t->nan + t->inf ? xasprintf("; yellow: %zu NaN, %zu Inf", t->nan, t->inf) : xstrdup("");
    const shape_t *shape = &p->slice.shape;
    size_t across = shape->ndim ? shape->dim[shape->ndim - 1] : 1;
    size_t down = shape->ndim > 1 ? shape->dim[shape->ndim - 2] : 1;
    char *text =
        xasprintf("each tile: %zu down, %zu across\nmin %s, max %s, mean %s, deviation %s%s", down,
                  across, number[0], number[1], number[2], number[3], tail);
    free(tail);
    return text;
}

static char *title_of(const peek_t *p) {
    char shape[SHAPE_TEXT], part[SHAPE_TEXT];
    const trace_entry_t *entry = trace_file_at(p->trace, p->index);
    shape_text(shape, entry->shape);
    if (!p->place) return xasprintf("%s\n%s %s", entry->name, dtype_name(entry->dtype), shape);
    return xasprintf("%s\n%s %s, %s is %s", entry->name, dtype_name(entry->dtype), shape, p->place,
                     shape_text(part, p->slice.shape));
}

int peek_picture(const peek_t *p, double most, const char *path, err_t *err) {
    size_t count = shape_count(p->slice.shape);
    const char *name = trace_file_at(p->trace, p->index)->name;
    if (count == 0) return err_set(err, "'%s': nothing to draw, there are no numbers", name);
    if (count > TENSOR_PICTURE_NUMBERS)
        return err_set(err, "'%s': %zu numbers, a picture shows at most %d; take a slice of it",
                       name, count, TENSOR_PICTURE_NUMBERS);
    double *x = malloc(count * sizeof *x);
    if (!x) return err_set(err, "'%s': out of memory for %zu numbers", name, count);
    char *title = title_of(p), *notes = notes_of(p);
    if (isnan(most))
        most = tally_finite(&p->tally) ? fmax(fabs(p->tally.min), fabs(p->tally.max)) : 0;
    tensor_picture_t picture = {p->slice.shape, x, most, title, notes};
    int status = slice_read(p->trace, p->index, &p->slice, 0, count, x, err);
    if (!status) status = tensor_picture_write(&picture, path, err);
    free(title);
    free(notes);
    free(x);
    return status;
}
