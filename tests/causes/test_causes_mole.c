/* Causes inside a MoLE layer: scales, experts, gates, pooling, each bent in an oracle written from
 * the equations. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "causes_bench.h"

enum { B = 2, T = 6, D = 5, N = 4, E = 2, ROWS = B * T, RANKS = 3 };

/* To 8 bits, as bfloat16 has them. */
static double to_bf16(double x) {
    int exponent;
    double fraction = frexp(x, &exponent);
    return ldexp(nearbyint(ldexp(fraction, 8)), exponent - 8);
}

static const size_t ranks[E] = {2, 3};
static const double alphas[E] = {1, 0.75}; /* scales 0.5 and 0.25 */

/* Everything of a layer, as doubles; an oracle that is bent by changing its fields. */
typedef struct {
    const double *x, *w, *bias, *down[E], *up[E], *phi, *phi_bias, *gate[E];
    double gate_bias[E], scale[E], local[E][ROWS], global[E][B];
    double product[E][ROWS * N], expert[E][ROWS * N], out[E][ROWS * N], whole[ROWS * N];
    size_t pooled[B];
} layer_t;

static void compute_experts(layer_t *l) {
    for (size_t e = 0; e < E; e++) {
        double hidden[ROWS * RANKS], size[ROWS * N];
        slow_linear(hidden, size, l->x, l->down[e], NULL, ROWS, D, ranks[e]);
        slow_linear(l->product[e], size, hidden, l->up[e], NULL, ROWS, ranks[e], N);
        for (size_t i = 0; i < ROWS * N; i++) l->expert[e][i] = l->scale[e] * l->product[e][i];
    }
}

static double local_logit(const layer_t *l, size_t e, size_t row) {
    double z = l->phi_bias[e];
    for (size_t i = 0; i < D; i++) z += l->phi[e * D + i] * l->x[row * D + i];
    return z;
}

/* The logit of expert e's global gate on what `from` holds for sample b. */
static double global_logit(const layer_t *l, size_t e, const double *from, size_t b) {
    double z = l->gate_bias[e];
    for (size_t t = 0; t < l->pooled[b]; t++)
        for (size_t n = 0; n < N; n++)
            z += l->gate[e][n] * from[(b * T + t) * N + n] / (double)l->pooled[b];
    return z;
}

static void compute_gates(layer_t *l) {
    for (size_t e = 0; e < E; e++) {
        for (size_t r = 0; r < ROWS; r++) l->local[e][r] = slow_sigmoid(local_logit(l, e, r));
        for (size_t b = 0; b < B; b++)
            l->global[e][b] = slow_sigmoid(global_logit(l, e, l->expert[e], b));
    }
}

static void mix(layer_t *l) {
    double size[ROWS * N];
    slow_linear(l->whole, size, l->x, l->w, l->bias, ROWS, D, N);
    for (size_t e = 0; e < E; e++)
        for (size_t i = 0; i < ROWS * N; i++) {
            l->out[e][i] = l->local[e][i / N] * l->global[e][i / N / T] * l->expert[e][i];
            l->whole[i] += l->out[e][i];
        }
}

static layer_t make_layer(void) {
    layer_t l = {.x = fixture_random(ROWS * D, 1, 1),
                 .w = fixture_random(N * D, 2, 1),
                 .bias = fixture_random(N, 3, 1),
                 .phi = fixture_random(E * D, 4, 1),
                 .phi_bias = fixture_random(E, 5, 1)};
    for (size_t e = 0; e < E; e++) {
        l.down[e] = fixture_random(ranks[e] * D, 10 + e, 1);
        l.up[e] = fixture_random(N * ranks[e], 20 + e, 1);
        l.gate[e] = fixture_random(N, 30 + e, 2);
        l.gate_bias[e] = 0.25 - 0.75 * (double)e;
        l.scale[e] = alphas[e] / (double)ranks[e];
    }
    for (size_t b = 0; b < B; b++) l.pooled[b] = T;
    compute_experts(&l);
    compute_gates(&l);
    mix(&l);
    return l;
}

static mole_expert_t experts[E];
static mole_layer_t mole;
static linear_t frozen;
static module_t module;

static void start_part(const layer_t *l, const char *name, shape_t shape, const double *expected) {
    static const char *const names[] = {"face", "hand"};
    for (size_t e = 0; e < E; e++)
        experts[e] = (mole_expert_t){names[e],
                                     ranks[e],
                                     alphas[e] / (double)ranks[e],
                                     fixture_reals(l->down[e], ranks[e] * D),
                                     fixture_reals(l->up[e], N * ranks[e]),
                                     fixture_reals(l->gate[e], N),
                                     0.25 - 0.75 * (double)e,
                                     {0},
                                     {0}};
    mole = (mole_layer_t){.d_in = D, .d_out = N, .experts = E, .expert = experts};
    mole.local_weight = fixture_reals(l->phi, E * D);
    mole.local_bias = fixture_reals(l->phi_bias, E);
    frozen = (linear_t){"unet.to_k", D,  N, fixture_reals(l->w, N * D), fixture_reals(l->bias, N),
                        &mole,       {0}};
    module = (module_t){frozen.name, MODULE_LINEAR, {.linear = &frozen}};
    bench_start(name, shape, expected);
    bench_module(&module, l->x, SHAPE3(B, T, D));
}

