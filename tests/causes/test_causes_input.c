/* Causes by what goes into a layer, or into the whole: another tensor, another row of the text, the numbers
 * of sizes in another order, two text encoders side by side, other weights; and by a run of the reference
 * with one thing changed. The networks between are made here: any function of what goes in tells whether it
 * was another. */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "causes_bench.h"

enum { B = 2, T = 6, C = 8, N = 5 };

static linear_t layer;
static module_t module;
static const double *weight, *bias;

static void make_layer(const char *name, size_t in, size_t out) {
    weight = fixture_random(in * out, 201, 1), bias = fixture_random(out, 202, 1);
    layer = (linear_t){name, in, out, fixture_reals(weight, in * out), fixture_reals(bias, out),
                       NULL, {0}};
    module = (module_t){name, MODULE_LINEAR, {.linear = &layer}};
}

static const double *map(const double *x, size_t rows) {
    double *y = bench_zeros(rows * layer.out), *size = bench_zeros(rows * layer.out);
    slow_linear(y, size, x, weight, bias, rows, layer.in, layer.out);
    return y;
}

static double *near(const double *x, size_t count, unsigned seed) {
    double *y = bench_copy(x, count);
    const double *noise = fixture_random(count, seed, 0.1);
    for (size_t i = 0; i < count; i++) y[i] += noise[i];
    return y;
}

/* ---- an earlier tensor ----------------------------------------------------------------------------- */

static const char *const before[] = {"unet.a.block.0", "step.001/unet.a.block.1", "unet.a.block.1",
                                     NULL};

static const char *earlier(void *context, size_t i) {
    (void)context;
    return i < 3 ? before[i] : NULL;
}

static void earlier_tensors(void **state) {
    (void)state;
    const double *x = fixture_random(B * T * C, 203, 1), *y = fixture_random(B * T * C, 204, 1);
    make_layer("unet.a.proj_out", C, N);
    bench_start(layer.name, SHAPE3(B, T, N), map(x, B * T));
    bench.layer = &module; /* what goes into it is not known */
    bench.earlier = earlier;
    bench_tap(before[0], SHAPE3(B, T, C), y);
    bench_tap(before[2], SHAPE3(B, T, C), x);
    bench_expect(map(y, B * T), "input", "given your unet.a.block.0");
    bench_expect(map(near(y, B * T * C, 205), B * T), "", NULL);
    const double *z = fixture_random(B * T * C, 222, 1); /* of another step */
    bench_tap(before[1], SHAPE3(B, T, C), z);
    bench_expect(map(z, B * T), "", NULL);
    bench.earlier = NULL;
    bench_expect(map(y, B * T), "", NULL);
}

/* A module that only hands on what it was given. */
static void copied_tensors(void **state) {
    (void)state;
    const double *x = fixture_random(B * T * C, 216, 1), *y = fixture_random(B * T * C, 217, 1);
    bench_start("unet.a.attention", SHAPE3(B, T, C), y);
    bench.earlier = earlier;
    bench_tap(before[0], SHAPE3(B, T, C), fixture_random(B * T * C, 218, 1));
    bench_tap(before[2], SHAPE3(B, T, C), x);
    bench_expect(x, "skipped", "that of your unet.a.block.1: what stands between is left out");
    bench_expect(near(x, B * T * C, 219), "", NULL);
}

/* ---- other weights --------------------------------------------------------------------------------- */

#define LAYERS "text_encoder.text_model.encoder.layers."

