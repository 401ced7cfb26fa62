/* ranges.c - see ranges.h. */
#include "trace/ranges.h"

#include <math.h>
#include <stdlib.h>

/* Largest finite, smallest normal, largest that is rounded to 0 (a tie, and even wins). */
typedef struct {
    double most, normal, zero;
} format_t;
static const format_t f16 = {65504, 0x1p-14, 0x1p-25};
static const format_t bf16 = {0x1.fep127, 0x1p-126, 0x1p-134};

static void fit(range_fit_t *fit, double a, const format_t *format) {
    fit->beyond += a > format->most;
    fit->below += a < format->normal;
    fit->lost += a <= format->zero;
}

/* Squares of numbers within these limits neither overflow nor lose digits, by the thousand million. */
static const double limit_large = 0x1p480, limit_small = 0x1p-480;

void range_add(range_state_t *state, const double *x, size_t count) {
    range_t *r = &state->seen;
    double large = 0, usual = 0, small = 0; /* a piece's own sums: fewer roundings pile up */
    r->count += count;
    for (size_t i = 0; i < count; i++) {
        double a = fabs(x[i]);
        if (!(a <= 1.7976931348623157e308)) {
            if (isnan(a))
                r->nan++;
            else
                r->inf++;
            continue;
        }
        if (a == 0) {
            r->zeros++;
            continue;
        }
        if (a > r->max_abs) r->max_abs = a;
        if (r->min_abs == 0 || a < r->min_abs) r->min_abs = a;
        fit(&r->f16, a, &f16);
        fit(&r->bf16, a, &bf16);
        if (a > limit_large)
            large += (a * 0x1p-600) * (a * 0x1p-600);
        else if (a < limit_small)
            small += (a * 0x1p600) * (a * 0x1p600);
        else
            usual += a * a;
    }
    state->large += large;
    state->usual += usual;
    state->small += small;
}

range_t range_result(const range_state_t *state) {
    range_t r = state->seen;
    double n = (double)(r.count - r.nan - r.inf);
    if (n == 0) return r;
    if (state->large > 0) /* beside which the small ones are nothing */
        r.rms = sqrt((state->large + state->usual * 0x1p-600 * 0x1p-600) / n) * 0x1p600;
    else if (state->usual > 0)
        r.rms = sqrt((state->usual + state->small * 0x1p-600 * 0x1p-600) / n);
    else
        r.rms = sqrt(state->small / n) * 0x1p-600;
    r.rms = fmin(r.rms, r.max_abs); /* not by a rounding above it, or above all numbers */
    return r;
}

static int range_of_tap(range_t *range, trace_file_t *trace, size_t index, double *piece,
                        size_t room, err_t *err) {
    size_t count = trace_file_at(trace, index)->count;
    range_state_t state = {.large = 0};
    for (size_t at = 0, n; at < count; at += n) {
        n = count - at < room ? count - at : room;
        if (trace_file_read(trace, index, at, n, piece, err) != 0) return -1;
        range_add(&state, piece, n);
    }
    *range = range_result(&state);
    return 0;
}

static range_summary_t summarise(const range_t *tap, size_t taps) {
    range_summary_t s = {.taps = taps};
    for (size_t i = 0; i < taps; i++) {
        s.not_finite += tap[i].nan + tap[i].inf > 0;
        s.beyond_f16 += tap[i].f16.beyond > 0;
        s.square_f16 += tap[i].max_abs * tap[i].max_abs > f16.most;
        s.lost_f16 += tap[i].f16.lost > 0;
        s.beyond_bf16 += tap[i].bf16.beyond > 0;
        s.lost_bf16 += tap[i].bf16.lost > 0;
        if (tap[i].max_abs > tap[s.largest].max_abs) s.largest = i;
    }
    s.headroom = f16.most / tap[s.largest].max_abs;
    return s;
}

int ranges_of_trace(ranges_t *ranges, trace_file_t *trace, err_t *err) {
    enum { PIECE = 1 << 16 };
    size_t taps = trace_file_count(trace);
    int status = 0;
    *ranges = (ranges_t){0};
    if (taps == 0)
        return err_set(err, "%s: holds no tensors, a trace was expected", trace_file_path(trace));
    trace_file_round(trace);
    double *piece = xmalloc(PIECE * sizeof *piece);
    ranges->tap = xcalloc(taps, sizeof *ranges->tap);
    for (size_t i = 0; status == 0 && i < taps; i++)
        status = range_of_tap(&ranges->tap[i], trace, i, piece, PIECE, err);
    free(piece);
    if (status == 0)
        ranges->summary = summarise(ranges->tap, taps);
    else
        ranges_free(ranges);
    return status;
}

void ranges_free(ranges_t *ranges) {
    free(ranges->tap);
    *ranges = (ranges_t){0};
}
