/* causes_attention.c - the attention core done in another way: scale, heads, mask,
 * exchanged tensors.
 *
 * The core has no tap of its own: it shows as a wrong to_out.0 (out_proj), whose input the
 * reference made from the candidate's q, k and v. The number of heads and the mask are not told:
 * they are those that give that input. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "causes/causes_hunt.h"
#include "core/fmath.h"

typedef struct {
    size_t B, T, S, C;
    const double *q, *k, *v;
    size_t heads;
    double scale;
    bool causal;
} core_t;

static const double *attend(hunt_t *h, const core_t *a) {
    size_t D = a->C / a->heads, rows = a->B * a->T, keys = a->B * a->S;
    real_t *q = hunt_reals(h, a->q, rows * a->C), *k = hunt_reals(h, a->k, keys * a->C);
    real_t *v = hunt_reals(h, a->v, keys * a->C), *out = hunt_reals(h, NULL, rows * a->C);
    real_t *work = hunt_reals(h, NULL, attention_work(a->B, a->T, a->S, a->heads, D));
    attention(out, q, k, v, a->B, a->T, a->S, a->heads, D, a->scale, a->causal, work,
              h->run->matmul);
    double *y = hunt_doubles(h, rows * a->C);
    for (size_t i = 0; i < rows * a->C; i++) y[i] = (double)out[i];
    return y;
}

/* q, k, v beside the culprit; false when one is missing or they do not fit. */
static bool read_core(hunt_t *h, core_t *a) {
    static const char *const names[2][4] = {{".to_out.0", ".to_q", ".to_k", ".to_v"},
                                            {".out_proj", ".q_proj", ".k_proj", ".v_proj"}};
    for (size_t i = 0; i < 2; i++) {
        shape_t q, k, v;
        if (!hunt_layer_is(h, names[i][0])) continue;
        a->q = hunt_neighbour(h, names[i][0], names[i][1], &q);
        a->k = hunt_neighbour(h, names[i][0], names[i][2], &k);
        a->v = hunt_neighbour(h, names[i][0], names[i][3], &v);
        if (!a->q || !a->k || !a->v || q.ndim != 3 || !shape_equal(k, v)) return false;
        a->B = q.dim[0], a->T = q.dim[1], a->C = q.dim[2], a->S = k.dim[1];
        return k.ndim == 3 && k.dim[0] == a->B && k.dim[2] == a->C;
    }
    return false;
}

/* The input that the reference made: `input`, or the culprit where that is the input's tap. */
static const double *right_output(const hunt_t *h, const core_t *a) {
    const double *x = strcmp(h->part, ".in") == 0 ? h->c->expected : h->c->input;
    size_t count = strcmp(h->part, ".in") == 0 ? h->c->count : shape_count(h->c->input_shape);
    return x && count == a->B * a->T * a->C ? x : NULL;
}

static bool calibrate(hunt_t *h, core_t *a) {
    const double *right = right_output(h, a);
    for (size_t heads = 1; right && heads <= a->C; heads++) {
        if (a->C % heads) continue;
        for (int causal = 0; causal <= (a->T == a->S); causal++) {
            a->heads = heads;
            a->scale = 1 / sqrt((double)(a->C / heads));
            a->causal = causal;
            if (hunt_same(h, attend(h, a), right, a->B * a->T * a->C)) return true;
        }
    }
    return false;
}

/* The core's output, on through the layer that the culprit is. */
static void try_output(hunt_t *h, const double *core, const char *kind, const char *text) {
    const double *guess = strcmp(h->part, ".in") == 0 ? core : hunt_apply(h, core);
    if (guess) hunt_try(h, guess, kind, "%s", text);
}

static void try_core(hunt_t *h, const core_t *a, const char *kind, const char *text) {
    try_output(h, attend(h, a), kind, text);
}

static void try_scales(hunt_t *h, const core_t *right) {
    double D = (double)(right->C / right->heads);
    const struct {
        double scale;
        const char *text;
    } ways[] = {
        {1, "the scores are not scaled; they belong divided by sqrt(head width)"},
        {1 / D, "the scores are divided by the head width; it should be its root"},
        {right->scale * right->scale * right->scale, "the scores are scaled three times"},
        {1 / sqrt((double)right->C), "the scores are divided by sqrt(channels) instead of "
                                     "sqrt(head width)"},
        {1 / (double)right->C, "the scores are divided by the channels"},
        {1 / sqrt((double)right->heads), "the scores are divided by sqrt(heads) instead of "
                                         "sqrt(head width)"},
        {sqrt(D), "the scores are multiplied by sqrt(head width); divide"},
        {right->scale * 1.4426950408889634, "the scores are scaled by log2(e) too: exp for exp2"},
        {right->scale * 0.6931471805599453, "2^x for e^x in the softmax"},
        {1 / sqrt(sqrt(D)), "the scores are scaled by width^-1/4: applied to q or k alone"}};
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        core_t way = *right;
        way.scale = ways[i].scale;
        if (fabs(way.scale - right->scale) <= 1e-9 * right->scale) continue;
        try_core(h, &way, "heads", ways[i].text);
    }
}

