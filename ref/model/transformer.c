/* transformer.c - see transformer.h. */
#include "model/transformer.h"

#include <math.h>

/* An attention's projections have no bias but to_out. */
static void bind_attention(binder_t *b, attention_t *a, size_t channels, size_t heads,
                           size_t context_channels, const char *name) {
    a->name = bind_tap(b, name);
    a->heads = heads;
    a->width = channels / heads;
    bind_linear(b, &a->to_q, channels, channels, false, bind_name(b, "%s.to_q", name));
    bind_linear(b, &a->to_k, context_channels, channels, false, bind_name(b, "%s.to_k", name));
    bind_linear(b, &a->to_v, context_channels, channels, false, bind_name(b, "%s.to_v", name));
    bind_linear(b, &a->to_out, channels, channels, true, bind_name(b, "%s.to_out.0", name));
    bind_mole_site(b, &a->to_q, false);
    bind_mole_site(b, &a->to_k, false);
    bind_mole_site(b, &a->to_v, false);
    bind_mole_site(b, &a->to_out, false);
}

static void bind_block(binder_t *b, transformer_block_t *block, transformer_config_t c,
                       const char *name) {
    size_t C = c.channels;
    double eps = c.layer_norm_eps;
    block->name = bind_tap(b, name);
    block->name_ff = bind_name(b, "%s.ff", block->name);
    block->name_geglu = bind_name(b, "%s.ff.net.0", block->name);
    bind_norm(b, &block->norm1, C, 0, eps, bind_name(b, "%s.norm1", name));
    bind_attention(b, &block->attn1, C, c.heads, C, bind_name(b, "%s.attn1", name));
    bind_norm(b, &block->norm2, C, 0, eps, bind_name(b, "%s.norm2", name));
    bind_attention(b, &block->attn2, C, c.heads, c.context_channels,
                   bind_name(b, "%s.attn2", name));
    bind_norm(b, &block->norm3, C, 0, eps, bind_name(b, "%s.norm3", name));
    bind_linear(b, &block->ff_proj, C, 8 * C, true, bind_name(b, "%s.ff.net.0.proj", name));
    bind_linear(b, &block->ff_out, 4 * C, C, true, bind_name(b, "%s.ff.net.2", name));
    bind_mole_site(b, &block->ff_proj, false);
    bind_mole_site(b, &block->ff_out, false);
}

void bind_transformer(binder_t *b, transformer_t *t, transformer_config_t c, size_t *kv,
                      const char *name) {
    bool conv = !c.linear_projection;
    *t = (transformer_t){.name = bind_tap(b, name),
                         .channels = c.channels,
                         .linear_projection = c.linear_projection,
                         .depth = c.depth};
    b->late = weights_late(b->weights);
    bind_norm(b, &t->norm, c.channels, c.groups, c.norm_eps, bind_name(b, "%s.norm", name));
    bind_projection(b, &t->proj_in, c.channels, c.channels, conv, bind_name(b, "%s.proj_in", name));
    bind_mole_site(b, &t->proj_in, conv);
    t->block = pool_alloc(b->pool, c.depth, sizeof *t->block);
    for (size_t i = 0; i < c.depth; i++) {
        bind_block(b, &t->block[i], c, bind_name(b, "%s.transformer_blocks.%zu", name, i));
        t->block[i].kv = (*kv)++;
    }
    bind_projection(b, &t->proj_out, c.channels, c.channels, conv,
                    bind_name(b, "%s.proj_out", name));
    bind_mole_site(b, &t->proj_out, conv);
    bind_container(b, (block_t){t->name, NULL, t});
    b->late = false;
}

/* out = to_out(attention(q, k, v)) */
static void attend(const run_t *run, const attention_t *a, real_t *out, const real_t *q,
                   const real_t *k, const real_t *v, size_t B, size_t T, size_t S) {
    size_t C = a->heads * a->width;
    real_t *work = arena_reals(run->arena, attention_work(B, T, S, a->heads, a->width));
    real_t *h = arena_reals(run->arena, B * T * C);
    attention(h, q, k, v, B, T, S, a->heads, a->width, 1.0 / sqrt((double)a->width), false, work,
              run->matmul);
    linear_tokens(run, &a->to_out, out, h, B, T);
    tap(run->sink, a->name, out, VIEW_TOKENS(B, T, C));
}

/* h (B,T,C) += attn1(norm1(h)) */
static void self_attention(const run_t *run, const transformer_block_t *block, real_t *h, size_t B,
                           size_t T) {
    const attention_t *a = &block->attn1;
    size_t count = B * T * a->heads * a->width;
    arena_mark_t mark = arena_mark(run->arena);
    real_t *x = arena_reals(run->arena, count), *q = arena_reals(run->arena, count);
    real_t *k = arena_reals(run->arena, count), *v = arena_reals(run->arena, count);
    layer_norm_forward(run, &block->norm1, x, h, B, T);
    linear_tokens(run, &a->to_q, q, x, B, T);
    linear_tokens(run, &a->to_k, k, x, B, T);
    linear_tokens(run, &a->to_v, v, x, B, T);
    attend(run, a, x, q, k, v, B, T, T);
    add(h, h, x, count);
    arena_release(run->arena, mark);
}

/* h (B,T,C) += attn2(norm2(h), context). Keys and values of a ready context are tapped again, so that a
 * trace has them in every step; their inner .mole taps appear where they are computed, in the first. */
