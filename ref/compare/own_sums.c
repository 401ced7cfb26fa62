/* own_sums.c - see own_sums.h.
 *
 * A sum t_1 + ... + t_K in one accumulator is off by a rounding of every partial sum, independent of each
 * other and in proportion to it: by sqrt(sum_k s_k^2) roundings, s_k = t_1 + ... + t_k, and by one of every
 * product. */
#include "compare/own_sums.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/tap_name.h"

/* So many outputs stand for a tap; an expert's share so many tokens, since each takes all its ranks. */
enum { SAMPLES = 256, TOKENS = 16 };

/* Mean squares, in roundings, over the sums that were added up; the longest of these. */
typedef struct {
    double square;
    size_t sums, length;
} lost_t;

/* Of one sum, from the end that loses more; term may be changed. */
static double sum_square(const double *term, size_t K) {
    double products = 0, ends[2] = {0, 0}, s[2] = {0, 0};
    for (size_t k = 0; k < K; k++) {
        products += term[k] * term[k];
        s[0] += term[k];
        s[1] += term[K - 1 - k];
        if (k > 0)
            for (int e = 0; e < 2; e++) ends[e] += s[e] * s[e];
    }
    return products + fmax(ends[0], ends[1]);
}

static void add_sum(lost_t *lost, const double *term, size_t K, double more) {
    lost->square += sum_square(term, K) + more;
    lost->sums++;
    if (K > lost->length) lost->length = K;
}

static own_sums_t lost_rms(const lost_t *lost) {
    double square = lost->sums ? lost->square / (double)lost->sums : 0;
    return (own_sums_t){OWN_ROUNDING * sqrt(square), lost->length};
}

/* An input that attention made: its own sums, over `attended` tokens and of softmax, lose sqrt(n / 3)
 * roundings of it each, all of one sign. */
static double attention_square(const own_input_t *in, const double *term, size_t K) {
    double square = 0;
    if (!text_ends(in->name, ".to_out.0") && !text_ends(in->name, ".out_proj")) return 0;
    for (size_t k = 0; k < K; k++) square += term[k] * term[k];
    return square * 2 * (double)in->attended / 3;
}

/* Where the token (or pixel) of an output begins in the input, how far its channels lie apart, and its
 * channel. */
typedef struct {
    size_t at, stride, channel;
} place_t;

static place_t place_of(shape_t in, shape_t out, size_t channels, size_t flat) {
    if (out.ndim != 4) {
        size_t each = out.dim[out.ndim - 1];
        return (place_t){flat / each * channels, 1, flat % each};
    }
    size_t P = in.dim[2] * in.dim[3], b = flat / (out.dim[1] * P);
    return (place_t){b * channels * P + flat % P, P, flat / P % out.dim[1]};
}

/* ---- linear maps, convolutions, norms -------------------------------------------------------------- */

static own_sums_t linear_error(const own_input_t *in, const linear_t *l, shape_t out) {
    lost_t lost = {0};
    size_t count = shape_count(out), samples = count < SAMPLES ? count : SAMPLES;
    double *term = xmalloc((l->in + 1) * sizeof *term);
    for (size_t i = 0; l->weight && i < samples; i++) {
        place_t p = place_of(in->shape, out, l->in, count / samples * i);
        for (size_t k = 0; k < l->in; k++)
            term[k] = (double)l->weight[p.channel * l->in + k] * in->input[p.at + k * p.stride];
        term[l->in] = l->bias ? (double)l->bias[p.channel] : 0;
        add_sum(&lost, term, l->in + 1, attention_square(in, term, l->in));
    }
    free(term);
    return lost_rms(&lost);
}

