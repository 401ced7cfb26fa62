"""Chapter 3: a 3x3 convolution of x (B, Ci, H, W) with weight (Co, Ci, 3, 3), padded by one pixel of zeros."""

import numpy as np


def conv2d(x, weight, bias):
    H, W = x.shape[2:]
    x = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    out = bias[:, None, None]
    for u in range(3):
        for v in range(3):
            seen = x[:, :, u : u + H, v : v + W]
            out = out + np.einsum("bihw,oi->bohw", seen, weight[:, :, u, v])
    return out
