/* Causes inside an operation: each layer is computed in a wrong way by the slow oracle, or by hand,
 * and the way has to be named. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "causes_bench.h"
#include "ops/ops.h"

enum { B = 2, C = 8, H = 4, W = 4, P = H * W, COUNT = B * C * P, T = 5, G = 2 };
#define IMAGE SHAPE4(B, C, H, W)

static double *make(size_t count) {
    return bench_zeros(count);
}

/* Small numbers: an epsilon of 1e-5 is seen. */
static const double *quiet(size_t count, uint64_t seed) {
    return fixture_random(count, seed, 0.01);
}

/* ---- norms ----------------------------------------------------------------------------------- */

static double *group_normed(const double *x, const double *w, const double *b, size_t groups,
                            double eps) {
    double *y = make(COUNT), *size = make(COUNT);
    slow_group_norm(y, size, x, w, b, B, C, P, groups, eps);
    return y;
}

static void group_norms(void **state) {
    (void)state;
    const double *x = quiet(COUNT, 1), *w = fixture_random(C, 2, 1), *b = fixture_random(C, 3, 1);
    double one[C], none[C] = {0};
    for (int i = 0; i < C; i++) one[i] = 1;
    norm_t norm = {"unet.r.norm", C, G, 1e-6, fixture_reals(w, C), fixture_reals(b, C)};
    module_t module = {norm.name, MODULE_GROUP_NORM, {.norm = &norm}};
    bench_start(norm.name, IMAGE, group_normed(x, w, b, G, 1e-6));
    bench_module(&module, x, IMAGE);
    bench_expect(group_normed(x, w, b, G, 1e-5), "epsilon", "1e-05 instead of 1e-06");
    bench_expect(group_normed(x, w, b, G, 1e-3), "epsilon", "0.001 instead");
    bench_expect(group_normed(x, w, b, 1, 1e-6), "groups", "1 groups instead of 2");
    bench_expect(group_normed(x, w, b, C, 1e-6), "groups", "InstanceNorm");
    bench_expect(group_normed(x, w, b, 2 * G, 1e-6), "groups", "4 groups");
    bench_expect(group_normed(x, one, none, G, 1e-6), "affine", "weight and bias");
    bench_expect(group_normed(x, w, none, G, 1e-6), "affine", "bias is left out");
    bench_expect(group_normed(x, one, b, G, 1e-6), "affine", "weight is left out");
    bench_expect(x, "norm-missing", NULL);
    bench_expect(group_normed(x, w, b, G, 2.5e-6), "epsilon", "2.5e-06 instead of 1e-06");

    double mixed[COUNT], back[COUNT]; /* channels 0 2 4 6 | 1 3 5 7 */
    double w2[C], b2[C];
    for (size_t c = 0; c < C; c++) w2[c] = w[c % 4 * 2 + c / 4], b2[c] = b[c % 4 * 2 + c / 4];
    for (size_t i = 0; i < COUNT; i++)
        mixed[i] = x[(i / P / C * C + i / P % C % 4 * 2 + i / P % C / 4) * P + i % P];
    const double *y = group_normed(mixed, w2, b2, G, 1e-6);
    for (size_t i = 0; i < COUNT; i++)
        back[(i / P / C * C + i / P % C % 4 * 2 + i / P % C / 4) * P + i % P] = y[i];
    bench_expect(back, "layout", "every G-th");
}

/* One row of n numbers: weight and bias by channel. */
static void row_norm(double *y, const double *x, const double *w, const double *b, size_t n,
                     double ddof, double eps, bool outside, bool centred) {
    double mean = 0, var = 0;
    for (size_t i = 0; i < n; i++) mean += x[i] / (double)n;
    if (!centred) mean = 0;
    for (size_t i = 0; i < n; i++) var += (x[i] - mean) * (x[i] - mean) / ((double)n - ddof);
    double by = outside ? sqrt(var) + eps : sqrt(var + eps);
    for (size_t i = 0; i < n; i++) y[i] = (x[i] - mean) / by * w[i % C] + b[i % C];
}

