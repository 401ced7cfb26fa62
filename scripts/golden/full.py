"""Fingerprints of the full-size model, from PyTorch: golden/full (docs/golden-format.md).

    python scripts/golden/full.py --out golden/full [--only NAME] [--arch sd15]

Weights come from the formula (synth.py), so that nothing has to be downloaded. Per tap: five
statistics and up to 32 values of the float64 truth, and the float32 error of PyTorch, estimated on
4096 positions. No tap is kept whole: a full-size UNet step has 20 GB of them.
"""

import argparse
import contextlib
import gc
import json
import os
import sys
import time
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parent.parent)  # for `import golden`
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np  # noqa: E402
import torch  # noqa: E402
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel  # noqa: E402
from safetensors.torch import save_file  # noqa: E402
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer  # noqa: E402

from golden import models, mole, synth, units  # noqa: E402
from golden.fingerprint import Fingerprint, positions, tables  # noqa: E402
from golden.formats import TENSORS, dump_json, made_with, sha256  # noqa: E402
from golden.pipeline import AUTHORS  # noqa: E402
from golden.taps import ExactTimesteps, Recorder  # noqa: E402

SAMPLE = 4096
EXPERTS = {"face": (256, 64.0), "hand": (256, 128.0)}  # rank, alpha: the authors' recipe
TINY_EXPERTS = {"face": (4, 2.0), "hand": (6, 4.0)}
WIDE = {
    "sd15": dict(
        unet=dict(sample_size=64, block_out_channels=(320, 640, 1280, 1280), norm_num_groups=32),
        vae=dict(sample_size=512, block_out_channels=(128, 256, 512, 512), norm_num_groups=32),
        text=dict(hidden_size=768, intermediate_size=3072, num_hidden_layers=12),
        heads=12,
        vocab=49408,
    ),
    "sd15-tiny": dict(unet={}, vae={}, text={}, heads=5, vocab=514),
}
KERNELS = ("default", "channel order 1")
PROMPT, NEGATIVE = "a portrait, two hands around a warm cup", "blurry"


class Sketch(Fingerprint):
    """And a sample for errors."""

    def __init__(self, x):
        super().__init__(x)
        flat = x.detach().contiguous().flatten()
        self.sample = flat.double()[torch.from_numpy(positions(flat.numel(), SAMPLE))].numpy()


class Sketcher(Recorder):
    """A Recorder that keeps sketches."""

    def keep(self, name, value):
        if name in self.taps:
            raise ValueError(f"{name} is executed twice: it cannot be a tap")
        self.taps[name] = Sketch(value)
        return value


def fill(model, component, dtype, prefix=""):
    """Formula weights in place of whatever is there."""
    tensors = {}
    for name, parameter in model.named_parameters():
        whole = name if not prefix or name.startswith(prefix) else prefix + name
        value = synth.numbers(f"{component}.{whole}", tuple(parameter.shape))
        tensors[name] = torch.from_numpy(value).to(dtype)
    missing = model.load_state_dict(tensors, strict=False, assign=True)
    assert not missing.unexpected_keys, missing
    return model.eval().requires_grad_(False)


def load_unet(arch, dtype, with_mole):
    """The UNet of an architecture, wrapped or plain."""
    config = {**models.UNET, **WIDE[arch]["unet"]}
    config["cross_attention_dim"] = WIDE[arch]["text"].get("hidden_size", models.TEXT["hidden_size"])
    with torch.device("meta"):
        unet = UNet2DConditionModel(**config)
    fill(unet, "unet", dtype)
    if with_mole:
        experts = EXPERTS if arch == "sd15" else TINY_EXPERTS
        for path, module in mole.targets(unet):
            d_out, d_in = module.weight.shape[:2]
            sites = [(path, d_in, d_out, False)]
            factors, gates = {}, {}
            for name, (rank, alpha) in experts.items():
                made = synth.expert(sites, name, rank, alpha)
                down, up = (
                    torch.from_numpy(made[f"{mole.key_of(path)}.lora_{part}.weight"]).to(dtype)
                    for part in ("down", "up")
                )
                factors[name] = (alpha, down, up)
            made = synth.gates(sites, tuple(experts))
            for name in ("Phi_1", *experts):
                part = name if name == "Phi_1" else f"{name}_scale"
                pair = [made[k] for k in made if f".{part}." in k]
                gates[name] = tuple(torch.from_numpy(x).to(dtype) for x in pair)
            layer = mole.MoleLayer(module, factors, gates)
            holder, _, leaf = path.rpartition(".")
            setattr(unet.get_submodule(holder), leaf, layer)
    return unet


def load_text(arch, dtype):
    """The text encoder."""
    vocab = WIDE[arch]["vocab"]
    sizes = {**models.TEXT, **WIDE[arch]["text"], "num_attention_heads": WIDE[arch]["heads"]}
    sizes["projection_dim"] = sizes["hidden_size"]
    ids = dict(bos_token_id=vocab - 2, eos_token_id=vocab - 1, pad_token_id=vocab - 1)
    model = CLIPTextModel(CLIPTextConfig(vocab_size=vocab, **ids, **sizes))
    return fill(model, "text_encoder", dtype, "text_model.")


