/* mole.c - see mole.h; read that first.
 *
 * Numerical notes. Pooling and the global logits are summed in double, because the mean over 4096
 * tokens is where float32 would lose most; a port may do it in float32 and will differ there by a few
 * units in the last place of G. Gates are kept as real_t. */
#include "mole/mole.h"

#include <string.h>

#include "core/fmath.h"

void mole_layer_prepare(mole_layer_t *layer, pool_t *pool) {
    size_t d = layer->d_in, d_out = layer->d_out, E = layer->experts, R = 0;
    for (size_t i = 0; i < E; i++) R += layer->expert[i].rank;
    bool gated = layer->local_weight != NULL;

    real_t *down = pool_alloc(pool, (R + (gated ? E : 0)) * d, sizeof *down);
    real_t *up = pool_alloc(pool, d_out * R, sizeof *up);
    double *u = pool_alloc(pool, E * d, sizeof *u);
    for (size_t i = 0, row = 0; i < E; row += layer->expert[i].rank, i++) {
        const mole_expert_t *e = &layer->expert[i];
        memcpy(down + row * d, e->down, e->rank * d * sizeof *down);
        for (size_t o = 0; o < d_out; o++)
            memcpy(up + o * R + row, e->up + o * e->rank, e->rank * sizeof *up);
        if (!gated) continue;
        for (size_t r = 0; r < e->rank; r++) { /* u = sum_r (s up_r . w) down_r */
            acc_t weight = 0;
            for (size_t o = 0; o < d_out; o++)
                weight += (acc_t)e->up[o * e->rank + r] * e->global_weight[o];
            for (size_t j = 0; j < d; j++) u[i * d + j] += e->scale * weight * e->down[r * d + j];
        }
    }
    if (gated) memcpy(down + R * d, layer->local_weight, E * d * sizeof *down);

    layer->ranks = R;
    layer->stacked_down = down;
    layer->stacked_up = up;
    layer->pooled_weight = u;
}

/* mean[b,c] over the tokens of x (B,T,C), in double. */
static void mean_over_tokens(double *mean, const real_t *x, size_t B, size_t T, size_t C) {
    memset(mean, 0, B * C * sizeof *mean);
    for (size_t b = 0; b < B; b++) {
        for (size_t t = 0; t < T; t++)
            for (size_t c = 0; c < C; c++) mean[b * C + c] += x[(b * T + t) * C + c];
        for (size_t c = 0; c < C; c++) mean[b * C + c] /= (double)T;
    }
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
    linear(hidden, x, e->down, NULL, M, layer->d_in, e->rank, run->matmul);
    linear_scaled(out, hidden, e->up, e->scale, M, e->rank, layer->d_out, run->matmul);
    arena_release(run->arena, mark);
}

/* D_i (B,T) of expert i. */
static void local_gate(const run_t *run, const mole_layer_t *layer, size_t i, real_t *gate,
                       const real_t *x, size_t M) {
    linear(gate, x, layer->local_weight + i * layer->d_in, layer->local_bias + i, M, layer->d_in, 1,
           run->matmul);
    sigmoid(gate, gate, M);
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
        gate[b] = (real_t)fmath_sigmoid(logit);
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
        expert_forward(run, layer, e, term, x, M);
        tap_suffix(run->sink, name, term, view, ".mole.%s.expert", e->name);
        if (layer->local_weight) {
            local_gate(run, layer, i, local, x, M);
            tap_suffix(run->sink, name, local, gate_view(B, T), ".mole.%s.local", e->name);
            global_gate(run, e, global, term, B, T, d_out);
            tap_suffix(run->sink, name, global, gate_view(B, 0), ".mole.%s.global", e->name);
#pragma omp parallel for schedule(static)
            for (size_t m = 0; m < M; m++) {
                acc_t strength = (acc_t)local[m] * global[m / T];
                for (size_t o = 0; o < d_out; o++)
                    term[m * d_out + o] = (real_t)(strength * term[m * d_out + o]);
            }
            tap_suffix(run->sink, name, term, view, ".mole.%s.out", e->name);
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
            global[i * B + b] = (real_t)fmath_sigmoid(logit);
        }
    }
    arena_release(run->arena, mark);
}

/* hidden (M,width): the ranks of each row times s_i D_i G_i, D_i from the row's last E numbers. Gates
 * are applied in place; local (E,M) receives the D for the taps. */
static void apply_gates(const mole_layer_t *layer, real_t *hidden, real_t *local,
                        const real_t *global, size_t B, size_t T) {
    size_t M = B * T, R = layer->ranks, E = layer->experts;
    bool gated = layer->local_weight != NULL;
    size_t width = R + (gated ? E : 0);
#pragma omp parallel for schedule(static)
    for (size_t m = 0; m < M; m++) {
        real_t *row = hidden + m * width;
        for (size_t i = 0, r = 0; i < E; i++) {
            const mole_expert_t *e = &layer->expert[i];
            acc_t strength = e->scale;
            if (gated) {
                local[i * M + m] = (real_t)fmath_sigmoid((acc_t)row[R + i] + layer->local_bias[i]);
                strength *= (acc_t)local[i * M + m] * global[i * B + m / T];
            }
            for (size_t end = r + e->rank; r < end; r++) row[r] = (real_t)(strength * row[r]);
        }
    }
}

static void forward_stacked(const run_t *run, const mole_layer_t *layer, const char *name,
                            real_t *out, const real_t *x, const real_t *weight, const real_t *bias,
                            size_t B, size_t T) {
    size_t M = B * T, d = layer->d_in, R = layer->ranks, E = layer->experts;
    bool gated = layer->local_weight != NULL;
    size_t width = R + (gated ? E : 0);
    arena_mark_t mark = arena_mark(run->arena);
    real_t *hidden = arena_reals(run->arena, M * width);
    real_t *local = arena_reals(run->arena, E * M);
    real_t *global = arena_reals(run->arena, E * B);

    linear(hidden, x, layer->stacked_down, NULL, M, d, width, run->matmul);
    if (gated) pooled_gates(run, layer, global, x, B, T);
    apply_gates(layer, hidden, local, global, B, T);
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

void mole_forward(const run_t *run, const mole_layer_t *layer, const char *name, view_t view,
                  real_t *out, const real_t *x, const real_t *weight, const real_t *bias, size_t B,
                  size_t T) {
    REQUIRE(layer->experts >= 1 && T >= 1, "mole %s: %zu experts, %zu tokens", name, layer->experts,
            T);
    if (run->form == MOLE_DIRECT)
        forward_direct(run, layer, name, view, out, x, weight, bias, B, T);
    else
        forward_stacked(run, layer, name, out, x, weight, bias, B, T);
}
