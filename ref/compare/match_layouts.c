/* match_layouts.c - in which layout each entry is its row, decided for the whole trace by its numbers.
 *
 * Entries are sorted into kinds: so many axes in the reference, so many stored, of the same shape or of
 * another. A tensor whose numbers are near the truth in some forms and far from it in others votes for
 * those. What is of another shape takes the form that its numbers speak for, else the one its kind has
 * elected: a wrong module says nothing, its neighbours do. What is of the same shape is left alone unless
 * its numbers are wrong as they stand, and then changed only with (nearly) all tensors of its kind that
 * can tell: one tensor whose axes are exchanged is a mistake, not a layout. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compare/match.h"

/* A form fits below NEAR, a tensor of a few numbers for sure below EXACT, and only then says anything;
 * forms up to TIES times the best are as good. Of tensors of the right shape the first LOOKED of a kind
 * are looked at. */
#define NEAR  0.05F
#define TIES  4
#define EXACT 1e-4F
enum { LOOKED = 64, FEW = 3, SMALL = 16 };

typedef struct {
    size_t row, entry, kind;
    shape_t shape, stored;
    bool kept, looked; /* right as it stands; its forms were tried */
    form_t *form;      /* (forms), with their scores */
    float *score;
    size_t forms;
    float best; /* NaN: says nothing */
    const form_t *chosen;
    bool by_shape; /* it was chosen by its shape alone */
} tensor_t;

typedef struct {
    form_t form;
    size_t votes, reach; /* reach: tensors of the kind whose shapes it fits */
} vote_t;

typedef struct {
    int axes, stored_axes;
    bool same;
    size_t kept, far, looked, told; /* told: votes were cast, kept apart */
    vote_t *vote;
    size_t votes, winner; /* winner: SIZE_MAX: nobody */
    bool accepted;        /* of the same shape: all are to be changed */
    form_t by_shape;      /* of another shape, where nobody tells: the likely form that fits most */
    size_t fitting;       /* so many; 0: none was looked for */
} kind_t;

typedef struct {
    match_t *m;
    tensor_t *tensor;
    kind_t *kind;
    size_t tensors, kinds;
} layouts_t;

/* ---- tensors and kinds --------------------------------------------------------------------------------- */

static size_t kind_of(layouts_t *l, shape_t shape, shape_t stored) {
    bool same = shape_equal(shape, stored);
    for (size_t i = 0; i < l->kinds; i++)
        if (l->kind[i].axes == shape.ndim && l->kind[i].stored_axes == stored.ndim &&
            l->kind[i].same == same)
            return i;
    l->kind = xrealloc(l->kind, (l->kinds + 1) * sizeof *l->kind);
    l->kind[l->kinds] =
        (kind_t){.axes = shape.ndim, .stored_axes = stored.ndim, .same = same, .winner = SIZE_MAX};
    return l->kinds++;
}

/* Axes that an order can tell apart. */
static int long_axes(shape_t shape) {
    int count = 0;
    for (int i = 0; i < shape.ndim; i++) count += shape.dim[i] > 1;
    return count;
}

static void list_tensors(layouts_t *l) {
    const match_t *m = l->m;
    l->tensor = xcalloc(m->r->rows + 1, sizeof *l->tensor);
    for (size_t i = 0; i < m->r->rows; i++) {
        if (m->source[i] == NO_ROW) continue;
        shape_t shape = m->r->row[i].shape,
                stored = trace_file_at(m->candidate, m->source[i])->shape;
        bool same = shape_equal(shape, stored);
        if (shape_count(stored) == 0 || (same && long_axes(shape) < 2)) continue;
        l->tensor[l->tensors++] = (tensor_t){.row = i,
                                             .entry = m->source[i],
                                             .kind = kind_of(l, shape, stored),
                                             .shape = shape,
                                             .stored = stored,
                                             .best = NAN};
    }
}

