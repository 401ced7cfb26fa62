/* attention: against the slow oracle, around the edges of its blocks of 64 queries. */
#include <math.h>

#include "../fixture.h"
#include "../slow.h"
#include "ops/ops.h"

typedef struct {
    size_t B, T, S, NH, D;
    bool causal;
    double scale; /* 0: 1/sqrt(D) */
} case_t;

static const case_t cases[] = {
    {1, 1, 1, 1, 1, false, 0},    {1, 1, 1, 1, 3, true, 0},     {2, 1, 7, 3, 5, false, 0},
    {2, 9, 1, 2, 4, false, 0},    {2, 6, 7, 8, 5, false, 0},    {1, 30, 7, 5, 8, false, 0.25},
    {2, 33, 33, 2, 3, true, 0},   {1, 77, 77, 5, 8, true, 0},   {1, 63, 20, 1, 8, false, 0},
    {1, 64, 64, 1, 4, true, 0},   {1, 65, 65, 2, 4, true, 0},   {2, 65, 30, 1, 7, false, 0},
    {1, 129, 40, 1, 8, false, 0}, {1, 130, 130, 1, 4, true, 0}, {1, 5, 6, 2, 8, false, -1},
    {1, 20, 20, 1, 64, false, 3},                               /* sharp: nearly one-hot */
    {1, 257, 30, 1, 4, false, 0}, {2, 300, 300, 2, 3, true, 0}, /* two blocks of queries */
};
enum { CASES = sizeof cases / sizeof *cases };

static void one_case(const case_t *c, matmul_way_t how) {
    double scale = c->scale != 0 ? c->scale : 1 / sqrt((double)c->D);
    size_t C = c->NH * c->D, n = c->B * c->T * C, m = c->B * c->S * C;
    double *q = fixture_random(n, 1, 2), *k = fixture_random(m, 2, 2), *v = fixture_random(m, 3, 1);
    double *truth = fixture_bytes(n * sizeof *truth), *size = fixture_bytes(n * sizeof *size);
    slow_attention(truth, size, q, k, v, c->B, c->T, c->S, c->NH, c->D, scale, c->causal);
    real_t *out = fixture_blank(n);
    real_t *work = fixture_blank(attention_work(c->B, c->T, c->S, c->NH, c->D));
    attention(out, fixture_reals(q, n), fixture_reals(k, m), fixture_reals(v, m), c->B, c->T, c->S,
              c->NH, c->D, scale, c->causal, work, how);
    /* Scores are rounded once however they are summed (and magnify twice: numerator and sum). */
    double sums = (double)(c->D + c->S + 8);
    double spread = 4 * UNIT + sums * (how == MATMUL_PLAIN ? UNIT64 : 2 * UNIT);
    fixture_close(fixture_doubles(out, n), truth, size, spread, n, "attention case %zu, %s",
                  (size_t)(c - cases), how == MATMUL_PLAIN ? "plain" : "BLAS");
}

static void attention_equals_slow(void **state) {
    for (size_t i = 0; i < CASES * 2; i++) {
        one_case(&cases[i / 2], i & 1 ? MATMUL_PLAIN : MATMUL_BLAS);
        fixture_free(state);
    }
}

/* What a causal row may not see cannot reach it, not even as 0 times something. */
static void the_future_does_not_matter(void **state) {
    (void)state;
    enum { T = 70, C = 6 };
    real_t *q = fixture_reals(fixture_random(T * C, 1, 1), T * C);
    real_t *k = fixture_reals(fixture_random(T * C, 2, 1), T * C);
    real_t *v = fixture_reals(fixture_random(T * C, 3, 1), T * C);
    real_t *before = fixture_blank(T * C), *after = fixture_blank(T * C);
    real_t *work = fixture_blank(attention_work(1, T, T, 2, 3));
    attention(before, q, k, v, 1, T, T, 2, 3, 0.5, true, work, MATMUL_PLAIN);
    for (size_t i = 40 * C; i < T * C; i++) k[i] = 100, v[i] = -100;
    attention(after, q, k, v, 1, T, T, 2, 3, 0.5, true, work, MATMUL_PLAIN);
    for (size_t i = 0; i < 40 * C; i++) assert_true(before[i] == after[i]);
    for (size_t c = 0; c < C; c++) assert_true(before[0 * C + c] == v[c]); /* token 0 sees itself */
}

/* Scratch is a block of rows per thread, whatever the number of heads and batch entries. */
static void work_is_not_tokens_by_tokens(void **state) {
    (void)state;
    size_t one = attention_work(1, 4096, 4096, 1, 40);
    assert_int_equal(one, attention_work(2, 4096, 4096, 8, 40));
    assert_int_equal(one, 2 * attention_work(2, 4096, 2048, 8, 40));
    assert_int_equal(one, attention_work(2, 8192, 4096, 8, 40));
}

static real_t some[12];
static void causal_of_unequal_lengths(void) {
    attention(some, some, some, some, 1, 2, 3, 1, 4, 1, true, some, MATMUL_PLAIN);
}
static void no_context(void) {
    attention(some, some, some, some, 1, 2, 0, 1, 4, 1, false, some, MATMUL_PLAIN);
}

static void broken_contracts_abort(void **state) {
    (void)state;
    fixture_aborts(causal_of_unequal_lengths,
                   "attention: causal needs as many queries as keys, not T=2 and S=3");
    fixture_aborts(no_context, "attention: no context tokens");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        fixture_test(attention_equals_slow),
        fixture_test(the_future_does_not_matter),
        fixture_test(work_is_not_tokens_by_tokens),
        fixture_test(broken_contracts_abort),
    };
    return cmocka_run_group_tests_name("ops/attention " REAL_NAME, tests, NULL, NULL);
}
