"""What PyTorch's own passes in bf16, f16 and tf32 lose per kind of module, in units that can be computed beforehand.

    python scripts/golden/type_errors.py [--out golden] [--json FILE] [PASS...]

Each module is judged on the inputs that the pass itself brought: a float64 pass with the stored weights, in which
every tap, once taken, is replaced by the pass's own. The rms of what is left is divided by units that are float64
arithmetic with roundings to the pass's type put in:

    a    the result rounded once to the type of the tap
    b    weights, inputs of a leaf, and result rounded once each, exact between
    c    weights, and the result of every operation of torch (a product, an attention, a sum, a sigmoid) rounded once
    d    as c, rms of eight other draws of the same roundings: what another program of the same kind may lose

Cells are the median and the largest ratio over the taps of a kind.
"""

import argparse
import contextlib
import copy
import json
import statistics
import sys
from collections import defaultdict
from pathlib import Path

import torch
from diffusers.models.attention_processor import AttnProcessor
from torch.utils._python_dispatch import TorchDispatchMode

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from golden.alarms import passes  # noqa: E402
from golden.taps import LEAVES, Recorder  # noqa: E402

PRODUCTS = (torch.nn.Linear, torch.nn.Conv2d)
DRAWS = 8


def round_bits(x, bits):
    """float32 numbers with so many bits of the fraction rounded away, halves to even."""
    i = x.contiguous().view(torch.int32)
    i = i + ((1 << (bits - 1)) - 1) + ((i >> bits) & 1)
    return (i >> bits << bits).view(torch.float32)


def rounded(x, kind):
    """x in float64, each number rounded to the nearest of a type."""
    return round_bits(x.float(), 13).double() if kind == "tf32" else x.to(kind).double()


MOVES = ("view", "transpose", "permute", "aten::t", "copy", "detach", "slice", "clone", "expand", "select", "cat",
         "split", "chunk", "unbind", "reshape", "upsample", "pad", "embedding", "alias", "squeeze", "index")


class Rounding(TorchDispatchMode):
    """The result of every operation in float64 is rounded to a type.

    draw: 0 is the rounding that the type has; any other one rounds to the numbers of the type times a factor
    between 1 and 2, which is another draw of the same dice.
    """

    def __init__(self, kind, draw=0):
        super().__init__()
        self.kind, self.draw = kind, draw
        self.dice = torch.Generator().manual_seed(draw)

    def one(self, x):
        if not isinstance(x, torch.Tensor) or x.dtype != torch.float64:
            return x
        if not self.draw:
            return rounded(x, self.kind)
        factor = 2 ** torch.rand((), generator=self.dice).item()
        return rounded(x * factor, self.kind) / factor

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        name = func.name()
        if name == "aten::t" or any(move in name for move in MOVES if move != "aten::t"):
            return out
        if isinstance(out, (tuple, list)):
            return type(out)(self.one(x) for x in out)
        return self.one(out)


def with_weights(model, kind, only=None):
    """The model in float64, its weights rounded to the type."""
    model = copy.deepcopy(model).double()
    for name, parameter in model.named_parameters() if kind else ():
        if not only or parameter.dim() > 1 and "embedding" not in name.replace("time_embedding", ""):
            parameter.data = rounded(parameter.data, kind)
    return model


def rounded_inputs(model, kind, classes):
    """Hooks: what goes into a Linear, a convolution or a norm is rounded."""

    def before(module, args):
        return tuple(rounded(x, kind) if x.dtype == torch.float64 else x for x in args)

    for path, module in model.named_modules():
        if isinstance(module, classes) if not isinstance(classes, str) else path == classes:
            module.register_forward_pre_hook(before)
    return model


def run(model, prefix, call, dtype, taps=None, mode=None):
    """A pass; with `taps` one that goes on from those of another."""
    context = mode or contextlib.nullcontext()
    with torch.no_grad(), Recorder(model, prefix, force=taps) as recorder, context:
        call(model, dtype)
    return recorder.taps


def kinds_of(model, prefix):
    """Of each module path its kind, in words."""
    kinds = {prefix: type(model).__name__}
    for path, module in model.named_modules():
        kind = type(module).__name__
        if kind in ("Linear", "MoleLayer"):
            leaf = [p for p in path.split(".") if not p.isdigit()][-1]
            kind = "Linear" if kind == "Linear" else "MoLE sum"
            if leaf in ("to_out", "out_proj"):
                kind += " after attention"
        elif kind == "Conv2d":
            kind += f" {module.kernel_size[0]}x{module.kernel_size[0]}"
        elif kind == "GroupNorm" and path.endswith("norm2"):
            kind += " after a sum"
        kinds[f"{prefix}.{path}"] = kind
    return kinds


def kind_of(name, kinds):
    head, _, part = name.partition(".mole.")
    if part == "base" and "to_out" in head:
        return "Linear after attention"
    leaf = part.split(".")[-1]
    return {"": kinds.get(name, "?"), "base": "Linear"}.get(leaf, f"MoLE {leaf}")


def rms(x):
    return x.double().square().mean().sqrt().item()