static void cross_attention(const run_t *run, const transformer_block_t *block, real_t *h,
                            const context_kv_t *context, size_t T) {
    const attention_t *a = &block->attn2;
    size_t B = context->given.B, S = context->given.S, C = a->heads * a->width, count = B * T * C;
    real_t *k = context->key[block->kv], *v = context->value[block->kv];
    arena_mark_t mark = arena_mark(run->arena);
    real_t *x = arena_reals(run->arena, count), *q = arena_reals(run->arena, count);
    layer_norm_forward(run, &block->norm2, x, h, B, T);
    linear_tokens(run, &a->to_q, q, x, B, T);
    if (context->ready) {
        tap(run->sink, a->to_k.name, k, VIEW_TOKENS(B, S, C));
        tap(run->sink, a->to_v.name, v, VIEW_TOKENS(B, S, C));
    } else {
        linear_tokens(run, &a->to_k, k, context->given.encoder_hidden_states, B, S);
        linear_tokens(run, &a->to_v, v, context->given.encoder_hidden_states, B, S);
    }
    attend(run, a, x, q, k, v, B, T, S);
    add(h, h, x, count);
    arena_release(run->arena, mark);
}

/* h (B,T,C) += ff.net.2(geglu(ff.net.0.proj(norm3(h)))) */
static void feed_forward(const run_t *run, const transformer_block_t *block, real_t *h, size_t B,
                         size_t T, size_t C) {
    size_t count = B * T * C;
    arena_mark_t mark = arena_mark(run->arena);
    real_t *x = arena_reals(run->arena, count), *gated = arena_reals(run->arena, 4 * count);
    layer_norm_forward(run, &block->norm3, x, h, B, T);
    arena_mark_t wide_mark = arena_mark(run->arena);
    real_t *wide = arena_reals(run->arena, 8 * count);
    linear_tokens(run, &block->ff_proj, wide, x, B, T);
    geglu(gated, wide, B * T, 4 * C);
    arena_release(run->arena, wide_mark);
    tap(run->sink, block->name_geglu, gated, VIEW_TOKENS(B, T, 4 * C));
    linear_tokens(run, &block->ff_out, x, gated, B, T);
    tap(run->sink, block->name_ff, x, VIEW_TOKENS(B, T, C));
    add(h, h, x, count);
    arena_release(run->arena, mark);
}

/* proj_in or proj_out: the same numbers either way, seen as tokens or as an image. */
static void project(const run_t *run, const transformer_t *t, const linear_t *layer, real_t *out,
                    const real_t *x, grid_t g) {
    if (t->linear_projection)
        linear_tokens(run, layer, out, x, g.B, g.H * g.W);
    else
        linear_image(run, layer, out, x, g);
}

void transformer_forward(const run_t *run, const transformer_t *t, real_t *x,
                         const context_kv_t *context, grid_t g) {
    size_t T = g.H * g.W, count = g.B * T * t->channels;
    REQUIRE(g.B == context->given.B, "%s: %zu images, %zu texts", t->name, g.B, context->given.B);
    arena_mark_t mark = arena_mark(run->arena);
    real_t *h = arena_reals(run->arena, count), *projected = arena_reals(run->arena, count);
    group_norm_forward(run, &t->norm, projected, x, g, false);
    project(run, t, &t->proj_in, h, projected, g);
    for (size_t i = 0; i < t->depth; i++) {
        const transformer_block_t *block = &t->block[i];
        self_attention(run, block, h, g.B, T);
        cross_attention(run, block, h, context, T);
        feed_forward(run, block, h, g.B, T, t->channels);
        tap(run->sink, block->name, h, VIEW_TOKENS(g.B, T, t->channels));
    }
    project(run, t, &t->proj_out, projected, h, g);
    add(x, x, projected, count);
    tap(run->sink, t->name, x, VIEW_IMAGE(g.B, t->channels, g.H, g.W));
    arena_release(run->arena, mark);
}

/* ---- scratch --------------------------------------------------------------------------------------- */

/* Of attention's three projections, and then of `attend`. S_kv: tokens of key and value. */
static size_t attention_scratch(const run_t *run, const attention_t *a, size_t B, size_t T,
                                size_t S_kv) {
    size_t maps = work_larger(
        linear_work(run, &a->to_q, B, T),
        work_larger(linear_work(run, &a->to_k, B, S_kv), linear_work(run, &a->to_v, B, S_kv)));
    size_t attend = attention_work(B, T, S_kv, a->heads, a->width) + B * T * a->heads * a->width +
                    linear_work(run, &a->to_out, B, T);
    return work_larger(maps, attend);
}

static size_t block_work(const run_t *run, const transformer_block_t *block, size_t C, size_t B,
                         size_t T, size_t S) {
    size_t count = B * T * C;
    size_t self = 4 * count + attention_scratch(run, &block->attn1, B, T, T);
    size_t cross = 2 * count + attention_scratch(run, &block->attn2, B, T, S);
    size_t feed_forward =
        5 * count + work_larger(8 * count + linear_work(run, &block->ff_proj, B, T),
                                linear_work(run, &block->ff_out, B, T));
    return work_larger(self, work_larger(cross, feed_forward));
}

size_t transformer_work(const run_t *run, const transformer_t *t, size_t S, grid_t g) {
    size_t T = g.H * g.W, most = work_larger(linear_work(run, &t->proj_in, g.B, T),
                                             linear_work(run, &t->proj_out, g.B, T));
    for (size_t i = 0; i < t->depth; i++)
        most = work_larger(most, block_work(run, &t->block[i], t->channels, g.B, T, S));
    return 2 * g.B * T * t->channels + most;
}
