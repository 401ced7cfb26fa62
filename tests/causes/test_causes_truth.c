/* No cause is printed that is not true: sums in other orders are no mistake, small numbers are no right
 * ones, a gain that is rounding is no gain, and a wrong epsilon is not excused as a loss of digits.
 *
 * Candidates are made here in float32, from sums of their own; the truth in double. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "causes_bench.h"
#include "ops/ops.h"

enum { B = 2, C = 16, H = 5, W = 4, P = H * W, COUNT = B * C * P, G = 4 };
#define IMAGE SHAPE4(B, C, H, W)
#define U32   0x1p-24

/* ---- sums in float32 ------------------------------------------------------------------------- */

typedef enum { FORWARD, BACKWARD, TREE, SHUFFLED, CAREFUL, ORDERS } order_t;

static float add_tree(const float *x, size_t n) {
    return n == 1 ? x[0] : add_tree(x, n / 2) + add_tree(x + n / 2, n - n / 2);
}

static float add_up(const float *x, size_t n, order_t order) {
    float sum = 0;
    double exact = 0;
    if (order == TREE) return add_tree(x, n);
    for (size_t i = 0; i < n; i++) {
        size_t at = order == BACKWARD ? n - 1 - i : order == SHUFFLED ? i * 7919 % n : i;
        sum += x[at];
        exact += (double)x[at];
    }
    return order == CAREFUL ? (float)exact : sum;
}

typedef struct {
    const double *x, *w, *b;
    double eps;
    size_t C, P, groups;
    norm_t norm;
    module_t module;
} norm_case_t;

/* One group: n numbers from `first` on, of which number i has channel i / P. */
static void norm_group(double *y, const norm_case_t *c, size_t first, order_t order, bool one_pass,
                       double eps) {
    size_t n = c->C / c->groups * c->P, channel = first / c->P % c->C;
    float *t = fixture_bytes(n * sizeof *t), mean, square, variance;
    for (size_t i = 0; i < n; i++) t[i] = (float)c->x[first + i];
    mean = add_up(t, n, order) / (float)n;
    for (size_t i = 0; i < n; i++) {
        float d = one_pass ? t[i] : t[i] - mean;
        t[i] = d * d;
    }
    square = add_up(t, n, order) / (float)n;
    variance = one_pass ? square - mean * mean : square;
    float over = 1 / sqrtf(variance + (float)eps);
    for (size_t i = 0; i < n; i++) {
        float x = (float)c->x[first + i], w = (float)c->w[channel + i / c->P];
        float bias = (float)c->b[channel + i / c->P];
        float scale = over * w, shift = bias - mean * scale;
        y[first + i] = (double)(one_pass ? x * scale + shift : (x - mean) * over * w + bias);
    }
}

static double *normed(const norm_case_t *c, order_t order, bool one_pass, double eps) {
    double *y = bench_zeros(COUNT);
    size_t n = c->C / c->groups * c->P;
    for (size_t first = 0; first < COUNT; first += n) norm_group(y, c, first, order, one_pass, eps);
    return y;
}

/* x = mean + deviation * noise, another mean and deviation in each group. `rows`: a LayerNorm over
 * tokens of C numbers. */
static void start_norm(norm_case_t *c, uint64_t seed, double mean, double deviation, bool rows) {
    double *x = bench_copy(fixture_random(COUNT, seed, 1), COUNT);
    const double *random = fixture_random(COUNT, seed + 1, 1);
    *c =
        (norm_case_t){.eps = rows ? 1e-5 : 1e-6, .C = C, .P = rows ? 1 : P, .groups = rows ? 1 : G};
    size_t n = C / c->groups * c->P;
    for (size_t i = 0; i < COUNT; i++)
        x[i] = (double)(float)(mean * (0.5 + fabs(random[i / n])) +
                               deviation * (0.25 + fabs(random[COUNT - 1 - i / n])) * x[i]);
    c->x = x, c->w = fixture_random(C, seed + 2, 1), c->b = fixture_random(C, seed + 3, 1);
    c->norm = (norm_t){"unet.r.norm", C, G, c->eps, fixture_reals(c->w, C), fixture_reals(c->b, C)};
    c->module =
        (module_t){c->norm.name, rows ? MODULE_LAYER_NORM : MODULE_GROUP_NORM, {.norm = &c->norm}};
    double *right = bench_zeros(COUNT), *size = bench_zeros(COUNT);
    shape_t shape = rows ? SHAPE3(B, P, C) : IMAGE;
    slow_group_norm(right, size, x, c->w, c->b, COUNT / C / c->P, C, c->P, c->groups, c->eps);
    bench_start(c->norm.name, shape, right);
    bench.rounding *= U32 / UNIT / 3;
    bench_module(&c->module, x, shape);
}

static bool names_no_mistake(const char *kind) {
    return *kind == '\0' || strcmp(kind, "summation") == 0;
}