/* The products of one output, the padding's left out; returns how many. */
static size_t window_terms(double *term, const conv_t *c, const own_input_t *in, shape_t out,
                           size_t flat) {
    conv2d_geometry_t g = c->geometry;
    size_t H = in->shape.dim[2], W = in->shape.dim[3], K = 0;
    size_t x = flat % out.dim[3], y = flat / out.dim[3] % out.dim[2];
    size_t o = flat / (out.dim[2] * out.dim[3]) % out.dim[1],
           b = flat / (out.dim[1] * out.dim[2] * out.dim[3]);
    for (size_t u = 0; u < g.kernel_h; u++)
        for (size_t v = 0; v < g.kernel_w; v++) {
            size_t r = y * g.stride + u - g.top, s = x * g.stride + v - g.left;
            if (r >= H || s >= W) continue; /* above and left of it wrap around */
            const real_t *w = c->weight + ((o * g.kernel_h + u) * g.kernel_w + v) * c->in;
            for (size_t i = 0; i < c->in; i++)
                term[K++] = (double)w[i] * in->input[((b * c->in + i) * H + r) * W + s];
        }
    if (c->bias) term[K++] = (double)c->bias[o];
    return K;
}

static own_sums_t conv_error(const own_input_t *in, const conv_t *c, shape_t out) {
    lost_t lost = {0};
    size_t count = shape_count(out), samples = count < SAMPLES ? count : SAMPLES;
    double *term =
        xmalloc((c->in * c->geometry.kernel_h * c->geometry.kernel_w + 1) * sizeof *term);
    for (size_t i = 0; i < samples; i++)
        add_sum(&lost, term, window_terms(term, c, in, out, count / samples * i), 0);
    free(term);
    return lost_rms(&lost);
}

/* Of n numbers of mean m and deviation d: the mean is off by sqrt(n / 3) roundings of m and sqrt(1 / 2) of
 * d; the variance, whose squares are all of one sign, by sqrt(n / 3) of itself. */
static double group_square(const double *x, size_t n, double eps) {
    double mean = 0, variance = 0, N = (double)n;
    for (size_t i = 0; i < n; i++) mean += x[i] / N;
    for (size_t i = 0; i < n; i++) variance += (x[i] - mean) * (x[i] - mean) / N;
    double d = sqrt(variance + eps), of_mean = sqrt(N / 3) * fabs(mean) / d + sqrt(0.5);
    return of_mean * of_mean + N / 3 / 4 * variance / (variance + eps);
}

static own_sums_t norm_error(const own_input_t *in, const norm_t *norm) {
    size_t count = shape_count(in->shape), square_of = norm->channels;
    size_t n = norm->groups ? count / (in->shape.dim[0] * norm->groups) : norm->channels;
    size_t groups = count / n, samples = groups < TOKENS ? groups : TOKENS;
    lost_t lost = {0};
    double weights = 0;
    for (size_t i = 0; i < square_of; i++)
        weights += (double)norm->weight[i] * (double)norm->weight[i] / (double)square_of;
    for (size_t i = 0; i < samples; i++, lost.sums++)
        lost.square += group_square(in->input + groups / samples * i * n, n, norm->eps);
    lost.square *= weights;
    lost.length = n;
    return lost_rms(&lost);
}

/* ---- MoLE ------------------------------------------------------------------------------------------ */

static const mole_expert_t *expert_of(const mole_layer_t *layer, tap_name_t name, size_t *row) {
    for (*row = 0; *row < layer->experts; ++*row)
        if (tap_span_is(name.expert, layer->expert[*row].name)) return &layer->expert[*row];
    return NULL;
}

/* s up (down x): both sums, and what the first one's error becomes in the second. */
static own_sums_t expert_error(const own_input_t *in, const mole_expert_t *e, size_t d,
                               shape_t out) {
    lost_t lost = {0};
    size_t R = e->rank, count = shape_count(out), samples = count < TOKENS ? count : TOKENS;
    double *term = xmalloc((d + 1) * sizeof *term), *hidden = xmalloc(2 * R * sizeof *hidden);
    for (size_t i = 0; e->down && e->up && i < samples; i++) {
        place_t p = place_of(in->shape, out, d, count / samples * i);
        double inherited = 0;
        for (size_t r = 0; r < R; r++) {
            double sum = 0, up = (double)e->up[p.channel * R + r] * e->scale;
            for (size_t k = 0; k < d; k++)
                sum += term[k] = (double)e->down[r * d + k] * in->input[p.at + k * p.stride];
            hidden[r] = up * sum;
            inherited += up * up * sum_square(term, d);
        }
        add_sum(&lost, hidden, R, inherited);
    }
    lost.length = d > R ? d : R;
    free(term);
    free(hidden);
    return lost_rms(&lost);
}

