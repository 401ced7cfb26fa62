"""What PyTorch's own passes lose per kind of module, in units that can be computed beforehand.

    .venv/bin/python scripts/golden/type_errors.py [--json FILE] [TEXT...]

Each module is judged on the inputs that the pass itself brought: a float64 pass with the stored weights, in which
every tap, once taken, is replaced by the pass's own. The rms of what is left is divided by units that are float64
arithmetic with roundings to the pass's type put in:

    a    the result rounded once to the type of the tap
    b    weights, what goes into a leaf, and the result rounded once each, exact between
    c    weights, and the result of every operation of torch (a product, an attention, a sum, a sigmoid) rounded once
    d    as c, rms of eight other draws of the same roundings: what another program of the same kind may lose

Cells are the median and the largest ratio over the taps of a kind. TEXT: passes with it in "RUN: TYPE, PORT".
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
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from golden import ports  # noqa: E402
from golden.taps import LEAVES, Recorder  # noqa: E402

GOLDEN = Path(__file__).resolve().parents[2] / "golden"
PRODUCTS = (nn.Linear, nn.Conv2d)
DRAWS = 8
# Operations that only move numbers.
MOVES = (
    "view transpose permute copy detach slice clone expand select cat split chunk unbind reshape upsample pad embedding "
    "alias squeeze index"
).split()


def rounded(x, kind):
    """x in float64, each number rounded to the nearest of a type."""
    return ports.round_bits(x.float(), 13).double() if kind == "tf32" else x.to(kind).double()


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
        factor = 2 ** torch.rand((), generator=self.dice).item() if self.draw else 1
        return rounded(x * factor, self.kind) / factor

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        name = func.name()
        by_one = name.startswith("aten::div") and args[1] == 1
        if name == "aten::t" or by_one or any(move in name for move in MOVES):
            return out
        return type(out)(map(self.one, out)) if isinstance(out, (tuple, list)) else self.one(out)


def with_weights(model, kind, products_only):
    """The model in float64, its weights rounded to the type."""
    model = copy.deepcopy(model).double()
    for name, parameter in model.named_parameters() if kind else ():
        if not products_only or parameter.dim() > 1 and "embeddings" not in name:
            parameter.data = rounded(parameter.data, kind)
    return model


def round_inputs(model, kind, classes):
    """What goes into these modules is rounded."""

    def before(module, args):
        return tuple(rounded(x, kind) if x.dtype == torch.float64 else x for x in args)

    for module in model.modules():
        if isinstance(module, classes):
            module.register_forward_pre_hook(before)


class Pass:
    """The taps of a port, and float64 passes that go on from them."""

    def __init__(self, run, port):
        self.run, self.port = run, port
        self.taps, _, self.classes = run.taps(port)
        self.model, self.prefix, self.call = run.setting()
        self.kind = "tf32" if "tf32" in port.name else port.dtype
        self.products_only = port.inputs == ports.F32 or self.kind == "tf32"

    def again(self, kind=None, inputs=(), mode=None):
        """kind: of the weights; inputs: classes whose inputs are rounded to it; mode: what every operation does."""
        model = with_weights(self.model, kind, self.products_only)
        round_inputs(model, kind, inputs)
        if self.port.name == "attention in products":
            model = ports.products(model)
        with torch.no_grad(), Recorder(model, self.prefix, force=self.taps) as recorder:
            with mode or contextlib.nullcontext():
                self.call(model, torch.float64, True)
        return recorder.taps

    def rows(self):
        """Of each tap its kind, the rms of its error and of the units."""
        every = ports.F32 if self.kind == "tf32" else self.kind
        inputs = PRODUCTS if self.products_only else LEAVES
        truth, weights, ins = self.again(), self.again(self.kind), self.again(self.kind, inputs)
        c, *draws = [
            self.again(self.kind, inputs if draw == 0 else PRODUCTS, Rounding(every, draw)) for draw in range(DRAWS + 1)
        ]
        for name, x in self.taps.items():
            t = truth[name]
            errors = {
                "e": x.double() - t,
                "a": t.to(x.dtype).double() - t,
                "w": weights[name] - t,
                "b": ins[name].to(x.dtype).double() - t,
                "c": c[name].to(x.dtype).double() - t,
                "d": torch.stack([y[name] - t for y in draws]),
            }
            units = {key: rms(value) for key, value in errors.items()}
            about = {"name": name, "kind": self.kind_of(name), "n": t.numel(), "scale": rms(t)}
            yield {**about, "type": ports.NAMES[x.dtype], **units}

    def kind_of(self, name):
        """The class of the module, and what of its inputs is no tap."""
        head, _, part = name.partition(".mole.")
        leaf = [piece for piece in head.split(".") if not piece.isdigit()][-1]
        kind = self.classes.get(name, "MoLE " + part.split(".")[-1])
        kind = {"MoLE base": "Linear", "MoleLayer": "MoLE sum"}.get(kind, kind)
        after = {"to_out": " after attention", "out_proj": " after attention", "norm2": " after a sum"}
        return kind + (after.get(leaf, "") if kind in ("Linear", "GroupNorm") else "")


def rms(x):
    return x.double().square().mean().sqrt().item()


def ratios(rows, unit):
    found = [row["e"] / row[unit] for row in rows if row[unit] > 0]
    return f"{statistics.median(found):.2f} / {max(found):.2f}" if found else ""


def table(rows):
    """Markdown: a line per kind; kinds that hand on what another tap holds have no error and are left out."""
    groups = defaultdict(list)
    for row in rows:
        groups[row["kind"]].append(row)
    print("| kind | taps | type | error / scale | w/a | e/a | e/b | e/c | e/d | most by d |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for kind, group in groups.items():
        if not any(row["e"] for row in group):
            continue
        size = statistics.median(row["e"] / row["scale"] for row in group)
        share = statistics.median([row["w"] / row["a"] for row in group if row["a"] > 0] or [0])
        types = ", ".join(sorted({row["type"] for row in group}))
        worst = max(group, key=lambda row: row["e"] / row["d"] if row["d"] else 0)
        cells = [kind, len(group), types, f"{size:.1e}", f"{share:.2f}", *(ratios(group, unit) for unit in "abcd")]
        print("| " + " | ".join(map(str, cells)) + f" | {worst['name']} ({worst['n']}) |", flush=True)


def main():
    """See above."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", help="every tap")
    parser.add_argument("texts", nargs="*", metavar="TEXT")
    options, everything = parser.parse_args(), []
    torch.set_num_threads(1)
    for run in ports.runs(GOLDEN):
        for port in ports.ports():
            label = f"{run.name}: {ports.NAMES[port.dtype]}, {port.name}"
            fits = run.component in port.parts and run.component != "pipeline" and port.dtype != ports.F64
            if fits and (not options.texts or any(text in label for text in options.texts)):
                print(f"\n## {label}\n")
                rows = list(Pass(run, port).rows())
                everything += [{"pass": label, **row} for row in rows]
                table(rows)
    if options.json:
        Path(options.json).write_text(json.dumps(everything))


if __name__ == "__main__":
    main()
