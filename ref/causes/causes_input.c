/* causes_input.c - another tensor goes into the layer: an earlier one of the candidate's, another token of
 * the text, the parts of an input in another order or one of them left out. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "causes/causes_hunt.h"
#include "core/fmath.h"
#include "core/tap_name.h"

/* The layer on x, when all of it is the culprit: hunt_apply also where its right input is not known. */
static const double *apply(hunt_t *h, const double *x, shape_t shape) {
    culprit_t known = *h->c;
    const culprit_t *was = h->c;
    if (!known.module) known.module = known.layer;
    known.input = x, known.input_shape = shape;
    h->c = &known;
    const double *y = hunt_apply(h, x);
    h->c = was;
    return y;
}

/* ---- an earlier tensor ----------------------------------------------------------------------------- */

/* Of the culprit's step, no part of a layer, and of a shape that the layer takes. */
static bool may_go_in(const hunt_t *h, const char *name) {
    tap_name_t tap = tap_name(name);
    size_t prefix = (size_t)(h->name - h->c->name);
    return !tap.is_mole && !tap.is_input && (size_t)(tap.name - name) == prefix &&
           strncmp(name, h->c->name, prefix) == 0 && strncmp(tap.name, h->name, 4) == 0;
}

static bool fits(const hunt_t *h, shape_t shape) {
    const module_t *m = h->c->layer;
    const shape_t *s = &h->c->shape;
    bool image = s->ndim == 4;
    if (m->kind == MODULE_GROUP_NORM || m->kind == MODULE_LAYER_NORM) return shape_equal(shape, *s);
    if (m->kind != MODULE_LINEAR || shape.ndim != s->ndim || shape.dim[0] != s->dim[0])
        return false;
    for (int d = 1; d < s->ndim; d++) {
        size_t wanted = d == (image ? 1 : s->ndim - 1) ? m->as.linear->in : s->dim[d];
        if (shape.dim[d] != wanted) return false;
    }
    return true;
}

enum { MOST = 96 };

/* The last of the taps that may go in, the nearest last, in a ring. Returns how many there are in all. */
static size_t last_taps(hunt_t *h, const char *name[MOST]) {
    size_t found = 0;
    const char *next;
    for (size_t i = 0; h->c->earlier && (next = h->c->earlier(h->c->context, i)) != NULL; i++)
        if (may_go_in(h, next)) name[found++ % MOST] = next;
    return found;
}

/* What stands in the candidate's trace here stands there before. */
void cause_copied(hunt_t *h) {
    const char *name[MOST];
    size_t found = last_taps(h, name), tried = found < MOST ? found : MOST;
    if (*h->part) return;
    for (size_t i = 1; i <= tried && !h->best.accepted; i++) {
        const char *other = name[(found - i) % MOST] + (h->name - h->c->name);
        shape_t shape;
        const double *x = hunt_tap(h, other, &shape);
        if (x && shape_equal(shape, h->c->shape))
            hunt_try_chosen(h, x, (double)tried, "skipped",
                            "your tensor is that of your %s: what stands between is left out",
                            other);
    }
}

void cause_other_input(hunt_t *h) {
    const char *name[MOST];
    if (!h->c->layer || h->c->layer->kind == MODULE_CONV) return;
    size_t found = last_taps(h, name), tried = found < MOST ? found : MOST;
    for (size_t i = 1; i <= tried && !h->best.accepted; i++) {
        const char *other = name[(found - i) % MOST] + (h->name - h->c->name);
        shape_t shape;
        const double *x = hunt_tap(h, other, &shape);
        const double *guess = x && fits(h, shape) ? apply(h, x, shape) : NULL;
        if (guess)
            hunt_try_chosen(h, guess, (double)tried, "input",
                            "the layer is given your %s; another tensor is due", other);
    }
}

/* ---- the pooled text ------------------------------------------------------------------------------- */

/* Of the rows (T,N) the one nearest to y (N). */
static size_t nearest_row(const double *rows, const double *y, size_t T, size_t N) {
    size_t best = 0;
    double least = HUGE_VAL;
    for (size_t t = 0; t < T; t++) {
        double sum = 0;
        for (size_t n = 0; n < N; n++) sum += (rows[t * N + n] - y[n]) * (rows[t * N + n] - y[n]);
        if (sum < least) least = sum, best = t;
    }
    return best;
}

