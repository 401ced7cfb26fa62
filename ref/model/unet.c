/* unet.c - see unet.h. The forward pass reads from top to bottom at the end of this file. */
#include "model/unet.h"

#include <stdlib.h>
#include <string.h>

#include "model/resnet.h"

enum { SKIPS = UNET_LEVELS * 16 };

typedef struct {
    const char *name;
    size_t resnets;
    resnet_t *resnet;
    transformer_t *attention; /* one per resnet, or NULL */
    bool has_resampler;
    const char *resampler_name;
    conv_t resampler; /* stride 2 on the way down; after nearest upsampling on the way up */
} unet_block_t;

/* diffusers' TimestepEmbedding: linear_2(silu(linear_1(x))) */
typedef struct {
    const char *name, *name_act;
    linear_t linear_1, linear_2;
} embedding_t;

struct unet {
    unet_config_t config;
    weights_t *weights;
    pool_t pool;
    modules_t modules;
    const char *name, *name_time_proj, *name_add_time_proj, *name_conv_act;
    embedding_t time_embedding, add_embedding;
    conv_t conv_in, conv_out;
    norm_t conv_norm_out;
    unet_block_t *down, *up, mid;
    size_t attn2_count, *attn2_channels;
    mole_site_t *sites;
    size_t site_count;
};

/* ---- binding: the topology, once ------------------------------------------------------------------ */

static size_t time_channels(const unet_config_t *c) {
    return 4 * c->block_out_channels[0];
}

static void bind_unet_resnet(binder_t *b, const unet_config_t *c, resnet_t *resnet, size_t in,
                             size_t out, const char *name) {
    bind_resnet(b, resnet, in, out, time_channels(c), c->norm_num_groups, c->norm_eps, name);
}

static void bind_unet_transformer(binder_t *b, unet_t *u, transformer_t *t, size_t level,
                                  const char *name) {
    const unet_config_t *c = &u->config;
    transformer_config_t config = {.channels = c->block_out_channels[level],
                                   .heads = c->heads[level],
                                   .depth = c->transformer_depth[level],
                                   .context_channels = c->cross_attention_dim,
                                   .groups = c->norm_num_groups,
                                   .linear_projection = c->use_linear_projection,
                                   .norm_eps = c->transformer_norm_eps,
                                   .layer_norm_eps = c->layer_norm_eps};
    size_t first = u->attn2_count;
    bind_transformer(b, t, config, &u->attn2_count, name);
    u->attn2_channels = xrealloc(u->attn2_channels, u->attn2_count * sizeof *u->attn2_channels);
    for (size_t i = first; i < u->attn2_count; i++) u->attn2_channels[i] = config.channels;
}

static void start_block(binder_t *b, unet_block_t *block, size_t resnets, bool attention,
                        const char *name) {
    *block = (unet_block_t){.name = bind_tap(b, name), .resnets = resnets};
    block->resnet = pool_alloc(b->pool, resnets, sizeof *block->resnet);
    if (attention) block->attention = pool_alloc(b->pool, resnets, sizeof *block->attention);
}

static void bind_resampler(binder_t *b, unet_block_t *block, size_t channels, size_t stride,
                           const char *name) {
    block->has_resampler = true;
    block->resampler_name = bind_tap(b, name);
    bind_conv(b, &block->resampler, channels, channels, 3, stride, 1,
              bind_name(b, "%s.conv", name));
}

static void bind_down(binder_t *b, unet_t *u, size_t level) {
    const unet_config_t *c = &u->config;
    unet_block_t *block = &u->down[level];
    const char *at = bind_name(b, "down_blocks.%zu", level);
    size_t out = c->block_out_channels[level];
    start_block(b, block, c->layers_per_block, c->down_attention[level], at);
    for (size_t i = 0; i < block->resnets; i++) {
        size_t in = i || !level ? out : c->block_out_channels[level - 1];
        bind_unet_resnet(b, c, &block->resnet[i], in, out, bind_name(b, "%s.resnets.%zu", at, i));
        if (block->attention)
            bind_unet_transformer(b, u, &block->attention[i], level,
                                  bind_name(b, "%s.attentions.%zu", at, i));
    }
    if (level + 1 < c->levels)
        bind_resampler(b, block, out, 2, bind_name(b, "%s.downsamplers.0", at));
}

