/* What is kept of a run, against a trace of the same run in plain loops: every tap of the UNet, its figures,
 * its tiles, gates, shares of words. And the picture is the same, watched or not. */
#include <math.h>

#include "../pipeline/tiny.h"
#include "../scratch.h"
#include "core/tap_name.h"
#include "io/safetensors.h"
#include "io/trace.h"
#include "xray/watch.h"

/* Latents of 6 x 20, wider than a tile; two steps. */
enum { LH = 6, LW = 20, STEPS = 2, UNIT_OF_LATENTS = 8 };
static const mole_files_t experts = {.experts = 2, .name = {"face", "hand"}};

static struct {
    pipeline_t pipeline;
    watch_t watch;
    words_t words;
    st_file_t *trace;
    tiny_run_t run;
} one;

static int start(void **state) {
    scratch_setup(state);
    trace_t *trace;
    err_t err;
    const char *path = scratch_path("trace.safetensors");
    one.pipeline = tiny_open(true);
    one.run = tiny_usual();
    one.run.image.width = LW * UNIT_OF_LATENTS;
    one.run.image.height = LH * UNIT_OF_LATENTS;
    one.run.image.steps = STEPS;
    one.run.threads = 1;
    prompt_options_t plain = PROMPT_DEFAULTS;
    must(words_find(&one.words, one.pipeline.tokenizer[0], one.run.prompt, &plain, &err), &err);
    watch_what_t what = {&one.pipeline, &one.run.image, &experts, &one.words};
    must(trace_open(&trace, path, false, &err), &err);
    must(watch_open(&one.watch, &what, trace_sink(trace), &err), &err);
    tiny_picture_t alone = tiny_picture(&one.pipeline, &one.run);
    one.run.run.sink = &one.watch.sink;
    tiny_picture_t watched = tiny_picture(&one.pipeline, &one.run);
    tiny_same(&alone, &watched, "watched");
    must(trace_close(trace, true, &err), &err);
    must(st_open(&one.trace, path, &err), &err);
    return fixture_free(state);
}

static int stop(void **state) {
    watch_close(&one.watch);
    words_free(&one.words);
    st_close(one.trace);
    pipeline_close(&one.pipeline);
    return scratch_teardown(state);
}

/* ---- the trace ---------------------------------------------------------------------------------------- */

/* The last row of a tap in torch's order, and how many numbers; NULL when it is not there. */
static double *row_of(size_t step, const char *name, shape_t *shape, size_t *n) {
    char *text = xasprintf("step.%03zu/%s", step, name);
    const st_tensor_t *t = st_find(one.trace, text);
    free(text);
    if (!t) return NULL;
    *shape = t->shape;
    *n = shape_count(t->shape) / t->shape.dim[0];
    real_t *x = fixture_bytes(t->shape.dim[0] * *n * sizeof *x);
    dtype_to_real(x, t->data, t->dtype, t->shape.dim[0] * *n);
    return fixture_doubles(x + (t->shape.dim[0] - 1) * *n, *n);
}

static void close_to(double got, double truth, double scale, const char *name, const char *what) {
    if (!(fabs(got - truth) <= 1e-6 * (1e-9 + scale)))
        fail_msg("%s: %s %.9g, should be %.9g", name, what, got, truth);
}

static void check_figures(const figures_t *f, const double *x, size_t n, const char *name) {
    double sum = 0, squares = 0, least = x[0], most = x[0];
    for (size_t i = 0; i < n; i++) sum += x[i];
    for (size_t i = 0; i < n; i++) {
        double d = x[i] - sum / (double)n;
        squares += d * d;
        if (x[i] < least) least = x[i];
        if (x[i] > most) most = x[i];
    }
    double scale = fmax(fabs(least), fabs(most));
    close_to(f->mean, sum / (double)n, scale, name, "mean");
    close_to(f->deviation, sqrt(squares / (double)n), scale, name, "deviation");
    close_to(f->least, least, scale, name, "least");
    close_to(f->most, most, scale, name, "most");
}

/* The taps of the UNet, guided and latents, in the order in which they come. */
static void every_tap_is_there(void **state) {
    (void)state;
    size_t at = 0;
    for (size_t i = 0; i < st_count(one.trace); i++) {
        tap_name_t name = tap_name(st_at(one.trace, i)->name);
        bool shown = strncmp(name.name, "unet", 4) == 0 || strcmp(name.name, "guided") == 0 ||
                     strcmp(name.name, "latents") == 0;
        if (!name.has_step || name.step || name.is_mole || !shown) continue;
        assert_true(at < one.watch.modules);
        assert_string_equal(one.watch.module[at].name, name.name);
        at++;
    }
    assert_int_equal(at, one.watch.modules);
}

