"""The units of the comparison: how far a right float32 program is off, tap by tap.

See "What the numbers mean" in docs/golden-format.md.
"""

import contextlib
import copy
import math
import statistics

import torch

from golden import naive
from golden.taps import Recorder


@contextlib.contextmanager
def two_threads():
    """MKL and oneDNN split their sums anew."""
    torch.set_num_threads(2)
    try:
        yield
    finally:
        torch.set_num_threads(1)


def same(model):
    """The model as it is."""
    return model


def channels_last(model):
    """Other convolution kernels, for the same numbers."""
    return model.to(memory_format=torch.channels_last)


def other_order(seed):
    """A context in which every Linear and Conv2d takes its input channels in another order.

    The result is the same sum; its rounding is another draw of the same dice. For a tensor of many
    numbers one draw says how large PyTorch's error is; a gate of two numbers may by luck be exact.
    """
    functional = torch.nn.functional

    def shuffled(function):
        def call(x, weight, *args, **kwargs):
            generator = torch.Generator().manual_seed(seed + weight.numel())
            order = torch.randperm(weight.shape[1], generator=generator)
            inputs = x[:, order] if weight.dim() == 4 else x[..., order]
            return function(inputs, weight[:, order], *args, **kwargs)

        return call

    @contextlib.contextmanager
    def context():
        names = ("linear", "conv2d")
        originals = {name: getattr(functional, name) for name in names}
        for name in names:
            setattr(functional, name, shuffled(originals[name]))
        try:
            yield
        finally:
            for name in names:
                setattr(functional, name, originals[name])

    return context


# PyTorch's float32 error is not one number: it depends on which of its kernels is used and on the order
# of the channels. Each of these is PyTorch.
KERNELS = {
    "default": (contextlib.nullcontext, same),
    "no oneDNN": (lambda: torch.backends.mkldnn.flags(enabled=False), same),
    "channels_last": (contextlib.nullcontext, channels_last),
    "two threads": (two_threads, same),
    "channel order 1": (other_order(1), same),
    "channel order 2": (other_order(2), same),
    "channel order 3": (other_order(3), same),
}
# The unit is the rms over these. Not channels_last: its GroupNorm takes the variance in one pass, and that
# loses digits where the mean is large.
CAREFUL = [name for name in KERNELS if name != "channels_last"]
# No PyTorch, and right nevertheless: every sum term by term in one accumulator.
NAIVE = {
    "forwards": (lambda: naive.sums(False), same),
    "backwards": (lambda: naive.sums(True), same),
}

ALL = {**KERNELS, **NAIVE}


def record(model, prefix, call, dtype, only_blocks=False, kernels="default", force=None):
    """One forward pass, call(model, dtype), recorded: its .taps and .inputs."""
    context, prepare = ALL[kernels]
    run = prepare(copy.deepcopy(model).to(dtype))
    with torch.no_grad(), context(), Recorder(run, prefix, only_blocks, force) as recorder:
        call(run, dtype)
    return recorder


def rounded(x):
    """Four digits: an error has no more."""
    return float(f"{x:.3e}")


class Errors:
    """Of one pass: the rms and the largest error of each tap (of each input, of the modules of `inputs`)."""

    def __init__(self, taps, truth):
        assert list(taps) == list(truth)
        self.rms, self.most = {}, {}
        for name, x in taps.items():
            delta = x.float().double() - truth[name]
            self.rms[name] = delta.square().mean().sqrt().item() if delta.numel() else 0.0
            self.most[name] = delta.abs().max().item() if delta.numel() else 0.0


def mean(passes, name):
    """The rms of the passes' rms errors."""
    return math.sqrt(sum(p.rms[name] ** 2 for p in passes) / len(passes))


def largest(passes, name):
    """The largest of the passes' rms errors."""
    return max(p.rms[name] for p in passes)