static void try_heads(hunt_t *h, const core_t *right) {
    char text[CAUSE_TEXT];
    for (size_t heads = 1; heads <= right->C; heads++) {
        core_t way = *right;
        if (right->C % heads || heads == right->heads) continue;
        way.heads = heads;
        bool exchanged = heads == right->C / right->heads;
        snprintf(text, sizeof text, "%zu heads of %zu channels; it should be %zu of %zu%s", heads,
                 right->C / heads, right->heads, right->C / right->heads,
                 exchanged ? " (head count taken for head width)" : "");
        way.scale = 1 / sqrt((double)(right->C / heads));
        try_core(h, &way, "heads", text);
        way.scale = right->scale;
        try_core(h, &way, "heads", text);
    }
}

static const double *swap_samples(hunt_t *h, const double *x, size_t B, size_t each) {
    double *out = hunt_doubles(h, B * each);
    for (size_t b = 0; b < B; b++)
        memcpy(out + b * each, x + (b + B / 2) % B * each, each * sizeof *out);
    return out;
}

/* What goes into to_q, in the attention's place. */
static void try_bypass(hunt_t *h, const core_t *right) {
    static const char *const norms[][2] = {{".to_out.0", ".group_norm"},
                                           {".attn1.to_out.0", ".norm1"},
                                           {".attn2.to_out.0", ".norm2"},
                                           {".self_attn.out_proj", ".layer_norm1"}};
    for (size_t i = 0; i < sizeof norms / sizeof *norms; i++) {
        shape_t s;
        const double *x = hunt_neighbour(h, norms[i][0], norms[i][1], &s);
        if (!x || s.ndim != 3 || shape_count(s) != right->B * right->T * right->C) continue;
        double *tokens = hunt_doubles(h, shape_count(s));
        hunt_swap_axes(tokens, x, s.dim[0], s.dim[1], s.dim[2]); /* GroupNorm's is (B,C,T) */
        try_output(h, i == 0 ? tokens : x, "skipped",
                   "the attention is left out: its normalised input is projected");
    }
}

static void try_tensors(hunt_t *h, const core_t *right) {
    core_t way = *right;
    way.k = right->v, way.v = right->k;
    try_core(h, &way, "swapped-tensors", "keys and values are exchanged in the attention");
    if (right->T == right->S) {
        way = *right, way.q = right->k, way.k = right->q;
        try_core(h, &way, "swapped-tensors", "queries and keys are exchanged in the attention");
        way = *right, way.q = right->v, way.v = right->q;
        try_core(h, &way, "swapped-tensors", "queries and values are exchanged in the attention");
        way = *right, way.causal = !right->causal;
        try_core(h, &way, "mask",
                 right->causal ? "the causal mask is missing"
                               : "a causal mask is applied; all tokens see all here");
    }
    if (right->B % 2 == 0) {
        size_t each = right->S * right->C;
        way = *right, way.k = swap_samples(h, right->k, right->B, each);
        way.v = swap_samples(h, right->v, right->B, each);
        try_core(h, &way, "order", "keys and values are those of the other half of the batch");
    }
    try_output(h, right->v, "skipped", "the values alone: the attention is left out");
    try_bypass(h, right);
}

/* ---- what needs the scores: softmax over another axis, another mask -------------------------- */

typedef enum {
    SOFTMAX_NONE,
    SOFTMAX_QUERIES,
    SOFTMAX_HEADS,
    MASK_BEFORE,
    MASK_FUTURE
} scores_way_t;

static double score(const core_t *a, size_t b, size_t t, size_t s, size_t head) {
    size_t D = a->C / a->heads;
    const double *q = a->q + (b * a->T + t) * a->C + head * D;
    const double *k = a->k + (b * a->S + s) * a->C + head * D;
    double sum = 0;
    for (size_t d = 0; d < D; d++) sum += q[d] * k[d];
    return a->scale * sum;
}

