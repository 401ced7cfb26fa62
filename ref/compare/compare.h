/* compare.h - which layer of a port is wrong, and is the rest acceptable?
 *
 * A candidate trace is held against a reference, tap by tap, in the reference's order. Two questions are
 * kept apart:
 *
 *   cumulative  how far is the candidate's tensor from the truth? (its own errors and inherited ones)
 *   isolated    how far is it from what the reference computes from the candidate's own numbers?
 *
 * The second is answered by running the reference network in float64 with every tap that the candidate
 * dumped, once compared, replaced by the candidate's tensor. Where all the inputs of a module were dumped,
 * what remains is the error of this module alone. Where some were not, it is the error of the whole
 * stretch of modules between the dumped taps, and is held against the rounding of that stretch. It needs a
 * golden case as the reference.
 *
 *   ratio = rms(candidate - reference) / unit
 *
 * unit is the rms error of a careful computation in the candidate's type: of the module, of the stretch,
 * or of all that leads to the tap. docs/numbers.md, "The theory of the verdict", says how each is found.
 * A candidate of which only statistics were kept has no numbers to run on: nothing is isolated, and the
 * statistics say what the error is at least (weigh_statistics.c).
 * For linear maps whose input was dumped the provable bound gamma(K+1) (|W||x| + |b|) is checked as well,
 * element by element. */
#ifndef MOLE_COMPARE_COMPARE_H
#define MOLE_COMPARE_COMPARE_H

#include "causes/causes.h"
#include "compare/budget.h"
#include "golden/own_case.h"
#include "mole/run.h"
#include "trace/diff.h"
#include "trace/names.h"
#include "trace/trace_file.h"

typedef enum {
    ROW_AGREES,
    ROW_SUSPICIOUS, /* beyond what rounding typically does, and not beyond what it can: within the
                     * provable bound, or (compare_row_undecided) above a guessed limit and below
                     * doubt's end */
    ROW_DIFFERS,    /* wrong by itself (isolated), or, where that is unknown, wrong */
    ROW_INHERITED,  /* wrong, but right for its inputs: innocent */
    ROW_MISSING,   /* the candidate has no such tap: stated; a failure only when all are demanded */
    ROW_SHAPE,     /* another shape: a failure */
    ROW_NOT_FINITE /* NaN or Inf where the reference has none: a failure */
} row_verdict_t;

const char *row_verdict_name(row_verdict_t verdict);

enum { ORIGIN_TEXT = 160 };

typedef struct {
    const char *name;           /* the reference's */
    const char *candidate_name; /* NULL when missing */
    shape_t shape, candidate_shape;
    dtype_t candidate_dtype;
    row_verdict_t verdict;
    const char *statistic; /* the one that shows most, static; NULL: whole tensors were compared */
    bool rearranged; /* of statistics: another shape of as many numbers, so values have no places */
    bool is_input;   /* NAME.in, what goes into a module: only rows that the candidate dumped */
    bool one_row;    /* of axis 0 the candidate has `batch_row` alone, and is judged by that */
    size_t batch_row;
    budget_t budget; /* the result's, or a coarser one on whose grid the candidate's numbers lie */

    diff_t cumulative;
    double peer_rms;        /* the error of a careful float32 computation, 0 where unknown */
    double cumulative_unit; /* what ratio counts in */
    double ratio;           /* of the cumulative error; NaN where there is no peer */
    double
        ulp_p99; /* 99th percentile of the distance in units of the last place of the precision */

    bool has_isolated;
    diff_t isolated;
    double isolated_ratio;
    bool
        inputs_known; /* all that the isolated error starts from was dumped: it is this module's own */
    double unit;      /* what isolated_ratio counts in: own and stretch together */
    double own_unit;     /* the rounding of this module by itself */
    double stretch;      /* the rounding of the modules before it that were not dumped */
    size_t sum_length;   /* K of a linear map whose input is known; 0: none */
    double sum_share;    /* worst |error| / (|W||x| + |b|) of it */
    bool has_bound;      /* there is a bound on that */
    double bound_used;   /* worst |error| / hard bound; above 1 is proof of a mistake */
    double typical_used; /* the same against the sqrt(K) bound */

    double limit;             /* what the deciding ratio was held against */
    double decided;           /* a guessed limit: ratio up to which the tap is suspicious; else 0 */
    char origin[ORIGIN_TEXT]; /* where that limit comes from */
    cause_t cause;            /* of the culprit: what explains the difference */
} compare_row_t;

/* What a name that only the candidate has perhaps stands for, by its first numbers or by the words in it. */
typedef struct {
    const char *name; /* a row's; NULL: nobody knows */
    bool by_value;
} compare_meant_t;

/* Where the mistake of a culprit lies: in one of the taps between, none of which was dumped, or in the
 * culprit itself. */
