/* What a user puts in place of gates and strengths: y = W x + bias + sum_i strength_i D_i G_i E_i, term by
 * term against plain loops, in both forms; the taps show the gates that were used. */
#include <math.h>

#include "../fixture.h"
#include "mole/mole.h"

enum { B = 2, T = 3, D = 6, O = 5, LOW = 2, HIGH = 4, E = 2 };

/* The multiplied-out form takes over at ranks as high as HIGH. */
typedef struct {
    mole_layer_t layer;
    mole_expert_t expert[E];
    real_t *x, *weight, *bias;
    pool_t pool;
} subject_t;

static real_t *numbers(size_t n, uint64_t seed) {
    return fixture_reals(fixture_random(n, seed, 1), n);
}

static subject_t *subject(size_t rank, bool gated) {
    subject_t *s = fixture_bytes(sizeof *s);
    *s =
        (subject_t){.x = numbers(B * T * D, 1), .weight = numbers(O * D, 2), .bias = numbers(O, 3)};
    for (size_t i = 0; i < E; i++)
        s->expert[i] = (mole_expert_t){.name = i ? "hand" : "face",
                                       .rank = rank,
                                       .scale = i ? 0.5 : 0.25,
                                       .down = numbers(rank * D, 10 + i),
                                       .up = numbers(O * rank, 20 + i),
                                       .global_weight = numbers(O, 30 + i),
                                       .global_bias = i ? -0.3 : 0.4};
    s->layer = (mole_layer_t){.d_in = D, .d_out = O, .experts = E, .expert = s->expert};
    if (gated) {
        s->layer.local_weight = numbers(E * D, 40);
        s->layer.local_bias = numbers(E, 41);
    }
    mole_layer_prepare(&s->layer, &s->pool);
    return s;
}

/* ---- plain loops -------------------------------------------------------------------------------------- */

static double sigmoid_of(double x) {
    return 1 / (1 + exp(-x));
}

/* E_i[b,t,o] */
static double expert_at(const subject_t *s, size_t i, size_t row, size_t o) {
    const mole_expert_t *e = &s->expert[i];
    double sum = 0;
    for (size_t r = 0; r < e->rank; r++)
        for (size_t d = 0; d < D; d++)
            sum += e->scale * (double)e->up[o * e->rank + r] * (double)e->down[r * D + d] *
                   (double)s->x[row * D + d];
    return sum;
}

static double local_at(const subject_t *s, size_t i, size_t row) {
    double sum = (double)s->layer.local_bias[i];
    for (size_t d = 0; d < D; d++)
        sum += (double)s->layer.local_weight[i * D + d] * (double)s->x[row * D + d];
    return sigmoid_of(sum);
}

static double global_at(const subject_t *s, size_t i, size_t b) {
    double sum = s->expert[i].global_bias;
    for (size_t t = 0; t < T; t++)
        for (size_t o = 0; o < O; o++)
            sum += expert_at(s, i, b * T + t, o) / T * (double)s->expert[i].global_weight[o];
    return sigmoid_of(sum);
}

static double expected(const subject_t *s, const mole_what_if_t *asked, size_t row, size_t o) {
    double y = (double)s->bias[o];
    for (size_t d = 0; d < D; d++) y += (double)s->weight[o * D + d] * (double)s->x[row * D + d];
    for (size_t i = 0; i < E; i++) {
        double local = 1, global = 1;
        if (s->layer.local_weight) {
            local = isnan(asked[i].local) ? local_at(s, i, row) : asked[i].local;
            global = isnan(asked[i].global) ? global_at(s, i, row / T) : asked[i].global;
        }
        y += asked[i].strength * local * global * expert_at(s, i, row, o);
    }
    return y;
}

/* ---- the layer ---------------------------------------------------------------------------------------- */

typedef struct {
    tap_sink_t sink;
    double local[E], global[E]; /* the first number of each gate, as tapped */
} heard_t;

static void hear(tap_sink_t *self, const char *name, real_t *x, view_t view) {
    heard_t *h = (heard_t *)self;
    size_t i = strstr(name, ".hand.") != NULL;
    (void)view;
    if (text_ends(name, ".local")) h->local[i] = (double)x[0];
    if (text_ends(name, ".global")) h->global[i] = (double)x[0];
}

