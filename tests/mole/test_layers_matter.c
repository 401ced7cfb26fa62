/* All 192 layers of SD v1.5 are wrapped, each by its own tensors, and every one of these changes the picture:
 * per layer the six gate tensors (Phi row by row), the four factors and the two alphas, one at a time. */
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../pipeline/tiny.h"
#include "io/safetensors.h"

enum { LAYERS = 192, KEY = 256 };

/* ---- which layers ----------------------------------------------------------------------------------- */

/* Section 1.6 of the specification: every Linear and 1x1 convolution below a transformer container, nothing
 * else. 16 containers, 12 leaves each; '_' for '.', as in the authors' files. */
static const char *const containers[] = {
    "down_blocks_0_attentions_0", "down_blocks_0_attentions_1", "down_blocks_1_attentions_0",
    "down_blocks_1_attentions_1", "down_blocks_2_attentions_0", "down_blocks_2_attentions_1",
    "up_blocks_1_attentions_0",   "up_blocks_1_attentions_1",   "up_blocks_1_attentions_2",
    "up_blocks_2_attentions_0",   "up_blocks_2_attentions_1",   "up_blocks_2_attentions_2",
    "up_blocks_3_attentions_0",   "up_blocks_3_attentions_1",   "up_blocks_3_attentions_2",
    "mid_block_attentions_0",
};
static const char *const leaves[] = {
    "proj_in",
    "proj_out",
    "transformer_blocks_0_attn1_to_q",
    "transformer_blocks_0_attn1_to_k",
    "transformer_blocks_0_attn1_to_v",
    "transformer_blocks_0_attn1_to_out_0",
    "transformer_blocks_0_attn2_to_q",
    "transformer_blocks_0_attn2_to_k",
    "transformer_blocks_0_attn2_to_v",
    "transformer_blocks_0_attn2_to_out_0",
    "transformer_blocks_0_ff_net_0_proj",
    "transformer_blocks_0_ff_net_2",
};

/* A layer's name in the files: its module path in the UNet with '_' for '.'. */
static void flat_name(char out[KEY], const char *layer) {
    assert_true(strncmp(layer, "unet.", 5) == 0);
    snprintf(out, KEY, "%s", layer + 5);
    for (char *c = out; *c; c++)
        if (*c == '.') *c = '_';
}

static void the_layers_of_the_specification(void **state) {
    (void)state;
    pipeline_t pipeline = tiny_open(true);
    size_t count;
    const mole_site_t *site = unet_mole_sites(pipeline.unet, &count);
    assert_int_equal(count, LAYERS);
    assert_int_equal(pipeline.mole_layers, LAYERS);
    size_t convolutions = 0;
    for (size_t c = 0; c < 16; c++) {
        for (size_t k = 0; k < 12; k++) {
            char wanted[KEY], name[KEY];
            size_t found = 0;
            snprintf(wanted, sizeof wanted, "%s_%s", containers[c], leaves[k]);
            for (size_t i = 0; i < count; i++) {
                flat_name(name, site[i].layer->name);
                found +=
                    strcmp(name, wanted) == 0 && site[i].layer->mole == &pipeline.mole_layer[i];
            }
            if (found != 1) fail_msg("%s is wrapped %zu times", wanted, found);
        }
    }
    for (size_t i = 0; i < count; i++) convolutions += site[i].conv;
    assert_int_equal(convolutions, 32);
    pipeline_close(&pipeline);
}

/* ---- by which tensors ------------------------------------------------------------------------------- */

static st_file_t *open_file(const char *name) {
    char path[KEY];
    err_t err;
    st_file_t *file;
    snprintf(path, sizeof path, "golden/models/sd15-tiny-mole/%s.safetensors", name);
    if (st_open(&file, path, &err)) fail_msg("%s", err.text);
    return file;
}

/* The tensor of that key is what was loaded, number by number. */
static void holds(const st_file_t *file, const char *prefix, const char *layer, const char *suffix,
                  const real_t *loaded, size_t count) {
    char key[KEY * 2];
    snprintf(key, sizeof key, "%s%s%s", prefix, layer, suffix);
    const st_tensor_t *tensor = st_find(file, key);
    if (!tensor) fail_msg("%s has no %s", st_path(file), key);
    assert_int_equal(shape_count(tensor->shape), count);
    real_t *stored = fixture_bytes(count * sizeof *stored);
    dtype_to_real(stored, tensor->data, tensor->dtype, count);
    if (memcmp(stored, loaded, count * sizeof *stored) != 0) fail_msg("%s: other numbers", key);
}

