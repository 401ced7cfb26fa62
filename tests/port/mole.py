"""MoLE: low-rank experts with a local and a global gate, at every linear layer of the transformers.

    E_i[b,p] = s_i B_i (A_i x[b,p])                        expert, s_i = alpha_i / rank_i
    D_i[b,p] = sigmoid(Phi_i . x[b,p] + phi_i)             local gate: per token
    G_i[b]   = sigmoid(w_i . mean_p E_i[b,p] + c_i)        global gate: per sample, from E_i
    y[b,p]   = W x[b,p] + bias + sum_i D_i[b,p] G_i[b] E_i[b,p]

A 1x1 convolution is the same with the pixels as tokens.
"""

import numpy as np

import nn
from deviations import deviates
from model import Weights
from mutants import mutant
from safetensors_np import FileError

EXPERTS = ("face", "hand")  # in the order of Phi's rows


class Expert:
    def __init__(self, file, name):
        """From a LoRA file in kohya's naming; of 1x1 convolutions it has two more dimensions."""
        self.down = matrix(file.take(f"{name}.lora_down.weight"))  # A (r, d)
        self.up = matrix(file.take(f"{name}.lora_up.weight"))  # B (d', r)
        if mutant("expert-in-bf16"):
            self.up = nn.short(self.up.astype(np.float32), 16).astype(self.up.dtype)
        rank = len(self.down)
        if self.up.shape[1] != rank:
            raise FileError(
                f"{file.path}: {name}: lora_up takes {self.up.shape[1]} numbers, not {rank}"
            )
        alpha = file.take(f"{name}.alpha", optional=True)
        alpha = rank if alpha is None or float(alpha) == 0 else float(alpha)
        self.scale = alpha / rank
        if mutant("expert-strength"):
            self.scale *= 0.8
        if mutant("alpha-ignored"):
            self.scale = 1.0
        if mutant("alpha-not-divided"):
            self.scale = alpha
        if mutant("alpha-rank-swapped"):
            self.scale = rank / alpha
        if mutant("rank-of-first-layer"):
            first = next(n for n in file.tensors if n.endswith("lora_down.weight"))
            self.scale = alpha / len(file.tensors[first])


class Layer:
    """The experts and gates of one layer."""

    def __init__(self, files, gates, name):
        self.experts = [Expert(file, name) for file in files]
        if mutant("experts-swapped"):
            self.experts.reverse()
        if mutant("ranks-interleaved"):
            interleave([e.up for e in self.experts])
        gate = f"moe_{name}.softmoe."
        self.phi = gates.take(gate + "Phi_1.weight"), gates.take(gate + "Phi_1.bias")
        heads = EXPERTS[::-1] if mutant("global-heads-swapped") else EXPERTS
        self.heads = [
            (gates.take(f"{gate}{e}_scale.weight"), gates.take(f"{gate}{e}_scale.bias"))
            for e in heads
        ]


def interleave(ups):
    """The columns of factors (d', r), written rank by rank: the first of each expert, the second of each, ...;
    and read back as if one expert followed the other."""
    stacked = np.concatenate(ups, 1)
    places = [(k, i) for i, up in enumerate(ups) for k in range(up.shape[1])]
    stacked, start = stacked[:, sorted(range(len(places)), key=places.__getitem__)], 0
    for up in ups:
        up[:] = stacked[:, start : start + up.shape[1]]
        start += up.shape[1]


def tokens_of(x):
    """(B, C, H, W) as (B, H * W, C); tokens as they are."""
    return x.reshape(*x.shape[:2], -1).swapaxes(1, 2) if x.ndim == 4 else x


def matrix(x):
    """(O, I, 1, 1) as (O, I)."""
    return x.reshape(x.shape[:2])


def load(face, hand, gates, dtype):
    """Name in the files -> Layer, from the three files that the authors' training writes."""
    files = [Weights(face, dtype), Weights(hand, dtype)]
    gates = Weights(gates, dtype)
    ending = ".lora_down.weight"
    names = [n[: -len(ending)] for n in files[0].tensors if n.endswith(ending)]
    layers = {name: Layer(files, gates, name) for name in names}
    for file in (*files, gates):
        file.check_all_used()
    return layers


def single_file_path(path):
    """The path of a transformer's layer in a single-file checkpoint, whose blocks are counted through: after
    the convolution two ResNets and a downsampling per level on the way down, three blocks on the way up."""
    parts = path.split(".")
    if parts[0] == "mid_block":  # mid_block.attentions.0
        return ".".join(["middle_block", "1", *parts[3:]])
    number = 3 * int(parts[1]) + int(parts[3])  # down_blocks.1.attentions.0
    block = f"input_blocks.{1 + number}" if parts[0] == "down_blocks" else f"output_blocks.{number}"
    return ".".join([block, "1", *parts[4:]])


