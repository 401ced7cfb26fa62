"""Cases of kind "run" for one component: text encoder, UNet, VAE decoder."""

from pathlib import Path

import torch

from golden import deviations, fingerprint, models, mole
from golden.formats import Case, sha256
from golden.seeds import normal
from golden.taps import ExactTimesteps
from golden.units import CAREFUL, measure

LONG = "portrait of a smiling woman, both hands around a warm cup, soft golden light, sharp eyes"
SHORT = "a hand"
V21, XL = "sd21-tiny", "sdxl-tiny"
WEIGHTS = {
    "unet": "unet/diffusion_pytorch_model.safetensors",
    "vae": "vae/diffusion_pytorch_model.safetensors",
    "text_encoder": "text_encoder/model.safetensors",
    "text_encoder_2": "text_encoder_2/model.safetensors",
}


def model_entry(out, parts, with_mole, model=models.SD15):
    """The manifest's "model": folders relative to the case, and what they held."""
    folder = f"../../models/{model}"
    entry = {"folder": folder}
    names = [f"{folder}/{WEIGHTS[part]}" for part in parts]
    for name in (*mole.EXPERTS, "gates"):
        entry[name] = f"{folder}-mole/{name}.safetensors" if with_mole else None
        if with_mole:
            names.append(entry[name])
    anywhere = Path(out) / "runs" / "any"
    entry["sha256"] = {name: sha256((anywhere / name).resolve()) for name in names}
    return entry


def load_unet(out, with_mole, model=models.SD15):
    """The UNet in float32, wrapped or plain."""
    unet = models.load(out, "unet", model)
    if with_mole:
        files = mole.load_files(models.folder_of(out, f"{model}-mole"))
        mole.wrap(unet, files, models.MODELS[model].expert_names)
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


def run_unet(unet, sample, timestep, context, dtype, exact=False, added=None):
    """One forward pass; the float64 one with float64 angles, as one that is `exact`. added: XL's conditions."""
    args = (sample.to(dtype), timestep, context.to(dtype))
    more = {"added_cond_kwargs": {key: value.to(dtype) for key, value in added.items()}} if added else {}
    if dtype == torch.float64 or exact:
        with ExactTimesteps():
            return unet(*args, **more).sample
    return unet(*args, **more).sample


def token_ids(out, tokenizer, model):
    """Of two prompts, 77 tokens each."""
    return models.load(out, tokenizer, model)(
        [LONG, SHORT], padding="max_length", max_length=77, truncation=True, return_tensors="pt"
    ).input_ids


def load_text(out, part, model):
    """A text encoder, without what the pictures do not depend on: XL's first is read before its last layer."""
    text = models.load(out, part, model)
    if model == XL and part == "text_encoder":
        del text.encoder.layers[-1]
        text.final_layer_norm = torch.nn.Identity()
    return text


def text_case(out, name, about, model, part="text_encoder", whole=False, deviating=()):
    """A text encoder on two prompts."""
    ids = token_ids(out, part.replace("text_encoder", "tokenizer"), model)
    prefix = part if part == "text_encoder_2" else f"{part}.text_model"
    text = load_text(out, part, model)
    deviations.apply({part: text}, deviating)
    measured = measure(text, prefix, lambda m, dtype: m(ids))
    case = Case(Path(out) / "runs" / name, "run" if whole else "fingerprint", about)
    inputs = {"input_ids": case.tensor("input/input_ids", ids)}
    fields = {"settings": {"deviations": deviating}} if deviating else {}
    fields |= {"component": part, "model": model_entry(out, [part], False, model), "inputs": inputs}
    (write if whole else write_prints)(case, measured, **fields)


def text_encoder(out):
    """Two prompts, 77 tokens each."""
    text_case(out, "text-encoder", "The text encoder on two prompts.", models.SD15, whole=True)


def sd21_text_encoder(out):
    """The erf GELU, more layers."""
    text_case(out, "sd21-text-encoder", "v2.1's text encoder on two prompts, padded with id 0.", V21)


def sdxl_text_encoder(out):
    """Read before its last layer."""
    about = "XL's first text encoder on two prompts, up to the last layer but one."
    text_case(out, "sdxl-text-encoder", about, XL)


def sdxl_text_encoder_2(out):
    """With the pooled vector."""
    about = "XL's second text encoder on two prompts, padded with id 0, with the projected pooled vector."
    text_case(out, "sdxl-text-encoder-2", about, XL, "text_encoder_2")


