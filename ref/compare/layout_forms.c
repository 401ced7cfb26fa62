/* layout_forms.c - see layout_forms.h. */
#include "compare/layout_forms.h"

#include <stdio.h>
#include <string.h>

/* ---- orders -------------------------------------------------------------------------------------------- */

/* What frameworks have, the likelier first: channels last, the authors' tokens, sequence first, channels
 * last with the batch behind, Fortran's; all others follow. */
static const struct {
    int axes, order[FORM_AXES];
    bool likely;
} known[] = {
    {4, {0, 2, 3, 1}, true},  {3, {0, 2, 1}, true},     {2, {1, 0}, true},
    {3, {1, 0, 2}, true},     {4, {2, 3, 1, 0}, false}, {4, {1, 2, 3, 0}, false},
    {4, {3, 2, 1, 0}, false}, {3, {2, 1, 0}, false},
};
enum { KNOWN = sizeof known / sizeof known[0] };

typedef struct {
    int order[24][FORM_AXES];
    bool likely[24];
    size_t count;
} orders_t;

static void add_order(orders_t *o, const int *order, int axes, bool likely) {
    for (size_t i = 0; i < o->count; i++)
        if (memcmp(o->order[i], order, (size_t)axes * sizeof *order) == 0) return;
    memcpy(o->order[o->count], order, (size_t)axes * sizeof *order);
    o->likely[o->count++] = likely;
}

/* Every order of so many axes, their own first. */
static orders_t all_orders(int axes) {
    orders_t o = {.count = 0};
    int order[FORM_AXES] = {0, 1, 2, 3};
    add_order(&o, order, axes, true);
    for (size_t i = 0; i < KNOWN; i++)
        if (known[i].axes == axes) add_order(&o, known[i].order, axes, known[i].likely);
    while (shape_next_order(order, axes)) add_order(&o, order, axes, false);
    return o;
}

/* ---- shapes -------------------------------------------------------------------------------------------- */

/* The reference's axes in memory's order, axis by axis: `axis` is that of the form. */
typedef struct {
    int axes;
    int axis[SHAPE_DIMS];
    size_t dim[SHAPE_DIMS];
} memory_t;

/* A piece of the stored shape and of memory that hold the same numbers: one axis to several, or several
 * to one. */
typedef struct {
    int stored_from, stored_to, from, to; /* half open */
} piece_t;

/* Cuts both into pieces; returns how many, or -1 when some piece would need several axes on both sides.
 * Axes of size 1 go with their like where there is one, else alone. */
static int cut(piece_t piece[2 * SHAPE_DIMS], shape_t stored, const memory_t *m) {
    int pieces = 0, s = 0, a = 0;
    while (s < stored.ndim || a < m->axes) {
        bool one = s < stored.ndim && stored.dim[s] == 1, other = a < m->axes && m->dim[a] == 1;
        piece_t p = {s, s, a, a};
        if (one || other) {
            p.stored_to += one;
            p.to += other;
        } else {
            if (s == stored.ndim || a == m->axes) return -1;
            size_t left = stored.dim[p.stored_to++], right = m->dim[p.to++];
            while (left != right) {
                if (left < right && p.stored_to < stored.ndim)
                    left *= stored.dim[p.stored_to++];
                else if (right < left && p.to < m->axes)
                    right *= m->dim[p.to++];
                else
                    return -1;
            }
            if (p.stored_to - p.stored_from > 1 && p.to - p.from > 1) return -1;
        }
        piece[pieces++] = p;
        s = p.stored_to;
        a = p.to;
    }
    return pieces;
}

static shape_t reversed(shape_t shape) {
    shape_t out = {shape.ndim, {0}};
    for (int i = 0; i < shape.ndim; i++) out.dim[i] = shape.dim[shape.ndim - 1 - i];
    return out;
}

/* The width of a head: the stored shape's last axis, or the one before it, that divides the last axis. */
static size_t head_width(shape_t shape, shape_t stored) {
    size_t last = shape.dim[shape.ndim - 1];
    for (int i = stored.ndim - 1; i >= 0 && i >= stored.ndim - 2; i--)
        if (stored.dim[i] > 1 && stored.dim[i] < last && last % stored.dim[i] == 0)
            return stored.dim[i];
    return 0;
}

/* The reference's shape with heads and their width apart. */
static shape_t view_of(const form_t *form, shape_t shape, shape_t stored) {
    shape_t view = shape;
    if (!form->heads) return view;
    size_t width = head_width(shape, stored);
    if (width == 0) return view; /* no form with heads was offered then */
    view.dim[view.ndim - 1] /= width;
    view.dim[view.ndim++] = width;
    return view;
}

static memory_t memory_of(const form_t *form, shape_t view) {
    memory_t m = {.axes = 0};
    for (int i = 0; i < view.ndim; i++) {
        int axis = i < form->axes ? form->order[i] : i;
        if (form->once && axis == 0) continue;
        m.axis[m.axes] = axis;
        m.dim[m.axes++] = view.dim[axis];
    }
    return m;
}

static bool fits(const form_t *form, shape_t shape, shape_t stored) {
    piece_t piece[2 * SHAPE_DIMS];
    if (form->label == LABEL_IGNORED) return shape_equal(shape, stored);
    memory_t m = memory_of(form, view_of(form, shape, stored));
    return cut(piece, form->label == LABEL_REVERSED ? reversed(stored) : stored, &m) >= 0;
}

/* ---- forms --------------------------------------------------------------------------------------------- */

bool form_is_plain(const form_t *form) {
    for (int i = 0; i < form->axes; i++)
        if (form->order[i] != i) return false;
    return true;
}

