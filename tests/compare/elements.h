/* elements.h - a golden case run with changed weights: what of a change can be seen.
 *
 * A change is held against the bounds of float32: of the rms error the limit of `mole compare` times the
 * unit of the tap (the larger of f32_isolated and f32_orders), and, where the tap shows a linear map alone,
 * of every number the provable bound. */
#ifndef MOLE_TESTS_COMPARE_ELEMENTS_H
#define MOLE_TESTS_COMPARE_ELEMENTS_H

#include "golden/golden.h"
#include "pipeline/pipeline.h"

enum { ELEMENTS_TEXT = 256, ELEMENTS_ALL = -1 };

typedef struct {
    char what[ELEMENTS_TEXT];
    long channel; /* of the tap that shows it alone; ELEMENTS_ALL: all of the tap */
    int next;     /* of the same tap */
    double used;  /* error / the nearer bound */
} change_t;

typedef struct {
    golden_case_t golden;
    struct kept *kept; /* per tap: its truth, its bounds */
    change_t *change;
    size_t changes, room;
} elements_t;

/* Opens golden/runs/NAME and runs it: the truth is what this program makes of it, so that nothing but a
 * change is seen. Fails the test for a case that cannot be run. elements_close is due. */
void elements_open(elements_t *e, const char *name);
void elements_close(elements_t *e);

/* Index of a tap, or SIZE_MAX. */
size_t elements_tap(const elements_t *e, const char *name);

void elements_forget_changes(elements_t *e);
void elements_note(elements_t *e, size_t tap, long channel, const char *what);

/* The case with these files, every tap replaced by the truth once it was seen: fills `used` of every
 * change, by the error that it made alone. */
void elements_run(elements_t *e, const pipeline_files_t *files);
/* The same running free: the largest rms error of any tap / its bound. */
double elements_run_free(elements_t *e, const pipeline_files_t *files);

#endif