/* Scores of one sample (T,S,heads) to weights, in place. */
static void weigh(double *w, const core_t *a, scores_way_t way) {
    size_t T = a->T, S = a->S, N = a->heads, n = T * S * N;
    for (size_t i = 0; i < n && way != SOFTMAX_NONE; i++) {
        size_t s = i / N % S, t = i / N / S;
        bool hidden = (way == MASK_BEFORE && s >= t && t > 0) || (way == MASK_FUTURE && s < t) ||
                      (way < MASK_BEFORE && a->causal && s > t);
        w[i] = hidden ? 0 : fmath_exp(w[i]);
    }
    size_t outer = way == SOFTMAX_QUERIES ? 1 : T, size = way == SOFTMAX_QUERIES ? T : S;
    size_t inner = way == SOFTMAX_QUERIES ? S * N : N;
    if (way == SOFTMAX_HEADS) outer = T * S, size = N, inner = 1;
    for (size_t o = 0; o < outer && way != SOFTMAX_NONE; o++)
        for (size_t i = 0; i < inner; i++) {
            double sum = 0;
            for (size_t j = 0; j < size; j++) sum += w[(o * size + j) * inner + i];
            for (size_t j = 0; j < size && sum > 0; j++) w[(o * size + j) * inner + i] /= sum;
        }
}

static const double *attend_slowly(hunt_t *h, const core_t *a, scores_way_t way) {
    size_t T = a->T, S = a->S, N = a->heads, D = a->C / N;
    double *out = hunt_doubles(h, a->B * T * a->C), *w = hunt_doubles(h, T * S * N);
    REQUIRE(T >= 1 && S >= 1 && N >= 1, "attend_slowly: T=%zu S=%zu heads=%zu", T, S, N);
    memset(out, 0, a->B * T * a->C * sizeof *out);
    for (size_t b = 0; b < a->B; b++) {
        for (size_t i = 0; i < T * S * N; i++) w[i] = score(a, b, i / N / S, i / N % S, i % N);
        weigh(w, a, way);
        for (size_t i = 0; i < T * S * N; i++) {
            const double *v = a->v + (b * S + i / N % S) * a->C + i % N * D;
            double *to = out + (b * T + i / N / S) * a->C + i % N * D;
            for (size_t d = 0; d < D; d++) to[d] += w[i] * v[d];
        }
    }
    return out;
}

static void try_scores(hunt_t *h, const core_t *right) {
    if ((double)right->B * (double)right->T * (double)right->S * (double)right->C > 1e9) return;
    try_output(h, attend_slowly(h, right, SOFTMAX_QUERIES), "heads",
               "the softmax runs over the queries; it belongs over the keys");
    if (right->heads > 1)
        try_output(h, attend_slowly(h, right, SOFTMAX_HEADS), "heads",
                   "the softmax runs over the heads; it belongs over the keys");
    try_output(h, attend_slowly(h, right, SOFTMAX_NONE), "heads", "the softmax is missing");
    if (!right->causal) return;
    try_output(h, attend_slowly(h, right, MASK_BEFORE), "mask",
               "the causal mask hides a token from itself; each sees itself and those before it");
    try_output(h, attend_slowly(h, right, MASK_FUTURE), "mask",
               "the causal mask is turned round: it hides the past");
}

/* ---- layouts --------------------------------------------------------------------------------- */

/* Channels (heads,D) <-> (D,heads) of rows. */
static const double *interleave(hunt_t *h, const double *x, size_t rows, size_t heads, size_t D) {
    double *out = hunt_doubles(h, rows * heads * D);
    hunt_swap_axes(out, x, rows, heads, D);
    return out;
}

static void try_layouts(hunt_t *h, const core_t *right) {
    size_t N = right->heads, D = right->C / N, B = right->B, T = right->T, S = right->S;
    if (N == 1) return;
    core_t way = *right;
    way.q = interleave(h, right->q, B * T, D, N);
    way.k = interleave(h, right->k, B * S, D, N);
    way.v = interleave(h, right->v, B * S, D, N);
    try_output(h, interleave(h, attend(h, &way), B * T, N, D), "heads",
               "the channels are split as (width, heads); heads come first");
    const double *out = attend(h, right);
    double *split = hunt_doubles(h, B * T * right->C);
    for (size_t i = 0; i < B * T * right->C; i++) { /* (B,T,N,D) -> (B,N,T,D) */
        size_t d = i % D, n = i / D % N, t = i / right->C % T, b = i / right->C / T;
        split[((b * N + n) * T + t) * D + d] = out[i];
    }
    try_output(h, split, "permuted-axes",
               "the heads are not merged back: (heads, tokens) for (tokens, heads)");
}

void cause_attention(hunt_t *h) {
    core_t right = {0};
    if (!read_core(h, &right) || !calibrate(h, &right)) return;
    try_scales(h, &right);
    try_tensors(h, &right);
    try_heads(h, &right);
    try_layouts(h, &right);
    try_scores(h, &right);
}
