"""Fingerprints of the full-size v2.1 and XL, from PyTorch: golden/full/sd21-*, sdxl-*.

    python scripts/golden/full_others.py --out golden/full [--only NAME]

As full.py, with fewer taps: the outputs of blocks, ResNets, transformers and text layers. Weights come from the
formula. The float64 truth of a UNet keeps its weights in float32, which hold the formula's numbers exactly, and
every layer widens its own when it runs: XL's 10 GB are there once.
"""

import argparse
import contextlib
import gc
import json
import os
import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parent.parent)  # for `import golden`
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch  # noqa: E402
from diffusers import UNet2DConditionModel  # noqa: E402
from diffusers.models.resnet import ResnetBlock2D  # noqa: E402
from diffusers.models.transformers.transformer_2d import Transformer2DModel  # noqa: E402
from torch.nn import functional  # noqa: E402
from transformers import CLIPTextConfig  # noqa: E402
from transformers.models.clip import modeling_clip as clip  # noqa: E402

from golden import full, models, mole, synth, units  # noqa: E402
from golden.taps import BLOCKS, ExactTimesteps, Recorder  # noqa: E402

KINDS = (*BLOCKS, ResnetBlock2D, Transformer2DModel, clip.CLIPTextEmbeddings, clip.CLIPEncoderLayer)
EDGES = ("conv_in", "time_embedding", "add_embedding", "conv_out", "text_projection", "final_layer_norm")


class Sketcher(Recorder):
    """A Recorder of fewer modules that keeps sketches."""

    keep = full.Sketcher.keep

    def __enter__(self):
        for path, module in self.model.named_modules():
            edge = path in EDGES and not isinstance(module, torch.nn.Identity)
            if edge or isinstance(module, KINDS):
                self.watch(path, module)
        return self


@contextlib.contextmanager
def widening():
    """Layers take weights of float32 for an input of float64."""
    names = ("linear", "conv2d", "group_norm", "layer_norm")
    stock = {name: getattr(functional, name) for name in names}

    def widened(function):
        def call(x, *args, **kwargs):
            args = [a.to(x.dtype) if isinstance(a, torch.Tensor) else a for a in args]
            kwargs = {k: a.to(x.dtype) if isinstance(a, torch.Tensor) else a for k, a in kwargs.items()}
            return function(x, *args, **kwargs)

        return call

    for name, function in stock.items():
        setattr(functional, name, widened(function))
    try:
        yield
    finally:
        for name, function in stock.items():
            setattr(functional, name, function)


def config_of(arch, part):
    """As golden/names has it, of the full size."""
    path = Path(__file__).resolve().parents[2] / "golden/names" / arch / part / "config.json"
    return json.loads(path.read_text(encoding="utf-8"))


def load_unet(arch):
    """In float32."""
    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config(config_of(arch, "unet"))
    return full.fill(unet, "unet", torch.float32)


def load_text(arch, part, dtype):
    """A text encoder; of XL's first what is read."""
    model = models.TEXT_CLASSES[part](CLIPTextConfig.from_dict(config_of(arch, part)))
    for name, parameter in model.named_parameters():
        whole = name if name.startswith(("text_model.", "text_projection.")) else f"text_model.{name}"
        parameter.data = torch.from_numpy(synth.numbers(f"{part}.{whole}", tuple(parameter.shape))).to(dtype)
    if (arch, part) == ("sdxl", "text_encoder"):
        del model.encoder.layers[-1]
        model.final_layer_norm = torch.nn.Identity()
    return model.to(dtype).eval().requires_grad_(False)


def wrap(unet):
    """The authors' recipe: two experts of rank 256."""
    for path, module in mole.targets(unet):
        d_out, d_in = module.weight.shape[:2]
        site, key = [(path, d_in, d_out, False)], mole.key_of(path)
        factors, gates = {}, {}
        for name, (rank, alpha) in full.EXPERTS.items():
            made = synth.expert(site, name, rank, alpha)
            factors[name] = (alpha, *(torch.from_numpy(made[f"{key}.lora_{p}.weight"]) for p in ("down", "up")))
        made = synth.gates(site, tuple(full.EXPERTS))
        for name in ("Phi_1", *full.EXPERTS):
            part = name if name == "Phi_1" else f"{name}_scale"
            gates[name] = tuple(torch.from_numpy(made[k]) for k in made if f".{part}." in k)
        holder, _, leaf = path.rpartition(".")
        setattr(unet.get_submodule(holder), leaf, mole.MoleLayer(module, factors, gates))


