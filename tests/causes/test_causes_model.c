/* Causes inside a model: attention, upsampling, skips, residuals, guidance, the sampler's step,
 * pictures, token embeddings, noise. Each mistake is made here from the equations. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "causes_bench.h"

/* ---- attention ------------------------------------------------------------------------------- */

enum { B = 2, T = 6, S = 6, C = 6, HEADS = 2, TOKENS = B * S * C };

typedef struct {
    const double *q, *k, *v, *w, *b;
    linear_t layer;
    module_t module;
} core_t;

static double *attended(const double *q, const double *k, const double *v, size_t heads,
                        double scale, bool causal) {
    double *y = bench_zeros(TOKENS), *size = bench_zeros(TOKENS);
    slow_attention(y, size, q, k, v, B, S, S, heads, C / heads, scale, causal);
    return y;
}

static double *projected(const core_t *a, const double *x) {
    double *y = bench_zeros(TOKENS), *size = bench_zeros(TOKENS);
    slow_linear(y, size, x, a->w, a->b, B * S, C, C);
    return y;
}

static void start_core(core_t *a, bool causal) {
    static const char *const names[2][4] = {
        {"unet.attn1.to_out.0", "unet.attn1.to_q", "unet.attn1.to_k", "unet.attn1.to_v"},
        {"t.self_attn.out_proj", "t.self_attn.q_proj", "t.self_attn.k_proj", "t.self_attn.v_proj"}};
    a->q = fixture_random(TOKENS, 41, 2), a->k = fixture_random(TOKENS, 42, 2);
    a->v = fixture_random(TOKENS, 43, 1);
    a->w = fixture_random(C * C, 44, 1), a->b = fixture_random(C, 45, 1);
    a->layer = (linear_t){names[causal][0],       C,    C,  fixture_reals(a->w, C * C),
                          fixture_reals(a->b, C), NULL, {0}};
    a->module = (module_t){a->layer.name, MODULE_LINEAR, {.linear = &a->layer}};
    const double *x = attended(a->q, a->k, a->v, HEADS, 1 / sqrt(3), causal);
    bench_start(a->layer.name, SHAPE3(B, S, C), projected(a, x));
    bench_module(&a->module, x, SHAPE3(B, S, C));
    bench_tap(names[causal][1], SHAPE3(B, S, C), a->q);
    bench_tap(names[causal][2], SHAPE3(B, S, C), a->k);
    bench_tap(names[causal][3], SHAPE3(B, S, C), a->v);
}

static void check_core(const core_t *a, const double *x, const char *kind, const char *part) {
    bench_expect(projected(a, x), kind, part);
}

