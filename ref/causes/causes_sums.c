/* causes_sums.c - sums in float32 that lose digits: added up term by term, and a variance taken in one
 * pass.
 *
 * Nothing is fitted here. The layer is computed in float32 in several orders of adding, and the
 * candidate's error must be of the size that these computations have, in every part of the tensor. A
 * candidate that holds other numbers than float32's is not looked at. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "causes/causes_norm.h"
#include "core/sort.h"

/* Orders of adding n numbers that lie as (n / P, P): rows of P pixels. */
typedef enum { FORWARD, BACKWARD, PIXELS, LANES, ORDERS, EXACT = ORDERS } order_t;

static size_t place(order_t order, size_t i, size_t n, size_t P) {
    if (order == BACKWARD) return n - 1 - i;
    return order == PIXELS ? i % (n / P) * P + i / (n / P) : i;
}

/* Of x - shift, or of its square. EXACT: added in double, rounded once. */
static float add_up(const double *x, size_t n, size_t P, order_t order, float shift, bool square) {
    enum { LANE = 8 };
    float lane[LANE] = {0};
    double exact = 0;
    size_t lanes = order == LANES ? LANE : 1;
    for (size_t i = 0; i < n; i++) {
        float t = (float)x[place(order, i, n, P)] - shift;
        if (square) t *= t;
        lane[i % lanes] += t;
        exact += (double)t;
    }
    for (size_t i = 1; i < lanes; i++) lane[0] += lane[i];
    return order == EXACT ? (float)exact : lane[0];
}

static bool is_float32(const culprit_t *c) {
    for (size_t i = 0; i < c->count; i++)
        if (cause_round(c->candidate[i], 24, -126) != c->candidate[i]) return false;
    return true;
}

/* ---- a group of a norm ------------------------------------------------------------------------ */

typedef struct {
    const norm_way_t *n;
    const double *x, *expected, *candidate; /* the group's, `count` numbers each */
    size_t channel, count;                  /* its first channel */
    double mean, variance;
    double *rows, *ones, *made, *error; /* w x^, w, what a computation makes of it, scratch */
} group_t;

static double weight_at(const group_t *g, size_t i) {
    return (double)g->n->w[g->channel + i / g->n->P];
}

static group_t new_group(hunt_t *h, const norm_way_t *n) {
    size_t count = n->C / n->groups * n->P;
    return (group_t){.n = n,
                     .count = count,
                     .rows = hunt_doubles(h, count),
                     .ones = hunt_doubles(h, count),
                     .made = hunt_doubles(h, count),
                     .error = hunt_doubles(h, count)};
}

/* Group k of all B groups of the tensor. */
static void enter_group(group_t *g, const culprit_t *c, size_t k) {
    size_t first = k * g->count;
    g->x = c->input + first, g->expected = c->expected + first;
    g->candidate = c->candidate + first;
    g->channel = k % g->n->groups * (g->n->C / g->n->groups);
    g->mean = g->variance = 0;
    for (size_t i = 0; i < g->count; i++) g->mean += g->x[i] / (double)g->count;
    for (size_t i = 0; i < g->count; i++) {
        double d = g->x[i] - g->mean;
        g->variance += d * d / (double)g->count;
    }
    for (size_t i = 0; i < g->count; i++) {
        g->ones[i] = weight_at(g, i);
        g->rows[i] = g->ones[i] * (g->x[i] - g->mean) / sqrt(g->variance + g->n->eps);
    }
}

/* made = the group normalised in float32. One pass: y = x scale + shift, as libraries do that take the
 * variance so; two passes: (x - mean) / deviation. */
static void normalise(group_t *g, order_t order, bool one_pass) {
    float n = (float)g->count, eps = (float)g->n->eps;
    float mean = add_up(g->x, g->count, g->n->P, order, 0, false) / n;
    float square = add_up(g->x, g->count, g->n->P, order, one_pass ? 0 : mean, true) / n;
    float variance = one_pass ? fmaxf(square - mean * mean, 0) : square;
    float over = 1 / sqrtf(variance + eps);
    for (size_t i = 0; i < g->count; i++) {
        float w = (float)g->ones[i], b = (float)g->n->b[g->channel + i / g->n->P];
        float scale = over * w, x = (float)g->x[i];
        float y = one_pass ? x * scale + (b - mean * scale) : (x - mean) * over * w + b;
        g->made[i] = (double)y;
    }
}

static double rms_error(const group_t *g, const double *y) {
    double sum = 0;
    for (size_t i = 0; i < g->count; i++) sum += (y[i] - g->expected[i]) * (y[i] - g->expected[i]);
    return sqrt(sum / (double)g->count);
}

/* ---- a wrong epsilon is not excused ------------------------------------------------------------- */

