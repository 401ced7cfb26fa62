"""CLIP's text encoder: token ids (B, T) -> hidden states (B, T, D)."""

import numpy as np

import nn
from deviations import deviates
from model import activation, layer_norm, linear
from mutants import mutant


def embeddings(module, ids):
    """token_embedding[id] + position_embedding[place]."""
    tokens = (module / "token_embedding").weight()[ids]
    positions = (module / "position_embedding").weight()[: ids.shape[1]]
    if mutant("positions-shifted"):  # as if a token stood before the first
        positions = np.roll(positions, 1, axis=0)
    if mutant("positions-missing"):
        positions = np.zeros_like(positions)
    module.tap_input(ids)
    return module.tap(nn.add(tokens, positions))


def self_attention(module, x, heads, seen=None):
    """seen: what a mutant masks."""
    q_proj, k_proj, v_proj = (module / name for name in ("q_proj", "k_proj", "v_proj"))
    if mutant("fused-qk-swapped"):  # a fused in_proj taken for (k, q, v)
        q_proj, k_proj = k_proj.called(q_proj), q_proj.called(k_proj)
    biases = [projection.bias() for projection in (q_proj, k_proj, v_proj)]
    if mutant("fused-bias-interleaved"):  # a fused in_proj's bias (3 D) taken for (D, 3)
        biases = np.concatenate(biases).reshape(-1, 3).T
    if mutant("clip-bias-missing"):  # as the UNet's
        biases = [None] * 3
    q, k, v = (
        projection.tap(nn.linear(projection.tap_input(x), projection.weight(), bias))
        for projection, bias in zip((q_proj, k_proj, v_proj), biases)
    )
    causal = not mutant("causal-mask-missing")
    x = nn.attention(q, k, v, heads, causal=causal, seen=seen)
    return module.tap(linear(module / "out_proj", x))


def mlp(module, x, name):
    functions = {"quick_gelu": nn.quick_gelu, "gelu": nn.gelu}
    function = functions[name]
    if mutant("clip-gelu"):
        function = nn.gelu
    if mutant("clip-quick-gelu"):
        function = nn.quick_gelu
    x = linear(module / "fc1", x)
    x = activation(module / "activation_fn", x, function)
    return module.tap(linear(module / "fc2", x))


def hidden_states(component, ids, layers, seen=None):
    """The embeddings, and what each of the first `layers` layers makes of them. seen: what a mutant masks."""
    config, root = component.config, component.root() / "text_model"
    eps, heads = config["layer_norm_eps"], config["num_attention_heads"]
    states = [embeddings(root / "embeddings", ids)]
    for i in range(layers):
        layer, x = root / f"encoder.layers.{i}", states[-1]
        h = layer_norm(layer / "layer_norm1", x, eps)
        if mutant("clip-residual-after-norm"):
            x = h
        x = nn.add(x, self_attention(layer / "self_attn", h, heads, seen))
        h = layer_norm(layer / "layer_norm2", x, eps)
        states.append(layer.tap(nn.add(x, mlp(layer / "mlp", h, config["hidden_act"]))))
    return states


def final_norm(component, x):
    final = component.root() / "text_model" / "final_layer_norm"
    if mutant("final-layer-norm-missing"):
        final.tap_input(x)
        return final.tap(x)
    if mutant("final-norm-twice"):
        x = nn.layer_norm(x, final.weight(), final.bias(), component.config["layer_norm_eps"])
    return layer_norm(final, x, component.config["layer_norm_eps"])


def forward(component, ids, real=None):
    """v1.5 and v2.1: the last layer's states, normalised. real (B, T): which tokens are not padding. The model
    does not look at it; a mutant does."""
    layers = component.config["num_hidden_layers"]
    if mutant("clip-skip"):
        layers -= 1
    seen = real if mutant("text-padding-masked") else None
    return final_norm(component, hidden_states(component, ids, layers, seen)[-1])


def penultimate(component, ids):
    """XL's first text encoder: the states before the last layer, which is not even read."""
    layers = component.config["num_hidden_layers"]
    states = hidden_states(component, ids, layers - 1)[-1]
    if mutant("penultimate-normalised"):
        weights = component.weights.tensors
        final = [weights[f"text_model.final_layer_norm.{part}"] for part in ("weight", "bias")]
        states = nn.layer_norm(states, *final, component.config["layer_norm_eps"])
    return states


def last_layer_of(config):
    """The names of what penultimate() leaves alone."""
    return f"text_model.encoder.layers.{config['num_hidden_layers'] - 1}.", "text_model.final_layer_norm."


def end_of(component, ids):
    """(B): where each text ends. An end token of 2, which old configurations state, means the largest id."""
    eos = component.config["eos_token_id"]
    return ids.argmax(1) if eos == 2 else (ids == eos).argmax(1)


def penultimate_and_pooled(component, ids):
    """XL's second text encoder: the states before the last layer; and the last layer's, normalised, at the
    text's end, projected."""
    states = hidden_states(component, ids, component.config["num_hidden_layers"])
    last = states[-2] if mutant("pooled-from-penultimate") else states[-1]
    final = last if mutant("pooled-before-norm") else final_norm(component, last)
    row = end_of(component, ids)
    if mutant("pooled-last-row"):
        row = np.full(len(ids), ids.shape[1] - 1)
    if mutant("pooled-begin-row"):
        row = np.zeros(len(ids), int)
    projection = component.root() / "text_projection"
    if mutant("pooled-not-projected"):
        pooled = projection.tap_input(final[np.arange(len(ids)), row])
        return states[-2], projection.tap(pooled)
    if mutant("text-projection-transposed") or deviates("text-projection-unturned"):
        pooled = projection.tap_input(final[np.arange(len(ids)), row])
        return states[-2], projection.tap(nn.linear(pooled, projection.weight().T))
    return states[-2], linear(projection, final[np.arange(len(ids)), row])
