/* causes_judge.c - see causes.h: when a prediction is believed.
 *
 * With d = rms(candidate - expected), r = rms(candidate - prediction) and one rounding e:
 *
 *   size    r <= 32 e and r <= d / 100; or r <= 4 e and r <= d / 8
 *   chance  a difference that n independent numbers carry comes as near as r to a prediction by chance
 *           about once in (d / r)^n: at most once in 10^5 is demanded. A gate of two numbers, or one
 *           quiet group of a norm, needs a closer fit than an image. Fitted numbers are taken off n.
 *   places  the prediction holds in every slice of every axis: what is left in a slice is an eighth of
 *           what is wrong or predicted there, or rounding of the slice's own numbers. A sentence about
 *           a whole tensor is not carried by its large channels alone.
 *
 * A fitted gain or offset besides needs d >= 64 e: what sums in another order are off by looks like a
 * gain too, where one error is shared by a group of numbers. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "causes/causes_hunt.h"
#include "core/fmath.h"

enum { PART_LEAST = 8, PART = 20, CLOSE = 8, FAR = 64 };

double hunt_rounding(const hunt_t *h, double rms) {
    double one = h->tolerance / CAUSE_ROUNDINGS;
    return h->scale > 0 ? one * rms / h->scale : one;
}

bool hunt_same(const hunt_t *h, const double *a, const double *b, size_t count) {
    double sum = 0;
    for (size_t i = 0; i < count; i++) sum += (a[i] - b[i]) * (a[i] - b[i]);
    return count > 0 && sqrt(sum / (double)count) <= h->tolerance;
}

bool hunt_beyond_chance(double rest, double wrong, double n, double tries) {
    if (!(wrong > rest)) return false;
    return rest <= 0 || n * fmath_log(wrong / rest) >= fmath_log(1e5 * tries);
}

const char *hunt_number(const hunt_t *h, char text[HUNT_NUMBER], double x, double other) {
    int digits = 6;
    double apart = fabs(x - other), size = fabs(x), step = 1e-4 * size;
    bool known = apart > h->tolerance * (h->scale > 0 ? size / h->scale : 1);
    while (known && digits < 17 && apart < step) {
        step /= 10;
        digits++;
    }
    snprintf(text, HUNT_NUMBER, "%.*g", digits, x);
    return text;
}

/* ---- size ------------------------------------------------------------------------------------ */

/* rms(candidate - guess), or HUGE_VAL as soon as it is beyond an eighth of the difference. */
static double remaining(const hunt_t *h, const double *guess) {
    size_t n = h->c->count;
    double most = h->difference * h->difference / (CLOSE * CLOSE) * (double)n, sum = 0;
    for (size_t i = 0; i < n; i++) {
        double d = h->c->candidate[i] - guess[i];
        sum += d * d;
        if (!(sum <= most)) return HUGE_VAL;
    }
    return sqrt(sum / (double)n);
}

static bool size_explains(const hunt_t *h, double rest) {
    double limit = h->tolerance;
    return (rest <= limit && rest <= h->difference / 100) ||
           (rest <= limit / 8 && rest <= h->difference / CLOSE);
}

/* ---- chance ---------------------------------------------------------------------------------- */

/* How many blocks of numbers carry the difference: with s the squared difference of each,
 * (sum s)^2 / sum s^2. */
static double carriers(const hunt_t *h) {
    const culprit_t *c = h->c;
    double sum = 0, square = 0;
    for (size_t first = 0; first < c->count; first += h->block) {
        double s = 0;
        for (size_t i = first; i < first + h->block && i < c->count; i++) {
            double d = (c->candidate[i] - c->expected[i]) / h->difference;
            s += d * d;
        }
        sum += s;
        square += s * s;
    }
    return square > 0 ? sum * sum / square : 0;
}

/* How free a prediction was: numbers fitted to the candidate, predictions of which it is the best. */
typedef struct {
    size_t parameters;
    double tries;
} freedom_t;

static bool beyond_chance(const hunt_t *h, double rest, freedom_t free) {
    double n = carriers(h), p = (double)free.parameters;
    double blocks = (double)h->c->count / (double)h->block;
    n = free.parameters > 1 ? n * (1 - p / blocks)
                            : n - p; /* several: each fits numbers of its own */
    return hunt_beyond_chance(fmax(rest, h->tolerance / CAUSE_ROUNDINGS), h->difference, n,
                              free.tries);
}

/* ---- places ---------------------------------------------------------------------------------- */

axis_t hunt_axis(const shape_t *s, int axis) {
    axis_t a = {1, s->dim[axis], 1};
    for (int i = 0; i < axis; i++) a.outer *= s->dim[i];
    for (int i = axis + 1; i < s->ndim; i++) a.inner *= s->dim[i];
    return a;
}

/* Sums of squares in one slice: what the guess leaves, what is wrong, what the guess changes, how
 * large the numbers are. */
typedef struct {
    double left, wrong, changed, expected, candidate;
} slice_t;

static bool slice_holds(const hunt_t *h, const slice_t *s, double count) {
    double left = sqrt(s->left / count), one = h->tolerance / CAUSE_ROUNDINGS;
    double moved = sqrt(fmax(s->wrong, s->changed) / count);
    double size = sqrt(fmax(s->expected, s->candidate) / count);
    return left <= moved / CLOSE || left <= CAUSE_ROUNDINGS * hunt_rounding(h, size) ||
           (left <= one && moved <= CLOSE * one);
}

