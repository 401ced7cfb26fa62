/* The plain loops of ops/definition.h against the fast forms that the network runs: to the bit where that is
 * promised (MATMUL_PLAIN), else to what rounding explains. */
#include <math.h>
#include <string.h>

#include "../fixture.h"
#include "ops/definition.h"

/* What core/vmath.h promises of exp, in the type of the exponentials. */
static const double EXP = 8 * UNIT;
/* Two orders of a long sum, in double. */
static const double SUMS = 2 * UNIT + 64 * UNIT64;

static real_t *numbers(size_t n, uint64_t seed) {
    return fixture_reals(fixture_random(n, seed, 2), n);
}

/* Out of a fast form and of a definition: equal up to `spread` of the largest number. */
static void close_to(const real_t *fast, const real_t *definition, size_t n, double spread,
                     const char *name) {
    double *size = fixture_bytes(n * sizeof *size), most = 0;
    for (size_t i = 0; i < n; i++) most = fmax(most, fabs((double)definition[i]));
    for (size_t i = 0; i < n; i++) size[i] = most;
    fixture_close(fixture_doubles(fast, n), fixture_doubles(definition, n), size, spread, n, "%s",
                  name);
}

static void matmul_plain_is_the_definition(void **state) {
    static const size_t sizes[][3] = {
        {1, 1, 1}, {3, 5, 7}, {33, 17, 129}, {65, 40, 300}, {4, 3, 0}};
    for (size_t i = 0; i < 4 * sizeof sizes / sizeof *sizes; i++) {
        const size_t M = sizes[i / 4][0], N = sizes[i / 4][1], K = sizes[i / 4][2];
        bool transposed = i % 4 / 2, accumulate = i % 2;
        real_t *a = numbers(M * K, 1), *b = numbers(K * N, 2);
        real_t *fast = numbers(M * N, 3), *definition = numbers(M * N, 3);
        matmul(fast, N, a, K, b, transposed ? K : N, transposed, accumulate, M, N, K, MATMUL_PLAIN);
        matmul_definition(definition, a, b, transposed, accumulate, M, N, K);
        assert_memory_equal(fast, definition, M * N * sizeof *fast);
        fixture_free(state);
    }
}

static void conv2d_plain_is_the_definition(void **state) {
    static const struct {
        size_t B, Ci, H, W, Co;
        conv2d_geometry_t g;
    } cases[] = {{2, 3, 5, 7, 4, {3, 3, 1, 1, 1, 1, 1}},
                 {1, 8, 6, 4, 5, {3, 3, 2, 0, 1, 0, 1}},
                 {2, 5, 4, 4, 3, {1, 1, 1, 0, 0, 0, 0}},
                 {1, 2, 7, 3, 6, {2, 3, 1, 2, 0, 1, 3}},
                 {1, 40, 9, 9, 20, {3, 3, 1, 1, 1, 1, 1}}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t B = cases[i].B, Ci = cases[i].Ci, H = cases[i].H, W = cases[i].W, Co = cases[i].Co;
        conv2d_geometry_t g = cases[i].g;
        size_t count = B * Co * conv2d_out(H, g.top, g.bottom, g.kernel_h, g.stride) *
                       conv2d_out(W, g.left, g.right, g.kernel_w, g.stride);
        real_t *x = numbers(B * Ci * H * W, 1),
               *weight = numbers(Co * Ci * g.kernel_h * g.kernel_w, 2);
        real_t *bias = i % 2 ? NULL : numbers(Co, 3);
        real_t *fast = fixture_blank(count), *definition = fixture_blank(count);
        real_t *work = fixture_blank(conv2d_work(B, Ci, H, W, Co, g, CONV_AUTO, MATMUL_PLAIN));
        conv2d(fast, x, weight, bias, B, Ci, H, W, Co, g, work, CONV_AUTO, MATMUL_PLAIN);
        conv2d_definition(definition, x, weight, bias, B, Ci, H, W, Co, g);
        assert_memory_equal(fast, definition, count * sizeof *fast);
        fixture_free(state);
    }
}

static void norms_are_their_definition(void **state) {
    static const size_t sizes[][4] = {
        {2, 8, 15, 4}, {1, 6, 1, 1}, {2, 320, 20, 32}, {1, 600, 9, 2}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        size_t B = sizes[i][0], C = sizes[i][1], P = sizes[i][2], G = sizes[i][3], n = B * C * P;
        real_t *x = numbers(n, 1), *weight = numbers(C, 2), *bias = numbers(C, 3);
        real_t *fast = fixture_blank(n), *definition = fixture_blank(n);
        group_norm(fast, x, weight, bias, B, C, P, G, 1e-5);
        group_norm_definition(definition, x, weight, bias, B, C, P, G, 1e-5);
        close_to(fast, definition, n, SUMS, "group_norm");
        layer_norm(fast, x, weight, bias, B * P, C, 1e-6);
        layer_norm_definition(definition, x, weight, bias, B * P, C, 1e-6);
        close_to(fast, definition, n, SUMS, "layer_norm");
        fixture_free(state);
    }
}

static void softmax_is_its_definition(void **state) {
    static const size_t sizes[][2] = {{1, 1}, {3, 7}, {5, 77}, {2, 300}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        size_t M = sizes[i][0], N = sizes[i][1];
        real_t *x = numbers(M * N, 1), *fast = fixture_blank(M * N);
        real_t *definition = fixture_blank(M * N);
        softmax(fast, x, M, N);
        softmax_definition(definition, x, M, N);
        close_to(fast, definition, M * N, EXP, "softmax");
        fixture_free(state);
    }
}

static void attention_is_its_definition(void **state) {
    static const size_t sizes[][5] = {{2, 5, 5, 2, 4}, {1, 1, 9, 3, 8}, {1, 300, 300, 1, 16}};
    for (size_t i = 0; i < 4 * sizeof sizes / sizeof *sizes; i++) {
        size_t B = sizes[i / 4][0], T = sizes[i / 4][1], S = sizes[i / 4][2], NH = sizes[i / 4][3],
               D = sizes[i / 4][4], n = B * T * NH * D;
        bool causal = i % 2 && T == S;
        matmul_way_t how = i % 4 / 2 ? MATMUL_PLAIN : MATMUL_BLAS;
        real_t *q = numbers(n, 1), *k = numbers(B * S * NH * D, 2), *v = numbers(B * S * NH * D, 3);
        real_t *fast = fixture_blank(n), *definition = fixture_blank(n);
        attention(fast, q, k, v, B, T, S, NH, D, -0.3, causal,
                  fixture_blank(attention_work(B, T, S, NH, D)), how);
        attention_definition(definition, q, k, v, B, T, S, NH, D, -0.3, causal);
        close_to(fast, definition, n, 8 * EXP, "attention");
        fixture_free(state);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        fixture_test(matmul_plain_is_the_definition), fixture_test(conv2d_plain_is_the_definition),
        fixture_test(norms_are_their_definition),     fixture_test(softmax_is_its_definition),
        fixture_test(attention_is_its_definition),
    };
    return cmocka_run_group_tests_name("ops/definition " REAL_NAME, tests, NULL, NULL);
}
