/* causes_axes.c - hypotheses about where the numbers stand: axes permuted, heads taken for width,
 * halves swapped, tensors reversed or shifted. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "causes/causes_hunt.h"

/* ---- permutations ---------------------------------------------------------------------------- */

enum { PERMUTE_DIMS = 5 };

typedef struct {
    int ndim;
    size_t dim[PERMUTE_DIMS];
} dims_t;

/* out = x with its axes in the order perm, as memory: axis 0 of the result is axis perm[0] of x. */
static void permute(double *out, const double *x, const dims_t *d, const int *perm, size_t count) {
    size_t stride[PERMUTE_DIMS], step[PERMUTE_DIMS], size[PERMUTE_DIMS], at[PERMUTE_DIMS] = {0};
    size_t offset = 0;
    stride[d->ndim - 1] = 1;
    for (int i = d->ndim - 1; i > 0; i--) stride[i - 1] = stride[i] * d->dim[i];
    for (int i = 0; i < d->ndim; i++) step[i] = stride[perm[i]], size[i] = d->dim[perm[i]];
    for (size_t n = 0; n < count; n++) {
        out[n] = x[offset];
        for (int i = d->ndim - 1; i >= 0; i--) {
            offset += step[i];
            if (++at[i] < size[i]) break;
            offset -= step[i] * size[i];
            at[i] = 0;
        }
    }
}

static void perm_text(char *text, size_t size, const int *p, int n) {
    size_t used = 0;
    for (int i = 0; i < n && used < size; i++)
        used += (size_t)snprintf(text + used, size - used, "%s%d", i ? "," : "", p[i]);
}

/* The inverse: memory that was taken for one with its axes in the order perm, and put back. */
static void permute_back(double *out, const double *x, const dims_t *d, const int *perm,
                         size_t count) {
    dims_t taken = {d->ndim, {0}};
    int inverse[PERMUTE_DIMS];
    for (int i = 0; i < d->ndim; i++) taken.dim[i] = d->dim[perm[i]], inverse[perm[i]] = i;
    permute(out, x, &taken, inverse, count);
}

static void try_permutation(hunt_t *h, const dims_t *d, const int *perm, double *guess) {
    static const int last[] = {0, 2, 3, 1};
    char text[32];
    bool to_last = d->ndim == 4;
    for (int i = 0; i < 4 && to_last; i++) to_last = perm[i] == last[i];
    const char *kind = to_last ? "nhwc" : "permuted-axes";
    perm_text(text, sizeof text, perm, d->ndim);
    permute(guess, h->c->expected, d, perm, h->c->count);
    if (to_last)
        hunt_is(h, guess, kind, "your memory is channels-last (N,H,W,C), dumped as (N,C,H,W)");
    else
        hunt_is(h, guess, kind, "your memory is the expected tensor with axes permuted to (%s)",
                text);
    permute_back(guess, h->c->expected, d, perm, h->c->count);
    if (to_last)
        hunt_is(h, guess, kind,
                "(N,C,H,W) memory is taken for channels-last (N,H,W,C): permuted once too often");
    else
        hunt_is(h, guess, kind, "the expected memory is taken for one with axes permuted to (%s)",
                text);
}

void cause_permuted(hunt_t *h) {
    const shape_t *s = &h->c->shape;
    dims_t d = {s->ndim, {0}};
    int perm[PERMUTE_DIMS];
    if (s->ndim < 2 || s->ndim > PERMUTE_DIMS) return;
    for (int i = 0; i < s->ndim; i++) d.dim[i] = s->dim[i], perm[i] = i;
    double *guess = hunt_doubles(h, h->c->count);
    while (shape_next_order(perm, d.ndim)) try_permutation(h, &d, perm, guess);
}

/* The layer's input was laid out otherwise: an image flattened to tokens as it lies in memory, or
 * images in another order. */
void cause_input_layout(hunt_t *h) {
    const culprit_t *c = h->c;
    const shape_t *s = &c->input_shape;
    if (!c->input || !c->module || s->ndim < 3 || s->ndim > 4) return;
    dims_t d = {s->ndim, {0}};
    int perm[PERMUTE_DIMS];
    for (int i = 0; i < s->ndim; i++) d.dim[i] = s->dim[i], perm[i] = i;
    double *x = hunt_doubles(h, shape_count(*s));
    while (shape_next_order(perm, d.ndim) && perm[0] == 0) {
        char text[32];
        bool plane = s->ndim == 4 && perm[1] == 1; /* height and width */
        perm_text(text, sizeof text, perm, d.ndim);
        for (int back = 0; back < 2; back++) {
            (back ? permute_back : permute)(x, c->input, &d, perm, shape_count(*s));
            const double *guess = hunt_apply(h, x);
            if (!guess) return;
            hunt_is(
                h, guess, plane ? "permuted-axes" : "nhwc",
                "the input of this layer lies in another order, its axes permuted to (%s)%s", text,
                plane ? "" : ", as (N,C,H,W) memory taken for channels-last is, or the reverse");
        }
    }
}

