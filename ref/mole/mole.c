/* mole.c - see mole.h; read that first.
 *
 * Numerical notes. Pooling and the global logits are summed in double, because the mean over 4096
 * tokens is where float32 would lose most; a port may do it in float32 and will differ there by a few
 * units in the last place of G. Gates are kept as real_t. */
#include "mole/mole.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "core/fmath.h"
#include "core/vectorised.h"
#include "core/vmath.h"

/* ---- at load ------------------------------------------------------------------------------------- */

/* A factor: x, or where that is NULL its numbers as they are stored, widened into memory to be freed. */
static const real_t *whole(const real_t *x, const late_t *late, size_t count, real_t **owned) {
    *owned = NULL;
    if (x) return x;
    *owned = xmalloc(count * sizeof **owned);
    late_numbers(*owned, late, count);
    return *owned;
}

/* u (d) = sum_r (s up_r . w) down_r */
static void add_pooled_weight(double *u, const mole_layer_t *layer, const mole_expert_t *e) {
    double *weight = xcalloc(e->rank + 1, sizeof *weight); /* s up^T w */
    for (size_t o = 0; o < layer->d_out; o++)
        for (size_t r = 0; r < e->rank; r++)
            weight[r] += (acc_t)e->up[o * e->rank + r] * e->global_weight[o];
    for (size_t r = 0; r < e->rank; r++)
        for (size_t j = 0; j < layer->d_in; j++)
            u[j] += e->scale * weight[r] * e->down[r * layer->d_in + j];
    free(weight);
}

static void pooled_weight(double *u, const mole_layer_t *layer, const mole_expert_t *e) {
    mole_expert_t it = *e;
    real_t *down, *up;
    it.down = whole(e->down, &e->late_down, e->rank * layer->d_in, &down);
    it.up = whole(e->up, &e->late_up, e->rank * layer->d_out, &up);
    add_pooled_weight(u, layer, &it);
    free(down);
    free(up);
}

static bool cheaper_multiplied_out(const mole_layer_t *layer) {
    size_t d = layer->d_in, d_out = layer->d_out, low_rank = 0;
    for (size_t i = 0; i < layer->experts; i++) low_rank += layer->expert[i].rank * (d + d_out);
    return layer->experts * d * d_out < low_rank;
}

static size_t all_ranks(const mole_layer_t *layer) {
    size_t R = 0;
    for (size_t i = 0; i < layer->experts; i++) R += layer->expert[i].rank;
    return R;
}

/* Numbers of the two stacks, and of the widest factor that waits beside them. */
static size_t down_count(const mole_layer_t *layer) {
    return (all_ranks(layer) + (layer->local_weight ? layer->experts : 0)) * layer->d_in;
}

static size_t up_count(const mole_layer_t *layer) {
    return layer->d_out * all_ranks(layer);
}

static size_t factor_count(const mole_layer_t *layer) {
    size_t most = 0, wide = layer->d_in > layer->d_out ? layer->d_in : layer->d_out;
    for (size_t i = 0; i < layer->experts; i++)
        if (layer->expert[i].rank * wide > most) most = layer->expert[i].rank * wide;
    return most;
}

/* down, up: the stacks. factor: room for one that is late, else NULL. */
static void stack(mole_layer_t *layer, real_t *down, real_t *up, real_t *factor) {
    size_t d = layer->d_in, d_out = layer->d_out, E = layer->experts, R = all_ranks(layer);
    for (size_t i = 0, row = 0; i < E; row += layer->expert[i].rank, i++) {
        const mole_expert_t *e = &layer->expert[i];
        const real_t *from = e->up ? e->up : factor;
        if (e->down)
            memcpy(down + row * d, e->down, e->rank * d * sizeof *down);
        else
            late_numbers(down + row * d, &e->late_down, e->rank * d);
        if (!e->up) late_numbers(factor, &e->late_up, d_out * e->rank);
        for (size_t o = 0; o < d_out; o++)
            memcpy(up + o * R + row, from + o * e->rank, e->rank * sizeof *up);
    }
    if (layer->local_weight) memcpy(down + R * d, layer->local_weight, E * d * sizeof *down);
    layer->ranks = R;
    layer->stacked_down = down;
    layer->stacked_up = up;
}