/* Whether the reference's rows along axis 0 are equal, but for float64's rounding. */
static bool rows_equal(const match_t *m, size_t row) {
    enum { CHUNK = 4096 };
    double a[CHUNK], b[CHUNK], most = 0, apart = 0;
    const truths_t *t = m->truths;
    shape_t shape = m->r->row[row].shape;
    size_t count = shape_count(shape), each = count / shape.dim[0];
    for (size_t first = each; first < count; first += CHUNK) {
        size_t n = count - first < CHUNK ? count - first : CHUNK;
        if (t->read(t->who, t->index[row], first, n, a, NULL) ||
            t->read(t->who, t->index[row], first - each, n, b, NULL))
            return false;
        for (size_t i = 0; i < n; i++) {
            if (!(fabs(a[i]) <= 1e300)) return false;
            most = fmax(most, fabs(a[i]));
            apart = fmax(apart, fabs(a[i] - b[i]));
        }
    }
    return apart <= ldexp(most, -40);
}

/* ---- votes --------------------------------------------------------------------------------------------- */

static void look(layouts_t *l, tensor_t *t) {
    form_t form[FORMS_MOST];
    const match_t *m = l->m;
    if (t->looked) return;
    t->looked = true;
    bool fewer = t->shape.ndim > 0 && t->shape.dim[0] > 1 &&
                 shape_count(t->stored) * t->shape.dim[0] == shape_count(t->shape);
    bool one = match_is_batch_row(m, t->shape, shape_count(t->stored));
    t->forms = layout_forms(form, t->shape, t->stored, one || (fewer && rows_equal(m, t->row)));
    if (!t->forms) return;
    t->form = xmalloc(t->forms * sizeof *t->form);
    t->score = xmalloc(t->forms * sizeof *t->score);
    memcpy(t->form, form, t->forms * sizeof *form);
    match_scores(m, t->entry, t->row, t->form, t->forms, one ? m->batch_row : NO_ROW, t->score);
    for (size_t f = 0; f < t->forms; f++)
        if (!(t->best <= t->score[f])) t->best = t->score[f];
}

static bool tells(const tensor_t *t) {
    return t->forms > 0 && t->best < NEAR;
}

static bool form_fits(const tensor_t *t, size_t f) {
    REQUIRE(t->score && f < t->forms, "form_fits: form %zu of %zu", f, t->forms);
    return t->score[f] <= TIES * t->best + 1e-12F;
}

static size_t find_form(const tensor_t *t, const form_t *form) {
    for (size_t f = 0; f < t->forms; f++)
        if (form_equal(&t->form[f], form)) return f;
    return SIZE_MAX;
}

/* Of a tensor of the right shape: its own order, which is always among its forms. */
static size_t plain_form(const tensor_t *t) {
    for (size_t f = 0; t->form && f < t->forms; f++)
        if (t->form[f].label == LABEL_PLAIN && form_is_plain(&t->form[f])) return f;
    return 0;
}

/* It is as good as any. */
static bool plain_fits(const tensor_t *t) {
    return form_fits(t, plain_form(t));
}

static void cast_vote(kind_t *k, const form_t *form) {
    for (size_t i = 0; i < k->votes; i++)
        if (form_equal(&k->vote[i].form, form)) {
            k->vote[i].votes++;
            return;
        }
    k->vote = xrealloc(k->vote, (k->votes + 1) * sizeof *k->vote);
    k->vote[k->votes++] = (vote_t){.form = *form, .votes = 1};
}

static void vote(layouts_t *l, tensor_t *t) {
    kind_t *k = &l->kind[t->kind];
    look(l, t);
    k->looked++;
    if (!tells(t)) return;
    if (k->same && plain_fits(t)) {
        t->kept = true;
        k->kept++;
        k->far--;
        return;
    }
    k->told++;
    for (size_t f = 0; f < t->forms; f++)
        if (form_fits(t, f)) cast_vote(k, &t->form[f]);
}

/* Whether the numbers that come first are right as they stand. */
static bool right_at_once(const match_t *m, const tensor_t *t) {
    sample_t candidate, truth;
    sample_entry(&candidate, m, t->entry);
    sample_truth(&truth, m, t->row);
    return sample_distance(&candidate, &truth) < 1;
}

static void hold_elections(layouts_t *l) {
    for (size_t i = 0; i < l->tensors; i++) {
        tensor_t *t = &l->tensor[i];
        kind_t *k = &l->kind[t->kind];
        t->kept = k->same && right_at_once(l->m, t);
        k->kept += t->kept;
        k->far += !t->kept;
    }
    for (size_t i = 0; i < l->tensors; i++) {
        tensor_t *t = &l->tensor[i];
        kind_t *k = &l->kind[t->kind];
        if (!t->kept && !(k->same && k->looked >= LOOKED)) vote(l, t);
    }
}