static bool axis_holds(hunt_t *h, const double *guess, axis_t a) {
    const culprit_t *c = h->c;
    slice_t *slice = (slice_t *)hunt_doubles(h, a.size * sizeof *slice / sizeof(double));
    memset(slice, 0, a.size * sizeof *slice);
    for (size_t i = 0; i < c->count; i++) {
        slice_t *s = &slice[i / a.inner % a.size];
        double e = c->expected[i], y = c->candidate[i], g = guess[i];
        s->left += (y - g) * (y - g);
        s->wrong += (y - e) * (y - e);
        s->changed += (g - e) * (g - e);
        s->expected += e * e;
        s->candidate += y * y;
    }
    for (size_t i = 0; i < a.size; i++)
        if (!slice_holds(h, &slice[i], (double)(a.outer * a.inner))) return false;
    return true;
}

static bool places_hold(hunt_t *h, const double *guess) {
    const shape_t *s = &h->c->shape;
    for (int d = 0; d < s->ndim; d++)
        if (!axis_holds(h, guess, hunt_axis(s, d))) return false;
    return true;
}

/* ---- the judge ------------------------------------------------------------------------------- */

static bool believed(hunt_t *h, const double *guess, double rest, freedom_t free) {
    return size_explains(h, rest) && beyond_chance(h, rest, free) && places_hold(h, guess);
}

static void set_best(hunt_t *h, const finding_t *f) {
    h->best = *f;
    h->rivals = 0;
}

static void add_rival(hunt_t *h, const finding_t *f) {
    bool ways = f->what == FOUND_WAY && h->best.what == FOUND_WAY;
    if (!ways || h->rivals == RIVALS || strcmp(f->text, h->best.text) == 0) return;
    for (size_t i = 0; i < h->rivals; i++)
        if (strcmp(f->text, h->rival[i]) == 0) return;
    memcpy(h->rival[h->rivals++], f->text, sizeof f->text);
}

/* Holds a weighed finding against the best one. */
static void keep_better(hunt_t *h, const finding_t *f) {
    double one = h->tolerance / CAUSE_ROUNDINGS;
    const finding_t *best = &h->best;
    if (f->accepted < best->accepted) return;
    bool nearer = f->remaining < best->remaining / 4 && (!f->accepted || best->remaining > one);
    if (f->accepted > best->accepted || nearer)
        set_best(h, f);
    else if (f->accepted && f->remaining <= fmax(4 * best->remaining, one))
        add_rival(h, f);
}

static bool weigh(hunt_t *h, const double *guess, freedom_t free, found_t what, const char *kind,
                  const char *format, va_list args) {
    finding_t f = {.remaining = remaining(h, guess), .what = what};
    if (!isfinite(f.remaining)) return false;
    f.accepted = believed(h, guess, f.remaining, free);
    /* A handful of numbers comes near anything by chance. */
    bool part = h->c->count >= PART_LEAST && f.remaining <= h->difference / PART &&
                beyond_chance(h, f.remaining, free);
    if (!f.accepted && !part) return false;
    snprintf(f.kind, sizeof f.kind, "%s", kind);
    vsnprintf(f.text, sizeof f.text, format, args);
    keep_better(h, &f);
    return f.accepted;
}

bool hunt_try(hunt_t *h, const double *guess, const char *kind, const char *format, ...) {
    va_list args;
    va_start(args, format);
    bool accepted = weigh(h, guess, (freedom_t){0, 1}, FOUND_WAY, kind, format, args);
    va_end(args);
    return accepted;
}

bool hunt_try_delta(hunt_t *h, const double *delta, double weight, const char *kind,
                    const char *format, ...) {
    double *guess = hunt_doubles(h, h->c->count);
    va_list args;
    for (size_t i = 0; i < h->c->count; i++) guess[i] = h->c->expected[i] + weight * delta[i];
    va_start(args, format);
    bool accepted = weigh(h, guess, (freedom_t){0, 1}, FOUND_WAY, kind, format, args);
    va_end(args);
    return accepted;
}

bool hunt_try_fitted(hunt_t *h, const double *guess, size_t parameters, const char *kind,
                     const char *format, ...) {
    va_list args;
    va_start(args, format);
    bool accepted = weigh(h, guess, (freedom_t){parameters, 1}, FOUND_WAY, kind, format, args);
    va_end(args);
    return accepted;
}

bool hunt_try_chosen(hunt_t *h, const double *guess, double tries, const char *kind,
                     const char *format, ...) {
    va_list args;
    va_start(args, format);
    bool accepted = weigh(h, guess, (freedom_t){0, tries}, FOUND_WAY, kind, format, args);
    va_end(args);
    return accepted;
}

bool hunt_is(hunt_t *h, const double *guess, const char *kind, const char *format, ...) {
    va_list args;
    va_start(args, format);
    bool accepted = weigh(h, guess, (freedom_t){0, 1}, FOUND_NUMBERS, kind, format, args);
    va_end(args);
    return accepted;
}

bool hunt_fits(hunt_t *h, const double *guess, size_t parameters, const char *kind,
               const char *format, ...) {
    va_list args;
    if (h->difference < FAR * h->tolerance / CAUSE_ROUNDINGS) return false;
    va_start(args, format);
    bool accepted = weigh(h, guess, (freedom_t){parameters, 1}, FOUND_NUMBERS, kind, format, args);
    va_end(args);
    return accepted;
}

void hunt_say(hunt_t *h, const char *kind, const char *format, ...) {
    finding_t f = {.accepted = true, .what = FOUND_NUMBERS};
    va_list args;
    va_start(args, format);
    vsnprintf(f.text, sizeof f.text, format, args);
    va_end(args);
    snprintf(f.kind, sizeof f.kind, "%s", kind);
    if (!h->best.accepted) set_best(h, &f);
}
