"""Chapter 2: twice as wide and high without new numbers, and numbers of -1..1 as bytes."""

import numpy as np


def upsample_nearest(x, H, W):
    h, w = x.shape[-2:]
    rows = np.arange(H) * h // H
    columns = np.arange(W) * w // W
    return x[..., rows[:, None], columns]


def to_bytes(decoded):
    image = np.clip(decoded / 2 + 0.5, 0, 1)
    return np.rint(255 * image).astype(np.uint8)
