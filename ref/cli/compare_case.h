/* compare_case.h - one golden case against one trace, for mole compare and mole check-statement. */
#ifndef MOLE_CLI_COMPARE_CASE_H
#define MOLE_CLI_COMPARE_CASE_H

#include "compare/compare.h"

/* Opens the case and compares. Returns 0, and compare_free and golden_case_close, in this order, are due; or
 * -1 and err for what cannot be compared. */
int compare_case(golden_case_t *golden, const char *folder, trace_file_t *candidate,
                 const compare_options_t *options, compare_result_t *result, err_t *err);

#endif
