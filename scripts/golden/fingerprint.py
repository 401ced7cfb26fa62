"""What is kept of a tensor too large to keep: docs/golden-format.md, kind "fingerprint"."""

import numpy as np
import torch

from golden import synth

VALUES = 32


def positions(count, most):
    """Flat indices to look at: all, or `most` by the golden ratio."""
    if count <= most:
        return np.arange(count)
    k = np.arange(most, dtype=np.uint64)
    with np.errstate(over="ignore"):
        spread = (k * np.uint64(synth.GOLDEN)) >> np.uint64(32)
    return ((spread * np.uint64(count)) >> np.uint64(32)).astype(np.int64)


class Fingerprint:
    """Of a tensor: statistics and values."""

    def __init__(self, x):
        flat = x.detach().contiguous().flatten()
        wide = flat.double()
        assert torch.isfinite(wide).all()
        self.shape = list(x.shape)
        self.statistics = [
            wide.mean().item(),
            wide.std(unbiased=False).item(),
            wide.min().item(),
            wide.max().item(),
            torch.linalg.vector_norm(wide).item(),
        ]
        self.values = np.zeros(VALUES)
        chosen = positions(flat.numel(), VALUES)
        self.values[: len(chosen)] = wide[torch.from_numpy(chosen)].numpy()


def tables(prints):
    """The two tensors of a case: row k belongs to tap k."""
    statistics = [p.statistics for p in prints]
    return {
        "statistics": torch.tensor(statistics, dtype=torch.float64),
        "values": torch.from_numpy(np.stack([p.values for p in prints])),
    }
