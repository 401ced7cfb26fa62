"""Low-rank experts while they are trained, and the weight files of MoLE: the authors' keys."""

import math

import torch
import torch.nn.functional as F
from golden.mole import EXPERTS, key_of, targets
from safetensors.torch import save_file
from torch import nn


class LowRank(nn.Module):
    """A frozen Linear or 1x1 Conv2d and one expert: y = W x + b + (alpha / rank) B A x."""

    def __init__(self, base, rank, alpha, generator):
        super().__init__()
        self.base, self.scale = base, alpha / rank
        d_out, d_in = base.weight.shape[:2]
        ones = (1, 1) if base.weight.dim() == 4 else ()
        bound = 1 / math.sqrt(d_in)  # kaiming_uniform with a = sqrt(5)
        down = (torch.rand(rank, d_in, *ones, generator=generator) * 2 - 1) * bound
        self.down = nn.Parameter(down)
        self.up = nn.Parameter(torch.zeros(d_out, rank, *ones))

    def forward(self, x):
        apply = F.conv2d if self.down.dim() == 4 else F.linear
        return self.base(x) + self.scale * apply(apply(x, self.down), self.up)


def replace(unet, path, module):
    parent, _, leaf = path.rpartition(".")
    holder = unet.get_submodule(parent)
    if leaf.isdigit():
        holder[int(leaf)] = module
    else:
        setattr(holder, leaf, module)


def add_expert(unet, rank, alpha, seed):
    """Wrap every layer that MoLE wraps; path -> LowRank. The UNet itself is frozen."""
    unet.requires_grad_(False)
    generator = torch.Generator().manual_seed(seed)
    layers = {}
    for path, module in targets(unet):
        layers[path] = LowRank(module, rank, alpha, generator)
        replace(unet, path, layers[path])
    return layers


def expert_parameters(layers):
    """Every factor, by its key in the file."""
    made = {}
    for path, layer in layers.items():
        made[f"{key_of(path)}.lora_down.weight"] = layer.down
        made[f"{key_of(path)}.lora_up.weight"] = layer.up
    return made


def expert_tensors(saved, alpha, shadow=True):
    """What an expert's file holds, from a checkpoint of its stage."""
    values = saved["average" if shadow else "parameters"]
    made = dict(zip(saved["names"], values))
    for key in list(made):
        if key.endswith(".lora_down.weight"):
            made[key.replace("lora_down.weight", "alpha")] = torch.tensor(float(alpha))
    return made


def fresh_gates(unet, seed):
    """Gates as PyTorch initialises Linear layers, by their keys in the file."""
    generator = torch.Generator().manual_seed(seed)

    def uniform(*shape, fan):
        return (torch.rand(*shape, generator=generator) * 2 - 1) / math.sqrt(fan)

    made = {}
    for path, module in targets(unet):
        d_out, d_in = module.weight.shape[:2]
        gate = f"moe_{key_of(path)}.softmoe"
        made[f"{gate}.Phi_1.weight"] = uniform(2, d_in, fan=d_in)
        made[f"{gate}.Phi_1.bias"] = uniform(2, fan=d_in)
        for name in EXPERTS:
            made[f"{gate}.{name}_scale.weight"] = uniform(1, d_out, fan=d_out)
            made[f"{gate}.{name}_scale.bias"] = uniform(1, fan=d_out)
    return made


OPEN = 30.0  # a logit whose sigmoid is 1


def hold_open(gates, only):
    """Open the other gates of all layers where `only` "local" or "global" ones are to act; their keys."""
    held = [key for key in gates if (".Phi_1." in key) == (only == "global")]
    for key in held:
        gates[key] = torch.full_like(gates[key], OPEN if key.endswith(".bias") else 0.0)
    return held


def gate_parameters(layers):
    """Every gate of wrapped layers, by its key in the file; they alone are trained."""
    made = {}
    for path, layer in layers.items():
        gate = f"moe_{key_of(path)}.softmoe"
        for name, weight in layer.gate_w.items():
            part = "Phi_1" if name == "Phi_1" else f"{name}_scale"
            made[f"{gate}.{part}.weight"] = weight.requires_grad_(True)
            made[f"{gate}.{part}.bias"] = layer.gate_b[name].requires_grad_(True)
    return made


def write(path, tensors):
    """One weight file in F16."""
    save_file({k: v.detach().half().contiguous() for k, v in tensors.items()}, str(path))
