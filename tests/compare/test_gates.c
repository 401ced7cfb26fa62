/* The derived rounding of a global gate against gates whose factors are rounded: over all layers of a model
 * they agree, in every type below float32. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../fixture.h"
#include "../scratch.h"
#include "compare/budget.h"
#include "compare/gates.h"

static double sigmoid_of(double x) {
    return 1 / (1 + exp(-x));
}

/* E (B,T,d') of numbers whose terms cancel, its gates, and what they are with rounded factors. */
typedef struct {
    double *expert, gate[2], rounded[2];
} made_t;

enum { B = 2, T = 6 };

static double grid(budget_t budget, double x) {
    return precision_round(budget == BUDGET_TF32 ? PRECISION_TF32 : budget_results(budget), x);
}

static made_t make(const mole_expert_t *e, size_t channels, budget_t budget, uint64_t seed) {
    made_t m = {.expert = fixture_random(B * T * channels, seed, 1)};
    bool results = budget != BUDGET_TF32;
    for (size_t b = 0; b < B; b++) {
        double logit = e->global_bias, off = results ? grid(budget, e->global_bias) : logit;
        for (size_t j = 0; j < channels; j++) {
            double mean = 0, w = (double)e->global_weight[j] * 1.37;
            for (size_t t = 0; t < T; t++) mean += m.expert[(b * T + t) * channels + j] / T;
            logit += (double)e->global_weight[j] * mean;
            off += grid(budget, w) / 1.37 * grid(budget, mean);
        }
        m.gate[b] = sigmoid_of(logit);
        m.rounded[b] = sigmoid_of(results ? grid(budget, off) : off);
    }
    return m;
}

static double share_of(comparison_t *c, budget_t budget) {
    modules_t modules = unet_modules(c->pipeline.unet);
    gate_mean_t mean = {0};
    double sum = 0, gates = 0;
    for (size_t i = 0; i < modules.count; i++) {
        const module_t *m = &modules.module[i];
        if (m->kind != MODULE_LINEAR || !m->as.linear->mole) continue;
        const mole_layer_t *layer = m->as.linear->mole;
        for (size_t k = 0; k < layer->experts; k++) {
            char name[512];
            size_t d = layer->d_out;
            made_t made = make(&layer->expert[k], d, budget, 2 * i + k + 1);
            snprintf(name, sizeof name, "%s.mole.%s.expert", m->name, layer->expert[k].name);
            assert_true(gate_rounding(&mean, c, budget, name, made.expert, SHAPE3(B, T, d)) == 0);
            snprintf(name, sizeof name, "%s.mole.%s.global", m->name, layer->expert[k].name);
            double unit = gate_rounding(&mean, c, budget, name, made.gate, SHAPE1(B));
            double off = hypot(made.rounded[0] - made.gate[0], made.rounded[1] - made.gate[1]);
            assert_true(unit > 0);
            sum += off * off / B / (unit * unit);
            gates++;
            assert_true(gate_rounding(&mean, c, BUDGET_F32, name, made.gate, SHAPE1(B)) == 0);
        }
    }
    gate_free(&mean);
    return sqrt(sum / gates);
}

static void derived_is_what_rounding_makes(void **state) {
    (void)state;
    err_t err = {""};
    golden_case_t golden;
    comparison_t c = {0};
    if (golden_case_open(&golden, "golden/runs/unet-mole", &err) ||
        golden_open_model(&golden, &c.pipeline, &err))
        fail_msg("%s", err.text);
    for (budget_t b = BUDGET_TF32; b < BUDGETS; b++) {
        double share = share_of(&c, b);
        if (!(share > 0.7 && share < 1.4)) fail_msg("%s: %.2f of the unit", budget_name(b), share);
    }
    pipeline_close(&c.pipeline);
    golden_case_close(&golden);
}

int main(void) {
    const struct CMUnitTest tests[] = {fixture_test(derived_is_what_rounding_makes)};
    return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
