/* golden.h - golden cases of kind "calls" (docs/golden-format.md), as tests read them.
 *
 * Whatever is wrong with a case (no folder, another version, another SHA-256, a missing key, a
 * shape that is not the stated one) fails the running test with a message that names file and
 * key. Tensors are doubles in torch's order, in memory that fixture_free gives back. */
#ifndef MOLE_TESTS_GOLDEN_H
#define MOLE_TESTS_GOLDEN_H

#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>

#include "core/shape.h"
#include "core/tap.h"
#include "ops/ops.h"

typedef struct golden golden_t;

/* The case in `folder`, for example "golden/ops/conv2d", to be closed by the caller. */
golden_t *golden_open(const char *folder);
void golden_close(golden_t *golden);

typedef struct {
    golden_t *golden;
    const char *id, *op;
    json_t *entry, *attrs, *inputs, *outputs;
} golden_call_t;

size_t golden_call_count(const golden_t *golden);
golden_call_t golden_call(golden_t *golden, size_t index);

/* The call as the program runs it: golden/run_call.h, through api/op_table.h, on tensors read here. sink
 * receives its outputs, as ID.NAME. */
void golden_run(const golden_call_t *call, matmul_way_t how, tap_sink_t *sink);

/* The rest is for a test that reads a call by itself. Attributes. */
double golden_number(const golden_call_t *call, const char *name);
size_t golden_size(const golden_call_t *call, const char *name);
bool golden_flag(const golden_call_t *call, const char *name);
const char *golden_text(const golden_call_t *call, const char *name);
void golden_sizes(const golden_call_t *call, const char *name, size_t *out, size_t count);

typedef struct {
    shape_t shape;
    size_t count;
    double *x; /* NULL where the input is null */
} golden_tensor_t;

/* A tensor by its key in tensors.safetensors. */
golden_tensor_t golden_tensor(golden_t *golden, const char *key);
/* An input; the index-th of an input that is a list. */
golden_tensor_t golden_input(const golden_call_t *call, const char *name);
golden_tensor_t golden_input_at(const golden_call_t *call, const char *name, size_t index);
size_t golden_input_count(const golden_call_t *call, const char *name);
/* An output's truth; *f32_rms (may be NULL) is PyTorch's own float32 error. */
golden_tensor_t golden_output(const golden_call_t *call, const char *name, double *f32_rms);

/* What a candidate may differ by: in float64 relative to the scale of the tensor, in float32 as a
 * multiple of PyTorch's own error. */
#define GOLDEN_RELATIVE    1e-12
#define GOLDEN_RATIO_BLAS  2.0
#define GOLDEN_RATIO_PLAIN 1.0

/* Compare `count` numbers in torch's order with an output of that many; print one line with the
 * worst element and the share of the tolerance used (the f32 build judges by ratio, the f64
 * build by GOLDEN_RELATIVE). False when it is above the tolerance. `way` is printed too:
 * "plain", "BLAS", "". */
bool golden_check(const golden_call_t *call, const char *output, const double *candidate,
                  size_t count, double ratio, const char *way);

#endif