static void attention_ways(void **state) {
    (void)state;
    core_t a;
    start_core(&a, false);
    double s = 1 / sqrt(3);
    check_core(&a, attended(a.q, a.k, a.v, HEADS, 1, false), "heads", "not scaled");
    check_core(&a, attended(a.q, a.k, a.v, HEADS, s * s, false), "heads", "its root");
    check_core(&a, attended(a.q, a.k, a.v, HEADS, 1 / sqrt(6), false), "heads", "sqrt(channels)");
    check_core(&a, attended(a.q, a.k, a.v, HEADS, 1 / sqrt(2), false), "heads", "sqrt(heads)");
    check_core(&a, attended(a.q, a.k, a.v, 3, 1 / sqrt(2), false), "heads", "taken for head width");
    check_core(&a, attended(a.q, a.k, a.v, 1, 1 / sqrt(6), false), "heads", "1 heads of 6");
    check_core(&a, attended(a.q, a.v, a.k, HEADS, s, false), "swapped-tensors", "keys and values");
    check_core(&a, attended(a.k, a.q, a.v, HEADS, s, false), "swapped-tensors", "queries and keys");
    check_core(&a, attended(a.q, a.k, a.v, HEADS, s, true), "mask", "a causal mask is applied");
    check_core(&a, a.v, "skipped", "values alone");
    double *k = bench_zeros(TOKENS), *v = bench_zeros(TOKENS), *y = bench_zeros(TOKENS);
    for (size_t i = 0; i < TOKENS; i++) {
        k[(i + TOKENS / 2) % TOKENS] = a.k[i];
        v[(i + TOKENS / 2) % TOKENS] = a.v[i];
    }
    check_core(&a, attended(a.q, k, v, HEADS, s, false), "order", "other half");
    const double *x = attended(a.q, a.k, a.v, HEADS, s, false);
    for (size_t i = 0; i < TOKENS; i++)
        y[i / (S * C) * S * C + i / 3 % HEADS * S * 3 + i / C % S * 3 + i % 3] = x[i];
    check_core(&a, y, "permuted-axes", "not merged back");
    double q2[TOKENS], k2[TOKENS], v2[TOKENS]; /* channels taken as (width, heads) */
    for (size_t i = 0; i < TOKENS; i++) {
        size_t to = i / C * C + i % HEADS * 3 + i % C / HEADS;
        q2[to] = a.q[i], k2[to] = a.k[i], v2[to] = a.v[i];
    }
    x = attended(q2, k2, v2, HEADS, s, false);
    for (size_t i = 0; i < TOKENS; i++) y[i] = x[i / C * C + i % HEADS * 3 + i % C / HEADS];
    check_core(&a, y, "heads", "(width, heads)");

    /* The same layer with experts: its base is the linear map alone. */
    mole_expert_t expert = {
        "face", 1,   1,  fixture_reals(a.q, C), fixture_reals(a.k, C), fixture_reals(a.v, C),
        0,      {0}, {0}};
    mole_layer_t experts_too = {.d_in = C, .d_out = C, .experts = 1, .expert = &expert};
    experts_too.local_weight = fixture_reals(a.v, C);
    experts_too.local_bias = fixture_reals(a.b, 1);
    a.layer.mole = &experts_too;
    bench.name = "unet.attn1.to_out.0.mole.base";
    check_core(&a, attended(a.q, a.k, a.v, HEADS, 1, false), "heads", "not scaled");

    start_core(&a, true);
    check_core(&a, attended(a.q, a.k, a.v, HEADS, s, false), "mask", "mask is missing");
    check_core(&a, fixture_random(TOKENS, 49, 1), "", NULL);
}

/* Weights by hand, so that the softmax can run along the wrong axis. */
static void attention_softmax(void **state) {
    (void)state;
    core_t a;
    start_core(&a, false);
    double y[TOKENS] = {0};
    for (size_t b = 0; b < B; b++)
        for (size_t n = 0; n < HEADS; n++)
            for (size_t j = 0; j < S; j++) {
                double w[S], sum = 0;
                for (size_t t = 0; t < S; t++) {
                    double z = 0;
                    for (size_t d = 0; d < 3; d++)
                        z += a.q[(b * S + t) * C + n * 3 + d] * a.k[(b * S + j) * C + n * 3 + d];
                    sum += w[t] = exp(z / sqrt(3));
                }
                for (size_t t = 0; t < S; t++)
                    for (size_t d = 0; d < 3; d++)
                        y[(b * S + t) * C + n * 3 + d] +=
                            w[t] / sum * a.v[(b * S + j) * C + n * 3 + d];
            }
    check_core(&a, y, "heads", "over the queries");
    bench_tap("unet.norm1", SHAPE3(B, S, C), a.q);
    check_core(&a, a.q, "skipped", "attention is left out");
}

/* ---- images ---------------------------------------------------------------------------------- */

