"""Cases of kind "run" for one component: text encoder, UNet, VAE decoder."""

import copy
from pathlib import Path

import torch

from golden import models, mole
from golden.formats import Case, error_of, sha256
from golden.seeds import normal
from golden.taps import ExactTimesteps, Recorder

LONG = "portrait of a smiling woman, both hands around a warm cup, soft golden light, sharp eyes"
SHORT = "a hand"
MODEL, MOLE = "../../models/sd15-tiny", "../../models/sd15-tiny-mole"
WEIGHTS = {
    "unet": "unet/diffusion_pytorch_model.safetensors",
    "vae": "vae/diffusion_pytorch_model.safetensors",
    "text_encoder": "text_encoder/model.safetensors",
}


def model_entry(out, parts, with_mole):
    """The manifest's "model": folders relative to the case, and what they held."""
    entry = {"folder": MODEL}
    names = [f"{MODEL}/{WEIGHTS[part]}" for part in parts]
    for name in (*mole.EXPERTS, "gates"):
        entry[name] = f"{MOLE}/{name}.safetensors" if with_mole else None
        if with_mole:
            names.append(entry[name])
    anywhere = Path(out) / "runs" / "any"
    entry["sha256"] = {name: sha256((anywhere / name).resolve()) for name in names}
    return entry


def load_unet(out, with_mole):
    """The UNet in float32, wrapped or plain."""
    unet = models.load(out, "unet")
    if with_mole:
        mole.wrap(unet, mole.load_files(Path(out) / "models" / "sd15-tiny-mole"))
    return unet


def both(model, prefix, call, only_blocks=False):
    """Taps of the float64 and of the float32 run: call(model, dtype) does the forward pass."""
    taps = []
    for dtype in (torch.float64, torch.float32):
        run = copy.deepcopy(model).to(dtype)
        with torch.no_grad(), Recorder(run, prefix, only_blocks) as recorder:
            call(run, dtype)
        taps.append(recorder.taps)
    assert list(taps[0]) == list(taps[1])
    return taps


def write(case, taps64, taps32, exact32=None, **fields):
    """Store every tap and write the case."""
    rows = [case.output(name, name, taps64[name], taps32[name]) for name in taps64]
    if exact32:
        for row in rows:
            name = row["name"]
            row["f32_error_exact_angles"] = error_of(exact32[name].float(), taps64[name])
    case.write(taps=rows, **fields)


def run_unet(unet, sample, timestep, context, dtype, exact=False):
    """One forward pass; the float64 one with float64 timestep angles, as one that is `exact`."""
    args = (sample.to(dtype), timestep, context.to(dtype))
    if dtype == torch.float64 or exact:
        with ExactTimesteps():
            return unet(*args).sample
    return unet(*args).sample


def text_encoder(out):
    """Two prompts, 77 tokens each."""
    tokenizer, model = models.load(out, "tokenizer"), models.load(out, "text_encoder")
    ids = tokenizer(
        [LONG, SHORT], padding="max_length", max_length=77, truncation=True, return_tensors="pt"
    ).input_ids
    taps = both(model, "text_encoder.text_model", lambda m, dtype: m(ids))
    case = Case(Path(out) / "runs/text-encoder", "run", "The text encoder on two prompts.")
    inputs = {"input_ids": case.tensor("input/input_ids", ids)}
    entry = model_entry(out, ["text_encoder"], False)
    write(case, *taps, component="text_encoder", model=entry, inputs=inputs)


def unet_case(out, name, about, with_mole, shape, tokens, timestep, only_blocks):
    """One UNet forward pass on random latents and context."""
    batch = shape[0]
    sample = normal(f"{name}/sample", shape)
    context = normal(f"{name}/context", (batch, tokens, models.HIDDEN))
    unet = load_unet(out, with_mole)

    def passes(exact):
        def call(model, dtype):
            return run_unet(model, sample, timestep, context, dtype, exact)

        return both(unet, "unet", call, only_blocks)

    # The angles in float32 are most of PyTorch's error at a late timestep. A second float32 pass
    # with exact angles says what the network itself loses.
    taps = [*passes(False), passes(True)[1]]
    case = Case(Path(out) / "runs" / name, "run", about)
    inputs = {
        "sample": case.tensor("input/sample", sample),
        "timestep": timestep,
        "encoder_hidden_states": case.tensor("input/context", context),
    }
    entry = model_entry(out, ["unet"], with_mole)
    write(case, *taps, component="unet", model=entry, inputs=inputs)


def unet_step(out):
    """Everything inside one UNet pass, experts and gates included."""
    about = "One UNet pass with MoLE, every tap; the latent is not a multiple of 8."
    unet_case(out, "unet-step", about, True, (2, 4, 5, 4), 5, 981, False)


def unet_step_plain(out):
    """The same network without experts, block by block."""
    about = "One UNet pass of plain Stable Diffusion, taps of the blocks."
    unet_case(out, "unet-step-plain", about, False, (1, 4, 8, 8), 77, 1, True)


def vae_decode(out):
    """The VAE decoder on a latent that is not square."""
    vae = models.load(out, "vae")
    vae.encoder = vae.quant_conv = None
    latents = normal("vae-decode/latents", (1, 4, 3, 4), 1 / 0.18215)
    taps = both(vae, "vae", lambda m, dtype: m.decode(latents.to(dtype)).sample)
    case = Case(Path(out) / "runs/vae-decode", "run", "The VAE decoder, every tap.")
    inputs = {"latents": case.tensor("input/latents", latents)}
    entry = model_entry(out, ["vae"], False)
    write(case, *taps, component="vae_decoder", model=entry, inputs=inputs)