static void figures_are_the_traces(void **state) {
    (void)state;
    for (size_t i = 0; i < one.watch.modules; i++) {
        const watch_module_t *m = &one.watch.module[i];
        for (size_t k = 0; k < STEPS; k++) {
            shape_t shape;
            size_t n;
            const double *x = row_of(k, m->name, &shape, &n);
            assert_non_null(x);
            assert_true(shape_equal(shape, m->shape));
            check_figures(&m->figures[k], x, n, m->name);
        }
        fixture_free(NULL);
    }
}

/* ---- tiles -------------------------------------------------------------------------------------------- */

static size_t level_of(char c) {
    return (size_t)(strchr(tile_alphabet, c) - tile_alphabet);
}

/* Number (channel, y, x) of a tensor whose tiles are H x W. */
static double at(const double *x, shape_t shape, const watch_module_t *m, size_t channel, size_t y,
                 size_t u) {
    size_t p = y * m->W + u;
    if (shape.ndim == 4) return x[channel * m->H * m->W + p];
    bool tokens =
        shape.ndim == 3 && !strstr(m->name, "attn2.to_k") && !strstr(m->name, "attn2.to_v");
    return x[tokens ? p * shape.dim[2] + channel : p];
}

static void check_tile(const watch_module_t *m, size_t k, size_t picture, const double *x,
                       shape_t shape) {
    const tiles_t *t = &m->tiles;
    double half = (t->high[k] - t->low[k]) / 63 * 0.5 + 1e-5 * (fabs(t->high[k]) + fabs(t->low[k]));
    for (size_t r = 0; r < t->rows; r++)
        for (size_t c = 0; c < t->columns; c++) {
            double sum = 0, n = 0;
            for (size_t y = r * m->H / t->rows; y < (r + 1) * m->H / t->rows; y++)
                for (size_t u = c * m->W / t->columns; u < (c + 1) * m->W / t->columns; u++, n++)
                    sum += at(x, shape, m, m->channel[picture], y, u);
            size_t level = level_of(t->cells[k][(picture * t->rows + r) * t->columns + c]);
            double got = t->low[k] + (t->high[k] - t->low[k]) * (double)level / 63;
            if (!(fabs(got - sum / n) <= half))
                fail_msg("%s, channel %zu, cell %zu %zu: %g, should be %g", m->name,
                         m->channel[picture], r, c, got, sum / n);
        }
}

static void tiles_are_the_traces(void **state) {
    (void)state;
    for (size_t i = 0; i < one.watch.modules; i++) {
        const watch_module_t *m = &one.watch.module[i];
        assert_true(m->tiles.pictures * m->tiles.rows * m->tiles.columns <= 4 * 16 * 16);
        for (size_t k = 0; k < STEPS; k++) {
            shape_t shape;
            size_t n;
            const double *x = row_of(k, m->name, &shape, &n);
            for (size_t p = 0; p < m->tiles.pictures; p++) check_tile(m, k, p, x, shape);
        }
        fixture_free(NULL);
    }
    const watch_module_t *wide = &one.watch.module[one.watch.modules - 1]; /* latents */
    assert_string_equal(wide->name, "latents");
    assert_int_equal(wide->tiles.rows * 100 + wide->tiles.columns, 6 * 100 + 16);
    assert_int_equal(wide->channel[0] + 10 * wide->channel[3], 30);
}

/* ---- gates -------------------------------------------------------------------------------------------- */

static void gates_are_the_traces(void **state) {
    (void)state;
    size_t layers = 0;
    for (size_t i = 0; i < one.watch.modules; i++) {
        const watch_module_t *m = &one.watch.module[i];
        assert_true(!m->gate == (strcmp(m->kind->key, "mole") != 0));
        if (m->gate) layers++;
        for (size_t e = 0; m->gate && e < 2; e++)
            for (size_t k = 0; k < STEPS; k++) {
                shape_t shape;
                size_t n;
                char *local = xasprintf("%s.mole.%s.local", m->name, experts.name[e]);
                char *global = xasprintf("%s.mole.%s.global", m->name, experts.name[e]);
                const double *D = row_of(k, local, &shape, &n), *G = row_of(k, global, &shape, &n);
                if (!D) { /* of the text, in the first step alone */
                    assert_true(k > 0 && strstr(m->name, "attn2.to_"));
                    assert_true(isnan(m->gate[e].global[k]) && !m->gate[e].local.cells[k]);
                } else {
                    D = row_of(k, local, &shape, &n);
                    check_figures(&m->gate[e].local_figures[k], D, n, local);
                    close_to(m->gate[e].global[k], G[0], 1, global, "gate");
                    const tiles_t *t = &m->gate[e].local;
                    assert_true(t->low[k] == 0 && t->high[k] == 1);
                    if (t->rows * t->columns == n)
                        for (size_t p = 0; p < n; p++)
                            assert_int_equal(level_of(t->cells[k][p]), lround(63 * D[p]));
                }
                free(local);
                free(global);
            }
        fixture_free(NULL);
    }
    assert_int_equal(layers, 192);
}

