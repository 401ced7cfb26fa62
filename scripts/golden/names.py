"""The tensors of the full-size models, names and shapes, from the libraries' classes without their numbers.

golden/names/MODEL is a folder of diffusers without weights: configurations, and per component tensors.txt.
golden/names/MODEL/mole.txt has the layers that experts wrap. docs/golden-format.md has the grammar.
"""

import itertools
import re
import shutil
from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextConfig

from golden import models, mole

VIT_L = dict(hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12)
VIT_H = dict(hidden_size=1024, intermediate_size=4096, num_hidden_layers=23, num_attention_heads=16)
BIG_G = dict(hidden_size=1280, intermediate_size=5120, num_hidden_layers=32, num_attention_heads=20)
VAE = dict(block_out_channels=(128, 256, 512, 512), norm_num_groups=32)
# full-size model -> its tiny one, and what is wider
FULL = {
    "sd15": ("sd15-tiny", dict(
        unet=dict(block_out_channels=(320, 640, 1280, 1280), cross_attention_dim=768, sample_size=64),
        text_encoder=dict(VIT_L, projection_dim=768),
        vae=dict(VAE, sample_size=512),
    )),
    "sd21": ("sd21-tiny", dict(
        unet=dict(block_out_channels=(320, 640, 1280, 1280), cross_attention_dim=1024, sample_size=96,
                  attention_head_dim=(5, 10, 20, 20)),
        text_encoder=dict(VIT_H, projection_dim=512),
        vae=dict(VAE, sample_size=768),
    )),
    "sdxl": ("sdxl-tiny", dict(
        unet=dict(block_out_channels=(320, 640, 1280), cross_attention_dim=2048, sample_size=128,
                  attention_head_dim=(5, 10, 20), addition_time_embed_dim=256,
                  projection_class_embeddings_input_dim=1280 + 6 * 256),
        text_encoder=dict(VIT_L, projection_dim=768),
        text_encoder_2=dict(BIG_G, projection_dim=1280),
        vae=dict(VAE, sample_size=1024),
    )),
}  # fmt: skip
VOCABULARY = 49408
NUMBER = re.compile(r"(\d+)")


def expand(pattern):
    """a.{0..2}.b -> a.0.b, a.1.b, a.2.b; several ranges: every combination."""
    parts = re.split(r"\{(\d+)\.\.(\d+)\}", pattern)
    ranges = [range(int(a), int(b) + 1) for a, b in zip(parts[1::3], parts[2::3])]
    for numbers in itertools.product(*ranges):
        yield "".join(str(x) for pair in itertools.zip_longest(parts[::3], numbers, fillvalue="") for x in pair)


def runs(numbers):
    """Sorted numbers -> (first, last) of each run without a gap."""
    starts = [n for n in numbers if n - 1 not in numbers]
    ends = [n for n in numbers if n + 1 not in numbers]
    return zip(starts, ends)


def merged(rows, place):
    """Rows (pieces, shape) that differ in the number at `place` alone become one with a range of them."""
    groups = {}
    for pieces, shape in rows:
        number = pieces[place] if place < len(pieces) else ""
        if number.isdigit():
            key = (pieces[:place], pieces[place + 1 :], shape)
            groups.setdefault(key, set()).add(int(number))
        else:
            groups[(pieces, None, shape)] = None
    for (before, after, shape), numbers in groups.items():
        if numbers is None:
            yield before, shape
            continue
        for first, last in runs(sorted(numbers)):
            text = str(first) if first == last else f"{{{first}..{last}}}"
            yield (*before, text, *after), shape


def compact(shapes):
    """{name: shape} -> lines, fewer than names."""
    rows = [(tuple(NUMBER.split(name)), tuple(shape)) for name, shape in shapes.items()]
    for place in reversed(range(1, max(len(pieces) for pieces, _ in rows), 2)):
        rows = list(merged(rows, place))
    lines = [" ".join(["".join(pieces), *map(str, shape)]) for pieces, shape in rows]
    found = {name: tuple(map(int, rest)) for line in lines for first, *rest in [line.split()] for name in expand(first)}
    assert found == {name: tuple(shape) for name, shape in shapes.items()}
    return "\n".join(sorted(lines)) + "\n"


def text_model(name, part, wide):
    """A text encoder, and its names with the level that transformers 5 leaves out."""
    config = CLIPTextConfig(vocab_size=VOCABULARY, **{**models.MODELS[name].texts[part], **wide})
    model = models.TEXT_CLASSES[part](config)
    first = "" if part == "text_encoder_2" else "text_model."
    return model, {first + key: value.shape for key, value in model.state_dict().items()}


def component(name, part, wide):
    """(model, {tensor: shape})."""
    tiny = models.MODELS[name]
    with torch.device("meta"):
        if part.startswith("text_encoder"):
            return text_model(name, part, wide)
        if part == "unet":
            model = UNet2DConditionModel(**{**tiny.unet, "norm_num_groups": 32, **wide})
        else:
            model = AutoencoderKL(**{**tiny.vae, **wide})
    return model, {key: value.shape for key, value in model.state_dict().items()}


def make(out):
    """golden/names."""
    shutil.rmtree(Path(out) / "names", ignore_errors=True)
    for full, (name, parts) in FULL.items():
        folder = Path(out) / "names" / full
        for part, wide in parts.items():
            model, shapes = component(name, part, wide)
            config = model.config if part.startswith("text_encoder") else model
            (config.save_pretrained if part.startswith("text_encoder") else config.save_config)(folder / part)
            (folder / part / "tensors.txt").write_text(compact(shapes))
            if part == "unet":
                layers = {
                    mole.key_of(path, models.MODELS[name].expert_names): module.weight.shape[:2][::-1]
                    for path, module in mole.targets(model)
                }
                (folder / "mole.txt").write_text(compact(layers))
        for file in ("model_index.json", "scheduler/scheduler_config.json"):
            (folder / file).parent.mkdir(exist_ok=True)
            shutil.copy(models.folder_of(out, name) / file, folder / file)
