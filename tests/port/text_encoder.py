"""CLIP's text encoder: token ids (B, T) -> hidden states (B, T, D)."""

import numpy as np

import nn
from model import activation, layer_norm, linear
from mutants import mutant


def embeddings(module, ids):
    """token_embedding[id] + position_embedding[place]."""
    tokens = (module / "token_embedding").weight()[ids]
    positions = (module / "position_embedding").weight()[: ids.shape[1]]
    if mutant("positions-shifted"):  # as if a token stood before the first
        positions = np.roll(positions, 1, axis=0)
    module.tap_input(ids)
    return module.tap(nn.add(tokens, positions))


def self_attention(module, x, heads):
    q, k, v = (linear(module / name, x) for name in ("q_proj", "k_proj", "v_proj"))
    causal = not mutant("causal-mask-missing")
    x = nn.attention(q, k, v, heads, causal=causal)
    return module.tap(linear(module / "out_proj", x))


def mlp(module, x, name):
    functions = {"quick_gelu": nn.quick_gelu, "gelu": nn.gelu}
    function = functions[name]
    if mutant("clip-gelu"):
        function = nn.gelu
    x = linear(module / "fc1", x)
    x = activation(module / "activation_fn", x, function)
    return module.tap(linear(module / "fc2", x))


def forward(component, ids):
    config, root = component.config, component.root() / "text_model"
    eps = config["layer_norm_eps"]
    x = embeddings(root / "embeddings", ids)
    layers = config["num_hidden_layers"]
    if mutant("clip-skip"):
        layers -= 1
    for i in range(layers):
        layer = root / f"encoder.layers.{i}"
        h = layer_norm(layer / "layer_norm1", x, eps)
        x = nn.add(x, self_attention(layer / "self_attn", h, config["num_attention_heads"]))
        h = layer_norm(layer / "layer_norm2", x, eps)
        x = layer.tap(nn.add(x, mlp(layer / "mlp", h, config["hidden_act"])))
    final = root / "final_layer_norm"
    if mutant("final-layer-norm-missing"):
        final.tap_input(x)
        return final.tap(x)
    return layer_norm(final, x, eps)