/* ---- results ------------------------------------------------------------------------------------------- */

/* Tensors that are right as they stand, and would not be in this form. */
static size_t count_against(const layouts_t *l, size_t kind, const form_t *form) {
    size_t against = 0;
    for (size_t i = 0; i < l->tensors; i++) {
        const tensor_t *t = &l->tensor[i];
        if (t->kind != kind || !t->kept) continue;
        trace_layout_t layout = form_layout(form, t->shape, t->stored);
        against += !trace_layout_is_plain(&layout);
    }
    return against;
}

/* Tensors with axes of size 1 vote for many forms, most of which do not fit their neighbours' shapes. */
static void count_reach(const layouts_t *l, size_t kind) {
    kind_t *k = &l->kind[kind];
    for (size_t i = 0; i < l->tensors; i++)
        for (size_t v = 0; l->tensor[i].kind == kind && v < k->votes; v++)
            k->vote[v].reach += find_form(&l->tensor[i], &k->vote[v].form) != SIZE_MAX;
}

static bool beats(const vote_t *v, const vote_t *w) {
    if (!w || v->votes != w->votes) return !w || v->votes > w->votes;
    if (v->reach != w->reach) return v->reach > w->reach;
    return v->form.likely && !w->form.likely;
}

static void elect(layouts_t *l, size_t kind) {
    kind_t *k = &l->kind[kind];
    if (!k->vote) return;
    count_reach(l, kind);
    for (size_t i = 0; i < k->votes; i++)
        if (beats(&k->vote[i], k->winner == SIZE_MAX ? NULL : &k->vote[k->winner])) k->winner = i;
    if (!k->same) return;
    size_t votes = k->vote[k->winner].votes;
    size_t against = count_against(l, kind, &k->vote[k->winner].form);
    k->accepted = votes >= FEW && 10 * votes >= 9 * (k->told + against * k->looked / k->far);
}

static bool is_reversed(const form_t *form) {
    for (int i = 0; i < form->axes; i++)
        if (form->order[i] != form->axes - 1 - i) return false;
    return form->label == LABEL_IGNORED;
}

/* A kind of few tensors goes with another that has the same writer: all that tell say so. */
static void elect_few(layouts_t *l) {
    bool reversed = false;
    for (size_t i = 0; i < l->kinds; i++)
        reversed |= l->kind[i].accepted && is_reversed(&l->kind[i].vote[l->kind[i].winner].form);
    for (size_t i = 0; reversed && i < l->kinds; i++) {
        kind_t *k = &l->kind[i];
        for (size_t v = 0; k->same && !k->accepted && v < k->votes; v++)
            if (k->vote[v].votes == k->told && is_reversed(&k->vote[v].form) &&
                !count_against(l, i, &k->vote[v].form))
                k->accepted = true, k->winner = v;
    }
}

static const form_t *winner_of(const kind_t *k) {
    return k->winner == SIZE_MAX ? NULL : &k->vote[k->winner].form;
}

/* The first form that is as good as the best; with `wanted` among those, this one. */
static const form_t *best_form(const tensor_t *t, const form_t *wanted) {
    size_t found = wanted ? find_form(t, wanted) : SIZE_MAX;
    if (found != SIZE_MAX && form_fits(t, found)) return &t->form[found];
    for (size_t f = 0; f < t->forms; f++)
        if (form_fits(t, f)) return &t->form[f];
    return NULL;
}

/* (Nearly) all that can tell speak for the winner. What fits another form better is a mistake then: of
 * few numbers by chance, of many because the axes of one tensor are exchanged. */
static bool is_established(const kind_t *k) {
    return k->winner != SIZE_MAX && k->told >= FEW && 10 * k->vote[k->winner].votes >= 9 * k->told;
}

static size_t count_fitting(const layouts_t *l, size_t kind, const form_t *form) {
    size_t count = 0;
    for (size_t i = 0; i < l->tensors; i++)
        count += l->tensor[i].kind == kind && find_form(&l->tensor[i], form) != SIZE_MAX;
    return count;
}