@contextlib.contextmanager
def tf32(names):
    """Products of operands rounded to tf32, as NVIDIA's tensor cores take them, summed in float32."""
    functional = torch.nn.functional
    stock = {name: getattr(functional, name) for name in names}

    def made(function):
        def call(x, weight, *args, **kwargs):
            return function(round_bits(x, 13), round_bits(weight, 13), *args, **kwargs)

        return call

    for name in names:
        setattr(functional, name, made(stock[name]))
    try:
        yield
    finally:
        for name in names:
            setattr(functional, name, stock[name])


def cast(kind):
    def make(model, prefix, call):
        return run(copy.deepcopy(model).to(kind), prefix, call, kind)

    return make


def eager(kind):
    """Attention as two products with a softmax between, each result in the type."""

    def make(model, prefix, call):
        model = copy.deepcopy(model).to(kind)
        if hasattr(model, "set_attn_processor"):
            model.set_attn_processor(AttnProcessor())
        else:
            model.set_attn_implementation("eager")
        return run(model, prefix, call, kind)

    return make


def no_onednn(kind):
    def make(model, prefix, call):
        with torch.backends.mkldnn.flags(enabled=False):
            return cast(kind)(model, prefix, call)

    return make


def autocast(kind):
    def make(model, prefix, call):
        with torch.autocast("cpu", dtype=kind):
            return run(copy.deepcopy(model), prefix, call, torch.float32)

    return make


def as_tf32(model, prefix, call):
    with tf32(("linear", "conv2d")):
        return run(copy.deepcopy(model), prefix, call, torch.float32)


BF16, F16 = torch.bfloat16, torch.float16
PASSES = {
    "bf16": (BF16, cast(BF16)),
    "bf16 no oneDNN": (BF16, no_onednn(BF16)),
    "bf16 eager attention": (BF16, eager(BF16)),
    "bf16 autocast": (BF16, autocast(BF16)),
    "f16": (F16, cast(F16)),
    "f16 no oneDNN": (F16, no_onednn(F16)),
    "f16 eager attention": (F16, eager(F16)),
    "f16 autocast": (F16, autocast(F16)),
    "tf32": ("tf32", as_tf32),
}


def measure(model, prefix, call, label):
    """Rows: name, kind, rms of the error and of the units."""
    kind, make = PASSES[label]
    taps = make(model, prefix, call)
    only = label == "tf32" or "autocast" in label
    classes = PRODUCTS if only else LEAVES

    def again(kind, inputs=None, mode=None):
        x = with_weights(model, kind, only)
        return run(rounded_inputs(x, kind, inputs) if inputs else x, prefix, call, torch.float64, taps, mode)

    truth, weights, ins = again(None), again(kind), again(kind, classes)
    every = torch.float32 if kind == "tf32" else kind
    inputs = PRODUCTS if kind == "tf32" else "time_embedding.linear_1"
    ops = again(kind, inputs, Rounding(every))
    draws = [again(kind, inputs, Rounding(every, draw)) for draw in range(1, DRAWS + 1)]
    kinds = kinds_of(model, prefix)
    for name, x in taps.items():
        t = truth[name]

        def last(y, x=x):
            return y.to(x.dtype).double()

        yield {
            "name": name, "kind": kind_of(name, kinds), "n": t.numel(), "type": str(x.dtype)[6:], "scale": rms(t),
            "e": rms(x.double() - t), "a": rms(last(t) - t), "w": rms(weights[name] - t),
            "b": rms(last(ins[name]) - t), "c": rms(last(ops[name]) - t),
            "d": statistics.mean(rms(y[name] - t) ** 2 for y in draws) ** 0.5,
        }


def ratios(rows, unit):
    r = [row["e"] / row[unit] for row in rows if row[unit] > 0]
    return f"{statistics.median(r):.2f} / {max(r):.2f}" if r else "0 / 0"


def table(rows):
    groups = defaultdict(list)
    for row in rows:
        groups[row["kind"]].append(row)
    print("| kind | taps | tap's type | error/scale | weights' share w/a | e/a | e/b | e/c | e/d | worst by d |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for kind, g in groups.items():
        if not any(row["e"] for row in g):
            continue
        size = statistics.median(r["e"] / r["scale"] for r in g)
        w = statistics.median(r["w"] / r["a"] for r in g if r["a"] > 0)
        cells = " | ".join(ratios(g, unit) for unit in "abcd")
        types = ", ".join(sorted({r["type"] for r in g}))
        worst = max(g, key=lambda r: r["e"] / r["d"] if r["d"] else 0)
        print(f"| {kind} | {len(g)} | {types} | {size:.1e} | {w:.2f} | {cells} | {worst['name']} ({worst['n']}) |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", default="golden")
    parser.add_argument("--json")
    parser.add_argument("passes", nargs="*")
    args = parser.parse_args()
    torch.set_num_threads(1)
    everything = []
    for case, model, prefix, call in passes(args.out):
        for label in args.passes or PASSES:
            try:
                rows = list(measure(model, prefix, call, label))
            except Exception as error:
                print(f"\n## {case}, {label}: {error!r}")
                continue
            everything += [{"case": case, "pass": label, **row} for row in rows]
            print(f"\n## {case}, {label}\n")
            table(rows)
    if args.json:
        Path(args.json).write_text(json.dumps(everything))


if __name__ == "__main__":
    main()