static real_t *forward(subject_t *s, mole_form_t form, const mole_what_if_t *asked,
                       heard_t *heard) {
    err_t err;
    run_t run = {.matmul = MATMUL_PLAIN, .form = form, .what_if = asked};
    real_t *out = fixture_blank(B * T * O);
    if (heard) *heard = (heard_t){.sink = {.tap = hear}};
    if (heard) run.sink = &heard->sink;
    assert_int_equal(arena_create(&run.arena, 1 << 20, &err), 0);
    mole_forward(&run, &s->layer, "", VIEW_TOKENS(B, T, O), out, s->x, s->weight, s->bias, B, T);
    arena_destroy(run.arena);
    return out;
}

/* Sums of some forty terms of size 1. */
static void equals_loops(subject_t *s, mole_form_t form, const mole_what_if_t *asked) {
    real_t *out = forward(s, form, asked, NULL);
    for (size_t row = 0; row < B * T; row++)
        for (size_t o = 0; o < O; o++) {
            double truth = expected(s, asked, row, o);
            if (fabs((double)out[row * O + o] - truth) > 64 * UNIT)
                fail_msg("form %d: %.17g, should be %.17g", form, (double)out[row * O + o], truth);
        }
}

static void the_equation(void **state) {
    (void)state;
    static const mole_what_if_t asked[][E] = {
        {{1, NAN, NAN}, {1, NAN, NAN}},  {{0.5, NAN, NAN}, {1, NAN, NAN}},
        {{1, NAN, NAN}, {-2, NAN, NAN}}, {{1, 0.25, NAN}, {1, NAN, NAN}},
        {{1, NAN, NAN}, {1, NAN, 0.75}}, {{3, 0, 1}, {0.5, 1, 0.5}},
        {{0, NAN, NAN}, {1, 1, 1}},
    };
    for (size_t k = 0; k < sizeof asked / sizeof *asked; k++)
        for (int way = 0; way < 8; way++) {
            subject_t *s = subject(way & 1 ? LOW : HIGH, way & 2);
            assert_int_equal(s->layer.stacked_down == NULL, !(way & 1));
            equals_loops(s, way & 4 ? MOLE_STACKED : MOLE_DIRECT, asked[k]);
            pool_free(&s->pool);
        }
}

/* 1 and what the gates say: the bits of a run that nobody asked anything of. */
static void as_trained_changes_no_bit(void **state) {
    (void)state;
    static const mole_what_if_t asked[E] = {{1, NAN, NAN}, {1, NAN, NAN}};
    for (int way = 0; way < 8; way++) {
        subject_t *s = subject(way & 1 ? LOW : HIGH, way & 2);
        mole_form_t form = way & 4 ? MOLE_STACKED : MOLE_DIRECT;
        assert_memory_equal(forward(s, form, asked, NULL), forward(s, form, NULL, NULL),
                            B * T * O * sizeof(real_t));
        pool_free(&s->pool);
    }
}

/* Strength 0 for all: the frozen layer, bit for bit. */
static void no_strength_is_the_frozen_layer(void **state) {
    (void)state;
    static const mole_what_if_t asked[E] = {{0, NAN, NAN}, {0, NAN, NAN}};
    for (int way = 0; way < 8; way++) {
        subject_t *s = subject(way & 1 ? LOW : HIGH, way & 2);
        real_t *base = fixture_blank(B * T * O);
        linear(base, s->x, s->weight, s->bias, B * T, D, O, MATMUL_PLAIN);
        assert_memory_equal(forward(s, way & 4 ? MOLE_STACKED : MOLE_DIRECT, asked, NULL), base,
                            B * T * O * sizeof *base);
        pool_free(&s->pool);
    }
}

static void taps_show_what_was_used(void **state) {
    (void)state;
    static const mole_what_if_t asked[E] = {{1, 0.25, NAN}, {5, NAN, 0.75}};
    for (int form = 0; form < 2; form++) {
        heard_t heard, usual;
        subject_t *s = subject(LOW, true);
        forward(s, form ? MOLE_STACKED : MOLE_DIRECT, NULL, &usual);
        forward(s, form ? MOLE_STACKED : MOLE_DIRECT, asked, &heard);
        assert_true(heard.local[0] == 0.25 && heard.global[1] == 0.75);
        assert_true(heard.local[1] == usual.local[1] && heard.global[0] == usual.global[0]);
        pool_free(&s->pool);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        fixture_test(the_equation),
        fixture_test(as_trained_changes_no_bit),
        fixture_test(no_strength_is_the_frozen_layer),
        fixture_test(taps_show_what_was_used),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
