"""Chapter 8: a linear layer with experts. x (B, T, d); experts: dicts with down, up, alpha, w and c."""

import numpy as np


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def mole_layer(x, weight, bias, experts, phi_weight, phi_bias):
    y = x @ weight.T + bias
    local = sigmoid(x @ phi_weight.T + phi_bias)
    for i, e in enumerate(experts):
        rank = len(e["down"])
        E = e["alpha"] / rank * (x @ e["down"].T @ e["up"].T)
        D = local[:, :, i, None]
        pooled = E.mean(axis=1)
        G = sigmoid(pooled @ e["w"] + e["c"])[:, None, None]
        y = y + D * G * E
    return y
