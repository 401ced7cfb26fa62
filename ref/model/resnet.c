/* resnet.c - see resnet.h. */
#include "model/resnet.h"

void bind_resnet(binder_t *b, resnet_t *r, size_t in, size_t out, size_t time_channels,
                 size_t groups, double eps, const char *name) {
    *r = (resnet_t){.name = bind_tap(b, name),
                    .in = in,
                    .out = out,
                    .has_time = time_channels > 0,
                    .has_shortcut = in != out};
    bind_norm(b, &r->norm1, in, groups, eps, bind_name(b, "%s.norm1", name));
    bind_conv(b, &r->conv1, in, out, 3, 1, 1, bind_name(b, "%s.conv1", name));
    if (r->has_time)
        bind_linear(b, &r->time_emb_proj, time_channels, out, true,
                    bind_name(b, "%s.time_emb_proj", name));
    bind_norm(b, &r->norm2, out, groups, eps, bind_name(b, "%s.norm2", name));
    bind_conv(b, &r->conv2, out, out, 3, 1, 1, bind_name(b, "%s.conv2", name));
    if (r->has_shortcut)
        bind_projection(b, &r->conv_shortcut, in, out, true,
                        bind_name(b, "%s.conv_shortcut", name));
    bind_container(b, (block_t){r->name, r, NULL});
}

void resnet_forward(const run_t *run, const resnet_t *r, real_t *out, const real_t *x,
                    const real_t *emb_act, grid_t g) {
    size_t P = g.H * g.W, count = g.B * P * r->out;
    arena_mark_t mark = arena_mark(run->arena);
    real_t *h = arena_reals(run->arena, g.B * P * (r->in > r->out ? r->in : r->out));

    group_norm_forward(run, &r->norm1, h, x, g, false);
    silu(h, h, g.B * P * r->in);
    conv_forward(run, &r->conv1, out, h, g);
    if (r->has_time) {
        real_t *time = arena_reals(run->arena, g.B * r->out);
        linear_forward(run, &r->time_emb_proj, VIEW_ROWS(g.B, r->out), time, emb_act, g.B, 1);
        add_per_channel(out, out, time, g.B, P, r->out);
    }
    group_norm_forward(run, &r->norm2, out, out, g, false);
    silu(out, out, count);
    conv_forward(run, &r->conv2, h, out, g);
    if (r->has_shortcut) {
        linear_image(run, &r->conv_shortcut, out, x, g);
        add(out, out, h, count);
    } else {
        add(out, x, h, count);
    }
    tap(run->sink, r->name, out, VIEW_IMAGE(g.B, r->out, g.H, g.W));
    arena_release(run->arena, mark);
}

size_t resnet_work(const run_t *run, const resnet_t *r, grid_t g) {
    size_t h = g.B * g.H * g.W * work_larger(r->in, r->out), time = r->has_time ? g.B * r->out : 0;
    return h + work_larger(conv_work(run, &r->conv1, g), time + conv_work(run, &r->conv2, g));
}