static void upsampling(void **state) {
    (void)state;
    enum { CH = 3, H = 3, W = 4, HO = 5, WO = 8, PIXELS = B * CH * HO * WO };
    const double *x = fixture_random(B * CH * H * W, 61, 1),
                 *w = fixture_random(CH * CH * 9, 62, 1);
    const double *bias = fixture_random(CH, 63, 1);
    size_t rows[HO], columns[WO];
    double in[4][PIXELS], y[4][PIXELS], size[PIXELS];
    real_t *packed = fixture_blank(CH * CH * 9);
    conv2d_pack_weight(packed, fixture_reals(w, CH * CH * 9), CH, CH, 3, 3);
    conv_t conv = {"unet.u.upsamplers.0.conv", CH,     CH,
                   {3, 3, 1, 1, 1, 1, 1},      packed, fixture_reals(bias, CH)};
    module_t m = {conv.name, MODULE_CONV, {.conv = &conv}};
    for (size_t i = 0; i < HO; i++) rows[i] = i * H / HO;
    for (size_t i = 0; i < WO; i++) columns[i] = i * W / WO;
    slow_upsample(in[0], x, B, CH, H, W, HO, WO, rows, columns);
    for (size_t i = 0; i < HO; i++) rows[i] = (2 * i + 1) * H / (2 * HO);
    slow_upsample(in[1], x, B, CH, H, W, HO, WO, rows, columns);
    for (int corners = 0; corners < 2; corners++)
        for (size_t i = 0; i < PIXELS; i++) {
            double v = (double)(i / WO % HO), u = (double)(i % WO), sum = 0;
            v = corners ? v * (H - 1) / (HO - 1) : (v + 0.5) * H / HO - 0.5;
            u = corners ? u * (W - 1) / (WO - 1) : (u + 0.5) * W / WO - 0.5;
            v = v < 0 ? 0 : v > H - 1 ? H - 1 : v, u = u < 0 ? 0 : u > W - 1 ? W - 1 : u;
            for (size_t p = 0; p < H * W; p++) { /* hat functions */
                double a = 1 - fabs(v - (double)(p / W)), c = 1 - fabs(u - (double)(p % W));
                if (a > 0 && c > 0) sum += a * c * x[i / WO / HO * H * W + p];
            }
            in[2 + corners][i] = sum;
        }
    slow_conv2d_t g = {3, 3, 1, {1, 1, 1, 1}};
    for (int k = 0; k < 4; k++) slow_conv2d(y[k], size, in[k], w, bias, B, CH, HO, WO, CH, g);
    bench_start(conv.name, SHAPE4(B, CH, HO, WO), y[0]);
    bench_module(&m, in[0], SHAPE4(B, CH, HO, WO));
    bench_expect(y[1], "shift", "centres");
    bench_expect(y[2], "interpolation", "half-pixel");
    bench_expect(y[3], "interpolation", "aligned corners");
}

static void skips(void **state) {
    (void)state;
    enum { CH = 6, FIRST = 4, P = 4, COUNT = B * CH * P };
    const double *x = fixture_random(COUNT, 71, 1), *w = fixture_random(CH, 72, 1);
    const double *bias = fixture_random(CH, 73, 1), *other = fixture_random(B * 2 * P, 74, 1);
    double right[COUNT], swapped[COUNT], replaced[COUNT], y[COUNT], size[COUNT];
    norm_t norm = {"unet.up_blocks.1.resnets.0.norm1",
                   CH,
                   2,
                   1e-5,
                   fixture_reals(w, CH),
                   fixture_reals(bias, CH)};
    module_t m = {norm.name, MODULE_GROUP_NORM, {.norm = &norm}};
    for (size_t i = 0; i < COUNT; i++) {
        size_t b = i / P / CH, c = i / P % CH, p = i % P;
        swapped[i] = x[(b * CH + (c < 2 ? c + FIRST : c - 2)) * P + p];
        replaced[i] = c < FIRST ? x[i] : other[(b * 2 + c - FIRST) * P + p];
    }
    slow_group_norm(right, size, x, w, bias, B, CH, P, 2, 1e-5);
    bench_start(norm.name, SHAPE4(B, CH, 2, 2), right);
    bench_module(&m, x, SHAPE4(B, CH, 2, 2));
    bench_tap("unet.down_blocks.1.attentions.0", SHAPE4(B, 2, 2, 2), other);
    slow_group_norm(y, size, swapped, w, bias, B, CH, P, 2, 1e-5);
    bench_expect(y, "swapped-halves", "[skip | h]");
    slow_group_norm(y, size, replaced, w, bias, B, CH, P, 2, 1e-5);
    bench_expect(y, "swapped-tensors", "unet.down_blocks.1.attentions.0");
}

static void residuals(void **state) {
    (void)state;
    enum { CH = 3, P = 4, COUNT = B * CH * P };
    const double *x = fixture_random(COUNT, 81, 1), *branch = fixture_random(COUNT, 82, 1);
    double right[COUNT], tokens[COUNT], y[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        right[i] = x[i] + branch[i];
        tokens[(i / P / CH * P + i % P) * CH + i / P % CH] = branch[i];
    }
    const char *const names[][2] = {{"unet.r", "unet.r.conv2"}, {"vae.a", "vae.a.to_out.0"}};
    for (int k = 0; k < 2; k++) {
        bench_start(names[k][0], SHAPE4(B, CH, 2, 2), right);
        bench_tap(names[k][1], k ? SHAPE3(B, P, CH) : SHAPE4(B, CH, 2, 2), k ? tokens : branch);
        bench_expect(branch, "residual", "residual is missing");
        bench_expect(x, "residual", "residual alone");
        for (size_t i = 0; i < COUNT; i++) y[i] = right[i] + branch[i];
        bench_expect(y, "residual", "added twice");
        for (size_t i = 0; i < COUNT; i++) y[i] = right[i] / sqrt(2);
        bench_expect(y, "residual", "sqrt(2)");
    }
}

