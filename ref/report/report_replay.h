/* report_replay.h - the `mole replay` command of each row that replay can compute from the candidate's own
 * tensors. */
#ifndef MOLE_REPORT_REPORT_REPLAY_H
#define MOLE_REPORT_REPORT_REPLAY_H

#include <jansson.h>

#include "compare/compare.h"

/* A module with weights, a ResnetBlock2D or a Transformer2DModel, away from what it could inherit: its
 * inputs and its result are the candidate's. An input is a dumped NAME.in, or the dumped tap whose numbers
 * go into the module; which one that is, one run of the case shows. {"common": " --model M --inputs F",
 * "rows": [{"index", "module", "inputs"}]}: the command of a row is "mole replay " + module + common +
 * inputs, every word quoted for the shell.
 *
 * A row is left out where replay would compute something else or hold it against another limit: an input
 * that was not dumped, a tensor that is stored in another layout or in part, a type other than float32 and
 * float64, a word that cannot be shown as it is. No rows without a golden case of a model, for a candidate
 * that is no single file, with deviations, and where the comparison did not run the reference
 * (--no-isolate). NULL and err when the case cannot be run. */
json_t *report_replay(const compare_result_t *result, const golden_case_t *golden,
                      const trace_file_t *candidate, err_t *err);

#endif