/* stacked_down and stacked_up from the factors as they are. */
static void stack_factors(mole_layer_t *layer, pool_t *pool) {
    real_t *down = pool_alloc(pool, down_count(layer), sizeof *down);
    real_t *up = pool_alloc(pool, up_count(layer), sizeof *up);
    stack(layer, down, up, NULL);
}

/* stacked_up = [s_0 up_0 down_0, ...], each number summed in double and rounded once. */
static void multiply_out(mole_layer_t *layer, pool_t *pool) {
    size_t d = layer->d_in, d_out = layer->d_out, E = layer->experts;
    real_t *up = pool_alloc(pool, d_out * E * d, sizeof *up);
    for (size_t i = 0; i < E; i++) {
        const mole_expert_t *e = &layer->expert[i];
        real_t *owned[2];
        const real_t *a = whole(e->up, &e->late_up, d_out * e->rank, &owned[0]);
        const real_t *b = whole(e->down, &e->late_down, e->rank * d, &owned[1]);
        matmul_scaled(up + i * d, E * d, a, e->rank, b, d, e->scale, d_out, d, e->rank,
                      MATMUL_PLAIN);
        free(owned[0]);
        free(owned[1]);
    }
    layer->ranks = E * d;
    layer->stacked_down = NULL;
    layer->stacked_up = up;
}

void mole_layer_prepare(mole_layer_t *layer, pool_t *pool) {
    size_t d = layer->d_in, E = layer->experts;
    double *u = pool_alloc(pool, E * d, sizeof *u);
    for (size_t i = 0; layer->local_weight && i < E; i++)
        pooled_weight(u + i * d, layer, &layer->expert[i]);
    layer->pooled_weight = u;
    if (cheaper_multiplied_out(layer))
        multiply_out(layer, pool);
    else if (layer->late)
        layer->ranks = all_ranks(layer);
    else
        stack_factors(layer, pool);
}

/* ---- both forms ---------------------------------------------------------------------------------- */

/* mean[c] of channels [c, c + n) over the tokens of x (T,C) */
VECTORISED static void mean_of_channels(double *mean, const real_t *x, size_t n, size_t T,
                                        size_t C) {
    memset(mean, 0, n * sizeof *mean);
    for (size_t t = 0; t < T; t++)
        for (size_t c = 0; c < n; c++) mean[c] += (double)x[t * C + c];
    for (size_t c = 0; c < n; c++) mean[c] /= (double)T;
}

/* mean[b,c] over the tokens of x (B,T,C), in double; a thread takes a strip of channels. */
static void mean_over_tokens(double *mean, const real_t *x, size_t B, size_t T, size_t C) {
    enum { STRIP = 64 };
    size_t strips = (C + STRIP - 1) / STRIP;
#pragma omp parallel for schedule(static) if (T > 1)
    for (size_t unit = 0; unit < B * strips; unit++) {
        size_t b = unit / strips, c = unit % strips * STRIP;
        mean_of_channels(mean + b * C + c, x + b * T * C + c, C - c < STRIP ? C - c : STRIP, T, C);
    }
}

/* out[r] = strength * x[r] */
VECTORISED static void scale_row(real_t *out, const real_t *x, double strength, size_t n) {
    for (size_t r = 0; r < n; r++) out[r] = (real_t)(strength * (double)x[r]);
}

static mole_what_if_t what_if(const run_t *run, size_t expert) {
    return run->what_if ? run->what_if[expert] : MOLE_AS_TRAINED;
}

/* gate (n) = what a user puts in its place, if anything. */
static void force(real_t *gate, double value, size_t n) {
    if (isnan(value)) return;
    for (size_t i = 0; i < n; i++) gate[i] = (real_t)value;
}

