"""Chapter 9: how far a tensor is from the truth, in the numbers that `mole compare` prints."""

import numpy as np


def distance(candidate, truth):
    error = candidate - truth
    rms, truth_rms = (error**2).mean() ** 0.5, (truth**2).mean() ** 0.5
    cosine = (candidate * truth).mean() / ((candidate**2).mean() ** 0.5 * truth_rms)
    return {"max abs": abs(error).max(), "rel rms": rms / truth_rms, "cosine": cosine}


def in_order(x, dtype):
    total = dtype(0)
    for number in x.astype(dtype):
        total = total + number
    return total
