/* diff.c - see diff.h.
 *
 * Two passes: the first finds the largest magnitudes, the second sums squares of numbers brought near 1 by a
 * power of two, which changes no digit, so that no square leaves the range of a double. Where all numbers are
 * such that float32 can hold, which is nearly always, both passes are loops without a question in them, with
 * LANES running sums: an order that is the same on every machine. */
#include "trace/diff.h"

#include <float.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>

#include "core/vectorised.h"

enum { LANES = 16 };

/* The largest magnitudes that the sums are scaled by. */
typedef struct {
    double error, truth, candidate, floor;
} scales_t;

/* What a pair of numbers is: a mismatch, the same Inf, or two finite numbers. */
typedef enum { PAIR_MISMATCH, PAIR_SAME_INF, PAIR_FINITE } pair_t;

static pair_t pair_kind(double candidate, double truth) {
    if (isfinite(candidate) && isfinite(truth)) return PAIR_FINITE;
    return candidate == truth ? PAIR_SAME_INF : PAIR_MISMATCH;
}

/* How far float32 storage moves a number; 0 where float32 cannot hold it at all. */
static double storage_error(double truth) {
    if (fabs(truth) > (double)FLT_MAX) return 0;
    return (double)(float)truth - truth;
}

static bool has_mismatch(const diff_t *diff) {
    return diff->nan_candidate > 0 || diff->nan_truth > 0 || diff->inf_mismatch > 0;
}

static void count_mismatch(diff_t *diff, double candidate, double truth, size_t index) {
    if (!has_mismatch(diff)) {
        diff->worst = index;
        diff->candidate_at = candidate;
        diff->truth_at = truth;
    }
    diff->nan_candidate += isnan(candidate) != 0;
    diff->nan_truth += isnan(truth) != 0;
    if (!isnan(candidate) && !isnan(truth)) diff->inf_mismatch++;
}

/* fmax of numbers, which is a function call. */
static inline void raise_to(double *most, double x) {
    if (x > *most) *most = x;
}

/* The magnitudes of numbers that are all within float32's range, and whether they are; of others nothing is
 * said. */
VECTORISED static bool find_usual_scales(scales_t *scale, const double *candidate,
                                         const double *truth, size_t count) {
    double lane[4][LANES] = {{0}};
    int odd = 0;
    for (size_t i = 0; i < count; i += LANES) {
        size_t lanes = count - i < LANES ? count - i : LANES;
        for (size_t l = 0; l < lanes; l++) {
            double c = candidate[i + l], t = truth[i + l];
            double size[4] = {fabs(c - t), fabs(t), fabs(c), fabs((double)(float)t - t)};
            odd |= !(size[1] <= (double)FLT_MAX) | !(size[2] <= (double)FLT_MAX);
            for (size_t k = 0; k < 4; k++) lane[k][l] = size[k] > lane[k][l] ? size[k] : lane[k][l];
        }
    }
    for (size_t k = 0; k < 4; k++)
        for (size_t l = 1; l < LANES; l++) raise_to(&lane[k][0], lane[k][l]);
    *scale = (scales_t){lane[0][0], lane[1][0], lane[2][0], lane[3][0]};
    return !odd;
}

/* The first of the largest errors. */
static void find_worst(diff_t *diff, const double *candidate, const double *truth, double error) {
    size_t i = 0;
    if (error == 0) return;
    while (fabs(candidate[i] - truth[i]) != error) i++;
    diff->worst = i;
    diff->candidate_at = candidate[i];
    diff->truth_at = truth[i];
}

static scales_t find_scales(diff_t *diff, const double *candidate, const double *truth) {
    scales_t scale = {0, 0, 0, 0};
    for (size_t i = 0; i < diff->count; i++) {
        pair_t kind = pair_kind(candidate[i], truth[i]);
        if (kind == PAIR_MISMATCH) count_mismatch(diff, candidate[i], truth[i], i);
        if (isfinite(truth[i])) {
            raise_to(&scale.truth, fabs(truth[i]));
            raise_to(&scale.floor, fabs(storage_error(truth[i])));
        }
        if (kind != PAIR_FINITE) continue;
        raise_to(&scale.candidate, fabs(candidate[i]));
        double error = fabs(candidate[i] - truth[i]);
        if (error > scale.error) {
            scale.error = error;
            if (has_mismatch(diff)) continue;
            diff->worst = i;
            diff->candidate_at = candidate[i];
            diff->truth_at = truth[i];
        }
    }
    return scale;
}