/* It changes the variance by the same amount in every group, where rounding changes it by another amount
 * in each. An epsilon that explains half of the error of three groups or more is one, then. The error of
 * fewer groups has some epsilon always: it may be one unless it is the right one nearly, or negative. */

/* The epsilon that gives the group its size. */
static double epsilon_of(const group_t *g) {
    double dot = 0, square = 0, v = g->variance + g->n->eps;
    for (size_t i = 0; i < g->count; i++) {
        dot += (g->candidate[i] - g->expected[i]) * g->rows[i];
        square += g->rows[i] * g->rows[i];
    }
    double gain = square > 0 ? 1 + dot / square : 1;
    return v / (gain * gain) - g->variance;
}

/* How much of the difference one change of epsilon explains; to first order it moves the output by
 * -w x^ / (2 (variance + eps)) times the change. Besides, how many groups carry the difference, and the
 * epsilon that the worst one needs. */
typedef struct {
    double share, groups, worst;
} epsilon_t;

static epsilon_t find_epsilon(group_t *g, const culprit_t *c) {
    double dd = 0, de = 0, ee = 0, square = 0, most = 0;
    epsilon_t found = {0};
    for (size_t k = 0; k < g->n->B * g->n->groups; k++) {
        double own = 0;
        enter_group(g, c, k);
        for (size_t i = 0; i < g->count; i++) {
            double e = g->candidate[i] - g->expected[i];
            double d = -g->rows[i] / (2 * (g->variance + g->n->eps));
            dd += d * d, de += d * e, own += e * e;
        }
        if (own > most) found.worst = epsilon_of(g);
        most = fmax(most, own);
        ee += own, square += own * own;
    }
    if (dd > 0 && ee > 0) found.share = de * de / (dd * ee), found.groups = ee * ee / square;
    return found;
}

static bool is_epsilon(hunt_t *h, const norm_way_t *n) {
    enum { GROUPS = 3 };
    const double near = 0.1 * n->eps;
    group_t g = new_group(h, n);
    epsilon_t e = find_epsilon(&g, h->c);
    bool another = fabs(e.worst - n->eps) > near && e.worst >= -near;
    return e.share > 0.5 && (e.groups >= GROUPS || another);
}

/* ---- a norm's sums, added up term by term ------------------------------------------------------ */

enum { FEW = 3 }; /* an error is of a size when it is within so many times */

static void say_sums(hunt_t *h, double forward, double backward) {
    hunt_say(
        h, "summation",
        "the error is of the size that sums in float32 have (yours %.2g; added up term by term "
        "from the first on %.2g, from the last on %.2g)",
        h->difference, forward, backward);
}

/* What one rounding of the mean, and of each number, makes of a group's output. */
static double group_unit(const group_t *g) {
    double v = g->variance + g->n->eps, square = 0;
    for (size_t i = 0; i < g->count; i++) square += g->ones[i] * g->ones[i] / (double)g->count;
    return (1 + fabs(g->mean) / sqrt(v)) * sqrt(square) * 0x1p-24;
}

static void find_range(const double *square, double *least, double *most) {
    *least = HUGE_VAL, *most = 0;
    for (int order = FORWARD; order <= EXACT; order++) {
        *least = fmin(*least, sqrt(square[order]));
        *most = fmax(*most, sqrt(square[order]));
    }
}

/* A variance in one pass is cause_one_pass's: where the error is beyond all orders of two passes, and not
 * beyond those of one, nothing is said here. */
static void norm_sums(hunt_t *h, const norm_way_t *n) {
    group_t g = new_group(h, n);
    double error[ORDERS + 1] = {0}, one_pass[ORDERS + 1] = {0};
    double groups = (double)(n->B * n->groups), least, most, least_one, most_one;
    double simulated = 0, candidate = 0; /* the largest error of a group, in its units */
    for (size_t k = 0; k < n->B * n->groups; k++) {
        enter_group(&g, h->c, k);
        double unit = group_unit(&g);
        if (!(unit > 0)) continue;
        candidate = fmax(candidate, rms_error(&g, g.candidate) / unit);
        for (int order = FORWARD; order <= EXACT; order++) {
            normalise(&g, (order_t)order, false);
            double e = rms_error(&g, g.made);
            error[order] += e * e / groups;
            simulated = fmax(simulated, e / unit);
            normalise(&g, (order_t)order, true);
            e = rms_error(&g, g.made);
            one_pass[order] += e * e / groups;
        }
    }
    find_range(error, &least, &most);
    find_range(one_pass, &least_one, &most_one);
    if (h->difference > most && h->difference >= least_one && h->difference <= most_one) return;
    if (h->difference <= FEW * most && least <= FEW * h->difference && candidate <= FEW * simulated)
        say_sums(h, sqrt(error[FORWARD]), sqrt(error[BACKWARD]));
}

