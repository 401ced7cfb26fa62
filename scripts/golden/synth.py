"""Weights by formula: the twin of ref/io/synth.c in NumPy, bit for bit (docs/synth.md).

    synth.numbers("unet.conv_in.weight", (320, 4, 3, 3), seed=0)      one tensor, float32
    synth.expert(sites, "face", rank=256, alpha=64)                   an expert's file as a dict
    synth.gates(sites, ("face", "hand"))                              the gates' file as a dict
"""

import numpy as np

M64 = (1 << 64) - 1
GOLDEN = 0x9E3779B97F4A7C15

# (ending of the module's name, gain): std of a weight = gain / sqrt(fan in); the first that fits.
GAINS = [
    ("time_embedding.linear_1", 1.4),
    ("time_embedding.linear_2", 1.6),
    ("conv1", 1.6),
    ("conv2", 0.8),
    ("conv_shortcut", 0.75),
    (".to_q", 1.25),
    (".to_k", 1.25),
    (".q_proj", 1.25),
    (".k_proj", 1.25),
    (".to_out.0", 0.9),
    (".out_proj", 0.9),
    (".ff.net.0.proj", 1.1),
    (".mlp.fc1", 1.2),
    (".mlp.fc2", 0.9),
    (".proj_out", 0.4),
    ("coder.conv_in", 0.25),
    ("decoder.conv_out", 0.65),
    ("conv_out", 2.0),
    (".token_embedding", 0.03),
    (".position_embedding", 0.01),
    (".Phi_1", 1.3),
    ("_scale", 3.0),
    ("", 1.0),
]
NORMS = (".norm", ".norm1", ".norm2", ".norm3", "conv_norm_out", ".group_norm")
NORMS += (".layer_norm1", ".layer_norm2", ".final_layer_norm")


def key(name, seed):
    """64 bits for the tensor: FNV-1a of its name, the seed added, SplitMix64's finaliser."""
    x = 0xCBF29CE484222325
    for byte in name.encode():
        x = (x ^ byte) * 0x100000001B3 & M64
    x = (x + seed * GOLDEN) & M64
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 & M64
    x = (x ^ x >> 27) * 0x94D049BB133111EB & M64
    return x ^ x >> 31


def value_range(name, shape, rank=1, alpha=1.0):
    """(offset, amplitude) of a tensor, both float32."""
    module, _, parameter = name.rpartition(".")
    if module == "input":
        return np.float32(0), np.float32(np.sqrt(3.0))
    if parameter == "bias":
        amplitude = 1.0 if module.endswith("_scale") else 0.5 if module.endswith(".Phi_1") else 0.1
        return np.float32(0), np.float32(amplitude)
    if module.endswith(NORMS):
        return np.float32(1), np.float32(0.1)
    gain = next(gain for ending, gain in GAINS if module.endswith(ending))
    if module.endswith(".lora_up"):
        gain = 0.6 * rank / alpha
    embedding = module.endswith("_embedding")
    fan_in = 1 if embedding else int(np.prod(shape[1:], dtype=np.int64))
    return np.float32(0), np.float32(gain * np.sqrt(3.0 / fan_in))


def numbers(name, shape, seed=0, rank=1, alpha=1.0):
    """One tensor in float32."""
    k = key(name, seed)
    a, b = np.uint32(k & 0xFFFFFFFF), np.uint32(k >> 32)
    offset, amplitude = value_range(name, shape, rank, alpha)
    count = int(np.prod(shape, dtype=np.int64))
    out = np.empty(count, np.float32)
    for start in range(0, count, 1 << 22):
        x = np.arange(start, min(count, start + (1 << 22)), dtype=np.uint64).astype(np.uint32)
        x *= np.uint32(0x9E3779B1)
        x += a
        x ^= x >> np.uint32(16)
        x *= np.uint32(0x85EBCA6B)
        x = x ^ b ^ (x >> np.uint32(13))
        x *= np.uint32(0xC2B2AE35)
        x ^= x >> np.uint32(16)
        bits = (x >> np.uint32(8)).astype(np.int32) - np.int32(1 << 23)
        u = bits.astype(np.float32) * np.float32(2.0**-23)
        out[start : start + len(x)] = offset + amplitude * u
    return out.reshape(shape)


def expert(sites, name, rank=256, alpha=None, seed=0):
    """{key: array} of an expert's file; sites: (path in the UNet, d, d', is a convolution)."""
    alpha = float(rank if alpha is None else alpha)
    out = {}
    for path, d, d_out, conv in sites:
        base, tail = "lora_unet_" + path.replace(".", "_"), (1, 1) if conv else ()
        for part, shape in (("lora_down", (rank, d)), ("lora_up", (d_out, rank))):
            value = numbers(f"{name}.{base}.{part}.weight", shape, seed, rank, alpha)
            out[f"{base}.{part}.weight"] = value.reshape(shape + tail)
        out[f"{base}.alpha"] = np.float32(alpha)
    return out


def gates(sites, experts, seed=0):
    """{key: array} of the gates' file."""
    out = {}
    for path, d, d_out, _ in sites:
        base = f"moe_lora_unet_{path.replace('.', '_')}.softmoe"
        shapes = {"Phi_1.weight": (len(experts), d), "Phi_1.bias": (len(experts),)}
        for name in experts:
            shapes |= {f"{name}_scale.weight": (1, d_out), f"{name}_scale.bias": (1,)}
        for part, shape in shapes.items():
            out[f"{base}.{part}"] = numbers(f"gates.{base}.{part}", shape, seed)
    return out
