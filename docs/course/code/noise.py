"""Chapter 1: noise levels, adding noise, and the picture that a prediction of the noise foresees."""

import numpy as np


def alphas_cumprod(first=0.00085, last=0.012, steps=1000):
    roots = np.linspace(first**0.5, last**0.5, steps)
    betas = roots**2
    return np.cumprod(1 - betas)


def add_noise(x0, noise, alpha):
    return alpha**0.5 * x0 + (1 - alpha) ** 0.5 * noise


def foreseen(x, noise, alpha):
    return (x - (1 - alpha) ** 0.5 * noise) / alpha**0.5
