/* compare_made.c - see compare_made.h. */
#include "compare_made.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

golden_case_t golden;
char candidate[300], reference[300], peer[300];

int open_case(void **state) {
    err_t err;
    if (golden_case_open(&golden, CASE, &err)) return -1;
    if (scratch_setup(state)) return -1;
    snprintf(candidate, sizeof candidate, "%s", scratch_path("candidate.safetensors"));
    snprintf(reference, sizeof reference, "%s", scratch_path("reference.safetensors"));
    snprintf(peer, sizeof peer, "%s", scratch_path("peer.safetensors"));
    return 0;
}

int close_case(void **state) {
    golden_case_close(&golden);
    return scratch_teardown(state);
}

/* ---- making traces -------------------------------------------------- */

void put(st_writer_t *w, const char *name, dtype_t dtype, shape_t shape, const double *x) {
    err_t err;
    size_t count = shape_count(shape);
    float *narrow = fixture_bytes((count + 1) * sizeof *narrow);
    for (size_t i = 0; i < count; i++) narrow[i] = (float)x[i];
    const void *data = dtype == DTYPE_F64 ? (const void *)x : narrow;
    if (st_writer_add(w, name, dtype, shape, data, &err)) fail_msg("%s", err.text);
}

void make(const char *path, made_t made) {
    err_t err;
    st_writer_t *w;
    if (made.dtype != DTYPE_F32) made.dtype = DTYPE_F64;
    assert_int_equal(st_writer_open(&w, path, &err), 0);
    size_t taps = made.only ? made.only : golden.taps;
    for (size_t i = 0; i < taps; i++) {
        const golden_tap_t *t = &golden.tap[i];
        bool here = strcmp(t->name, made.tap ? made.tap : TAP) == 0;
        shape_t shape = t->shape;
        double *x = fixture_bytes(2 * shape_count(shape) * sizeof *x);
        dtype_to_double(x, t->truth->data, DTYPE_F64, shape_count(shape));
        if (here && made.drop) continue;
        if (here && made.edit) made.edit(x, &shape);
        put(w, here && made.rename ? made.rename : t->name, made.dtype, shape, x);
    }
    double one = 1;
    if (made.extra) put(w, made.extra, made.dtype, SHAPE1(1), &one);
    if (st_writer_finish(w, &err)) fail_msg("%s", err.text);
    fixture_free(NULL);
}

/* ---- running the program -------------------------------------------------- */

int compare(const char *first, const char *options) {
    return mole_says("compare %s %s %s", options, first, candidate);
}

void expect(int code, const char *text, const char *first, const char *options) {
    int found = compare(first, options);
    if (found != code) fail_msg("exit code %d, expected %d:\n%s", found, code, output);
    if (text && !strstr(output, text)) fail_msg("'%s' is not in:\n%s", text, output);
}

/* ---- edits -------------------------------------------------- */

void one_nan(double *x, shape_t *shape) {
    (void)shape;
    x[5] = NAN;
}
void one_inf(double *x, shape_t *shape) {
    (void)shape;
    x[5] = INFINITY;
}
void minus_inf(double *x, shape_t *shape) {
    (void)shape;
    x[5] = -INFINITY;
}
void spike(double *x, shape_t *shape) {
    (void)shape;
    x[17] += 1e-3;
}
void tiny_spike(double *x, shape_t *shape) {
    (void)shape;
    x[17] += 1e-8;
}
void gain(double *x, shape_t *shape) {
    for (size_t i = 0; i < shape_count(*shape); i++) x[i] *= 1.001;
}
void zeros(double *x, shape_t *shape) {
    memset(x, 0, shape_count(*shape) * sizeof *x);
}
void ones(double *x, shape_t *shape) {
    for (size_t i = 0; i < shape_count(*shape); i++) x[i] = 1;
}
void flat(double *x, shape_t *shape) {
    (void)x;
    *shape = SHAPE1(shape_count(*shape));
}
void fewer(double *x, shape_t *shape) {
    (void)x;
    shape->dim[1] /= 2;
}
void more(double *x, shape_t *shape) {
    memcpy(x + shape_count(*shape), x, shape_count(*shape) * sizeof *x);
    shape->dim[0] *= 2;
}
void nothing(double *x, shape_t *shape) {
    (void)x;
    shape->dim[0] = 0;
}
void nhwc(double *x, shape_t *shape) {
    size_t C = shape->dim[1], P = shape->dim[2] * shape->dim[3];
    double *copy = fixture_bytes(C * P * sizeof *copy);
    memcpy(copy, x, C * P * sizeof *x);
    for (size_t c = 0; c < C; c++)
        for (size_t p = 0; p < P; p++) x[p * C + c] = copy[c * P + p];
}
static void round_to(double *x, shape_t shape, int bits) {
    for (size_t i = 0; i < shape_count(shape); i++) {
        int e;
        double m = frexp(x[i], &e);
        x[i] = ldexp(nearbyint(ldexp(m, bits)), e - bits);
    }
}
void to_f16_like(double *x, shape_t *shape) {
    round_to(x, *shape, 11);
}
void to_bf16_like(double *x, shape_t *shape) {
    round_to(x, *shape, 8);
}
void minus_zero(double *x, shape_t *shape) {
    zeros(x, shape);
    for (size_t i = 0; i < shape_count(*shape); i += 2) x[i] = -0.0;
}
void denormal(double *x, shape_t *shape) {
    for (size_t i = 0; i < shape_count(*shape); i++) x[i] = (double)(i + 1) * DBL_MIN * 0x1p-30;
}
void twice_denormal(double *x, shape_t *shape) {
    denormal(x, shape);
    for (size_t i = 0; i < shape_count(*shape); i++) x[i] *= 2;
}
/* rms error of 300 units of the tensor's rms, in float32: neither innocent nor beyond doubt. */
void between(double *x, shape_t *shape) {
    for (size_t i = 0; i < shape_count(*shape); i++) x[i] *= 1 + 300 * 0x1p-24;
}
void beyond_doubt(double *x, shape_t *shape) {
    for (size_t i = 0; i < shape_count(*shape); i++) x[i] *= 1 + 3000 * 0x1p-24;
}
/* Of half precision 2048 units are all of a number. */
void by_a_tenth(double *x, shape_t *shape) {
    for (size_t i = 0; i < shape_count(*shape); i++) x[i] *= 1.1;
}