/* ---- words -------------------------------------------------------------------------------------------- */

/* A plain softmax: q (T,CH), k (S,CH); the share of tokens first .. first + count - 1, mean over all t. */
static double share_of(const double *q, const double *k, size_t T, size_t S, size_t CH,
                       size_t heads, size_t first, size_t count) {
    size_t D = CH / heads;
    double all = 0;
    for (size_t t = 0; t < T; t++)
        for (size_t h = 0; h < heads; h++) {
            double sum = 0, chosen = 0;
            for (size_t s = 0; s < S; s++) {
                double dot = 0;
                for (size_t d = 0; d < D; d++) dot += q[t * CH + h * D + d] * k[s * CH + h * D + d];
                double e = exp(dot / sqrt((double)D));
                sum += e;
                if (s >= first && s < first + count) chosen += e;
            }
            all += chosen / sum;
        }
    return all / (double)(T * heads);
}

static void words_are_a_softmax(void **state) {
    (void)state;
    size_t words = one.words.count, layers = 0;
    assert_int_equal(words, 4); /* "a portrait, waving" */
    for (size_t i = 0; i < one.watch.modules; i++) {
        const watch_module_t *m = &one.watch.module[i];
        assert_true(!m->share == !text_ends(m->name, ".attn2"));
        if (!m->share) continue;
        layers++;
        char *to_q = xasprintf("%s.to_q", m->name), *to_k = xasprintf("%s.to_k", m->name);
        for (size_t step = 0; step < STEPS; step++) {
            shape_t a, b;
            size_t n;
            const double *q = row_of(step, to_q, &a, &n), *k = row_of(step, to_k, &b, &n);
            double rest = 1;
            for (size_t w = 0; w < words; w++) {
                double truth = share_of(q, k, a.dim[1], b.dim[1], a.dim[2], 8,
                                        one.words.word[w].first, one.words.word[w].count);
                close_to(m->share[step * (words + 1) + w], truth, 1, m->name, "share");
                rest -= truth;
            }
            close_to(m->share[step * (words + 1) + words], rest, 1, m->name, "rest");
            const tiles_t *t =
                &m->word; /* the mean of a map is the share, where no cell is a mean */
            if (t->rows * t->columns == a.dim[1]) {
                double sum = 0;
                for (size_t p = 0; p < a.dim[1]; p++) sum += (double)level_of(t->cells[step][p]);
                close_to(sum / 63 * t->high[step] / (double)a.dim[1], m->share[step * (words + 1)],
                         t->high[step] * 8e3, m->name, "map");
            }
        }
        free(to_q);
        free(to_k);
        fixture_free(NULL);
    }
    assert_int_equal(layers, 16);
}

/* ---- bounds ------------------------------------------------------------------------------------------- */

/* Of 900 steps 50 are the slider's and eight have tiles, the first and the last among both. */
static void bounded(void **state) {
    (void)state;
    watch_t many;
    err_t err;
    pipeline_image_t image = one.run.image;
    image.steps = 900;
    watch_what_t what = {&one.pipeline, &image, &experts, &one.words};
    must(watch_open(&many, &what, NULL, &err), &err);
    assert_int_equal(many.steps, 50);
    assert_int_equal(many.step[0], 0);
    assert_int_equal(many.step[49], 899);
    assert_int_equal(many.kept, 8);
    assert_int_equal(many.kept_step[7], 49);
    assert_int_equal(many.side, 16);
    watch_close(&many);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        fixture_test(every_tap_is_there),   fixture_test(figures_are_the_traces),
        fixture_test(tiles_are_the_traces), fixture_test(gates_are_the_traces),
        fixture_test(words_are_a_softmax),  fixture_test(bounded),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
