/* weigh_statistics.c - how far a tensor is from the truth of which only statistics are known.
 *
 * Let e be the error of the tensor's N numbers and r its rms. Whatever e is,
 *
 *   |mean - true mean|, |deviation - true one|, |norm - true one| / sqrt(N)   are at most r,
 *
 * since a mean is at most an rms, and deviation and norm are seminorms. Minimum, maximum and single values
 * are off by at most the largest |e|, which is `tail` times r in a careful computation. What each statistic
 * is off, less what its writer may have lost, is therefore a size that r cannot be below: the largest of them
 * is taken for r, and held against the limits of whole tensors. docs/numbers.md has it in full. */
#include <math.h>
#include <stdlib.h>

#include "compare/compare_internal.h"

/* The largest error of a number, in rms errors of its tensor: PyTorch's own where it is known. Rounding is in
 * proportion to the number, which gives the largest numbers the largest errors; four deviations of a normal
 * error are there anyhow. */
static double tail_of(const diff_t *d, double peer_rms, double peer_max) {
    double tail = fmax(4, d->truth_rms > 0 ? d->truth_max / d->truth_rms : 0);
    return peer_rms > 0 && isfinite(peer_max) ? fmax(tail, peer_max / peer_rms) : fmax(tail, 16);
}

static double beyond(double a, double b, double room) {
    double d = fabs(a - b);
    return d > room ? d - room : 0;
}

/* Divided by N or by N - 1: nobody says which. */
static double deviation_beyond(double mine, double truth, double room, size_t count) {
    double n = (double)count;
    double unbiased = count > 1 ? mine * sqrt((n - 1) / n) : mine;
    return fmin(beyond(mine, truth, room), beyond(unbiased, truth, room));
}

typedef struct {
    compare_row_t *row;
    const statistics_t *mine, *truth;
    double tail;
} weighing_t;

/* One figure: what the rms error is at least, and where it shows most. */
static void weigh(weighing_t *w, const char *name, double least, double mine, double truth) {
    diff_t *d = &w->row->cumulative;
    if (w->row->statistic && !(least > d->rms)) return;
    d->rms = least;
    d->candidate_at = mine;
    d->truth_at = truth;
    w->row->statistic = name;
}

static void weigh_sums(weighing_t *w, size_t count, const double *off) {
    const double *mine = w->mine->value, *truth = w->truth->value;
    double root = sqrt((double)count);
    for (int i = 0; i < STATISTICS; i++) {
        double room = off[i] + 1e-14 * fabs(truth[i]), least;
        if (!w->mine->has[i]) continue;
        switch ((statistic_t)i) {
        case STATISTIC_DEVIATION: least = deviation_beyond(mine[i], truth[i], room, count); break;
        case STATISTIC_NORM: least = beyond(mine[i], truth[i], room) / root; break;
        case STATISTIC_LEAST:
        case STATISTIC_MOST: least = beyond(mine[i], truth[i], room) / w->tail; break;
        default: least = beyond(mine[i], truth[i], room); break;
        }
        weigh(w, statistic_name((statistic_t)i), least, mine[i], truth[i]);
    }
}

/* The mean square of n places out of N is r^2 but for chance: four deviations of it are
 * 4 tail r^2 / sqrt(n). */
static void weigh_values(weighing_t *w, size_t count) {
    size_t n = w->mine->places, worst = 0;
    double squares = 0, most = 0;
    if (!n || n != w->truth->places) return;
    for (size_t k = 0; k < n; k++) {
        double d = beyond(w->mine->at[k], w->truth->at[k], w->mine->at_printed[k]);
        squares += d * d;
        if (d > most) most = d, worst = k;
    }
    double chance = n == count ? 1 : sqrt(1 + 4 * w->tail / sqrt((double)n));
    w->row->cumulative.max_abs = most;
    w->row->cumulative.worst =
        fingerprint_position(worst, count) + (w->row->one_row ? w->row->batch_row * count : 0);
    weigh(w, "values", sqrt(squares / (double)n) / chance, w->mine->at[worst], w->truth->at[worst]);
}

typedef struct {
    const truth_t *truth;
    size_t start;
} part_t;

static int read_part(void *who, size_t index, size_t first, size_t count, double *out, err_t *err) {
    const part_t *part = who;
    return part->truth->read(part->truth->who, index, part->start + first, count, out, err);
}

