"""MoLE layers: low-rank experts with gates around the linear maps of a diffusers UNet.

The direct form of the equations, and nothing cheaper, because this is the definition. With
X (B,T,d) the input as tokens, expert i with factors A_i, B_i and s_i = alpha_i / rank_i:

    D[b,t,i] = sigmoid(Phi[i] . X[b,t] + phi[i])                 local gate
    E_i[b,t] = s_i * B_i (A_i X[b,t])                            expert
    G[b,i]   = sigmoid(w_i . mean_t(E_i[b,t]) + c_i)             global gate
    Y[b,t]   = W X[b,t] + bias + sum_i D[b,t,i] * G[b,i] * E_i[b,t]

For a 1x1 convolution the tokens are the pixels, row by row.
"""

import torch
import torch.nn.functional as F
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from safetensors.torch import load_file, save_file
from torch import nn

from golden.seeds import choice, normal
from golden.weights import QUIET, gain_of, quiet_rows

EXPERTS = ("face", "hand")
RANKS = {"face": (2, 3, 4), "hand": (3, 4, 5)}
ALPHAS = {"face": (1.0, 1.5, 2.0, 3.0), "hand": (2.0, 2.5, 4.0, 5.0)}

# The typical size of a layer's input where it is not 1; gates are scaled by it.
INPUT = {"proj_out": 2.0, "to_out.0": 0.6}


class MoleLayer(nn.Module):
    """A frozen Linear or 1x1 Conv2d with its experts and gates."""

    def __init__(self, base, factors, gates):
        """factors: name -> (alpha, down, up); gates: {"Phi_1": (w, b), name: (w, b), ...}."""
        super().__init__()
        self.base = base
        self.names = list(factors)
        self.scales = {name: alpha / down.shape[0] for name, (alpha, down, _) in factors.items()}
        self.down = nn.ParameterDict({n: nn.Parameter(f[1], False) for n, f in factors.items()})
        self.up = nn.ParameterDict({n: nn.Parameter(f[2], False) for n, f in factors.items()})
        self.gate_w = nn.ParameterDict({n: nn.Parameter(g[0], False) for n, g in gates.items()})
        self.gate_b = nn.ParameterDict({n: nn.Parameter(g[1], False) for n, g in gates.items()})
        self.gate = torch.sigmoid  # of a logit; deviations.py has another
        self.probe = None  # called as probe(tap name, tensor) when set; returns what to go on with

    def forward(self, x):
        taps = self.probe or (lambda name, value: value)
        base = taps("mole.base", self.base(x))
        conv = x.dim() == 4
        def as_output(y):
            return y.transpose(1, 2).reshape(base.shape) if conv else y

        def as_tokens(y):
            return y.flatten(2).transpose(1, 2) if conv else y

        tokens = as_tokens(x)
        local = self.gate(F.linear(tokens, self.gate_w["Phi_1"], self.gate_b["Phi_1"]))
        mixture = 0
        for i, name in enumerate(self.names):
            low = F.linear(tokens, self.down[name].flatten(1))
            expert = F.linear(low, self.up[name].flatten(1)) * self.scales[name]
            expert = as_tokens(taps(f"mole.{name}.expert", as_output(expert)))
            strength = taps(f"mole.{name}.local", local[:, :, i])
            pooled = expert.mean(dim=1)
            overall = self.gate(F.linear(pooled, self.gate_w[name], self.gate_b[name]))
            overall = taps(f"mole.{name}.global", overall[:, 0])
            out = expert * strength[:, :, None] * overall[:, None, None]
            out = as_tokens(taps(f"mole.{name}.out", as_output(out)))
            mixture = mixture + out
        return base + as_output(mixture)


def targets(unet):
    """(module path, module) of every layer that MoLE wraps, in the model's own order.

    Every Linear and every 1x1 Conv2d inside a transformer container.
    """
    found = []
    for container, holder in unet.named_modules():
        if not isinstance(holder, Transformer2DModel):
            continue
        for name, module in holder.named_modules():
            one = isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1)
            if isinstance(module, nn.Linear) or one:
                found.append((f"{container}.{name}", module))
    return found