static void bind_mid(binder_t *b, unet_t *u) {
    const unet_config_t *c = &u->config;
    size_t level = c->levels - 1, channels = c->block_out_channels[level];
    start_block(b, &u->mid, 2, true, "mid_block");
    bind_unet_resnet(b, c, &u->mid.resnet[0], channels, channels, "mid_block.resnets.0");
    bind_unet_transformer(b, u, &u->mid.attention[0], level, "mid_block.attentions.0");
    bind_unet_resnet(b, c, &u->mid.resnet[1], channels, channels, "mid_block.resnets.1");
}

/* Up block i works at level L-1-i. Its resnets take [h | skip]; the skips are the outputs of the down
 * path in reverse: layers_per_block of its own level, then one of the level above. */
static void bind_up(binder_t *b, unet_t *u, size_t index) {
    const unet_config_t *c = &u->config;
    unet_block_t *block = &u->up[index];
    const char *at = bind_name(b, "up_blocks.%zu", index);
    size_t level = c->levels - 1 - index, out = c->block_out_channels[level];
    size_t before = index ? c->block_out_channels[level + 1] : out;
    size_t last_skip = c->block_out_channels[level ? level - 1 : 0];
    start_block(b, block, c->layers_per_block + 1, c->down_attention[level], at);
    for (size_t i = 0; i < block->resnets; i++) {
        size_t skip = i + 1 < block->resnets ? out : last_skip;
        bind_unet_resnet(b, c, &block->resnet[i], (i ? out : before) + skip, out,
                         bind_name(b, "%s.resnets.%zu", at, i));
        if (block->attention)
            bind_unet_transformer(b, u, &block->attention[i], level,
                                  bind_name(b, "%s.attentions.%zu", at, i));
    }
    if (level > 0) bind_resampler(b, block, out, 1, bind_name(b, "%s.upsamplers.0", at));
}

static void bind_embedding(binder_t *b, embedding_t *e, size_t in, size_t out, const char *name) {
    e->name = bind_tap(b, name);
    e->name_act = bind_name(b, "%s.act", e->name);
    bind_linear(b, &e->linear_1, in, out, true, bind_name(b, "%s.linear_1", name));
    bind_linear(b, &e->linear_2, out, out, true, bind_name(b, "%s.linear_2", name));
}

static void bind_all(binder_t *b, unet_t *u) {
    const unet_config_t *c = &u->config;
    size_t C = c->block_out_channels[0], time = time_channels(c);
    u->name = bind_tap(b, "");
    u->name_time_proj = bind_tap(b, "time_proj");
    u->name_add_time_proj = bind_tap(b, "add_time_proj");
    u->name_conv_act = bind_tap(b, "conv_act");
    bind_embedding(b, &u->time_embedding, C, time, "time_embedding");
    if (c->added_embedding)
        bind_embedding(b, &u->add_embedding, c->projection_class_embeddings_input_dim, time,
                       "add_embedding");
    bind_conv(b, &u->conv_in, c->in_channels, C, 3, 1, 1, "conv_in");
    u->down = pool_alloc(b->pool, c->levels, sizeof *u->down);
    u->up = pool_alloc(b->pool, c->levels, sizeof *u->up);
    for (size_t i = 0; i < c->levels; i++) bind_down(b, u, i);
    bind_mid(b, u);
    for (size_t i = 0; i < c->levels; i++) bind_up(b, u, i);
    bind_norm(b, &u->conv_norm_out, C, c->norm_num_groups, c->norm_eps, "conv_norm_out");
    bind_conv(b, &u->conv_out, C, c->out_channels, 3, 1, 1, "conv_out");
}

int unet_open(unet_t **unet, const char *folder, bool allow_unused, err_t *err) {
    return unet_open_widening(unet, folder, allow_unused, WIDEN_AT_LOAD, err);
}

