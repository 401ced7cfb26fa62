"""Random numbers that depend on a name alone, so that adding a tensor changes no other.

NumPy's PCG64 is used rather than torch's generator: its normals are the same bits on every
machine, and the weights of the tiny model are compared bit for bit when the data are made anew.
"""

import hashlib

import numpy as np
import torch


def rng(name):
    """A generator seeded by the SHA-256 of `name`."""
    digest = hashlib.sha256(name.encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "little")))


def normal(name, shape, std=1.0, mean=0.0):
    """Normal numbers, float32."""
    values = rng(name).standard_normal(tuple(shape)) * std + mean
    return torch.from_numpy(np.asarray(values, dtype=np.float32))


def uniform(name, shape, low, high):
    """Uniform numbers in [low, high), float32."""
    values = rng(name).random(tuple(shape)) * (high - low) + low
    return torch.from_numpy(np.asarray(values, dtype=np.float32))


def choice(name, options):
    """One of `options`."""
    return options[int(rng(name).integers(len(options)))]
