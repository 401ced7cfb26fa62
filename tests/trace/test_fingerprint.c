/* test_fingerprint.c - a tensor known by a few numbers, and the cases made of such. */
#include <math.h>

#include "../scratch.h"
#include "../unit.h"
#include "compare/verify.h"
#include "trace/fingerprint.h"

enum { B = 2, C = 5, H = 130, W = 67, COUNT = B * C * H * W };

static real_t number(size_t i) {
    return (real_t)((double)(i * 7919 % 104729) / 52364.5 - 1);
}

/* In torch's order and channels-last. */
static void fill(real_t *torch, real_t *last) {
    for (size_t i = 0; i < COUNT; i++) torch[i] = number(i);
    view_from_torch(last, torch, VIEW_IMAGE(B, C, H, W));
}

static bool near(double a, double b, double tolerance) {
    return fabs(a - b) <= tolerance;
}

static void both_layouts_and_the_definition(void **state) {
    (void)state;
    static real_t torch[COUNT], last[COUNT];
    fill(torch, last);
    fingerprint_t a = fingerprint_of(torch, (view_t){SHAPE4(B, C, H, W), LAYOUT_TORCH});
    fingerprint_t b = fingerprint_of(last, VIEW_IMAGE(B, C, H, W));
    double sum = 0, square = 0, spread = 0, least = INFINITY, most = -INFINITY;
    for (size_t i = 0; i < COUNT; i++) {
        sum += (double)torch[i];
        square += (double)torch[i] * (double)torch[i];
        least = fmin(least, (double)torch[i]);
        most = fmax(most, (double)torch[i]);
    }
    for (size_t i = 0; i < COUNT; i++) spread += pow((double)torch[i] - sum / COUNT, 2);
    assert_true(near(a.mean, sum / COUNT, 1e-14));
    assert_true(near(a.deviation, sqrt(spread / COUNT), 1e-13));
    assert_true(near(a.norm, sqrt(square), 1e-11));
    assert_true(a.least == least && a.most == most);
    assert_true(b.least == least && b.most == most);
    assert_true(near(a.norm, b.norm, 1e-11));
    for (size_t k = 0; k < FINGERPRINT_VALUES; k++) {
        size_t at = fingerprint_position(k, COUNT);
        assert_true(at < COUNT);
        assert_true(a.value[k] == (double)torch[at]);
        assert_true(b.value[k] == (double)torch[at]);
    }
    /* floor(frac(k golden) N), N = 87100, worked out by hand for k = 0, 1, 2. */
    assert_int_equal(fingerprint_position(0, COUNT), 0);
    assert_int_equal(fingerprint_position(1, COUNT), 53830);
    assert_int_equal(fingerprint_position(2, COUNT), 20561);
}

static fingerprint_t of_torch(const real_t *x) {
    return fingerprint_of(x, (view_t){SHAPE1(COUNT), LAYOUT_TORCH});
}