static void holds_number(const st_file_t *file, const char *prefix, const char *layer,
                         const char *suffix, double loaded) {
    real_t number = (real_t)loaded;
    holds(file, prefix, layer, suffix, &number, 1);
}

static void each_layer_has_its_own_tensors(void **state) {
    (void)state;
    static const char lora[] = "lora_unet_", moe[] = "moe_lora_unet_";
    pipeline_t pipeline = tiny_open(true);
    st_file_t *expert[] = {open_file("face"), open_file("hand")}, *gates = open_file("gates");
    assert_int_equal(st_count(expert[0]), LAYERS * 3);
    assert_int_equal(st_count(expert[1]), LAYERS * 3);
    assert_int_equal(st_count(gates), LAYERS * 6);
    size_t count;
    const mole_site_t *site = unet_mole_sites(pipeline.unet, &count);
    for (size_t i = 0; i < count; i++) {
        const mole_layer_t *l = site[i].layer->mole;
        char name[KEY];
        flat_name(name, site[i].layer->name);
        holds(gates, moe, name, ".softmoe.Phi_1.weight", l->local_weight, 2 * l->d_in);
        holds(gates, moe, name, ".softmoe.Phi_1.bias", l->local_bias, 2);
        for (size_t k = 0; k < 2; k++) {
            const mole_expert_t *e = &l->expert[k];
            const char *weight = k ? ".softmoe.hand_scale.weight" : ".softmoe.face_scale.weight";
            const char *bias = k ? ".softmoe.hand_scale.bias" : ".softmoe.face_scale.bias";
            holds(gates, moe, name, weight, e->global_weight, l->d_out);
            holds_number(gates, moe, name, bias, e->global_bias);
            holds(expert[k], lora, name, ".lora_down.weight", e->down, e->rank * l->d_in);
            holds(expert[k], lora, name, ".lora_up.weight", e->up, l->d_out * e->rank);
            holds_number(expert[k], lora, name, ".alpha", e->scale * (double)e->rank);
        }
        fixture_free(NULL);
    }
    st_close(expert[0]);
    st_close(expert[1]);
    st_close(gates);
    pipeline_close(&pipeline);
}

/* ---- and each of them matters ----------------------------------------------------------------------- */

/* Latents of 1 x 9: 9, 5, 3, 2 tokens on the four levels, since the queries and keys of a single token mean
 * nothing to a softmax; two tokens of text. */
enum { H = 1, W = 9, N = 4 * H * W, S = 2 };

typedef struct {
    pipeline_t pipeline;
    run_t run;
    const real_t *sample, *text;
} subject_t;

static void forward(const subject_t *s, real_t *out) {
    arena_mark_t mark = arena_mark(s->run.arena);
    conditioning_t given = {.B = 1, .S = S, .encoder_hidden_states = s->text};
    context_kv_t context = unet_context(&s->run, s->pipeline.unet, &given);
    unet_forward(&s->run, s->pipeline.unet, out, s->sample, 500, &context, H, W);
    arena_release(s->run.arena, mark);
}

/* A copy of n numbers, each turned into 1.5 x + 0.1, or only those from `first` up to `end`. */
static const real_t *changed(const real_t *x, size_t n, size_t first, size_t end) {
    real_t *copy = fixture_bytes(n * sizeof *copy);
    for (size_t i = 0; i < n; i++)
        copy[i] = i >= first && i < end ? (real_t)1.5 * x[i] + (real_t)0.1 : x[i];
    return copy;
}

static const char *const what_name[] = {
    "Phi.weight, face",  "Phi.weight, hand",  "Phi.bias, face",  "Phi.bias, hand",
    "face_scale.weight", "hand_scale.weight", "face_scale.bias", "hand_scale.bias",
    "face down",         "hand down",         "face up",         "hand up",
    "face alpha",        "hand alpha"};
enum { WHATS = sizeof what_name / sizeof *what_name };

