"""Parts of a trace that a porter may have dumped: every natural way to cut one, and random ones.

A cut is a label and a set of names. Only names and the classes of modules decide, so this needs no PyTorch.
"""

import random
import re

# What each of these cuts keeps, as a pattern on the whole name.
PATTERNS = {
    "blocks": r".*\.(down_blocks|up_blocks|layers)\.\d+|.*\.(mid_block|conv_in|conv_out|embeddings)|[a-z_]+"
    r"|.*\.(decoder|final_layer_norm)",
    "one block": r".*\.(up_blocks|layers)\.1\b.*",
    "attentions": r".*\.(attentions\.\d+|self_attn)",
    "resnets and attentions": r".*\.(resnets\.\d+|attentions\.\d+|self_attn|mlp)",
    "transformer blocks": r".*\.(transformer_blocks|layers)\.\d+",
    "attention layers": r".*\.(attn1|attn2|self_attn|attentions\.0)",
    "queries, keys, values": r".*\.(to_q|to_k|to_v|q_proj|k_proj|v_proj)",
    "without queries, keys, values": r"(?!.*\.(to_q|to_k|to_v|q_proj|k_proj|v_proj)\b).*",
    "without sinusoid": r"(?!.*\.time_proj).*",
    "without time": r"(?!.*\.time_(proj$|embedding)).*",
    "without attention": r"(?!.*\.(attentions|self_attn)\b).*",
    "without experts": r"(?!.*\.mole\.(?!base)).*",
    "experts": r".*\.mole\.[^.]*\.(expert|out)",
    "gates": r".*\.(local|global)",
    "bases": r".*\.mole\.base",
    "pipeline's latents": r"(.*/)?latents",
    "noise": r".*noise_pred",
    "guided": r".*guided",
    "picture": r"image",
    "one step": r"step\.001/.*",
    "text": r"prompt_embeds",
    "decoder": r"vae\..*",
}
# And by the class of the module.
CLASSES = {
    "convolutions": ("Conv2d",),
    "linears": ("Linear", "MoleLayer"),
    "norms": ("GroupNorm", "LayerNorm"),
    "group norms": ("GroupNorm",),
    "convolutions and norms": ("Conv2d", "GroupNorm"),
    "activations": ("SiLU", "GEGLU", "QuickGELUActivation", "GELUActivation"),
}
LEAVES = {"Conv2d", "Linear", "GroupNorm", "LayerNorm", *CLASSES["activations"]}


def level_of(name):
    """Which size of image a module works on: 0 is the largest; None outside of the levels."""
    match = re.search(r"\b(down_blocks|up_blocks|layers)\.(\d+)", name)
    if not match:
        return 3 if ".mid_block" in name else None
    return 3 - int(match[2]) if match[1] == "up_blocks" else int(match[2])


def natural(names, kinds):
    """(label, names) of what people dump. kinds: name -> class of the module."""
    yield "all", names
    yield "result", names[-1:]
    for label, pattern in PATTERNS.items():
        yield label, [name for name in names if re.fullmatch(pattern, name)]
    for label, classes in CLASSES.items():
        yield label, [name for name in names if kinds.get(name) in classes]
    yield "leaves", [name for name in names if kinds.get(name) in LEAVES or ".mole." in name]
    yield "containers", [name for name in names if kinds.get(name) not in LEAVES and ".mole." not in name]
    for level in range(4):
        yield f"level {level}", [name for name in names if level_of(name) == level]
    yield "first half", names[: len(names) // 2]
    yield "second half", names[len(names) // 2 :]


def drawn(names, seed, count):
    """(label, names) of random parts: `count` each of halves, tenths, pairs, and all but a few."""
    dice = random.Random(seed)
    for k in range(count):
        parts = {"half": len(names) // 2, "tenth": len(names) // 10, "two": 2, "all but three": len(names) - 3}
        for label, size in parts.items():
            chosen = set(dice.sample(range(len(names)), max(1, min(size, len(names)))))
            yield f"{label}, draw {k}", [name for i, name in enumerate(names) if i in chosen]
        begin = dice.randrange(len(names))
        end = dice.randint(begin, min(len(names), begin + 40))
        yield f"a run of modules, draw {k}", names[begin : end + 1]


def cuts(names, kinds, seed, count):
    """Every cut that keeps something, each set of names once."""
    seen = set()
    for label, kept in (*natural(names, kinds), *drawn(names, seed, count)):
        key = tuple(kept)
        if kept and key not in seen:
            seen.add(key)
            yield label, kept