#define WHOLE SHAPE3(B, T, N)

static void scales(void **state) {
    (void)state;
    const layer_t right = make_layer();
    static const struct {
        double scale[E];
        const char *part;
    } ways[] = {{{1, 1}, "alpha is ignored"},
                {{2, 4}, "rank / alpha"},
                {{0.25, 0.0625}, "applied twice"},
                {{1, 0.75}, "alpha"}, /* alpha itself: for the first expert also "ignored" */
                {{0.5 * 2 / 3, 0.25 * 3 / 2}, "other expert's rank"},
                {{0.25, 0.5}, NULL}};
    for (size_t k = 0; k < sizeof ways / sizeof *ways; k++) {
        layer_t l = right;
        memcpy(l.scale, ways[k].scale, sizeof l.scale);
        compute_experts(&l);
        start_part(&right, "step.000/unet.to_k.mole.face.expert", WHOLE, right.expert[0]);
        bench_expect(l.expert[0], "scale", k == 5 ? NULL : ways[k].part);
        compute_gates(&l);
        mix(&l);
        start_part(&right, "unet.to_k", WHOLE, right.whole);
        bench_expect(l.whole, "scale", ways[k].part);
    }
    double off[ROWS * N];
    for (size_t i = 0; i < ROWS * N; i++) off[i] = right.expert[1][i] * 3 / 7;
    start_part(&right, "unet.to_k.mole.hand.expert", WHOLE, right.expert[1]);
    bench_expect(off, "scale", "divided by 7, where the rank of this layer is 3");
    bench_expect(off, "scale", "0.428571 times as strong");
    start_part(&right, "unet.to_k.mole.face.expert", WHOLE, right.expert[0]);
    for (size_t i = 0; i < ROWS * N; i++) off[i] = 0.5 * right.product[1][i];
    bench_expect(right.expert[1], "swapped-tensors", "other expert's output");
}

/* Factors that keep their first 7 bits. */
static void rounded_factors(void **state) {
    (void)state;
    const layer_t right = make_layer();
    static const char *const parts[] = {"first factor is rounded to bfloat16",
                                        "second factor is rounded to bfloat16",
                                        "two factors are rounded to bfloat16"};
    for (int way = 0; way < 3; way++) {
        layer_t l = right;
        double factor[2][E * RANKS * (D > N ? D : N)];
        for (size_t i = 0; i < ranks[0] * D; i++) factor[0][i] = to_bf16(right.down[0][i]);
        for (size_t i = 0; i < N * ranks[0]; i++) factor[1][i] = to_bf16(right.up[0][i]);
        if (way != 1) l.down[0] = factor[0];
        if (way != 0) l.up[0] = factor[1];
        compute_experts(&l);
        start_part(&right, "unet.to_k.mole.face.expert", WHOLE, right.expert[0]);
        bench_expect(l.expert[0], "precision", parts[way]);
    }
}

/* What an expert adds, by the sum of its gates. */
static void gates_together(void **state) {
    (void)state;
    const layer_t right = make_layer();
    double y[ROWS * N];
    start_part(&right, "unet.to_k.mole.face.out", WHOLE, right.out[0]);
    for (int half = 0; half < 2; half++) {
        for (size_t i = 0; i < ROWS * N; i++)
            y[i] = (right.local[0][i / N] + right.global[0][i / N / T]) * right.expert[0][i] /
                   (1 + half);
        bench_expect(y, "gate", half ? "are averaged" : "are added");
    }
}

static void local_gates(void **state) {
    (void)state;
    const layer_t right = make_layer();
    start_part(&right, "unet.to_k.mole.face.local", SHAPE2(B, T), right.local[0]);
    double y[ROWS];
    bench_expect(right.local[1], "swapped-tensors", "rows of Phi");
    for (size_t r = 0; r < ROWS; r++) {
        double f = exp(local_logit(&right, 0, r)), h = exp(local_logit(&right, 1, r));
        y[r] = f / (f + h);
    }
    bench_expect(y, "gate", "softmax");
    for (size_t r = 0; r < ROWS; r++)
        y[r] = slow_sigmoid(local_logit(&right, 0, r) - right.phi_bias[0]);
    bench_expect(y, "missing-bias", "local gate");
    for (size_t r = 0; r < ROWS; r++) y[r] = local_logit(&right, 0, r);
    bench_expect(y, "gate", "sigmoid is missing");
    for (size_t r = 0; r < ROWS; r++) y[r] = local_logit(&right, 0, r) > 0;
    bench_expect(y, "gate", "0 or 1");
}