def ldm_path(path):
    """The path of a layer in XL's single file, where blocks are counted through: three to a level."""
    parts = path.split(".")
    at = parts.index("attentions")
    index, rest = int(parts[at + 1]), parts[at + 2 :]
    if parts[0] == "mid_block":
        return ".".join(["middle_block.1", *rest])
    first, blocks = (1, "input_blocks") if parts[0] == "down_blocks" else (0, "output_blocks")
    return ".".join([f"{blocks}.{3 * int(parts[1]) + index + first}.1", *rest])


def key_of(path, names="diffusers"):
    """The name that a layer has in the weight files."""
    return "lora_unet_" + (ldm_path(path) if names == "ldm" else path).replace(".", "_")


def make_files(folder, unet, model):
    """Write face, hand and gates: random, but scaled to the layers that they join. model: models.Model."""
    files = {name: {} for name in (*EXPERTS, "gates")}
    for path, module in targets(unet):
        key = key_of(path, model.expert_names)
        d_out, d_in = module.weight.shape[:2]
        ones = (1, 1) if module.weight.dim() == 4 else ()
        quiet = quiet_rows(path, d_out, model.groups)
        for name in EXPERTS:
            rank = choice(f"{name}.{key}.rank", RANKS[name])
            alpha = choice(f"{name}.{key}.alpha", ALPHAS[name])
            down = normal(f"{name}.{key}.down", (rank, d_in, *ones), d_in**-0.5)
            # scale * up has the size of the layer itself, so that an expert is worth hearing.
            std = 1.1 * gain_of(path, model.residual) * (rank / alpha) / rank**0.5
            up = normal(f"{name}.{key}.up", (d_out, rank, *ones), std)
            if quiet:
                up[quiet] *= QUIET
            files[name][f"{key}.alpha"] = torch.tensor(alpha)
            files[name][f"{key}.lora_down.weight"] = down
            files[name][f"{key}.lora_up.weight"] = up
        gate = f"moe_{key}.softmoe"
        gates = files["gates"]
        size = next((s for leaf, s in INPUT.items() if path.endswith(leaf)), 1.0)
        std = 1.1 / (size * d_in**0.5)
        gates[f"{gate}.Phi_1.weight"] = normal(f"{gate}.Phi_1.weight", (2, d_in), std)
        gates[f"{gate}.Phi_1.bias"] = normal(f"{gate}.Phi_1.bias", (2,), 0.4)
        for name in EXPERTS:
            std = 1.7 / (size * gain_of(path, model.residual) * d_out**0.5)
            gates[f"{gate}.{name}_scale.weight"] = normal(f"{gate}.{name}.w", (1, d_out), std)
            sign = choice(f"{gate}.{name}.sign", (-1.0, 1.0))
            gates[f"{gate}.{name}_scale.bias"] = normal(f"{gate}.{name}.b", (1,), 0.3, 0.5 * sign)
    folder.mkdir(parents=True, exist_ok=True)
    for name, tensors in files.items():
        save_file({key: value.to(model.expert_type) for key, value in tensors.items()}, folder / f"{name}.safetensors")


def load_files(folder):
    """The three files: {"face": tensors, "hand": tensors, "gates": tensors}."""
    return {name: load_file(folder / f"{name}.safetensors") for name in (*EXPERTS, "gates")}


def wrap(unet, files, names="diffusers"):
    """Put a MoleLayer around every target of `unet`; returns path -> layer."""
    layers = {}
    for path, module in targets(unet):
        key = key_of(path, names)
        kind = module.weight.dtype
        factors = {
            name: (
                files[name][f"{key}.alpha"].item(),
                files[name][f"{key}.lora_down.weight"].to(kind),
                files[name][f"{key}.lora_up.weight"].to(kind),
            )
            for name in EXPERTS
        }
        gate = f"moe_{key}.softmoe"
        parts = {"Phi_1": "Phi_1", **{name: f"{name}_scale" for name in EXPERTS}}
        gates = {
            name: tuple(files["gates"][f"{gate}.{part}.{p}"].to(kind) for p in ("weight", "bias"))
            for name, part in parts.items()
        }
        layers[path] = MoleLayer(module, factors, gates)
        parent, _, leaf = path.rpartition(".")
        holder = unet.get_submodule(parent)
        if leaf.isdigit():
            holder[int(leaf)] = layers[path]
        else:
            setattr(holder, leaf, layers[path])
    return layers