static void layer_norms(void **state) {
    (void)state;
    enum { N = B * T * C };
    const double *x = quiet(N, 11), *w = fixture_random(C, 12, 1), *b = fixture_random(C, 13, 1);
    norm_t norm = {"unet.b.norm1", C, 0, 1e-5, fixture_reals(w, C), fixture_reals(b, C)};
    module_t module = {norm.name, MODULE_LAYER_NORM, {.norm = &norm}};
    double right[N], y[N];
    for (size_t r = 0; r < B * T; r++)
        row_norm(right + r * C, x + r * C, w, b, C, 0, 1e-5, false, true);
    bench_start(norm.name, SHAPE3(B, T, C), right);
    bench_module(&module, x, SHAPE3(B, T, C));
    static const struct {
        double ddof, eps;
        bool outside, centred;
        const char *kind, *part;
    } ways[] = {{1, 1e-5, false, true, "variance", "n - 1"},
                {0, 1e-6, false, true, "epsilon", "LayerNorm with epsilon 1e-06"},
                {0, 0, false, true, "epsilon", "epsilon 0 instead"},
                {0, 1e-12, false, true, "epsilon", NULL},
                {0, 1e-5, true, true, "epsilon", "inside the root"},
                {0, 1e-5, false, false, "variance", "RMS"}};
    for (size_t k = 0; k < sizeof ways / sizeof *ways; k++) {
        for (size_t r = 0; r < B * T; r++)
            row_norm(y + r * C, x + r * C, w, b, C, ways[k].ddof, ways[k].eps, ways[k].outside,
                     ways[k].centred);
        /* In float32 epsilons of 1e-12 and 0 are one. */
        bench_expect(y, ways[k].kind, sizeof(real_t) == 8 || ways[k].eps > 0 ? ways[k].part : NULL);
    }
    for (size_t s = 0; s < B; s++)
        row_norm(y + s * T * C, x + s * T * C, w, b, T * C, 0, 1e-5, false, true);
    bench_expect(y, "groups", "all tokens of a sample");
    double flat[N];
    for (size_t i = 0; i < N; i++) flat[i / (T * C) * T * C + i % C * T + i / C % T] = x[i];
    for (size_t r = 0; r < B * T; r++)
        row_norm(y + r * C, flat + r * C, w, b, C, 0, 1e-5, false, true);
    bench_expect(y, "nhwc", "input of this layer");
}

static void norm_inputs(void **state) {
    (void)state;
    enum { N = B * T * C };
    const double *h = fixture_random(N, 21, 1), *branch = fixture_random(N, 22, 1);
    const double *normal = fixture_random(N, 24, 1);
    const double *w = fixture_random(C, 12, 1), *b = fixture_random(C, 13, 1);
    norm_t norm = {"unet.b.norm2", C, 0, 1e-5, fixture_reals(w, C), fixture_reals(b, C)};
    module_t module = {norm.name, MODULE_LAYER_NORM, {.norm = &norm}};
    double x[N], right[N], y[N];
    static const struct {
        double h, branch, normal;
        const char *part;
    } ways[] = {{0, 1, 0, "around attn1 is missing"},
                {1, 0, 0, "not added"},
                {1, 2, 0, "added twice"},
                {0, 1, 1, "after the norm"}};
    for (size_t i = 0; i < N; i++) x[i] = h[i] + branch[i];
    for (size_t r = 0; r < B * T; r++)
        row_norm(right + r * C, x + r * C, w, b, C, 0, 1e-5, false, true);
    bench_start("step.001/unet.b.norm2", SHAPE3(B, T, C), right);
    bench_module(&module, x, SHAPE3(B, T, C));
    bench_tap("step.001/unet.b.attn1", SHAPE3(B, T, C), branch);
    bench_tap("step.001/unet.b.norm1", SHAPE3(B, T, C), normal);
    for (size_t k = 0; k < 4; k++) {
        double other[N];
        for (size_t i = 0; i < N; i++)
            other[i] = ways[k].h * h[i] + ways[k].branch * branch[i] + ways[k].normal * normal[i];
        for (size_t r = 0; r < B * T; r++)
            row_norm(y + r * C, other + r * C, w, b, C, 0, 1e-5, false, true);
        bench_expect(y, "residual", ways[k].part);
    }

    norm.name = "text_encoder.text_model.final_layer_norm";
    bench_start(norm.name, SHAPE3(B, T, C), right);
    bench_module(&module, x, SHAPE3(B, T, C));
    bench_tap("text_encoder.text_model.encoder.layers.0", SHAPE3(B, T, C), h);
    bench_tap("text_encoder.text_model.encoder.layers.1", SHAPE3(B, T, C), branch);
    for (size_t r = 0; r < B * T; r++)
        row_norm(y + r * C, branch + r * C, w, b, C, 0, 1e-5, false, true);
    bench_expect(y, "skipped", "layer 1");
}

