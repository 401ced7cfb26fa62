/* budget.c - see budget.h. */
#include "compare/budget.h"

#include <string.h>

static const struct {
    const char *name, *about;
    precision_t inputs, results;
    bool narrow_sums;
} table[BUDGETS] = {
    [BUDGET_AUTO] = {"auto", "the candidate's type", PRECISION_F32, PRECISION_F32, false},
    [BUDGET_F64] = {"f64", "float64", PRECISION_F64, PRECISION_F64, false},
    [BUDGET_F32] = {"f32", "float32", PRECISION_F32, PRECISION_F32, false},
    [BUDGET_TF32] = {"tf32", "products of TF32, float32 sums", PRECISION_TF32, PRECISION_F32,
                     false},
    [BUDGET_F16_ACC32] = {"f16-acc32", "float16, float32 sums", PRECISION_F16, PRECISION_F16,
                          false},
    [BUDGET_BF16_ACC32] = {"bf16-acc32", "bfloat16, float32 sums", PRECISION_BF16, PRECISION_BF16,
                           false},
    [BUDGET_F16] = {"f16", "float16, float16 sums", PRECISION_F16, PRECISION_F16, true},
    [BUDGET_BF16] = {"bf16", "bfloat16, bfloat16 sums", PRECISION_BF16, PRECISION_BF16, true},
};

const char *budget_name(budget_t budget) {
    return table[budget].name;
}

const char *budget_about(budget_t budget) {
    return table[budget].about;
}

budget_t budget_parse(const char *name) {
    budget_t b = BUDGET_F64;
    while (b < BUDGETS && strcmp(name, table[b].name) != 0) b++;
    return b;
}

double budget_unit(budget_t budget) {
    return precision_unit(table[budget].inputs);
}

precision_t budget_inputs(budget_t budget) {
    return table[budget].inputs;
}

precision_t budget_results(budget_t budget) {
    return table[budget].results;
}

bool budget_narrow_sums(budget_t budget) {
    return table[budget].narrow_sums;
}

bool budget_is_low(budget_t budget) {
    return budget >= BUDGET_TF32;
}

budget_t budget_of(precision_t precision) {
    static const budget_t of[] = {[PRECISION_BF16] = BUDGET_BF16_ACC32,
                                  [PRECISION_F16] = BUDGET_F16_ACC32,
                                  [PRECISION_TF32] = BUDGET_TF32,
                                  [PRECISION_F32] = BUDGET_F32,
                                  [PRECISION_F64] = BUDGET_F64};
    return of[precision];
}

budget_t budget_coarser(budget_t a, budget_t b) {
    return a > b ? a : b;
}
