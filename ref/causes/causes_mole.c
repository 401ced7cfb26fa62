/* causes_mole.c - the MoLE layer done in another way: scales, experts, gates, pooling.
 *
 * One description of a layer with everything that ports get wrong as a field, one function that
 * computes any part of it (expert, local, global, out, or the whole), and a table of the wrong
 * ways. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "causes/causes_hunt.h"
#include "core/fmath.h"
#include "core/tap_name.h"
#include "mole/mole_file.h"

typedef enum {
    SCALE_RIGHT,
    SCALE_ONE,
    SCALE_SWAPPED,
    SCALE_SQUARED,
    SCALE_ALPHA,
    SCALE_RANK,
    SCALE_OTHER_RANK,
    SCALE_OTHER
} scale_way_t;
typedef enum {
    POOL_MEAN,
    POOL_UNSCALED,
    POOL_BATCH,
    POOL_FIRST,
    POOL_LAST,
    POOL_MAX,
    POOL_SUM
} pool_way_t;
typedef enum {
    GATE_SIGMOID,
    GATE_SOFTMAX,
    GATE_ONE,
    GATE_HARD,
    GATE_LOGIT,
    GATE_ARGMAX
} gate_way_t;

typedef struct {
    scale_way_t scale;
    pool_way_t pool;
    size_t tokens; /* pooled over the first so many; 0: all */
    gate_way_t local, global;
    bool swap_local, swap_global, swap_experts; /* face for hand */
    bool no_local_bias, no_global_bias;
    double sum; /* this times the sum of both gates in the place of their product; 0: the product */
} mole_way_t;

typedef struct {
    const mole_layer_t *layer;
    size_t B, T, N; /* samples, tokens, outputs */
    bool image;
    const double *base; /* whole layer only: expected less all that the experts add */
    const double *product[MOLE_EXPERTS]; /* up down x, not scaled, (B,T,N) */
    const double *logits;                /* Phi x, without bias: (E,B*T) */
    const double *x;                     /* what goes in, as rows */
} mole_case_t;

static double scale_of(const mole_layer_t *l, size_t i, scale_way_t way) {
    const mole_expert_t *e = &l->expert[i], *other = &l->expert[(i + 1) % l->experts];
    double s = e->scale, rank = (double)e->rank;
    switch (way) {
    case SCALE_ONE: return 1;
    case SCALE_SWAPPED: return 1 / s;
    case SCALE_SQUARED: return s * s;
    case SCALE_ALPHA: return s * rank;
    case SCALE_RANK: return 1 / rank;
    case SCALE_OTHER_RANK: return s * rank / (double)other->rank;
    case SCALE_OTHER: return other->scale;
    default: return s;
    }
}

static size_t partner(const mole_layer_t *l, size_t i, bool swapped) {
    return swapped && ++i == l->experts ? 0 : i;
}

/* (B*T) local gate of expert i. */
static void local_gate(double *gate, const mole_case_t *m, size_t i, const mole_way_t *way) {
    const mole_layer_t *l = m->layer;
    size_t rows = m->B * m->T;
    for (size_t r = 0; r < rows; r++) {
        double z[MOLE_EXPERTS] = {0}, sum = 0, most = -HUGE_VAL;
        for (size_t e = 0; e < l->experts; e++) {
            z[e] = m->logits[e * rows + r] + (way->no_local_bias ? 0 : (double)l->local_bias[e]);
            most = fmax(most, z[e]);
        }
        for (size_t e = 0; e < l->experts; e++) sum += fmath_exp(z[e] - most);
        double mine = z[partner(l, i, way->swap_local)];
        switch (way->local) {
        case GATE_SOFTMAX: gate[r] = fmath_exp(mine - most) / sum; break;
        case GATE_ONE: gate[r] = 1; break;
        case GATE_HARD: gate[r] = mine > 0; break;
        case GATE_ARGMAX: gate[r] = mine == most; break;
        case GATE_LOGIT: gate[r] = mine; break;
        default: gate[r] = fmath_sigmoid(mine); break;
        }
    }
}

