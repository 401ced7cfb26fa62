"""Chapter 3: a ResNet block from the three operations; w: its weights by name, temb (B, C): the timestep."""

from conv2d import conv2d
from group_norm import group_norm
from silu import silu


def resnet(x, temb, w, groups, eps):
    h = silu(group_norm(x, w["norm1.weight"], w["norm1.bias"], groups, eps))
    h = conv2d(h, w["conv1.weight"], w["conv1.bias"])
    time = silu(temb) @ w["time_emb_proj.weight"].T + w["time_emb_proj.bias"]
    h = h + time[:, :, None, None]
    h = silu(group_norm(h, w["norm2.weight"], w["norm2.bias"], groups, eps))
    h = conv2d(h, w["conv2.weight"], w["conv2.bias"])
    return x + h
