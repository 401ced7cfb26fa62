/* memory.c - how much of the arena a picture needs; see pipeline_memory in pipeline.h.
 *
 * A count of what the forward passes in model/ hold at the same time, in numbers of real_t, rounded up where
 * that is simpler: each level's widest module, a MoLE layer as if every layer had the largest ranks.
 * tests/pipeline/test_memory.c holds it against the arena's peak. */
#include <omp.h>

#include "pipeline/pipeline.h"

/* Rounding to cache lines, guards of debug builds, bookkeeping of a few dozen blocks. */
enum { SLACK_BYTES = 32 << 10 };

static size_t larger(size_t a, size_t b) {
    return a > b ? a : b;
}

/* Scratch of one 3x3 convolution. */
static size_t conv_numbers(const run_t *run, grid_t g, size_t in, size_t out) {
    const conv2d_t geometry = {3, 3, 1, 1, 1, 1, 1};
    return conv2d_work(g.B, in, g.H, g.W, out, geometry, run->conv, run->matmul);
}

static size_t pixels(grid_t g) {
    return g.B * g.H * g.W;
}

/* Scratch of a resnet whose input has `in` channels, beside its input and output. */
static size_t resnet_numbers(const run_t *run, grid_t g, size_t in, size_t out) {
    size_t conv = larger(conv_numbers(run, g, in, out), conv_numbers(run, g, out, out));
    return pixels(g) * larger(in, out) + conv + g.B * out;
}

/* ---- the UNet ------------------------------------------------------------------------------------- */

/* Ranks and gates of one token in the widest MoLE layer, in either form. */
static size_t mole_ranks(const pipeline_t *p) {
    size_t most = 0;
    for (size_t i = 0; i < p->mole_layers; i++)
        most = larger(most, p->mole_layer[i].ranks + 3 * p->mole_layer[i].experts);
    return most;
}

/* Scratch of a transformer on B images of T tokens with C channels and S tokens of text. The feed-forward
 * holds h, projected, x (C each), gated (4C), wide (8C), and, in the direct form, an expert's 8C. */
static size_t transformer_numbers(const pipeline_t *p, size_t B, size_t T, size_t C, size_t S) {
    size_t ranks = mole_ranks(p), mole = p->mole ? 8 * C : 0;
    size_t feed_forward = B * T * (15 * C + mole + ranks);
    size_t attention = B * T * (8 * C + ranks) + attention_work(B, T, larger(T, S), 1, C);
    size_t text = p->mole ? B * S * (C + ranks) : 0;
    return larger(feed_forward, attention) + text;
}

static size_t unet_numbers(const run_t *run, const pipeline_t *p, size_t S, grid_t g) {
    const unet_config_t *c = unet_config(p->unet);
    const size_t *channels = c->block_out_channels;
    size_t skips = pixels(g) * channels[0], room = 0, B = g.B;
    size_t scratch = conv_numbers(run, g, c->in_channels, channels[0]);
    scratch = larger(scratch, conv_numbers(run, g, channels[0], c->out_channels));
    for (size_t i = 0; i < c->levels; i++) {
        size_t C = channels[i], deeper = channels[i + 1 < c->levels ? i + 1 : i], P = pixels(g);
        size_t wide = larger(C, deeper) + larger(C, i ? channels[i - 1] : C); /* [h | skip] */
        skips += c->layers_per_block * P * C;
        room = larger(room, P * larger(C, deeper));
        size_t block = P * wide + resnet_numbers(run, g, wide, C);
        size_t sampler = P * deeper + conv_numbers(run, g, deeper, deeper); /* on the way up */
        size_t tokens = P * larger(C, deeper) + transformer_numbers(p, B, g.H * g.W, C, S);
        scratch = larger(scratch, larger(block, larger(sampler, tokens)));
        g = (grid_t){B, (g.H + 1) / 2, (g.W + 1) / 2};
        if (i + 1 < c->levels) skips += pixels(g) * C;
    }
    return skips + room + scratch + B * 4 * channels[0] * 4;
}

/* ---- the VAE's decoder ---------------------------------------------------------------------------- */

static size_t vae_numbers(const run_t *run, const pipeline_t *p, size_t H, size_t W) {
    const vae_config_t *c = vae_config(p->vae);
    size_t deep = c->block_out_channels[c->levels - 1], P = H * W, room = P * deep;
    grid_t g = {1, H, W};
    size_t scratch = 4 * P * deep + attention_work(1, P, P, 1, deep);
    for (size_t level = c->levels; level-- > 0;) {
        size_t C = c->block_out_channels[level];
        size_t in = c->block_out_channels[level + 1 < c->levels ? level + 1 : level];
        scratch = larger(scratch, resnet_numbers(run, g, in, C));
        if (level > 0) g = (grid_t){1, 2 * g.H, 2 * g.W};
        room = larger(room, pixels(g) * larger(in, C));
        scratch = larger(scratch, conv_numbers(run, g, C, level > 0 ? C : c->out_channels));
    }
    scratch = larger(scratch, conv_numbers(run, (grid_t){1, H, W}, c->latent_channels, deep));
    return 2 * room + 2 * H * W * c->latent_channels + scratch;
}

/* ---- both ----------------------------------------------------------------------------------------- */

size_t pipeline_memory(const run_t *run, const pipeline_t *p, const pipeline_text_t *text,
                       const pipeline_image_t *settings) {
    const vae_config_t *vae = vae_config(p->vae);
    size_t unit = vae_scale(p->vae), H = settings->height / unit, W = settings->width / unit;
    size_t latents = vae->latent_channels * H * W, B = text->B;
    /* sample and prediction, and their channels-last copies */
    size_t denoising = 4 * B * latents + unet_numbers(run, p, text->S, (grid_t){B, H, W});
    size_t always = 3 * settings->width * settings->height + 3 * latents;
    return SLACK_BYTES + sizeof(real_t) * (always + larger(denoising, vae_numbers(run, p, H, W)));
}

int pipeline_check_memory(const run_t *run, const pipeline_t *p, const pipeline_text_t *text,
                          const pipeline_image_t *settings, err_t *err) {
    size_t need = pipeline_memory(run, p, text, settings), left = arena_left(run->arena);
    if (need <= left) return 0;
    return err_set(err,
                   "%zu x %zu pixels need about %zu MiB of memory beside the weights; this machine "
                   "has %zu MiB. Choose a smaller --width or --height.",
                   settings->width, settings->height, need >> 20, left >> 20);
}