/* The last axis of tokens (B,T,C), or the channels of an image, seen as heads times width. */
void cause_heads_layout(hunt_t *h) {
    const shape_t *s = &h->c->shape;
    if (s->ndim < 3) return;
    bool image = s->ndim == 4, attention = strstr(h->module, "att");
    size_t C = image ? s->dim[1] : s->dim[s->ndim - 1];
    double *guess = hunt_doubles(h, h->c->count);
    for (size_t heads = 2; heads < C; heads++) {
        if (C % heads) continue;
        size_t D = C / heads, B = s->dim[0], rest = h->c->count / B / C;
        dims_t d = image ? (dims_t){4, {B, heads, D, rest}} : (dims_t){4, {B, rest, heads, D}};
        int perm[] = {0, 1, 2, 3};
        while (shape_next_order(perm, 4) && perm[0] == 0) {
            char text[32];
            perm_text(text, sizeof text, perm, 4);
            for (int back = 0; back < 2; back++) {
                (back ? permute_back : permute)(guess, h->c->expected, &d, perm, h->c->count);
                hunt_is(h, guess, attention ? "heads" : "layout",
                        "with the channels as %zu %s of %zu, your axes are permuted to (%s)", heads,
                        attention ? "heads" : "groups", D, text);
            }
        }
    }
}

/* ---- along one axis -------------------------------------------------------------------------- */

/* guess[.., i, ..] = expected[.., from(i), ..]; from -1 is zero. */
static void gather(hunt_t *h, double *guess, axis_t a, const long *from) {
    for (size_t o = 0; o < a.outer; o++)
        for (size_t i = 0; i < a.size; i++) {
            double *to = guess + (o * a.size + i) * a.inner;
            if (from[i] < 0)
                memset(to, 0, a.inner * sizeof *to);
            else
                memcpy(to, h->c->expected + (o * a.size + (size_t)from[i]) * a.inner,
                       a.inner * sizeof *to);
        }
}

static long *new_indices(hunt_t *h, size_t size) {
    return (long *)hunt_doubles(h, size * sizeof(long) / sizeof(double) + 1);
}

void cause_swapped_halves(hunt_t *h) {
    const shape_t *s = &h->c->shape;
    /* A run with guidance; what comes after guidance has no halves. */
    bool guided = h->c->ddim &&
                  (strncmp(h->name, "unet", 4) == 0 || strncmp(h->name, "text_encoder", 12) == 0 ||
                   strcmp(h->name, "prompt_embeds") == 0 || strcmp(h->name, "noise_pred") == 0);
    double *guess = hunt_doubles(h, h->c->count);
    for (int d = s->ndim - 1; d >= 0; d--) {
        axis_t a = hunt_axis(s, d);
        if (a.size < 2 || a.size % 2) continue;
        long *from = new_indices(h, a.size);
        for (size_t i = 0; i < a.size; i++) from[i] = (long)((i + a.size / 2) % a.size);
        gather(h, guess, a, from);
        if (text_ends(h->name, "time_proj"))
            hunt_is(h, guess, "swapped-halves",
                    "sines and cosines are exchanged (flip_sin_to_cos)");
        else if (d == 0)
            hunt_is(h, guess, "order", "the two halves of the batch are swapped%s",
                    guided ? ": the unconditional one comes first" : "");
        else
            hunt_is(h, guess, "swapped-halves", "the two halves of axis %d (%zu) are swapped", d,
                    a.size);
    }
}

void cause_reversed(hunt_t *h) {
    const shape_t *s = &h->c->shape;
    double *guess = hunt_doubles(h, h->c->count);
    for (int d = s->ndim - 1; d >= 0; d--) {
        axis_t a = hunt_axis(s, d);
        if (a.size < 2) continue;
        long *from = new_indices(h, a.size);
        for (size_t i = 0; i < a.size; i++) from[i] = (long)(a.size - 1 - i);
        gather(h, guess, a, from);
        hunt_is(h, guess, "reversed", "axis %d (%zu) runs backwards", d, a.size);
    }
}

void cause_shifted(hunt_t *h) {
    static const char *const fills[] = {"zeros come in", "the edge is repeated", "it wraps around"};
    const shape_t *s = &h->c->shape;
    double *guess = hunt_doubles(h, h->c->count);
    for (int d = s->ndim - 1; d >= 0; d--) {
        axis_t a = hunt_axis(s, d);
        long size = (long)a.size;
        if (size < 3) continue;
        long *from = new_indices(h, a.size);
        for (int by = -1; by <= 1; by += 2)
            for (int fill = 0; fill < 3; fill++) {
                for (long i = 0; i < size; i++) {
                    long j = i - by;
                    bool inside = j >= 0 && j < size;
                    long edge = j < 0 ? 0 : size - 1, wrapped = (j + size) % size;
                    from[i] = inside ? j : fill == 0 ? -1 : fill == 1 ? edge : wrapped;
                }
                gather(h, guess, a, from);
                hunt_is(h, guess, "shift", "axis %d (%zu) is shifted by one %s; %s", d, a.size,
                        by > 0 ? "up" : "down", fills[fill]);
            }
    }
}