def passes(model, prefix, call):
    """Sketches of float64, then of float32 with each of full.KERNELS."""
    made = []
    for dtype, kernels in ((torch.float64, "default"), *((torch.float32, k) for k in full.KERNELS)):
        full.log(f"{prefix}: {dtype}, {kernels}")
        context, _ = units.KERNELS[kernels]
        wide = widening() if dtype == torch.float64 else contextlib.nullcontext()
        with torch.no_grad(), wide, context(), ExactTimesteps(), Sketcher(model, prefix) as recorder:
            call(model, dtype)
        made.append(recorder.taps)
        gc.collect()
    return made


def entry(arch, with_mole):
    """The manifest's "model"."""
    named = {"folder": f"synth:{arch}", "face": None, "hand": None, "gates": None, "sha256": {}}
    if with_mole:
        for name, (rank, alpha) in full.EXPERTS.items():
            named[name] = f"synth:rank={rank},alpha={alpha:g}"
        named["gates"] = "synth:"
    return named


def unets(out, arch):
    """One pass of two samples, 128x128 pixels, without experts and with them."""
    config = config_of(arch, "unet")
    shapes = {"sample": (2, 4, 16, 16), "encoder_hidden_states": (2, 77, config["cross_attention_dim"])}
    formulas = {"sample": "input.sample", "encoder_hidden_states": "input.context"}
    if config["addition_embed_type"]:
        width = config["projection_class_embeddings_input_dim"] - 6 * config["addition_time_embed_dim"]
        shapes |= {"text_embeds": (2, width), "time_ids": (2, 6)}
        formulas |= {"text_embeds": "input.text_embeds", "time_ids": "input.time_ids"}
    inputs = {k: {"formula": formulas[k], "shape": list(shape)} for k, shape in shapes.items()}
    given = {k: torch.from_numpy(synth.numbers(formulas[k], shape)) for k, shape in shapes.items()}

    def call(model, dtype):
        typed = {k: x.to(dtype) for k, x in given.items()}
        sample, context = typed.pop("sample"), typed.pop("encoder_hidden_states")
        model(sample, 501, context, added_cond_kwargs=typed or None)

    unet = load_unet(arch)
    for with_mole in (False, True):
        if with_mole:
            wrap(unet)
        name = f"{arch}-unet-mole" if with_mole else f"{arch}-unet"
        truth, *others = passes(unet, "unet", call)
        about = f"One UNet pass of the full-size model, 128x128 pixels, {'with' if with_mole else 'without'} experts."
        fields = {"model": entry(arch, with_mole), "inputs": {**inputs, "timestep": 501}}
        full.write(out, name, about, truth, others, component="unet", **fields)


def text(out, arch, part):
    """Two prompts."""
    ids = full.tokenizer("sd15")(
        [full.NEGATIVE, full.PROMPT], padding="max_length", max_length=77, truncation=True, return_tensors="pt"
    ).input_ids
    made, prefix = [], part if part == "text_encoder_2" else f"{part}.text_model"
    for dtype, kernels in ((torch.float64, "default"), *((torch.float32, k) for k in full.KERNELS)):
        full.log(f"{arch} {part}: {dtype}, {kernels}")
        model, (context, _) = load_text(arch, part, dtype), units.KERNELS[kernels]
        with torch.no_grad(), context(), Sketcher(model, prefix) as recorder:
            model(ids)
        made.append(recorder.taps)
        del model
        gc.collect()
    name = f"{arch}-{part.replace('_', '-')}"
    about = f"The full-size {part} on two prompts of 77 tokens, padded with the end token."
    fields = {"component": part, "model": entry(arch, False), "inputs": {"input_ids": "input/input_ids"}}
    full.write(out, name, about, made[0], made[1:], {"input/input_ids": ids}, **fields)


CASES = {
    "sd21-text-encoder": lambda out: text(out, "sd21", "text_encoder"),
    "sdxl-text-encoder": lambda out: text(out, "sdxl", "text_encoder"),
    "sdxl-text-encoder-2": lambda out: text(out, "sdxl", "text_encoder_2"),
    "sd21-unet": lambda out: unets(out, "sd21"),
    "sdxl-unet": lambda out: unets(out, "sdxl"),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", default="golden/full")
    parser.add_argument("--only", default="", help="the case of this name")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    for name, function in CASES.items():
        if args.only in ("", name):
            function(args.out)


if __name__ == "__main__":
    main()
