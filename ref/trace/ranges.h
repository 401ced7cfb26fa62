/* ranges.h - will it fit? The range of every tap of a trace, before one ports it to f16 or bf16.
 *
 *             largest finite     smallest normal   smallest above 0   becomes 0 at and below
 *   f16       65504              2^-14             2^-24              2^-25
 *   bf16      (2 - 2^-7) 2^127   2^-126            2^-133             2^-134
 *
 * Between the smallest normal and 0 a number keeps fewer digits, and many accelerators make it 0. A sum of
 * squares, as in every norm, overflows f16 when one |x| is above sqrt(65504) = 255.9: such a layer needs
 * its sums in f32 even where its output fits. */
#ifndef MOLE_TRACE_RANGES_H
#define MOLE_TRACE_RANGES_H

#include <stdbool.h>
#include <stddef.h>

#include "core/err.h"
#include "trace/trace_file.h"

/* How numbers fare in a smaller format. */
typedef struct {
    size_t beyond; /* finite, |x| above the largest finite */
    size_t below;  /* not 0, |x| below the smallest normal */
    size_t lost;   /* of these: rounded to 0 */
} range_fit_t;

typedef struct {
    size_t count, nan, inf, zeros;
    double max_abs; /* of the finite numbers, as are the following; 0 when there are none */
    double min_abs; /* smallest that is not 0 */
    double rms;     /* neither overflows nor underflows before its value does; at most max_abs */
    range_fit_t f16, bf16;
} range_t;

/* Numbers as they come: start with a zeroed state, ask at any time. */
typedef struct {
    range_t seen;               /* all but rms */
    double large, usual, small; /* sums of squares: of x 2^-600, x, x 2^600 (Blue, TOMS 4, 1978) */
} range_state_t;

void range_add(range_state_t *state, const double *x, size_t count);
range_t range_result(const range_state_t *state);

typedef struct {
    size_t taps;
    size_t not_finite; /* taps with NaN or Inf; likewise: */
    size_t beyond_f16, square_f16, lost_f16, beyond_bf16, lost_bf16;
    size_t largest;  /* the tap with the largest max_abs */
    double headroom; /* 65504 / that; Inf when all is 0 */
} range_summary_t;

typedef struct {
    range_t *tap; /* (taps), in the trace's order */
    range_summary_t summary;
} ranges_t;

/* Every tap of a trace, in pieces: beside the trace's names and one range_t a tap, 512 KiB and what
 * trace_file_read keeps. 0, or -1 and err (also for a trace without taps). ranges_free is due on
 * success. */
int ranges_of_trace(ranges_t *ranges, trace_file_t *trace, err_t *err);
void ranges_free(ranges_t *ranges);

#endif