def load_vae(arch, dtype):
    """The decoder half of the VAE."""
    vae = AutoencoderKL(**{**models.VAE, **WIDE[arch]["vae"]})
    vae.encoder = vae.quant_conv = None
    return fill(vae, "vae", dtype)


def tokenizer(arch):
    """Bytes as tokens: CLIP's 256 symbols, the same with </w>, and no merges."""
    count = WIDE[arch]["vocab"]
    codes = [*range(33, 127), *range(161, 173), *range(174, 324)]
    pieces = [chr(c) for c in codes] + [chr(c) + "</w>" for c in codes]
    pieces += [f"unused-{i:05d}</w>" for i in range(512, count - 2)]
    pieces += ["<|startoftext|>", "<|endoftext|>"]
    vocab = {piece: i for i, piece in enumerate(pieces)}
    return CLIPTokenizer(vocab=vocab, merges=[], model_max_length=77)


def encode(arch, texts):
    """(B,77) ids."""
    return tokenizer(arch)(
        texts, padding="max_length", max_length=77, truncation=True, return_tensors="pt"
    ).input_ids


def formula_input(name, shape):
    """An input by formula: uniform, standard deviation 1."""
    return torch.from_numpy(synth.numbers(f"input.{name}", shape))


def log(text):
    """A line with the time, for long runs."""
    print(time.strftime("%H:%M:%S"), text, flush=True)


def sketch(model, prefix, call, kernels, dtype):
    """Sketches of one pass, in order."""
    context, prepare = units.KERNELS[kernels]
    model = prepare(model)
    with torch.no_grad(), context(), ExactTimesteps(), Sketcher(model, prefix) as recorder:
        call(model, dtype)
    return recorder.taps


def error(truth, passes):
    """PyTorch's float32 error on the sample: the largest of the passes."""
    rms = most = 0.0
    for other in passes:
        delta = other.sample - truth.sample
        rms = max(rms, float(np.sqrt(np.mean(delta**2))))
        most = max(most, float(np.abs(delta).max()))
    return {"max_abs": float(f"{most:.6e}"), "rms": float(f"{rms:.6e}")}


def write(out, name, about, truth, passes, tensors=None, **fields):
    """One fingerprint: manifest.json and fingerprint.safetensors."""
    folder = Path(out) / name
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {**tables(truth.values()), **(tensors or {})}
    path = folder / TENSORS
    save_file(tensors, path)
    path.chmod(0o644)
    rows = [
        {"name": tap, "shape": s.shape, "f32_error": error(s, [p[tap] for p in passes])}
        for tap, s in truth.items()
    ]
    head = {
        "format": "mole-golden",
        "version": 1,
        "name": name,
        "kind": "fingerprint",
        "about": about,
        "made_with": made_with(),
        "files": {path.name: {"sha256": sha256(path), "bytes": path.stat().st_size}},
        "f32_kernels": list(KERNELS),
        **fields,
    }
    dump_json(folder / "manifest.json", {**head, "taps": rows})
    log(f"{name}: {len(rows)} taps")


def model_entry(arch, with_mole):
    """The manifest's "model"."""
    entry = {"folder": f"synth:{arch}", "face": None, "hand": None, "gates": None, "sha256": {}}
    if with_mole:
        for name, (rank, alpha) in (EXPERTS if arch == "sd15" else TINY_EXPERTS).items():
            entry[name] = f"synth:rank={rank},alpha={alpha:g}"
        entry["gates"] = "synth:"
    return entry


def component(
    out, arch, name, about, load, prefix, call, kind, inputs, with_mole=False, tensors=None
):
    """float64, then float32 with each of KERNELS; one model in memory at a time."""
    taps = []
    for dtype, kernels in ((torch.float64, "default"), *((torch.float32, k) for k in KERNELS)):
        log(f"{name}: {dtype}, {kernels}")
        model = load(dtype)
        taps.append(sketch(model, prefix, call, kernels, dtype))
        del model
        gc.collect()
    write(
        out,
        name,
        about,
        taps[0],
        taps[1:],
        tensors,
        component=kind,
        model=model_entry(arch, with_mole),
        inputs=inputs,
    )


def text_encoder(out, arch):
    """Two prompts."""
    ids = encode(arch, [NEGATIVE, PROMPT])
    component(
        out,
        arch,
        "text-encoder",
        "The text encoder on two prompts of 77 tokens.",
        lambda dtype: load_text(arch, dtype),
        "text_encoder.text_model",
        lambda model, dtype: model(ids),
        "text_encoder",
        {"input_ids": "input/input_ids"},
        tensors={"input/input_ids": ids},
    )


