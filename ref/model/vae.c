/* vae.c - see vae.h. */
#include "model/vae.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "io/config_keys.h"
#include "model/resnet.h"

typedef struct {
    const char *name, *upsampler_name;
    size_t resnets;
    resnet_t *resnet;
    bool has_upsampler;
    conv_t upsampler;
} vae_block_t;

struct vae {
    vae_config_t config;
    weights_t *weights;
    pool_t pool;
    modules_t modules;
    const char *name_decoder, *name_mid, *name_attention, *name_conv_act;
    linear_t post_quant_conv; /* 1x1 */
    conv_t conv_in, conv_out;
    resnet_t mid[2];
    norm_t attention_norm;
    linear_t to_q, to_k, to_v, to_out;
    vae_block_t *up;
    norm_t conv_norm_out;
};

/* ---- binding -------------------------------------------------------------------------------------- */

static int read_keys(json_node_t node, vae_config_t *c, err_t *err) {
    static const char *const up[] = {"UpDecoderBlock2D", NULL};
    size_t types[VAE_LEVELS]; /* as many as there are widths, all of the one kind */
    if (json_get_size(node, "latent_channels", 1, 1024, &c->latent_channels, err) ||
        json_get_size(node, "out_channels", 1, 1024, &c->out_channels, err) ||
        json_get_sizes(node, "block_out_channels", 1 << 20, 1, VAE_LEVELS, c->block_out_channels,
                       &c->levels, err) ||
        json_get_size(node, "layers_per_block", 1, 8, &c->layers_per_block, err) ||
        json_get_size_or(node, "norm_num_groups", 1, 1 << 16, 32, &c->norm_num_groups, err) ||
        json_get_double_or(node, "scaling_factor", 0.18215, &c->scaling_factor, err) ||
        json_get_bool_or(node, "use_post_quant_conv", true, &c->use_post_quant_conv, err) ||
        json_get_choices(node, "up_block_types", up, c->levels, types, err))
        return -1;
    if (!(c->scaling_factor > 0))
        return json_node_error(node, "scaling_factor", err, "expected a number above 0");
    for (size_t i = 0; i < c->levels; i++)
        if (c->block_out_channels[i] % c->norm_num_groups)
            return json_node_error(node, "block_out_channels", err,
                                   "expected multiples of norm_num_groups (%zu), found %zu",
                                   c->norm_num_groups, c->block_out_channels[i]);
    return 0;
}

static int config_read(vae_config_t *c, const char *folder, err_t *err) {
    json_file_t *file;
    *c = (vae_config_t){.norm_eps = 1e-6};
    if (config_open(&file, folder, "config.json", config_keys_vae, c->unknown_keys, err)) return -1;
    int failed = read_keys(json_file_root(file), c, err);
    json_file_close(file);
    return failed ? -1 : 0;
}

/* Older diffusers called the attention's projections query, key, value and proj_attn. */
static void know_old_names(weights_t *weights) {
    static const char *const pairs[][2] = {{".to_q.", ".query."},
                                           {".to_k.", ".key."},
                                           {".to_v.", ".value."},
                                           {".to_out.0.", ".proj_attn."}};
    char new_name[64], old_name[64];
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        for (int bias = 0; bias < 2; bias++) {
            const char *parameter = bias ? "bias" : "weight";
            snprintf(new_name, sizeof new_name, "%s%s", pairs[i][0], parameter);
            snprintf(old_name, sizeof old_name, "%s%s", pairs[i][1], parameter);
            weights_alias_suffix(weights, new_name, old_name);
        }
    }
}

static void bind_attention(binder_t *b, vae_t *v, size_t C) {
    const char *at = "decoder.mid_block.attentions.0";
    v->name_attention = bind_tap(b, at);
    bind_norm(b, &v->attention_norm, C, v->config.norm_num_groups, v->config.norm_eps,
              bind_name(b, "%s.group_norm", at));
    bind_linear(b, &v->to_q, C, C, true, bind_name(b, "%s.to_q", at));
    bind_linear(b, &v->to_k, C, C, true, bind_name(b, "%s.to_k", at));
    bind_linear(b, &v->to_v, C, C, true, bind_name(b, "%s.to_v", at));
    bind_linear(b, &v->to_out, C, C, true, bind_name(b, "%s.to_out.0", at));
}

static void bind_up(binder_t *b, vae_t *v, size_t index) {
    const vae_config_t *c = &v->config;
    vae_block_t *block = &v->up[index];
    const char *at = bind_name(b, "decoder.up_blocks.%zu", index);
    size_t level = c->levels - 1 - index, out = c->block_out_channels[level];
    size_t in = index ? c->block_out_channels[level + 1] : out;
    *block = (vae_block_t){.name = bind_tap(b, at), .resnets = c->layers_per_block + 1};
    block->resnet = pool_alloc(b->pool, block->resnets, sizeof *block->resnet);
    for (size_t i = 0; i < block->resnets; i++)
        bind_resnet(b, &block->resnet[i], i ? out : in, out, 0, c->norm_num_groups, c->norm_eps,
                    bind_name(b, "%s.resnets.%zu", at, i));
    if (level == 0) return;
    block->has_upsampler = true;
    block->upsampler_name = bind_name(b, "%s.upsamplers.0", block->name);
    bind_conv(b, &block->upsampler, out, out, 3, 1, 1, bind_name(b, "%s.upsamplers.0.conv", at));
}