/* x (B,T,K): the projection of one token of each text. */
static void try_rows(hunt_t *h, const linear_t *l, const double *x, shape_t shape,
                     bool normalised) {
    size_t B = shape.dim[0], T = shape.dim[1], N = l->out, first[2] = {0};
    if (shape.ndim != 3 || shape.dim[2] != l->in || B * N != h->c->count) return;
    const double *y = hunt_linear(h, x, l->weight, l->bias, B * T, l->in, N);
    double *guess = hunt_doubles(h, h->c->count);
    bool last = true;
    for (size_t b = 0; b < B; b++) {
        const double *rows = y + b * T * N;
        size_t t = nearest_row(rows, h->c->candidate + b * N, T, N);
        memcpy(guess + b * N, rows + t * N, N * sizeof *guess);
        last = last && t == T - 1;
        if (b == 0) first[0] = t, first[1] = nearest_row(rows, h->c->expected, T, N);
    }
    double tries = 2;
    for (size_t b = 0; b < B; b++) tries *= (double)T;
    if (!normalised)
        hunt_try_chosen(
            h, guess, tries, "norm-missing",
            "the pooled vector is taken in front of the final LayerNorm, of token %zu in the "
            "first text",
            first[0]);
    else
        hunt_try_chosen(
            h, guess, tries, "shift",
            "the pooled vector is that of %s (token %zu of the first text); the end token is due "
            "(token %zu)",
            last            ? "the last token"
            : first[0] == 0 ? "the first token"
                            : "another token",
            first[0], first[1]);
}

void cause_pooled(hunt_t *h) {
    const module_t *m = h->c->layer;
    char name[512];
    shape_t shape;
    if (!m || m->kind != MODULE_LINEAR || *h->part || !text_ends(h->module, ".text_projection"))
        return;
    const double *x = hunt_neighbour(h, "text_projection", "text_model.final_layer_norm", &shape);
    if (x) try_rows(h, m->as.linear, x, shape, true);
    for (int i = 63; i >= 0; i--) {
        snprintf(name, sizeof name, "text_model.encoder.layers.%d", i);
        x = hunt_neighbour(h, "text_projection", name, &shape);
        if (!x) continue;
        try_rows(h, m->as.linear, x, shape, false);
        return;
    }
}

/* ---- XL's added embedding -------------------------------------------------------------------------- */

/* [pooled | numbers] is what goes in: the parts exchanged, and each left out. */
static void try_added_parts(hunt_t *h) {
    const culprit_t *c = h->c;
    shape_t shape;
    const double *numbers = hunt_tap(h, "unet.add_time_proj", &shape);
    if (!numbers || !c->input || c->input_shape.ndim != 2) return;
    size_t B = c->input_shape.dim[0], K = c->input_shape.dim[1], own = shape_count(shape) / B;
    if (own >= K) return;
    double *turned = hunt_doubles(h, B * K), *bare = hunt_doubles(h, B * K);
    double *alone = hunt_doubles(h, B * K);
    for (size_t i = 0; i < B * K; i++) {
        size_t k = i % K, at = k < own ? k + K - own : k - own;
        turned[i] = c->input[i - k + at];
        bare[i] = k < K - own ? c->input[i] : 0;
        alone[i] = k < K - own ? 0 : c->input[i];
    }
    const double *guess = apply(h, turned, c->input_shape);
    if (guess)
        hunt_try(h, guess, "swapped-halves",
                 "the embedded numbers stand in front of the pooled text; they belong behind it");
    if ((guess = apply(h, bare, c->input_shape)))
        hunt_try(h, guess, "input", "zeros stand for the embedded numbers of sizes and corner");
    if ((guess = apply(h, alone, c->input_shape)))
        hunt_try(h, guess, "input", "zeros stand for the pooled text");
}

/* silu(timestep's + added embedding) goes into the ResNets' projections. */
static void try_sum_parts(hunt_t *h) {
    static const char *const texts[] = {
        "the added embedding, of the pooled text and the sizes, is not added to the timestep's",
        "the timestep's embedding is left out: the added one stands alone"};
    shape_t shape[2];
    const double *part[2] = {hunt_tap(h, "unet.time_embedding", &shape[0]),
                             hunt_tap(h, "unet.add_embedding", &shape[1])};
    if (!part[0] || !part[1]) return;
    for (int i = 0; i < 2; i++) {
        size_t count = shape_count(shape[i]);
        double *x = hunt_doubles(h, count);
        for (size_t j = 0; j < count; j++) x[j] = part[i][j] * fmath_sigmoid(part[i][j]);
        const double *guess = apply(h, x, shape[i]);
        if (guess) hunt_try(h, guess, "input", "%s", texts[i]);
    }
}

void cause_added_input(hunt_t *h) {
    if (!h->c->layer || *h->part) return;
    if (text_ends(h->module, "unet.add_embedding.linear_1")) try_added_parts(h);
    if (text_ends(h->module, ".time_emb_proj")) try_sum_parts(h);
}