/* The pooled number (B,N) at (b,n) of expert outputs s * product. */
static double pooled(const mole_case_t *m, const double *product, double s, const mole_way_t *way,
                     size_t b, size_t n) {
    size_t first = 0, end = way->tokens ? way->tokens : m->T, from = b, to = b + 1;
    double sum = 0, most = -HUGE_VAL;
    if (way->pool == POOL_FIRST) end = 1;
    if (way->pool == POOL_LAST) first = m->T - 1;
    if (way->pool == POOL_BATCH) from = 0, to = m->B;
    if (way->pool == POOL_UNSCALED) s = 1;
    for (size_t sample = from; sample < to; sample++)
        for (size_t t = first; t < end; t++) {
            double x = s * product[(sample * m->T + t) * m->N + n];
            sum += x;
            most = fmax(most, x);
        }
    if (way->pool == POOL_MAX) return most;
    return way->pool == POOL_SUM ? sum : sum / (double)((end - first) * (to - from));
}

/* The logit of expert i's global gate on sample b. */
static double global_logit(const mole_case_t *m, size_t i, const mole_way_t *way, size_t b) {
    const mole_layer_t *l = m->layer;
    const mole_expert_t *gate = &l->expert[partner(l, i, way->swap_global)];
    size_t source = partner(l, i, way->swap_experts);
    double s = scale_of(l, source, way->scale), z = way->no_global_bias ? 0 : gate->global_bias;
    for (size_t n = 0; n < m->N; n++)
        z += (double)gate->global_weight[n] * pooled(m, m->product[source], s, way, b, n);
    return z;
}

static double global_gate(const mole_case_t *m, size_t i, const mole_way_t *way, size_t b) {
    double z = global_logit(m, i, way, b), sum = 0;
    switch (way->global) {
    case GATE_ONE: return 1;
    case GATE_HARD: return z > 0;
    case GATE_LOGIT: return z;
    case GATE_SOFTMAX:
        for (size_t e = 0; e < m->layer->experts; e++)
            sum += fmath_exp(global_logit(m, e, way, b) - z);
        return 1 / sum;
    default: return fmath_sigmoid(z);
    }
}

/* ---- a part of the layer --------------------------------------------------------------------- */

typedef enum { PART_EXPERT, PART_LOCAL, PART_GLOBAL, PART_OUT, PART_WHOLE } part_t;

/* What expert i adds, (B,T,N), added to out. */
static void add_out(hunt_t *h, double *out, const mole_case_t *m, size_t i, const mole_way_t *way) {
    double *local = hunt_doubles(h, m->B * m->T);
    size_t source = partner(m->layer, i, way->swap_experts);
    double s = scale_of(m->layer, source, way->scale);
    local_gate(local, m, i, way);
    for (size_t b = 0; b < m->B; b++) {
        double global = global_gate(m, i, way, b);
        for (size_t j = b * m->T * m->N; j < (b + 1) * m->T * m->N; j++) {
            double both =
                way->sum > 0 ? way->sum * (global + local[j / m->N]) : global * local[j / m->N];
            out[j] += s * both * m->product[source][j];
        }
    }
}

/* The culprit's shape from rows (B,T,N). */
static const double *in_shape(hunt_t *h, const mole_case_t *m, const double *rows) {
    if (!m->image) return rows;
    double *out = hunt_doubles(h, h->c->count);
    hunt_swap_axes(out, rows, m->B, m->T, m->N);
    return out;
}

static const double *compute_part(hunt_t *h, const mole_case_t *m, part_t part, size_t i,
                                  const mole_way_t *way) {
    size_t count = m->B * m->T * m->N, source = partner(m->layer, i, way->swap_experts);
    double *out = hunt_doubles(h, count);
    memset(out, 0, count * sizeof *out);
    switch (part) {
    case PART_EXPERT:
        for (size_t j = 0; j < count; j++)
            out[j] = scale_of(m->layer, source, way->scale) * m->product[source][j];
        return in_shape(h, m, out);
    case PART_LOCAL: local_gate(out, m, i, way); return out;
    case PART_GLOBAL:
        for (size_t b = 0; b < m->B; b++) out[b] = global_gate(m, i, way, b);
        return out;
    case PART_OUT: add_out(h, out, m, i, way); return in_shape(h, m, out);
    case PART_WHOLE:
        for (size_t e = 0; e < m->layer->experts; e++) add_out(h, out, m, e, way);
        for (size_t j = 0; m->base && j < count; j++) out[j] += m->base[j];
        return in_shape(h, m, out);
    }
    return out;
}

/* ---- the wrong ways -------------------------------------------------------------------------- */

typedef struct {
    mole_way_t way;
    const char *kind, *text;
} wrong_way_t;

