/* layout_forms.h - the ways in which a tensor of one shape may have been stored under another.
 *
 * A form is an order of the reference's axes in memory, and how the stored shape tells of it. It has no
 * sizes: the same form may hold throughout a trace. */
#ifndef MOLE_COMPARE_LAYOUT_FORMS_H
#define MOLE_COMPARE_LAYOUT_FORMS_H

#include <stdbool.h>

#include "trace/trace_layout.h"

enum { FORM_AXES = 4, FORMS_MOST = 128, FORM_TEXT = 64 };

typedef enum {
    LABEL_PLAIN, /* the stored shape is that of memory: axes in their order, neighbours perhaps as one axis,
                     * one axis perhaps as several, axes of size 1 left out or put in */
    LABEL_REVERSED, /* the same from the innermost axis to the outermost, as ggml has it */
    LABEL_IGNORED   /* the stored shape is the reference's, although memory lies otherwise */
} form_label_t;

typedef struct {
    form_label_t label;
    int axes;             /* of the reference, with `heads` one more */
    int order[FORM_AXES]; /* the slowest axis first */
    bool once;            /* axis 0 is not stored: its rows are equal */
    bool heads;           /* the last axis is two, heads and their width */
    bool likely;          /* frameworks have it: may be believed of a shape alone */
} form_t;

/* All forms that a tensor of `shape` stored as `stored` may have, the likelier first; 0: none.
 * equal_rows: whether `once` is among them. Axes beyond FORM_AXES stay in their order. */
size_t layout_forms(form_t forms[FORMS_MOST], shape_t shape, shape_t stored, bool equal_rows);
bool form_equal(const form_t *a, const form_t *b);
/* Whether it is the reference's own order. */
bool form_is_plain(const form_t *form);
/* The layout that a form is at these sizes. */
trace_layout_t form_layout(const form_t *form, shape_t shape, shape_t stored);
/* "(N,H,W,C)", "(N,HW,C)" of a stored shape, "(N,C,H,W)" of the reference's; each returns text. */
const char *form_stored_text(char text[FORM_TEXT], const form_t *form, shape_t shape,
                             shape_t stored);
const char *form_axes_text(char text[FORM_TEXT], int axes);

#endif
