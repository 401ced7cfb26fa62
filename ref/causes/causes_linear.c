/* causes_linear.c - Linear and Conv2d done in another way: biases, transposed weights, padding, the
 * activation in front, products in a smaller format. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "causes/causes_hunt.h"
#include "core/fmath.h"

/* The culprit as the output of a linear map: of a Linear without experts, or of its base. */
static const linear_t *linear_of(const hunt_t *h) {
    const culprit_t *c = h->c;
    bool base = strcmp(h->part, ".mole.base") == 0;
    if (!c->module || c->module->kind != MODULE_LINEAR || (*h->part && !base)) return NULL;
    return c->module->as.linear;
}

/* Index of the channel of number i of the culprit. */
static size_t channel_of(const shape_t *s, size_t C, size_t i) {
    bool image = s->ndim == 4 && s->dim[1] == C;
    return image ? i / (s->dim[2] * s->dim[3]) % C : i % C;
}

static void try_bias(hunt_t *h, const real_t *bias, size_t C) {
    double *delta = hunt_doubles(h, h->c->count);
    if (!bias) return;
    for (size_t i = 0; i < h->c->count; i++)
        delta[i] = (double)bias[channel_of(&h->c->shape, C, i)];
    hunt_try_delta(h, delta, -1, "missing-bias", "the bias is left out");
    hunt_try_delta(h, delta, 1, "bias", "the bias is added twice");
    hunt_try_delta(h, delta, -2, "bias", "the bias is subtracted");
}

/* x as rows of channels: images are (B,C,H,W). */
static const double *as_rows(hunt_t *h, const double *x, const shape_t *s, size_t C) {
    if (s->ndim != 4 || s->dim[1] != C) return x;
    double *rows = hunt_doubles(h, shape_count(*s));
    hunt_swap_axes(rows, x, s->dim[0], C, s->dim[2] * s->dim[3]);
    return rows;
}

/* rows of N channels in the culprit's shape. */
static const double *as_culprit(hunt_t *h, const double *rows, size_t N) {
    const shape_t *s = &h->c->shape;
    if (s->ndim != 4 || s->dim[1] != N) return rows;
    double *out = hunt_doubles(h, h->c->count);
    hunt_swap_axes(out, rows, s->dim[0], s->dim[2] * s->dim[3], N);
    return out;
}

void cause_linear(hunt_t *h) {
    const linear_t *l = linear_of(h);
    if (!l) return;
    try_bias(h, l->bias, l->out);
    size_t K = l->in, N = l->out, M = h->c->count / N;
    if (!h->c->input || K != N || shape_count(h->c->input_shape) != M * K) return;
    real_t *transposed = hunt_reals(h, NULL, N * K);
    for (size_t n = 0; n < N; n++)
        for (size_t k = 0; k < K; k++)
            transposed[n * K + k] = (real_t)(l->weight[k * N + n] - l->weight[n * K + k]);
    const double *x = as_rows(h, h->c->input, &h->c->input_shape, K);
    const double *delta = hunt_linear(h, x, transposed, NULL, M, K, N);
    hunt_try_delta(h, as_culprit(h, delta, N), 1, "permuted-axes",
                   "the weight is transposed: (in,out) taken for (out,in)");
}

/* ---- convolution ----------------------------------------------------------------------------- */

/* conv2d of x (B,Ci,H,W) in torch's order; NULL when its result has not the culprit's shape. */
static const double *convolve(hunt_t *h, const conv_t *conv, const double *x, const real_t *weight,
                              size_t H, size_t W, conv2d_geometry_t g) {
    const shape_t *s = &h->c->shape;
    size_t B = h->c->input_shape.dim[0];
    if (H + g.top + g.bottom < g.kernel_h || W + g.left + g.right < g.kernel_w) return NULL;
    size_t Ho = conv2d_out(H, g.top, g.bottom, g.kernel_h, g.stride);
    size_t Wo = conv2d_out(W, g.left, g.right, g.kernel_w, g.stride);
    if (Ho != s->dim[2] || Wo != s->dim[3]) return NULL;
    double *last = hunt_doubles(h, B * H * W * conv->in);
    hunt_swap_axes(last, x, B, conv->in, H * W);
    real_t *in = hunt_reals(h, last, B * H * W * conv->in), *out = hunt_reals(h, NULL, h->c->count);
    real_t *work = hunt_reals(
        h, NULL, conv2d_work(B, conv->in, H, W, conv->out, g, CONV_TILES, h->run->matmul));
    conv2d(out, in, weight, conv->bias, B, conv->in, H, W, conv->out, g, work, CONV_TILES,
           h->run->matmul);
    double *y = hunt_doubles(h, h->c->count);
    for (size_t b = 0; b < B; b++)
        for (size_t p = 0; p < Ho * Wo; p++)
            for (size_t o = 0; o < conv->out; o++)
                y[(b * conv->out + o) * Ho * Wo + p] =
                    (double)out[(b * Ho * Wo + p) * conv->out + o];
    return y;
}

