/* fingerprint.c - see fingerprint.h. Sums run in double over blocks of a fixed size, whatever the number of
 * threads. */
#include "trace/fingerprint.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>

#include "core/err.h"

enum { BLOCK = 1 << 15, LANES = 8, EXTREME = 16 };
static const double ROUNDING = 1e-14;

size_t fingerprint_position(size_t k, size_t count) {
    if (count <= FINGERPRINT_VALUES) return k;
    return (size_t)((((uint64_t)k * 0x9E3779B97F4A7C15U) >> 32) * (uint64_t)count >> 32);
}

/* Where memory has the number with that flat index in torch's order. */
static size_t place(view_t view, size_t flat) {
    if (view.layout == LAYOUT_TORCH) return flat;
    size_t C = view.shape.dim[1], P = 1;
    for (int i = 2; i < view.shape.ndim; i++) P *= view.shape.dim[i];
    size_t b = flat / (C * P), c = flat / P % C, p = flat % P;
    return (b * P + p) * C + c;
}

typedef struct {
    double sum, square, least, most;
} part_t;

/* Of one block: sums of x - shift and of its square, extremes. */
static part_t sweep(const real_t *x, size_t count, double shift) {
    double sum[LANES] = {0}, square[LANES] = {0}, least[LANES], most[LANES];
    for (int l = 0; l < LANES; l++) least[l] = INFINITY, most[l] = -INFINITY;
    size_t whole = count / LANES * LANES;
    for (size_t i = 0; i < whole; i += LANES)
        for (int l = 0; l < LANES; l++) {
            double v = (double)x[i + l], d = v - shift;
            sum[l] += d;
            square[l] += d * d;
            least[l] = v < least[l] ? v : least[l];
            most[l] = v > most[l] ? v : most[l];
        }
    for (size_t i = whole; i < count; i++) {
        double v = (double)x[i], d = v - shift;
        sum[0] += d;
        square[0] += d * d;
        least[0] = v < least[0] ? v : least[0];
        most[0] = v > most[0] ? v : most[0];
    }
    part_t part = {sum[0], square[0], least[0], most[0]};
    for (int l = 1; l < LANES; l++) {
        part.sum += sum[l];
        part.square += square[l];
        part.least = least[l] < part.least ? least[l] : part.least;
        part.most = most[l] > part.most ? most[l] : part.most;
    }
    return part;
}

static part_t sweep_all(const real_t *x, size_t count, double shift) {
    size_t blocks = (count + BLOCK - 1) / BLOCK;
    part_t *part = xcalloc(blocks + 1, sizeof *part), whole = {0, 0, INFINITY, -INFINITY};
#pragma omp parallel for schedule(static) if (blocks > 4)
    for (size_t b = 0; b < blocks; b++)
        part[b] =
            sweep(x + b * BLOCK, count - b * BLOCK < BLOCK ? count - b * BLOCK : BLOCK, shift);
    for (size_t b = 0; b < blocks; b++) {
        whole.sum += part[b].sum;
        whole.square += part[b].square;
        whole.least = fmin(whole.least, part[b].least);
        whole.most = fmax(whole.most, part[b].most);
    }
    free(part);
    return whole;
}

fingerprint_t fingerprint_of(const real_t *x, view_t view) {
    size_t count = shape_count(view.shape);
    fingerprint_t f = {.count = count < FINGERPRINT_VALUES ? count : FINGERPRINT_VALUES};
    if (count == 0) return f;
    part_t raw = sweep_all(x, count, 0);
    f.mean = raw.sum / (double)count;
    f.deviation = sqrt(sweep_all(x, count, f.mean).square / (double)count);
    f.least = raw.least;
    f.most = raw.most;
    f.norm = sqrt(raw.square);
    for (size_t k = 0; k < f.count; k++)
        f.value[k] = (double)x[place(view, fingerprint_position(k, count))];
    return f;
}

fingerprint_t fingerprint_read(const double *statistics, const double *values, size_t count) {
    fingerprint_t f = {.count = count < FINGERPRINT_VALUES ? count : FINGERPRINT_VALUES,
                       .mean = statistics[0],
                       .deviation = statistics[1],
                       .least = statistics[2],
                       .most = statistics[3],
                       .norm = statistics[4]};
    for (size_t k = 0; k < f.count; k++) f.value[k] = values[k];
    return f;
}

/* |a - b|, Inf for anything that is not finite; 0 where two orders of one sum in double can differ. */
static double apart(double a, double b, double scale) {
    double d = fabs(a - b);
    if (!isfinite(d)) return INFINITY;
    return d > ROUNDING * scale ? d : 0;
}

diff_t fingerprint_diff(const fingerprint_t *candidate, const fingerprint_t *truth, size_t count) {
    if (count == 0) return (diff_t){.cosine = 1};
    diff_t d = diff_tensors(candidate->value, truth->value, truth->count);
    double root = sqrt((double)count), scale = fmax(fabs(truth->least), fabs(truth->most));
    double norm = apart(candidate->norm / root, truth->norm / root, scale);
    double mean = apart(candidate->mean, truth->mean, scale);
    double deviation = apart(candidate->deviation, truth->deviation, scale);
    double least = apart(candidate->least, truth->least, 0);
    double most = apart(candidate->most, truth->most, 0);
    d.worst = fingerprint_position(d.worst, count);
    d.max_abs = fmax(fmax(fmax(d.max_abs, norm), fmax(mean, deviation)), fmax(least, most));
    d.rms = fmax(fmax(fmax(d.rms, norm), fmax(mean, deviation)), fmax(least, most) / EXTREME);
    d.count = count;
    d.truth_max = scale;
    d.truth_rms = truth->norm / root;
    d.candidate_rms = candidate->norm / root;
    d.cosine = isfinite(d.rms) ? 1 : 0;
    return d;
}
