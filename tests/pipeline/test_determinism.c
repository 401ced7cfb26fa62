/* What does not change a picture: running it again, the number of threads, who is watching, what else is in
 * the batch. Bit for bit where that is promised: with both ways of multiplying (matmul.c cuts its work into
 * tiles that do not depend on the number of threads, and holds BLAS to one thread each). */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "../scratch.h"
#include "io/trace.h"
#include "pipeline/gate_maps.h"
#include "sampler/noise.h"
#include "tiny.h"

static const bool is_f64 = sizeof(real_t) == sizeof(double);
static const char *const way_name[] = {"blas", "plain"};
static const matmul_way_t ways[] = {MATMUL_BLAS, MATMUL_PLAIN};

/* 2 x 72 tokens and pixels: more than one tile of a product and of a convolution, shared among threads. */
static void runs_and_threads(void **state) {
    (void)state;
    pipeline_t pipeline = tiny_open(true);
    for (int way = 0; way < 2; way++) {
        for (int form = 0; form < 2; form++) {
            tiny_run_t run = tiny_usual();
            run.run.matmul = ways[way];
            run.run.form = form ? MOLE_DIRECT : MOLE_STACKED;
            run.image.width = 72;
            run.image.height = 64;
            run.image.steps = 1;
            run.threads = 1;
            tiny_picture_t first = tiny_picture(&pipeline, &run);
            for (int threads = way && form ? 2 : 1; threads <= 3; threads++) {
                char what[64];
                snprintf(what, sizeof what, "%s, %s, %d threads", way_name[way],
                         form ? "direct" : "stacked", threads);
                run.threads = threads;
                tiny_picture_t again = tiny_picture(&pipeline, &run);
                tiny_same(&again, &first, what);
            }
        }
    }
    pipeline_close(&pipeline);
}

/* The comparison can fail: another seed, another prompt, another way of multiplying. */
static void other_runs_differ(void **state) {
    (void)state;
    pipeline_t pipeline = tiny_open(true);
    tiny_run_t usual = tiny_usual(), seed = usual, prompt = usual, negative = usual, plain = usual;
    seed.image.seed++;
    prompt.prompt = "a portrait, waving.";
    negative.negative = "";
    plain.run.matmul = MATMUL_PLAIN;
    tiny_picture_t first = tiny_picture(&pipeline, &usual), other = tiny_picture(&pipeline, &seed);
    assert_true(tiny_distance(&other, &first) > 0.1);
    other = tiny_picture(&pipeline, &prompt);
    assert_true(tiny_distance(&other, &first) > 1e-4);
    other = tiny_picture(&pipeline, &negative);
    assert_true(tiny_distance(&other, &first) > 1e-4);
    other = tiny_picture(&pipeline, &plain);
    assert_true(tiny_distance(&other, &first) > 0);
    pipeline_close(&pipeline);
}

/* A trace, maps of the gates, or both. */
static void watching(void **state) {
    (void)state;
    pipeline_t pipeline = tiny_open(true);
    const mole_files_t files = {.experts = 2, .name = {"face", "hand"}};
    tiny_run_t usual = tiny_usual();
    for (int form = 0; form < 2; form++) {
        usual.run.form = form ? MOLE_DIRECT : MOLE_STACKED;
        usual.run.sink = NULL;
        tiny_picture_t alone = tiny_picture(&pipeline, &usual);
        for (int how = form ? 1 : 3; how < 4; how++) {
            err_t err = {""};
            trace_t *trace = NULL;
            gate_maps_t *maps = NULL;
            usual.run.sink = NULL;
            if (how & 1) {
                if (trace_open(&trace, scratch_path("trace"), false, &err))
                    fail_msg("%s", err.text);
                usual.run.sink = trace_sink(trace);
            }
            if (how & 2) {
                maps = gate_maps_new(&files, 3, 4, usual.run.sink);
                usual.run.sink = gate_maps_sink(maps);
            }
            tiny_picture_t seen = tiny_picture(&pipeline, &usual);
            tiny_same(&seen, &alone, how == 1 ? "traced" : how == 2 ? "with maps" : "with both");
            if (trace) assert_true(trace_count(trace) > 1000);
            if (trace_close(trace, true, &err)) fail_msg("%s", err.text);
            gate_maps_free(maps);
        }
    }
    pipeline_close(&pipeline);
}

/* The cheaper form is the definition: in float64 a few roundings per layer apart, five steps later still. */
static void forms_agree(void **state) {
    (void)state;
    pipeline_t pipeline = tiny_open(true);
    tiny_run_t usual = tiny_usual();
    usual.image.steps = 5;
    tiny_picture_t stacked = tiny_picture(&pipeline, &usual);
    usual.run.form = MOLE_DIRECT;
    tiny_picture_t direct = tiny_picture(&pipeline, &usual);
    double distance = tiny_distance(&stacked, &direct);
    printf("stacked and direct, %s: %.2e\n", REAL_NAME, distance);
    assert_true(distance <= (is_f64 ? 1e-12 : 1e-4));
    assert_true(distance > 0); /* two ways indeed */
    pipeline_close(&pipeline);
}