def layer_of(module):
    """Named as in a folder of diffusers, or as in a single file, which the authors' files for XL follow."""
    experts = module.component.experts
    if experts is None:
        return None
    if mutant("experts-not-on-projections") and module.path.endswith(("proj_in", "proj_out")):
        return None
    names = ["lora_unet_" + path.replace(".", "_") for path in (module.path, single_file_path(module.path))]
    found = [experts[name] for name in names if name in experts]
    if not found:
        raise FileError(f"no expert for {module.name} ({' or '.join(names)})")
    return found[0]


def sigmoid(logits):
    """Of gates."""
    if not deviates("bf16-gates"):
        return nn.sigmoid(logits)
    return bf16(nn.sigmoid(bf16(logits)))


def bf16(x):
    """x with bfloat16's numbers: of a float32 the upper half, to nearest, ties to even."""
    return nn.short(x.astype(np.float32), 16).astype(x.dtype)


def local_gates(layer, x):
    """(B, T, experts)"""
    weight, bias = layer.phi
    if mutant("gate-normalised-token"):
        x = nn.rounded(x / np.sqrt((x * x).sum(-1, keepdims=True)))
    logits = nn.linear(x, weight, None if mutant("gate-bias-missing") else bias)
    if mutant("phi-rows-swapped"):
        logits = logits[..., ::-1]
    if mutant("gate-hard-sigmoid"):
        return np.clip(logits / 6 + 0.5, 0, 1)
    if mutant("gate-softmax"):
        return nn.softmax(logits)
    if mutant("gate-sigmoid-twice"):
        logits = sigmoid(logits)
    return sigmoid(logits)


def global_gate(head, expert, out, real):
    """(B): from the expert's output, over all tokens, padding too."""
    if mutant("pooled-maximum"):
        return sigmoid(nn.linear(out.max(1), *head))[:, 0]
    pooled = nn.rounded(nn.mean(out.swapaxes(1, 2))[..., 0])  # (B, d')
    if mutant("pooled-before-scaling"):
        pooled = pooled / expert.scale
    if mutant("pooled-over-batch"):
        pooled = np.broadcast_to(nn.mean(pooled.T).T, pooled.shape)
    if mutant("padding-not-pooled") and real is not None:
        weights = real[..., None].astype(out.dtype)
        pooled = (out * weights).sum(1) / weights.sum(1)
    if mutant("pooled-first-token"):
        pooled = out[:, 0]
    return sigmoid(nn.linear(pooled, *head))[:, 0]


def mixture(module, layer, x, base, shape, real):
    """x (B, T, d), base (B, T, d') -> y, which shape() turns into the layer's form."""
    y = module.tap(shape(base), ".mole.base")
    local = local_gates(layer, x)
    for i, (name, expert) in enumerate(zip(EXPERTS, layer.experts)):
        if mutant("face-left-out") and name == "face":
            continue
        out = nn.rounded(nn.linear(nn.linear(x, expert.down), expert.up) * expert.scale)
        out = tokens_of(module.tap(shape(out), f".mole.{name}.expert"))
        D = module.tap(local[..., i], f".mole.{name}.local")
        pooled = nn.rounded(D[..., None] * out) if mutant("pooled-gated") else out
        G = module.tap(global_gate(layer.heads[i], expert, pooled, real), f".mole.{name}.global")
        share = nn.rounded(nn.rounded(D[..., None] * G[:, None, None]) * out)
        if mutant("local-gate-left-out"):
            share = nn.rounded(G[:, None, None] * out)
        if mutant("gates-left-out"):
            share = out
        if mutant("experts-averaged"):
            share = nn.rounded(share / len(EXPERTS))
        if mutant("gates-averaged"):
            share = nn.rounded((D[..., None] + G[:, None, None]) / 2 * out)
        y = nn.add(y, module.tap(shape(share), f".mole.{name}.out"))
    return module.tap(y)


def weight_and_bias(module):
    weight, bias = matrix(module.weight()), module.bias()
    if mutant("attention-out-bias") and module.path.endswith("to_out.0"):
        bias = None
    return weight, bias


def linear(module, x, real=None):
    """A linear layer that experts may be attached to. x (B, T, d).

    real (B, T): which tokens of the prompt are not padding. The gates do not look at it; a mutant
    does.
    """
    layer = layer_of(module)
    x = module.tap_input(x)
    base = nn.linear(x, *weight_and_bias(module))
    if layer is None:
        return module.tap(base)
    return mixture(module, layer, x, base, lambda tokens: tokens, real)


def conv1x1(module, x):
    """The same for a 1x1 convolution. x (B, C, H, W)."""
    layer = layer_of(module)
    x = module.tap_input(x)
    B, _, H, W = x.shape
    tokens = tokens_of(x)
    weight, bias = weight_and_bias(module)
    base = nn.linear(nn.conv_factor(tokens), nn.conv_factor(weight), bias)

    def image(t):
        return t.swapaxes(1, 2).reshape(B, -1, H, W)

    if layer is None:
        return module.tap(image(base))
    return mixture(module, layer, tokens, base, image, None)