int unet_open_widening(unet_t **unet, const char *folder, bool allow_unused, widen_t widen,
                       err_t *err) {
    unet_t *u = xcalloc(1, sizeof *u);
    *unet = u;
    if (unet_config_read(&u->config, folder, err) ||
        weights_open(&u->weights, folder, "diffusion_pytorch_model", err) ||
        bind_check_fused(u->weights, allow_unused, err))
        goto fail;
    weights_set_widen(u->weights, widen);
    binder_t b = {.weights = u->weights, .component = "unet", .pool = &u->pool, .err = err};
    bind_all(&b, u);
    u->modules = b.modules;
    u->sites = b.sites;
    u->site_count = b.site_count;
    if (b.failed || weights_finish(u->weights, allow_unused, err)) goto fail;
    return 0;
fail:
    unet_close(u);
    *unet = NULL;
    return -1;
}

void unet_close(unet_t *unet) {
    if (!unet) return;
    weights_close(unet->weights);
    pool_free(&unet->pool);
    modules_free(&unet->modules);
    free(unet->attn2_channels);
    free(unet->sites);
    free(unet);
}

const unet_config_t *unet_config(const unet_t *unet) {
    return &unet->config;
}

const weights_t *unet_weights(const unet_t *unet) {
    return unet->weights;
}

modules_t unet_modules(const unet_t *unet) {
    return unet->modules;
}

const mole_site_t *unet_mole_sites(const unet_t *unet, size_t *count) {
    *count = unet->site_count;
    return unet->sites;
}

/* ---- the forward pass ----------------------------------------------------------------------------- */

size_t unet_text_embeds(const unet_config_t *c) {
    if (!c->added_embedding) return 0;
    return c->projection_class_embeddings_input_dim - UNET_TIME_IDS * c->addition_time_embed_dim;
}

context_kv_t unet_context(const run_t *run, const unet_t *u, const conditioning_t *given) {
    context_kv_t context = {.given = *given};
    size_t count = given->B * given->S;
    context.key = arena_bytes(run->arena, u->attn2_count * sizeof *context.key);
    context.value = arena_bytes(run->arena, u->attn2_count * sizeof *context.value);
    for (size_t i = 0; i < u->attn2_count; i++) {
        context.key[i] = arena_reals(run->arena, count * u->attn2_channels[i]);
        context.value[i] = arena_reals(run->arena, count * u->attn2_channels[i]);
    }
    return context;
}

/* out (B,4C) = linear_2(silu(linear_1(x))) */
static void embed(const run_t *run, const embedding_t *e, real_t *out, const real_t *x, size_t B) {
    size_t time = e->linear_1.out;
    arena_mark_t mark = arena_mark(run->arena);
    real_t *h = arena_reals(run->arena, B * time);
    linear_forward(run, &e->linear_1, VIEW_ROWS(B, time), h, x, B, 1);
    silu(h, h, B * time);
    tap(run->sink, e->name_act, h, VIEW_ROWS(B, time));
    linear_forward(run, &e->linear_2, VIEW_ROWS(B, time), out, h, B, 1);
    tap(run->sink, e->name, out, VIEW_ROWS(B, time));
    arena_release(run->arena, mark);
}

/* out (B,dim): sinusoids of t (B). */
static void project_time(const unet_config_t *c, real_t *out, const double *t, size_t B,
                         size_t dim) {
    timestep_embedding(out, t, B, dim, c->flip_sin_to_cos, c->freq_shift, 10000, ANGLES_EXACT);
}