/* sigmoid(Phi . x + phi), whose slope is D (1 - D); x: the gates. */
static own_sums_t local_error(const own_input_t *in, const mole_layer_t *layer, size_t row,
                              const double *x, shape_t out) {
    lost_t lost = {0};
    size_t d = layer->d_in, count = shape_count(out), samples = count < SAMPLES ? count : SAMPLES;
    double *term = xmalloc((d + 1) * sizeof *term);
    lost.length = d + 1;
    bool image = in->shape.ndim == 4;
    size_t P = image ? in->shape.dim[2] * in->shape.dim[3] : 1;
    for (size_t i = 0; layer->local_weight && i < samples; i++) {
        size_t flat = count / samples * i, at = flat / P * d * P + flat % P;
        for (size_t k = 0; k < d; k++)
            term[k] = (double)layer->local_weight[row * d + k] * in->input[at + k * P];
        term[d] = (double)layer->local_bias[row];
        double slope = x[flat] * (1 - x[flat]);
        lost.square += slope * slope * sum_square(term, d + 1);
        lost.sums++;
    }
    free(term);
    return lost_rms(&lost);
}

/* A product of as many terms as the layer has outputs, of means over tokens: gates.h gives what a rounding
 * of each term comes to, 0.7 of 2^-24; random sums of n terms lose sqrt(n / 2) roundings of them, means
 * sqrt(n / 3). */
static own_sums_t global_error(const comparison_t *c, own_input_t *in, const mole_layer_t *layer,
                               const char *tap, const double *x, shape_t out) {
    double each = gate_rounding(&in->gate, c, BUDGET_TF32, tap, x, out) * (0x1p-24 / 0x1p-11);
    double tokens = (double)shape_count(in->shape) / (double)(in->shape.dim[0] * layer->d_in);
    double lost = each * 0.425 / 0.7 * sqrt((double)layer->d_out / 2 + tokens / 3);
    return (own_sums_t){lost, layer->d_out};
}

static own_sums_t mole_error(const comparison_t *c, own_input_t *in, const linear_t *l,
                             const char *tap, const double *x, shape_t shape) {
    tap_name_t name = tap_name(tap);
    size_t row;
    if (strcmp(name.part, "base") == 0) return linear_error(in, l, shape);
    const mole_expert_t *expert = name.is_mole ? expert_of(l->mole, name, &row) : NULL;
    if (!expert) return (own_sums_t){0}; /* the mixture of what was summed up before */
    if (strcmp(name.part, "local") == 0) return local_error(in, l->mole, row, x, shape);
    if (strcmp(name.part, "global") == 0) return global_error(c, in, l->mole, tap, x, shape);
    if (strcmp(name.part, "expert") != 0) return (own_sums_t){0};
    gate_rounding(&in->gate, c, BUDGET_TF32, tap, x, shape); /* keeps its mean */
    return expert_error(in, expert, l->in, shape);
}

own_sums_t own_sum_error(const comparison_t *c, own_input_t *in, const char *tap, const double *x,
                         shape_t shape) {
    char *layer = tap_name_layer(tap, "");
    const module_t *m = strcmp(layer, in->name) == 0 ? pipeline_module(&c->pipeline, layer) : NULL;
    free(layer);
    if (!m || !shape_count(shape)) return (own_sums_t){0};
    switch (m->kind) {
    case MODULE_CONV: return conv_error(in, m->as.conv, shape);
    case MODULE_GROUP_NORM:
    case MODULE_LAYER_NORM: return norm_error(in, m->as.norm);
    default: break;
    }
    const linear_t *l = m->as.linear;
    return l->mole ? mole_error(c, in, l, tap, x, shape) : linear_error(in, l, shape);
}
