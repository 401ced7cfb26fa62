/* calls.h - doing what a golden case of kind "calls" describes: single operations on given inputs.
 *
 * Every output is a tap named ID.NAME, "no-bias.out". Operations: those of golden/ops; an unknown one is
 * an error that names it. */
#ifndef MOLE_VERIFY_CALLS_H
#define MOLE_VERIFY_CALLS_H

#include "mole/run.h"
#include "verify/golden.h"

/* Run call `index` of the case; run->sink receives its outputs, in the manifest's order but for MoLE's, which
 * come as the layer makes them. Inputs are checked against what the operation requires. Returns 0, or -1
 * and err. */
int calls_execute(const run_t *run, const golden_case_t *golden, size_t index, err_t *err);

/* Whether this build's number type has a call at all: diffusers' float32 timestep angles ("angles": "f32")
 * are float32 numbers by definition and no truth for a float64 program. */
bool calls_apply(json_node_t call);

/* Whether there is such an operation. */
bool calls_know(const char *op);

#endif