/* emb (B,4C) += add_embedding([text_embeds | add_time_proj(time_ids)]) */
static void add_embedding(const run_t *run, const unet_t *u, real_t *emb,
                          const conditioning_t *given) {
    const unet_config_t *c = &u->config;
    size_t B = given->B, time = time_channels(c), text = unet_text_embeds(c);
    size_t ids = B * UNET_TIME_IDS, dim = c->addition_time_embed_dim;
    REQUIRE(given->text_embeds && given->time_ids, "%s: no text_embeds or no time_ids", u->name);
    arena_mark_t mark = arena_mark(run->arena);
    double *t = arena_bytes(run->arena, ids * sizeof *t);
    real_t *angles = arena_reals(run->arena, ids * dim), *out = arena_reals(run->arena, B * time);
    real_t *both = arena_reals(run->arena, B * text + ids * dim);
    for (size_t i = 0; i < ids; i++) t[i] = (double)given->time_ids[i];
    project_time(c, angles, t, ids, dim);
    tap(run->sink, u->name_add_time_proj, angles, VIEW_ROWS(ids, dim));
    concat(both, given->text_embeds, angles, B, text, UNET_TIME_IDS * dim);
    embed(run, &u->add_embedding, out, both, B);
    add(emb, emb, out, B * time);
    arena_release(run->arena, mark);
}

/* emb_act (B,4C) = silu(time_embedding(time_proj(t)) + the added embedding): every resnet wants it through a
 * SiLU. */
static void embed_time(const run_t *run, const unet_t *u, real_t *emb_act, double timestep,
                       const conditioning_t *given) {
    const unet_config_t *c = &u->config;
    size_t C = c->block_out_channels[0], time = time_channels(c), B = given->B;
    arena_mark_t mark = arena_mark(run->arena);
    double *t = arena_bytes(run->arena, B * sizeof *t);
    real_t *angles = arena_reals(run->arena, B * C);
    for (size_t b = 0; b < B; b++) t[b] = timestep;
    project_time(c, angles, t, B, C);
    tap(run->sink, u->name_time_proj, angles, VIEW_ROWS(B, C));
    embed(run, &u->time_embedding, emb_act, angles, B);
    if (c->added_embedding) add_embedding(run, u, emb_act, given);
    silu(emb_act, emb_act, B * time);
    arena_release(run->arena, mark);
}

/* The outputs of the down path, waiting for the up path. */
typedef struct {
    real_t *x;
    size_t channels;
    grid_t grid;
} skip_t;

typedef struct {
    skip_t skip[SKIPS];
    size_t count;
} skips_t;

static real_t *push_skip(const run_t *run, skips_t *skips, size_t channels, grid_t g) {
    REQUIRE(skips->count < SKIPS, "unet: more than %d skips", SKIPS);
    real_t *x = arena_reals(run->arena, g.B * channels * g.H * g.W);
    skips->skip[skips->count++] = (skip_t){x, channels, g};
    return x;
}

static void tap_block(const run_t *run, const char *name, real_t *x, size_t channels, grid_t g) {
    tap(run->sink, name, x, VIEW_IMAGE(g.B, channels, g.H, g.W));
}

static void down_forward(const run_t *run, const unet_block_t *block, skips_t *skips,
                         const real_t *emb_act, const context_kv_t *context) {
    skip_t top = skips->skip[skips->count - 1];
    grid_t g = top.grid;
    real_t *h = top.x;
    size_t channels = top.channels;
    for (size_t i = 0; i < block->resnets; i++) {
        channels = block->resnet[i].out;
        real_t *out = push_skip(run, skips, channels, g);
        resnet_forward(run, &block->resnet[i], out, h, emb_act, g);
        if (block->attention) transformer_forward(run, &block->attention[i], out, context, g);
        h = out;
    }
    if (block->has_resampler) {
        grid_t half = conv_grid(&block->resampler, g);
        real_t *out = push_skip(run, skips, channels, half);
        conv_forward(run, &block->resampler, out, h, g);
        tap_block(run, block->resampler_name, out, channels, half);
        h = out;
        g = half;
    }
    tap_block(run, block->name, h, channels, g);
}

static void mid_forward(const run_t *run, const unet_block_t *mid, real_t *h, const real_t *x,
                        const real_t *emb_act, const context_kv_t *context, grid_t g) {
    size_t channels = mid->resnet[0].out, count = g.B * channels * g.H * g.W;
    arena_mark_t mark = arena_mark(run->arena);
    real_t *first = arena_reals(run->arena, count);
    resnet_forward(run, &mid->resnet[0], first, x, emb_act, g);
    transformer_forward(run, &mid->attention[0], first, context, g);
    resnet_forward(run, &mid->resnet[1], h, first, emb_act, g);
    tap_block(run, mid->name, h, channels, g);
    arena_release(run->arena, mark);
}