/* To bfloat16: the upper half of a float32, to nearest. */
static double bf16(double x) {
    float f = (float)x;
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    bits = (bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000;
    memcpy(&f, &bits, sizeof f);
    return (double)f;
}

/* The map of a layer of the model, its weight rounded where `shortened` says so. */
static double *mapped(const pipeline_t *p, const char *name, const double *x, bool shortened) {
    const linear_t *l = pipeline_module(p, name)->as.linear;
    double *w = fixture_doubles(l->weight, l->in * l->out);
    double *y = bench_zeros(B * T * l->out), *size = bench_zeros(B * T * l->out);
    for (size_t i = 0; shortened && i < l->in * l->out; i++) w[i] = bf16(w[i]);
    slow_linear(y, size, x, w, fixture_doubles(l->bias, l->out), B * T, l->in, l->out);
    return y;
}

/* Of a model whose weights are numbers of float32, not of bfloat16. */
static void other_weights(void **state) {
    (void)state;
    static const char *const names[] = {LAYERS "0.self_attn.k_proj", LAYERS "1.self_attn.q_proj"};
    pipeline_t pipeline = {.texts = 1};
    text_encoder_t *e;
    err_t err;
    assert_int_equal(text_encoder_open(&e, "synth:sd21-tiny/text_encoder", "text_encoder",
                                       TEXT_USE_LAST, false, &err),
                     0);
    pipeline.text_encoder[0] = e;
    const module_t *m = pipeline_module(&pipeline, names[0]);
    size_t D = m->as.linear->in;
    const double *x = fixture_random(B * T * D, 220, 1);
    bench_start(names[0], SHAPE3(B, T, D), mapped(&pipeline, names[0], x, false));
    bench_module(m, x, SHAPE3(B, T, D));
    bench.pipeline = &pipeline;
    bench_expect(mapped(&pipeline, names[1], x, false), "swapped-tensors",
                 "the layer has the weights of " LAYERS "1.self_attn.q_proj");
    bench_expect(mapped(&pipeline, names[0], x, true), "precision",
                 "the weight is rounded to bfloat16, and the rest is not");
    bench_expect(mapped(&pipeline, names[1], x, true), "swapped-tensors",
                 "near, not proven: the layer");
    text_encoder_close(e);
}

/* ---- the pooled text ------------------------------------------------------------------------------- */

static void pooled_rows(void **state) {
    (void)state;
    const double *normed = fixture_random(B * T * C, 206, 1),
                 *raw = fixture_random(B * T * C, 207, 1);
    double right[B * C], last[B * C], first[B * C], bare[B * C];
    for (size_t i = 0; i < B * C; i++) {
        size_t text = i / C * T * C, end = i < C ? 2 : 4;
        right[i] = normed[text + end * C + i % C];
        bare[i] = raw[text + end * C + i % C];
        last[i] = normed[text + (T - 1) * C + i % C];
        first[i] = normed[text + i % C];
    }
    make_layer("text_encoder_2.text_projection", C, N);
    bench_start(layer.name, SHAPE2(B, N), map(right, B));
    bench.layer = &module;
    bench_tap("text_encoder_2.text_model.final_layer_norm", SHAPE3(B, T, C), normed);
    bench_tap("text_encoder_2.text_model.encoder.layers.1", SHAPE3(B, T, C), raw);
    bench_expect(map(last, B), "shift",
                 "last token (token 5 of the first text); the end token is due (token 2)");
    bench_expect(map(first, B), "shift", "the first token");
    bench_expect(map(bare, B), "norm-missing", "in front of the final LayerNorm, of token 2");
    bench_expect(map(near(right, B * C, 208), B), "", NULL);
}

/* ---- XL's added embedding -------------------------------------------------------------------------- */

enum { ROWS = 6 * B, DIM = 16 };

static double *sinusoids(const double *n, bool flip) {
    double *y = bench_zeros(ROWS * DIM);
    for (size_t i = 0; i < ROWS * DIM; i++) {
        size_t j = i % DIM;
        double angle = n[i / DIM % 6] * exp(-log(10000) * (double)(j % (DIM / 2)) / (DIM / 2));
        y[i] = (j < DIM / 2) == flip ? cos(angle) : sin(angle);
    }
    return y;
}

static void six_numbers(void **state) {
    (void)state;
    const double right[] = {1023, 768, 17, 33, 640, 896}, turned[] = {768, 1023, 33, 17, 896, 640};
    const double order[] = {640, 896, 17, 33, 1023, 768}, both[] = {33, 17, 768, 1023, 896, 640};
    const double other[] = {1023, 768, 0, 0, 640, 896}, broken[] = {1023.5, 768, 17, 33, 640, 896};
    for (int flip = 0; flip < 2; flip++) {
        bench_start("unet.add_time_proj", SHAPE2(ROWS, DIM), sinusoids(right, flip));
        bench_expect(sinusoids(turned, flip), "swapped-halves", "the width (left) stands first");
        bench_expect(sinusoids(order, flip), "swapped-halves", "order target, crop, original; it");
        bench_expect(sinusoids(both, flip), "swapped-halves",
                     "order crop, original, target, width (left) first; it");
        bench_expect(sinusoids(other, flip), "time", "0 for 17, 0 for 33, 0 for 17, 0 for 33");
        bench_expect(sinusoids(broken, flip), "", NULL);
    }
}

static void added_parts(void **state) {
    (void)state;
    enum { OWN = 3, K = C + OWN };
    const double *x = fixture_random(B * K, 209, 1), *t = fixture_random(B * C, 210, 1);
    const double *added = fixture_random(B * C, 211, 1);
    double y[B * K], bare[B * K], alone[B * K], numbers[B * OWN], silu[3][B * C];
    for (size_t i = 0; i < B * K; i++) {
        size_t b = i / K, k = i % K;
        if (k >= C) numbers[b * OWN + k - C] = x[i];
        y[i] = x[b * K + (k < OWN ? k + C : k - OWN)];
        bare[i] = k < C ? x[i] : 0;
        alone[i] = k < C ? 0 : x[i];
    }
    make_layer("unet.add_embedding.linear_1", K, N);
    bench_start(layer.name, SHAPE2(B, N), map(x, B));
    bench_module(&module, x, SHAPE2(B, K));
    bench.layer = &module;
    bench_tap("unet.add_time_proj", SHAPE2(B, OWN), numbers);
    bench_expect(map(y, B), "swapped-halves", "in front of the pooled text");
    bench_expect(map(bare, B), "input", "zeros stand for the embedded numbers");
    bench_expect(map(alone, B), "input", "zeros stand for the pooled text");
    for (size_t i = 0; i < B * C; i++) {
        double z[] = {t[i] + added[i], t[i], added[i]};
        for (int k = 0; k < 3; k++) silu[k][i] = z[k] / (1 + exp(-z[k]));
    }
    make_layer("unet.down_blocks.0.resnets.0.time_emb_proj", C, N);
    bench_start(layer.name, SHAPE2(B, N), map(silu[0], B));
    bench_module(&module, silu[0], SHAPE2(B, C));
    bench.layer = &module;
    bench_tap("unet.time_embedding", SHAPE2(B, C), t);
    bench_tap("unet.add_embedding", SHAPE2(B, C), added);
    bench_expect(map(silu[1], B), "input", "is not added to the timestep's");
    bench_expect(map(silu[2], B), "input", "the added one stands alone");
    bench_expect(map(near(silu[0], B * C, 212), B), "", NULL);
}

/* ---- two text encoders ----------------------------------------------------------------------------- */

static void side_by_side(void **state) {
    (void)state;
    enum { LONG = 24, FIRST = 6, D = 14, TEXT = LONG * D };
    const double *x = fixture_random(B * TEXT, 213, 1), *gain = fixture_random(FIRST, 214, 1);
    double right[B * TEXT], y[B * TEXT], encoded[B * TEXT];
    for (size_t i = 0; i < B * TEXT; i++) right[i] = i < TEXT ? 0 : x[i];
    bench_start("prompt_embeds", SHAPE3(B, LONG, D), right);
    for (size_t i = 0; i < B * TEXT; i++) y[i] = right[i - i % D + (i % D + FIRST) % D];
    bench_expect(y, "swapped-halves", "the last 8 channels stand in front of the first 6");
    for (size_t r = 0; r < B * LONG; r++) {
        double mean = 0, square = 0;
        const double *row = right + r * D;
        memcpy(y + r * D, row, D * sizeof *y);
        for (size_t c = 0; c < FIRST; c++) mean += row[c] / FIRST;
        for (size_t c = 0; c < FIRST; c++) square += (row[c] - mean) * (row[c] - mean) / FIRST;
        for (size_t c = 0; c < FIRST && r >= LONG; c++)
            y[r * D + c] = (row[c] - mean) / sqrt(square + 1e-5) * gain[c] + gain[(c + 1) % FIRST];
    }
    bench_expect(y, "norm-extra", "channels 0 to 5 are the expected ones through a LayerNorm");
    for (size_t i = 0; i < B * TEXT; i++) y[i] = right[i] * (i % D < FIRST ? fabs(right[i]) : 1);
    bench_expect(y, "localised", NULL);
    for (size_t i = 0; i < B * TEXT; i++)
        encoded[i] = i < D ? right[TEXT + i] : i < TEXT ? x[i] : right[i];
    bench_exactly(encoded); /* the tokens of every text begin with the same one */
    assert_string_equal(bench_text(),
                        "text 1 is due as zeros, as a negative prompt that is not given is here; "
                        "yours is an encoded text: its first token has the vector that every "
                        "text's has");
    encoded[3] += 1;
    bench_exactly(encoded);
    assert_string_equal(bench_text(), "only sample 0 of prompt_embeds is wrong");
}

/* ---- a run of the reference with one change -------------------------------------------------------- */

/* What comes by in that run, and what it makes of it: numbers to which every number that went in has
 * contributed. */
static struct {
    const char *name;
    shape_t shape;
    const double *x;
    size_t runs;
} passing;

static void network(double *out, const double *x, size_t count) {
    for (size_t i = 0; i < bench.count; i++) {
        out[i] = 0;
        for (size_t j = 0; j < count; j++) out[i] += sin((double)(i * 7 + j * 3 + 1)) * x[j];
        out[i] = tanh(out[i] / 4) + cos((double)i);
    }
}

static bool again(void *context, const culprit_edit_t *edit, double *out) {
    (void)context;
    if (strcmp(edit->name, passing.name) != 0) return false;
    size_t count = shape_count(passing.shape);
    double *x = bench_copy(passing.x, count);
    edit->change(edit->who, x, passing.shape);
    network(out, x, count);
    passing.runs++;
    return true;
}

/* The culprit of the run in which x comes by as `name`. */
static void start_run(const char *culprit, shape_t shape, const char *name, shape_t of,
                      const double *x) {
    double *expected = bench_zeros(shape_count(shape));
    bench.count = shape_count(shape);
    network(expected, x, shape_count(of));
    bench_start(culprit, shape, expected);
    bench.again = again;
    passing.name = name, passing.shape = of, passing.x = x, passing.runs = 0;
}

static const double *made(const double *x) {
    double *y = bench_zeros(bench.count);
    network(y, x, shape_count(passing.shape));
    return y;
}

static const double *time_of(double t) {
    double *y = bench_zeros(2 * DIM);
    for (size_t i = 0; i < 2 * DIM; i++) {
        double angle = t * exp(-log(10000) * (double)(i % (DIM / 2)) / (DIM / 2));
        y[i] = i % DIM < DIM / 2 ? cos(angle) : sin(angle);
    }
    return y;
}

static void timesteps(void **state) {
    (void)state;
    ddim_plan_t plan;
    err_t err;
    assert_int_equal(ddim_plan(&plan, &ddim_config_authors, 5, &err), 0);
    start_run("step.001/noise_pred", SHAPE4(2, 4, 3, 5), "step.001/unet.time_proj", SHAPE2(2, DIM),
              time_of(601));
    bench.ddim = &plan, bench.step = 1;
    bench_expect(made(time_of(600)), "schedule", "600 (of steps_offset 0); it should be 601");
    bench_expect(made(time_of(799)), "schedule", "799 (of timestep_spacing trailing); it");
    bench_expect(made(time_of(749)), "schedule", "749 (of timestep_spacing linspace); it");
    bench_expect(made(time_of(0.601)), "schedule", "divided by the number of training steps");
    bench_expect(made(time_of(1)), "schedule", "the number of the step");
    bench_expect(made(time_of(401)), "schedule", "that of the next step");
    bench_expect(made(time_of(801)), "schedule", "that of the step before");
    bench_expect(made(time_of(613)), "", NULL);
    start_run("step.000/noise_pred", SHAPE4(2, 4, 3, 5), "step.000/unet.time_proj", SHAPE2(2, DIM),
              time_of(801));
    bench.ddim = &plan;
    bench_expect(made(time_of(999)), "schedule",
                 "(of timestep_spacing trailing or of timestep_spacing linspace)");
    bench_tap("step.000/unet.time_proj", SHAPE2(2, DIM), time_of(801)); /* dumped, and right */
    passing.runs = 0;
    bench_expect(made(time_of(800)), "", NULL);
    assert_int_equal(passing.runs, 0);
    ddim_free(&plan);
}

/* Sinusoids of six numbers for each of two pictures. */
static const double *sizes_of(const double n[6]) {
    double *y = bench_zeros(12 * DIM);
    for (size_t i = 0; i < 12 * DIM; i++) {
        size_t k = i % DIM;
        double angle = n[i / DIM % 6] * exp(-log(10000) * (double)(k % (DIM / 2)) / (DIM / 2));
        y[i] = k < DIM / 2 ? cos(angle) : sin(angle);
    }
    return y;
}

/* XL's six numbers, of a UNet whose blocks alone were dumped. */
static void sizes(void **state) {
    (void)state;
    const double right[] = {1023, 768, 0, 100, 2049, 769}, eight[] = {1024, 768, 0, 100, 2048, 768},
                 eleven[] = {1023, 768, 0, 100, 2048, 769},
                 turned[] = {768, 1023, 100, 0, 769, 2049},
                 other[] = {1022, 768, 0, 100, 2049, 769};
    start_run("unet.down_blocks.1.resnets.0", SHAPE4(2, 4, 3, 5), "unet.add_time_proj",
              SHAPE2(12, DIM), sizes_of(right));
    bench_expect(made(sizes_of(eight)), "time",
                 "to bfloat16 before they are embedded: 1023 becomes 1024");
    bench_expect(made(sizes_of(eleven)), "time",
                 "to float16 before they are embedded: 2049 becomes 2048");
    bench_expect(
        made(sizes_of(turned)), "swapped-halves",
        "width first (left first) in each pair; it should be height (top) first: 1023 becomes 768");
    bench_expect(made(sizes_of(other)), "", NULL);
    bench_tap("unet.add_time_proj", SHAPE2(12, DIM), sizes_of(right)); /* dumped, and right */
    passing.runs = 0;
    bench_expect(made(sizes_of(eight)), "", NULL);
    assert_int_equal(passing.runs, 0);
}

/* Euler's, divided by 2.5 before the UNet. */
static void bare_latents(void **state) {
    (void)state;
    enum { COUNT = 4 * 3 * 2 };
    const double *x = fixture_random(COUNT, 221, 5);
    double scaled[2 * COUNT], bare[2 * COUNT], other[2 * COUNT];
    for (size_t i = 0; i < 2 * COUNT; i++) {
        bare[i] = x[i % COUNT];
        scaled[i] = x[i % COUNT] / 2.5;
        other[i] = x[i % COUNT] / 2.4;
    }
    start_run("step.001/noise_pred", SHAPE4(2, 4, 3, 2), "step.001/unet.conv_in.in",
              SHAPE4(2, 4, 3, 2), scaled);
    bench_tap("step.000/latents", SHAPE4(1, 4, 3, 2), x);
    bench_expect(made(bare), "gain", "as they are, 2.5 times too large");
    bench_expect(made(other), "", NULL);
}

static void latents(void **state) {
    (void)state;
    enum { COUNT = 4 * 3 * 2 };
    static const struct {
        double factor;
        const char *part;
    } ways[] = {{0.18215, "are not divided by the scaling factor, 0.18215"},
                {0.18215 * 0.18215, "are multiplied by"},
                {1 / 0.18215, "twice"},
                {0.18215 / 0.13025, "divided by 0.13025, SDXL's factor; it should be 0.18215"}};
    const double *x = fixture_random(COUNT, 215, 0.5);
    pipeline_t pipeline = {0};
    double y[COUNT];
    err_t err;
    assert_int_equal(vae_open(&pipeline.vae, "golden/models/sd15-tiny/vae", false, &err), 0);
    start_run("vae.decoder", SHAPE4(1, 3, 4, 4), "vae.post_quant_conv.in", SHAPE4(1, 4, 3, 2), x);
    bench.pipeline = &pipeline;
    for (size_t w = 0; w < sizeof ways / sizeof *ways; w++) {
        for (size_t i = 0; i < COUNT; i++) y[i] = ways[w].factor * x[i];
        bench_expect(made(y), "gain", ways[w].part);
    }
    for (size_t i = 0; i < COUNT; i++) y[i] = 0.9 * x[i];
    bench_expect(made(y), "", NULL);
    vae_close(pipeline.vae);
}

/* The vectors of tokens, from the tables of the file. */
static const double *vectors(const text_encoder_t *e, const int32_t ids[2][T]) {
    size_t D = text_encoder_config(e)->hidden_size;
    double *x = bench_zeros(2 * T * D);
    const real_t *token, *position;
    text_encoder_tables(e, &token, &position);
    for (size_t i = 0; i < 2 * T * D; i++) {
        size_t t = i / D % T, id = (size_t)ids[i / D / T][t];
        x[i] = (double)token[id * D + i % D] + (double)position[t * D + i % D];
    }
    return x;
}

static void tokens(void **state) {
    (void)state;
    pipeline_t pipeline = {.texts = 1};
    text_encoder_t *e;
    err_t err;
    assert_int_equal(text_encoder_open(&e, "golden/models/sd15-tiny/text_encoder", "text_encoder",
                                       TEXT_USE_LAST, false, &err),
                     0);
    pipeline.text_encoder[0] = e;
    int32_t end = (int32_t)text_encoder_config(e)->vocab_size - 1, begin = end - 1;
    for (int zero = 0; zero < 2; zero++) { /* padded with the end token, and with 0 */
        int32_t p = zero ? 0 : end, q = zero ? end : 0;
        const int32_t right[2][T] = {{begin, 5, end, p, p, p}, {begin, 5, 9, 7, end, p}};
        const int32_t other[2][T] = {{begin, 5, end, q, q, q}, {begin, 5, 9, 7, end, q}};
        const int32_t empty[2][T] = {{begin, 5, end, p, p, p}, {begin, end, p, p, p, p}};
        const int32_t words[2][T] = {{begin, 6, end, p, p, p}, {begin, 5, 9, 7, end, p}};
        size_t D = text_encoder_config(e)->hidden_size;
        start_run("prompt_embeds", SHAPE3(2, T, 8), "text_encoder.text_model.embeddings",
                  SHAPE3(2, T, D), vectors(e, right));
        bench.pipeline = &pipeline;
        char part[96];
        snprintf(part, sizeof part, "padded with token %d; it should be %d", q, p);
        bench_expect(made(vectors(e, other)), "padding", part);
        bench_expect(made(vectors(e, empty)), "prompt", "the empty text as text 2 of 2");
        const int32_t bare[2][T] = {{5, end, p, p, p, p}, {5, 9, 7, end, p, p}};
        const int32_t open[2][T] = {{begin, 5, p, p, p, p}, {begin, 5, 9, 7, p, p}};
        bench_expect(made(vectors(e, bare)), "prompt",
                     "the texts for text_encoder have no begin token");
        if (p != end) bench_expect(made(vectors(e, open)), "prompt", "have no end token");
        bench_expect(made(vectors(e, words)), "", NULL);
    }
    text_encoder_close(e);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        bench_test(copied_tensors), bench_test(other_weights),   bench_test(bare_latents),
        bench_test(sizes),          bench_test(earlier_tensors), bench_test(pooled_rows),
        bench_test(six_numbers),    bench_test(added_parts),     bench_test(side_by_side),
        bench_test(timesteps),      bench_test(latents),         bench_test(tokens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