static void global_gates(void **state) {
    (void)state;
    const layer_t right = make_layer();
    start_part(&right, "unet.to_k.mole.hand.global", SHAPE1(B), right.global[1]);
    double y[B], sum[N], most[ROWS * N];
    for (size_t b = 0; b < B; b++)
        y[b] = slow_sigmoid(global_logit(&right, 1, right.product[1], b));
    bench_expect(y, "scale", "scale 1; or: the global gate pools before scaling"); /* who knows? */
    bench_tap("unet.to_k.mole.hand.expert", WHOLE, right.expert[1]); /* it was right */
    bench_expect(y, "pooling", "before scaling");
    double both = 0;
    for (size_t b = 0; b < B; b++) both += global_logit(&right, 1, right.expert[1], b) / B;
    for (size_t b = 0; b < B; b++) y[b] = slow_sigmoid(both);
    bench_expect(y, "pooling", "over the batch");
    layer_t l = right;
    l.pooled[0] = l.pooled[1] = 1;
    for (size_t b = 0; b < B; b++) y[b] = slow_sigmoid(global_logit(&l, 1, l.expert[1], b));
    bench_expect(y, "pooling", "first token only");
    l.pooled[0] = 3, l.pooled[1] = 5;
    for (size_t b = 0; b < B; b++) y[b] = slow_sigmoid(global_logit(&l, 1, l.expert[1], b));
    if (sizeof(real_t) == sizeof(double)) /* in float32 one of 36 choices comes as near by chance */
        bench_expect(y, "pooling", "3 of 6 in the first sample, 5 in the last");
    for (size_t b = 0; b < B; b++) {
        for (size_t n = 0; n < N; n++) sum[n] = -1e9;
        for (size_t i = b * T * N; i < (b + 1) * T * N; i++)
            sum[i % N] = fmax(sum[i % N], right.expert[1][i]);
        for (size_t i = b * T * N; i < (b + 1) * T * N; i++) most[i] = sum[i % N];
        y[b] = slow_sigmoid(global_logit(&right, 1, most, b));
    }
    bench_expect(y, "pooling", "maximum");
    for (size_t b = 0; b < B; b++)
        y[b] = slow_sigmoid(global_logit(&right, 1, right.expert[1], b) - right.gate_bias[1]);
    bench_expect(y, "missing-bias", "global gate");
    layer_t other = right;
    other.gate[1] = right.gate[0], other.gate_bias[1] = right.gate_bias[0];
    for (size_t b = 0; b < B; b++) y[b] = slow_sigmoid(global_logit(&other, 1, other.expert[1], b));
    bench_expect(y, "swapped-tensors", "global gates");
}

/* The layer's own tap alone, tokens and image. */
static void whole_layer(void **state) {
    (void)state;
    const layer_t right = make_layer();
    for (int way = 0; way < 5; way++) {
        static const char *const kinds[][2] = {{"gate", "local gate is left out"},
                                               {"gate", "global gate is left out"},
                                               {"gate", "plain LoRA"},
                                               {"swapped-tensors", "or all of their gates"},
                                               {"missing-bias", "bias is left out"}};
        layer_t l = right;
        for (size_t i = 0; i < E * ROWS && (way == 0 || way == 2); i++)
            l.local[i / ROWS][i % ROWS] = 1;
        for (size_t i = 0; i < E * B && (way == 1 || way == 2); i++) l.global[i / B][i % B] = 1;
        if (way == 3) {
            layer_t swapped = right;
            for (size_t e = 0; e < E; e++) {
                swapped.gate[e] = right.gate[1 - e], swapped.gate_bias[e] = right.gate_bias[1 - e];
                memcpy(l.local[e], right.local[1 - e], sizeof l.local[e]);
            }
            for (size_t e = 0; e < E; e++)
                for (size_t b = 0; b < B; b++)
                    l.global[e][b] = slow_sigmoid(global_logit(&swapped, e, right.expert[e], b));
        }
        if (way == 4) l.bias = NULL;
        mix(&l);
        start_part(&right, "unet.to_k", WHOLE, right.whole);
        bench_expect(l.whole, kinds[way][0], kinds[way][1]);
        double x[ROWS * D], expected[ROWS * N],
            y[ROWS * N]; /* the same as an image of 2 x 3 pixels */
        for (size_t i = 0; i < ROWS * D; i++)
            x[(i / D / T * D + i % D) * T + i / D % T] = right.x[i];
        for (size_t i = 0; i < ROWS * N; i++) {
            size_t to = (i / N / T * N + i % N) * T + i / N % T;
            expected[to] = right.whole[i], y[to] = l.whole[i];
        }
        start_part(&right, "unet.to_k", SHAPE4(B, N, 2, 3), expected);
        bench_module(&module, x, SHAPE4(B, D, 2, 3));
        bench_expect(y, kinds[way][0], kinds[way][1]);
    }
    start_part(&right, "unet.to_k.mole.face.out", WHOLE, right.out[0]);
    double y[ROWS * N];
    for (size_t i = 0; i < ROWS * N; i++) y[i] = right.expert[0][i] * right.global[0][i / N / T];
    bench_expect(y, "gate", "local gate is left out");
    for (size_t i = 0; i < ROWS * N; i++) y[i] = right.out[0][i] + 0.1 * right.out[1][i];
    bench_expect(y, "", NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        bench_test(scales),      bench_test(rounded_factors), bench_test(gates_together),
        bench_test(local_gates), bench_test(global_gates),    bench_test(whole_layer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
