"""Random weights that behave like a trained model's.

Activations stay near unit size, attention is neither uniform nor one-hot, norms have weights near
one and real biases. And some groups of every GroupNorm are *quiet*: their variance at the norm's
input is about 1e-5, as happens in trained models, because only there does an epsilon of 1e-5
differ from one of 1e-6. Quiet channels are made by making the rows of the layers that write them
tiny, with one common bias, so that the group has a mean but hardly any spread.
"""

import re

import torch

from golden.seeds import normal

QUIET = 0.004  # how much smaller the rows of quiet channels are
QUIET_BIAS = 0.02

# (pattern of the module's name, gain): weights are normal with std = gain / sqrt(fan in).
# 1.6 makes up for SiLU, which halves the energy of a normal input.
GAINS = [
    (r"time_embedding\.linear_1$", 1.4),
    (r"time_embedding\.linear_2$", 1.6),
    (r"add_embedding\.linear_1$", 1.4),
    (r"add_embedding\.linear_2$", 1.2),
    (r"time_emb_proj$", 1.0),
    (r"conv1$", 1.6),
    (r"conv2$", 0.8),
    (r"conv_shortcut$", 0.75),
    (r"(to_q|to_k|q_proj|k_proj)$", 1.25),
    (r"(to_v|v_proj)$", 1.0),
    (r"(to_out\.0|out_proj)$", 0.9),
    (r"ff\.net\.0\.proj$", 1.1),
    (r"ff\.net\.2$", 1.0),
    (r"mlp\.fc1$", 1.2),
    (r"mlp\.fc2$", 0.9),
    (r"proj_out$", 0.4),
    (r"decoder\.conv_in$", 0.25),
    (r"decoder\.conv_out$", 0.65),
    (r"conv_out$", 1.6),
    (r"token_embedding$", 0.7),
    (r"position_embedding$", 0.5),
]

# Layers that write the residual stream (its first group is quiet) and those that write the
# input of a ResNet's second norm (its last group is).
STREAM = (
    r"(^conv_in|coder\.conv_in|conv2|conv_shortcut|proj_out|samplers\.0\.conv"
    r"|mid_block\.attentions\.0\.to_out\.0)$"
)
SECOND_NORM = r"(conv1|time_emb_proj)$"


# Layers that write the stream of tokens inside a transformer.
RESIDUAL = r"transformer_blocks\..*(to_out\.0|ff\.net\.2)$"


def gain_of(name, residual=1.0):
    """The gain of a layer, 1 where the table says nothing. residual: a factor for what RESIDUAL names.

    Of ten blocks in a row each must change the stream less than a lone one does: otherwise the stream grows, and
    with it every rounding error.
    """
    gain = next((gain for pattern, gain in GAINS if re.search(pattern, name)), 1.0)
    return gain * residual if re.search(RESIDUAL, name) else gain


def quiet_rows(name, rows, groups):
    """Which output channels of the layer `name` are quiet, as a slice (None: none)."""
    width = rows // groups
    if re.search(STREAM, name):
        return slice(0, width)
    if re.search(SECOND_NORM, name):
        return slice(rows - width, rows)
    return None


def fill(model, prefix, groups, dtype, residual=1.0):
    """Set every parameter of `model`, each exactly representable in `dtype`."""
    for name, module in model.named_modules():
        own = dict(module.named_parameters(recurse=False))
        if not own:
            continue
        key = f"{prefix}.{name}"
        norm = isinstance(module, (torch.nn.GroupNorm, torch.nn.LayerNorm))
        embedding = isinstance(module, torch.nn.Embedding)
        values = {}
        if norm:
            values["weight"] = normal(f"{key}.weight", module.weight.shape, 0.2, 1.0)
            values["bias"] = normal(f"{key}.bias", module.bias.shape, 0.15)
        else:
            fan_in = 1 if embedding else module.weight[0].numel()
            std = gain_of(name, residual) / fan_in**0.5
            values["weight"] = normal(f"{key}.weight", module.weight.shape, std)
            if "bias" in own:
                values["bias"] = normal(f"{key}.bias", module.bias.shape, 0.1)
            quiet = quiet_rows(name, module.weight.shape[0], groups) if groups else None
            if quiet:
                values["weight"][quiet] *= QUIET
                if "bias" in own:
                    values["bias"][quiet] = QUIET_BIAS
        assert values.keys() == own.keys(), (key, own.keys())
        for part, value in values.items():
            own[part].data.copy_(value.to(dtype))
    return model


def see_noise(unet):
    """Let the UNet's output follow its input a little, as any trained noise predictor's does.

    Otherwise the latents of a run grow without end. Some channels of conv_in carry the latent and, where there
    are channels enough, its negative; the last skip brings them to the last ResNet, and conv_out subtracts the
    two: silu(x) - silu(-x) = x. Without the negative it is silu(x), whose slope at 0 is a half.
    """
    first, last = unet.conv_in.weight.data, unet.conv_out.weight.data
    resnet = unet.up_blocks[-1].resnets[-1]
    shortcut, second = resnet.conv_shortcut.weight.data, resnet.conv2.weight.data
    width = first.shape[0]
    signs = (1.0, -1.0) if width >= 16 else (1.0,)
    start = 8 if width >= 16 else width // unet.config.norm_num_groups  # behind the quiet channels
    seen = slice(start, start + 4 * len(signs))
    first[seen] *= 0.25
    shortcut[seen] *= 0.25
    last[:, seen] *= 0.5
    for i, sign in enumerate(signs):
        for c in range(4):
            first[start + 4 * i + c, c, 1, 1] = sign
            last[c, start + 4 * i + c, 1, 1] = sign * 1.6 / len(signs)
    for c in range(seen.start, seen.stop):
        shortcut[c, width + c, 0, 0] = 2.0
    second[seen] *= 0.4
    for weight in (first, shortcut, second, last):
        weight.copy_(weight.to(torch.float16))
    return unet
