"""The residual block that the UNet and the VAE share; the UNet's also takes the time."""

import numpy as np

import nn
from model import conv2d, group_norm, linear
from mutants import mutant


def resnet(module, x, groups, eps, time=None):
    """x (B, C, H, W), time (B, T) or None."""
    h = group_norm(module / "norm1", x, groups, eps)
    h = nn.relu(h) if mutant("resnet-relu") else nn.silu(h)
    h = conv2d(module / "conv1", h)
    if time is not None:
        t = time if mutant("time-silu-missing") else nn.silu(time)
        if mutant("time-silu-twice"):
            t = nn.silu(t)
        time = linear(module / "time_emb_proj", t)[:, :, None, None]
        h = h if mutant("time-after-norm") else nn.add(h, time)
    h = group_norm(module / "norm2", h, groups, eps)
    if mutant("time-after-norm") and time is not None:
        h = nn.add(h, time)
    h = nn.silu(h)
    h = conv2d(module / "conv2", h)
    shortcut = module / "conv_shortcut"
    if shortcut.bias() is not None:  # where the number of channels changes
        x = conv2d(shortcut, x, padding=(0, 0, 0, 0))
    if mutant("resnet-halved") and time is not None:
        return module.tap(nn.rounded(nn.add(x, h) / np.sqrt(h.dtype.type(2))))
    return module.tap(nn.add(x, h))
