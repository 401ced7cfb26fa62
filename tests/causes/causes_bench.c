/* causes_bench.c - see causes_bench.h. */
#include "causes_bench.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

culprit_t bench;
static run_t run;

enum { TAPS = 32 };
static struct {
    const char *name;
    shape_t shape;
    const double *x;
} taps[TAPS];
static size_t tap_count;
static cause_t found_cause;

int bench_open(void **state) {
    (void)state;
    err_t err;
    run = (run_t){.matmul = MATMUL_PLAIN};
    tap_count = 0;
    return arena_create(&run.arena, 1 << 26, &err);
}

int bench_close(void **state) {
    arena_destroy(run.arena);
    return fixture_free(state);
}

static double *find_tap(void *context, const char *name, shape_t *shape) {
    (void)context;
    for (size_t i = 0; i < tap_count; i++) {
        if (strcmp(taps[i].name, name) != 0) continue;
        size_t count = shape_count(taps[i].shape);
        double *x = malloc((count + 1) * sizeof *x);
        memcpy(x, taps[i].x, count * sizeof *x);
        *shape = taps[i].shape;
        return x;
    }
    return NULL;
}

void bench_start(const char *name, shape_t shape, const double *expected) {
    double sum = 0;
    tap_count = 0;
    bench = (culprit_t){.name = name, .shape = shape, .count = shape_count(shape)};
    bench.expected = expected;
    bench.tap = find_tap;
    for (size_t i = 0; i < bench.count; i++) sum += expected[i] * expected[i];
    bench.rounding = UNIT * sqrt(sum / (double)bench.count);
}

void bench_module(const module_t *module, const double *input, shape_t shape) {
    bench.module = module;
    bench.input = input;
    bench.input_shape = shape;
}

void bench_tap(const char *name, shape_t shape, const double *x) {
    assert_true(tap_count < TAPS);
    taps[tap_count].name = name;
    taps[tap_count].shape = shape;
    taps[tap_count++].x = x;
}

static bool is_known(const char *kind) {
    for (size_t i = 0; causes_kinds[i]; i++)
        if (strcmp(causes_kinds[i], kind) == 0) return true;
    return *kind == '\0';
}

const char *bench_exactly(const double *candidate) {
    bench.candidate = candidate;
    memset(found_cause.text, '?', sizeof found_cause.text);
    memset(found_cause.kind, '?', sizeof found_cause.kind);
    arena_mark_t mark = arena_mark(run.arena);
    causes_find(&run, &bench, &found_cause);
    assert_int_equal(arena_mark(run.arena), mark);
    assert_true(strlen(found_cause.text) < sizeof found_cause.text);
    if (!is_known(found_cause.kind)) fail_msg("'%s' is not among causes_kinds", found_cause.kind);
    if (strchr(found_cause.text, '?')) fail_msg("a question is no cause: %s", found_cause.text);
    return found_cause.kind;
}

const char *bench_kind(const double *x) {
    double *noise = fixture_random(bench.count, 99, bench.rounding);
    double *candidate = fixture_bytes((bench.count + 1) * sizeof *candidate);
    for (size_t i = 0; i < bench.count; i++) /* zeros stay: nothing is computed there */
        candidate[i] = x[i] == 0 ? 0 : x[i] + noise[i];
    return bench_exactly(candidate);
}

const char *bench_text(void) {
    return found_cause.text;
}

void bench_expect(const double *x, const char *kind, const char *part) {
    const char *found = bench_kind(x);
    if (strcmp(found, kind) != 0 || (part && !strstr(found_cause.text, part)))
        fail_msg("%s: expected '%s' (%s), found '%s': %s", bench.name, kind, part ? part : "",
                 found, found_cause.text);
    assert_int_equal(*kind == '\0', found_cause.text[0] == '\0');
    bool near = strncmp(found_cause.text, "near, not proven: ", 18) == 0;
    bool meant = part && (strstr(part, "near, not") || strstr(part, "remains"));
    if (near != meant) fail_msg("%s: '%s'", bench.name, found_cause.text);
}

double *bench_zeros(size_t count) {
    double *x = fixture_bytes((count + 1) * sizeof *x);
    memset(x, 0, count * sizeof *x);
    return x;
}

double *bench_copy(const double *x, size_t count) {
    double *copy = fixture_bytes((count + 1) * sizeof *copy);
    memcpy(copy, x, count * sizeof *copy);
    return copy;
}