/* The power of two that brings `scale` to [1/2, 1); of the smallest and the largest numbers near it,
 * as far as a double reaches. Multiplying is what makes the second pass as fast as memory. */
static double power_for(double scale) {
    int exponent = 0;
    if (isfinite(scale)) frexp(scale, &exponent);
    return ldexp(1, exponent > 1000 ? -1000 : exponent < -1000 ? 1000 : -exponent);
}

static double squared(double x) {
    return x * x;
}

/* sqrt(sum / count) / power, where sum is of squares of numbers times power. */
static double root_mean(double sum, size_t count, double power) {
    return count > 0 ? sqrt(sum / (double)count) / power : 0;
}

static double cosine_of(double dot, double truth, double candidate) {
    if (truth == 0 && candidate == 0) return 1;
    if (truth == 0 || candidate == 0) return 0;
    return dot / (sqrt(truth) * sqrt(candidate));
}

/* Sums of squares of numbers times their powers; pair_*: over pairs of finite numbers. */
typedef struct {
    size_t pairs, truths;
    double error, floor, truth, pair_truth, candidate, dot;
} sums_t;

VECTORISED static sums_t usual_sums(const double *candidate, const double *truth, size_t count,
                                    scales_t power) {
    double lane[5][LANES] = {{0}};
    for (size_t i = 0; i < count; i += LANES) {
        size_t lanes = count - i < LANES ? count - i : LANES;
        for (size_t l = 0; l < lanes; l++) {
            double c = candidate[i + l], t = truth[i + l];
            double error = (c - t) * power.error, floor = ((double)(float)t - t) * power.floor;
            c *= power.candidate;
            t *= power.truth;
            lane[0][l] += error * error;
            lane[1][l] += floor * floor;
            lane[2][l] += t * t;
            lane[3][l] += c * c;
            lane[4][l] += t * c;
        }
    }
    for (size_t k = 0; k < 5; k++)
        for (size_t l = 1; l < LANES; l++) lane[k][0] += lane[k][l];
    return (sums_t){count,      count,      lane[0][0], lane[1][0],
                    lane[2][0], lane[2][0], lane[3][0], lane[4][0]};
}

static sums_t find_sums(const double *candidate, const double *truth, size_t count,
                        scales_t power) {
    sums_t s = {0};
    for (size_t i = 0; i < count; i++) {
        if (isfinite(truth[i])) {
            s.truths++;
            s.truth += squared(truth[i] * power.truth);
            s.floor += squared(storage_error(truth[i]) * power.floor);
        }
        if (pair_kind(candidate[i], truth[i]) != PAIR_FINITE) continue;
        s.pairs++;
        s.error += squared((candidate[i] - truth[i]) * power.error);
        s.pair_truth += squared(truth[i] * power.truth);
        s.candidate += squared(candidate[i] * power.candidate);
        s.dot += (truth[i] * power.truth) * (candidate[i] * power.candidate);
    }
    return s;
}

diff_t diff_tensors(const double *candidate, const double *truth, size_t count) {
    diff_t diff = {.count = count, .cosine = 1};
    if (count == 0) return diff;
    diff.candidate_at = candidate[0];
    diff.truth_at = truth[0];
    scales_t scale;
    bool usual = find_usual_scales(&scale, candidate, truth, count);
    if (usual)
        find_worst(&diff, candidate, truth, scale.error);
    else
        scale = find_scales(&diff, candidate, truth);
    const scales_t power = {power_for(scale.error), power_for(scale.truth),
                            power_for(scale.candidate), power_for(scale.floor)};
    sums_t s = usual ? usual_sums(candidate, truth, count, power)
                     : find_sums(candidate, truth, count, power);
    diff.max_abs = scale.error;
    diff.rms = isinf(scale.error) ? HUGE_VAL : root_mean(s.error, s.pairs, power.error);
    diff.truth_max = scale.truth;
    diff.truth_rms = root_mean(s.truth, s.truths, power.truth);
    diff.storage_floor = root_mean(s.floor, s.truths, power.floor);
    diff.candidate_rms = root_mean(s.candidate, s.pairs, power.candidate);
    diff.cosine = cosine_of(s.dot, s.pair_truth, s.candidate);
    if (has_mismatch(&diff)) {
        diff.max_abs = diff.rms = HUGE_VAL;
        diff.cosine = 0;
    }
    return diff;
}

