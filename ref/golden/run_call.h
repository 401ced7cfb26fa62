/* run_call.h - doing what a golden case of kind "calls" describes: single operations on given inputs.
 *
 * Every output is a tap named ID.NAME, "no-bias.out". Operations: those of api/op_table.h; an unknown
 * one is an error that names it. */
#ifndef MOLE_GOLDEN_RUN_CALL_H
#define MOLE_GOLDEN_RUN_CALL_H

#include "io/json.h"
#include "io/tensor_file.h"
#include "mole/run.h"

/* Bytes of a call's id, and of an expert's name: both become parts of tap names, which have an end. */
enum { CALL_NAME_MOST = 128 };

/* Where tensors come from: the one called `name`, as tensor_file_read gives it. */
typedef struct {
    int (*read)(const void *who, const char *name, tensor_file_t *tensor, err_t *err);
    const void *who;
} call_tensors_t;

/* Run a call, {"id", "op", "attrs", "inputs"} as a golden case has it (docs/golden-format.md); run->sink
 * receives its outputs, in the manifest's order but for MoLE's, which come as the layer makes them. Inputs
 * are checked against what the operation requires, and neither attrs nor inputs may have keys that it does
 * not take. Returns 0, or -1 and err. */
int calls_execute(const run_t *run, const call_tensors_t *tensors, json_node_t call, err_t *err);

/* Whether this build's number type has a call at all: diffusers' float32 timestep angles ("angles": "f32")
 * are float32 numbers by definition and no truth for a float64 program. */
bool calls_apply(json_node_t call);

#endif
