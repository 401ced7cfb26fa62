"""Norms, activations, softmax, and operations that only move numbers."""

import torch
import torch.nn.functional as F
from diffusers.models.embeddings import get_timestep_embedding

from golden.calls import Calls
from golden.seeds import normal, rng
from golden.taps import exact_timestep_embedding


def group_norm(out):
    calls = Calls(out, "group_norm", "Group norm over NCHW; the variance divides by N.")
    shapes = [  # name, x, groups, eps, std, mean
        ("one-group", (2, 6, 3, 5), 1, 1e-5, 1.0, 0.0),
        ("group-per-channel", (2, 4, 3, 5), 4, 1e-5, 1.0, 0.0),
        ("two-per-group", (1, 8, 5, 3), 4, 1e-6, 1.0, 0.0),
        ("one-pixel", (2, 8, 1, 1), 2, 1e-5, 1.0, 0.0),
        ("low-variance-1e-5", (2, 8, 4, 3), 4, 1e-5, 3e-3, 0.02),
        ("low-variance-1e-6", (2, 8, 4, 3), 4, 1e-6, 3e-3, 0.02),
        ("large-mean", (1, 6, 4, 5), 3, 1e-5, 1.0, 100.0),
        ("constant", (1, 4, 2, 3), 2, 1e-6, 0.0, 0.75),
        ("wide", (1, 32, 8, 6), 8, 1e-6, 2.0, -0.5),
    ]
    for name, x, groups, eps, std, mean in shapes:
        tensors = {
            "x": normal(f"group_norm/{name}/x", x, std, mean),
            "weight": normal(f"group_norm/{name}/weight", (x[1],), 0.3, 1.0),
            "bias": normal(f"group_norm/{name}/bias", (x[1],), 0.3),
        }
        calls.add(
            name,
            lambda x, weight, bias, g=groups, e=eps: F.group_norm(x, g, weight, bias, e),
            tensors,
            {"groups": groups, "eps": eps},
        )
    calls.write()


def layer_norm(out):
    calls = Calls(out, "layer_norm", "Layer norm over the last dimension.")
    shapes = [
        ("usual", (2, 5, 40), 1e-5, 1.0, 0.0),
        ("odd", (1, 3, 7), 1e-5, 1.0, 0.0),
        ("one-feature", (2, 3, 1), 1e-5, 1.0, 0.0),
        ("low-variance", (2, 4, 16), 1e-5, 3e-3, 0.02),
        ("low-variance-1e-6", (2, 4, 16), 1e-6, 3e-3, 0.02),
        ("large-mean", (1, 4, 24), 1e-5, 1.0, 100.0),
        ("large", (1, 9, 160), 1e-5, 5.0, 1.0),
    ]
    for name, x, eps, std, mean in shapes:
        tensors = {
            "x": normal(f"layer_norm/{name}/x", x, std, mean),
            "weight": normal(f"layer_norm/{name}/weight", x[-1:], 0.3, 1.0),
            "bias": normal(f"layer_norm/{name}/bias", x[-1:], 0.3),
        }
        calls.add(
            name,
            lambda x, weight, bias, e=eps: F.layer_norm(x, x.shape[-1:], weight, bias, e),
            tensors,
            {"eps": eps},
        )
    calls.write()


def activations(out):
    """silu, gelu (erf), quick_gelu, sigmoid: one folder each, the same inputs."""
    functions = {
        "silu": (F.silu, "x * sigmoid(x)."),
        "gelu": (F.gelu, "x * (1 + erf(x / sqrt 2)) / 2: the exact form, not the tanh one."),
        "quick_gelu": (lambda x: x * torch.sigmoid(1.702 * x), "x * sigmoid(1.702 x)."),
        "sigmoid": (torch.sigmoid, "1 / (1 + exp(-x))."),
    }
    inputs = {
        "dense": torch.linspace(-10, 10, 801, dtype=torch.float32),
        "random": normal("activation/random", (2, 3, 5, 4), 2.0),
        "large": torch.tensor([-1e4, -200, -90, -60, -38, -20, 20, 38, 90, 200, 1e4]),
        "tiny": torch.tensor([0.0, -0.0, 1e-38, -1e-30, 1e-20, -1e-10, 1e-7, -1e-5, 1e-3]),
        "one": torch.tensor([0.5]),
    }
    for op, (function, about) in functions.items():
        calls = Calls(out, op, about)
        for name, x in inputs.items():
            calls.add(name, lambda x, f=function: f(x), {"x": x})
        calls.write()


def softmax(out):
    calls = Calls(out, "softmax", "Softmax over the last dimension.")
    inputs = {
        "usual": normal("softmax/usual", (2, 3, 7), 2.0),
        "one-element": normal("softmax/one", (3, 1)),
        "large": normal("softmax/large", (2, 9), 3.0, 1e4),
        "wide": normal("softmax/wide", (2, 5), 60.0),
        "very-negative": torch.tensor([[-1e30, 0.0, -1e4, 1.0], [-1e30, -1e30, -1e30, -1e30]]),
        "equal": torch.zeros(2, 6),
        "long": normal("softmax/long", (1, 300), 1.5),
    }
    for name, x in inputs.items():
        calls.add(name, lambda x: F.softmax(x, -1), {"x": x})
    calls.write()