/* A small or square tensor has several likely forms: all of a kind have the same writer, so the one that
 * fits most of them, among equals the likelier. */
static void elect_by_shape(layouts_t *l, size_t kind) {
    kind_t *k = &l->kind[kind];
    for (size_t i = 0; i < l->tensors; i++)
        if (l->tensor[i].kind == kind) look(l, &l->tensor[i]);
    for (size_t i = 0; i < l->tensors; i++) {
        const tensor_t *t = &l->tensor[i];
        for (size_t f = 0; t->kind == kind && f < t->forms; f++) {
            size_t fitting = t->form[f].likely ? count_fitting(l, kind, &t->form[f]) : 0;
            if (fitting > k->fitting) k->fitting = fitting, k->by_shape = t->form[f];
        }
    }
}

static void choose_for_other_shape(const kind_t *k, tensor_t *t) {
    const form_t *winner = winner_of(k);
    size_t elected = winner ? find_form(t, winner) : SIZE_MAX;
    size_t by_shape = k->fitting ? find_form(t, &k->by_shape) : SIZE_MAX;
    if (elected != SIZE_MAX && (is_established(k) || !tells(t)))
        t->chosen = &t->form[elected];
    else if (tells(t))
        t->chosen = best_form(t, winner);
    else if (by_shape != SIZE_MAX)
        t->chosen = &t->form[by_shape], t->by_shape = true;
    else if (!k->told)
        for (size_t f = 0; f < t->forms && !t->chosen; f++)
            if (t->form[f].likely) t->chosen = &t->form[f], t->by_shape = true;
}

/* Its own order is right, and the elected form is not. */
static bool is_plain_for_sure(const tensor_t *t, size_t elected) {
    float plain = t->score[plain_form(t)], other = t->score[elected];
    if (plain < EXACT) return other > 16 * plain;
    return shape_count(t->shape) >= SMALL && tells(t) && plain_fits(t) && !form_fits(t, elected);
}

/* The elected form, unless the tensor is right as it stands. */
static void choose_elected(layouts_t *l, tensor_t *t, const form_t *form) {
    look(l, t);
    size_t elected = find_form(t, form);
    if (elected != SIZE_MAX && !is_plain_for_sure(t, elected)) t->chosen = &t->form[elected];
}

/* A square tensor in an order that shows in the shapes of its neighbours only. */
static void choose_like_neighbours(layouts_t *l, tensor_t *t) {
    const kind_t *own = &l->kind[t->kind];
    for (size_t i = 0; i < l->kinds; i++) {
        const kind_t *k = &l->kind[i];
        if (!k->same && k->axes == own->axes && k->stored_axes == own->axes && is_established(k))
            choose_elected(l, t, winner_of(k));
    }
}

static void choose_for_same_shape(layouts_t *l, tensor_t *t) {
    const kind_t *k = &l->kind[t->kind];
    if (k->accepted)
        choose_elected(l, t, winner_of(k));
    else
        choose_like_neighbours(l, t);
}

static void choose(layouts_t *l) {
    for (size_t i = 0; i < l->kinds; i++) elect(l, i);
    for (size_t i = 0; i < l->kinds; i++)
        if (!l->kind[i].same && !l->kind[i].told) elect_by_shape(l, i);
    elect_few(l);
    for (size_t i = 0; i < l->tensors; i++) {
        tensor_t *t = &l->tensor[i];
        if (l->kind[t->kind].same) {
            choose_for_same_shape(l, t);
        } else {
            look(l, t);
            choose_for_other_shape(&l->kind[t->kind], t);
        }
        if (!t->chosen) continue;
        trace_layout_t layout = form_layout(t->chosen, t->shape, t->stored);
        trace_file_set_layout(l->m->candidate, t->entry, &layout);
        if (!t->chosen->once || !match_is_batch_row(l->m, t->shape, shape_count(t->stored)))
            continue;
        l->m->r->row[t->row].one_row = true;
        l->m->r->row[t->row].batch_row = l->m->batch_row;
    }
}

/* ---- words --------------------------------------------------------------------------------------------- */

/* Tensors of one form and kind, and the one with the most axes to show. */
typedef struct {
    const tensor_t *example;
    size_t count;
} change_t;

static const char *plural(size_t n) {
    return n == 1 ? "" : "s";
}