/* What is done to a tensor shows. */
static void changes_show(void **state) {
    (void)state;
    static real_t x[COUNT], y[COUNT];
    for (size_t i = 0; i < COUNT; i++) x[i] = number(i);
    fingerprint_t truth = of_torch(x);
    diff_t same = fingerprint_diff(&truth, &truth, COUNT);
    assert_true(same.max_abs == 0 && same.rms == 0 && same.count == COUNT);

    for (size_t i = 0; i < COUNT; i++) y[i] = x[i] * (real_t)1.01;
    fingerprint_t other = of_torch(y);
    assert_true(fingerprint_diff(&other, &truth, COUNT).rms > 0.004);
    for (size_t i = 0; i < COUNT; i++) y[i] = x[COUNT - 1 - i]; /* all statistics are equal */
    other = of_torch(y);
    assert_true(fingerprint_diff(&other, &truth, COUNT).rms > 0.1);
    memcpy(y, x, sizeof y);
    y[1] = 50; /* at none of the positions */
    other = of_torch(y);
    assert_true(fingerprint_diff(&other, &truth, COUNT).max_abs > 40);
    for (size_t i = 0; i < COUNT; i++) /* the mean and the values stay */
        y[i] = x[i] + (real_t)((i % 2) ? 0.1 : -0.1);
    for (size_t k = 0; k < FINGERPRINT_VALUES; k++) {
        size_t at = fingerprint_position(k, COUNT);
        y[at] = x[at];
    }
    other = of_torch(y);
    assert_true(fingerprint_diff(&other, &truth, COUNT).rms > 1e-3);

    double *figure[] = {&other.mean, &other.deviation, &other.least, &other.most, &other.norm};
    for (size_t i = 0; i < sizeof figure / sizeof *figure; i++) { /* each by itself */
        other = truth;
        *figure[i] += i == 4 ? sqrt(COUNT) : 1;
        diff_t d = fingerprint_diff(&other, &truth, COUNT);
        assert_true(near(d.max_abs, 1, 1e-9));
        assert_true(near(d.rms, i == 2 || i == 3 ? 1.0 / 16 : 1, 1e-9));
    }

    real_t bad[] = {(real_t)NAN, (real_t)INFINITY, (real_t)-INFINITY};
    for (size_t i = 0; i < 3; i++) {
        memcpy(y, x, sizeof y);
        y[3] = bad[i];
        other = of_torch(y);
        diff_t d = fingerprint_diff(&other, &truth, COUNT);
        assert_true(isinf(d.max_abs) && isinf(d.rms) && d.cosine == 0);
    }
}

static void small_and_empty(void **state) {
    (void)state;
    real_t x[3] = {1, -2, 4};
    fingerprint_t f = fingerprint_of(x, (view_t){SHAPE1(3), LAYOUT_TORCH});
    assert_int_equal(f.count, 3);
    assert_true(f.value[0] == 1 && f.value[1] == -2 && f.value[2] == 4);
    assert_true(f.mean == 1 && f.least == -2 && f.most == 4);
    fingerprint_t none = fingerprint_of(x, (view_t){SHAPE1(0), LAYOUT_TORCH});
    assert_true(fingerprint_diff(&none, &none, 0).max_abs == 0);
}

/* PyTorch's fingerprints of synth:sd15-tiny, prompt to pixels and by component. */
static void tiny_cases_hold(void **state) {
    (void)state;
    static const char *const names[] = {"text-encoder", "vae-decode", "run-2-mole"};
    err_t err;
    arena_t *arena;
    assert_int_equal(arena_create(&arena, 0, &err), 0);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char *folder = xasprintf("golden/fingerprints/%s", names[i]);
        golden_case_t golden;
        verify_result_t result;
        run_t run = {.arena = arena, .matmul = MATMUL_BLAS, .form = MOLE_DIRECT};
        if (golden_case_open(&golden, folder, &err)) fail_msg("%s", err.text);
        assert_int_equal(verify_run(&run, &golden, VERIFY_FORCED, &result, &err), -1);
        assert_message(&err, "fingerprint", NULL);
        if (verify_run(&run, &golden, VERIFY_FREE, &result, &err)) fail_msg("%s", err.text);
        verify_summary_t s = verify_summarise(&result);
        assert_int_equal(s.unseen + s.misshapen, 0);
        assert_int_equal(s.seen, golden.taps);
        if (sizeof(real_t) == sizeof(double) && !(s.error <= 1e-11))
            fail_msg("%s: %g (%s)", folder, s.error, s.worst_error->tap->name);
        if (sizeof(real_t) == sizeof(float) && !(s.ratio <= 2))
            fail_msg("%s: ratio %g (%s)", folder, s.ratio, s.worst_ratio->tap->name);
        verify_result_free(&result);
        golden_case_close(&golden);
        free(folder);
    }
    arena_destroy(arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_layouts_and_the_definition),
        cmocka_unit_test(changes_show),
        cmocka_unit_test(small_and_empty),
        cmocka_unit_test(tiny_cases_hold),
    };
    return cmocka_run_group_tests_name("fingerprint", tests, NULL, NULL);
}