static void time_into_norm2(void **state) {
    (void)state;
    const double *conv = fixture_random(COUNT, 31, 1), *time = fixture_random(B * C, 32, 1);
    const double *w = fixture_random(C, 2, 1), *b = fixture_random(C, 3, 1);
    norm_t norm = {"unet.r.norm2", C, G, 1e-5, fixture_reals(w, C), fixture_reals(b, C)};
    module_t module = {norm.name, MODULE_GROUP_NORM, {.norm = &norm}};
    double x[COUNT], twice[COUNT];
    for (size_t i = 0; i < COUNT; i++) x[i] = conv[i] + time[i / P], twice[i] = x[i] + time[i / P];
    bench_start(norm.name, IMAGE, group_normed(x, w, b, G, 1e-5));
    bench_module(&module, x, IMAGE);
    bench_tap("unet.r.conv1", IMAGE, conv);
    bench_tap("unet.r.time_emb_proj", SHAPE2(B, C), time);
    bench_expect(group_normed(conv, w, b, G, 1e-5), "time", "not added");
    bench_expect(group_normed(twice, w, b, G, 1e-5), "time", "twice");
}

/* ---- linear and convolution ------------------------------------------------------------------ */

static double *linear_of(const double *x, const double *w, const double *b, size_t rows,
                         size_t out) {
    double *y = make(rows * out), *size = make(rows * out);
    slow_linear(y, size, x, w, b, rows, C, out);
    return y;
}

static void linears(void **state) {
    (void)state;
    const double *x = fixture_random(B * T * C, 41, 1), *w = fixture_random(C * C, 42, 1);
    const double *b = fixture_random(C, 43, 1);
    double turned[C * C], twice[C], other[B * T * C];
    linear_t layer = {"unet.q", C,        C, fixture_reals(w, C * C), fixture_reals(b, C),
                      NULL,     {NULL, 0}};
    module_t module = {layer.name, MODULE_LINEAR, {.linear = &layer}};
    for (size_t i = 0; i < C * C; i++) turned[i % C * C + i / C] = w[i];
    for (size_t i = 0; i < C; i++) twice[i] = 2 * b[i];
    for (size_t i = 0; i < B * T * C; i++) other[i] = x[i] * 0.13025 / 0.18215;
    const char *const names[] = {"unet.q", "step.000/unet.q.mole.base"};
    for (size_t n = 0; n < 2; n++) {
        bench_start(names[n], SHAPE3(B, T, C), linear_of(x, w, b, B * T, C));
        bench_module(&module, x, SHAPE3(B, T, C));
        bench_expect(linear_of(x, w, NULL, B * T, C), "missing-bias", NULL);
        bench_expect(linear_of(x, w, twice, B * T, C), "bias", "twice");
        bench_expect(linear_of(x, turned, b, B * T, C), "permuted-axes", "transposed");
        bench_expect(x, "skipped", NULL);
    }
    bench_start("unet.q", SHAPE3(B, T, C), linear_of(x, w, b, B * T, C));
    bench_module(&module, x, SHAPE3(B, T, C));
    bench_expect(linear_of(other, w, b, B * T, C), "gain", "0.13025 / 0.18215, the VAE");
    for (size_t i = 0; i < B * T * C; i++) other[i] = 0.7 * x[i];
    bench_expect(linear_of(other, w, b, B * T, C), "gain", "input and weight is 0.7 times");
    if (sizeof(real_t) == sizeof(float)) return;
    double rough[C *
                 C]; /* 8 significant bits, by way of frexp-free arithmetic: Veltkamp's splitting */
    const double split = 0x1p45 + 1;
    for (size_t i = 0; i < B * T * C; i++) other[i] = split * x[i] - (split * x[i] - x[i]);
    for (size_t i = 0; i < C * C; i++) rough[i] = split * w[i] - (split * w[i] - w[i]);
    bench_expect(linear_of(other, rough, b, B * T, C), "precision", "bf16");
}

