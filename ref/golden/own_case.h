/* own_case.h - a golden case that nobody wrote: somebody's own model, and what to do with it.
 *
 * It has a manifest in memory, "component", "model" and "settings" or "inputs" as docs/golden-format.md has
 * them, with paths that can be opened as they stand. It holds no taps yet and never their truth: whoever
 * wants that runs the model (compare/truth_run.h). */
#ifndef MOLE_GOLDEN_OWN_CASE_H
#define MOLE_GOLDEN_OWN_CASE_H

#include "golden/golden.h"
#include "pipeline/pipeline.h"

/* What a user says. */
typedef struct {
    pipeline_files_t files; /* experts: face and hand, no others */
    const char
        *inputs; /* a safetensors file: one pass of the component they are of; NULL: a whole run */
    double timestep;               /* of a UNet's pass; NAN: the file has it */
    const char *prompt, *negative; /* of a run; negative may be NULL */
    negative_rule_t rule;
    deviations_t deviations;
    pipeline_image_t image; /* size, steps, guidance, eta, seed; 0 x 0: the model's own */
    const char *scheduler;  /* "authors", "config" or "euler" */
} own_case_t;

/* 0, or -1 and err; golden_case_close is due on success. */
int own_case_open(golden_case_t *golden, const own_case_t *own, err_t *err);
/* What only the open model knows: its size, its scheduler. 0, or -1 and err. */
int own_case_complete(golden_case_t *golden, const own_case_t *own, const pipeline_t *pipeline,
                      err_t *err);

#endif