/* ---- a linear map's sums ----------------------------------------------------------------------- */

/* The terms of one output number: x[k] w[k], K of them, and the bias. */
typedef struct {
    float *x, *w;
    size_t K;
    float bias;
} terms_t;

static void linear_terms(terms_t *t, const culprit_t *c, const linear_t *l, size_t i) {
    const shape_t *s = &c->shape;
    bool image = s->ndim == 4 && s->dim[1] == l->out;
    size_t P = image ? s->dim[2] * s->dim[3] : 1, n = i / P % l->out, row = i / P / l->out;
    for (size_t k = 0; k < l->in; k++) {
        t->x[k] = (float)c->input[(row * l->in + k) * P + i % P];
        t->w[k] = (float)l->weight[n * l->in + k];
    }
    t->bias = l->bias ? (float)l->bias[n] : 0;
}

/* In torch's order of the weight: (in, kh, kw). Pixels outside count as zeros. */
static void conv_terms(terms_t *t, const culprit_t *c, const conv_t *conv, size_t i) {
    conv2d_geometry_t g = conv->geometry;
    size_t H = c->input_shape.dim[2], W = c->input_shape.dim[3], Wo = c->shape.dim[3];
    size_t Ho = c->shape.dim[2], o = i / Wo / Ho % conv->out, b = i / Wo / Ho / conv->out;
    for (size_t k = 0; k < t->K; k++) {
        size_t v = k % g.kernel_w, u = k / g.kernel_w % g.kernel_h,
               in = k / g.kernel_w / g.kernel_h;
        size_t y = i / Wo % Ho * g.stride + u - g.top, x = i % Wo * g.stride + v - g.left;
        bool inside = y < H && x < W; /* below 0 it wraps */
        t->x[k] = inside ? (float)c->input[((b * conv->in + in) * H + y) * W + x] : 0;
        t->w[k] = (float)conv->weight[((o * g.kernel_h + u) * g.kernel_w + v) * conv->in + in];
    }
    t->bias = conv->bias ? (float)conv->bias[o] : 0;
}

static double sum_error(const terms_t *t, bool backward) {
    double exact = 0;
    float sum = 0;
    for (size_t i = 0; i < t->K; i++) {
        size_t k = backward ? t->K - 1 - i : i;
        sum += t->x[k] * t->w[k];
        exact += (double)t->x[k] * (double)t->w[k];
    }
    return (double)(sum + t->bias) - (exact + (double)t->bias);
}

/* K of the culprit's sums; 0 where it is no linear map of a known input. */
static size_t terms_of(const hunt_t *h, const linear_t **l, const conv_t **conv) {
    const culprit_t *c = h->c;
    bool base = strcmp(h->part, ".mole.base") == 0;
    *l = NULL, *conv = NULL;
    if (!c->module || !c->input || (*h->part && !base)) return 0;
    if (c->module->kind == MODULE_LINEAR) {
        *l = c->module->as.linear;
        bool image = c->shape.ndim == 4 && c->shape.dim[1] == (*l)->out;
        size_t rows = c->count / (*l)->out, last = c->shape.dim[c->shape.ndim - 1];
        bool fits = shape_count(c->input_shape) == rows * (*l)->in && (image || last == (*l)->out);
        return fits && (base || !(*l)->mole) ? (*l)->in : 0;
    }
    if (c->module->kind != MODULE_CONV || c->shape.ndim != 4 || c->input_shape.ndim != 4) return 0;
    *conv = c->module->as.conv;
    if (c->input_shape.dim[1] != (*conv)->in) return 0;
    return (*conv)->in * (*conv)->geometry.kernel_h * (*conv)->geometry.kernel_w;
}

static void linear_sums(hunt_t *h) {
    enum { SAMPLES = 4096 };
    const linear_t *l;
    const conv_t *conv;
    terms_t t = {.K = terms_of(h, &l, &conv)};
    if (t.K < 2) return;
    t.x = (float *)hunt_doubles(h, t.K), t.w = (float *)hunt_doubles(h, t.K);
    double sum[2] = {0}, largest = 0, worst = 0, taken = 0;
    size_t step = h->c->count / SAMPLES + 1;
    for (size_t i = 0; i < h->c->count; i++) {
        worst = fmax(worst, fabs(h->c->candidate[i] - h->c->expected[i]));
        if (i % step) continue;
        if (l)
            linear_terms(&t, h->c, l, i);
        else
            conv_terms(&t, h->c, conv, i);
        for (int backward = 0; backward < 2; backward++) {
            double e = sum_error(&t, backward);
            sum[backward] += e * e;
            largest = fmax(largest, fabs(e));
        }
        taken++;
    }
    double forward = sqrt(sum[0] / taken), back = sqrt(sum[1] / taken);
    double most = fmax(forward, back); /* a product in blocks is off by less, and hardly noticed */
    if (h->difference <= FEW * most && most <= FEW * h->difference && worst <= 2 * FEW * largest)
        say_sums(h, forward, back);
}

