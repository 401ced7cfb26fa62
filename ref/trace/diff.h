/* diff.h - the one comparator: how far is a candidate tensor from the truth?
 *
 * Shared by the tests and by the tools of porters, so that both mean the same by "differs". */
#ifndef MOLE_TRACE_DIFF_H
#define MOLE_TRACE_DIFF_H

#include <stdbool.h>
#include <stddef.h>

#include "core/shape.h"

typedef struct {
    size_t count;
    double max_abs; /* max |candidate - truth| */
    size_t worst;   /* flat index of it, row-major in the shape */
    double candidate_at, truth_at;
    double rms;           /* sqrt(mean (candidate - truth)^2) */
    double truth_max;     /* max |truth|: the tensor's scale */
    double truth_rms;     /* sqrt(mean truth^2) */
    double storage_floor; /* rms of (truth rounded to float32) - truth */
    double candidate_rms; /* of the pairs of finite numbers, as cosine */
    double cosine;        /* 1 for equal direction; 1 when both are all zero */
    size_t nan_candidate, nan_truth, inf_mismatch; /* never forgiven */
} diff_t;

/* Both tensors as doubles, row-major in torch's order. count = 0 gives all zeros (cosine 1).
 *
 * An Inf that both hold, of one sign, is equal and left out of every figure. Any NaN, on one side
 * or both, and any other Inf is a mismatch: max_abs and rms become Inf, cosine 0, and worst is the
 * first mismatch. truth_max, truth_rms and storage_floor are those of the finite numbers; the
 * floor leaves out what float32 cannot hold. No figure overflows or underflows before its own
 * value does. */
diff_t diff_tensors(const double *candidate, const double *truth, size_t count);

/* The figures of a tensor whose first part is *whole and whose next part is `part`, computed apart: for
 * tensors too large to hold. Equal to diff_tensors of both but for rounding. */
void diff_append(diff_t *whole, const diff_t *part);

/* max_abs / truth_max (0 when both are 0; Inf when a NaN or Inf differs, or truth is all zero and
 * the candidate is not). */
double diff_relative(const diff_t *diff);

/* rms / max(peer_rms, storage_floor): our float32 error in units of PyTorch's own. 0/0 is 0, x/0 is
 * Inf. */
double diff_ratio(const diff_t *diff, double peer_rms);

/* One line, cut off at `size`:
 *   "name (2, 16, 5, 6): max 3.1e-15 at [0,3,1,2] (0.25 for 0.25), rel rms 8e-16, 31% of 1e-12"
 * max is max_abs, with candidate and truth at that place in as many digits as tell them apart; rel
 * rms is rms / truth_rms; the share is diff_relative / tolerance. A mismatch reads
 *   "name (2, 3): 2 NaN, 0 NaN in the truth, 1 Inf differ, first at [0,1] (nan for 0.5)". */
void diff_describe(char *text, size_t size, const char *name, shape_t shape, const diff_t *diff,
                   double tolerance);

#endif