/* ---- sampling -------------------------------------------------------------------------------- */

enum { LATENTS = 4 * 3 * 5 };

static void combined(const double *pred, double p, double q, const char *kind, const char *part) {
    double y[LATENTS];
    for (size_t i = 0; i < LATENTS; i++) y[i] = p * pred[i] + q * pred[LATENTS + i];
    bench_expect(y, kind, part);
}

static void guidance_ways(void **state) {
    (void)state;
    const double *pred = fixture_random(2 * LATENTS, 91, 1);
    double right[LATENTS];
    for (size_t i = 0; i < LATENTS; i++) right[i] = -6.5 * pred[i] + 7.5 * pred[LATENTS + i];
    bench_start("step.003/guided", SHAPE4(1, 4, 3, 5), right);
    bench_tap("step.003/noise_pred", SHAPE4(2, 4, 3, 5), pred);
    combined(pred, 7.5, -6.5, "order", "exchanged");
    combined(pred, -7.5, 8.5, "order", "cond + g");
    combined(pred, -4, 5, "order", "scale of 5; it should be 7.5");
    combined(pred, 1, 0, "order", "unconditional prediction alone");
    combined(pred, 0, 1, "order", "the conditional prediction alone");
    combined(pred, -6.5 * 0.7, 7.5 * 0.7, "gain", "multiplied by 0.7, as guidance_rescale does");
    combined(pred, 1, 7.5, "order", "1 uncond + 7.5 cond; it should be -6.5 uncond + 7.5 cond");
}

/* x0 = (x - sqrt(1-a) m) / sqrt a;  out = sqrt(p) x0 + sqrt(1-p) e */
static void ddim(double *y, const double *x, const double *m, double a, double p, bool velocity,
                 double limit) {
    for (size_t i = 0; i < LATENTS; i++) {
        double x0 = (x[i] - sqrt(1 - a) * m[i]) / sqrt(a), e = m[i];
        if (velocity)
            x0 = sqrt(a) * x[i] - sqrt(1 - a) * m[i], e = sqrt(a) * m[i] + sqrt(1 - a) * x[i];
        x0 = fmin(fmax(x0, -limit), limit);
        y[i] = sqrt(p) * x0 + sqrt(1 - p) * e;
    }
}

static void steps(void **state) {
    (void)state;
    const double *x = fixture_random(LATENTS, 92, 2), *m = fixture_random(LATENTS, 93, 2);
    double right[LATENTS], y[LATENTS], turned[LATENTS];
    ddim_plan_t plan;
    err_t err;
    for (int k = 4; k >= 3; k--) { /* the last step, and the one before */
        assert_int_equal(ddim_plan(&plan, &ddim_config_authors, 5, &err), 0);
        double a = plan.alphas_cumprod[plan.timesteps[k]];
        double p = k == 4 ? 1 : (double)plan.alphas_cumprod[plan.timesteps[k] - 200];
        double zero = plan.alphas_cumprod[0], a1 = plan.alphas_cumprod[plan.timesteps[k] - 1];
        char name[32], before[32], guided[32];
        snprintf(name, sizeof name, "step.%03d/latents", k);
        snprintf(before, sizeof before, "step.%03d/latents", k - 1);
        snprintf(guided, sizeof guided, "step.%03d/guided", k);
        ddim(right, x, m, a, p, false, 1e9);
        for (int told = 0; told < 2; told++) { /* with and without knowledge of the schedule */
            bench_start(name, SHAPE4(1, 4, 3, 5), right);
            bench_tap(before, SHAPE4(1, 4, 3, 5), x);
            bench_tap(guided, SHAPE4(1, 4, 3, 5), m);
            if (told) bench.ddim = &plan, bench.step = (size_t)k;
            bench_expect(x, "unconverged", "step before");
            ddim(y, x, m, a, p, false, 1);
            bench_expect(y, "schedule", "clipped");
            ddim(y, x, m, a, p, true, 1e9);
            bench_expect(y, "schedule", told ? "taken for v_prediction" : "which noise levels");
            ddim(y, x, m, a, k == 4 ? zero : 0.5, false, 1e9);
            bench_expect(y, "schedule",
                         told && k == 4 ? "ends at alphas_cumprod[0]" : "noise levels");
            ddim(y, x, m, a1, k == 4 ? 1 : (double)plan.alphas_cumprod[plan.timesteps[k] - 201],
                 false, 1e9);
            bench_expect(y, "schedule", told ? "steps_offset is 0" : "noise levels");
            for (size_t i = 0; i < LATENTS; i++) turned[i] = -m[i];
            ddim(y, x, turned, a, p, false, 1e9);
            bench_expect(y, "schedule", "sign");
            bench_expect(fixture_random(LATENTS, 94, 1), "", NULL);
        }
        ddim_free(&plan);
    }
    bench_start("step.000/latents", SHAPE4(1, 4, 3, 5),
                right); /* the first step's come from the noise */
    bench_tap("latents", SHAPE4(1, 4, 3, 5), x);
    bench_tap("step.000/guided", SHAPE4(1, 4, 3, 5), m);
    bench_expect(x, "unconverged", NULL);
}

