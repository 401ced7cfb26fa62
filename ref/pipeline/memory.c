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

/* Scratch of one 3x3 convolution: a tile of columns per thread. */
static size_t conv_numbers(size_t pixels, size_t in) {
    const conv2d_t geometry = {3, 3, 1, 1, 1, 1, 1};
    return conv2d_work(1, in, 1, pixels, in, geometry);
}

/* Scratch of a resnet whose input has `in` channels, beside its input and output. */
static size_t resnet_numbers(size_t pixels, size_t in, size_t out) {
    return pixels * larger(in, out) + conv_numbers(pixels, larger(in, out)) + out;
}

/* ---- the UNet ------------------------------------------------------------------------------------- */

/* Ranks and gates of one token in the widest MoLE layer, in either form. */
static size_t mole_ranks(const pipeline_t *p) {
    size_t most = 0;
    for (size_t i = 0; i < p->mole_layers; i++)
        most = larger(most, p->mole_layer[i].ranks + 2 * p->mole_layer[i].experts);
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

static size_t unet_numbers(const pipeline_t *p, size_t B, size_t S, size_t H, size_t W) {
    const unet_config_t *c = unet_config(p->unet);
    const size_t *channels = c->block_out_channels;
    size_t skips = B * H * W * channels[0], room = 0, scratch = 0, P = B * H * W;
    for (size_t i = 0; i < c->levels; i++) {
        size_t C = channels[i], deeper = channels[i + 1 < c->levels ? i + 1 : i];
        size_t wide = larger(C, deeper) + larger(C, i ? channels[i - 1] : C); /* [h | skip] */
        skips += c->layers_per_block * P * C;
        room = larger(room, P * larger(C, deeper));
        scratch = larger(scratch, P * wide + resnet_numbers(P, wide, C));
        scratch = larger(scratch, P * larger(C, deeper) + transformer_numbers(p, B, H * W, C, S));
        H = (H + 1) / 2;
        W = (W + 1) / 2;
        P = B * H * W;
        if (i + 1 < c->levels) skips += P * C;
    }
    return skips + room + scratch + B * 4 * channels[0] * 4;
}

/* ---- the VAE's decoder ---------------------------------------------------------------------------- */

static size_t vae_numbers(const pipeline_t *p, size_t H, size_t W) {
    const vae_config_t *c = vae_config(p->vae);
    size_t deep = c->block_out_channels[c->levels - 1], P = H * W;
    size_t scratch = 4 * P * deep + attention_work(1, P, P, 1, deep), room = P * deep;
    for (size_t level = c->levels; level-- > 0;) {
        size_t C = c->block_out_channels[level];
        size_t in = c->block_out_channels[level + 1 < c->levels ? level + 1 : level];
        scratch = larger(scratch, resnet_numbers(P, in, C));
        if (level > 0) P *= 4;
        room = larger(room, P * larger(in, C));
        scratch = larger(scratch, conv_numbers(P, C));
    }
    return 2 * room + 2 * H * W * c->latent_channels + scratch;
}

/* ---- both ----------------------------------------------------------------------------------------- */

size_t pipeline_memory(const pipeline_t *p, const pipeline_text_t *text,
                       const pipeline_image_t *settings) {
    const vae_config_t *vae = vae_config(p->vae);
    size_t unit = vae_scale(p->vae), H = settings->height / unit, W = settings->width / unit;
    size_t latents = vae->latent_channels * H * W, B = text->B;
    /* sample and prediction, and their channels-last copies */
    size_t denoising = 4 * B * latents + unet_numbers(p, B, text->context.S, H, W);
    size_t always = 3 * settings->width * settings->height + 3 * latents;
    return SLACK_BYTES + sizeof(real_t) * (always + larger(denoising, vae_numbers(p, H, W)));
}

int pipeline_check_memory(const run_t *run, const pipeline_t *p, const pipeline_text_t *text,
                          const pipeline_image_t *settings, err_t *err) {
    size_t need = pipeline_memory(p, text, settings), left = arena_left(run->arena);
    if (need <= left) return 0;
    return err_set(err,
                   "%zu x %zu pixels need about %zu MiB of memory beside the weights; this machine "
                   "has %zu MiB. Choose a smaller --width or --height.",
                   settings->width, settings->height, need >> 20, left >> 20);
}