/* The view of a per-token (B,T) or per-sample (B) gate. */
static view_t gate_view(size_t B, size_t T) {
    return (view_t){T ? SHAPE2(B, T) : SHAPE1(B), LAYOUT_TORCH};
}

/* ---- the definition ------------------------------------------------------------------------------ */

/* E (B,T,d') of one expert. */
static void expert_forward(const run_t *run, const mole_layer_t *layer, const mole_expert_t *e,
                           real_t *out, const real_t *x, size_t M) {
    arena_mark_t mark = arena_mark(run->arena);
    real_t *hidden = arena_reals(run->arena, M * e->rank);
    real_t *factor = layer->late ? arena_reals(run->arena, factor_count(layer)) : NULL;
    if (!e->down) late_numbers(factor, &e->late_down, layer->d_in * e->rank);
    linear(hidden, x, e->down ? e->down : factor, NULL, M, layer->d_in, e->rank, run->matmul);
    if (!e->up) late_numbers(factor, &e->late_up, layer->d_out * e->rank);
    linear_scaled(out, hidden, e->up ? e->up : factor, e->scale, M, e->rank, layer->d_out,
                  run->matmul);
    arena_release(run->arena, mark);
}

/* For a float the shorter form is enough. */
static real_t sigmoid_of(double x) {
    const double most = 700;
    if (sizeof(real_t) == sizeof(double)) return (real_t)fmath_sigmoid(x);
    return (real_t)vmath_sigmoid(x < -most ? -most : x > most ? most : x);
}

/* sigmoid(logit); as a run in bfloat16 has it, where that deviation is on. */
static real_t gate_of(const run_t *run, double logit) {
    if (!(run->deviations & DEVIATION_BF16_GATES)) return sigmoid_of(logit);
    return bf16_rounded(fmath_sigmoid((double)bf16_rounded(logit)));
}

/* D_i (B,T) of expert i. */
static void local_gate(const run_t *run, const mole_layer_t *layer, size_t i, real_t *gate,
                       const real_t *x, size_t M) {
    linear(gate, x, layer->local_weight + i * layer->d_in, layer->local_bias + i, M, layer->d_in, 1,
           run->matmul);
    if (!(run->deviations & DEVIATION_BF16_GATES)) {
        sigmoid(gate, gate, M);
        return;
    }
    for (size_t m = 0; m < M; m++) gate[m] = gate_of(run, (double)gate[m]);
}

/* G_i (B) from the expert's own output E_i (B,T,d'). */
static void global_gate(const run_t *run, const mole_expert_t *e, real_t *gate,
                        const real_t *expert_out, size_t B, size_t T, size_t d_out) {
    arena_mark_t mark = arena_mark(run->arena);
    double *mean = arena_bytes(run->arena, B * d_out * sizeof *mean);
    mean_over_tokens(mean, expert_out, B, T, d_out);
    for (size_t b = 0; b < B; b++) {
        acc_t logit = e->global_bias;
        for (size_t o = 0; o < d_out; o++) logit += mean[b * d_out + o] * e->global_weight[o];
        gate[b] = gate_of(run, logit);
    }
    arena_release(run->arena, mark);
}

