/* verify.h - running a golden case and saying how far every tap is from the truth.
 *
 * Two ways to look. VERIFY_FREE runs as a user would: an error made in one layer is inherited by all that
 * follow. VERIFY_FORCED puts the truth in the place of every output after it was compared, so that each
 * module starts from right numbers and shows only what it does itself. */
#ifndef MOLE_COMPARE_VERIFY_H
#define MOLE_COMPARE_VERIFY_H

#include "compare/compare.h"
#include "golden/golden.h"
#include "mole/run.h"
#include "trace/diff.h"

typedef enum { VERIFY_FREE, VERIFY_FORCED } verify_mode_t;

typedef struct {
    const golden_tap_t *tap;
    double
        unit; /* a careful float32 program's rms error: free of the network up to here, forced of the
                  * module by itself */
    size_t seen; /* times the run came by; the last one is compared. 0: the run never did */
    bool misshapen;
    diff_t diff;
} verify_row_t;

typedef struct {
    verify_row_t *row; /* (rows), in the golden case's order */
    size_t rows;
} verify_result_t;

/* Load the case's model, run its component on its inputs, compare. `run` gives arena, way of multiplying
 * and MoLE form; its sink is not used. A case whose MoLE form is stacked lacks the taps that only the
 * direct form has: they stay unseen. Returns 0 (whatever the verdict), or -1 and err for a case or model
 * that cannot be run. verify_result_free is due on success. */
int verify_run(const run_t *run, const golden_case_t *golden, verify_mode_t mode,
               verify_result_t *result, err_t *err);
void verify_result_free(verify_result_t *result);

/* ---- the verdict ----------------------------------------------------------------------------------
 *
 * error: worst |difference| of a tap / max |truth| (diff_relative).
 * ratio: rms error in units of a careful float32 program's (diff_ratio). A ratio of two errors that are
 * each the luck of a few roundings says nothing: a gate of two numbers that PyTorch happened to hit makes
 * any other rounding look bad. Taps of fewer than VERIFY_SMALL numbers are therefore judged together:
 * the rms over all of them, each tap's errors divided by its truth's rms. */
enum { VERIFY_SMALL = 16 };

typedef struct {
    size_t seen, unseen, misshapen;
    const verify_row_t *worst_error, *worst_ratio; /* NULL when nothing was seen */
    double error, ratio;                           /* theirs; ratio: of taps that are not small */
    double median_ratio;                           /* over all taps that were seen */
    double small_ratio;                            /* of the small taps together */
    size_t small;                                  /* how many taps that is */
} verify_summary_t;

verify_summary_t verify_summarise(const verify_result_t *result);
double verify_row_ratio(const verify_row_t *row);

/* What a case is held against. */
typedef struct {
    verify_mode_t mode;
    mole_form_t form;    /* stacked: taps inside a MoLE layer exist in the direct form alone */
    double error, ratio; /* the largest allowed, each; 0: any */
} verify_bounds_t;

/* The ratio that this project holds itself to. Where the unit is that of careful passes (cases that state
 * f32_isolated): 4 with BLAS, 2 with plain loops. One of six passes can be sqrt(6) = 2.45 times their rms at
 * most; ours is a seventh that was not asked, and 2.64 and 1.62 are the worst that was seen. Where the unit
 * is the largest of several passes or a single operation's: 2 and 1 (docs/numbers.md). */
double verify_usual_ratio(const golden_case_t *golden, matmul_way_t matmul);

/* The verdict, in the form of a comparison for the reports: this program as the candidate, and every tap
 * demanded that its form has. compare_differs(report) is the verdict of the case. Taps beyond the error's
 * bound differ, so do those beyond the ratio's that are not small; of small taps that are beyond it
 * together the worst one does. A forced run's errors are isolated ones. Names are copies. compare_free is
 * due. */
void verify_report(const verify_result_t *result, const golden_case_t *golden,
                   const verify_bounds_t *bounds, compare_result_t *report);

#endif
