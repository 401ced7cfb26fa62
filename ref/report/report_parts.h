/* report_parts.h - what the four reports of a comparison share: its words, its choice of rows, its
 * sentences, and an output file that appears whole or not at all.
 *
 * Rows are numbered from 0 in the reference's order, in every report. */
#ifndef MOLE_REPORT_REPORT_PARTS_H
#define MOLE_REPORT_REPORT_PARTS_H

#include <jansson.h>
#include <stdio.h>

#include "compare/compare.h"
#include "io/file.h"

/* "agrees", "suspicious", "differs", "inherited", "missing", "shape", "not-finite": the words of the
 * files, which programs read (docs/compare.schema.json). */
const char *report_verdict(row_verdict_t verdict);
/* A failure: differs, another shape, not finite; missing, where all taps were demanded. */
bool report_fails(const compare_result_t *result, const compare_row_t *row);
/* Whether numbers were compared at all: not missing, not of another shape. */
bool report_measured(const compare_row_t *row);

/* The rows that deserve the reader's eyes: the culprit and the `most` worst, failures first, then
 * what is inherited, suspicious, agrees, missing; among equals the larger ratio. index has room for
 * most + 1 and is filled in the reference's order. Returns how many. */
size_t report_worst(const compare_result_t *result, size_t most, size_t *index);

enum { VERDICTS = ROW_NOT_FINITE + 1 };
/* How many rows have each verdict. */
void report_count(const compare_result_t *result, size_t count[VERDICTS]);

/* What follows the culprit. unknown: wrong, and nobody knows whether by itself, because the module's
 * inputs were not seen. All 0 without a culprit. */
typedef struct {
    size_t wrong, unknown, inherited;
    size_t first_wrong; /* the first of `wrong`, else of `unknown`; SIZE_MAX: none */
} report_after_t;

report_after_t report_after(const compare_result_t *result);

/* ---- sentences: fresh memory, the caller frees it -------------------------------------------- */

/* Is what follows the culprit innocent? */
char *report_after_text(const compare_result_t *result);
/* Where the mistake of the culprit lies, when taps before it were not dumped; NULL when all were. */
char *report_stretch_text(const compare_result_t *result);
/* Taps that would narrow that down, "a, b, c"; NULL when there are none. */
char *report_dump_text(const compare_result_t *result);
/* Why a row got its verdict: "rms error is 60x the rounding error expected here, the worst 0.02 of
 * the tensor's largest number, for its own inputs; limit 16". */
char *report_reason(const compare_row_t *row);
/* One diff_t in words: "max 1.2e-03 at [0,3] (1.5 for 1.498), rel rms 3.1e-05". */
/* "the deviation is 1.25 for 1.5": of a row that was compared by statistics. */
char *report_statistic_text(const compare_row_t *row);
char *report_diff_text(const diff_t *diff, shape_t shape);

/* ---- numbers as people read them; each returns text ------------------------------------------ */

enum { NUMBER_TEXT = 24 };
/* "0.8x", "60x", "1.2e+06x", "inf"; "-" for NaN, which is "not known". */
const char *report_ratio(char text[NUMBER_TEXT], double ratio);
/* "31%" of 1; "-" for NaN. */
const char *report_share(char text[NUMBER_TEXT], double share);
/* rms / truth_rms: 0 for 0/0, Inf for x/0. */
double report_relative_rms(const diff_t *diff);

/* ---- text that came from outside ------------------------------------------------------------- */

typedef enum {
    CLEAN_UTF8,  /* invalid bytes become U+FFFD */
    CLEAN_SHOWN, /* for a terminal: control and direction characters become '?' as well */
    CLEAN_XML    /* what XML 1.0 cannot hold is left out as well */
} report_clean_t;

/* Fresh memory. NULL gives "". */
char *report_clean(const char *text, report_clean_t how);

/* ---- the result as JSON, and files ----------------------------------------------------------- */

/* As docs/compare.schema.json says; the caller json_decrefs it. */
json_t *report_json_value(const compare_result_t *result);

typedef struct {
    out_file_t out;
    FILE *to;
} report_file_t;

/* 0 and file->to to write to, or -1 and err. */
int report_file_open(report_file_t *file, const char *path, err_t *err);
/* status 0: the file takes its name. Otherwise, and when writing failed, nothing is left. Returns 0,
 * or -1 and err (kept as it is when status is not 0). */
int report_file_close(report_file_t *file, int status, err_t *err);

/* An extra name and what it perhaps stands for: "b.0, which holds the numbers of unet.conv_in"; malloc'd. */
char *report_extra_text(const compare_result_t *result, size_t index);

#endif
