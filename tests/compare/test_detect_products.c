/* test_detect_products.c - TF32 is found from the errors of products, and excuses nothing else. The runs are
 * this program's own, with what goes into products rounded; `mole compare` judges them. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../fixture.h"
#include "../scratch.h"
#include "core/tap_name.h"
#include "golden/run_case.h"
#include "io/trace.h"
#include "mole_says.h"
#include "trace/precision.h"

#define CASE "golden/runs/unet-plain"
/* Of its layers those that read this are linear maps and no images. */
#define ONE "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q"

typedef struct {
    tap_sink_t sink;
    tap_sink_t *to;
    const pipeline_t *pipeline;
    const char *only; /* the one layer that is meant; NULL: all */
    double grain;     /* inputs are rounded to so many parts of a number; 0: they stay */
    bool weights;     /* products are those of weights rounded to bfloat16 */
    bool norms;       /* every norm gives a thousandth too much */
    double *input;    /* of the layer whose output comes next */
} port_t;

static const module_t *module_of(const port_t *p, const char *name) {
    char *layer = tap_name_layer(name, "");
    const module_t *m = pipeline_module(p->pipeline, layer);
    bool meant = m && (!p->only || strcmp(layer, p->only) == 0);
    free(layer);
    return meant ? m : NULL;
}

static double with_grain(double x, double grain) {
    int exponent;
    double fraction = frexp(x, &exponent);
    return ldexp(rint(fraction * grain) / grain, exponent);
}

static void keep_input(port_t *p, real_t *x, view_t view) {
    size_t count = shape_count(view.shape);
    p->input = xrealloc(p->input, (count + 1) * sizeof *p->input);
    for (size_t i = 0; i < count; i++) {
        if (p->grain > 0) x[i] = (real_t)with_grain((double)x[i], p->grain);
        p->input[i] = (double)x[i];
    }
}

/* y += (W rounded - W) x, of the input that was kept; tokens lie as the layer reads them. */
static void round_weights(const port_t *p, const linear_t *l, real_t *y, size_t rows) {
    if (!l->weight) return;
    for (size_t r = 0; r < rows; r++)
        for (size_t o = 0; o < l->out; o++) {
            double sum = 0;
            for (size_t i = 0; i < l->in; i++) {
                double w = (double)l->weight[o * l->in + i];
                sum += (precision_round(PRECISION_BF16, w) - w) * p->input[r * l->in + i];
            }
            y[r * l->out + o] = (real_t)((double)y[r * l->out + o] + sum);
        }
}

static void see(tap_sink_t *self, const char *name, real_t *x, view_t view) {
    port_t *p = (port_t *)self;
    const module_t *m = module_of(p, name);
    size_t count = shape_count(view.shape);
    bool linear = m && m->kind == MODULE_LINEAR && view.shape.ndim < 4;
    if (tap_name_is_input(name)) {
        if (linear) keep_input(p, x, view);
        return;
    }
    if (linear && p->weights) round_weights(p, m->as.linear, x, count / m->as.linear->out);
    bool norm = m && (m->kind == MODULE_GROUP_NORM || m->kind == MODULE_LAYER_NORM);
    for (size_t i = 0; i < count; i++) {
        if (norm && p->norms) x[i] *= (real_t)1.001;
        x[i] = (real_t)precision_round(PRECISION_F32, (double)x[i]);
    }
    p->to->tap(p->to, name, x, view);
}

/* The exit code of the comparison of such a port's trace. */
static int judged(port_t port) {
    err_t err = {""};
    golden_case_t golden;
    pipeline_t pipeline;
    trace_t *trace;
    const char *path = scratch_path("port.safetensors");
    run_t run = {.matmul = MATMUL_BLAS, .form = MOLE_DIRECT};
    must(golden_case_open(&golden, CASE, &err), &err);
    must(golden_open_model(&golden, &pipeline, &err), &err);
    must(arena_create(&run.arena, 0, &err), &err);
    must(trace_open(&trace, path, false, &err), &err);
    port.to = trace_sink(trace);
    port.pipeline = &pipeline;
    port.sink = (tap_sink_t){see, true};
    run.sink = &port.sink;
    must(golden_execute(&run, &golden, &pipeline, &err), &err);
    must(trace_close(trace, true, &err), &err);
    free(port.input);
    pipeline_close(&pipeline);
    golden_case_close(&golden);
    arena_destroy(run.arena);
    return mole_says("compare %s %s", CASE, path);
}

static void says(port_t port, int code, const char *text, const char *never) {
    int found = judged(port);
    if (found != code || !strstr(output, text) || (never && strstr(output, never)))
        fail_msg("exit code %d, without '%s' or with '%s':\n%s", found, text, never ? never : "",
                 output);
}

static const char tf32[] = "computed in TF32";

static void right_products_are_found(void **state) {
    (void)state;
    says((port_t){.grain = 0}, 0, "judged as f32", tf32);
    says((port_t){.grain = 0x1p11}, 0, "linear maps are computed in TF32", NULL);
    assert_non_null(strstr(output, "cuda.matmul.allow_tf32"));
}

static void wrong_ones_are_not(void **state) {
    (void)state;
    says((port_t){.grain = 0x1p11, .only = ONE}, 1, "culprit    #", tf32);
    says((port_t){.grain = 0x1p17}, 1, "judged as f32", tf32);
    says((port_t){.weights = true}, 1, "the weight is rounded to bfloat16, and the rest is not",
         tf32);
    says((port_t){.grain = 0x1p11, .norms = true}, 1, "judged as f32", tf32);
}

int main(void) {
    const struct CMUnitTest tests[] = {fixture_test(right_products_are_found),
                                       fixture_test(wrong_ones_are_not)};
    return cmocka_run_group_tests_name("detect_products", tests, scratch_setup, scratch_teardown);
}