/* h holds the block's input and then its output; both have room for the largest image of the up path. */
static grid_t up_forward(const run_t *run, const unet_block_t *block, real_t *h, skips_t *skips,
                         const real_t *emb_act, const context_kv_t *context, grid_t g) {
    size_t channels = block->resnet[0].in - skips->skip[skips->count - 1].channels;
    for (size_t i = 0; i < block->resnets; i++) {
        const resnet_t *resnet = &block->resnet[i];
        skip_t skip = skips->skip[--skips->count];
        arena_mark_t mark = arena_mark(run->arena);
        size_t P = g.H * g.W;
        real_t *both = arena_reals(run->arena, g.B * P * (channels + skip.channels));
        concat(both, h, skip.x, g.B * P, channels, skip.channels);
        channels = resnet->out;
        resnet_forward(run, resnet, h, both, emb_act, g);
        arena_release(run->arena, mark);
        if (block->attention) transformer_forward(run, &block->attention[i], h, context, g);
    }
    if (block->has_resampler) {
        grid_t twice =
            skips->skip[skips->count - 1].grid; /* 2H x 2W, or less one where that was odd */
        arena_mark_t mark = arena_mark(run->arena);
        real_t *wide = arena_reals(run->arena, g.B * channels * twice.H * twice.W);
        upsample_nearest(wide, h, g.B, channels, g.H, g.W, twice.H, twice.W);
        g = twice;
        conv_forward(run, &block->resampler, h, wide, g);
        tap_block(run, block->resampler_name, h, channels, g);
        arena_release(run->arena, mark);
    }
    tap_block(run, block->name, h, channels, g);
    return g;
}

/* Numbers in the largest image of the up path: level i's channels on level i's grid, or on the finer
 * grid that its upsampler makes. */
static size_t up_room(const unet_config_t *c, grid_t g) {
    size_t most = 0, H = g.H, W = g.W;
    for (size_t level = 0; level < c->levels; level++) {
        size_t deeper = c->block_out_channels[level + 1 < c->levels ? level + 1 : level];
        size_t channels = c->block_out_channels[level];
        size_t here = g.B * H * W * (deeper > channels ? deeper : channels);
        if (here > most) most = here;
        H = (H + 1) / 2;
        W = (W + 1) / 2;
    }
    return most;
}

void unet_forward(const run_t *run, const unet_t *u, real_t *out, const real_t *sample,
                  double timestep, context_kv_t *context, size_t H, size_t W) {
    const unet_config_t *c = &u->config;
    grid_t g = {context->given.B, H, W};
    size_t C = c->block_out_channels[0], P = H * W, B = g.B;
    arena_mark_t mark = arena_mark(run->arena);

    real_t *emb_act = arena_reals(run->arena, B * time_channels(c));
    embed_time(run, u, emb_act, timestep, &context->given);

    skips_t skips = {.count = 0};
    real_t *h = arena_reals(run->arena, up_room(c, g));
    real_t *x = arena_reals(run->arena, B * P * c->in_channels);
    to_channels_last(x, sample, B, c->in_channels, P);
    conv_forward(run, &u->conv_in, push_skip(run, &skips, C, g), x, g);

    for (size_t i = 0; i < c->levels; i++) down_forward(run, &u->down[i], &skips, emb_act, context);

    skip_t deepest = skips.skip[skips.count - 1];
    g = deepest.grid;
    mid_forward(run, &u->mid, h, deepest.x, emb_act, context, g);

    for (size_t i = 0; i < c->levels; i++)
        g = up_forward(run, &u->up[i], h, &skips, emb_act, context, g);

    group_norm_forward(run, &u->conv_norm_out, h, h, g, false);
    silu(h, h, B * P * C);
    tap_block(run, u->name_conv_act, h, C, g);
    real_t *last = arena_reals(run->arena, B * P * c->out_channels);
    conv_forward(run, &u->conv_out, last, h, g);
    from_channels_last(out, last, B, c->out_channels, P);
    tap(run->sink, u->name, out, (view_t){SHAPE4(B, c->out_channels, H, W), LAYOUT_TORCH});

    context->ready = true;
    arena_release(run->arena, mark);
}