static void images_through_linear(void **state) {
    (void)state;
    const double *x = fixture_random(COUNT, 44, 1), *w = fixture_random(C * C, 42, 1);
    const double *b = fixture_random(C, 43, 1);
    double turned[C * C], *y = make(COUNT), *size = make(COUNT), *right = make(COUNT);
    slow_conv2d_t g = {1, 1, 1, {0}};
    linear_t layer = {"unet.proj_in",      C,    C,        fixture_reals(w, C * C),
                      fixture_reals(b, C), NULL, {NULL, 0}};
    module_t module = {layer.name, MODULE_LINEAR, {.linear = &layer}};
    for (size_t i = 0; i < C * C; i++) turned[i % C * C + i / C] = w[i];
    slow_conv2d(right, size, x, w, b, B, C, H, W, C, g);
    bench_start(layer.name, IMAGE, right);
    bench_module(&module, x, IMAGE);
    slow_conv2d(y, size, x, turned, b, B, C, H, W, C, g);
    bench_expect(y, "permuted-axes", "transposed");
    slow_conv2d(y, size, x, w, NULL, B, C, H, W, C, g);
    bench_expect(y, "missing-bias", NULL);
}

typedef struct {
    conv_t conv;
    module_t module;
    const double *x, *w, *b;
} conv_case_t;

static double *convolved(const double *x, const double *w, const double *b, size_t h, size_t width,
                         slow_conv2d_t g) {
    size_t ho = (h + g.pad[2] + g.pad[3] - 3) / g.stride + 1;
    size_t wo = (width + g.pad[0] + g.pad[1] - 3) / g.stride + 1;
    double *y = make(B * C * ho * wo), *size = make(B * C * ho * wo);
    slow_conv2d(y, size, x, w, b, B, C, h, width, C, g);
    return y;
}

static void start_conv(conv_case_t *c, const char *name, size_t stride) {
    c->x = fixture_random(COUNT, 51, 1);
    c->w = fixture_random(C * C * 9, 52, 1);
    c->b = fixture_random(C, 53, 1);
    real_t *packed = fixture_blank(C * C * 9);
    conv2d_pack_weight(packed, fixture_reals(c->w, C * C * 9), C, C, 3, 3);
    c->conv = (conv_t){name, C, C, {3, 3, stride, 1, 1, 1, 1}, packed, fixture_reals(c->b, C)};
    c->module = (module_t){name, MODULE_CONV, {.conv = &c->conv}};
    slow_conv2d_t g = {3, 3, stride, {1, 1, 1, 1}};
    bench_start(name, SHAPE4(B, C, (H - 1) / stride + 1, (W - 1) / stride + 1),
                convolved(c->x, c->w, c->b, H, W, g));
    bench_module(&c->module, c->x, IMAGE);
}

static void convolutions(void **state) {
    (void)state;
    conv_case_t c;
    start_conv(&c, "unet.d.downsamplers.0.conv", 2);
    slow_conv2d_t g = {3, 3, 2, {0, 1, 0, 1}};
    bench_expect(convolved(c.x, c.w, c.b, H, W, g), "padding",
                 "(0,1,0,1) instead of (1,1,1,1), as the VAE");
    start_conv(&c, "unet.r.conv1", 1);
    g = (slow_conv2d_t){3, 3, 1, {1, 1, 1, 1}};
    bench_expect(convolved(c.x, c.w, NULL, H, W, g), "missing-bias", NULL);
    double padded[3][B * C * (H + 2) * (W + 2)];
    for (size_t i = 0; i < B * C * (H + 2) * (W + 2); i++) {
        size_t plane = i / (H + 2) / (W + 2) * P, y = i / (W + 2) % (H + 2), x = i % (W + 2);
        static const size_t edge[] = {0, 0, 1, 2, 3, 3}, mirror[] = {1, 0, 1, 2, 3, 2};
        static const size_t around[] = {3, 0, 1, 2, 3, 0};
        padded[0][i] = c.x[plane + edge[y] * W + edge[x]];
        padded[1][i] = c.x[plane + mirror[y] * W + mirror[x]];
        padded[2][i] = c.x[plane + around[y] * W + around[x]];
    }
    slow_conv2d_t bare = {3, 3, 1, {0}};
    const char *const fills[] = {"edge's", "mirrored", "opposite"};
    for (int f = 0; f < 3; f++)
        bench_expect(convolved(padded[f], c.w, c.b, H + 2, W + 2, bare), "padding", fills[f]);
    double w[5][C * C * 9];
    for (size_t o = 0; o < C; o++)
        for (size_t i = 0; i < C; i++)
            for (size_t k = 0; k < 9; k++) {
                double x = c.w[(o * C + i) * 9 + k];
                w[0][(o * C + i) * 9 + 8 - k] = x;
                w[1][(o * C + i) * 9 + k % 3 * 3 + k / 3] = x;
                w[2][(i * C + o) * 9 + k] = x;
                w[3][(o * 9 + k) * C + i] = x; /* (O,kh,kw,I) memory, read as (O,I,kh,kw) */
                w[4][(o * C + i) * 9 + k] = c.w[o * C * 9 + k * C + i];
            }
    static const char *const kinds[][2] = {{"layout", "180"},
                                           {"permuted-axes", "rows and columns"},
                                           {"permuted-axes", "(in,out,kh,kw)"},
                                           {"nhwc", "stored (out,kh,kw,in)"},
                                           {"nhwc", "stored (out,in,kh,kw)"}};
    for (int k = 0; k < 5; k++)
        bench_expect(convolved(c.x, w[k], c.b, H, W, g), kinds[k][0], kinds[k][1]);
    double turned[COUNT];
    for (size_t i = 0; i < COUNT; i++) turned[i / P * P + i % W * H + i / W % H] = c.x[i];
    bench_expect(convolved(turned, c.w, c.b, H, W, g), "permuted-axes", "input of this layer");
}

