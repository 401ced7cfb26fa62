/* replay_block.c - see replay_block.h. */
#include "model/replay_block.h"

#include "model/resnet.h"
#include "model/transformer.h"

const char *block_second(const block_t *block) {
    if (block->transformer) return "encoder_hidden_states";
    return block->resnet->has_time ? "temb" : NULL;
}

static int misfit(const block_t *block, const char *input, const char *expected, size_t channels,
                  shape_t shape, err_t *err) {
    char found[SHAPE_TEXT];
    return err_set(
        err, "%s: expected %s of shape %s with %zu channels, found %s: give it in torch's order",
        block->name, input, expected, channels, shape_text(found, shape));
}

/* An input of `ndim` dimensions with `channels` in dimension `at`, and B in the first; any for B = 0. */
static bool fits(shape_t shape, int ndim, int at, size_t channels, size_t B) {
    size_t count;
    return shape.ndim == ndim && shape_count_checked(shape, &count) && count > 0 &&
           shape.dim[at] == channels && (B == 0 || shape.dim[0] == B);
}

static int check(const block_t *block, const block_input_t *in, err_t *err) {
    const char *second = block_second(block);
    bool transformer = block->transformer != NULL;
    size_t channels = transformer ? block->transformer->channels : block->resnet->in;
    if (!fits(in->shape, 4, 1, channels, 0))
        return misfit(block, "hidden_states", "(B,channels,H,W)", channels, in->shape, err);
    if (!second) return 0;
    size_t width =
        transformer ? block->transformer->block[0].attn2.to_k.in : block->resnet->time_emb_proj.in;
    bool good = transformer ? fits(in->second_shape, 3, 2, width, in->shape.dim[0])
                            : fits(in->second_shape, 2, 1, width, in->shape.dim[0]);
    const char *expected = transformer ? "(B,tokens,channels)" : "(B,channels)";
    return good ? 0 : misfit(block, second, expected, width, in->second_shape, err);
}

/* The text alone: nothing is made of it yet. Keys and values of the blocks of one transformer, which are
 * neighbours among the model's. */
static context_kv_t context_of(const run_t *run, const transformer_t *t, const block_input_t *in) {
    size_t B = in->second_shape.dim[0], S = in->second_shape.dim[1], count = B * S * t->channels;
    context_kv_t c = {.given = {.B = B, .S = S, .encoder_hidden_states = in->second}};
    size_t slots = t->block[t->depth - 1].kv + 1;
    c.key = arena_bytes(run->arena, slots * sizeof *c.key);
    c.value = arena_bytes(run->arena, slots * sizeof *c.value);
    for (size_t i = 0; i < t->depth; i++) {
        c.key[t->block[i].kv] = arena_reals(run->arena, count);
        c.value[t->block[i].kv] = arena_reals(run->arena, count);
    }
    return c;
}

static void go(const run_t *run, const block_t *block, real_t *out, shape_t shape_out,
               const block_input_t *in) {
    const resnet_t *r = block->resnet;
    grid_t g = {in->shape.dim[0], in->shape.dim[2], in->shape.dim[3]};
    view_t view = {in->shape, LAYOUT_CHANNELS_LAST}, view_out = {shape_out, LAYOUT_CHANNELS_LAST};
    real_t *x = arena_reals(run->arena, shape_count(in->shape)), *y = x, *emb_act = NULL;
    view_from_torch(x, in->x, view);
    if (r) {
        y = arena_reals(run->arena, shape_count(shape_out));
        if (r->has_time) {
            size_t count = shape_count(in->second_shape);
            emb_act = arena_reals(run->arena, count);
            silu(emb_act, in->second, count);
        }
        resnet_forward(run, r, y, x, emb_act, g);
    } else {
        context_kv_t context = context_of(run, block->transformer, in);
        transformer_forward(run, block->transformer, x, &context, g);
    }
    view_to_torch(out, y, view_out);
}

int block_replay(const run_t *run, const block_t *block, real_t *out, shape_t *shape_out,
                 const block_input_t *in, err_t *err) {
    if (check(block, in, err)) return -1;
    *shape_out = in->shape;
    if (block->resnet) shape_out->dim[1] = block->resnet->out;
    if (!out) return 0;
    arena_mark_t mark = arena_mark(run->arena);
    go(run, block, out, *shape_out, in);
    arena_release(run->arena, mark);
    return 0;
}