static char *change_text(const match_t *m, const change_t *c) {
    char theirs[FORM_TEXT], ours[FORM_TEXT];
    const tensor_t *t = c->example;
    const char *were = c->count == 1 ? "was" : "were", *name = m->r->row[t->row].name;
    form_axes_text(ours, t->shape.ndim);
    form_stored_text(theirs, t->chosen, t->shape, t->stored);
    if (t->chosen->once && !m->r->row[t->row].one_row)
        return xasprintf(
            "layout: %zu tap%s one row where the reference has %zu equal ones, and %s read as all "
            "of them: '%.120s'",
            c->count, c->count == 1 ? " has" : "s have", t->shape.dim[0], were, name);
    bool tokens = strstr(theirs, "HW,C") != NULL;
    const char *how = tokens                               ? "as tokens "
                      : t->chosen->label == LABEL_REVERSED ? "with the innermost axis first, as "
                                                           : "as ";
    return xasprintf(
        "layout: %zu tap%s stored %s%s and %s read as %s%s%s: '%.120s'", c->count,
        c->count == 1 ? " is" : "s are", how, theirs, were, tokens ? "images " : "", ours,
        t->by_shape ? ", by the shape alone, since the numbers fit in no order" : "", name);
}

/* What ignored the strides: one sentence, with an order for each number of axes. */
static void note_writer(const match_t *m, const change_t *change, size_t changes) {
    char orders[4 * FORM_TEXT] = "", text[FORM_TEXT];
    size_t count = 0;
    for (size_t i = 0; i < changes; i++) {
        const tensor_t *t = change[i].example;
        if (t->chosen->label != LABEL_IGNORED) continue;
        size_t used = strlen(orders);
        snprintf(orders + used, sizeof orders - used, "%s%s", used ? ", " : "",
                 form_stored_text(text, t->chosen, t->shape, t->stored));
        count += change[i].count;
    }
    if (count)
        compare_note(
            m->r,
            xasprintf("layout: the numbers of %zu tensor%s do not lie as the shape says, but in "
                      "the order of memory, %s: the writer, not the port, ignored the strides. "
                      "(safetensors' NumPy writer does so with arrays that are not contiguous; "
                      "save numpy.ascontiguousarray of them.) They were read in that order",
                      count, plural(count), orders));
}

static bool same_change(const layouts_t *l, const tensor_t *a, const tensor_t *b) {
    const kind_t *one = &l->kind[a->kind], *other = &l->kind[b->kind];
    return one->axes == other->axes && one->stored_axes == other->stored_axes &&
           a->by_shape == b->by_shape && form_equal(a->chosen, b->chosen);
}

/* In its own order, whatever of axis 0 is there. */
static bool is_plain(const form_t *form) {
    return form->label == LABEL_PLAIN && !form->heads && form_is_plain(form);
}

static void note_changes(const layouts_t *l) {
    const match_t *m = l->m;
    change_t *change = xcalloc(l->tensors + 1, sizeof *change);
    size_t changes = 0;
    for (size_t i = 0; i < l->tensors; i++) {
        const tensor_t *t = &l->tensor[i];
        size_t c = 0;
        if (!t->chosen || (m->r->row[t->row].one_row && is_plain(t->chosen))) continue;
        while (c < changes && !same_change(l, change[c].example, t)) c++;
        if (c == changes) change[changes++].example = t;
        change[c].count++;
        if (long_axes(t->shape) > long_axes(change[c].example->shape)) change[c].example = t;
    }
    for (size_t c = 0; c < changes; c++)
        if (change[c].example->chosen->label != LABEL_IGNORED)
            compare_note(m->r, change_text(m, &change[c]));
    note_writer(m, change, changes);
    free(change);
}

/* ---- the whole ----------------------------------------------------------------------------------------- */

void match_layouts(match_t *m) {
    layouts_t l = {.m = m};
    list_tensors(&l);
    hold_elections(&l);
    choose(&l);
    note_changes(&l);
    for (size_t i = 0; i < l.tensors; i++) {
        free(l.tensor[i].form);
        free(l.tensor[i].score);
    }
    for (size_t i = 0; i < l.kinds; i++) free(l.kind[i].vote);
    free(l.tensor);
    free(l.kind);
}