/* ---- activations ----------------------------------------------------------------------------- */

static double tanh_form(double x) {
    return 0.5 * x * (1 + tanh(sqrt(2 / acos(-1.0)) * (x + 0.044715 * x * x * x)));
}

static void activations_in_front(void **state) {
    (void)state;
    conv_case_t c;
    const double *before = fixture_random(COUNT, 61, 2);
    double x[COUNT], other[COUNT];
    slow_conv2d_t g = {3, 3, 1, {1, 1, 1, 1}};
    start_conv(&c, "vae.decoder.r.conv2", 1);
    for (size_t i = 0; i < COUNT; i++) x[i] = slow_silu(before[i]);
    bench_start(c.conv.name, IMAGE, convolved(x, c.w, c.b, H, W, g));
    bench_module(&c.module, x, IMAGE);
    bench_tap("vae.decoder.r.norm2", IMAGE, before);
    bench_expect(convolved(before, c.w, c.b, H, W, g), "activation", "no activation");
    for (size_t i = 0; i < COUNT; i++) other[i] = slow_gelu(before[i]);
    bench_expect(convolved(other, c.w, c.b, H, W, g), "activation", "erf GELU");
    for (size_t i = 0; i < COUNT; i++) other[i] = slow_silu(x[i]);
    bench_expect(convolved(other, c.w, c.b, H, W, g), "activation", "twice");

    const double *w = fixture_random(C * C, 62, 1), *b = fixture_random(C, 63, 1);
    linear_t layer = {"unet.r.time_emb_proj", C,    C,        fixture_reals(w, C * C),
                      fixture_reals(b, C),    NULL, {NULL, 0}};
    module_t module = {layer.name, MODULE_LINEAR, {.linear = &layer}};
    bench_start("step.003/unet.r.time_emb_proj", SHAPE2(B, C), linear_of(x, w, b, B, C));
    bench_module(&module, x, SHAPE2(B, C));
    bench_tap("step.003/unet.time_embedding", SHAPE2(B, C), before);
    bench_expect(linear_of(before, w, b, B, C), "activation", "no activation in front of");
}

static void activations_by_tap(void **state) {
    (void)state;
    enum { N = 60 };
    static const struct {
        const char *name, *before;
        double (*right)(double), (*wrong)(double);
        const char *part;
    } ways[] = {{"t.l.0.mlp.activation_fn", "t.l.0.mlp.fc1", slow_quick_gelu, slow_gelu,
                 "erf GELU gives your numbers; it should be quick GELU"},
                {"t.l.0.mlp.activation_fn", "t.l.0.mlp.fc1", slow_gelu, tanh_form, "tanh"},
                {"unet.time_embedding.act", "unet.time_embedding.linear_1", slow_silu,
                 slow_quick_gelu, "should be SiLU"},
                {"unet.conv_act", "unet.conv_norm_out", slow_silu, slow_sigmoid, "sigmoid alone"}};
    const double *x = fixture_random(N, 71, 3);
    for (size_t k = 0; k < sizeof ways / sizeof *ways; k++) {
        double right[N], wrong[N];
        for (size_t i = 0; i < N; i++)
            right[i] = ways[k].right(x[i]), wrong[i] = ways[k].wrong(x[i]);
        bench_start(ways[k].name, SHAPE2(3, 20), right);
        bench_tap(ways[k].before, SHAPE2(3, 20), x);
        bench_expect(wrong, "activation", ways[k].part);
    }
}