/* sqrt of the mean of squares of two parts. */
static double join_rms(double a, size_t na, double b, size_t nb) {
    double most = fmax(a, b);
    if (most == 0 || isinf(most)) return most;
    double sum = (double)na * squared(a / most) + (double)nb * squared(b / most);
    return most * sqrt(sum / (double)(na + nb));
}

void diff_append(diff_t *whole, const diff_t *part) {
    if (part->count == 0) return;
    if (whole->count == 0) {
        *whole = *part;
        return;
    }
    size_t na = whole->count, nb = part->count;
    bool mismatch = has_mismatch(whole);
    if (!mismatch && (has_mismatch(part) || part->max_abs > whole->max_abs)) {
        whole->worst = na + part->worst;
        whole->candidate_at = part->candidate_at;
        whole->truth_at = part->truth_at;
    }
    double dot = whole->cosine * whole->truth_rms * whole->candidate_rms * (double)na +
                 part->cosine * part->truth_rms * part->candidate_rms * (double)nb;
    whole->max_abs = fmax(whole->max_abs, part->max_abs);
    whole->rms = join_rms(whole->rms, na, part->rms, nb);
    whole->truth_max = fmax(whole->truth_max, part->truth_max);
    whole->truth_rms = join_rms(whole->truth_rms, na, part->truth_rms, nb);
    whole->candidate_rms = join_rms(whole->candidate_rms, na, part->candidate_rms, nb);
    whole->storage_floor = join_rms(whole->storage_floor, na, part->storage_floor, nb);
    whole->nan_candidate += part->nan_candidate;
    whole->nan_truth += part->nan_truth;
    whole->inf_mismatch += part->inf_mismatch;
    whole->count = na + nb;
    double norms = whole->truth_rms * whole->candidate_rms * (double)(na + nb);
    bool empty = whole->truth_rms == 0 && whole->candidate_rms == 0;
    whole->cosine = has_mismatch(whole) ? 0 : norms > 0 ? dot / norms : empty ? 1 : 0;
}

double diff_relative(const diff_t *diff) {
    if (has_mismatch(diff)) return HUGE_VAL;
    if (diff->max_abs == 0) return 0;
    return diff->truth_max > 0 ? diff->max_abs / diff->truth_max : HUGE_VAL;
}

double diff_ratio(const diff_t *diff, double peer_rms) {
    if (has_mismatch(diff)) return HUGE_VAL;
    if (diff->rms == 0) return 0;
    double unit = fmax(peer_rms, diff->storage_floor);
    return unit > 0 ? diff->rms / unit : HUGE_VAL;
}

/* Six digits, or as many as tell two different numbers apart. */
static int digits_for(double a, double b) {
    double scale = fmax(fabs(a), fabs(b));
    if (!isfinite(scale) || a == b || fabs(a - b) > 1e-5 * scale) return 6;
    return fabs(a - b) > 1e-8 * scale ? 9 : 17;
}

void diff_describe(char *text, size_t size, const char *name, shape_t shape, const diff_t *diff,
                   double tolerance) {
    char dims[SHAPE_TEXT], at[SHAPE_TEXT];
    shape_text(dims, shape);
    shape_index_text(at, shape, diff->worst);
    if (diff->count == 0) {
        snprintf(text, size, "%s %s: empty, nothing to compare", name, dims);
        return;
    }
    if (has_mismatch(diff)) {
        snprintf(text, size,
                 "%s %s: %zu NaN, %zu NaN in the truth, %zu Inf differ, first at %s (%g for %g)",
                 name, dims, diff->nan_candidate, diff->nan_truth, diff->inf_mismatch, at,
                 diff->candidate_at, diff->truth_at);
        return;
    }
    double relative = diff_relative(diff);
    double share = relative == 0 ? 0 : 100 * relative / tolerance;
    double relative_rms = diff->rms == 0 ? 0 : diff->rms / diff->truth_rms;
    int digits = digits_for(diff->candidate_at, diff->truth_at);
    snprintf(text, size, "%s %s: max %.2g at %s (%.*g for %.*g), rel rms %.2g, %.3g%% of %g", name,
             dims, diff->max_abs, at, digits, diff->candidate_at, digits, diff->truth_at,
             relative_rms, share, tolerance);
}