def sdxl_text_encoder_2_unturned(out):
    """As the authors' loader has it of a single file."""
    about = "XL's second text encoder, its projection copied from the file without turning it."
    names = [deviations.UNTURNED]
    text_case(out, "sdxl-text-encoder-2-unturned", about, XL, "text_encoder_2", deviating=names)


def unet_case(
    out, name, about, with_mole, shape, tokens, timestep, blocks=False, whole=True, model=models.SD15, numbers=None
):
    """One UNet forward pass on random latents and context; `whole`: every tap's tensor is stored.

    numbers: XL's six, a row per sample.
    """
    batch = shape[0]
    sample = normal(f"{name}/sample", shape)
    context = normal(f"{name}/context", (batch, tokens, models.MODELS[model].context))
    added = {}
    if numbers:
        width = models.MODELS[model].texts["text_encoder_2"]["projection_dim"]
        added["text_embeds"] = normal(f"{name}/text_embeds", (batch, width))
        added["time_ids"] = torch.tensor(numbers, dtype=torch.float32)
    unet = load_unet(out, with_mole, model)

    def pass_with(exact):
        return lambda model, dtype: run_unet(model, sample, timestep, context, dtype, exact, added)

    measured = measure(unet, "unet", pass_with(False), blocks, pass_with(True))
    case = Case(Path(out) / "runs" / name, "run" if whole else "fingerprint", about)
    inputs = {
        "sample": case.tensor("input/sample", sample),
        "timestep": timestep,
        "encoder_hidden_states": case.tensor("input/context", context),
        **{key: case.tensor(f"input/{key}", value) for key, value in added.items()},
    }
    entry = model_entry(out, ["unet"], with_mole, model)
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


def sd21_unet_mole(out):
    """Linear projections, another number of heads per level."""
    about = "One UNet pass of v2.1 with MoLE, every tap, on latents of 16x24."
    unet_case(out, "sd21-unet-mole", about, True, (2, 4, 16, 24), 77, 501, whole=False, model=V21)


# original height, width, crop top, left, target height, width
NUMBERS = [[768, 1344, 16, 96, 1024, 640], [1023, 513, 0, 7, 512, 896]]


def sdxl_unet(out):
    """The whole of XL's UNet with experts; the lowest level is 3x2."""
    about = "One UNet pass of XL with MoLE, every tap, on latents of 12x8; six different numbers per sample."
    unet_case(out, "sdxl-unet", about, True, (2, 4, 12, 8), 77, 501, whole=False, model=XL, numbers=NUMBERS)


def other_unet_mole(out):
    """What the published models have in common is otherwise."""
    about = "One UNet pass of other-tiny with MoLE, every tap: two levels, one layer each, shifted angles, sines first."
    size, rows = (2, 6, 6, 4), models.MODELS[models.OTHER].row
    unet_case(
        out, "other-unet-mole", about, True, size, rows, 501, whole=False, model=models.OTHER, numbers=NUMBERS
    )  # fmt: skip


def people_unet(out):
    """A trained network: activations as training leaves them, not as a formula makes them."""
    about = "One UNet pass of the trained model that draws people, with its experts, every tap."
    unet_case(out, "people-unet", about, True, (2, 8, 16, 16), 77, 501, whole=False, model=models.PEOPLE)


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


def sdxl_vae_without_attention(out):
    """The taps of q, k and v, which are thrown away, are left out."""
    vae, names = models.load(out, "vae", XL), [deviations.NO_ATTENTION]
    vae.encoder = vae.quant_conv = None
    deviations.apply({"vae": vae}, names)
    latents = normal("sdxl-vae-without-attention/latents", (1, 4, 4, 5), 1 / 0.13025)
    measured = measure(vae, "vae", lambda m, dtype: m.decode(latents.to(dtype)).sample)
    about = "XL's VAE decoder with the attention of its middle thrown away, as the authors' program has it."
    case = Case(Path(out) / "runs/sdxl-vae-without-attention", "fingerprint", about)
    inputs = {"latents": case.tensor("input/latents", latents)}
    fields = {"settings": {"deviations": names}, "model": model_entry(out, ["vae"], False, XL)}
    write_prints(case, measured, component="vae_decoder", inputs=inputs, **fields)