def free(passes, name):
    """f32_error: of passes that run on with their own numbers."""
    most = max(p.most[name] for p in passes)
    return {"max_abs": rounded(most), "rms": rounded(mean(passes, name))}


WIDEST = 1.5  # of a unit, in errors of PyTorch's default pass, at the median tap of a case
SHARES = {}  # what was made so far: case -> shares()


class Measured:
    """The truth of every tap, and what float32 passes say of it: lists of Errors.

    f32, exact: passes that run on with their own numbers, exact with exact timestep angles. isolated, naive:
    with every tap replaced by the truth. inputs: of the modules' inputs, in the passes of `isolated`.
    """

    def __init__(self, truth, f32, isolated, naive, exact=None, inputs=None):
        self.truth, self.f32, self.isolated, self.naive = truth, f32, isolated, naive
        self.exact, self.inputs = exact, inputs

    def of(self, name):
        """The manifest's fields of a tap."""
        fields = {"f32_error": free(self.f32, name)}
        if self.exact:
            fields["f32_error_exact_angles"] = free(self.exact, name)
        fields["f32_isolated"] = rounded(mean(self.isolated, name))
        fields["f32_orders"] = rounded(largest(self.naive, name))
        if self.inputs and name in self.inputs[0].rms:
            fields["f32_in"] = rounded(mean(self.inputs, name))
        return fields

    def shares(self):
        """Per kind of error the median over taps of unit / error of the default pass; of f32_orders, in
        units of f32_isolated, the median and the largest."""
        columns = {"f32_error": [], "exact angles": [], "f32_isolated": [], "orders": []}
        for name in self.truth:
            for key, passes in zip(columns, (self.f32, self.exact, self.isolated)):
                default = passes[0].rms[name] if passes else 0
                if default > 0:
                    columns[key].append(mean(passes, name) / default)
            isolated = mean(self.isolated, name)
            if isolated > 0:
                columns["orders"].append(largest(self.naive, name) / isolated)
        shares = {key: statistics.median(column) for key, column in columns.items() if column}
        return {**shares, "worst": max(columns["orders"])}

    def state(self, case):
        """Remember the shares; a unit that is too wide ends the program."""
        SHARES[case] = shares = self.shares()
        for key in ("f32_error", "exact angles", "f32_isolated"):
            if shares.get(key, 0) > WIDEST:
                raise SystemExit(
                    f"golden: {case}: the median {key} is {shares[key]:.2f} times that of "
                    f"PyTorch's default pass, expected at most {WIDEST}"
                )


def table():
    """The shares of every case that was made, in Markdown."""
    if not SHARES:
        return
    print("\n| case | f32_error | exact angles | f32_isolated | orders, median | orders, worst |")
    print("|---|---|---|---|---|---|")
    for case, shares in SHARES.items():
        keys = ("f32_error", "exact angles", "f32_isolated", "orders", "worst")
        cells = [f"{shares[key]:.2f}" if key in shares else "" for key in keys]
        print(f"| {case} | " + " | ".join(cells) + " |")


def measure(model, prefix, call, only_blocks=False, exact=None):
    """Of one component. exact: the call with exact timestep angles.

    The angles in float32 are most of PyTorch's error at a late timestep; passes with exact ones say what the
    network itself loses.
    """
    truth = record(model, prefix, call, torch.float64, only_blocks)

    def passes(names, call, force=None):
        taps, inputs = [], []
        for kernels in names:
            made = record(model, prefix, call, torch.float32, only_blocks, kernels, force)
            taps.append(Errors(made.taps, truth.taps))
            inputs.append(Errors(made.inputs, truth.inputs))
        return taps, inputs

    isolated, inputs = passes(CAREFUL, call, truth.taps)
    return Measured(
        truth.taps,
        f32=passes(CAREFUL, call)[0],
        isolated=isolated,
        naive=passes(NAIVE, call, truth.taps)[0],
        exact=passes(CAREFUL, exact)[0] if exact else None,
        inputs=inputs,
    )