static const wrong_way_t wrong[] = {
    {{.scale = SCALE_ONE}, "scale", "alpha is ignored: the expert enters with scale 1"},
    {{.scale = SCALE_SWAPPED},
     "scale",
     "alpha and rank are swapped: rank / alpha for alpha / rank"},
    {{.scale = SCALE_SQUARED}, "scale", "alpha / rank is applied twice"},
    {{.scale = SCALE_ALPHA}, "scale", "alpha is not divided by the rank"},
    {{.scale = SCALE_RANK}, "scale", "1 / rank for alpha / rank: alpha is ignored"},
    {{.scale = SCALE_OTHER_RANK}, "scale", "alpha is divided by the other expert's rank"},
    {{.scale = SCALE_OTHER}, "scale", "the other expert's alpha / rank is used"},
    {{.swap_local = true},
     "swapped-tensors",
     "the rows of Phi are exchanged: row 0 is face, row 1 hand"},
    {{.swap_global = true}, "swapped-tensors", "the two experts' global gates are exchanged"},
    {{.swap_experts = true},
     "swapped-tensors",
     "the two experts are exchanged, or all of their gates"},
    {{.swap_experts = true, .swap_local = true, .swap_global = true},
     "swapped-tensors",
     "the two experts are exchanged, with their gates"},
    {{.local = GATE_SOFTMAX},
     "gate",
     "the local gates go through a softmax over the experts; each is a sigmoid of its own"},
    {{.global = GATE_SOFTMAX},
     "gate",
     "the global gates go through a softmax over the experts; each is a sigmoid of its own"},
    {{.local = GATE_SOFTMAX, .global = GATE_SOFTMAX},
     "gate",
     "the gates go through a softmax over the experts; each is a sigmoid of its own"},
    {{.local = GATE_ONE}, "gate", "the local gate is left out"},
    {{.global = GATE_ONE}, "gate", "the global gate is left out"},
    {{.local = GATE_ONE, .global = GATE_ONE}, "gate", "both gates are left out: a plain LoRA"},
    {{.local = GATE_LOGIT}, "gate", "the local gate's sigmoid is missing"},
    {{.global = GATE_LOGIT}, "gate", "the global gate's sigmoid is missing"},
    {{.local = GATE_HARD}, "gate", "the local gate is 0 or 1: a threshold for the sigmoid"},
    {{.global = GATE_HARD}, "gate", "the global gate is 0 or 1: a threshold for the sigmoid"},
    {{.local = GATE_ARGMAX}, "gate", "each token chooses one expert (top-1); all take part"},
    {{.no_local_bias = true}, "missing-bias", "the local gate's bias is left out"},
    {{.no_global_bias = true}, "missing-bias", "the global gate's bias is left out"},
    {{.no_local_bias = true, .no_global_bias = true},
     "missing-bias",
     "the gates' biases are left out"},
    {{.sum = 1}, "gate", "the two gates are added; their product is due"},
    {{.sum = 0.5}, "gate", "the two gates are averaged; their product is due"},
    {{.pool = POOL_UNSCALED},
     "pooling",
     "the global gate pools before scaling: alpha / rank belongs to what is pooled"},
    {{.pool = POOL_BATCH},
     "pooling",
     "the global gate pools over the batch; each sample has its own"},
    {{.pool = POOL_FIRST},
     "pooling",
     "the global gate looks at the first token only; it is the mean of all"},
    {{.pool = POOL_LAST},
     "pooling",
     "the global gate looks at the last token only; it is the mean of all"},
    {{.pool = POOL_MAX}, "pooling", "the global gate pools by maximum; it is the mean"},
    {{.pool = POOL_SUM}, "pooling", "the global gate pools by sum; it is the mean"},
};

/* ---- the layer as the culprit shows it ------------------------------------------------------- */

/* ".mole.face.expert" -> expert and part; false for ".mole.base" and what is unknown. */
static bool read_part(const hunt_t *h, const mole_layer_t *l, part_t *part, size_t *expert) {
    static const char *const names[] = {"expert", "local", "global", "out"};
    tap_name_t name = tap_name(h->name);
    *part = PART_WHOLE;
    if (!*h->part) return true;
    for (size_t i = 0; i < l->experts; i++)
        for (int p = PART_EXPERT; p <= PART_OUT; p++) {
            *part = (part_t)p;
            *expert = i;
            if (tap_span_is(name.expert, l->expert[i].name) && strcmp(name.part, names[p]) == 0)
                return true;
        }
    return false;
}