static void try_conv(hunt_t *h, const double *guess, const char *kind, const char *text) {
    if (guess) hunt_try(h, guess, kind, "%s", text);
}

static void try_geometry(hunt_t *h, const conv_t *conv, size_t H, size_t W) {
    conv2d_geometry_t g = conv->geometry;
    static const size_t ways[][4] = {{0, 1, 0, 1}, {1, 0, 1, 0}, {0, 2, 0, 2},
                                     {2, 0, 2, 0}, {1, 1, 1, 1}, {0, 0, 0, 0}};
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        const size_t *way = ways[i];
        conv2d_geometry_t right = conv->geometry;
        g.left = way[0], g.right = way[1], g.top = way[2], g.bottom = way[3];
        if (memcmp(&g, &right, sizeof g) == 0) continue;
        const double *guess = convolve(h, conv, h->c->input, conv->weight, H, W, g);
        if (!guess) continue;
        hunt_try(h, guess, "padding",
                 "padded (left, right, top, bottom) by (%zu,%zu,%zu,%zu) instead of "
                 "(%zu,%zu,%zu,%zu)%s",
                 g.left, g.right, g.top, g.bottom, right.left, right.right, right.top, right.bottom,
                 i == 0 ? ", as the VAE's encoder is" : "");
    }
}

/* What stands outside the image: 0 the edge repeated, 1 mirrored, 2 from the other side. */
static size_t outside(long i, long n, int fill) {
    if (i >= 0 && i < n) return (size_t)i;
    long edge = i < 0 ? 0 : n - 1, mirrored = i < 0 ? -i : 2 * n - 2 - i;
    if (fill == 1 && (mirrored < 0 || mirrored >= n)) mirrored = edge;
    return (size_t)(fill == 0 ? edge : fill == 1 ? mirrored : (i + n) % n);
}

static void try_fill(hunt_t *h, const conv_t *conv, size_t H, size_t W) {
    static const char *const texts[] = {"padded with the edge's pixels; it should be zeros",
                                        "padded with the mirrored image; it should be zeros",
                                        "padded with the opposite side; it should be zeros"};
    conv2d_geometry_t g = conv->geometry;
    size_t Hp = H + g.top + g.bottom, Wp = W + g.left + g.right;
    size_t planes = h->c->input_shape.dim[0] * conv->in;
    if (Hp == H && Wp == W) return;
    for (int fill = 0; fill < 3; fill++) {
        double *padded = hunt_doubles(h, planes * Hp * Wp);
        for (size_t i = 0; i < planes * Hp * Wp; i++) {
            long y = (long)(i / Wp % Hp) - (long)g.top, x = (long)(i % Wp) - (long)g.left;
            size_t from = outside(y, (long)H, fill) * W + outside(x, (long)W, fill);
            padded[i] = h->c->input[i / Wp / Hp * H * W + from];
        }
        conv2d_geometry_t bare = {g.kernel_h, g.kernel_w, g.stride, 0, 0, 0, 0};
        try_conv(h, convolve(h, conv, padded, conv->weight, Hp, Wp, bare), "padding", texts[fill]);
    }
}

/* Wrong ways to read a convolution's weight. */
static const struct {
    const char *kind, *text;
} readings[] = {
    {"layout", "the kernel is turned by 180 degrees: signal processing's convolution; torch's is a "
               "correlation"},
    {"permuted-axes", "the kernel's rows and columns are exchanged"},
    {"permuted-axes", "the weight's channels are exchanged: (in,out,kh,kw) for (out,in,kh,kw)"},
    {"nhwc", "the weight is stored (out,kh,kw,in) and read as (out,in,kh,kw)"},
    {"nhwc", "the weight is stored (out,in,kh,kw) and read as (out,kh,kw,in)"},
};

/* Where a wrong reading finds weight[o,i,u,v], in channels-last memory. */
static size_t weight_at(const conv_t *conv, size_t way, size_t o, size_t i, size_t u, size_t v) {
    size_t kh = conv->geometry.kernel_h, kw = conv->geometry.kernel_w, Ci = conv->in, t = u;
    size_t at = way == 3 ? (i * kh + u) * kw + v : (u * kw + v) * Ci + i;
    switch (way) {
    case 0: u = kh - 1 - u, v = kw - 1 - v; break;
    case 1: u = v, v = t; break;
    case 2: t = o, o = i, i = t; break;
    case 3: return o * kh * kw * Ci + at;
    default: i = at / kw / kh, u = at / kw % kh, v = at % kw; break;
    }
    return ((o * kh + u) * kw + v) * Ci + i;
}

