/* passes.h - a golden case and a candidate, and the runs of the reference that a comparison makes.
 *
 * A pass is one float64 run of the case's component during which a visitor sees every tap, and may change
 * it in place: to force the candidate's numbers or the truth, to add rounding, to keep what comes by. */
#ifndef MOLE_COMPARE_PASSES_H
#define MOLE_COMPARE_PASSES_H

#include "compare/compare_internal.h"
#include "golden/run_case.h"

/* Tensors of doubles in a temporary file without a name. */
typedef struct spool spool_t;
int spool_open(spool_t **spool, err_t *err);
void spool_close(spool_t *spool);
/* Appends; *at is where. */
int spool_write(spool_t *spool, const double *x, size_t count, size_t *at, err_t *err);
int spool_read(spool_t *spool, size_t at, double *x, size_t count, err_t *err);

/* What is known of a row besides what its reader is told. */
typedef struct {
    const golden_tap_t *tap; /* NULL: an input */
    bool in_case;            /* the truth is a tensor of the case, else it is in the spool */
    size_t spooled;          /* where in the spool */
    size_t source;           /* the candidate's entry, SIZE_MAX: none */
    bool forced;   /* the candidate's numbers are held against this tap, and take its place */
    bool withheld; /* of a forced one: they do not take its place (stray.c) */
    double truth_rms;
    double careful, naive; /* rms of float32 errors of the module by itself (units.c) */
    double emulated;       /* rms error of the module in the budget's type, emulated */
    double gate;           /* of a global gate: rounding of its product, derived (gates.c) */
    size_t emulation;      /* where its exact result is in the emulation's spool */
    double own;            /* unit of the module by itself, in the row's budget */
    double moved;          /* mean square of what the last noise passes moved this tap by */
    double most_moved;     /* and the largest difference of a number among them */
    bool tainted;          /* what was not dumped reaches it */
} row_meta_t;

typedef struct {
    const run_t *run;
    const golden_case_t *golden;
    trace_file_t *candidate; /* NULL while there is none */
    compare_result_t *result;
    pipeline_t pipeline;
    bool opened;         /* the pipeline is */
    bool stretches;      /* some taps were not dumped: isolated errors may span several modules */
    row_meta_t *meta;    /* (result->rows) */
    struct row_key *key; /* (keys), rows by name */
    size_t keys;
    size_t *identity; /* 0, 1, 2, ... */
    spool_t *spool;
    golden_case_t *own;      /* the case, where it is somebody's own model: taps are filled in */
    struct truth_run *truth; /* of such a case, while a pass runs that asked for it (truth_run.h) */
    bool passing;            /* a pass runs, or rows are gone through in their order */
    double *a, *b, *c;       /* scratch of `room` numbers each */
    real_t *torch;
    size_t room;
    err_t *err;
} comparison_t;

/* at: the row, or SIZE_MAX for a tap that is none. Returns 0, or -1 and c->err: the visitor is not called
 * again. */
typedef int visit_t(comparison_t *c, void *who, size_t at, const char *name, real_t *x,
                    view_t view);

/* The case's model, once. 0, or -1 and c->err. */
int pass_open(comparison_t *c);

/* One run. inputs: NAME.in are visited too. Returns 0, or -1 and c->err. */
int pass_run(comparison_t *c, visit_t *visit, void *who, bool inputs);

/* The truth of an own case is wanted, row by row. */
void pass_begin(comparison_t *c);
void pass_end(comparison_t *c);
/* Keep of a row of an own case, whose numbers are in c->a, what matching looks at. 0, or -1 and c->err. */
int pass_keep_places(comparison_t *c, size_t row);

/* Inputs that the candidate did not dump are no rows: nobody asked for them. */
void pass_drop_inputs(comparison_t *c);
/* Frees what it holds, but not the result. */
void pass_close(comparison_t *c);

/* Rows by name, after their names are known or have changed. SIZE_MAX: none. */
void pass_index_rows(comparison_t *c);
size_t pass_find_row(const comparison_t *c, const char *name);
/* A tap's numbers in torch's order, and back. Scratch must have room. */
void pass_get(comparison_t *c, double *out, const real_t *x, view_t view);
void pass_put(comparison_t *c, real_t *x, const double *in, view_t view);
/* out = truth of a row, numbers first .. first + count. Of an own case only rows in the order of execution
 * while a pass runs (or between pass_begin and pass_end), and else the places that matching looks at. */
int pass_truth(comparison_t *c, size_t row, size_t first, size_t count, double *out, err_t *err);
/* A number for (row, element, draw), +1 or -1, always the same and of no pattern. */
double pass_sign(size_t row, size_t element, size_t draw);
/* Of the differences: their rms, the largest. */
double pass_rms(const double *a, const double *b, size_t count);
double pass_most(const double *a, const double *b, size_t count);

#endif
