/* slice.c - see slice.h. */
#include "trace/slice.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "io/file.h"

slice_t slice_whole(shape_t shape) {
    slice_t s = {.source = shape, .shape = shape};
    for (int i = 0; i < shape.ndim; i++) s.range[i] = (slice_range_t){0, 1, shape.dim[i], false};
    return s;
}

/* ---- text to ranges ------------------------------------------------------------------------------- */

typedef enum { ITEM_PLACE, ITEM_RANGE, ITEM_REST } item_kind_t;

typedef struct {
    item_kind_t kind;
    bool has[3]; /* start (or the place), stop, step */
    long long value[3];
} item_t;

static const char *skip_blanks(const char *at) {
    return at + strspn(at, " ");
}

/* A whole number, if one stands here. -1: one that no dimension has. */
static int take_number(const char **at, bool *has, long long *value) {
    char *end;
    *at = skip_blanks(*at);
    *has = false;
    if (!strchr("+-0123456789", **at) || !**at) return 0;
    errno = 0;
    *value = strtoll(*at, &end, 10);
    *has = end > *at;
    *at = skip_blanks(end);
    return errno || !*has ? -1 : 0;
}

/* One item, up to the ',' or ']' after it. */
static int take_item(const char **at, item_t *item) {
    *item = (item_t){.kind = ITEM_PLACE};
    *at = skip_blanks(*at);
    if (strncmp(*at, "...", 3) == 0) {
        item->kind = ITEM_REST;
        *at = skip_blanks(*at + 3);
    } else {
        for (int i = 0;; i++) {
            if (take_number(at, &item->has[i], &item->value[i])) return -1;
            if (**at != ':' || i == 2) break;
            item->kind = ITEM_RANGE;
            ++*at;
        }
        if (item->kind == ITEM_PLACE && !item->has[0]) return -1;
    }
    return **at == ',' || **at == ']' ? 0 : -1;
}

enum { ITEMS_MOST = SHAPE_DIMS + 1 };

static int refuse(const char *text, err_t *err) {
    char shown[SHOWN_TEXT];
    return err_set(err,
                   "%s is no index; one is written as in Python: [0, :, -3:, ::2], with '...' for "
                   "the dimensions in between",
                   text_shown(shown, text));
}

/* The items between the brackets; count, or -1 and err. Afterwards the text is fit for a message. */
static int take_items(item_t item[ITEMS_MOST], const char *text, err_t *err) {
    int count = 0;
    const char *at = text + 1;
    if (*text != '[') return refuse(text, err);
    do {
        if (count == ITEMS_MOST) return refuse(text, err);
        if (take_item(&at, &item[count++])) return refuse(text, err);
    } while (*at++ == ',');
    return *at ? refuse(text, err) : count;
}

/* Where a bound of a range lies: from the end if negative, and within. */
static size_t within(long long bound, size_t size) {
    if (bound < 0) return (unsigned long long)-(bound + 1) >= size ? 0 : size + (size_t)bound;
    return (unsigned long long)bound > size ? size : (size_t)bound;
}

static int set_place(slice_range_t *range, long long place, size_t size) {
    bool inside =
        place < 0 ? (unsigned long long)-(place + 1) < size : (unsigned long long)place < size;
    if (!inside) return -1;
    *range = (slice_range_t){place < 0 ? size + (size_t)place : (size_t)place, 1, 1, true};
    return 0;
}

static void set_range(slice_range_t *range, const item_t *item, size_t size) {
    size_t start = item->has[0] ? within(item->value[0], size) : 0;
    size_t stop = item->has[1] ? within(item->value[1], size) : size;
    size_t step = item->has[2] ? (size_t)item->value[2] : 1;
    *range = (slice_range_t){start, step, stop > start ? (stop - start - 1) / step + 1 : 0, false};
}

static int set_dimension(slice_t *s, int d, const item_t *item, const char *text, err_t *err) {
    char shape[SHAPE_TEXT];
    size_t size = s->source.dim[d];
    if (item->kind == ITEM_RANGE && item->has[2] && item->value[2] < 1)
        return err_set(err, "%s: a step of %lld; steps are 1 or more", text, item->value[2]);
    if (item->kind == ITEM_RANGE)
        set_range(&s->range[d], item, size);
    else if (set_place(&s->range[d], item->value[0], size))
        return err_set(err, "%s: dimension %d has %zu places, not a place %lld; the shape is %s",
                       text, d, size, item->value[0], shape_text(shape, s->source));
    return 0;
}

int slice_parse(slice_t *slice, const char *text, shape_t shape, err_t *err) {
    item_t item[ITEMS_MOST];
    char shown[SHAPE_TEXT];
    int count = take_items(item, text, err), rests = 0, dim = 0;
    if (count < 0) return -1;
    for (int i = 0; i < count; i++) rests += item[i].kind == ITEM_REST;
    if (rests > 1) return err_set(err, "%s: more than one '...'", text);
    if (count - rests > shape.ndim)
        return err_set(err, "%s: %d dimensions; the shape is %s", text, count - rests,
                       shape_text(shown, shape));
    *slice = slice_whole(shape);
    for (int i = 0; i < count; i++) {
        if (item[i].kind == ITEM_REST)
            dim += shape.ndim - (count - 1);
        else if (set_dimension(slice, dim++, &item[i], text, err))
            return -1;
    }
    slice->shape.ndim = 0;
    for (int i = 0; i < shape.ndim; i++)
        if (!slice->range[i].dropped) slice->shape.dim[slice->shape.ndim++] = slice->range[i].count;
    return 0;
}

/* ---- numbers -------------------------------------------------------------------------------------- */

/* Numbers of the result that lie side by side in the tensor: a run, from place *at of it on. */
static size_t run_from(const slice_t *s, size_t number, size_t *at) {
    size_t run = 1, weight = 1;
    bool whole = true; /* all dimensions after this one are taken whole */
    *at = 0;
    for (int d = s->source.ndim - 1; d >= 0; d--) {
        const slice_range_t *r = &s->range[d];
        size_t place = number % r->count;
        number /= r->count;
        *at += (r->start + place * r->step) * weight;
        /* From here to the end of this dimension, less what of the inner ones is behind us. */
        if (whole && r->step == 1) run = (r->count - place) * weight - (*at % weight);
        whole = whole && r->step == 1 && r->count == s->source.dim[d];
        weight *= s->source.dim[d];
    }
    return run;
}

int slice_read(trace_file_t *trace, size_t index, const slice_t *s, size_t first, size_t count,
               double *out, err_t *err) {
    REQUIRE(shape_equal(trace_file_at(trace, index)->shape, s->source),
            "slice_read: a slice of another shape");
    for (size_t done = 0, n, at; done < count; done += n) {
        n = run_from(s, first + done, &at);
        if (n > count - done) n = count - done;
        if (trace_file_read(trace, index, at, n, out + done, err)) return -1;
    }
    return 0;
}