static void forward_direct(const run_t *run, const mole_layer_t *layer, const char *name,
                           view_t view, real_t *out, const real_t *x, const real_t *weight,
                           const real_t *bias, size_t B, size_t T) {
    size_t M = B * T, d_out = layer->d_out, count = M * d_out;
    linear(out, x, weight, bias, M, layer->d_in, d_out, run->matmul);
    tap_suffix(run->sink, name, out, view, ".mole.base");

    arena_mark_t mark = arena_mark(run->arena);
    real_t *term = arena_reals(run->arena, count);
    real_t *local = arena_reals(run->arena, M);
    real_t *global = arena_reals(run->arena, B);
    for (size_t i = 0; i < layer->experts; i++) {
        const mole_expert_t *e = &layer->expert[i];
        mole_what_if_t asked = what_if(run, i);
        expert_forward(run, layer, e, term, x, M);
        tap_suffix(run->sink, name, term, view, ".mole.%s.expert", e->name);
        if (layer->local_weight) {
            local_gate(run, layer, i, local, x, M);
            force(local, asked.local, M);
            tap_suffix(run->sink, name, local, gate_view(B, T), ".mole.%s.local", e->name);
            global_gate(run, e, global, term, B, T, d_out);
            force(global, asked.global, B);
            tap_suffix(run->sink, name, global, gate_view(B, 0), ".mole.%s.global", e->name);
#pragma omp parallel for schedule(static)
            for (size_t m = 0; m < M; m++) {
                acc_t strength = (acc_t)local[m] * global[m / T];
                scale_row(term + m * d_out, term + m * d_out, asked.strength * strength, d_out);
            }
            tap_suffix(run->sink, name, term, view, ".mole.%s.out", e->name);
        } else if (asked.strength != 1) {
            scale_row(term, term, asked.strength, count);
        }
        add(out, out, term, count);
    }
    arena_release(run->arena, mark);
}

/* ---- the stacked form ---------------------------------------------------------------------------- */

/* G (E,B) from the mean of the input, and its taps. */
static void pooled_gates(const run_t *run, const mole_layer_t *layer, real_t *global,
                         const real_t *x, size_t B, size_t T) {
    size_t d = layer->d_in;
    arena_mark_t mark = arena_mark(run->arena);
    double *mean = arena_bytes(run->arena, B * d * sizeof *mean);
    mean_over_tokens(mean, x, B, T, d);
    for (size_t i = 0; i < layer->experts; i++) {
        for (size_t b = 0; b < B; b++) {
            acc_t logit = layer->expert[i].global_bias;
            for (size_t j = 0; j < d; j++)
                logit += layer->pooled_weight[i * d + j] * mean[b * d + j];
            global[i * B + b] = gate_of(run, logit);
        }
    }
    arena_release(run->arena, mark);
}

/* local (E,M) = D_i from the logits without bias: those of token m begin at logits[m * step]. */
static void local_gates(const run_t *run, const mole_layer_t *layer, real_t *local,
                        const real_t *logits, size_t step, size_t M) {
    for (size_t i = 0; i < layer->experts; i++)
        for (size_t m = 0; m < M; m++)
            local[i * M + m] = gate_of(run, (acc_t)logits[m * step + i] + layer->local_bias[i]);
}

/* out, rows `width` apart: expert i's share of a row is that of in, times s_i D_i G_i (multiplied out, where
 * s_i is in the weights and every expert takes the whole of x: times D_i G_i). out may be in. */
static void apply_gates(const run_t *run, const mole_layer_t *layer, real_t *out, size_t width,
                        const real_t *in, const real_t *local, const real_t *global, size_t B,
                        size_t T) {
    size_t M = B * T, E = layer->experts, d = layer->d_in;
    bool gated = layer->local_weight != NULL, low_rank = layer->stacked_down != NULL;
#pragma omp parallel for schedule(static)
    for (size_t m = 0; m < M; m++) {
        for (size_t i = 0, r = 0; i < E; i++) {
            const mole_expert_t *e = &layer->expert[i];
            const real_t *x = low_rank ? in + m * width + r : in + m * d;
            size_t n = low_rank ? e->rank : d;
            acc_t strength = low_rank ? e->scale : 1;
            if (gated) strength *= (acc_t)local[i * M + m] * global[i * B + m / T];
            scale_row(out + m * width + r, x, what_if(run, i).strength * strength, n);
            r += n;
        }
    }
}

