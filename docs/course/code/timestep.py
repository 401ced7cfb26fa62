"""Chapter 6: the timestep as a vector: cosines and sines of falling frequencies."""

import numpy as np


def timestep_embedding(t, dim):
    half = dim // 2
    angle = t * np.exp(-np.log(10000) * np.arange(half) / half)
    return np.concatenate([np.cos(angle), np.sin(angle)])