static void expect_no_mistake(const double *y, const char *what, int k) {
    const char *kind = bench_exactly(y);
    if (!names_no_mistake(kind))
        fail_msg("%s %d: sums in another order are called '%s': %s", what, k, kind, bench_text());
}

static void orders_of_norms(void **state) {
    (void)state;
    static const double means[] = {0, 0.3, 3, 30, 1000}, deviations[] = {1, 0.01, 1e-4};
    norm_case_t c;
    for (int k = 0; k < 2 * 5 * 3 * ORDERS; k++) {
        start_norm(&c, 100 + (uint64_t)k * 7, means[k / 2 % 5], deviations[k / 10 % 3], k % 2);
        expect_no_mistake(normed(&c, (order_t)(k / 30), false, c.eps), "norm", k);
    }
}

static void orders_of_linear_maps(void **state) {
    (void)state;
    enum { K = 160, N = 12, M = 20 };
    for (int k = 0; k < 8 * ORDERS; k++) {
        uint64_t seed = 3000 + (uint64_t)k * 5;
        double offset = k % 2 ? 1 : 0; /* all products of one sign: sums that grow */
        double *x = bench_copy(fixture_random(M * K, seed, 1), M * K);
        double *w = bench_copy(fixture_random(N * K, seed + 1, 1), N * K);
        for (size_t i = 0; i < M * K; i++) x[i] = (double)(float)(x[i] + offset);
        for (size_t i = 0; i < N * K; i++) w[i] = (double)(float)(w[i] + offset);
        const double *b = fixture_random(N, seed + 2, 1);
        double *right = bench_zeros(M * N), *size = bench_zeros(M * N), *y = bench_zeros(M * N);
        slow_linear(right, size, x, w, b, M, K, N);
        linear_t layer = {"unet.q", K,        N, fixture_reals(w, N * K), fixture_reals(b, N),
                          NULL,     {NULL, 0}};
        module_t module = {layer.name, MODULE_LINEAR, {.linear = &layer}};
        bench_start(layer.name, SHAPE2(M, N), right);
        bench.rounding *= U32 / UNIT / 3;
        bench_module(&module, x, SHAPE2(M, K));
        for (size_t i = 0; i < M * N; i++) {
            float t[K];
            for (size_t j = 0; j < K; j++) t[j] = (float)x[i / N * K + j] * (float)w[i % N * K + j];
            y[i] = (double)(add_up(t, K, (order_t)(k / 8)) + (float)b[i % N]);
        }
        expect_no_mistake(y, "linear", k);
    }
}

/* ---- a variance taken in one pass -------------------------------------------------------------- */

static void one_pass_is_named(void **state) {
    (void)state;
    norm_case_t c;
    int named = 0;
    for (int k = 0; k < 40; k++) {
        start_norm(&c, 7000 + (uint64_t)k * 7, 1, k % 4 < 2 ? 0.02 : 0.005, k % 2);
        const char *kind = bench_exactly(normed(&c, (order_t)(k / 8), true, c.eps));
        bool variance = strcmp(kind, "variance") == 0;
        if (!variance && !names_no_mistake(kind))
            fail_msg("one pass %d is called '%s': %s", k, kind, bench_text());
        if (variance && !strstr(bench_text(), "one pass")) fail_msg("%s", bench_text());
        named += variance;
    }
    assert_in_range(named, 36, 40);
}

static double rms_between(const double *a, const double *b) {
    double sum = 0;
    for (size_t i = 0; i < COUNT; i++) sum += (a[i] - b[i]) * (a[i] - b[i]);
    return sqrt(sum / COUNT);
}

/* Norms of a large mean with another epsilon, careful sums: rounding is no excuse, unless it is as
 * large as what the epsilon changes. */
static void epsilon_is_not_excused(void **state) {
    (void)state;
    static const double wrong[] = {1e-5, 1e-7, 0, 2e-6, 5e-6, 1.5e-6, 3e-5, 1.2e-6, 9e-6, 1e-4};
    norm_case_t c;
    int named = 0, visible = 0;
    for (int k = 0; k < 200; k++) {
        double mean = k / 20 % 2 ? 1 : 8, eps = wrong[k % 10];
        start_norm(&c, 9000 + (uint64_t)k * 7, mean, k % 3 ? 0.02 : 0.3, k / 10 % 2);
        if (eps == c.eps) continue;
        double noise = rms_between(normed(&c, CAREFUL, false, c.eps), bench.expected);
        const double *y = normed(&c, CAREFUL, false, eps);
        bool seen = rms_between(y, bench.expected) > 4 * noise;
        const char *kind = bench_exactly(y);
        bool epsilon = strcmp(kind, "epsilon") == 0;
        if (seen && !epsilon && *kind)
            fail_msg("epsilon %g (%d) is called '%s': %s", eps, k, kind, bench_text());
        if (!epsilon && !names_no_mistake(kind)) fail_msg("%d: '%s'", k, bench_text());
        visible += seen;
        named += seen && epsilon;
    }
    print_message("%d of %d visible epsilons are named\n", named, visible);
    assert_true(visible >= 100 && 3 * named >= 2 * visible);
}

