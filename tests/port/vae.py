"""The VAE's decoder: latents (B, 4, H, W), divided by the scaling factor -> (B, 3, 8H, 8W).

4 channels and 8 times the size are what the published models have: the configuration says both.
"""

import nn
from deviations import deviates
from model import activation, conv2d, group_norm, linear
from mutants import mutant
from resnet import resnet


def attention(module, x, groups, eps):
    """One head over the pixels, with its own residual."""
    if mutant("vae-attention-left-out"):
        return module.tap(x)
    B, C, H, W = x.shape
    h = group_norm(module / "group_norm", x.reshape(B, C, H * W), groups, eps).swapaxes(1, 2)
    q, k, v = (linear(module / name, h) for name in ("to_q", "to_k", "to_v"))
    heads = C // 8 if mutant("vae-heads") else 1
    a = nn.attention(q, k, v, heads)
    if mutant("vae-attention-bypassed") or deviates("vae-without-attention"):
        a = h
    h = linear(module / "to_out.0", a)
    return module.tap(nn.add(x, h.swapaxes(1, 2).reshape(B, C, H, W)))


def decode(component, latents):
    config, root = component.config, component.root()
    groups, eps = config["norm_num_groups"], 1e-6  # fixed in diffusers' code
    if mutant("groupnorm-eps-vae"):
        eps = 1e-5
    decoder = root / "decoder"
    x = latents
    if config.get("use_post_quant_conv", True) and not mutant("post-quant-missing"):
        x = conv2d(root / "post_quant_conv", x, padding=(0, 0, 0, 0))
    x = conv2d(decoder / "conv_in", x)

    mid = decoder / "mid_block"
    x = resnet(mid / "resnets.0", x, groups, eps)
    x = attention(mid / "attentions.0", x, groups, eps)
    x = mid.tap(resnet(mid / "resnets.1", x, groups, eps))
    levels = len(config["block_out_channels"])
    for i in range(levels):
        block = decoder / f"up_blocks.{i}"
        for j in range(config["layers_per_block"] + (0 if mutant("vae-block-short") else 1)):
            x = resnet(block / f"resnets.{j}", x, groups, eps)
        if i < levels - 1:
            up = block / "upsamplers.0"
            x = nn.upsample(x, 2 * x.shape[2], 2 * x.shape[3])
            x = up.tap(conv2d(up / "conv", x))
        x = block.tap(x)

    x = group_norm(decoder / "conv_norm_out", x, groups, eps)
    x = activation(decoder / "conv_act", x, nn.silu)
    return decoder.tap(conv2d(decoder / "conv_out", x))