/* ---- scratch --------------------------------------------------------------------------------------- */

/* Of one resnet and its transformer; `beside` is held while the resnet runs. */
static size_t layer_work(const run_t *run, const unet_block_t *block, size_t i, size_t beside,
                         size_t S, grid_t g) {
    size_t most = beside + resnet_work(run, &block->resnet[i], g);
    if (block->attention)
        most = work_larger(most, transformer_work(run, &block->attention[i], S, g));
    return most;
}

static size_t embedding_work(const unet_config_t *c, size_t B) {
    size_t time = time_channels(c), ids = B * UNET_TIME_IDS;
    size_t text = unet_text_embeds(c), dim = c->addition_time_embed_dim;
    size_t added =
        c->added_embedding ? arena_doubles(ids) + 2 * ids * dim + B * text + B * time : 0;
    return arena_doubles(B) + B * c->block_out_channels[0] + added + B * time;
}

/* The down path: its scratch, and what it leaves on the stack of skips. */
static size_t down_work(const run_t *run, const unet_t *u, size_t S, grid_t g, size_t *skips,
                        grid_t grid[UNET_LEVELS]) {
    size_t most = conv_work(run, &u->conv_in, g);
    *skips = g.B * g.H * g.W * u->conv_in.out;
    for (size_t level = 0; level < u->config.levels; level++) {
        const unet_block_t *block = &u->down[level];
        size_t channels = block->resnet[0].out;
        grid[level] = g;
        *skips += block->resnets * g.B * g.H * g.W * channels;
        for (size_t i = 0; i < block->resnets; i++)
            most = work_larger(most, layer_work(run, block, i, 0, S, g));
        if (!block->has_resampler) continue;
        most = work_larger(most, conv_work(run, &block->resampler, g));
        g = conv_grid(&block->resampler, g);
        *skips += g.B * g.H * g.W * channels;
    }
    return most;
}

static size_t up_work(const run_t *run, const unet_t *u, size_t S, const grid_t grid[UNET_LEVELS]) {
    size_t most = 0;
    for (size_t index = 0; index < u->config.levels; index++) {
        const unet_block_t *block = &u->up[index];
        size_t level = u->config.levels - 1 - index;
        grid_t g = grid[level], finer = grid[level ? level - 1 : 0];
        for (size_t i = 0; i < block->resnets; i++) {
            size_t both = g.B * g.H * g.W * block->resnet[i].in;
            most = work_larger(most, layer_work(run, block, i, both, S, g));
        }
        if (block->has_resampler)
            most = work_larger(most, g.B * finer.H * finer.W * block->resampler.in +
                                         conv_work(run, &block->resampler, finer));
    }
    return most;
}

size_t unet_work(const run_t *run, const unet_t *u, size_t B, size_t S, size_t H, size_t W) {
    const unet_config_t *c = &u->config;
    grid_t g = {B, H, W}, grid[UNET_LEVELS] = {{0, 0, 0}};
    size_t P = B * H * W, skips;
    size_t most = work_larger(embedding_work(c, B), down_work(run, u, S, g, &skips, grid));
    grid_t deepest = grid[c->levels - 1];
    size_t first = deepest.B * deepest.H * deepest.W * u->mid.resnet[0].out;
    for (size_t i = 0; i < u->mid.resnets; i++)
        most = work_larger(most, first + resnet_work(run, &u->mid.resnet[i], deepest));
    most = work_larger(most, first + transformer_work(run, &u->mid.attention[0], S, deepest));
    most = work_larger(most, up_work(run, u, S, grid));
    most = work_larger(most, P * c->out_channels + conv_work(run, &u->conv_out, g));
    return B * time_channels(c) + up_room(c, g) + P * c->in_channels + skips + most;
}
