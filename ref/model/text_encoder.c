/* text_encoder.c - see text_encoder.h. */
#include "model/text_encoder.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/config_keys.h"

typedef struct {
    const char *name, *name_attn, *name_act, *name_mlp;
    norm_t layer_norm1, layer_norm2;
    linear_t q_proj, k_proj, v_proj, out_proj, fc1, fc2;
} text_layer_t;

struct text_encoder {
    text_encoder_config_t config;
    text_use_t use;
    size_t layers; /* that run */
    weights_t *weights;
    pool_t pool;
    modules_t modules;
    const char *name_embeddings;
    const real_t *token_embedding, *position_embedding;
    text_layer_t *layer;
    norm_t final_layer_norm;
    linear_t text_projection;
};

static int read_keys(json_node_t node, text_encoder_config_t *c, err_t *err) {
    static const char *const acts[] = {"quick_gelu", "gelu", NULL};
    size_t act = 0;
    int64_t eos;
    if (json_get_size(node, "vocab_size", 1, 1 << 24, &c->vocab_size, err) ||
        json_get_size(node, "hidden_size", 1, 1 << 16, &c->hidden_size, err) ||
        json_get_size(node, "intermediate_size", 1, 1 << 20, &c->intermediate_size, err) ||
        json_get_size(node, "num_hidden_layers", 1, 1000, &c->num_hidden_layers, err) ||
        json_get_size(node, "num_attention_heads", 1, 1 << 16, &c->num_attention_heads, err) ||
        json_get_size_or(node, "max_position_embeddings", 0, 1 << 20, 77,
                         &c->max_position_embeddings, err) ||
        json_get_double_or(node, "layer_norm_eps", 1e-5, &c->layer_norm_eps, err) ||
        json_get_size_or(node, "projection_dim", 1, 1 << 16, 512, &c->projection_dim, err) ||
        json_get_int_or(node, "eos_token_id", 0, INT32_MAX, 49407, &eos, err) ||
        json_get_choice(node, "hidden_act", acts, &act, err))
        return -1;
    c->eos_token_id = (int32_t)eos;
    c->hidden_act = act == 0 ? ACT_QUICK_GELU : ACT_GELU;
    if (!(c->layer_norm_eps > 0))
        return json_node_error(node, "layer_norm_eps", err, "expected a number above 0");
    if (c->hidden_size % c->num_attention_heads)
        return json_node_error(node, "num_attention_heads", err,
                               "expected a divisor of hidden_size (%zu), found %zu", c->hidden_size,
                               c->num_attention_heads);
    return 0;
}

static int config_read(text_encoder_config_t *c, text_use_t use, const char *folder, err_t *err) {
    json_file_t *file;
    if (config_open(&file, folder, "config.json", config_keys_text_encoder, c->unknown_keys, err))
        return -1;
    json_node_t node = json_file_root(file);
    int failed = read_keys(node, c, err);
    if (!failed && c->num_hidden_layers <= use.skip)
        failed =
            json_node_error(node, "num_hidden_layers", err, "expected more than %zu, found %zu",
                            use.skip, c->num_hidden_layers);
    json_file_close(file);
    return failed ? -1 : 0;
}

static void bind_layer(binder_t *b, text_layer_t *l, const text_encoder_config_t *c, size_t index) {
    const char *at = bind_name(b, "text_model.encoder.layers.%zu", index);
    size_t D = c->hidden_size;
    l->name = bind_tap(b, at);
    l->name_attn = bind_name(b, "%s.self_attn", l->name);
    l->name_mlp = bind_name(b, "%s.mlp", l->name);
    l->name_act = bind_name(b, "%s.mlp.activation_fn", l->name);
    bind_norm(b, &l->layer_norm1, D, 0, c->layer_norm_eps, bind_name(b, "%s.layer_norm1", at));
    bind_linear(b, &l->q_proj, D, D, true, bind_name(b, "%s.self_attn.q_proj", at));
    bind_linear(b, &l->k_proj, D, D, true, bind_name(b, "%s.self_attn.k_proj", at));
    bind_linear(b, &l->v_proj, D, D, true, bind_name(b, "%s.self_attn.v_proj", at));
    bind_linear(b, &l->out_proj, D, D, true, bind_name(b, "%s.self_attn.out_proj", at));
    bind_norm(b, &l->layer_norm2, D, 0, c->layer_norm_eps, bind_name(b, "%s.layer_norm2", at));
    bind_linear(b, &l->fc1, D, c->intermediate_size, true, bind_name(b, "%s.mlp.fc1", at));
    bind_linear(b, &l->fc2, c->intermediate_size, D, true, bind_name(b, "%s.mlp.fc2", at));
}