void cause_sums(hunt_t *h) {
    norm_way_t n;
    if (!is_float32(h->c)) return;
    if (!hunt_norm(h, &n))
        linear_sums(h);
    else if (!is_epsilon(h, &n))
        norm_sums(h, &n);
}

/* ---- the variance in one pass ------------------------------------------------------------------ */

/* Taken as E[x^2] - mean^2 in float32, a variance v is off by about (mean^2 + v) u: the group comes out
 * too large or too small by half of that over v. The mean's own error, and the rounding of x scale +
 * shift, are of the order of |mean| u / sqrt(v).
 *
 * All three are measured in these units, of the candidate and of computations of this kind, in every
 * group. The candidate's may be a few times theirs, nowhere more; and in the groups that have a mean of
 * twice their deviation or more, the scale is typically off by as much as theirs, within a few times. */
typedef struct {
    double scale, shift, rest;
} group_error_t;

/* False: the group shows nothing, its weights being one or none. */
static bool measure(group_error_t *e, group_t *g, const double *y) {
    const double u = 0x1p-24;
    double a, b, rest = 0, size = 0, v = g->variance + g->n->eps;
    for (size_t i = 0; i < g->count; i++) g->error[i] = y[i] - g->expected[i];
    if (!(v > 0) || !hunt_fit2(g->error, g->rows, g->ones, g->count, &a, &b)) return false;
    for (size_t i = 0; i < g->count; i++) {
        double left = g->error[i] - a * g->rows[i] - b * g->ones[i];
        rest += left * left;
        size += g->ones[i] * g->ones[i];
    }
    double shift = (1 + fabs(g->mean) / sqrt(v)) * u;
    e->scale = fabs(a) / (fmax((g->mean * g->mean + g->variance) / v, 1) * u);
    e->shift = fabs(b) / shift;
    e->rest = sqrt(rest / size) / shift;
    return true;
}

static void take_larger(group_error_t *most, const group_error_t *e) {
    most->scale = fmax(most->scale, e->scale);
    most->shift = fmax(most->shift, e->shift);
    most->rest = fmax(most->rest, e->rest);
}

/* What all groups have shown: the largest errors; the scales in groups with a large mean; the largest
 * mean over deviation. */
typedef struct {
    group_error_t candidate, simulated;
    double *scale, *scales[ORDERS + 1], mean;
    size_t large;
} survey_t;

static double median(double *x, size_t count) {
    sort_doubles(x, count);
    return x[count / 2];
}

static void survey_group(survey_t *s, group_t *g) {
    enum { LARGE = 2 };
    group_error_t e;
    double ratio = g->variance > 0 ? fabs(g->mean) / sqrt(g->variance) : 0;
    if (!measure(&e, g, g->candidate)) return;
    take_larger(&s->candidate, &e);
    s->scale[s->large] = e.scale;
    for (int order = FORWARD; order <= EXACT; order++) {
        normalise(g, (order_t)order, true);
        if (!measure(&e, g, g->made)) return;
        take_larger(&s->simulated, &e);
        s->scales[order][s->large] = e.scale;
    }
    s->mean = fmax(s->mean, ratio);
    s->large += ratio >= LARGE;
}

static bool is_one_pass(survey_t *s) {
    double least = HUGE_VAL, most = 0;
    if (s->large == 0 || s->candidate.scale > FEW * s->simulated.scale ||
        s->candidate.shift > FEW * s->simulated.shift ||
        s->candidate.rest > FEW * s->simulated.rest)
        return false;
    for (int order = FORWARD; order <= EXACT; order++) {
        double typical = median(s->scales[order], s->large);
        least = fmin(least, typical), most = fmax(most, typical);
    }
    double typical = median(s->scale, s->large);
    return typical * FEW >= least && typical <= FEW * most;
}

void cause_one_pass(hunt_t *h) {
    norm_way_t n;
    survey_t s = {0};
    if (!is_float32(h->c) || !hunt_norm(h, &n) || is_epsilon(h, &n)) return;
    group_t g = new_group(h, &n);
    size_t groups = n.B * n.groups;
    s.scale = hunt_doubles(h, groups);
    for (int order = FORWARD; order <= EXACT; order++) s.scales[order] = hunt_doubles(h, groups);
    for (size_t k = 0; k < groups; k++) {
        enter_group(&g, h->c, k);
        survey_group(&s, &g);
    }
    if (is_one_pass(&s))
        hunt_say(h, "variance",
                 "the variance seems to be taken in one pass (E[x^2] - mean^2) in float32: groups "
                 "whose mean is up to %.3g times their deviation lose digits as that loses them",
                 s.mean);
}