/* Pictures of one prompt share its text and the keys and values that the first of them computed: each is
 * what it is alone. */
static void several_pictures(void **state) {
    (void)state;
    pipeline_t pipeline = tiny_open(true);
    for (int way = 0; way < 2; way++) {
        for (double eta = way ? 0.5 : 0; eta < 1; eta += 0.5) {
            tiny_run_t usual = tiny_usual();
            usual.run.matmul = ways[way];
            usual.image.eta = eta;
            run_t run;
            pipeline_text_t text;
            tiny_start(&pipeline, &usual, &run, &text);
            for (uint64_t i = 0; i < 2; i++) {
                usual.image.seed = 10 + i;
                tiny_picture_t together = tiny_draw(&pipeline, &usual, &run, &text);
                assert_true(text.context.ready);
                tiny_picture_t alone = tiny_picture(&pipeline, &usual);
                tiny_same(&together, &alone, "one of several pictures");
            }
            arena_destroy(run.arena);
        }
    }
    pipeline_close(&pipeline);
}

/* One row of the guidance batch alone: out (C,H,W). */
static void forward_row(const pipeline_t *p, const run_t *run, const pipeline_text_t *text,
                        size_t row, size_t rows, real_t *out, const real_t *sample, size_t H,
                        size_t W) {
    size_t S = text->S, D = text_encoder_config(p->text_encoder[0])->hidden_size;
    arena_mark_t mark = arena_mark(run->arena);
    conditioning_t given = {.B = rows, .S = S, .encoder_hidden_states = text->embeds + row * S * D};
    context_kv_t context = unet_context(run, p->unet, &given);
    unet_forward(run, p->unet, out, sample, 500, &context, H, W);
    arena_release(run->arena, mark);
}

static void guidance_rows(void **state) {
    (void)state;
    enum { H = 6, W = 8, N = 4 * H * W };
    pipeline_t pipeline = tiny_open(true);
    for (int way = 0; way < 2; way++) {
        tiny_run_t usual = tiny_usual();
        usual.run.matmul = ways[way];
        run_t run;
        pipeline_text_t text;
        tiny_start(&pipeline, &usual, &run, &text);
        real_t *sample = fixture_reals(fixture_random(N, 7, 1), N),
               *two = fixture_bytes(2 * N * sizeof *two);
        memcpy(two, sample, N * sizeof *two);
        memcpy(two + N, sample, N * sizeof *two);
        real_t *both = fixture_blank(2 * N), *one = fixture_blank(2 * N);
        forward_row(&pipeline, &run, &text, 0, 2, both, two, H, W);
        for (size_t row = 0; row < 2; row++)
            forward_row(&pipeline, &run, &text, row, 1, one + row * N, sample, H, W);
        double worst = 0, scale = 0, apart = 0;
        for (size_t i = 0; i < 2 * N; i++) {
            worst = fmax(worst, fabs((double)both[i] - (double)one[i]));
            scale = fmax(scale, fabs((double)both[i]));
            if (i < N) apart = fmax(apart, fabs((double)both[i] - (double)both[i + N]));
        }
        printf("rows together and one by one, %s, %s: %.2e\n", REAL_NAME, way_name[way],
               worst / scale);
        assert_true(worst / scale <= (is_f64 ? 1e-12 : 1e-4));
        if (ways[way] == MATMUL_PLAIN) assert_memory_equal(both, one, 2 * N * sizeof *both);
        assert_true(apart / scale > 1e-3); /* the rows are two prompts */
        arena_destroy(run.arena);
    }
    pipeline_close(&pipeline);
}

/* Starting from the numbers that the seed would give is the run of that seed. */
static void given_latents(void **state) {
    (void)state;
    pipeline_t pipeline = tiny_open(false);
    tiny_run_t usual = tiny_usual();
    tiny_picture_t drawn = tiny_picture(&pipeline, &usual);
    size_t n = drawn.latents;
    float *numbers = fixture_bytes(n * sizeof *numbers);
    real_t *latents = fixture_bytes(n * sizeof *latents);
    generator_t generator;
    noise_seed(&generator, usual.image.seed);
    noise_randn(numbers, n, &generator);
    for (size_t i = 0; i < n; i++) latents[i] = (real_t)numbers[i];
    usual.image.latents = latents;
    usual.image.seed = 99; /* plays no part then */
    tiny_picture_t given = tiny_picture(&pipeline, &usual);
    tiny_same(&given, &drawn, "given latents");
    pipeline_close(&pipeline);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        fixture_test(runs_and_threads), fixture_test(other_runs_differ),
        fixture_test(watching),         fixture_test(forms_agree),
        fixture_test(several_pictures), fixture_test(guidance_rows),
        fixture_test(given_latents),
    };
    return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
