"""Names that others give to the same tensors, each a function from our name to theirs, or None where
that program has no such module (its sinusoid is a function, say). Names end in ".in" as ours do."""

import re

RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
ENDS = {
    "conv_in": "input_blocks.0.0",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.act": "time_embed.1",
    "time_embedding.linear_2": "time_embed.2",
    "conv_norm_out": "out.0",
    "conv_act": "out.1",
    "conv_out": "out.2",
}
VAE_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}
PLACE = re.compile(
    r"(?:(down|up)_blocks\.(\d)|(mid)_block)\.(resnets|attentions|downsamplers|upsamplers)\.(\d)\.?(.*)"
)


def join(*parts):
    return ".".join(p for p in parts if p)


def ldm_unet(path):
    """The modules of the first Stable Diffusion's UNet: two ResNets and a sampler on each level down,
    three ResNets on each level up; a level's sampler is the last part of its last block."""
    if path in ENDS:
        return ENDS[path]
    m = PLACE.fullmatch(path)
    if not m:
        return None  # containers (a level is no module there) and functions
    side, level, mid, sort, j, rest = m.groups()
    level, j = int(level or 0), int(j)
    rest = RESNET.get(rest, rest) if sort == "resnets" else rest
    if mid:
        return join("middle_block", str(1 if sort == "attentions" else 2 * j), rest)
    if sort == "downsamplers":
        return join(f"input_blocks.{3 * level + 3}.0", rest.replace("conv", "op"))
    if sort == "upsamplers":
        return join(f"output_blocks.{3 * level + 2}.{1 if level == 0 else 2}", rest)
    block = f"input_blocks.{3 * level + j + 1}" if side == "down" else f"output_blocks.{3 * level + j}"
    return join(block, str(int(sort == "attentions")), rest)


def ldm_vae(path):
    if not path.startswith("decoder."):
        return path  # post_quant_conv
    path = path[len("decoder.") :]
    if path in ("conv_in", "conv_out"):
        return f"decoder.{path}"
    if path == "conv_norm_out":
        return "decoder.norm_out"
    m = PLACE.fullmatch(path)
    if not m:
        return None
    _, level, mid, sort, j, rest = m.groups()
    j = int(j)
    if sort == "attentions":
        return join("decoder.mid.attn_1", VAE_ATTENTION.get(rest, rest))
    rest = rest.replace("conv_shortcut", "nin_shortcut")
    if mid:
        return join(f"decoder.mid.block_{j + 1}", rest)
    if sort == "upsamplers":
        return join(f"decoder.up.{3 - int(level)}.upsample", rest)
    return join(f"decoder.up.{3 - int(level)}.block.{j}", rest)


def ldm(name):
    component, _, path = name.partition(".")
    if component == "text_encoder":
        return f"cond_stage_model.transformer.{path}"
    found = {"unet": ldm_unet, "vae": ldm_vae}[component](path) if path else None
    if found is None:
        return None
    return join({"unet": "model.diffusion_model", "vae": "first_stage_model"}[component], found)


def ldm_bare(name):
    found = ldm(name)
    return found and re.sub(r"^(model\.diffusion_model|first_stage_model|cond_stage_model)\.", "", found)


def without_component(name):
    return name.partition(".")[2] or None


def base_layer(name):
    """PEFT wraps linear layers: their own output is that of .base_layer."""
    return re.sub(r"(\.(?:to_[qkv]|to_out\.0|proj_in|proj_out|net\.2|[qkv]_proj|out_proj|fc\d))(?=\.mole|$)",
                  r"\1.base_layer", name)  # fmt: skip


NAMES = {
    "no-component": without_component,
    "compiled": lambda n: n.replace(".", "._orig_mod.", 1) if "." in n else n + "._orig_mod",
    "parallel": lambda n: f"module.{n}",
    "peft": base_layer,
    "underscores": lambda n: n.replace(".", "_"),
    "no-text-model": lambda n: n.replace("text_model.", ""),
    "slashes": lambda n: n.replace(".", "/"),
    "ldm": ldm,
    "ldm-bare": ldm_bare,
}


def renamed(function, name):
    """Their name for a tap or an input, or None."""
    stem = name[:-3] if name.endswith(".in") else name
    found = function(stem)
    return found and found + name[len(stem) :]