int compare_statistics_of(statistics_t *exact, const truth_t *truth, size_t start, size_t count,
                          err_t *err) {
    part_t part = {truth, start};
    return statistics_of(exact, read_part, &part, truth->index, count, err);
}

int compare_statistics(compare_row_t *row, const statistics_t *mine, const truth_t *truth,
                       double peer_rms, double peer_max, err_t *err) {
    statistics_t exact, kept = *mine;
    size_t count, start = compare_part(row, &count);
    diff_t *d = &row->cumulative;
    double off[STATISTICS];
    *d = (diff_t){.count = count, .cosine = NAN};
    row->ulp_p99 = NAN;
    if (compare_statistics_of(&exact, truth, start, count, err)) return -1;
    d->nan_candidate = mine->not_finite;
    d->nan_truth = exact.not_finite;
    row->statistic = NULL;
    if (mine->not_finite || exact.not_finite || !count) {
        d->rms = d->max_abs = count ? INFINITY : 0;
        return 0;
    }
    if (row->rearranged) kept.places = 0;
    d->truth_rms = exact.value[STATISTIC_NORM] / sqrt((double)count);
    d->truth_max = fmax(fabs(exact.value[STATISTIC_LEAST]), fabs(exact.value[STATISTIC_MOST]));
    d->candidate_rms =
        kept.has[STATISTIC_NORM] ? kept.value[STATISTIC_NORM] / sqrt((double)count) : NAN;
    weighing_t w = {row, &kept, &exact, tail_of(d, peer_rms, peer_max)};
    statistics_off(&kept, count, off);
    weigh_sums(&w, count, off);
    weigh_values(&w, count);
    if (!(d->max_abs >= d->rms)) d->max_abs = d->rms;
    return 0;
}

bool compare_by_statistics(trace_file_t *candidate) {
    return trace_file_count(candidate) && trace_file_statistics(candidate, 0);
}

/* ---- what is said of it -------------------------------------------------------------------------------- */

static void note_fields(compare_result_t *r, trace_file_t *candidate, const size_t *source) {
    size_t without[STATISTICS + 1] = {0}, rearranged = 0, shapeless = 0;
    char *text = NULL;
    for (size_t i = 0; i < r->rows; i++) {
        if (!r->row[i].candidate_name) continue;
        const statistics_t *s = trace_file_statistics(candidate, source[i]);
        for (int k = 0; k < STATISTICS; k++) without[k] += !s->has[k];
        without[STATISTICS] += !s->places;
        rearranged += r->row[i].rearranged;
        shapeless += !s->has_shape;
    }
    for (int k = 0; k <= STATISTICS; k++) {
        if (!without[k]) continue;
        char *more =
            xasprintf("%s%s%s (%zu taps)", text ? text : "", text ? ", " : "",
                      k < STATISTICS ? statistic_name((statistic_t)k) : "values", without[k]);
        free(text);
        text = more;
    }
    if (text) compare_note(r, xasprintf("statistics: not there, so not compared: %s", text));
    free(text);
    if (rearranged)
        compare_note(r,
                     xasprintf("statistics: %zu taps have another shape of as many numbers; they "
                               "are compared without values, and not for their order",
                               rearranged));
    if (shapeless)
        compare_note(r,
                     xasprintf("statistics: %zu taps have no shape: it is not checked", shapeless));
}

void compare_note_statistics(compare_result_t *r, trace_file_t *candidate, const size_t *source) {
    size_t blind = 0;
    for (size_t i = 0; i < r->rows; i++) {
        if (!r->row[i].candidate_name) continue;
        const statistics_t *s = trace_file_statistics(candidate, source[i]);
        blind += !s->places || r->row[i].rearranged;
    }
    compare_note(r, xstrdup("statistics: nothing is computed from the candidate's own numbers, so "
                            "the culprit is the first tap that is off, and what is off behind it "
                            "may be right for its inputs"));
    if (blind)
        compare_note(r,
                     xasprintf("statistics: order is not checked in %zu of %zu taps, which have no "
                               "values: exchanged axes, channels, samples or tokens, and signs "
                               "that cancel, show in later taps at best",
                               blind, r->compared));
    if (blind < r->compared)
        compare_note(r,
                     xasprintf("statistics: %zu taps have values at up to %d places: an error in "
                               "few numbers between them shows in no statistic",
                               r->compared - blind, FINGERPRINT_VALUES));
    note_fields(r, candidate, source);
}
