/* budget.h - the computing type whose roundings a candidate is allowed.
 *
 * A budget says in which type products are rounded, in which sums are kept, and in which results are stored:
 *
 *   name        inputs and weights   sums   results   who computes so
 *   f64         f64                  f64    f64
 *   f32         f32                  f32    f32
 *   tf32        tf32                 f32    f32       tensor cores, where PyTorch's allow_tf32 is on
 *   f16-acc32   f16                  f32    f16       most frameworks' float16
 *   bf16-acc32  bf16                 f32    bf16      most frameworks' bfloat16
 *   f16         f16                  f16    f16       processors without wider accumulators
 *   bf16        bf16                 bf16   bf16
 */
#ifndef MOLE_COMPARE_BUDGET_H
#define MOLE_COMPARE_BUDGET_H

#include <stdbool.h>

#include "trace/precision.h"

/* Each but f64 and f32 allows at least what those before it allow. */
typedef enum {
    BUDGET_AUTO, /* found from the candidate's numbers */
    BUDGET_F64,
    BUDGET_F32,
    BUDGET_TF32,
    BUDGET_F16_ACC32,
    BUDGET_BF16_ACC32,
    BUDGET_F16,
    BUDGET_BF16,
    BUDGETS
} budget_t;

const char *budget_name(budget_t budget);
/* "bfloat16 with float32 sums" */
const char *budget_about(budget_t budget);
/* The budget of that name, or BUDGETS. */
budget_t budget_parse(const char *name);

/* The unit roundoff of what goes into products: 2^-53, 2^-24, 2^-11 (tf32, f16), 2^-8 (bf16). AUTO counts
 * as f32. */
double budget_unit(budget_t budget);
/* The grid of inputs and weights, and that of results. */
precision_t budget_inputs(budget_t budget);
precision_t budget_results(budget_t budget);
/* Whether sums are kept in the type itself rather than in float32. */
bool budget_narrow_sums(budget_t budget);
/* Coarser than float32: the unit is emulated (units.c). */
bool budget_is_low(budget_t budget);
/* What a candidate whose numbers lie on a grid computes in: f16 and bf16 with float32 sums. */
budget_t budget_of(precision_t precision);
/* The one that allows more. */
budget_t budget_coarser(budget_t a, budget_t b);

#endif
