"""A component of a model: configuration, weights, and the modules that both belong to.

`Module` is a path. `unet / "conv_in"` is the module unet.conv_in, whose weights are called
conv_in.weight and conv_in.bias in the file, and whose output goes into the trace as unet.conv_in.
"""

import json
import os
import re

import nn
import safetensors_np
from mutants import mutant
from safetensors_np import FileError


def read_json(path):
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except OSError as error:
        raise FileError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise FileError(f"{path}: not JSON ({error})") from error


class Weights:
    """The tensors of one file in the type of the run. Each is to be asked for by name and shape."""

    def __init__(self, path, dtype):
        self.path, self.used = path, set()
        self.tensors = {
            n: nn.rounded(x.astype(dtype)) for n, x in safetensors_np.read(path)[0].items()
        }
        if "embeddings.token_embedding.weight" in self.tensors:
            # transformers 5 writes a text encoder's names without their first level.
            self.tensors = {f"text_model.{n}": x for n, x in self.tensors.items()}

    def take(self, name, optional=False):
        if mutant("first-layer-repeated"):  # a list of one layer, many times
            name = re.sub(r"(encoder\.layers)\.\d+\.", r"\1.0.", name)
        if name not in self.tensors:
            if optional:
                return None
            raise FileError(f"{self.path}: {name} is missing")
        self.used.add(name)
        return self.tensors[name]

    def check_all_used(self, but=()):
        left = [n for n in self.tensors if n not in self.used and not n.startswith(tuple(but))]
        if left:
            raise FileError(f"{self.path}: {len(left)} tensors fit nothing, {left[0]} among them")


class Component:
    """One of text_encoder, unet, vae: a folder with config.json and weights, and who watches it."""

    def __init__(self, name, folder, file, dtype):
        self.name, self.dtype = name, dtype
        self.config = read_json(os.path.join(folder, "config.json"))
        self.weights = Weights(os.path.join(folder, file), dtype)
        self.trace = None
        self.experts = None  # of the UNet: module path -> its experts and gates (mole.py)

    def root(self):
        return Module(self, "")


class Module:
    def __init__(self, component, path):
        self.component, self.path = component, path
        self.name = f"{component.name}.{path}" if path else component.name

    def __truediv__(self, child):
        return Module(self.component, f"{self.path}.{child}" if self.path else child)

    def called(self, other):
        """This module's weights under another's name, as in a port that misplaced them."""
        module = Module(self.component, self.path)
        module.name = other.name
        return module

    def weight(self):
        return self.component.weights.take(f"{self.path}.weight")

    def bias(self):
        """None where the layer has none."""
        return self.component.weights.take(f"{self.path}.bias", optional=True)

    def tap(self, x, part=""):
        """This module's output, or a part of its making such as ".mole.base"; gives x back, unless
        the trace forces another tensor."""
        return self.component.trace.tap(self.name + part, x)

    def tap_input(self, x):
        return self.component.trace.tap_input(self.name, x)


# The layers: input into the trace, operation, output into the trace.


def linear(module, x):
    x = module.tap_input(x)
    return module.tap(nn.linear(x, module.weight(), module.bias()))


def conv2d(module, x, stride=1, padding=(1, 1, 1, 1)):
    x, bias = module.tap_input(x), module.bias()
    if mutant("shortcut-bias-missing") and module.path.endswith("conv_shortcut"):
        bias = None
    return module.tap(nn.conv2d(x, module.weight(), bias, stride, padding))


def group_norm(module, x, groups, eps):
    x = module.tap_input(x)
    return module.tap(nn.group_norm(x, groups, module.weight(), module.bias(), eps))


def layer_norm(module, x, eps):
    if mutant("layernorm-eps"):
        eps = 1e-6
    x = module.tap_input(x)
    return module.tap(nn.layer_norm(x, module.weight(), module.bias(), eps))


def activation(module, x, function):
    x = module.tap_input(x)
    return module.tap(function(x))