static void try_weights(hunt_t *h, const conv_t *conv, size_t H, size_t W) {
    size_t kh = conv->geometry.kernel_h, kw = conv->geometry.kernel_w, Ci = conv->in;
    size_t count = conv->out * kh * kw * Ci;
    real_t *weight = hunt_reals(h, NULL, count);
    for (size_t way = 0; way < sizeof readings / sizeof *readings; way++) {
        if ((way == 1 && kh != kw) || (way == 2 && Ci != conv->out)) continue;
        for (size_t n = 0; n < count; n++)
            weight[n] = conv->weight[weight_at(conv, way, n / Ci / kw / kh, n % Ci,
                                               n / Ci / kw % kh, n / Ci % kw)];
        try_conv(h, convolve(h, conv, h->c->input, weight, H, W, conv->geometry),
                 readings[way].kind, readings[way].text);
    }
}

void cause_conv(hunt_t *h) {
    const culprit_t *c = h->c;
    if (!c->module || c->module->kind != MODULE_CONV || *h->part || c->shape.ndim != 4) return;
    const conv_t *conv = c->module->as.conv;
    try_bias(h, conv->bias, conv->out);
    if (!c->input || c->input_shape.ndim != 4 || c->input_shape.dim[1] != conv->in) return;
    size_t H = c->input_shape.dim[2], W = c->input_shape.dim[3];
    try_geometry(h, conv, H, W);
    try_fill(h, conv, H, W);
    try_weights(h, conv, H, W);
}

/* ---- the activation in front ----------------------------------------------------------------- */

static bool is_silu(const double *x, const double *before, size_t count) {
    double rest = 0, size = 0;
    for (size_t i = 0; i < count; i++) {
        double d = x[i] - before[i] * fmath_sigmoid(before[i]);
        rest += d * d;
        size += x[i] * x[i];
    }
    return rest <= 1e-8 * size;
}

/* Layers that take silu(another tap). */
void cause_input_activation(hunt_t *h) {
    static const char *const pairs[][2] = {
        {".conv1", ".norm1"}, {".conv2", ".norm2"}, {".conv_out", ".conv_norm_out"}};
    const culprit_t *c = h->c;
    if (!c->module || !c->input || *h->part) return;
    shape_t shape = SHAPE0();
    const double *before = NULL;
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs && !before; i++)
        before = hunt_neighbour(h, pairs[i][0], pairs[i][1], &shape);
    if (text_ends(h->module, ".time_emb_proj")) before = hunt_tap(h, "unet.time_embedding", &shape);
    size_t count = shape_count(c->input_shape);
    if (!before || shape_count(shape) != count || !is_silu(c->input, before, count)) return;
    double *x = hunt_doubles(h, count);
    for (size_t act = 0; act < CAUSE_ACTS; act++) {
        if (act == CAUSE_SILU) continue;
        for (size_t i = 0; i < count; i++) x[i] = cause_acts[act].function(before[i]);
        const double *guess = hunt_apply(h, x);
        if (guess)
            hunt_try(h, guess, "activation", "%s in front of %s; SiLU belongs there",
                     cause_acts[act].name, h->module);
    }
    for (size_t i = 0; i < count; i++) x[i] = c->input[i] * fmath_sigmoid(c->input[i]);
    const double *guess = hunt_apply(h, x);
    if (guess) hunt_try(h, guess, "activation", "SiLU is applied twice in front of %s", h->module);
}

/* ---- products in a smaller format ------------------------------------------------------------ */

/* Inputs and weights rounded, sums wide: what tensor cores do in TF32, f16 and bf16. */
void cause_low_precision(hunt_t *h) {
    static const struct {
        const char *name;
        int bits;
    } formats[] = {{"f16 or TF32", 11}, {"bf16", 8}};
    const linear_t *l = linear_of(h);
    const culprit_t *c = h->c;
    if (!l || l->mole != NULL || !c->input) return;
    size_t K = l->in, N = l->out, M = c->count / N;
    if (shape_count(c->input_shape) != M * K) return;
    for (size_t f = 0; f < sizeof formats / sizeof *formats; f++) {
        double *x = hunt_doubles(h, M * K);
        real_t *w = hunt_reals(h, NULL, N * K);
        for (size_t i = 0; i < M * K; i++) x[i] = cause_round(c->input[i], formats[f].bits, -126);
        for (size_t i = 0; i < N * K; i++)
            w[i] = (real_t)cause_round((double)l->weight[i], formats[f].bits, -126);
        const double *rows = as_rows(h, x, &c->input_shape, K);
        const double *guess = as_culprit(h, hunt_linear(h, rows, w, l->bias, M, K, N), N);
        hunt_try(h, guess, "precision",
                 "input and weight are rounded to %s (%d bits) before the product", formats[f].name,
                 formats[f].bits);
    }
}
