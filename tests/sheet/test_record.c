/* What is collected of a run, against a trace of the same run: averages of gates, the latents and the clean
 * picture of the steps that are shown, attention to a word. And the picture is the same, watched or not. */
#include <math.h>

#include "../pipeline/tiny.h"
#include "../scratch.h"
#include "core/tap_name.h"
#include "io/safetensors.h"
#include "io/trace.h"
#include "sheet/record.h"

/* Latents of 6 x 8, levels 6x8, 3x4, 2x2, 1x1; three steps. */
enum { H = 6, W = 8, P = H * W, STEPS = 3, C = 4, UNIT_OF_LATENTS = 8 };
static const size_t token[] = {2, 3};

typedef struct {
    record_t record;
    st_file_t *trace;
    pipeline_image_t image;
    sampler_choice_t sampler;
} watched_t;

static tiny_run_t settings(sampler_kind_t kind) {
    tiny_run_t run = tiny_usual();
    run.image.width = W * UNIT_OF_LATENTS;
    run.image.height = H * UNIT_OF_LATENTS;
    run.image.steps = STEPS;
    run.image.sampler.kind = kind;
    return run;
}

static const mole_files_t experts = {.experts = 2, .name = {"face", "hand"}};

/* One run, recorded and traced; the picture's numbers. */
static tiny_picture_t watch(watched_t *w, const pipeline_t *pipeline, sampler_kind_t kind) {
    tiny_run_t run = settings(kind);
    err_t err;
    trace_t *trace;
    const char *path = scratch_path("trace.safetensors");
    must(trace_open(&trace, path, false, &err), &err);
    record_what_t what = {pipeline, &run.image, &experts, token, 2};
    must(record_open(&w->record, &what, trace_sink(trace), &err), &err);
    run.run.sink = &w->record.sink;
    tiny_picture_t picture = tiny_picture(pipeline, &run);
    must(trace_close(trace, true, &err), &err);
    must(st_open(&w->trace, path, &err), &err);
    return picture;
}

static void done(watched_t *w) {
    record_close(&w->record);
    st_close(w->trace);
}

/* Numbers of a tensor of the trace. */
static double *numbers(const st_tensor_t *t) {
    size_t n = shape_count(t->shape);
    real_t *x = fixture_bytes(n * sizeof *x);
    dtype_to_real(x, t->data, t->dtype, n);
    return fixture_doubles(x, n);
}

static double *tensor(const watched_t *w, const char *name) {
    const st_tensor_t *t = st_find(w->trace, name);
    if (!t) fail_msg("no tap %s", name);
    return numbers(t);
}

static double worst(const double *a, const double *b, size_t n) {
    double most = 0;
    for (size_t i = 0; i < n; i++) most = fmax(most, fabs(a[i] - b[i]));
    return most;
}

/* ---- gates -------------------------------------------------------------------------------------------- */

/* Is it a gate of this expert in a layer that sees the picture? */
static bool is_gate(const char *tap, const char *expert, const char *part) {
    char suffix[64];
    snprintf(suffix, sizeof suffix, ".mole.%s.%s", expert, part);
    return text_ends(tap, suffix) && !strstr(tap, "attn2.to_k") && !strstr(tap, "attn2.to_v");
}

static size_t step_of(const char *tap) {
    return (size_t)(tap[7] - '0'); /* "step.00K/" */
}

/* The mean over the taps that `wanted` chooses by step (STEPS: all) and resolution (0: all), each spread on
 * P places (level 0) or on its own. */
static void mean_local(const watched_t *w, const char *expert, size_t step, size_t h, size_t v,
                       double *out) {
    size_t count = 0, rows = h ? h : H, columns = h ? v : W;
    static const size_t heights[] = {6, 3, 2, 1}, widths[] = {8, 4, 2, 1};
    memset(out, 0, rows * columns * sizeof *out);
    for (size_t i = 0; i < st_count(w->trace); i++) {
        const st_tensor_t *t = st_at(w->trace, i);
        if (!is_gate(t->name, expert, "local")) continue;
        if (step < STEPS && step_of(t->name) != step) continue;
        size_t T = t->shape.dim[1], level = 0;
        while (heights[level] * widths[level] != T) level++;
        if (h && T != h * v) continue;
        double *x = numbers(t) + (t->shape.dim[0] - 1) * T;
        for (size_t y = 0; y < rows; y++)
            for (size_t u = 0; u < columns; u++)
                out[y * columns + u] +=
                    x[y * heights[level] / rows * widths[level] + u * widths[level] / columns];
        count++;
    }
    assert_true(count > 0);
    for (size_t i = 0; i < rows * columns; i++) out[i] /= (double)count;
}

