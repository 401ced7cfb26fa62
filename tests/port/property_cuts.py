"""Which taps a port dumps: a table of kinds of cuts, from a single tap to all of them.

KINDS is name -> function(names, generator) -> the names that stay. The natural kinds look at the names
(diffusers' module paths), the random ones do not. A kind that finds nothing of its sort gives an empty
list, and the caller takes another kind.
"""

import re

RESNETS_AND_ATTENTIONS = re.compile(r"\.(resnets|attentions)\.\d+$|encoder\.layers\.\d+$")
BLOCKS = re.compile(
    r"(unet|vae\.decoder)(\.(down|up)_blocks\.\d+|\.mid_block|\.conv_in|\.conv_out)?$"
    r"|encoder\.layers\.\d+$|(noise_pred|guided|latents|image|prompt_embeds)$"
)
CONVOLUTIONS = re.compile(
    r"\.(conv_in|conv_out|conv1|conv2|conv_shortcut|conv|proj_in|proj_out|post_quant_conv)$"
)
NORMS = re.compile(r"norm\d?$|\.conv_norm_out$|layer_norm")
LINEARS = re.compile(
    r"\.(linear_\d|time_emb_proj|to_[qkv]|to_out\.0|net\.0\.proj|net\.2|[qkv]_proj|out_proj|fc\d)$"
)
TIME = re.compile(r"(^|/)unet\.time_")
LEVEL = re.compile(r"(?:down_blocks|up_blocks|encoder\.layers)\.\d+\.|mid_block\.|^step\.\d+/")
RESULT = re.compile(r"^(step\.\d+/)?(unet|vae\.decoder|image|text_encoder\.text_model\.final_layer_norm)$")
EXPERTS = re.compile(r"\.mole\.")


def share(p):
    return lambda names, rng: [n for n in names if rng.random() < p]


def density(names, rng):
    """A share between one tap and all of them, evenly on a log scale."""
    p = len(names) ** -rng.random()
    return [n for n in names if rng.random() < p]


def mixed(names, rng):
    """Each module of the third level ("unet.down_blocks.0") dumped with a density of its own."""
    shares = {}
    kept = []
    for n in names:
        key = ".".join(n.split(".")[:4])
        shares.setdefault(key, rng.choice((0, 0.1, 0.5, 0.9, 1)))
        if rng.random() < shares[key]:
            kept.append(n)
    return kept


def single(names, rng):
    return [rng.choice(names)]


def pair(names, rng):
    return rng.sample(names, min(2, len(names)))


def stretch(names, rng):
    """Consecutive taps: a porter looks at one place."""
    first, last = sorted(rng.sample(range(len(names) + 1), 2))
    return names[first:last]


def only(pattern):
    return lambda names, rng: [n for n in names if pattern.search(n)]


def without(pattern):
    return lambda names, rng: [n for n in names if not pattern.search(n)]


def level(names, rng):
    found = sorted({m.group() for m in map(LEVEL.search, names) if m})
    if not found:
        return []
    chosen = rng.choice(found)
    return [n for n in names if chosen in n]


def every(names, rng):
    return list(names)


KINDS = {
    "all": every,
    "half": share(0.5),
    "tenth": share(0.1),
    "hundredth": share(0.01),
    "single": single,
    "pair": pair,
    "nine-tenths": share(0.9),
    "density": density,
    "mixed": mixed,
    "consecutive": stretch,
    "result": only(RESULT),
    "blocks": only(BLOCKS),
    "resnets-attentions": only(RESNETS_AND_ATTENTIONS),
    "convolutions": only(CONVOLUTIONS),
    "norms": only(NORMS),
    "linears": only(LINEARS),
    "level": level,
    "no-time": without(TIME),
    "time": only(TIME),
    "no-experts": without(EXPERTS),
}
INPUTS = ("none", "kept", "any")  # whether NAME.in is dumped: never; with NAME; as chance has it


def is_input(name):
    return name.endswith(".in")


def cut(kind, inputs, names, known, rng):
    """The taps that stay of `names`, in their order. At least one of them is in `known` (what the
    reference holds), or a comparison would have nothing to compare. None: this kind finds none."""
    outputs = [n for n in names if not is_input(n)]
    kept = set(KINDS[kind](outputs, rng))
    if not kept:
        if kind not in ("half", "tenth", "hundredth", "density", "mixed"):
            return None
        kept = {rng.choice(outputs)}
    if not kept & known:
        kept.add(rng.choice(sorted(known)))
    if inputs == "kept":
        kept |= {n + ".in" for n in kept}
    if inputs == "any":
        p = rng.random()
        kept |= {n for n in names if is_input(n) and rng.random() < p}
    return [n for n in names if n in kept]