/* What of the checkpoint nothing of `use` needs. */
static void ignore_unused(text_encoder_t *e) {
    for (size_t i = e->layers; i < e->config.num_hidden_layers; i++) {
        char pattern[64];
        snprintf(pattern, sizeof pattern, "*encoder.layers.%zu.*", i);
        weights_ignore(e->weights, pattern);
    }
    if (!e->use.final_norm && !e->use.pooled) weights_ignore(e->weights, "*final_layer_norm.*");
}

static void bind_all(binder_t *b, text_encoder_t *e) {
    const text_encoder_config_t *c = &e->config;
    size_t D = c->hidden_size;
    e->name_embeddings = bind_tap(b, "text_model.embeddings");
    bind_tensor(b, &e->token_embedding, SHAPE2(c->vocab_size, D),
                "text_model.embeddings.token_embedding.weight");
    bind_tensor(b, &e->position_embedding, SHAPE2(c->max_position_embeddings, D),
                "text_model.embeddings.position_embedding.weight");
    e->layer = pool_alloc(&e->pool, e->layers, sizeof *e->layer);
    for (size_t i = 0; i < e->layers; i++) bind_layer(b, &e->layer[i], c, i);
    if (e->use.final_norm || e->use.pooled)
        bind_norm(b, &e->final_layer_norm, D, 0, c->layer_norm_eps, "text_model.final_layer_norm");
    if (e->use.pooled)
        bind_linear(b, &e->text_projection, D, c->projection_dim, false, "text_projection");
}

int text_encoder_open(text_encoder_t **encoder, const char *folder, const char *component,
                      text_use_t use, bool allow_unused, err_t *err) {
    text_encoder_t *e = xcalloc(1, sizeof *e);
    *encoder = e;
    if (config_read(&e->config, use, folder, err) ||
        weights_open(&e->weights, folder, "model", err))
        goto fail;
    e->use = use;
    e->layers = e->config.num_hidden_layers - (use.pooled ? 0 : use.skip);
    /* Older checkpoints carry the positions 0..76 as a buffer; newer transformers drop "text_model.". */
    weights_ignore(e->weights, "*position_ids");
    weights_alias_prefix(e->weights, "text_model.", "");
    ignore_unused(e);
    binder_t b = {.weights = e->weights, .component = component, .pool = &e->pool, .err = err};
    bind_all(&b, e);
    e->modules = b.modules;
    if (b.failed || weights_finish(e->weights, allow_unused, err)) goto fail;
    return 0;
fail:
    text_encoder_close(e);
    *encoder = NULL;
    return -1;
}

void text_encoder_close(text_encoder_t *encoder) {
    if (!encoder) return;
    weights_close(encoder->weights);
    pool_free(&encoder->pool);
    modules_free(&encoder->modules);
    free(encoder);
}

const text_encoder_config_t *text_encoder_config(const text_encoder_t *encoder) {
    return &encoder->config;
}

const weights_t *text_encoder_weights(const text_encoder_t *encoder) {
    return encoder->weights;
}

modules_t text_encoder_modules(const text_encoder_t *encoder) {
    return encoder->modules;
}

text_use_t text_encoder_use(const text_encoder_t *encoder) {
    return encoder->use;
}

/* x (B,T,D) += self_attn(layer_norm1(x)) */
static void self_attention(const run_t *run, const text_layer_t *l, const text_encoder_config_t *c,
                           real_t *x, size_t B, size_t T) {
    size_t D = c->hidden_size, NH = c->num_attention_heads, width = D / NH, count = B * T * D;
    arena_mark_t mark = arena_mark(run->arena);
    real_t *h = arena_reals(run->arena, count);
    real_t *q = arena_reals(run->arena, count), *k = arena_reals(run->arena, count);
    real_t *v = arena_reals(run->arena, count);
    real_t *work = arena_reals(run->arena, attention_work(B, T, T, NH, width));

    layer_norm_forward(run, &l->layer_norm1, h, x, B, T);
    linear_tokens(run, &l->q_proj, q, h, B, T);
    linear_tokens(run, &l->k_proj, k, h, B, T);
    linear_tokens(run, &l->v_proj, v, h, B, T);
    attention(h, q, k, v, B, T, T, NH, width, 1.0 / sqrt((double)width), true, work, run->matmul);
    linear_tokens(run, &l->out_proj, q, h, B, T);
    tap(run->sink, l->name_attn, q, VIEW_TOKENS(B, T, D));
    add(x, x, q, count);
    arena_release(run->arena, mark);
}

