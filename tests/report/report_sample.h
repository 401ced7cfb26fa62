/* report_sample.h - a comparison made by hand, with every verdict, for the tests of the reports. */
#ifndef MOLE_TESTS_REPORT_SAMPLE_H
#define MOLE_TESTS_REPORT_SAMPLE_H

#include "compare/compare.h"

/* The rows, in this order; `agreeing` rows "unet.filler.N" that agree follow them. */
enum {
    SAMPLE_CONV_IN,    /* agrees; ratio 0.75, isolated 0.5, bound 31% */
    SAMPLE_NORM,       /* differs, the culprit: isolated 58.9, cumulative 60.2; cause "epsilon" */
    SAMPLE_INHERITED,  /* ratio 45, isolated 0.8 */
    SAMPLE_SUSPICIOUS, /* bound 20%, typical 350% */
    SAMPLE_MISSING,
    SAMPLE_SHAPE,      /* (2, 4) expected, (4, 2) found */
    SAMPLE_NOT_FINITE, /* one NaN, at [1,2] */
    SAMPLE_UNKNOWN,    /* differs, and its inputs were not seen */
    SAMPLE_NO_PEER,    /* agrees, ratio not known */
    SAMPLE_EXACT,      /* agrees to the last bit; in a step of its own */
    SAMPLE_ROWS
};

/* compare_free is due. */
void report_sample(compare_result_t *result, size_t agreeing);
/* Another name for a row. */
void report_sample_name(compare_result_t *result, size_t row, const char *name);

/* compare_free is due. The rows have the names below, the candidate's extra taps those from `first` on. */
void report_sample_hostile(compare_result_t *result, size_t first);
/* Names that end elements, open others, are not UTF-8, turn the direction of text, or steer a
 * terminal. */
enum { HOSTILE_NAMES = 9 };
extern const char *const hostile_name[HOSTILE_NAMES];

/* The exit status of a shell command; -1 when it was killed. */
int report_shell(const char *command);

#endif
