/* causes_place.c - where the error sits, when nothing says where it comes from.
 *
 * "Only channels 4 to 31 are wrong" claims two things: that these are wrong and that the others are
 * right. Right means rounding of a channel's own numbers. Channels whose numbers are small have small
 * errors as well, and are no less wrong for it. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "causes/causes_hunt.h"

/* A slice is right up to so many roundings of its own numbers, and wrong from so many on. Between them
 * nobody knows, and then nothing is said. */
enum { RIGHT = 8, WRONG = 64 };

typedef enum { SLICE_RIGHT, SLICE_UNKNOWN, SLICE_WRONG } state_t;

/* Sums of squares over numbers. */
typedef struct {
    double error, size, count;
} sums_t;

static void add_number(sums_t *s, const culprit_t *c, size_t i) {
    double d = c->candidate[i] - c->expected[i];
    s->error += d * d;
    s->size += c->expected[i] * c->expected[i];
    s->count++;
}

/* The error in roundings of the slice's own numbers; 0 for none, where all numbers are 0 too. */
static double roundings(const hunt_t *h, const sums_t *s) {
    if (s->error == 0) return 0;
    double one = hunt_rounding(h, sqrt(s->size / s->count));
    return one > 0 ? sqrt(s->error / s->count) / one : HUGE_VAL;
}

static state_t state_of(const hunt_t *h, const sums_t *s) {
    double n = roundings(h, s);
    return n <= RIGHT ? SLICE_RIGHT : n >= WRONG ? SLICE_WRONG : SLICE_UNKNOWN;
}

/* Whether what is called right is so by more than chance: its numbers together, against the rest. */
static bool proven(const hunt_t *h, const sums_t *right, const sums_t *wrong) {
    double rest = fmax(roundings(h, right), 1);
    return right->count > 0 && hunt_beyond_chance(rest, roundings(h, wrong), right->count, 1);
}

/* ---- the border of an image ------------------------------------------------------------------ */

/* Whether half of the pixels along one edge are wrong: padding is not about a corner, or one number. */
static bool whole_edge(const hunt_t *h, const sums_t *pixel, size_t H, size_t W) {
    size_t top = 0, bottom = 0, left = 0, right = 0;
    for (size_t x = 0; x < W; x++) {
        top += state_of(h, &pixel[x]) == SLICE_WRONG;
        bottom += state_of(h, &pixel[(H - 1) * W + x]) == SLICE_WRONG;
    }
    for (size_t y = 0; y < H; y++) {
        left += state_of(h, &pixel[y * W]) == SLICE_WRONG;
        right += state_of(h, &pixel[y * W + W - 1]) == SLICE_WRONG;
    }
    return 2 * top >= W || 2 * bottom >= W || 2 * left >= H || 2 * right >= H;
}

void cause_border(hunt_t *h) {
    const shape_t *s = &h->c->shape;
    sums_t inside = {0}, border = {0};
    if (s->ndim != 4 || s->dim[2] < 4 || s->dim[3] < 4) return;
    size_t H = s->dim[2], W = s->dim[3], C = s->dim[0] * s->dim[1];
    sums_t *plane = (sums_t *)hunt_doubles(h, C * sizeof *plane / sizeof(double));
    sums_t *pixel = (sums_t *)hunt_doubles(h, H * W * sizeof *pixel / sizeof(double));
    memset(plane, 0, C * sizeof *plane);
    memset(pixel, 0, H * W * sizeof *pixel);
    for (size_t i = 0; i < h->c->count; i++) {
        size_t y = i / W % H, x = i % W;
        bool edge = y == 0 || x == 0 || y == H - 1 || x == W - 1;
        add_number(edge ? &border : &inside, h->c, i);
        add_number(&pixel[i % (H * W)], h->c, i);
        if (!edge) add_number(&plane[i / W / H], h->c, i);
    }
    for (size_t i = 0; i < C; i++)
        if (state_of(h, &plane[i]) != SLICE_RIGHT) return;
    if (state_of(h, &border) == SLICE_WRONG && whole_edge(h, pixel, H, W) &&
        proven(h, &inside, &border))
        hunt_say(h, "padding", "only the outermost pixels of the image are wrong");
}

/* ---- a range of an axis ---------------------------------------------------------------------- */

