/* causes_hunt.c - see causes_hunt.h. */
#include "causes/causes_hunt.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- memory ---------------------------------------------------------------------------------- */

static void keep(hunt_t *h, void *memory) {
    h->kept = xrealloc(h->kept, (h->kept_count + 1) * sizeof *h->kept);
    h->kept[h->kept_count++] = memory;
}

double *hunt_doubles(hunt_t *h, size_t count) {
    double *x = xmalloc((count + 1) * sizeof *x);
    keep(h, x);
    return x;
}

real_t *hunt_reals(hunt_t *h, const double *x, size_t count) {
    real_t *out = xmalloc((count + 1) * sizeof *out);
    keep(h, out);
    for (size_t i = 0; x && i < count; i++) out[i] = (real_t)x[i];
    return out;
}

/* ---- names and other taps -------------------------------------------------------------------- */

double *hunt_tap(hunt_t *h, const char *name, shape_t *shape) {
    if (!h->c->tap) return NULL;
    char full[512];
    int prefix = (int)(h->name - h->c->name);
    int length = snprintf(full, sizeof full, "%.*s%s", prefix, h->c->name, name);
    if (length < 0 || (size_t)length >= sizeof full) return NULL;
    double *x = h->c->tap(h->c->context, full, shape);
    if (x) keep(h, x);
    return x;
}

double *hunt_neighbour(hunt_t *h, const char *from, const char *to, shape_t *shape) {
    char name[512];
    if (!text_ends(h->module, from)) return NULL;
    int stem = (int)(strlen(h->module) - strlen(from));
    int length = snprintf(name, sizeof name, "%.*s%s", stem, h->module, to);
    return length < 0 || (size_t)length >= sizeof name ? NULL : hunt_tap(h, name, shape);
}

double *hunt_again(hunt_t *h, const char *name, void (*change)(void *, double *, shape_t),
                   void *who) {
    char full[512];
    if (!h->c->again || h->runs++ >= CAUSES_RUNS) return NULL;
    int length =
        snprintf(full, sizeof full, "%.*s%s", (int)(h->name - h->c->name), h->c->name, name);
    if (length < 0 || (size_t)length >= sizeof full) return NULL;
    culprit_edit_t edit = {full, change, who};
    double *out = hunt_doubles(h, h->c->count);
    return h->c->again(h->c->context, &edit, out) ? out : NULL;
}

bool hunt_layer_is(const hunt_t *h, const char *tail) {
    bool output = !*h->part || strcmp(h->part, ".mole.base") == 0 || strcmp(h->part, ".in") == 0;
    return output && text_ends(h->module, tail);
}

/* ---- computing ------------------------------------------------------------------------------- */

void hunt_swap_axes(double *out, const double *x, size_t B, size_t C, size_t P) {
    for (size_t b = 0; b < B; b++)
        for (size_t c = 0; c < C; c++)
            for (size_t p = 0; p < P; p++) out[(b * P + p) * C + c] = x[(b * C + c) * P + p];
}

double *hunt_linear(hunt_t *h, const double *x, const real_t *weight, const real_t *bias, size_t M,
                    size_t K, size_t N) {
    real_t *in = hunt_reals(h, x, M * K), *out = hunt_reals(h, NULL, M * N);
    linear(out, in, weight, bias, M, K, N, h->run->matmul);
    double *y = hunt_doubles(h, M * N);
    for (size_t i = 0; i < M * N; i++) y[i] = (double)out[i];
    return y;
}

double *hunt_apply(hunt_t *h, const double *x) {
    const culprit_t *c = h->c;
    bool base = strcmp(h->part, ".mole.base") == 0;
    if (!c->module || !c->input || (*h->part && !base)) return NULL;
    module_t module = *c->module;
    linear_t plain;
    if (base && module.kind == MODULE_LINEAR) {
        plain = *module.as.linear;
        plain.mole = NULL;
        module.as.linear = &plain;
    }
    size_t in = shape_count(c->input_shape);
    real_t *out = hunt_reals(h, NULL, c->count);
    run_t run = *h->run;
    run.sink = NULL;
    shape_t shape;
    err_t err;
    if (module_replay(&run, &module, NULL, &shape, NULL, c->input_shape, &err) ||
        !shape_equal(shape, c->shape) ||
        module_replay(&run, &module, out, &shape, hunt_reals(h, x, in), c->input_shape, &err))
        return NULL;
    double *y = hunt_doubles(h, c->count);
    for (size_t i = 0; i < c->count; i++) y[i] = (double)out[i];
    return y;
}

/* One solution of the normal equations, added to *p and *q. */
static bool add_fit2(const double *y, const double *a, const double *b, size_t n, double *p,
                     double *q) {
    double aa = 0, bb = 0, ab = 0, ya = 0, yb = 0;
    for (size_t i = 0; i < n; i++) {
        double left = y[i] - *p * a[i] - *q * b[i];
        aa += a[i] * a[i];
        bb += b[i] * b[i];
        ab += a[i] * b[i];
        ya += left * a[i];
        yb += left * b[i];
    }
    double determinant = aa * bb - ab * ab;
    if (!(determinant > 1e-9 * aa * bb)) return false;
    *p += (ya * bb - yb * ab) / determinant;
    *q += (yb * aa - ya * ab) / determinant;
    return true;
}

bool hunt_fit2(const double *y, const double *a, const double *b, size_t n, double *p, double *q) {
    *p = *q = 0;
    /* Twice: what the sums of the first lose is in the rest that the second one fits. */
    return add_fit2(y, a, b, n, p, q) && add_fit2(y, a, b, n, p, q);
}
