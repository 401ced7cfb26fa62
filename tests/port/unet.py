"""The UNet: noisy latents (B, 4, H, W), a timestep, the prompt (B, S, D) -> noise (B, 4, H, W)."""

import numpy as np

import mole
import nn
from model import activation, conv2d, group_norm, layer_norm, linear
from mutants import mutant
from resnet import resnet

TRANSFORMER_NORM_EPS = 1e-6  # diffusers fixes both in the code; "norm_eps" is of the ResNets alone
LAYER_NORM_EPS = 1e-5


class Settings:
    def __init__(self, config):
        self.channels = config["block_out_channels"]
        self.groups = config["norm_num_groups"]
        if mutant("groups-halved"):
            self.groups //= 2
        self.eps = 1e-6 if mutant("groupnorm-eps-resnet") else config["norm_eps"]
        # "attention_head_dim" is, whatever its name says, the number of heads.
        heads = config["num_attention_heads"] or config["attention_head_dim"]
        self.heads = per_level(heads, self.channels)
        if mutant("heads-of-first-level"):
            self.heads = self.heads[:1] * len(self.channels)
        if mutant("heads-for-width"):
            self.heads = [c // h for c, h in zip(self.channels, self.heads)]
        self.depth = per_level(config["transformer_layers_per_block"], self.channels)
        self.linear = config["use_linear_projection"]  # in place of 1x1 convolutions, in and out


def per_level(value, channels):
    """A configuration says one number for all levels, or a list."""
    return value if isinstance(value, list) else [value] * len(channels)


class Prompt:
    """What cross-attention reads. real (B, S): which tokens are not padding, or None.

    XL's further conditions: pooled (B, P), numbers (B, 6).
    """

    def __init__(self, states, real=None, pooled=None, numbers=None):
        self.states, self.real = states, real
        self.pooled, self.numbers = pooled, numbers


# ---- transformer ---------------------------------------------------------------------------------


def attention(module, x, context, heads, real=None):
    to_q, to_k, to_v = (module / name for name in ("to_q", "to_k", "to_v"))
    if mutant("kv-weights-swapped"):
        to_k, to_v = to_v.called(to_k), to_k.called(to_v)
    q = mole.linear(to_q, x)
    k = mole.linear(to_k, context, real)
    v = mole.linear(to_v, context, real)
    if mutant("kv-swapped"):
        k, v = v, k
    scale = None
    if mutant("attention-scale-missing"):
        scale = 1.0
    if mutant("attention-scale-of-all-heads"):
        scale = q.shape[-1] ** -0.5
    if mutant("attention-scaled-twice"):
        scale = heads / q.shape[-1]
    if mutant("padding-not-attended") and real is not None:
        x = nn.attention(q, k, v, heads, scale=scale, seen=real)
    else:
        x = nn.attention(q, k, v, heads, scale=scale)
    return module.tap(mole.linear(module / "to_out.0", x))


def feed_forward(module, x):
    """GEGLU: the projection's first half is the value, the second the gate."""
    gelu = nn.gelu
    if mutant("geglu-tanh"):
        gelu = nn.gelu_tanh
    if mutant("geglu-quick"):
        gelu = nn.quick_gelu
    value, gate = np.split(mole.linear(module / "net.0.proj", x), 2, -1)
    if mutant("geglu-halves"):
        value, gate = gate, value
    if mutant("geglu-both"):
        value = gelu(value)
    x = (module / "net.0").tap(nn.rounded(value * gelu(gate)))
    return module.tap(mole.linear(module / "net.2", x))


def transformer_block(module, x, prompt, heads):
    h = layer_norm(module / "norm1", x, LAYER_NORM_EPS)
    if mutant("residual-after-norm"):
        x = h
    self_attention = attention(module / "attn1", h, h, heads)
    if mutant("residual-doubled"):
        x = nn.add(x, x)
    x = nn.add(x, self_attention)
    h = layer_norm(module / "norm2", x, LAYER_NORM_EPS)
    states = prompt.states[::-1] if mutant("context-rows-exchanged") else prompt.states
    x = nn.add(x, attention(module / "attn2", h, states, heads, prompt.real))
    norm3 = module / "norm3"
    if mutant("norm2-for-norm3"):
        norm3 = (module / "norm2").called(norm3)
    h = layer_norm(norm3, x, LAYER_NORM_EPS)
    return module.tap(nn.add(x, feed_forward(module / "ff", h)))


def tokens_of(h):
    """(B, C, H, W) -> (B, H * W, C)."""
    B, C, H, W = h.shape
    if mutant("nhwc-flatten"):  # the memory of an NCHW image taken for NHWC
        return np.ascontiguousarray(h).reshape(B, H * W, C)
    return h.reshape(B, C, H * W).swapaxes(1, 2)


def transformer(module, x, prompt, s, level):
    """x (B, C, H, W): its pixels are the tokens."""
    eps = 1e-5 if mutant("groupnorm-eps-transformer") else TRANSFORMER_NORM_EPS
    h = group_norm(module / "norm", x, s.groups, eps)
    proj_in, proj_out = module / "proj_in", module / "proj_out"
    tokens = mole.linear(proj_in, tokens_of(h)) if s.linear else tokens_of(mole.conv1x1(proj_in, h))
    for k in range(1 if mutant("depth-one") else s.depth[level]):
        tokens = transformer_block(module / f"transformer_blocks.{k}", tokens, prompt, s.heads[level])
    if s.linear:
        tokens = mole.linear(proj_out, tokens)
    h = tokens.swapaxes(1, 2).reshape(x.shape)
    if mutant("transformer-residual-missing"):
        x = np.zeros_like(x)
    return module.tap(nn.add(x, h if s.linear else mole.conv1x1(proj_out, h)))


# ---- blocks --------------------------------------------------------------------------------------


def down_block(module, x, time, prompt, s, level, layers, attends, last):
    """Returns x and what the way up will need of this block."""
    skips = []
    for j in range(layers):
        x = resnet(module / f"resnets.{j}", x, s.groups, s.eps, time)
        if attends:
            x = transformer(module / f"attentions.{j}", x, prompt, s, level)
        skips.append(x)
    if not last:
        down = module / "downsamplers.0"
        padding = (0, 1, 0, 1) if mutant("downsample-asymmetric") else (1, 1, 1, 1)
        x = down.tap(conv2d(down / "conv", x, stride=2, padding=padding))
        skips.append(x)
    skips[-1] = module.tap(x)  # the block's output is its last skip
    return skips[-1], skips


def mid_block(module, x, time, prompt, s):
    x = resnet(module / "resnets.0", x, s.groups, s.eps, time)
    if not mutant("mid-attention-left-out"):
        x = transformer(module / "attentions.0", x, prompt, s, -1)
    return module.tap(resnet(module / "resnets.1", x, s.groups, s.eps, time))


def up_block(module, x, time, prompt, s, level, skips, attends, size):
    """skips: of this block, the last is used first. size: height and width of the next block."""
    if mutant("skip-wrong-end") and len({skip.shape for skip in skips}) == 1:
        skips = skips[::-1]  # where shapes agree; elsewhere it would not go unnoticed
    for j in range(len(skips)):
        parts = [x, skips[-1 - j]]
        if mutant("skip-left-out"):
            parts[1] = np.zeros_like(parts[1])
        if mutant("skip-concatenated-first"):
            parts.reverse()
        x = resnet(module / f"resnets.{j}", np.concatenate(parts, 1), s.groups, s.eps, time)
        if attends:
            x = transformer(module / f"attentions.{j}", x, prompt, s, level)
    if size:
        up = module / "upsamplers.0"
        x = up.tap(conv2d(up / "conv", nn.upsample(x, *size)))
    return module.tap(x)


def sinusoid(module, values, dim, config):
    x = nn.timestep_embedding(
        values, dim, config["flip_sin_to_cos"], config["freq_shift"], module.component.dtype
    )
    return module.tap(x)


def embedding(module, x):
    """Two linear maps with SiLU between."""
    x = linear(module / "linear_1", x)
    silu = nn.gelu if mutant("time-gelu") else nn.silu
    x = activation(module / "act", x, silu)
    return module.tap(linear(module / "linear_2", x))


def added_embedding(root, prompt, config):
    """XL: of the pooled text and the six numbers, one after the other."""
    numbers, pooled = prompt.numbers, prompt.pooled
    if mutant("width-before-height"):
        numbers = numbers[:, [1, 0, 3, 2, 5, 4]]
    if mutant("target-before-original"):
        numbers = numbers[:, [4, 5, 2, 3, 0, 1]]
    if mutant("crop-in-the-middle"):
        numbers = numbers.copy()
        numbers[:, 2:4] = np.floor(np.abs(numbers[:, 0:2] - numbers[:, 4:6]) / 2)
    if mutant("numbers-all-target"):
        numbers = numbers.copy()
        numbers[:, 0:2] = numbers[:, 4:6]
    if mutant("numbers-in-bf16"):
        numbers = nn.short(numbers.astype(np.float32), 16).astype(numbers.dtype)
    dim = config["addition_time_embed_dim"]
    x = sinusoid(root / "add_time_proj", numbers.ravel(), dim, config).reshape(len(numbers), -1)
    if mutant("numbers-transposed"):  # of each frequency six numbers, not of each number its frequencies
        x = x.reshape(len(numbers), -1, dim).swapaxes(1, 2).reshape(len(numbers), -1)
    parts = [x, pooled] if mutant("numbers-before-pooled") else [pooled, x]
    return embedding(root / "add_embedding", np.concatenate(parts, -1))


def time_embedding(root, timestep, prompt, batch, config):
    if mutant("timestep-in-bf16"):
        timestep = float(nn.short(np.array([timestep], np.float32), 16)[0])
    if mutant("timestep-normalised"):
        timestep = timestep / 1000
    x = sinusoid(root / "time_proj", [timestep] * batch, config["block_out_channels"][0], config)
    x = embedding(root / "time_embedding", x)
    if config["addition_embed_type"] is None:
        return x
    added = added_embedding(root, prompt, config)
    return x if mutant("added-embedding-missing") else nn.add(x, added)


def forward(component, sample, timestep, prompt):
    config, root = component.config, component.root()
    s, levels = Settings(config), len(config["block_out_channels"])
    layers = config["layers_per_block"]
    time = time_embedding(root, timestep, prompt, len(sample), config)
    x = conv2d(root / "conv_in", sample)

    skips = [x]
    for i, kind in enumerate(config["down_block_types"]):
        block, attends, last = root / f"down_blocks.{i}", kind.startswith("Cross"), i == levels - 1
        x, new = down_block(block, x, time, prompt, s, i, layers, attends, last)
        skips += new
    x = mid_block(root / "mid_block", x, time, prompt, s)
    for i, kind in enumerate(config["up_block_types"]):
        block, attends, last = root / f"up_blocks.{i}", kind.startswith("Cross"), i == levels - 1
        skips, own = skips[: -(layers + 1)], skips[-(layers + 1) :]
        # Twice the size would miss where a way down has rounded up: the next skip knows.
        size = None if last else skips[-1].shape[2:]
        x = up_block(block, x, time, prompt, s, levels - 1 - i, own, attends, size)

    x = group_norm(root / "conv_norm_out", x, s.groups, s.eps)
    x = activation(root / "conv_act", x, nn.silu)
    return root.tap(conv2d(root / "conv_out", x))
