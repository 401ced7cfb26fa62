"""The MoLE layer as an operation: every tap and the result."""

import torch
from torch import nn

from golden.calls import Calls
from golden.mole import MoleLayer
from golden.seeds import normal

NAMES = ("face", "hand", "third")


def layer(tensors, experts):
    """A MoleLayer from the tensors of a call."""
    weight, bias = tensors["weight"], tensors["bias"]
    d_out, d_in = weight.shape[:2]
    if weight.dim() == 4:
        base = nn.Conv2d(d_in, d_out, 1, bias=bias is not None)
    else:
        base = nn.Linear(d_in, d_out, bias=bias is not None)
    base.weight = nn.Parameter(weight, False)
    if bias is not None:
        base.bias = nn.Parameter(bias, False)
    factors, gates = {}, {"Phi_1": (tensors["gate.Phi.weight"], tensors["gate.Phi.bias"])}
    for name, alpha in experts.items():
        factors[name] = (alpha, tensors[f"{name}.lora_down"], tensors[f"{name}.lora_up"])
        gates[name] = (tensors[f"{name}.scale_weight"], tensors[f"{name}.scale_bias"])
    return MoleLayer(base, factors, gates)


def taps(tensors, experts):
    """All taps of a layer's pass over x, and `out`."""
    module, found = layer(tensors, experts), {}
    module.probe = lambda name, value: found.__setitem__(name, value)
    out = module(tensors["x"])
    return {**found, "out": out}


def fill(shape, offset):
    """sin(0.7 i + offset) in C order, float64."""
    i = torch.arange(torch.Size(shape).numel(), dtype=torch.float64)
    return torch.sin(0.7 * i + offset).reshape(shape)


def fixture(conv):
    """A layer without its frozen part (weight 0), filled by a formula; see check_fixture."""
    d, d_out, ones = (4, 4, (1, 1)) if conv else (4, 3, ())
    tensors = {
        "x": fill((2, 4, 4, 4) if conv else (2, 5, 4), 0),
        "weight": torch.zeros(d_out, d, *ones, dtype=torch.float64),
        "bias": None,
        "gate.Phi.weight": fill((2, d), 30),
        "gate.Phi.bias": fill((2,), 31),
    }
    for i, (name, rank) in enumerate((("face", 2), ("hand", 3))):
        tensors[f"{name}.lora_down"] = fill((rank, d, *ones), 10 + i)
        tensors[f"{name}.lora_up"] = fill((d_out, rank, *ones), 20 + i)
        tensors[f"{name}.scale_weight"] = fill((1, d_out), 32 + 2 * i)
        tensors[f"{name}.scale_bias"] = fill((1,), 33 + 2 * i)
    return tensors, {"face": 0.5, "hand": 1.5}  # scales 0.25 and 0.5


def check_fixture():
    """Known results of the original classes on these fills, in float64."""
    linear, conv = (taps(*fixture(c)) for c in (False, True))
    expected = [
        (linear["out"][0, 0, 0], 0.122029937832987),
        (linear["out"][1, 4, 2], -0.187392953701865),
        (linear["out"].sum(), 0.138549078435892),
        (linear["out"].square().sum(), 0.344226142516119),
        (linear["mole.face.local"][0, 0], 0.4262829541470122),
        (linear["mole.hand.local"][0, 0], 0.7102182541632496),
        (linear["mole.face.global"][0], 0.7252690872493515),
        (linear["mole.hand.global"][1], 0.40614245845527075),
        (conv["out"].sum(), -1.060874755497751),
        (conv["out"].square().sum(), 0.836466041901706),
        (conv["out"][1, 3, 2, 1], -0.076183234835028),
    ]
    for found, known in expected:
        assert abs(found.item() - known) < 1e-14, (found.item(), known)


def random_layer(name, x, d_out, ranks, bias):
    """Inputs of a call with random numbers."""
    conv = len(x) == 4
    d, ones = (x[1], (1, 1)) if conv else (x[-1], ())

    def part(key, shape, std):
        return normal(f"mole/{name}/{key}", shape, std)

    tensors = {
        "x": part("x", x, 1.0),
        "weight": part("weight", (d_out, d, *ones), d**-0.5),
        "bias": part("bias", (d_out,), 0.3) if bias else None,
        "gate.Phi.weight": part("Phi.weight", (len(ranks), d), d**-0.5),
        "gate.Phi.bias": part("Phi.bias", (len(ranks),), 0.5),
    }
    for expert, rank in zip(NAMES, ranks):
        tensors[f"{expert}.lora_down"] = part(f"{expert}.down", (rank, d, *ones), d**-0.5)
        tensors[f"{expert}.lora_up"] = part(f"{expert}.up", (d_out, rank, *ones), rank**-0.5)
        tensors[f"{expert}.scale_weight"] = part(f"{expert}.w", (1, d_out), 3.0 * d_out**-0.5)
        tensors[f"{expert}.scale_bias"] = part(f"{expert}.b", (1,), 0.5)
    return tensors


def mole(out):
    check_fixture()
    about = "A frozen Linear or 1x1 Conv2d with low-rank experts, local and global gates."
    calls = Calls(out, "mole", about)
    cases = []
    for name, conv in (("fixture-linear", False), ("fixture-conv", True)):
        tensors, alphas = fixture(conv)
        rounded = {k: None if v is None else v.float() for k, v in tensors.items()}
        cases.append((name, rounded, alphas))
    for name, x, d_out, ranks, alphas, bias in [
        ("linear", (2, 7, 12), 9, (2, 5), (1.0, 3.0), True),
        ("linear-no-bias", (2, 6, 5), 16, (4, 1), (1.5, 1.0), False),
        ("one-token", (2, 1, 8), 6, (3, 2), (2.0, 1.0), True),
        ("conv", (2, 8, 3, 5), 8, (2, 3), (1.0, 2.0), True),
        ("conv-one-pixel", (1, 6, 1, 1), 6, (1, 2), (1.0, 3.0), True),
        ("conv-other-width", (2, 4, 2, 3), 6, (2, 3), (1.0, 2.0), False),
        ("one-expert", (2, 5, 6), 6, (3,), (2.0,), True),
        ("three-experts", (2, 5, 6), 7, (1, 2, 4), (1.0, 3.0, 2.0), True),
    ]:
        experts = dict(zip(NAMES, alphas))
        cases.append((name, random_layer(name, x, d_out, ranks, bias), experts))
    for name, tensors, experts in cases:
        plain = ("x", "weight", "bias", "gate.Phi.weight", "gate.Phi.bias")
        keys = calls.inputs(name, {k: v for k, v in tensors.items() if k not in plain})
        parts = ("lora_down", "lora_up", "scale_weight", "scale_bias")
        rows = [
            {"name": e, "alpha": alpha, **{p: keys[f"{e}.{p}"] for p in parts}}
            for e, alpha in experts.items()
        ]
        results = []
        for dtype in (torch.float64, torch.float32):
            typed = {k: None if v is None else v.to(dtype) for k, v in tensors.items()}
            with torch.no_grad():
                results.append(taps(typed, experts))
        calls.record(name, {k: tensors[k] for k in plain}, None, *results, experts=rows)
    calls.write()
