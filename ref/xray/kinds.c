/* kinds.c - see kinds.h. */
#include "xray/kinds.h"

#include <ctype.h>
#include <string.h>

#include "xray_code.inc" /* static const kind_code_t code[], from code.txt */

enum {
    CONV,
    LINEAR,
    MOLE,
    GROUP_NORM,
    LAYER_NORM,
    SILU,
    GEGLU,
    SELF_ATTENTION,
    CROSS_ATTENTION,
    FEED_FORWARD,
    TRANSFORMER_BLOCK,
    TRANSFORMER,
    RESNET,
    DOWNSAMPLER,
    UPSAMPLER,
    DOWN,
    MID,
    UP,
    TIME_PROJ,
    TIME_EMBEDDING,
    UNET,
    GUIDANCE,
    SAMPLER,
    OTHER,
    KINDS
};

static const kind_t kinds[KINDS] = {
    [CONV] =
        {"conv", "convolution",
         "out[o,y,x] = bias[o] + sum over i,u,v of weight[o,i,u,v] x[i, s y + u - p, s x + v - p]\n"
         "s the stride, p the padding; x is 0 outside"},
    [LINEAR] = {"linear", "linear layer",
                "out[t] = W x[t] + bias        for each token or pixel t"},
    [MOLE] =
        {"mole", "linear layer with experts",
         "E_i[t] = s_i up_i (down_i x[t])                    expert i, s_i = alpha_i / rank_i\n"
         "D_i[t] = sigmoid(Phi_i . x[t] + phi_i)             local gate: a number per token\n"
         "G_i    = sigmoid(w_i . mean over t of E_i[t] + c_i)  global gate: one number\n"
         "out[t] = W x[t] + bias + sum over i of D_i[t] G_i E_i[t]"},
    [GROUP_NORM] = {"group_norm", "GroupNorm",
                    "out[c,p] = (x[c,p] - mean) / sqrt(var + eps) * weight[c] + bias[c]\n"
                    "mean, var: over the channels of c's group and all places p"},
    [LAYER_NORM] = {"layer_norm", "LayerNorm",
                    "out[t,c] = (x[t,c] - mean[t]) / sqrt(var[t] + eps) * weight[c] + bias[c]\n"
                    "mean, var: over the channels of token t"},
    [SILU] = {"silu", "SiLU", "out = x sigmoid(x) = x / (1 + exp(-x))"},
    [GEGLU] =
        {"geglu", "GEGLU",
         "out[t,c] = a gelu(b), a = x[t,c], b = x[t,n + c]; gelu(b) = b (1 + erf(b / sqrt(2))) / 2"},
    [SELF_ATTENTION] = {"self_attention", "self attention",
                        "A[h,t,s] = softmax over s of (q[h,t] . k[h,s] / sqrt(D))\n"
                        "out[t] = to_out(sum over s of A[h,t,s] v[h,s])    s: the other places"},
    [CROSS_ATTENTION] =
        {"cross_attention", "cross attention",
         "A[h,t,s] = softmax over s of (q[h,t] . k[h,s] / sqrt(D))\n"
         "out[t] = to_out(sum over s of A[h,t,s] v[h,s])    s: the tokens of the text"},
    [FEED_FORWARD] = {"feed_forward", "feed forward", "out = net.2(geglu(net.0.proj(x)))"},
    [TRANSFORMER_BLOCK] =
        {"transformer_block", "transformer block",
         "h = h + attn1(norm1(h)); h = h + attn2(norm2(h), text); h = h + ff(norm3(h))"},
    [TRANSFORMER] = {"transformer", "transformer",
                     "out = x + proj_out(blocks(proj_in(norm(x)), text))"},
    [RESNET] = {"resnet", "ResNet block",
                "h = conv1(silu(norm1(x))) + time_emb_proj(silu(emb))\n"
                "h = conv2(silu(norm2(h)))\n"
                "out = x + h, or conv_shortcut(x) + h where the channels change"},
    [DOWNSAMPLER] = {"downsampler", "downsampling", "out = conv(x) with stride 2: half the size"},
    [UPSAMPLER] =
        {"upsampler", "upsampling",
         "out = conv(nearest(x)): each number becomes 2 x 2, or what the next skip has room for"},
    [DOWN] = {"down", "block of the way down",
              "per ResNet: h = resnet(h, emb); h = transformer(h, text); remember h\n"
              "then, but in the last block: h = downsample(h); remember h"},
    [MID] = {"mid", "the middle", "out = resnet(transformer(resnet(h, emb), text), emb)"},
    [UP] =
        {"up", "block of the way up",
         "per ResNet: h = resnet([h | the skip remembered last], emb); h = transformer(h, text)\n"
         "then, but in the last block: h = upsample(h)"},
    [TIME_PROJ] = {"time_proj", "the timestep as cosines and sines",
                   "out[j] = cos(t f_j), out[half + j] = sin(t f_j); f_j = 10000^(-j / half)"},
    [TIME_EMBEDDING] = {"time_embedding", "embedding", "out = linear_2(silu(linear_1(x)))"},
    [UNET] = {"unet", "the UNet",
              "out = conv_out(silu(conv_norm_out(up(mid(down(conv_in(latents)))))))"},
    [GUIDANCE] = {"guidance", "guidance",
                  "out = u + scale (c - u)        u: for the negative prompt, c: for the prompt"},
    [SAMPLER] = {"sampler", "the step",
                 "x0 = (x - sqrt(1 - a) noise) / sqrt(a)        a: the level of the timestep\n"
                 "out = sqrt(a') x0 + sqrt(1 - a') noise        a': of the next; DDIM, eta 0\n"
                 "v-prediction: x0 = sqrt(a) x - sqrt(1 - a) v, noise = sqrt(a) v + sqrt(1 - a) x"},
    [OTHER] = {"other", "a value of the run", ""},
};