static void local_gates(void **state) {
    (void)state;
    static watched_t w;
    pipeline_t pipeline = tiny_open(true);
    watch(&w, &pipeline, SAMPLER_DDIM);
    assert_int_equal(w.record.levels, 4);
    for (size_t e = 0; e < 2; e++) {
        const record_expert_t *x = &w.record.expert[e];
        double got[P], truth[P];
        record_mean(got, &x->local);
        mean_local(&w, x->name, STEPS, 0, 0, truth);
        assert_true(worst(got, truth, P) < 1e-12);
        for (size_t k = 0; k < STEPS; k++) {
            record_mean(got, &x->at_step[k]);
            mean_local(&w, x->name, k, 0, 0, truth);
            assert_true(worst(got, truth, P) < 1e-12);
        }
        for (size_t level = 0; level < 4; level++) {
            const record_map_t *map = &x->level[level];
            record_mean(got, map);
            mean_local(&w, x->name, STEPS, map->H, map->W, truth);
            assert_true(worst(got, truth, map->H * map->W) < 1e-12);
        }
    }
    done(&w);
    pipeline_close(&pipeline);
}

static void global_gates(void **state) {
    (void)state;
    static watched_t w;
    pipeline_t pipeline = tiny_open(true);
    watch(&w, &pipeline, SAMPLER_DDIM);
    for (size_t e = 0; e < 2; e++)
        for (size_t k = 0; k < STEPS; k++) {
            const record_range_t *got = &w.record.expert[e].global[k];
            double least = 2, most = -1, sum = 0;
            size_t count = 0;
            for (size_t i = 0; i < st_count(w.trace); i++) {
                const st_tensor_t *t = st_at(w.trace, i);
                if (!is_gate(t->name, experts.name[e], "global") || step_of(t->name) != k) continue;
                double x = numbers(t)[1];
                least = fmin(least, x);
                most = fmax(most, x);
                sum += x;
                count++;
            }
            assert_int_equal(count, 160); /* 192 layers without to_k and to_v of 16 attn2 */
            assert_int_equal(got->count, count);
            assert_true(got->least == least && got->most == most);
            assert_true(fabs(got->sum - sum) < 1e-9);
        }
    done(&w);
    pipeline_close(&pipeline);
}

/* ---- steps -------------------------------------------------------------------------------------------- */

static void steps_that_are_shown(void **state) {
    (void)state;
    for (size_t steps = 1; steps <= 1000; steps++) {
        size_t step[RECORD_STEPS], n = record_spread(steps, RECORD_STEPS, step);
        assert_int_equal(n, steps < 8 ? steps : 8);
        assert_int_equal(step[0], 0);
        assert_int_equal(step[n - 1], steps - 1);
        for (size_t i = 1; i < n; i++) { /* evenly: the gaps differ by one at most */
            double gap = (double)(steps - 1) / (double)(n - 1);
            assert_true(fabs((double)(step[i] - step[i - 1]) - gap) <= 1);
            assert_true(step[i] > step[i - 1]);
        }
    }
}

/* Of DDIM with epsilon: what the network got are the latents, x0 = (x - sqrt(1 - a) e) / sqrt(a). */
static void latents_and_clean_picture(void **state) {
    (void)state;
    static watched_t w;
    pipeline_t pipeline = tiny_open(true);
    watch(&w, &pipeline, SAMPLER_DDIM);
    static const char *const before[] = {"latents", "step.000/latents", "step.001/latents"};
    static const char *const guided[] = {"step.000/guided", "step.001/guided", "step.002/guided"};
    for (size_t k = 0; k < STEPS; k++) {
        double *x = tensor(&w, before[k]), *e = tensor(&w, guided[k]);
        double a =
            (double)
                w.record.sampler.plan.ddim.alphas_cumprod[w.record.sampler.plan.ddim.timesteps[k]];
        for (size_t i = 0; i < C * P; i++) {
            double x0 = (x[i] - sqrt(1 - a) * e[i]) / sqrt(a);
            assert_true((double)w.record.latents[k][i] == x[i]);
            assert_true(fabs((double)w.record.clean[k][i] - x0) <= 4 * UNIT * (1 + fabs(x0)));
        }
    }
    done(&w);
    pipeline_close(&pipeline);
}