/* up down x and Phi x on the culprit's input. */
static void products(hunt_t *h, mole_case_t *m, const double *x) {
    const mole_layer_t *l = m->layer;
    size_t rows = m->B * m->T, d = l->d_in;
    for (size_t i = 0; i < l->experts; i++) {
        const mole_expert_t *e = &l->expert[i];
        const double *hidden = hunt_linear(h, x, e->down, NULL, rows, d, e->rank);
        m->product[i] = hunt_linear(h, hidden, e->up, NULL, rows, e->rank, m->N);
    }
    const double *logits = hunt_linear(h, x, l->local_weight, NULL, rows, d, l->experts);
    double *by_expert = hunt_doubles(h, rows * l->experts);
    hunt_swap_axes(by_expert, logits, 1, rows, l->experts);
    m->logits = by_expert;
}

static bool read_case(hunt_t *h, mole_case_t *m, part_t *part, size_t *expert) {
    const culprit_t *c = h->c;
    if (!c->module || c->module->kind != MODULE_LINEAR || !c->input) return false;
    const mole_layer_t *l = c->module->as.linear->mole;
    const shape_t *s = &c->input_shape;
    if (!l || !l->local_weight || l->experts > MOLE_EXPERTS || s->ndim < 3) return false;
    if (!read_part(h, l, part, expert)) return false;
    *m = (mole_case_t){.layer = l, .B = s->dim[0], .N = l->d_out};
    m->image = s->ndim == 4 && s->dim[1] == l->d_in;
    m->T = shape_count(*s) / m->B / l->d_in;
    size_t count = m->B * m->T * m->N;
    size_t expected = *part == PART_LOCAL ? m->B * m->T : *part == PART_GLOBAL ? m->B : count;
    if (c->count != expected) return false;
    double *x = hunt_doubles(h, shape_count(*s));
    if (m->image)
        hunt_swap_axes(x, c->input, m->B, l->d_in, m->T);
    else
        memcpy(x, c->input, shape_count(*s) * sizeof *x);
    m->x = x;
    products(h, m, x);
    return true;
}

/* base = expected - everything that the experts add. */
static void find_base(hunt_t *h, mole_case_t *m) {
    size_t count = m->B * m->T * m->N;
    double *base = hunt_doubles(h, count);
    const mole_way_t right = {0};
    if (m->image)
        hunt_swap_axes(base, h->c->expected, m->B, m->N, m->T);
    else
        memcpy(base, h->c->expected, count * sizeof *base);
    mole_case_t bare = *m; /* the experts alone, as rows */
    bare.image = false;
    bare.base = NULL;
    const double *added = compute_part(h, &bare, PART_WHOLE, 0, &right);
    for (size_t j = 0; j < count; j++) base[j] -= added[j];
    m->base = base;
}

enum { PADDED_TOKENS = 128 }; /* texts, not images */

/* Tokens left out at the end, of each sample its own number: the one that fits best. */
static void try_padding(hunt_t *h, const mole_case_t *m, part_t part, size_t expert) {
    if (part == PART_EXPERT || part == PART_LOCAL || m->image || m->T > PADDED_TOKENS) return;
    size_t each = h->c->count / m->B;
    double *guess = hunt_doubles(h, h->c->count), *least = hunt_doubles(h, m->B);
    double *kept = hunt_doubles(h, m->B), tries = 1;
    for (size_t b = 0; b < m->B; b++) least[b] = HUGE_VAL, tries *= (double)m->T;
    for (size_t tokens = 1; tokens <= m->T; tokens++) {
        const mole_way_t way = {.tokens = tokens};
        const double *x = compute_part(h, m, part, expert, &way);
        for (size_t b = 0; b < m->B; b++) {
            double error = 0;
            for (size_t i = b * each; i < (b + 1) * each; i++)
                error += (x[i] - h->c->candidate[i]) * (x[i] - h->c->candidate[i]);
            if (!(error < least[b])) continue;
            least[b] = error;
            kept[b] = (double)tokens;
            memcpy(guess + b * each, x + b * each, each * sizeof *guess);
        }
    }
    hunt_try_chosen(h, guess, tries, "pooling",
                    "the global gate pools over the first tokens only (%.0f of %zu in the first "
                    "sample, %.0f in the last); all take part",
                    kept[0], m->T, kept[m->B - 1]);
}

