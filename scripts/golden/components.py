"""Cases of kind "run" for one component: text encoder, UNet, VAE decoder."""

import contextlib
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


@contextlib.contextmanager
def two_threads():
    """MKL and oneDNN split their sums anew."""
    torch.set_num_threads(2)
    try:
        yield
    finally:
        torch.set_num_threads(1)


def same(model):
    """The model as it is."""
    return model


def channels_last(model):
    """Other convolution kernels, for the same numbers."""
    return model.to(memory_format=torch.channels_last)


def other_order(seed):
    """A context in which every Linear and Conv2d takes its input channels in another order.

    The result is the same sum; its rounding is another draw of the same dice. For a tensor of many
    numbers one draw says how large PyTorch's error is; a gate of two numbers may by luck be exact.
    """
    functional = torch.nn.functional

    def shuffled(function):
        def call(x, weight, *args, **kwargs):
            generator = torch.Generator().manual_seed(seed + weight.numel())
            order = torch.randperm(weight.shape[1], generator=generator)
            inputs = x[:, order] if weight.dim() == 4 else x[..., order]
            return function(inputs, weight[:, order], *args, **kwargs)

        return call

    @contextlib.contextmanager
    def context():
        names = ("linear", "conv2d")
        originals = {name: getattr(functional, name) for name in names}
        for name in names:
            setattr(functional, name, shuffled(originals[name]))
        try:
            yield
        finally:
            for name in names:
                setattr(functional, name, originals[name])

    return context


# PyTorch's float32 error is not one number: it depends on which of its kernels is used and on the order
# of the channels. Each of these is PyTorch; its own error is the largest that any of them makes.
KERNELS = {
    "default": (contextlib.nullcontext, same),
    "no oneDNN": (lambda: torch.backends.mkldnn.flags(enabled=False), same),
    "channels_last": (contextlib.nullcontext, channels_last),
    "two threads": (two_threads, same),
    "channel order 1": (other_order(1), same),
    "channel order 2": (other_order(2), same),
    "channel order 3": (other_order(3), same),
}


def record(model, prefix, call, dtype, only_blocks=False, kernels="default", force=None):
    """The taps of one forward pass: call(model, dtype)."""
    context, prepare = KERNELS[kernels]
    run = prepare(copy.deepcopy(model).to(dtype))
    with torch.no_grad(), context(), Recorder(run, prefix, only_blocks, force) as recorder:
        call(run, dtype)
    return recorder.taps


class Passes:
    """The taps of the float64 pass and of float32 passes, each of these once with each of KERNELS."""

    def __init__(self, model, prefix, call, only_blocks=False):
        self.setting = (model, prefix, call, only_blocks)
        self.truth = record(model, prefix, call, torch.float64, only_blocks)
        self.f32 = self.again(call)
        self.isolated = self.again(call, self.truth)

    def again(self, call, force=None):
        """One float32 pass for each of KERNELS; with `force` every module starts from those taps."""
        model, prefix, _, only_blocks = self.setting
        passes = [
            record(model, prefix, call, torch.float32, only_blocks, kernels, force)
            for kernels in KERNELS
        ]
        assert all(list(taps) == list(self.truth) for taps in passes)
        return passes

    def worst_error(self, name, passes):
        """The largest error of any kernel."""
        errors = [error_of(taps[name].float(), self.truth[name]) for taps in passes]
        return {key: max(error[key] for error in errors) for key in errors[0]}


def write(case, passes, exact32=None, **fields):
    """Store every tap and write the case."""
    rows = [case.output(name, name, value) for name, value in passes.truth.items()]
    for row in rows:
        row["f32_error"] = passes.worst_error(row["name"], passes.f32)
        if exact32:
            row["f32_error_exact_angles"] = passes.worst_error(row["name"], exact32)
        row["f32_isolated"] = passes.worst_error(row["name"], passes.isolated)["rms"]
    case.write(taps=rows, f32_kernels=list(KERNELS), **fields)


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
    taps = Passes(model, "text_encoder.text_model", lambda m, dtype: m(ids))
    case = Case(Path(out) / "runs/text-encoder", "run", "The text encoder on two prompts.")
    inputs = {"input_ids": case.tensor("input/input_ids", ids)}
    entry = model_entry(out, ["text_encoder"], False)
    write(case, taps, component="text_encoder", model=entry, inputs=inputs)


def unet_case(out, name, about, with_mole, shape, tokens, timestep, only_blocks):
    """One UNet forward pass on random latents and context."""
    batch = shape[0]
    sample = normal(f"{name}/sample", shape)
    context = normal(f"{name}/context", (batch, tokens, models.HIDDEN))
    unet = load_unet(out, with_mole)

    def pass_with(exact):
        return lambda model, dtype: run_unet(model, sample, timestep, context, dtype, exact)

    # The angles in float32 are most of PyTorch's error at a late timestep. Further float32 passes
    # with exact angles say what the network itself loses.
    taps = Passes(unet, "unet", pass_with(False), only_blocks)
    exact32 = taps.again(pass_with(True))
    case = Case(Path(out) / "runs" / name, "run", about)
    inputs = {
        "sample": case.tensor("input/sample", sample),
        "timestep": timestep,
        "encoder_hidden_states": case.tensor("input/context", context),
    }
    entry = model_entry(out, ["unet"], with_mole)
    write(case, taps, exact32, component="unet", model=entry, inputs=inputs)


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
    taps = Passes(vae, "vae", lambda m, dtype: m.decode(latents.to(dtype)).sample)
    case = Case(Path(out) / "runs/vae-decode", "run", "The VAE decoder, every tap.")
    inputs = {"latents": case.tensor("input/latents", latents)}
    entry = model_entry(out, ["vae"], False)
    write(case, taps, component="vae_decoder", model=entry, inputs=inputs)
