/* causes_numbers.c - hypotheses about the numbers as they stand: constants, other tensors in this
 * one's place, roundings. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "causes/causes_hunt.h"

/* Fewer numbers than this do not carry a fitted parameter. */
enum { FIT_LEAST = 8 };

void cause_constant(hunt_t *h) {
    const culprit_t *c = h->c;
    char number[HUNT_NUMBER];
    for (size_t i = 1; i < c->count; i++)
        if (c->candidate[i] != c->candidate[0]) return;
    if (c->candidate[0] == 0)
        hunt_say(h, "zero", "your tensor is all zeros");
    else if (c->count >= FIT_LEAST) /* two gates may well be equal */
        hunt_say(h, "constant", "every number of your tensor is %s",
                 hunt_number(h, number, c->candidate[0], c->candidate[0]));
}

/* The module's input, or the last step's tensor, in this one's place. */
void cause_identity(hunt_t *h) {
    const culprit_t *c = h->c;
    bool norm =
        c->module && (c->module->kind == MODULE_GROUP_NORM || c->module->kind == MODULE_LAYER_NORM);
    if (c->input && shape_count(c->input_shape) == c->count)
        hunt_is(h, c->input, norm ? "norm-missing" : "skipped",
                "your tensor is what goes into the %s: left out, or tapped in front of it",
                norm ? "norm" : "module");
    if (c->previous)
        hunt_is(h, c->previous, "unconverged", "your tensor is that of the step before");
}

/* Closely enough to be no other tensor, and no closer than rounding lets it. */
static bool is_expected(const hunt_t *h, const double *x) {
    double sum = 0;
    for (size_t i = 0; i < h->c->count; i++)
        sum += (x[i] - h->c->expected[i]) * (x[i] - h->c->expected[i]);
    double rest = sqrt(sum / (double)h->c->count);
    return rest <= h->tolerance && rest <= h->difference / 100 &&
           hunt_beyond_chance(fmax(rest, h->tolerance / CAUSE_ROUNDINGS), h->difference,
                              (double)h->c->count, 1);
}

/* Two parts of a layer, or two layers, that are easily exchanged. */
void cause_swapped_taps(hunt_t *h) {
    static const char *const pairs[][2] = {{"to_k", "to_v"},
                                           {"to_q", "to_k"},
                                           {"to_q", "to_v"},
                                           {"k_proj", "v_proj"},
                                           {"q_proj", "k_proj"},
                                           {"q_proj", "v_proj"},
                                           {".mole.face", ".mole.hand"},
                                           {"norm1", "norm2"},
                                           {"norm2", "norm3"},
                                           {"conv1", "conv2"},
                                           {"layer_norm1", "layer_norm2"}};
    for (size_t i = 0; i < 2 * sizeof pairs / sizeof *pairs; i++) {
        const char *from = pairs[i / 2][i % 2], *to = pairs[i / 2][1 - i % 2];
        const char *at = strstr(h->name, from);
        char name[512];
        if (!at) continue;
        for (const char *next; (next = strstr(at + 1, from)) != NULL;) at = next;
        char after = at[strlen(from)];
        if (after != '\0' && after != '.') continue;
        snprintf(name, sizeof name, "%.*s%s%s", (int)(at - h->name), h->name, to,
                 at + strlen(from));
        shape_t shape;
        const double *other = hunt_tap(h, name, &shape);
        /* Whether the other tap holds this one's numbers in turn is not known: its module is not. */
        if (other && shape_equal(shape, h->c->shape) && is_expected(h, other))
            hunt_say(h, "swapped-tensors", "what is expected here stands in your %s", name);
    }
}

/* ---- storing in a smaller format ------------------------------------------------------------- */

double cause_round(double x, int bits, int lowest) {
    int exponent;
    if (x == 0 || !isfinite(x)) return x;
    frexp(x, &exponent);
    if (exponent - 1 < lowest) exponent = lowest + 1;
    double unit = ldexp(1, exponent - bits);
    return nearbyint(x / unit) * unit;
}

/* Every number of the candidate is one of a format that is coarser than the one it is judged by, and
 * the difference is no larger than what rounding to it, some times over, makes of the expected one. */
void cause_stored_precision(hunt_t *h) {
    static const struct {
        const char *name;
        int bits, lowest;
        const char *budget; /* NULL: `compare` has none */
    } formats[] = {{"f16", 11, -14, "f16"},
                   {"bf16", 8, -126, "bf16"},
                   {"tf32", 11, -126, NULL},
                   {"f32", 24, -126, "f32"}};
    const culprit_t *c = h->c;
    for (size_t f = 0; f < sizeof formats / sizeof *formats; f++) {
        double sum = 0;
        size_t i = 0;
        for (; i < c->count; i++) {
            double x = c->candidate[i], y = c->expected[i];
            if (cause_round(x, formats[f].bits, formats[f].lowest) != x) break;
            double d = cause_round(y, formats[f].bits, formats[f].lowest) - y;
            sum += d * d;
        }
        double rounding = sqrt(sum / (double)c->count);
        bool coarser = rounding >= 4 * h->tolerance / CAUSE_ROUNDINGS;
        if (i < c->count || c->count < FIT_LEAST || !(h->difference <= 4 * rounding)) continue;
        if (!coarser) return;
        hunt_say(h, "precision",
                 "every number of your tensor is one of %s, and off by no more than rounding to it "
                 "(difference %.2g, one rounding %.2g)%s%s",
                 formats[f].name, h->difference, rounding,
                 formats[f].budget ? "; if that is intended, compare with --budget " : "",
                 formats[f].budget ? formats[f].budget : "");
        return;
    }
}