static void change(mole_layer_t *layer, size_t what) {
    size_t d = layer->d_in, d_out = layer->d_out, row = what % 2;
    mole_expert_t *e = &layer->expert[row];
    switch (what / 2) {
    case 0: layer->local_weight = changed(layer->local_weight, 2 * d, row * d, row * d + d); break;
    case 1: layer->local_bias = changed(layer->local_bias, 2, row, row + 1); break;
    case 2: e->global_weight = changed(e->global_weight, d_out, 0, d_out); break;
    case 3: e->global_bias = 1.5 * e->global_bias + 0.1; break;
    case 4: e->down = changed(e->down, e->rank * d, 0, e->rank * d); break;
    case 5: e->up = changed(e->up, d_out * e->rank, 0, d_out * e->rank); break;
    default: e->scale *= 1.5;
    }
}

/* max |a - b| / max |b|. */
static double distance(const real_t *a, const real_t *b) {
    double worst = 0, scale = 0;
    for (size_t i = 0; i < N; i++) {
        worst = fmax(worst, fabs((double)a[i] - (double)b[i]));
        scale = fmax(scale, fabs((double)b[i]));
    }
    return worst / scale;
}

/* One layer with one tensor changed: how far the UNet's output moves. The layer is then as it was. */
static double influence(const subject_t *s, size_t layer, size_t what, const real_t *truth) {
    mole_layer_t *l = &s->pipeline.mole_layer[layer], before = *l;
    mole_expert_t experts[2] = {l->expert[0], l->expert[1]};
    real_t out[N];
    pool_t pool = {0};
    change(l, what);
    if (s->run.form == MOLE_STACKED) mole_layer_prepare(l, &pool);
    forward(s, out);
    *l = before;
    memcpy(l->expert, experts, sizeof experts);
    pool_free(&pool);
    return distance(out, truth);
}

/* Every layer when step is 1, every third when it is 3 and so on. */
static void every_tensor_matters(mole_form_t form, size_t step) {
    subject_t s = {.pipeline = tiny_open(true), .run = {.matmul = MATMUL_BLAS, .form = form}};
    err_t err;
    omp_set_num_threads(1); /* some thousand passes of a few milliseconds */
    if (arena_create(&s.run.arena, 1 << 26, &err)) fail_msg("%s", err.text);
    size_t D = text_encoder_config(s.pipeline.text_encoder[0])->hidden_size, tried = 0, count;
    const mole_site_t *site = unet_mole_sites(s.pipeline.unet, &count);
    double *numbers = fixture_random(N + S * D, 11, 1);
    real_t *sample = malloc(N * sizeof *sample), *text = malloc(S * D * sizeof *text), truth[N],
           again[N];
    for (size_t i = 0; i < N; i++) sample[i] = (real_t)numbers[i];
    for (size_t i = 0; i < S * D; i++) text[i] = (real_t)numbers[N + i];
    s.sample = sample;
    s.text = text;
    forward(&s, truth);
    double least = INFINITY;
    const char *who = "", *which = "";
    for (size_t layer = 0; layer < count; layer += step) {
        for (size_t what = 0; what < WHATS; what++, tried++) {
            double moved = influence(&s, layer, what, truth);
            if (!(moved > (sizeof(real_t) == 8 ? 1e-10 : 0)))
                fail_msg("%s: a change of %s does not reach the output (%.1e)",
                         site[layer].layer->name, what_name[what], moved);
            if (moved < least)
                least = moved, who = site[layer].layer->name, which = what_name[what];
        }
        fixture_free(NULL);
    }
    forward(&s, again);
    assert_memory_equal(again, truth, sizeof truth); /* everything was put back */
    printf("%s: %zu changes seen, the least %.1e (%s, %s)\n",
           form == MOLE_DIRECT ? "direct" : "stacked", tried, least, who, which);
    free(sample);
    free(text);
    arena_destroy(s.run.arena);
    pipeline_close(&s.pipeline);
}

static void every_tensor_matters_direct(void **state) {
    (void)state;
    every_tensor_matters(MOLE_DIRECT, sizeof(real_t) == 8 ? 1 : 7);
}

static void every_tensor_matters_stacked(void **state) {
    (void)state;
    every_tensor_matters(MOLE_STACKED, sizeof(real_t) == 8 ? 5 : 7); /* every kind of leaf */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        fixture_test(the_layers_of_the_specification),
        fixture_test(each_layer_has_its_own_tensors),
        fixture_test(every_tensor_matters_direct),
        fixture_test(every_tensor_matters_stacked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