static void bind_all(binder_t *b, vae_t *v) {
    const vae_config_t *c = &v->config;
    size_t deep = c->block_out_channels[c->levels - 1], shallow = c->block_out_channels[0];
    v->name_decoder = bind_tap(b, "decoder");
    v->name_mid = bind_tap(b, "decoder.mid_block");
    v->name_conv_act = bind_tap(b, "decoder.conv_act");
    if (c->use_post_quant_conv)
        bind_projection(b, &v->post_quant_conv, c->latent_channels, c->latent_channels, true,
                        "post_quant_conv");
    bind_conv(b, &v->conv_in, c->latent_channels, deep, 3, 1, 1, "decoder.conv_in");
    bind_resnet(b, &v->mid[0], deep, deep, 0, c->norm_num_groups, c->norm_eps,
                "decoder.mid_block.resnets.0");
    bind_attention(b, v, deep);
    bind_resnet(b, &v->mid[1], deep, deep, 0, c->norm_num_groups, c->norm_eps,
                "decoder.mid_block.resnets.1");
    v->up = pool_alloc(b->pool, c->levels, sizeof *v->up);
    for (size_t i = 0; i < c->levels; i++) bind_up(b, v, i);
    bind_norm(b, &v->conv_norm_out, shallow, c->norm_num_groups, c->norm_eps,
              "decoder.conv_norm_out");
    bind_conv(b, &v->conv_out, shallow, c->out_channels, 3, 1, 1, "decoder.conv_out");
}

int vae_open(vae_t **vae, const char *folder, bool allow_unused, err_t *err) {
    vae_t *v = xcalloc(1, sizeof *v);
    *vae = v;
    if (config_read(&v->config, folder, err) ||
        weights_open(&v->weights, folder, "diffusion_pytorch_model", err) ||
        bind_check_fused(v->weights, allow_unused, err))
        goto fail;
    weights_ignore(v->weights, "encoder.*");
    weights_ignore(v->weights, "quant_conv.*");
    know_old_names(v->weights);
    binder_t b = {.weights = v->weights, .component = "vae", .pool = &v->pool, .err = err};
    bind_all(&b, v);
    v->modules = b.modules;
    if (b.failed || weights_finish(v->weights, allow_unused, err)) goto fail;
    return 0;
fail:
    vae_close(v);
    *vae = NULL;
    return -1;
}

void vae_close(vae_t *vae) {
    if (!vae) return;
    weights_close(vae->weights);
    pool_free(&vae->pool);
    modules_free(&vae->modules);
    free(vae);
}

const vae_config_t *vae_config(const vae_t *vae) {
    return &vae->config;
}

const weights_t *vae_weights(const vae_t *vae) {
    return vae->weights;
}

modules_t vae_modules(const vae_t *vae) {
    return vae->modules;
}

size_t vae_scale(const vae_t *vae) {
    return (size_t)1 << (vae->config.levels - 1);
}

/* ---- the forward pass ----------------------------------------------------------------------------- */

/* h (B,T,C) = attention(h): one head, all pixels with all pixels. spare: as large as h. */
static void attend(const run_t *run, const vae_t *v, real_t *h, real_t *spare, grid_t g) {
    size_t C = v->attention_norm.channels, T = g.H * g.W, count = g.B * T * C;
    real_t *q = spare, *k = arena_reals(run->arena, count), *value = arena_reals(run->arena, count);
    real_t *work = arena_reals(run->arena, attention_work(g.B, T, T, 1, C));
    linear_tokens(run, &v->to_q, q, h, g.B, T);
    linear_tokens(run, &v->to_k, k, h, g.B, T);
    linear_tokens(run, &v->to_v, value, h, g.B, T);
    attention(h, q, k, value, g.B, T, T, 1, C, 1.0 / sqrt((double)C), false, work, run->matmul);
}

/* x (B,C,H,W) += to_out(attention(group_norm(x))), in place; without attention where that deviation is on. */
static void attention_forward(const run_t *run, const vae_t *v, real_t *x, grid_t g) {
    size_t C = v->attention_norm.channels, T = g.H * g.W, count = g.B * T * C;
    arena_mark_t mark = arena_mark(run->arena);
    real_t *h = arena_reals(run->arena, count), *out = arena_reals(run->arena, count);
    group_norm_forward(run, &v->attention_norm, h, x, g, true);
    if (!(run->deviations & DEVIATION_VAE_WITHOUT_ATTENTION)) attend(run, v, h, out, g);
    linear_tokens(run, &v->to_out, out, h, g.B, T);
    add(x, x, out, count);
    tap(run->sink, v->name_attention, x, VIEW_IMAGE(g.B, C, g.H, g.W));
    arena_release(run->arena, mark);
}