typedef struct {
    char *from;     /* the last dumped tap before them; NULL: the inputs of the case */
    char **between; /* (betweens), in the order of execution; none: the culprit alone */
    size_t betweens;
} compare_stretch_t;

typedef struct {
    compare_row_t *row; /* (rows), in the reference's order */
    size_t rows;
    size_t culprit; /* index of the first wrong row, SIZE_MAX when there is none */
    compare_stretch_t stretch;
    size_t agreeing, suspicious, differing, inherited, missing, compared;
    double median_ratio, worst_ratio;
    char **extra; /* candidate's taps that the reference has not: (extras), owned names */
    size_t extras;
    compare_meant_t *meant; /* (extras) */
    char **note; /* (notes), owned: what the two look like as wholes, see compare_notes.c */
    size_t notes;
    bool statistics;   /* the candidate holds no tensors: trace/statistics.h */
    bool complete;     /* missing taps were a failure */
    budget_t budget;   /* resolved: never AUTO */
    budget_t computed; /* what the candidate computes in, to all appearance */
    bool detected;     /* that was found from its numbers, not from the type they are stored in */
    budget_t held;     /* of two traces: what the reference's numbers can hold; else AUTO */
    budget_t hidden;   /* of what was not dumped: the coarsest that is common, where types mix */
    size_t mixed;   /* so many taps lie on a coarser grid and are judged so; 0: one type for all */
    dtype_t stored; /* the type of most of the candidate's taps */
    /* The smallest rms error of a module or stretch, relative to its tensor's rms, that would be called
     * wrong: over the compared taps; NaN where no unit is known. */
    double seen_median, seen_worst;
    const char *seen_worst_name;
    size_t unresolved; /* compared taps whose rounding alone may be as large as they are */
    char reference[256], candidate[256];
} compare_result_t;

typedef struct {
    budget_t budget;
    double limit;          /* ratio above which a tap differs; 0: COMPARE_LIMIT or _LOW */
    const char *filter;    /* glob over reference names, or NULL */
    const name_map_t *map; /* candidate's names to ours, or NULL */
    bool complete;         /* a missing tap is a failure */
    bool isolate;          /* run the reference on the candidate's inputs (golden references) */
    bool stop_at_first;    /* of an own case: run no further than the step that the culprit is in */
    /* Of an own case, after its first run: so many taps came by. May be NULL. */
    void (*surveyed)(void *who, size_t taps);
    void *who;
} compare_options_t;

/* Sixteen units: the threshold of the BLAS test suites for an error that is rounding. */
#define COMPARE_LIMIT 16.0
/* Eight in types below float32, whose unit is derived and not one program's: no pass of PyTorch in
 * bfloat16, float16 or TF32 was seen more than 2.8 units off at a tap of 16 numbers or more
 * (scripts/golden/type_errors.py). */
#define COMPARE_LIMIT_LOW 8.0

/* Golden case against trace. Returns 0 (whatever the verdict), or -1 and err for input that cannot be
 * compared (nothing in common, not readable). compare_free is due on success. */
int compare_golden(const run_t *run, const golden_case_t *golden, trace_file_t *candidate,
                   const compare_options_t *options, compare_result_t *result, err_t *err);

/* The same with a case that nobody wrote: the truth of a model of one's own, made in float64 while the
 * comparison goes on and kept nowhere. Units are derived, not PyTorch's (own_figures.h). */
int compare_own(const run_t *run, const own_case_t *own, trace_file_t *candidate,
                const compare_options_t *options, compare_result_t *result, err_t *err);

/* Trace against trace; peer: a third trace whose error is the measure (PyTorch's float32), or NULL: then
 * the measure is a guess, and called one: up to 2^6 u of the tensor's rms a tap agrees, beyond 2^11 u or a
 * sixteenth it differs, and in between it is suspicious and undecided: a trace brings no weights, so there
 * is no operation to replay and no bound to prove. A limit in the options decides alone. */
int compare_traces(trace_file_t *reference, trace_file_t *candidate, trace_file_t *peer,
                   const compare_options_t *options, compare_result_t *result, err_t *err);

void compare_free(compare_result_t *result);
/* Rows of `part` after those of `whole`, under prefix + name ("unet-step/"), for one report on several
 * comparisons; the candidate is known by the reference's names then. part is freed. `whole` begins as
 * {0}; its reference is the caller's to say. */
void compare_join(compare_result_t *whole, compare_result_t *part, const char *prefix);
/* A failure anywhere: exit code 1. */
bool compare_differs(const compare_result_t *result);
/* Where the numbers begin by which a row is judged, and how many they are: all, or one row of a batch. */
size_t compare_part(const compare_row_t *row, size_t *count);
/* Nobody can say, for want of a peer, whether this row's error is rounding's. */
bool compare_row_undecided(const compare_row_t *row);
/* How many such rows there are. With one of them the result is no agreement: exit code 1 too. */
size_t compare_undecided(const compare_result_t *result);

#endif