static void noises(void **state) {
    (void)state;
    enum { COUNT = 4 * 5 * 6 };
    const double *x = fixture_random(COUNT, 95, 2);
    double y[COUNT];
    bench_start("latents", SHAPE4(1, 4, 5, 6), x);
    for (size_t i = 0; i < COUNT; i++) y[i] = i < 112 ? x[i ^ 8] : x[i];
    bench_expect(y, "layout", "cosines come first");
    for (size_t i = 0; i < COUNT; i++) y[i] = i + 16 < COUNT ? x[i] : x[i] + 1;
    bench_expect(y, "noise", "last 16");
    bench_expect(fixture_random(COUNT, 96, 2), "noise", "another generator");
    for (size_t i = 0; i < COUNT; i++) y[i] = x[i] + 0.1 * x[COUNT - 1 - i];
    bench_expect(y, "", NULL);
}

static void pictures(void **state) {
    (void)state;
    enum { COUNT = 3 * 4 * 4 };
    const double *x = fixture_random(COUNT, 97, 1.5);
    double right[COUNT], y[COUNT];
    for (size_t i = 0; i < COUNT; i++) right[i] = fmin(fmax(x[i] / 2 + 0.5, 0), 1);
    bench_start("image", SHAPE4(1, 3, 4, 4), right);
    bench_tap("vae.decoder", SHAPE4(1, 3, 4, 4), x);
    for (size_t i = 0; i < COUNT; i++) y[i] = fmin(fmax(x[i], 0), 1);
    bench_expect(y, "offset", "without x / 2 + 0.5");
    for (size_t i = 0; i < COUNT; i++) y[i] = x[i] / 2 + 0.5;
    bench_expect(y, "range", "not clamped");
    bench_expect(x, "offset", "still -1 .. 1");
}

static void texts(void **state) {
    (void)state;
    enum { V = 8, COUNT = B * T * V };
    const double *x = fixture_random(COUNT, 98, 1), *pad = fixture_random(V, 99, 1);
    const double *shift = fixture_random(T * V, 100, 1), *any = fixture_random(COUNT, 101, 1);
    double y[COUNT];
    bench_start("text_encoder.text_model.embeddings", SHAPE3(B, T, V), x);
    for (size_t i = 0; i < COUNT; i++)
        y[i] = x[i] + (i / V % T >= (i < COUNT / 2 ? 2 : 4) ? pad[i % V] : 0);
    bench_expect(y, "padding", "from 2 on");
    for (size_t i = 0; i < COUNT; i++) y[i] = x[i] + shift[i % (T * V)];
    bench_expect(y, "shift", "position");
    bench_start("prompt_embeds", SHAPE3(B, T, V), x);
    for (size_t i = 0; i < COUNT; i++)
        y[i] = i / V % T >= (i < COUNT / 2 ? 2 : 4) ? x[i] + any[i] : x[i];
    bench_expect(y, "localised", "before token 2 in one sample and before token 4 in another");
}

int main(void) {
    const struct CMUnitTest tests[] = {

        bench_test(attention_ways), bench_test(attention_softmax),
        bench_test(upsampling),     bench_test(skips),
        bench_test(residuals),      bench_test(guidance_ways),
        bench_test(steps),          bench_test(noises),
        bench_test(pictures),       bench_test(texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