def geglu(out):
    about = "x (...,2C) -> value * gelu(gate); the value is the first half, the gate the second."
    calls = Calls(out, "geglu", about)
    for name, shape, std in [
        ("usual", (2, 5, 16), 1.0),
        ("one", (1, 1, 2), 1.0),
        ("odd", (1, 3, 14), 2.0),
        ("large", (1, 4, 12), 6.0),
    ]:

        def function(x):
            value, gate = x.chunk(2, -1)
            return value * F.gelu(gate)

        calls.add(name, function, {"x": normal(f"geglu/{name}", shape, std)})
    calls.write()


def embedding(out):
    calls = Calls(out, "embedding", "Rows of weight (V,D) at ids.")
    for name, ids, rows, width in [
        ("usual", (2, 7), 11, 5),
        ("one", (1, 1), 1, 3),
        ("repeated", (3, 4), 2, 4),
        ("width-one", (1, 5), 9, 1),
    ]:
        tensors = {
            "ids": torch.from_numpy(rng(f"embedding/{name}/ids").integers(0, rows, ids)),
            "weight": normal(f"embedding/{name}/weight", (rows, width)),
        }
        calls.add(name, lambda ids, weight: F.embedding(ids, weight), tensors)
    calls.write()


def pool_text(out):
    about = (
        "x (B,T,C) at each text's end: the first position of eos_token_id in ids (B,T); 2 stands for "
        "the first position of the largest id, as in transformers' CLIPTextModel."
    )
    calls = Calls(out, "pool_text", about)
    for name, ids, eos in [
        ("usual", [[8, 3, 4, 9, 0], [8, 9, 0, 0, 0], [8, 1, 2, 3, 9]], 9),
        ("padded-with-the-end", [[8, 3, 9, 9, 9], [8, 9, 9, 9, 9]], 9),
        ("largest", [[8, 3, 9, 9, 9], [8, 5, 4, 9, 0]], 2),
        ("largest-is-a-new-token", [[8, 11, 3, 9, 9]], 2),
        ("new-tokens", [[8, 11, 3, 9, 9]], 9),
        ("no-end", [[8, 3, 4]], 9),
        ("one-token", [[9]], 9),
    ]:
        ids = torch.tensor(ids)
        tensors = {"x": normal(f"pool_text/{name}", (*ids.shape, 6)), "ids": ids}

        def function(x, ids, eos=eos):
            found = ids if eos == 2 else (ids == eos).int()
            return x[torch.arange(len(x)), found.argmax(-1)]

        calls.add(name, function, tensors, {"eos_token_id": eos})
    calls.write()


def upsample_nearest(out):
    calls = Calls(out, "upsample_nearest", "torch's nearest: source = floor(i * in / out).")
    for name, x, size in [
        ("twice", (2, 3, 3, 4), [6, 8]),
        ("twice-one-pixel", (1, 2, 1, 1), [2, 2]),
        ("5-to-9", (1, 2, 5, 3), [9, 5]),
        ("to-odd", (2, 2, 3, 2), [5, 3]),
        ("1-to-3", (1, 1, 1, 2), [3, 3]),
        ("same", (1, 2, 3, 4), [3, 4]),
        ("4-to-7", (1, 2, 4, 6), [7, 11]),
    ]:
        tensors = {"x": normal(f"upsample/{name}", x)}
        calls.add(
            name,
            lambda x, s=tuple(size): F.interpolate(x, size=s, mode="nearest"),
            tensors,
            {"size": size},
        )
    calls.write()


def timestep_embedding(out):
    about = (
        "Sines and cosines of a timestep. angles f64: every step in float64, which replaces "
        "diffusers' get_timestep_embedding. angles f32: the truth is diffusers' own float32 "
        "result, and f32_error is its distance from the float64 form."
    )
    calls = Calls(out, "timestep_embedding", about)
    steps = torch.tensor([0.0, 1, 21, 500, 981, 999])
    settings = [  # name, dim, flip_sin_to_cos, freq_shift
        ("sd15", 320, True, 0),
        ("tiny", 16, True, 0),
        ("sin-first", 16, False, 0),
        ("shift", 16, True, 1),
        ("odd", 9, True, 0),
    ]
    for name, dim, flip, shift in settings:
        args = (steps, dim, flip, shift)
        exact, stock = exact_timestep_embedding(*args), get_timestep_embedding(*args)
        attrs = {"dim": dim, "flip_sin_to_cos": flip, "freq_shift": shift, "max_period": 10000}
        tensors = {"timesteps": steps}
        calls.record(name, tensors, {**attrs, "angles": "f64"}, {"out": exact}, {"out": stock})
        calls.record(
            f"{name}-f32",
            tensors,
            {**attrs, "angles": "f32"},
            {"out": stock.double()},
            {"out": (2 * stock.double() - exact).float()},
        )
    calls.write()


def concat(out):
    calls = Calls(out, "concat", "Concatenation of NCHW tensors along the channels.")
    for name, shapes in [
        ("two", [(2, 3, 2, 5), (2, 4, 2, 5)]),
        ("one-channel", [(1, 1, 3, 2), (1, 6, 3, 2)]),
        ("one-pixel", [(2, 5, 1, 1), (2, 2, 1, 1)]),
        ("three", [(2, 2, 3, 1), (2, 1, 3, 1), (2, 3, 3, 1)]),
    ]:
        parts = [normal(f"concat/{name}/{i}", shape) for i, shape in enumerate(shapes)]
        calls.add(name, lambda x: torch.cat(x, 1), {"x": parts})
    calls.write()
