/* causes_text.c - token embeddings: padding and positions. */
#include <math.h>
#include <string.h>

#include "causes/causes_hunt.h"

/* ---- token embeddings ------------------------------------------------------------------------ */

/* The same vector in the place of the last tokens of each sample, and right before them. */
static void try_padding(hunt_t *h, const double *delta, size_t B, size_t T, size_t C) {
    double *spread = hunt_doubles(h, h->c->count), *mean = hunt_doubles(h, C);
    size_t wrong = 0;
    memset(mean, 0, C * sizeof *mean);
    memset(spread, 0, h->c->count * sizeof *spread);
    size_t *first = (size_t *)hunt_doubles(h, B);
    for (size_t b = 0; b < B; b++) {
        for (first[b] = 0; first[b] < T; first[b]++) {
            double sum = 0;
            for (size_t c = 0; c < C; c++) sum += fabs(delta[(b * T + first[b]) * C + c]);
            if (sum > h->tolerance * (double)C) break;
        }
        for (size_t t = first[b]; t < T; t++, wrong++)
            for (size_t c = 0; c < C; c++) mean[c] += delta[(b * T + t) * C + c];
    }
    if (wrong < 2 || wrong == B * T) return;
    for (size_t b = 0; b < B; b++)
        for (size_t t = first[b]; t < T; t++)
            for (size_t c = 0; c < C; c++) spread[(b * T + t) * C + c] = mean[c] / (double)wrong;
    for (size_t i = 0; i < h->c->count; i++) spread[i] += h->c->expected[i];
    hunt_fits(
        h, spread, C, "padding",
        "the last tokens (from %zu on in the first sample) are all off by the same vector, as "
        "with another id for padding",
        first[0]);
}

/* Wrong positions at which the samples have other tokens: where they have the same one, the same error
 * tells nothing. */
static size_t differing_positions(const hunt_t *h, size_t B, size_t T, size_t C) {
    size_t count = 0;
    for (size_t t = 0; t < T; t++) {
        double apart = 0, wrong = 0;
        for (size_t i = t * C; i < (t + 1) * C; i++) {
            double e = h->c->expected[i];
            wrong = fmax(wrong, fabs(h->c->candidate[i] - e));
            for (size_t b = 1; b < B; b++)
                apart = fmax(apart, fabs(h->c->expected[b * T * C + i] - e));
        }
        count += apart > 1e-3 * h->scale && wrong > h->tolerance;
    }
    return count;
}

void cause_embeddings(hunt_t *h) {
    const shape_t *s = &h->c->shape;
    if (!text_ends(h->name, "text_model.embeddings") || s->ndim != 3) return;
    size_t B = s->dim[0], T = s->dim[1], C = s->dim[2], n = h->c->count;
    double *delta = hunt_doubles(h, n), *mean = hunt_doubles(h, T * C);
    for (size_t i = 0; i < n; i++) delta[i] = h->c->candidate[i] - h->c->expected[i];
    try_padding(h, delta, B, T, C);
    if (B < 2) return;
    memset(mean, 0, T * C * sizeof *mean);
    for (size_t i = 0; i < n; i++) mean[i % (T * C)] += delta[i] / (double)B;
    double *guess = hunt_doubles(h, n);
    for (size_t i = 0; i < n; i++) guess[i] = h->c->expected[i] + mean[i % (T * C)];
    if (differing_positions(h, B, T, C) >= 2)
        hunt_fits(h, guess, T * C, "shift",
                  "each position is off by a vector of its own, the same in every sample, as with "
                  "other position embeddings");
}