/* Any constant on the expert's own output: what rank would make it so? */
static void try_scale(hunt_t *h, const mole_case_t *m, size_t expert) {
    double dot = 0, square = 0;
    double *guess = hunt_doubles(h, h->c->count);
    for (size_t i = 0; i < h->c->count; i++) {
        dot += (h->c->candidate[i] - h->c->expected[i]) * h->c->expected[i];
        square += h->c->expected[i] * h->c->expected[i];
    }
    const mole_expert_t *e = &m->layer->expert[expert];
    if (h->c->count < 8 || !(square > 0)) return;
    double gain = 1 + dot / square, rank = (double)e->rank / gain;
    char found[HUNT_NUMBER], right[HUNT_NUMBER];
    for (size_t i = 0; i < h->c->count; i++) guess[i] = gain * h->c->expected[i];
    if (rank >= 1.5 && fabs(rank - nearbyint(rank)) < 1e-4 * rank)
        hunt_try_fitted(
            h, guess, 1, "scale",
            "the expert is %s times as strong, as when alpha is divided by %.0f, where the rank of this "
            "layer is %zu",
            hunt_number(h, found, gain, 1), rank, e->rank);
    else if (!h->best.accepted)
        hunt_fits(h, guess, 1, "scale", "the expert's scale is %s; alpha / rank is %s",
                  hunt_number(h, found, gain * e->scale, e->scale),
                  hunt_number(h, right, e->scale, gain * e->scale));
}

/* One factor or both in a smaller format. */
static void try_rounded(hunt_t *h, const mole_case_t *m, const double *x, size_t expert) {
    static const struct {
        int bits, lowest;
        const char *name;
    } formats[] = {{11, -14, "float16"}, {8, -126, "bfloat16"}};
    static const char *const texts[] = {"first factor is", "second factor is", "two factors are"};
    const mole_expert_t *e = &m->layer->expert[expert];
    size_t d = m->layer->d_in, rows = m->B * m->T;
    for (size_t f = 0; f < 2; f++) {
        real_t *down = hunt_reals(h, NULL, e->rank * d), *up = hunt_reals(h, NULL, e->rank * m->N);
        for (size_t i = 0; i < e->rank * d; i++)
            down[i] = (real_t)cause_round((double)e->down[i], formats[f].bits, formats[f].lowest);
        for (size_t i = 0; i < e->rank * m->N; i++)
            up[i] = (real_t)cause_round((double)e->up[i], formats[f].bits, formats[f].lowest);
        for (int way = 0; way < 3; way++) {
            const double *hidden =
                hunt_linear(h, x, way == 1 ? e->down : down, NULL, rows, d, e->rank);
            double *y = hunt_linear(h, hidden, way ? up : e->up, NULL, rows, e->rank, m->N);
            for (size_t i = 0; i < rows * m->N; i++) y[i] *= e->scale;
            hunt_try(h, in_shape(h, m, y), "precision",
                     "the expert's %s rounded to %s, and the rest is not", texts[way],
                     formats[f].name);
        }
    }
}

/* Whether a way can show in a part's own tap. The expert has a tap in front of its gates: where the
 * candidate dumped it, it was right, or it would be the culprit. */
static bool shows(const mole_way_t *w, part_t part, bool expert_right) {
    bool expert = w->scale || w->swap_experts,
         local = w->local || w->swap_local || w->no_local_bias;
    bool global = w->global || w->pool || w->swap_global || w->no_global_bias;
    if (w->sum > 0) return part == PART_OUT || part == PART_WHOLE;
    switch (part) {
    case PART_EXPERT: return expert && !local && !global;
    case PART_LOCAL: return local && !(expert_right && (expert || global));
    case PART_GLOBAL: return !(expert_right && (expert || local));
    default: return true;
    }
}

static bool has_expert(hunt_t *h, const mole_case_t *m, size_t expert) {
    char name[640];
    shape_t shape;
    snprintf(name, sizeof name, "%s.mole.%s.expert", h->module, m->layer->expert[expert].name);
    return hunt_tap(h, name, &shape) != NULL;
}

void cause_mole(hunt_t *h) {
    mole_case_t m;
    part_t part;
    size_t expert = 0;
    if (!read_case(h, &m, &part, &expert)) return;
    if (part == PART_WHOLE) find_base(h, &m);
    bool expert_right = has_expert(h, &m, expert);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        if (!shows(&wrong[i].way, part, expert_right)) continue;
        bool taken = part == PART_EXPERT && wrong[i].way.swap_experts;
        hunt_try(h, compute_part(h, &m, part, expert, &wrong[i].way), wrong[i].kind, "%s",
                 taken ? "this is the other expert's output" : wrong[i].text);
    }
    if (part == PART_EXPERT) try_scale(h, &m, expert);
    if (part == PART_EXPERT && !h->best.accepted) try_rounded(h, &m, m.x, expert);
    if (!h->best.accepted) try_padding(h, &m, part, expert);
}