/* ---- places, gains, chance ---------------------------------------------------------------------- */

/* The channels' sizes fall off; all are off by one part in a thousand of their own. */
static void small_is_not_right(void **state) {
    (void)state;
    const double *random = fixture_random(COUNT, 21, 1), *noise = fixture_random(COUNT, 22, 1e-3);
    for (int axis = 0; axis < 4; axis++)
        for (int fall = 1; fall <= 4; fall++) {
            static const size_t inner[] = {C * P, P, W, 1}, size[] = {B, C, H, W};
            double *x = bench_zeros(COUNT), *y = bench_zeros(COUNT);
            for (size_t i = 0; i < COUNT; i++) {
                bool first = i / inner[axis] % size[axis] < size[axis] / 2;
                x[i] = first ? random[i] * pow(10, -3 * fall) : random[i];
                y[i] = x[i] * (1 + noise[i]);
            }
            bench_start("unet.x", IMAGE, x);
            const char *kind = bench_exactly(y);
            if (*kind) fail_msg("axis %d, 10^-%d: '%s': %s", axis, 3 * fall, kind, bench_text());
            /* A sentence about the whole tensor does not hold where half of it is left alone. */
            for (size_t i = 0; i < COUNT; i++) {
                bool first = i / inner[axis] % size[axis] < size[axis] / 2;
                y[i] = first && fall == 1 ? x[i] : 1.5 * x[i];
            }
            kind = bench_exactly(y);
            if (strcmp(kind, "gain") == 0 && fall == 1 && !strstr(bench_text(), "in each"))
                fail_msg("axis %d: half of it is not '%s'", axis, bench_text());
            if (fall > 1) assert_string_equal(kind, "gain");
        }
}

static void gains_have_their_digits(void **state) {
    (void)state;
    const double *x = fixture_random(COUNT, 23, 1);
    double *y = bench_zeros(COUNT);
    bench_start("unet.x", IMAGE, x);
    bench.rounding *= UNIT64 / UNIT;
    static const struct {
        double gain;
        const char *part;
    } gains[] = {{1.000001, "times 1.000001"},
                 {0.999999, "times 0.999999"},
                 {1.00000025, "times 1.00000025"},
                 {1.25, "times 1.25"}};
    for (size_t k = 0; k < sizeof gains / sizeof *gains; k++) {
        for (size_t i = 0; i < COUNT; i++) y[i] = gains[k].gain * x[i];
        assert_string_equal(bench_exactly(y), "gain");
        if (!strstr(bench_text(), gains[k].part)) fail_msg("%s: %s", gains[k].part, bench_text());
    }
    for (int roundings = 1; roundings < 64; roundings *= 2) {
        for (size_t i = 0; i < COUNT; i++) y[i] = (1 + roundings * UNIT64) * x[i];
        assert_string_equal(bench_exactly(y), "");
    }
}

/* Each channel off by its own constant: a description; no bias is made out of it. */
static void constants_are_described(void **state) {
    (void)state;
    const double *x = fixture_random(COUNT, 24, 1), *each = fixture_random(C, 25, 1);
    double *y = bench_zeros(COUNT);
    bench_start("unet.x", IMAGE, x);
    for (int k = 9; k > 0; k--) {
        for (size_t i = 0; i < COUNT; i++) y[i] = x[i] + pow(10, -k) * each[i / P % C];
        const char *kind = bench_exactly(y);
        assert_null(strstr(bench_text(), "bias"));
        assert_true(*kind == '\0' || strcmp(kind, "offset") == 0);
    }
    assert_non_null(strstr(bench_text(), "in each channel your output is the expected one plus"));
}

/* An end token one place early: the vectors differ from there on, and nobody can say why. */
static void early_end_is_no_padding(void **state) {
    (void)state;
    enum { T = 12, D = 16, N = T * D };
    const double *x = fixture_random(N, 26, 1), *other = fixture_random(N, 27, 1);
    double y[N];
    bench_start("prompt_embeds", SHAPE3(1, T, D), x);
    for (size_t i = 0; i < N; i++) y[i] = i / D < 5 ? x[i] : other[i];
    assert_string_equal(bench_exactly(y), "localised");
    assert_null(strstr(bench_text(), "padding"));
    assert_non_null(strstr(bench_text(), "right before token 5 and wrong from there on"));
    for (size_t i = 0; i < D; i++) y[7 * D + i] = x[7 * D + i]; /* token 7 is right again */
    assert_null(strstr((bench_exactly(y), bench_text()), "token 5 and wrong from there on"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        bench_test(orders_of_norms),         bench_test(orders_of_linear_maps),
        bench_test(one_pass_is_named),       bench_test(epsilon_is_not_excused),
        bench_test(small_is_not_right),      bench_test(gains_have_their_digits),
        bench_test(constants_are_described), bench_test(early_end_is_no_padding),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