/* x (B,T,D) += fc2(act(fc1(layer_norm2(x)))) */
static void mlp(const run_t *run, const text_layer_t *l, const text_encoder_config_t *c, real_t *x,
                size_t B, size_t T) {
    size_t D = c->hidden_size, N = c->intermediate_size, count = B * T * D;
    arena_mark_t mark = arena_mark(run->arena);
    real_t *h = arena_reals(run->arena, count);
    real_t *wide = arena_reals(run->arena, B * T * N);

    layer_norm_forward(run, &l->layer_norm2, h, x, B, T);
    linear_tokens(run, &l->fc1, wide, h, B, T);
    (c->hidden_act == ACT_QUICK_GELU ? quick_gelu : gelu)(wide, wide, B * T * N);
    tap(run->sink, l->name_act, wide, VIEW_TOKENS(B, T, N));
    linear_tokens(run, &l->fc2, h, wide, B, T);
    tap(run->sink, l->name_mlp, h, VIEW_TOKENS(B, T, D));
    add(x, x, h, count);
    arena_release(run->arena, mark);
}

/* out (B,P) = x (B,D) W^T; x W where that deviation is on, for which W is square. */
static void project(const run_t *run, const text_encoder_t *e, real_t *out, const real_t *x,
                    size_t B) {
    const linear_t *layer = &e->text_projection;
    view_t view = VIEW_ROWS(B, layer->out);
    if (!(run->deviations & DEVIATION_TEXT_PROJECTION_UNTURNED)) {
        linear_forward(run, layer, view, out, x, B, 1);
        return;
    }
    size_t P = layer->out;
    REQUIRE(layer->in == P, "text_encoder: a projection of %zu to %zu unturned", layer->in, P);
    tap_input(run->sink, layer->name, x, view);
    matmul(out, P, x, P, layer->weight, P, false, false, B, P, P, run->matmul);
    tap(run->sink, layer->name, out, view);
}

/* pooled (B,P) = text_projection(last_hidden_state at the end of each text); x (B,T,D), of the last layer. */
static void pool(const run_t *run, const text_encoder_t *e, real_t *pooled, const real_t *x,
                 const int32_t *ids, size_t B, size_t T) {
    size_t D = e->config.hidden_size;
    arena_mark_t mark = arena_mark(run->arena);
    real_t *last = arena_reals(run->arena, B * T * D), *end = arena_reals(run->arena, B * D);
    layer_norm_forward(run, &e->final_layer_norm, last, x, B, T);
    pool_text(end, last, ids, B, T, D, e->config.eos_token_id);
    project(run, e, pooled, end, B);
    arena_release(run->arena, mark);
}

/* The hidden states that are taken, from the layer's output x. */
static void take_hidden(const run_t *run, const text_encoder_t *e, real_t *hidden, const real_t *x,
                        size_t B, size_t T) {
    if (e->use.final_norm)
        layer_norm_forward(run, &e->final_layer_norm, hidden, x, B, T);
    else
        memcpy(hidden, x, B * T * e->config.hidden_size * sizeof *x);
}

void text_encoder_tables(const text_encoder_t *e, const real_t **token, const real_t **position) {
    *token = e->token_embedding;
    *position = e->position_embedding;
}

void text_encoder_forward(const run_t *run, const text_encoder_t *e, real_t *hidden, real_t *pooled,
                          const int32_t *ids, size_t B, size_t T) {
    const text_encoder_config_t *c = &e->config;
    size_t D = c->hidden_size, taken = c->num_hidden_layers - e->use.skip;
    REQUIRE(T <= c->max_position_embeddings, "text_encoder: %zu tokens, at most %zu positions", T,
            c->max_position_embeddings);
    REQUIRE(!pooled == !e->use.pooled, "text_encoder: pooled is %s, and was opened otherwise",
            pooled ? "wanted" : "not wanted");
    arena_mark_t mark = arena_mark(run->arena);
    real_t *x = arena_reals(run->arena, B * T * D);

    embedding(x, ids, e->token_embedding, B * T, c->vocab_size, D);
    for (size_t b = 0; b < B; b++) add(x + b * T * D, x + b * T * D, e->position_embedding, T * D);
    tap(run->sink, e->name_embeddings, x, VIEW_TOKENS(B, T, D));
    for (size_t i = 0; i < e->layers; i++) {
        self_attention(run, &e->layer[i], c, x, B, T);
        mlp(run, &e->layer[i], c, x, B, T);
        tap(run->sink, e->layer[i].name, x, VIEW_TOKENS(B, T, D));
        if (i + 1 == taken) take_hidden(run, e, hidden, x, B, T);
    }
    if (pooled) pool(run, e, pooled, x, ids, B, T);
    arena_release(run->arena, mark);
}