static void forward_stacked(const run_t *run, const mole_layer_t *layer, const char *name,
                            real_t *out, const real_t *x, const real_t *weight, const real_t *bias,
                            size_t B, size_t T) {
    size_t M = B * T, d = layer->d_in, R = layer->ranks, E = layer->experts;
    bool gated = layer->local_weight != NULL, low_rank = layer->stacked_down != NULL;
    size_t width = R + (gated && low_rank ? E : 0);
    arena_mark_t mark = arena_mark(run->arena);
    real_t *hidden = arena_reals(run->arena, M * width), *logits = hidden + R;
    real_t *local = arena_reals(run->arena, E * M), *global = arena_reals(run->arena, E * B);

    if (low_rank) {
        linear(hidden, x, layer->stacked_down, NULL, M, d, width, run->matmul);
    } else if (gated) {
        logits = arena_reals(run->arena, M * E);
        linear(logits, x, layer->local_weight, NULL, M, d, E, run->matmul);
    }
    if (gated) {
        local_gates(run, layer, local, logits, low_rank ? width : E, M);
        pooled_gates(run, layer, global, x, B, T);
    }
    for (size_t i = 0; gated && i < E; i++) {
        force(local + i * M, what_if(run, i).local, M);
        force(global + i * B, what_if(run, i).global, B);
    }
    apply_gates(run, layer, hidden, width, low_rank ? hidden : x, local, global, B, T);
    for (size_t i = 0; gated && i < E; i++) {
        const char *expert = layer->expert[i].name;
        tap_suffix(run->sink, name, local + i * M, gate_view(B, T), ".mole.%s.local", expert);
        tap_suffix(run->sink, name, global + i * B, gate_view(B, 0), ".mole.%s.global", expert);
    }
    linear(out, x, weight, bias, M, d, layer->d_out, run->matmul);
    matmul(out, layer->d_out, hidden, width, layer->stacked_up, R, true, true, M, layer->d_out, R,
           run->matmul);
    arena_release(run->arena, mark);
}

/* The stacks are made, and gone again. */
static void forward_late(const run_t *run, const mole_layer_t *layer, const char *name, real_t *out,
                         const real_t *x, const real_t *weight, const real_t *bias, size_t B,
                         size_t T) {
    arena_mark_t mark = arena_mark(run->arena);
    mole_layer_t stacked = *layer;
    real_t *down = arena_reals(run->arena, down_count(layer));
    real_t *up = arena_reals(run->arena, up_count(layer));
    stack(&stacked, down, up, arena_reals(run->arena, factor_count(layer)));
    forward_stacked(run, &stacked, name, out, x, weight, bias, B, T);
    arena_release(run->arena, mark);
}

void mole_forward(const run_t *run, const mole_layer_t *layer, const char *name, view_t view,
                  real_t *out, const real_t *x, const real_t *weight, const real_t *bias, size_t B,
                  size_t T) {
    REQUIRE(layer->experts >= 1 && T >= 1, "mole %s: %zu experts, %zu tokens", name, layer->experts,
            T);
    if (run->form == MOLE_DIRECT)
        forward_direct(run, layer, name, view, out, x, weight, bias, B, T);
    else if (!layer->stacked_up)
        forward_late(run, layer, name, out, x, weight, bias, B, T);
    else
        forward_stacked(run, layer, name, out, x, weight, bias, B, T);
}

/* What forward_direct and forward_stacked hold at the same time. */
static size_t direct_work(const mole_layer_t *layer, size_t B, size_t T) {
    size_t M = B * T, mean = arena_doubles(B * layer->d_out), deepest = mean;
    for (size_t i = 0; i < layer->experts; i++)
        if (M * layer->expert[i].rank > deepest) deepest = M * layer->expert[i].rank;
    return M * layer->d_out + M + B + deepest + (layer->late ? factor_count(layer) : 0);
}

static size_t stacked_work(const mole_layer_t *layer, size_t B, size_t T) {
    size_t M = B * T, E = layer->experts;
    size_t stacks =
        layer->stacked_up ? 0 : down_count(layer) + up_count(layer) + factor_count(layer);
    return stacks + M * (layer->ranks + E) + M * E + B * E + M * E + arena_doubles(B * layer->d_in);
}

size_t mole_work(const run_t *run, const mole_layer_t *layer, size_t B, size_t T) {
    return (run->form == MOLE_DIRECT ? direct_work : stacked_work)(layer, B, T);
}
