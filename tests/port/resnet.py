"""The residual block that the UNet and the VAE share; the UNet's also takes the time."""

import nn
from model import conv2d, group_norm, linear
from mutants import mutant


def resnet(module, x, groups, eps, time=None):
    """x (B, C, H, W), time (B, T) or None."""
    h = nn.silu(group_norm(module / "norm1", x, groups, eps))
    h = conv2d(module / "conv1", h)
    if time is not None:
        t = time if mutant("time-silu-missing") else nn.silu(time)
        h = nn.add(h, linear(module / "time_emb_proj", t)[:, :, None, None])
    h = nn.silu(group_norm(module / "norm2", h, groups, eps))
    h = conv2d(module / "conv2", h)
    shortcut = module / "conv_shortcut"
    if shortcut.bias() is not None:  # where the number of channels changes
        x = conv2d(shortcut, x, padding=(0, 0, 0, 0))
    return module.tap(nn.add(x, h))