bool form_equal(const form_t *a, const form_t *b) {
    return a->label == b->label && a->axes == b->axes && a->once == b->once &&
           a->heads == b->heads &&
           memcmp(a->order, b->order, (size_t)a->axes * sizeof *a->order) == 0;
}

/* (B,h,T,d), as attention wants it. */
static const int heads_first[FORM_AXES] = {0, 2, 1, 3};

/* Adds the orders of one kind that fit. */
static size_t add_forms(form_t *forms, size_t count, form_t kind, shape_t shape, shape_t stored) {
    orders_t o = all_orders(kind.axes);
    for (size_t i = 0; i < o.count && count < FORMS_MOST; i++) {
        form_t form = kind;
        memcpy(form.order, o.order[i], sizeof form.order);
        form.likely = kind.likely && o.likely[i];
        if (form.label != LABEL_PLAIN) form.likely = i == 0;
        if (form.heads) form.likely = memcmp(form.order, heads_first, sizeof heads_first) == 0;
        if (form.label == LABEL_IGNORED && i == 0) continue;
        if (fits(&form, shape, stored)) forms[count++] = form;
    }
    return count;
}

static bool counts_agree(shape_t shape, shape_t stored, bool once) {
    size_t count = shape_count(stored) * (once ? shape.dim[0] : 1);
    return count == shape_count(shape) && count > 0;
}

size_t layout_forms(form_t forms[FORMS_MOST], shape_t shape, shape_t stored, bool equal_rows) {
    size_t count = 0;
    int axes = shape.ndim < FORM_AXES ? shape.ndim : FORM_AXES;
    form_t kind = {.axes = axes, .likely = true};
    if (counts_agree(shape, stored, false)) {
        count = add_forms(forms, count, kind, shape, stored);
        kind.label = shape_equal(shape, stored) ? LABEL_IGNORED : LABEL_REVERSED;
        count = add_forms(forms, count, kind, shape, stored);
        if (axes < FORM_AXES && shape.ndim > 1 && head_width(shape, stored)) {
            kind = (form_t){.axes = axes + 1, .heads = true, .likely = true};
            count = add_forms(forms, count, kind, shape, stored);
        }
    } else if (equal_rows && shape.ndim > 0 && shape.dim[0] > 1 &&
               counts_agree(shape, stored, true)) {
        kind.once = true;
        count = add_forms(forms, count, kind, shape, stored);
    }
    return count;
}

trace_layout_t form_layout(const form_t *form, shape_t shape, shape_t stored) {
    trace_layout_t layout = {.shape = shape, .view = view_of(form, shape, stored)};
    int order[SHAPE_DIMS];
    bool repeat[SHAPE_DIMS] = {form->once};
    for (int i = 0; i < layout.view.ndim; i++) order[i] = i < form->axes ? form->order[i] : i;
    trace_layout_order(&layout, order, repeat);
    return layout;
}

/* ---- words --------------------------------------------------------------------------------------------- */

/* Of an axis of a tensor of so many. */
static char letter(int axes, bool heads, int axis) {
    static const char *const letters[] = {"", "N", "NC", "BTC", "NCHW"};
    if (heads && axis >= axes - 1) return axis == axes - 1 ? 'h' : 'd';
    return axes <= FORM_AXES ? letters[axes][axis] : (char)('a' + axis);
}

static void put(char text[FORM_TEXT], char c) {
    size_t used = strlen(text);
    if (used + 1 >= FORM_TEXT) return;
    text[used] = c;
    text[used + 1] = '\0';
}

/* Letters of the stored axes of one piece; an axis that is stored as several has a number with each. */
static void put_piece(char part[SHAPE_DIMS][FORM_TEXT], int *parts, int axes, bool heads,
                      const memory_t *m, const piece_t *p) {
    for (int s = p->stored_from; s < p->stored_to && *parts < SHAPE_DIMS; s++) {
        part[*parts][0] = '\0';
        for (int a = p->from; a < p->to; a++)
            if (m->dim[a] > 1 || p->to - p->from == 1)
                put(part[*parts], letter(axes, heads, m->axis[a]));
        if (p->from == p->to)
            put(part[*parts], '1');
        else if (p->stored_to - p->stored_from > 1)
            put(part[*parts], (char)('1' + s - p->stored_from));
        ++*parts;
    }
}

static const char *join(char text[FORM_TEXT], char part[SHAPE_DIMS][FORM_TEXT], int parts,
                        bool backwards) {
    text[0] = '\0';
    put(text, '(');
    for (int i = 0; i < parts; i++) {
        if (i) put(text, ',');
        for (const char *c = part[backwards ? parts - 1 - i : i]; *c; c++) put(text, *c);
    }
    put(text, ')');
    return text;
}

const char *form_stored_text(char text[FORM_TEXT], const form_t *form, shape_t shape,
                             shape_t stored) {
    piece_t piece[2 * SHAPE_DIMS];
    char part[SHAPE_DIMS][FORM_TEXT];
    int parts = 0;
    bool back = form->label == LABEL_REVERSED;
    shape_t view = view_of(form, shape, stored);
    memory_t m = memory_of(form, view);
    if (form->label == LABEL_IGNORED) {
        stored = (shape_t){.ndim = m.axes};
        for (int i = 0; i < m.axes; i++) stored.dim[i] = m.dim[i];
    }
    int pieces = cut(piece, back ? reversed(stored) : stored, &m);
    for (int i = 0; i < pieces; i++)
        put_piece(part, &parts, shape.ndim, form->heads, &m, &piece[i]);
    return join(text, part, parts, back);
}

const char *form_axes_text(char text[FORM_TEXT], int axes) {
    char part[SHAPE_DIMS][FORM_TEXT];
    for (int i = 0; i < axes; i++) part[i][0] = letter(axes, false, i), part[i][1] = '\0';
    return join(text, part, axes, false);
}