def unet_case(out, arch, name, about, batch, height, width, with_mole):
    """One UNet pass."""
    if arch != "sd15":
        height, width = height // 8, width // 8
    wide = WIDE[arch]["text"].get("hidden_size", models.TEXT["hidden_size"])
    shapes = {"sample": (batch, 4, height, width), "context": (batch, 77, wide)}
    sample, context = (formula_input(key, shape) for key, shape in shapes.items())
    timestep = 981

    def call(model, dtype):
        model(sample.to(dtype), timestep, context.to(dtype))

    component(
        out,
        arch,
        name,
        about,
        lambda dtype: load_unet(arch, dtype, with_mole),
        "unet",
        call,
        "unet",
        {
            "sample": {"formula": "input.sample", "shape": shapes["sample"]},
            "timestep": timestep,
            "encoder_hidden_states": {"formula": "input.context", "shape": shapes["context"]},
        },
        with_mole,
    )


def unet_step(out, arch):
    """The usual size."""
    unet_case(out, arch, "unet-step", "One UNet pass at 512x512.", 2, 64, 64, False)


def unet_step_mole(out, arch):
    """With experts of rank 256."""
    about = "One UNet pass at 512x512 with face and hand experts."
    unet_case(out, arch, "unet-step-mole", about, 2, 64, 64, True)


def unet_step_48x80(out, arch):
    """Not square."""
    about = "One UNet pass, 640 wide and 384 high."
    unet_case(out, arch, "unet-step-48x80", about, 1, 48, 80, False)


def vae_decode(out, arch):
    """A picture."""
    side = 64 if arch == "sd15" else 8
    latents = formula_input("latents", (1, 4, side, side))
    component(
        out,
        arch,
        "vae-decode",
        "The VAE decoder, 512x512 pixels.",
        lambda dtype: load_vae(arch, dtype),
        "vae",
        lambda model, dtype: model.decode(latents.to(dtype)),
        "vae_decoder",
        {"latents": {"formula": "input.latents", "shape": list(latents.shape)}},
    )


def run_2(out, arch):
    """Prompt to pixels in two guided steps; one component in memory at a time."""
    side = 256 if arch == "sd15" else 64
    settings = {
        "prompt": PROMPT,
        "negative_prompt": NEGATIVE,
        "seed": 42,
        "num_inference_steps": 2,
        "guidance_scale": 7.5,
        "width": side,
        "height": side,
        "eta": 0.0,
        "scheduler": AUTHORS,
    }

    def once(dtype, kernels):
        context, _ = units.KERNELS[kernels]
        taps = {}
        with torch.no_grad(), context(), ExactTimesteps():
            text = load_text(arch, dtype)
            embeds = text(encode(arch, [NEGATIVE, PROMPT])).last_hidden_state
            taps["prompt_embeds"] = Sketch(embeds)
            del text
            scheduler = DDIMScheduler(**{**models.SCHEDULER, **AUTHORS})
            scheduler.alphas_cumprod = scheduler.alphas_cumprod.to(dtype)
            scheduler.final_alpha_cumprod = scheduler.final_alpha_cumprod.to(dtype)
            torch.manual_seed(settings["seed"])
            latents = torch.randn((1, 4, side // 8, side // 8), dtype=torch.float32).to(dtype)
            taps["latents"] = Sketch(latents)
            scheduler.set_timesteps(settings["num_inference_steps"])
            unet = load_unet(arch, dtype, True)
            for k, t in enumerate(scheduler.timesteps):
                noise = unet(torch.cat([latents] * 2), t, embeds).sample
                taps[f"step.{k:03d}/noise_pred"] = Sketch(noise)
                negative, positive = noise.chunk(2)
                noise = negative + settings["guidance_scale"] * (positive - negative)
                taps[f"step.{k:03d}/guided"] = Sketch(noise)
                latents = scheduler.step(noise, t, latents, eta=0.0).prev_sample
                taps[f"step.{k:03d}/latents"] = Sketch(latents)
            del unet
            gc.collect()
            vae = load_vae(arch, dtype)
            pixels = vae.decode(latents / vae.config.scaling_factor).sample
            taps["vae.decoder"] = Sketch(pixels)
            taps["image"] = Sketch((pixels / 2 + 0.5).clamp(0, 1))
        return taps

    passes = []
    for dtype, kernels in ((torch.float64, "default"), *((torch.float32, k) for k in KERNELS)):
        log(f"run-2-mole: {dtype}, {kernels}")
        passes.append(once(dtype, kernels))
        gc.collect()
    about = "Two guided steps with experts, prompt to pixels."
    fields = dict(component="pipeline", model=model_entry(arch, True), settings=settings, inputs={})
    write(out, "run-2-mole", about, passes[0], passes[1:], **fields)


CASES = {
    "text-encoder": text_encoder,
    "vae-decode": vae_decode,
    "unet-step": unet_step,
    "unet-step-48x80": unet_step_48x80,
    "unet-step-mole": unet_step_mole,
    "run-2-mole": run_2,
}


def tiny(out):
    """golden/fingerprints: three cases of the tiny model, for quick tests."""
    for function in (text_encoder, vae_decode, run_2):
        function(Path(out) / "fingerprints", "sd15-tiny")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", default="golden/full")
    parser.add_argument("--only", default="", help="cases whose name holds this")
    parser.add_argument("--arch", default="sd15", choices=sorted(WIDE))
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    for name, function in CASES.items():
        if args.only in name:
            function(args.out, args.arch)


if __name__ == "__main__":
    main()