/* ---- names -------------------------------------------------------------------------------------------- */

/* Does the name end so? '#' stands for a number. */
static bool ends_in(const char *name, const char *pattern) {
    const char *n = name + strlen(name), *p = pattern + strlen(pattern);
    while (p > pattern) {
        if (n == name) return false;
        if (*--p == '#') {
            if (!isdigit((unsigned char)n[-1])) return false;
            while (n > name && isdigit((unsigned char)n[-1])) n--;
        } else if (*--n != *p) {
            return false;
        }
    }
    return true;
}

/* Of a part with weights. */
static const kind_t *kind_of_module(const module_t *module) {
    switch (module->kind) {
    case MODULE_LINEAR: return &kinds[module->as.linear->mole ? MOLE : LINEAR];
    case MODULE_CONV: return &kinds[CONV];
    case MODULE_GROUP_NORM: return &kinds[GROUP_NORM];
    case MODULE_LAYER_NORM: return &kinds[LAYER_NORM];
    }
    return &kinds[OTHER];
}

const kind_t *kind_of(const pipeline_t *pipeline, const char *name) {
    static const struct {
        const char *pattern;
        int kind;
    } rows[] = {{".attn1", SELF_ATTENTION},
                {".attn2", CROSS_ATTENTION},
                {".ff.net.#", GEGLU},
                {".ff", FEED_FORWARD},
                {".transformer_blocks.#", TRANSFORMER_BLOCK},
                {".attentions.#", TRANSFORMER},
                {".resnets.#", RESNET},
                {".downsamplers.#", DOWNSAMPLER},
                {".upsamplers.#", UPSAMPLER},
                {"unet.down_blocks.#", DOWN},
                {"unet.mid_block", MID},
                {"unet.up_blocks.#", UP},
                {"time_proj", TIME_PROJ},
                {"_embedding", TIME_EMBEDDING},
                {"act", SILU},
                {"unet", UNET},
                {"guided", GUIDANCE},
                {"latents", SAMPLER}};
    const module_t *module = pipeline_module(pipeline, name);
    if (module) return kind_of_module(module);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (ends_in(name, rows[i].pattern)) return &kinds[rows[i].kind];
    return &kinds[OTHER];
}

const kind_t *kinds_all(size_t *count) {
    *count = KINDS;
    return kinds;
}

const kind_code_t *kinds_code(size_t *count) {
    *count = sizeof code / sizeof *code;
    return code;
}
