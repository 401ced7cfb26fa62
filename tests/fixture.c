/* fixture.c - see fixture.h. */
#include "fixture.h"

#include <float.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/err.h"

static void **kept;
static size_t kept_count;

void *fixture_bytes(size_t bytes) {
    kept = xrealloc(kept, (kept_count + 1) * sizeof *kept);
    return kept[kept_count++] = xmalloc(bytes ? bytes : 1);
}

int fixture_free(void **state) {
    (void)state;
    for (size_t i = 0; i < kept_count; i++) free(kept[i]);
    free(kept);
    kept = NULL;
    kept_count = 0;
    return 0;
}

/* SplitMix64 (Steele, Lea, Flood 2014). */
static uint64_t next_bits(uint64_t *state) {
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

double *fixture_random(size_t n, uint64_t seed, double scale) {
    double *x = fixture_bytes(n * sizeof *x);
    for (size_t i = 0; i < n; i++) {
        double unit = (double)(next_bits(&seed) >> 40) * 0x1p-23 - 1.0;
        x[i] = (double)(float)(unit * scale);
    }
    return x;
}

real_t *fixture_blank(size_t n) {
    real_t *x = fixture_bytes(n * sizeof *x);
    for (size_t i = 0; i < n; i++) x[i] = (real_t)NAN;
    return x;
}

real_t *fixture_reals(const double *x, size_t n) {
    if (!x) return NULL;
    real_t *out = fixture_bytes(n * sizeof *out);
    for (size_t i = 0; i < n; i++) out[i] = (real_t)x[i];
    return out;
}

double *fixture_doubles(const real_t *x, size_t n) {
    if (!x) return NULL;
    double *out = fixture_bytes(n * sizeof *out);
    for (size_t i = 0; i < n; i++) out[i] = (double)x[i];
    return out;
}

real_t *fixture_reals_last(const double *x, size_t B, size_t C, size_t P) {
    if (!x) return NULL;
    real_t *out = fixture_bytes(B * C * P * sizeof *out);
    for (size_t b = 0; b < B; b++)
        for (size_t p = 0; p < P; p++)
            for (size_t c = 0; c < C; c++)
                out[(b * P + p) * C + c] = (real_t)x[(b * C + c) * P + p];
    return out;
}

double *fixture_doubles_last(const real_t *x, size_t B, size_t C, size_t P) {
    double *out = fixture_bytes(B * C * P * sizeof *out);
    for (size_t b = 0; b < B; b++)
        for (size_t c = 0; c < C; c++)
            for (size_t p = 0; p < P; p++)
                out[(b * C + c) * P + p] = (double)x[(b * P + p) * C + c];
    return out;
}

/* Below the normal numbers a rounding is to a multiple of this, and there may be two of them. */
static double tiny(void) {
    return sizeof(real_t) == sizeof(float) ? 2 * (double)FLT_TRUE_MIN : 2 * DBL_TRUE_MIN;
}

static bool same_special(double a, double b) {
    return (isnan(a) && isnan(b)) || (isinf(a) && a == b);
}

void fixture_close(const double *got, const double *truth, const double *magnitude, double spread,
                   size_t n, const char *name, ...) {
    char text[256];
    va_list args;
    va_start(args, name);
    vsnprintf(text, sizeof text, name, args);
    va_end(args);
    for (size_t i = 0; i < n; i++) {
        if (same_special(got[i], truth[i])) continue;
        double scale = magnitude ? magnitude[i] : fabs(truth[i]);
        double allowed = UNIT * fabs(truth[i]) + spread * scale + tiny();
        double error = fabs(got[i] - truth[i]);
        if (!(error <= allowed))
            fail_msg("%s: number %zu of %zu is %.17g, should be %.17g: off by %.3g, allowed %.3g",
                     text, i, n, got[i], truth[i], error, allowed);
    }
}

/* The child's side: speak into the pipe, leave no core file, do not hang if nothing breaks. */
static void call_in_child(void (*call)(void), int pipe_end) {
    struct rlimit no_core = {0, 0};
    setrlimit(RLIMIT_CORE, &no_core);
    dup2(pipe_end, STDERR_FILENO);
    signal(SIGABRT, SIG_DFL);
    alarm(20);
    call();
    _exit(0);
}

void fixture_aborts(void (*call)(void), const char *message) {
    int ends[2], status = 0;
    assert_int_equal(pipe(ends), 0);
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) call_in_child(call, ends[1]);
    close(ends[1]);
    char said[4096] = "";
    size_t used = 0;
    ssize_t got;
    while ((got = read(ends[0], said + used, sizeof said - 1 - used)) > 0) used += (size_t)got;
    close(ends[0]);
    waitpid(child, &status, 0);
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGABRT)
        fail_msg("\"%s\" should have aborted; status %d, said: %s", message, status, said);
    if (!strstr(said, message)) fail_msg("should have said \"%s\"; said: %s", message, said);
}