static const char *axis_name(int ndim, int axis) {
    static const char *const names[5][4] = {{"", "", "", ""},
                                            {"index", "", "", ""},
                                            {"sample", "column", "", ""},
                                            {"sample", "token", "channel", ""},
                                            {"sample", "channel", "row", "column"}};
    return ndim <= 4 ? names[ndim][axis] : "index";
}

/* The range [first, last] of the axis outside which all is right. False: there is none, or what is
 * inside is not wrong throughout. */
static bool wrong_range(hunt_t *h, axis_t a, size_t *first, size_t *last) {
    sums_t *slice = (sums_t *)hunt_doubles(h, a.size * sizeof *slice / sizeof(double));
    sums_t right = {0}, wrong = {0};
    memset(slice, 0, a.size * sizeof *slice);
    for (size_t i = 0; i < h->c->count; i++) add_number(&slice[i / a.inner % a.size], h->c, i);
    for (*first = 0; *first < a.size && state_of(h, &slice[*first]) == SLICE_RIGHT;) ++*first;
    for (*last = a.size; *last > *first && state_of(h, &slice[*last - 1]) == SLICE_RIGHT;) --*last;
    if (*first == *last || *last - *first == a.size) return false;
    for (size_t i = 0; i < a.size; i++) {
        bool inside = i >= *first && i < *last;
        sums_t *to = inside ? &wrong : &right;
        if (inside && state_of(h, &slice[i]) != SLICE_WRONG) return false;
        to->error += slice[i].error, to->size += slice[i].size, to->count += slice[i].count;
    }
    --*last;
    return proven(h, &right, &wrong);
}

/* What the numbers of the text's tokens look like then. */
static const char other_text[] = ", as those of another prompt are, or other tokens for this one";

void cause_localised(hunt_t *h) {
    const shape_t *s = &h->c->shape;
    char text[160] = "";
    size_t used = 0;
    bool many = false;
    for (int d = 0; d < s->ndim && used < sizeof text; d++) {
        size_t first, last;
        if (!wrong_range(h, hunt_axis(s, d), &first, &last)) continue;
        const char *name = axis_name(s->ndim, d), *comma = used ? ", " : "";
        many = many || first != last;
        if (first == last)
            used +=
                (size_t)snprintf(text + used, sizeof text - used, "%s%s %zu", comma, name, first);
        else
            used += (size_t)snprintf(text + used, sizeof text - used, "%s%ss %zu to %zu", comma,
                                     name, first, last);
    }
    if (used)
        hunt_say(h, "localised", "only %s of %s %s wrong%s", text, h->name, many ? "are" : "is",
                 text_ends(h->name, "text_model.embeddings") ? other_text : "");
}

/* ---- the text's vectors ----------------------------------------------------------------------- */

/* The first wrong token of sample b, all behind it being wrong too; T when all are right; SIZE_MAX when
 * it is not so. */
static size_t first_wrong_token(const hunt_t *h, size_t b, size_t T, size_t C) {
    size_t first = T;
    for (size_t t = 0; t < T; t++) {
        sums_t token = {0};
        for (size_t i = (b * T + t) * C; i < (b * T + t + 1) * C; i++) add_number(&token, h->c, i);
        state_t state = state_of(h, &token);
        if (state == SLICE_UNKNOWN || (state == SLICE_RIGHT && first < T)) return SIZE_MAX;
        if (state == SLICE_WRONG && first == T) first = t;
    }
    return first;
}

/* Right up to a token of each sample and wrong from there on. With the causal mask a token changes
 * itself and those behind it only. */
void cause_prompt(hunt_t *h) {
    const shape_t *s = &h->c->shape;
    if (!text_ends(h->name, "prompt_embeds") || s->ndim != 3 || s->dim[2] < 8) return;
    size_t least = SIZE_MAX, most = 0;
    for (size_t b = 0; b < s->dim[0]; b++) {
        size_t first = first_wrong_token(h, b, s->dim[1], s->dim[2]);
        if (first == SIZE_MAX) return;
        if (first == s->dim[1]) continue;
        least = first < least ? first : least;
        most = first > most ? first : most;
    }
    if (least < 1 || least >= s->dim[1]) return;
    if (least == most)
        hunt_say(h, "localised", "right before token %zu and wrong from there on%s", least,
                 other_text);
    else
        hunt_say(h, "localised",
                 "right before token %zu in one sample and before token %zu in another, wrong from "
                 "there on%s",
                 least, most, other_text);
}
