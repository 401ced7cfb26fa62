/* causes_text.c - token embeddings: padding and positions; several text encoders side by side. */
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

/* ---- text encoders side by side -------------------------------------------------------------- */

/* [first | second] -> [second | first], the first being any number of channels. */
static void try_exchanged(hunt_t *h, size_t C) {
    double *guess = hunt_doubles(h, h->c->count);
    for (size_t first = 1; first < C; first++) {
        for (size_t i = 0; i < h->c->count; i++)
            guess[i] = h->c->expected[i - i % C + (i % C + first) % C];
        hunt_try_chosen(
            h, guess, (double)C, "swapped-halves",
            "the last %zu channels stand in front of the first %zu, as when the second text encoder's "
            "vectors come first",
            C - first, first);
    }
}

/* out (rows,n) = each row of x (rows,C), channels first .. first + n, normalised. */
static void normalise_rows(double *out, const double *x, size_t rows, size_t C, size_t first,
                           size_t n) {
    for (size_t r = 0; r < rows; r++) {
        const double *row = x + r * C + first;
        double mean = 0, square = 0;
        for (size_t i = 0; i < n; i++) mean += row[i] / (double)n;
        for (size_t i = 0; i < n; i++) square += (row[i] - mean) * (row[i] - mean) / (double)n;
        for (size_t i = 0; i < n; i++) out[r * n + i] = (row[i] - mean) / sqrt(square + 1e-5);
    }
}

/* y ~ gain x + offset of n pairs, `step` numbers apart. */
static void fit_line(const double *x, const double *y, size_t n, size_t step_x, size_t step_y,
                     double *gain, double *offset) {
    double mx = 0, my = 0, xx = 0, xy = 0;
    for (size_t i = 0; i < n; i++) mx += x[i * step_x] / (double)n, my += y[i * step_y] / (double)n;
    for (size_t i = 0; i < n; i++) {
        xx += (x[i * step_x] - mx) * (x[i * step_x] - mx);
        xy += (x[i * step_x] - mx) * (y[i * step_y] - my);
    }
    *gain = xx > 0 ? xy / xx : 0;
    *offset = my - *gain * mx;
}

/* The channels of one encoder went through its final LayerNorm, whose weights are not known: they are fitted.
 * Rows of zeros, of a negative prompt that is not given, stay. */
static void try_normalised(hunt_t *h, size_t first, size_t n, size_t C) {
    size_t rows = 0, all = h->c->count / C;
    double *guess = hunt_doubles(h, h->c->count), *x = hunt_doubles(h, h->c->count);
    double *y = hunt_doubles(h, h->c->count), *norm = hunt_doubles(h, all * n), gain, offset;
    size_t *from = (size_t *)hunt_doubles(h, all);
    for (size_t r = 0; r < all; r++) {
        bool zero = true;
        for (size_t c = 0; c < C && zero; c++) zero = h->c->expected[r * C + c] == 0;
        if (zero) continue;
        memcpy(x + rows * C, h->c->expected + r * C, C * sizeof *x);
        memcpy(y + rows * C, h->c->candidate + r * C, C * sizeof *y);
        from[rows++] = r;
    }
    if (rows < 16) return;
    normalise_rows(norm, x, rows, C, first, n);
    memcpy(guess, h->c->expected, h->c->count * sizeof *guess);
    for (size_t c = 0; c < n; c++) {
        fit_line(norm + c, y + first + c, rows, n, C, &gain, &offset);
        for (size_t r = 0; r < rows; r++)
            guess[from[r] * C + first + c] = gain * norm[r * n + c] + offset;
    }
    hunt_fits(
        h, guess, 2 * n, "norm-extra",
        "channels %zu to %zu are the expected ones through a LayerNorm: the final one of a text "
        "encoder whose states are due without it",
        first, first + n - 1);
}

/* A text that is due as zeros was encoded, or the reverse. Its first token has the vector of every text's. */
static void try_zeros(hunt_t *h, size_t B, size_t T, size_t C) {
    size_t n = T * C, other = 0, off = B;
    for (size_t b = 0; b < B; b++) {
        bool due = true, is = true;
        for (size_t i = b * n; i < (b + 1) * n; i++) {
            due = due && h->c->expected[i] == 0;
            is = is && h->c->candidate[i] == 0;
        }
        if (due != is)
            off = off == B && due ? b : B + 1;
        else if (!due)
            other = b;
    }
    if (off >= B || other == off) return;
    double *guess = hunt_doubles(h, h->c->count);
    memcpy(guess, h->c->expected, h->c->count * sizeof *guess);
    memcpy(guess + off * n, h->c->candidate + off * n, n * sizeof *guess);
    if (!hunt_same(h, guess, h->c->candidate, h->c->count)) return;
    if (!hunt_same(h, guess + off * n, h->c->candidate + other * n, C)) return;
    hunt_say(
        h, "prompt",
        "text %zu is due as zeros, as a negative prompt that is not given is here; yours is an encoded "
        "text: its first token has the vector that every text's has",
        off + 1);
}

void cause_encoders(hunt_t *h) {
    const shape_t *s = &h->c->shape;
    if (!text_ends(h->name, "prompt_embeds") || s->ndim != 3 || s->dim[2] < 8) return;
    size_t C = s->dim[2], first = 0, last = C;
    try_exchanged(h, C);
    try_zeros(h, s->dim[0], s->dim[1], C);
    if (h->best.accepted) return;
    double *apart = hunt_doubles(h, C);
    memset(apart, 0, C * sizeof *apart);
    for (size_t i = 0; i < h->c->count; i++)
        apart[i % C] = fmax(apart[i % C], fabs(h->c->candidate[i] - h->c->expected[i]));
    while (first < C && apart[first] <= h->tolerance) first++;
    while (last > first && apart[last - 1] <= h->tolerance) last--;
    if (last - first >= 4) try_normalised(h, first, last - first, C);
}
