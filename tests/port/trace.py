"""A trace: what the modules gave, under the documented names, in the order of execution.

This is all that a port needs in order to be checked. Wherever a module has computed its output,
hand it over:

    trace.tap("unet.conv_in", x)        # images (B, C, H, W), tokens (B, T, C): torch's order

and write the file at the end. The names are diffusers' module paths with the component in front
("unet.", "text_encoder.", "vae."); in a pipeline "step.000/" and so on stand before those. A name
with ".in" at its end holds the input of that module: with it, a comparator can tell a module that
made an error from one that only inherited it.
"""

import fnmatch

import numpy as np

import safetensors_np


class Trace:
    def __init__(self, dtype, inputs=False, wanted=None, forced=None):
        """dtype: float32 or float64, which every tap must have. inputs: keep ".in" too.
        wanted: the names to keep, a set or a list of glob patterns; None keeps all.
        forced: name -> tensor, which takes the place of what the run computed under that name, once
        that is kept: what follows starts from the given numbers."""
        self.dtype = np.dtype(dtype)
        self.inputs, self.wanted, self.forced = inputs, wanted, forced or {}
        self.tensors, self.prefix = {}, ""

    def keeps(self, name):
        if self.wanted is None or isinstance(self.wanted, (set, frozenset)):
            return self.wanted is None or name in self.wanted
        return any(fnmatch.fnmatchcase(name, pattern) for pattern in self.wanted)

    def tap(self, name, x):
        """Keep a copy of x. A float32 run that slipped into float64 on the way stops here.
        Gives back what the run goes on with: x, unless another tensor is forced."""
        assert x.dtype == self.dtype, f"{name} is {x.dtype} in a run of {self.dtype}"
        name = self.prefix + name
        if self.keeps(name):
            assert name not in self.tensors, f"{name} is executed twice"
            self.tensors[name] = np.array(x, order="C")
        return self.forced[name].astype(self.dtype, copy=False) if name in self.forced else x

    def tap_input(self, name, x):
        if not self.inputs:
            return x
        if x.dtype.kind == "i":  # token ids
            self.tap(name + ".in", x.astype(self.dtype))
            return x
        return self.tap(name + ".in", x)

    def step(self, k):
        """What follows belongs to denoising step k; None: to no step."""
        self.prefix = "" if k is None else f"step.{k:03d}/"

    def write(self, path, **metadata):
        precision = {"float32": "f32", "float64": "f64"}[self.dtype.name]
        about = {"format": "mole-trace", "version": "1", "precision": precision}
        safetensors_np.write(path, self.tensors, {**about, **metadata})