static void geglus(void **state) {
    (void)state;
    enum { M = 6, N = 10 };
    const double *x = fixture_random(M * 2 * N, 72, 2);
    double right[M * N], y[M * N];
    slow_geglu(right, x, M, N);
    bench_start("unet.b.ff.net.0", SHAPE3(2, 3, N), right);
    bench_tap("unet.b.ff.net.0.proj", SHAPE3(2, 3, 2 * N), x);
    for (size_t i = 0; i < M * N; i++)
        y[i] = x[i / N * 2 * N + N + i % N] * slow_gelu(x[i / N * 2 * N + i % N]);
    bench_expect(y, "swapped-halves", "taken for the gate");
    for (size_t i = 0; i < M * N; i++)
        y[i] = x[i / N * 2 * N + i % N] * tanh_form(x[i / N * 2 * N + N + i % N]);
    bench_expect(y, "activation", "tanh approximation");
    for (size_t i = 0; i < M * N; i++) y[i] = x[2 * i] * slow_gelu(x[2 * i + 1]);
    bench_expect(y, "swapped-halves", "take turns");
}

static void timesteps(void **state) {
    (void)state;
    enum { D = 16 };
    const double t[] = {981, 981}, before[] = {980, 980}, thousandth[] = {0.981, 0.981};
    double right[B * D], y[B * D], size[B * D];
    slow_timestep_embedding(right, size, t, B, D, true, 0, 10000, false);
    bench_start("step.000/unet.time_proj", SHAPE2(B, D), right);
    bench.rounding *= 981; /* an angle's rounding is that of a number near 981 */
    slow_timestep_embedding(y, size, t, B, D, true, 1, 10000, false);
    bench_expect(y, "shift", "half - 1");
    slow_timestep_embedding(y, size, t, B, D, false, 0, 10000, false);
    bench_expect(y, "swapped-halves", "sines and cosines");
    slow_timestep_embedding(y, size, before, B, D, true, 0, 10000, false);
    bench_expect(y, "schedule", "timestep 980; expected 981, as with another steps_offset");
    slow_timestep_embedding(y, size, thousandth, B, D, true, 0, 10000, false);
    bench_expect(y, "time", "divided by 1000");
    slow_timestep_embedding(y, size, t, B, D, true, 0, 1000, false);
    bench_expect(y, "time", "max_period");
}

/* XL's six numbers, rounded before they are embedded; other numbers are no rounding. */
static void added_numbers(void **state) {
    (void)state;
    enum { D = 16, N = 6 };
    const double t[N] = {1023, 768, 0, 100, 2049, 768}, other[N] = {1022, 768, 0, 100, 2049, 768};
    const double eight[N] = {1024, 768, 0, 100, 2048, 768},
                 eleven[N] = {1023, 768, 0, 100, 2048, 768};
    double right[N * D], y[N * D], size[N * D];
    slow_timestep_embedding(right, size, t, N, D, true, 0, 10000, false);
    bench_start("unet.add_time_proj", SHAPE2(N, D), right);
    bench.rounding *=
        256; /* of the angles together: the first of eight is as large as its number */
    slow_timestep_embedding(y, size, eight, N, D, true, 0, 10000, false);
    bench_expect(y, "time", "rounded to bfloat16 before they are embedded: 1023 becomes 1024");
    slow_timestep_embedding(y, size, eleven, N, D, true, 0, 10000, false);
    bench_expect(y, "time", "rounded to float16 before they are embedded: 2049 becomes 2048");
    slow_timestep_embedding(y, size, other, N, D, true, 0, 10000, false);
    bench_expect(y, "time", "some are others: 1022 for 1023");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        bench_test(added_numbers),
        bench_test(group_norms),
        bench_test(layer_norms),
        bench_test(norm_inputs),
        bench_test(time_into_norm2),
        bench_test(linears),
        bench_test(images_through_linear),
        bench_test(convolutions),
        bench_test(activations_in_front),
        bench_test(activations_by_tap),
        bench_test(geglus),
        bench_test(timesteps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