/* Two buffers that take turns: x holds the image, spare receives the next one. */
typedef struct {
    real_t *x, *spare;
} pair_t;

static void swap(pair_t *pair) {
    real_t *x = pair->x;
    pair->x = pair->spare;
    pair->spare = x;
}

static void pair_resnet(const run_t *run, const resnet_t *resnet, pair_t *h, grid_t g) {
    resnet_forward(run, resnet, h->spare, h->x, NULL, g);
    swap(h);
}

/* One level; returns the grid of its output. */
static grid_t up_forward(const run_t *run, const vae_block_t *block, pair_t *h, grid_t g) {
    size_t C = block->resnet[0].out;
    for (size_t i = 0; i < block->resnets; i++) pair_resnet(run, &block->resnet[i], h, g);
    if (block->has_upsampler) {
        grid_t twice = {g.B, 2 * g.H, 2 * g.W};
        upsample_nearest(h->spare, h->x, g.B, C, g.H, g.W, twice.H, twice.W);
        g = twice;
        conv_forward(run, &block->upsampler, h->x, h->spare, g);
        tap(run->sink, block->upsampler_name, h->x, VIEW_IMAGE(g.B, C, g.H, g.W));
    }
    tap(run->sink, block->name, h->x, VIEW_IMAGE(g.B, C, g.H, g.W));
    return g;
}

/* Numbers in the largest image on the way up: a level's input channels on its output grid. */
static size_t up_room(const vae_config_t *c, grid_t g) {
    size_t most = 0;
    for (size_t level = c->levels; level-- > 0;) {
        size_t in = c->block_out_channels[level + 1 < c->levels ? level + 1 : level];
        size_t out = c->block_out_channels[level];
        if (level > 0) g.H *= 2, g.W *= 2;
        size_t here = g.B * g.H * g.W * (in > out ? in : out);
        if (here > most) most = here;
    }
    return most;
}

void vae_decode(const run_t *run, const vae_t *v, real_t *image, const real_t *latents, size_t B,
                size_t H, size_t W) {
    const vae_config_t *c = &v->config;
    grid_t g = {B, H, W};
    size_t latent_count = B * H * W * c->latent_channels, room = up_room(c, g);
    arena_mark_t mark = arena_mark(run->arena);
    pair_t h = {arena_reals(run->arena, room), arena_reals(run->arena, room)};
    real_t *z = arena_reals(run->arena, latent_count), *z2 = arena_reals(run->arena, latent_count);

    to_channels_last(z, latents, B, c->latent_channels, H * W);
    if (c->use_post_quant_conv) {
        linear_image(run, &v->post_quant_conv, z2, z, g);
        z = z2;
    }
    conv_forward(run, &v->conv_in, h.x, z, g);

    pair_resnet(run, &v->mid[0], &h, g);
    attention_forward(run, v, h.x, g);
    pair_resnet(run, &v->mid[1], &h, g);
    tap(run->sink, v->name_mid, h.x, VIEW_IMAGE(B, v->mid[1].out, H, W));

    for (size_t i = 0; i < c->levels; i++) g = up_forward(run, &v->up[i], &h, g);

    size_t C = c->block_out_channels[0], P = g.H * g.W;
    group_norm_forward(run, &v->conv_norm_out, h.x, h.x, g, false);
    silu(h.x, h.x, B * P * C);
    tap(run->sink, v->name_conv_act, h.x, VIEW_IMAGE(B, C, g.H, g.W));
    conv_forward(run, &v->conv_out, h.spare, h.x, g);
    from_channels_last(image, h.spare, B, c->out_channels, P);
    tap(run->sink, v->name_decoder, image,
        (view_t){SHAPE4(B, c->out_channels, g.H, g.W), LAYOUT_TORCH});
    arena_release(run->arena, mark);
}

/* ---- scratch --------------------------------------------------------------------------------------- */

static size_t up_work(const run_t *run, const vae_block_t *block, grid_t *g) {
    size_t most = 0;
    for (size_t i = 0; i < block->resnets; i++)
        most = work_larger(most, resnet_work(run, &block->resnet[i], *g));
    if (!block->has_upsampler) return most;
    *g = (grid_t){g->B, 2 * g->H, 2 * g->W};
    return work_larger(most, conv_work(run, &block->upsampler, *g));
}

size_t vae_work(const run_t *run, const vae_t *v, size_t B, size_t H, size_t W) {
    const vae_config_t *c = &v->config;
    grid_t g = {B, H, W};
    size_t T = H * W, C = v->attention_norm.channels;
    size_t attention = 4 * B * T * C + attention_work(B, T, T, 1, C);
    size_t fixed = 2 * up_room(c, g) + 2 * B * T * c->latent_channels;
    size_t most = work_larger(attention, conv_work(run, &v->conv_in, g));
    for (size_t i = 0; i < 2; i++) most = work_larger(most, resnet_work(run, &v->mid[i], g));
    for (size_t i = 0; i < c->levels; i++) most = work_larger(most, up_work(run, &v->up[i], &g));
    return fixed + work_larger(most, conv_work(run, &v->conv_out, g));
}
