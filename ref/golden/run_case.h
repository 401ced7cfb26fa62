/* run_case.h - doing what a golden case describes: its component on its inputs, or its calls. */
#ifndef MOLE_GOLDEN_RUN_CASE_H
#define MOLE_GOLDEN_RUN_CASE_H

#include "golden/golden.h"
#include "pipeline/pipeline.h"

/* The model and experts that the case names; an empty pipeline for one of kind calls. pipeline_close is
 * due on success. */
int golden_open_model(const golden_case_t *golden, pipeline_t *pipeline, err_t *err);

/* One run; whoever wants to see it is run->sink. Returns 0, or -1 and err for a case that cannot be run. */
int golden_execute(const run_t *run, const golden_case_t *golden, const pipeline_t *pipeline,
                   err_t *err);

/* DDIM's plan of a case that is a whole pipeline. Returns 1, and ddim_free is due; 0 for a case without a
 * sampler, or with another one; -1 and err for settings that cannot be read. */
int golden_schedule(const golden_case_t *golden, const pipeline_t *pipeline, ddim_plan_t *ddim,
                    err_t *err);

#endif
