"""Cases of kind "run" for one component: text encoder, UNet, VAE decoder."""

from pathlib import Path

import torch

from golden import fingerprint, models, mole
from golden.formats import Case, sha256
from golden.seeds import normal
from golden.taps import ExactTimesteps
from golden.units import CAREFUL, measure

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


def write(case, measured, **fields):
    """Store every tap and write the case."""
    measured.state(case.folder.name)
    rows = [
        {**case.output(name, name, value), **measured.of(name)} for name, value in measured.truth.items()
    ]
    case.write(taps=rows, f32_kernels=CAREFUL, **fields)


def write_prints(case, measured, **fields):
    """Store fingerprints of every tap and write the case."""
    measured.state(case.folder.name)
    prints = {name: fingerprint.Fingerprint(value) for name, value in measured.truth.items()}
    for key, value in fingerprint.tables(prints.values()).items():
        case.tensor(key, value)
    rows = [{"name": name, "shape": p.shape, **measured.of(name)} for name, p in prints.items()]
    case.write(taps=rows, f32_kernels=CAREFUL, **fields)


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
    measured = measure(model, "text_encoder.text_model", lambda m, dtype: m(ids))
    case = Case(Path(out) / "runs/text-encoder", "run", "The text encoder on two prompts.")
    inputs = {"input_ids": case.tensor("input/input_ids", ids)}
    entry = model_entry(out, ["text_encoder"], False)
    write(case, measured, component="text_encoder", model=entry, inputs=inputs)


def unet_case(out, name, about, with_mole, shape, tokens, timestep, blocks=False, whole=True):
    """One UNet forward pass on random latents and context; `whole`: every tap's tensor is stored."""
    batch = shape[0]
    sample = normal(f"{name}/sample", shape)
    context = normal(f"{name}/context", (batch, tokens, models.HIDDEN))
    unet = load_unet(out, with_mole)

    def pass_with(exact):
        return lambda model, dtype: run_unet(model, sample, timestep, context, dtype, exact)

    measured = measure(unet, "unet", pass_with(False), blocks, pass_with(True))
    case = Case(Path(out) / "runs" / name, "run" if whole else "fingerprint", about)
    inputs = {
        "sample": case.tensor("input/sample", sample),
        "timestep": timestep,
        "encoder_hidden_states": case.tensor("input/context", context),
    }
    entry = model_entry(out, ["unet"], with_mole)
    (write if whole else write_prints)(case, measured, component="unet", model=entry, inputs=inputs)


def unet_step(out):
    """Everything inside one UNet pass, experts and gates included."""
    about = "One UNet pass with MoLE, every tap; the latent is not a multiple of 8."
    unet_case(out, "unet-step", about, True, (2, 4, 5, 4), 5, 981)


def unet_step_plain(out):
    """The same network without experts, block by block."""
    about = "One UNet pass of plain Stable Diffusion, taps of the blocks."
    unet_case(out, "unet-step-plain", about, False, (1, 4, 8, 8), 77, 1, blocks=True)


def unet_plain(out):
    """Every tap, at a size at which every element of every kernel is used: the bottom level is 3x2."""
    about = "One UNet pass of plain Stable Diffusion, every tap, on latents of 24x16."
    unet_case(out, "unet-plain", about, False, (2, 4, 24, 16), 77, 501, whole=False)


def unet_mole(out):
    """The same with experts and gates."""
    about = "One UNet pass with MoLE, every tap, on latents of 24x16."
    unet_case(out, "unet-mole", about, True, (2, 4, 24, 16), 77, 501, whole=False)


def vae_decode(out):
    """The VAE decoder on a latent that is not square."""
    vae = models.load(out, "vae")
    vae.encoder = vae.quant_conv = None
    latents = normal("vae-decode/latents", (1, 4, 3, 4), 1 / 0.18215)
    measured = measure(vae, "vae", lambda m, dtype: m.decode(latents.to(dtype)).sample)
    case = Case(Path(out) / "runs/vae-decode", "run", "The VAE decoder, every tap.")
    inputs = {"latents": case.tensor("input/latents", latents)}
    entry = model_entry(out, ["vae"], False)
    write(case, measured, component="vae_decoder", model=entry, inputs=inputs)
