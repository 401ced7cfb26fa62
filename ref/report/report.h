/* report.h - the result of a comparison as text, JSON, JUnit XML and one HTML page. docs/reports.md says what
 * each holds. */
#ifndef MOLE_REPORT_REPORT_H
#define MOLE_REPORT_REPORT_H

#include <stdio.h>

#include "compare/compare.h"

/* `all`: every row; else summary, culprit and the worst ten. */
int report_text(const compare_result_t *result, bool all, FILE *to);
/* Files appear whole or not at all. 0, or -1 and err. */
int report_json(const compare_result_t *result, const char *path, err_t *err);
int report_junit(const compare_result_t *result, const char *path, err_t *err);
/* One self-contained page that opens offline. With the two sources the wrong rows also get pictures:
 * difference heat map and histogram; candidate may be NULL. */
int report_html(const compare_result_t *result, const golden_case_t *golden,
                trace_file_t *reference, trace_file_t *candidate, const char *path, err_t *err);

#endif
