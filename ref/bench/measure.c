/* measure.c - see measure.h. */
#include "bench/measure.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "core/err.h"
#include "core/sort.h"
#include "ops/blas.h"

double measure_seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

size_t measure_faults(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (size_t)usage.ru_minflt;
}

/* Linux: VmHWM, not ru_maxrss. The latter also counts what the process was before exec, so that a small
 * program started by a large one would report the large one's memory. 0 where there is no such file. */
static size_t peak_of_proc(void) {
    FILE *file = fopen("/proc/self/status", "r");
    char line[256];
    size_t kib = 0;
    while (file && fgets(line, sizeof line, file))
        if (strncmp(line, "VmHWM:", 6) == 0) kib = strtoull(line + 6, NULL, 10);
    if (file) fclose(file);
    return kib << 10;
}

size_t measure_peak_bytes(void) {
    size_t bytes = peak_of_proc();
    if (bytes) return bytes;
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
#ifdef __APPLE__
    return (size_t)usage.ru_maxrss;
#else
    return (size_t)usage.ru_maxrss << 10;
#endif
}

double measure_yardstick(void) {
    enum { N = 2048 };
    real_t *x = xmalloc((size_t)3 * N * N * sizeof *x);
    for (size_t i = 0; i < (size_t)3 * N * N; i++) x[i] = (real_t)(i % 1009) / 1009 - 0.5f;
    double best = 0; /* of three: the first pays for memory that nobody touched before */
    for (int i = 0; i < 3; i++) {
        double start = measure_seconds();
        matmul_whole(x + (size_t)2 * N * N, x, x + (size_t)N * N, N);
        double rate = 2e-9 * N * N * N / (measure_seconds() - start);
        if (rate > best) best = rate;
    }
    free(x);
    return best;
}

const char *measure_cpu(char *text, size_t size) {
    snprintf(text, size, "unknown");
    FILE *file = fopen("/proc/cpuinfo", "r");
    char line[256];
    while (file && fgets(line, sizeof line, file)) {
        char *colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) != 0 || !colon) continue;
        colon[1 + strcspn(colon + 1, "\n")] = '\0';
        snprintf(text, size, "%s", colon + 1 + strspn(colon + 1, " "));
        break;
    }
    if (file) fclose(file);
    return text;
}

spread_t spread_of(const double *x, size_t n) {
    REQUIRE(n >= 1, "spread_of: %zu numbers", n);
    double *sorted = xmalloc(n * sizeof *sorted);
    memcpy(sorted, x, n * sizeof *sorted);
    sort_doubles(sorted, n);
    spread_t s = {(sorted[(n - 1) / 2] + sorted[n / 2]) / 2, sorted[0], sorted[n - 1]};
    free(sorted);
    return s;
}

size_t steady_rounds(bool *steady, const double *yardstick, size_t rounds) {
    double best = 0;
    size_t count = 0;
    for (size_t r = 0; r < rounds; r++)
        if (yardstick[r] > best) best = yardstick[r];
    for (size_t r = 0; r < rounds; r++) count += steady[r] = yardstick[r] >= 0.85 * best;
    return count;
}
