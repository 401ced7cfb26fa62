/* big_trace.c - traces larger than memory, and what reading one takes. Built by scripts/big_trace.sh.
 *
 *   big_trace make PATH GIB [TAP]   a trace of GIB x 1024^3 bytes, F32, taps of 16 MiB: numbers that look
 *                                   random, of a fixed formula; of tap number TAP one number is changed.
 *                                   PATH ending in .safetensors: a file; else a folder of .npy
 *   big_trace read PATH             every number through trace_file_read, in pieces of 64 Ki; prints bytes,
 *                                   seconds, peak memory, and a sum; exit code 1 above 64 MiB */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>

#include "io/file.h"
#include "io/npy.h"
#include "io/safetensors.h"
#include "trace/trace_file.h"

enum { ROWS = 2048, COLUMNS = 2048, COUNT = ROWS * COLUMNS, PIECE = 1 << 16 };
static const size_t taps_per_gib = ((size_t)1 << 30) / (COUNT * sizeof(float));
static const double most_memory = 64;

static int fail(const err_t *err) {
    fprintf(stderr, "big_trace: %s\n", err->text);
    return 3;
}

/* Uniform in [-4, 4): Knuth's multiplicative congruence, which is random enough here. */
static void fill(float *x, size_t tap) {
    uint64_t state = 0x9e3779b97f4a7c15u * (tap + 1);
    for (size_t i = 0; i < COUNT; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        x[i] = (float)(int32_t)(state >> 32) * 0x1p-29f;
    }
}

static void name_of(char name[64], size_t tap) {
    snprintf(name, 64, "step.%03zu/unet.tap.%zu", tap / 16, tap % 16);
}

static int make_file(const char *path, size_t taps, size_t changed, err_t *err) {
    float *x = xmalloc(COUNT * sizeof *x);
    st_writer_t *writer;
    char name[64];
    int status = st_writer_open(&writer, path, err);
    if (status == 0) st_writer_metadata(writer, "format", "mole-trace");
    for (size_t tap = 0; status == 0 && tap < taps; tap++) {
        name_of(name, tap);
        fill(x, tap);
        if (tap == changed) x[COUNT / 2] += 1;
        status = st_writer_add(writer, name, DTYPE_F32, SHAPE3(1, ROWS, COLUMNS), x, err);
        if (status != 0) st_writer_abort(writer);
    }
    free(x);
    return status == 0 ? st_writer_finish(writer, err) : -1;
}

static int make_folder(const char *path, size_t taps, size_t changed, err_t *err) {
    float *x = xmalloc(COUNT * sizeof *x);
    char name[64];
    int status = mkdir(path, 0777);
    char *index = file_join(path, "index.csv");
    FILE *csv = status == 0 ? fopen(index, "w") : NULL;
    if (!csv) status = err_set(err, "%s: cannot be made (it must not exist)", path);
    if (csv) fprintf(csv, "name,file\n");
    for (size_t tap = 0; status == 0 && tap < taps; tap++) {
        char file[32];
        snprintf(file, sizeof file, "%04zu.npy", tap);
        name_of(name, tap);
        fprintf(csv, "%s,%s\n", name, file);
        fill(x, tap);
        if (tap == changed) x[COUNT / 2] += 1;
        char *full = file_join(path, file);
        status = npy_write(full, DTYPE_F32, SHAPE3(1, ROWS, COLUMNS), x, err);
        free(full);
    }
    if (csv && fclose(csv) != 0) status = err_set(err, "%s: cannot be written", index);
    free(index);
    free(x);
    return status;
}

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static int read_trace(const char *path, err_t *err) {
    trace_file_t *trace;
    double *piece = xmalloc(PIECE * sizeof *piece), sum = 0, bytes = 0, start = seconds();
    int status = trace_file_open(&trace, path, err);
    size_t taps = status == 0 ? trace_file_count(trace) : 0;
    for (size_t i = 0; status == 0 && i < taps; i++) {
        const trace_entry_t *entry = trace_file_at(trace, i);
        bytes += (double)(entry->count * dtype_size(entry->dtype));
        for (size_t at = 0, n; status == 0 && at < entry->count; at += n) {
            n = entry->count - at < PIECE ? entry->count - at : PIECE;
            status = trace_file_read(trace, i, at, n, piece, err);
            for (size_t k = 0; status == 0 && k < n; k++) sum += piece[k];
        }
    }
    if (status == 0) trace_file_close(trace);
    free(piece);
    if (status != 0) return fail(err);
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    double took = seconds() - start, memory = (double)usage.ru_maxrss / 1024;
    printf("%s: %zu taps, %.2f GiB, %.2f s, %.2f GiB/s, peak memory %.1f MiB, sum %.17g\n", path,
           taps, bytes * 0x1p-30, took, bytes * 0x1p-30 / took, memory, sum);
    return memory > most_memory;
}

int main(int argc, char **argv) {
    err_t err;
    if (argc == 3 && strcmp(argv[1], "read") == 0) return read_trace(argv[2], &err);
    size_t gib = argc >= 4 ? strtoul(argv[3], NULL, 10) : 0;
    if (argc > 5 || gib == 0 || gib > 1024 || strcmp(argv[1], "make") != 0) {
        fprintf(stderr, "usage: big_trace make PATH GIB [TAP] | big_trace read PATH\n");
        return 2;
    }
    size_t length = strlen(argv[2]), changed = argc == 5 ? strtoul(argv[4], NULL, 10) : SIZE_MAX;
    bool file = length > 12 && strcmp(argv[2] + length - 12, ".safetensors") == 0;
    int status = (file ? make_file : make_folder)(argv[2], gib * taps_per_gib, changed, &err);
    return status == 0 ? 0 : fail(&err);
}