/* Of Euler: the latents by sqrt(sigma^2 + 1), x0 = x - sigma e. */
static void euler_is_scaled(void **state) {
    (void)state;
    static watched_t w;
    pipeline_t pipeline = tiny_open(true);
    watch(&w, &pipeline, SAMPLER_EULER);
    double *x = tensor(&w, "step.000/latents"), *e = tensor(&w, "step.001/guided");
    double sigma = (double)w.record.sampler.plan.euler.sigmas[1];
    for (size_t i = 0; i < C * P; i++) {
        double input = x[i] / sqrt(sigma * sigma + 1), x0 = x[i] - sigma * e[i];
        assert_true(fabs((double)w.record.latents[1][i] - input) <= 2 * UNIT * fabs(input));
        assert_true(fabs((double)w.record.clean[1][i] - x0) <= 4 * UNIT * (1 + fabs(x0)));
    }
    done(&w);
    pipeline_close(&pipeline);
}

/* ---- attention ---------------------------------------------------------------------------------------- */

/* A plain softmax of one layer: q (T,CH), k (S,CH) of the second row, eight heads. */
static double to_word(const double *q, const double *k, size_t S, size_t CH, size_t t) {
    enum { HEADS = 8 };
    size_t D = CH / HEADS;
    double mean = 0;
    for (size_t h = 0; h < HEADS; h++) {
        double e[77], sum = 0;
        for (size_t s = 0; s < S; s++) {
            double dot = 0;
            for (size_t d = 0; d < D; d++) dot += q[t * CH + h * D + d] * k[s * CH + h * D + d];
            e[s] = exp(dot / sqrt((double)D));
            sum += e[s];
        }
        mean += (e[token[0]] + e[token[1]]) / sum / HEADS;
    }
    return mean;
}

static void attention_to_the_word(void **state) {
    (void)state;
    static watched_t w;
    pipeline_t pipeline = tiny_open(true);
    watch(&w, &pipeline, SAMPLER_DDIM);
    double got[P], truth[P] = {0};
    static const size_t heights[] = {6, 3, 2, 1}, widths[] = {8, 4, 2, 1};
    size_t layers = 0;
    for (size_t i = 0; i < st_count(w.trace); i++) {
        const st_tensor_t *query = st_at(w.trace, i);
        if (!text_ends(query->name, ".attn2.to_q")) continue;
        char name[256];
        snprintf(name, sizeof name, "%s", query->name);
        name[strlen(name) - 1] = 'k';
        const st_tensor_t *key = st_find(w.trace, name);
        size_t T = query->shape.dim[1], CH = query->shape.dim[2], S = key->shape.dim[1], level = 0;
        while (heights[level] * widths[level] != T) level++;
        const double *q = numbers(query) + T * CH, *k = numbers(key) + S * CH;
        double *share = fixture_bytes(T * sizeof *share);
        for (size_t t = 0; t < T; t++) share[t] = to_word(q, k, S, CH, t);
        for (size_t p = 0; p < P; p++)
            truth[p] +=
                share[p / W * heights[level] / H * widths[level] + p % W * widths[level] / W];
        layers++;
    }
    assert_int_equal(layers, 16 * STEPS);
    for (size_t p = 0; p < P; p++) truth[p] /= (double)layers;
    record_mean(got, &w.record.word);
    assert_true(worst(got, truth, P) < 1e-12);
    done(&w);
    pipeline_close(&pipeline);
}

/* ---- the picture -------------------------------------------------------------------------------------- */

static void watching_changes_no_bit(void **state) {
    (void)state;
    static watched_t w;
    pipeline_t pipeline = tiny_open(true);
    tiny_run_t run = settings(SAMPLER_DDIM);
    tiny_picture_t alone = tiny_picture(&pipeline, &run),
                   watched = watch(&w, &pipeline, SAMPLER_DDIM);
    tiny_same(&alone, &watched, "watched");
    done(&w);
    /* A model without experts, and no word. */
    pipeline_t plain = tiny_open(false);
    record_t record;
    err_t err;
    record_what_t what = {&plain, &run.image, &(mole_files_t){.experts = 0}, NULL, 0};
    must(record_open(&record, &what, NULL, &err), &err);
    alone = tiny_picture(&plain, &run);
    run.run.sink = &record.sink;
    watched = tiny_picture(&plain, &run);
    tiny_same(&alone, &watched, "watched, without experts");
    record_close(&record);
    record_close(&record); /* twice is once */
    pipeline_close(&plain);
    pipeline_close(&pipeline);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        fixture_test(local_gates),
        fixture_test(global_gates),
        fixture_test(steps_that_are_shown),
        fixture_test(latents_and_clean_picture),
        fixture_test(euler_is_scaled),
        fixture_test(attention_to_the_word),
        fixture_test(watching_changes_no_bit),
    };
    return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
