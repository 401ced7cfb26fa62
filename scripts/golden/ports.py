"""PyTorch as a port: the golden runs, as users of diffusers and transformers run them.

A port is a type of numbers, a way of choosing kernels and what is done to the model before. All of them are right:
what they lose is what their type and their kernels lose.
"""

import contextlib
import copy
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

import torch
from diffusers.models.attention_processor import AttnProcessor, SlicedAttnProcessor
from safetensors.torch import load_file
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from golden import components, models, mole, pipeline
from golden.taps import LEAVES, ExactTimesteps, Recorder, first
from golden.units import ALL, KERNELS, channels_last, same

F64, F32, BF16, F16 = torch.float64, torch.float32, torch.bfloat16, torch.float16
NAMES = {F64: "F64", F32: "F32", BF16: "BF16", F16: "F16"}


@dataclass
class Port:
    """parts: the parts of a run that it can do; angles: the sinusoid in the type of the model, unlike diffusers."""

    name: str
    dtype: torch.dtype
    context: Callable = contextlib.nullcontext
    prepare: Callable = same
    inputs: torch.dtype = None
    parts: tuple = ("text_encoder", "text_encoder_2", "unet", "vae_decoder", "pipeline")
    angles: bool = False
    types: dict = None  # of a pipeline: the type of each part, where it is not `dtype`
    budget: str = None  # what a user must tell `mole compare` whose dumped numbers cannot show it

    def ready(self, model, part=None):
        """The model as this port has it."""
        kind = (self.types or {}).get(part, self.dtype)
        if self.inputs and self.inputs != self.dtype:
            kind = self.inputs
        return self.prepare(copy.deepcopy(model).to(kind))


def products(model):
    """Attention as two matrix products with a softmax between."""
    if hasattr(model, "set_attn_processor"):
        model.set_attn_processor(AttnProcessor())
    elif hasattr(model, "set_attn_implementation"):
        model.set_attn_implementation("eager")
    return model


def sliced(model):
    """... a head at a time."""
    if hasattr(model, "set_attn_processor"):
        model.set_attn_processor(SlicedAttnProcessor(1))
    return model


def softmax_in_f32(model):
    """diffusers' upcast_softmax and upcast_attention."""
    for module in products(model).modules():
        if hasattr(module, "upcast_softmax"):
            module.upcast_softmax = module.upcast_attention = True
    return model


def in_f32(*classes):
    """Some modules compute in float32, between casts: GroupNorm32 of the original code, say."""

    def cast(module):
        module.float()
        module.register_forward_pre_hook(lambda m, args: tuple(x.float() for x in args), prepend=True)

    def prepare(model):
        kind = next(model.parameters()).dtype

        for module in model.modules():
            if isinstance(module, classes):
                cast(module)
                module.register_forward_hook(lambda m, args, y: y.to(kind), prepend=True)
        return model

    return prepare


def no_onednn():
    return torch.backends.mkldnn.flags(enabled=False)


def math():
    return sdpa_kernel(SDPBackend.MATH)


def autocast(kind):
    return lambda: torch.autocast("cpu", dtype=kind)


def round_bits(x, bits):
    """float32 numbers with so many bits of the fraction rounded away, halves to even."""
    i = x.contiguous().view(torch.int32)
    i = i + ((1 << (bits - 1)) - 1) + ((i >> bits) & 1)
    return (i >> bits << bits).view(torch.float32)


def tf32(*names):
    """Products of operands rounded to tf32, as NVIDIA's tensor cores take them, summed in float32.

    torch's default there is ("conv2d",); torch.backends.cuda.matmul.allow_tf32 adds "linear".
    """

    def rounding(function):
        return lambda x, w, *args, **kwargs: function(round_bits(x, 13), round_bits(w, 13), *args, **kwargs)

    @contextlib.contextmanager
    def context():
        stock = {name: getattr(nn.functional, name) for name in names}
        for name, function in stock.items():
            setattr(nn.functional, name, rounding(function))
        try:
            yield
        finally:
            for name, function in stock.items():
                setattr(nn.functional, name, function)

    return context


def ports():
    """Every port, float32 first."""
    for name, (context, prepare) in ALL.items():
        yield Port(name, F32, context, prepare)
    yield Port("attention in products", F32, prepare=products)
    yield Port("sliced attention", F32, prepare=sliced, parts=("unet", "vae_decoder"))
    yield Port("sdpa math", F32, math)
    yield Port("tf32 convolutions", F32, tf32("conv2d"), budget="tf32")
    yield Port("tf32", F32, tf32("conv2d", "linear"), budget="tf32")
    yield Port("float64 angles", F32, parts=("unet",), angles=True)
    yield Port("default", F64, angles=True)
    yield Port("channels_last", F64, prepare=channels_last, angles=True)
    yield Port("channel order 1", F64, KERNELS["channel order 1"][0], angles=True)
    yield Port("attention in products", F64, prepare=products, angles=True)
    yield Port("float32 angles", F64, parts=("unet",))
    for kind in (BF16, F16):
        yield Port("default", kind)
        yield Port("no oneDNN", kind, no_onednn)
        yield Port("channels_last", kind, prepare=channels_last)
        yield Port("channel order 1", kind, KERNELS["channel order 1"][0])
        yield Port("attention in products", kind, prepare=products)
        yield Port("sliced attention", kind, prepare=sliced, parts=("unet", "vae_decoder"))
        yield Port("sdpa math", kind, math)
        yield Port("softmax in f32", kind, prepare=softmax_in_f32, parts=("unet", "vae_decoder"))
        yield Port("norms in f32", kind, prepare=in_f32(nn.GroupNorm, nn.LayerNorm))
        yield Port("autocast", kind, autocast(kind), inputs=F32, budget=f"{NAMES[kind].lower()}-acc32")
        # A decoder in float32 says nothing of the type of the UNet before it, if it was dumped alone.
        run = {"parts": ("pipeline",), "budget": f"{NAMES[kind].lower()}-acc32"}
        yield Port("text in f32", kind, types={"text_encoder": F32}, **run)
        yield Port("decoder in f32", kind, types={"vae": F32}, **run)
        yield Port("only the unet", kind, types={"text_encoder": F32, "vae": F32}, **run)


class Watcher(Recorder):
    """A Recorder that also keeps what goes into leaves and layers with experts, as NAME.in, and classes by name."""

    def __init__(self, model, prefix):
        super().__init__(model, prefix)
        self.ins, self.kinds = {}, {}

    def watch(self, path, module):
        name = self.name_of(path)
        self.kinds[name] = type(module).__name__
        if isinstance(module, (*LEAVES, mole.MoleLayer)):

            def before(module, args):
                if args and args[0].is_floating_point():
                    self.ins[f"{name}.in"] = args[0].detach().clone()

            self.handles.append(module.register_forward_pre_hook(before, prepend=True))
        super().watch(path, module)


class Run:
    """A golden run with its model: taps of it by any port."""

    def __init__(self, golden, folder):
        self.golden, self.folder = Path(golden), Path(folder)
        self.manifest = json.loads((self.folder / "manifest.json").read_text())
        self.name, self.component = self.manifest["name"], self.manifest["component"]
        tensors = load_file(self.folder / "tensors.safetensors")
        inputs = self.manifest["inputs"]
        self.inputs = {k: tensors[v] if isinstance(v, str) else v for k, v in inputs.items()}
        self.names = [tap["name"] for tap in self.manifest["taps"]]
        self.with_mole = self.manifest["model"]["face"] is not None
        self.model = Path(self.manifest["model"]["folder"]).name

    def taps(self, port):
        """(outputs by name in order, inputs by name, classes by name)."""
        with torch.no_grad(), port.context():
            if self.component == "pipeline":
                return self.whole(port), {}, {}
            model, prefix, call = self.setting()
            model = port.ready(model)
            with Watcher(model, prefix) as watcher:
                call(model, port.inputs or port.dtype, port.angles)
        return watcher.taps, watcher.ins, watcher.kinds

    def setting(self):
        """Of a run of one component the model in float32, the prefix of its taps, and call(model, type, exact):
        the forward pass on inputs of a type, with the sinusoid's angles in float64 or as diffusers has them."""
        return getattr(self, self.component)()

    def text_encoder(self):
        return self.text("text_encoder"), "text_encoder.text_model", self.read

    def text_encoder_2(self):
        return self.text("text_encoder_2"), "text_encoder_2", self.read

    def text(self, part):
        return components.load_text(self.golden, part, self.model)

    def read(self, model, kind, exact):
        model(self.inputs["input_ids"])

    def unet(self):
        sample, context = (self.inputs[k] for k in ("sample", "encoder_hidden_states"))
        added = {k: self.inputs[k] for k in ("text_embeds", "time_ids") if k in self.inputs}

        def call(model, kind, exact):
            more = {"added_cond_kwargs": {k: v.to(kind) for k, v in added.items()}} if added else {}
            with ExactTimesteps() if exact else contextlib.nullcontext():
                model(sample.to(kind), self.inputs["timestep"], context.to(kind), **more)

        return components.load_unet(self.golden, self.with_mole, self.model), "unet", call

    def vae_decoder(self):
        model = models.load(self.golden, "vae", self.model)
        model.encoder = model.quant_conv = None
        return model, "vae", lambda m, kind, exact: m.decode(self.inputs["latents"].to(kind))

    def whole(self, port):
        settings, golden = self.manifest["settings"], self.golden
        parts = pipeline.load_parts(golden, self.model, self.with_mole)
        for name in (*models.MODELS[self.model].texts, "unet", "vae"):
            parts[name] = port.ready(parts[name], name)
        parts["vae"] = Decoder(parts["vae"])
        kind = port.inputs or port.dtype
        table = F64 if kind == F64 else F32
        scheduler = pipeline.make_scheduler(
            golden, settings["scheduler"], table, settings["num_inference_steps"], self.model
        )
        with ExactTimesteps() if port.angles else contextlib.nullcontext():
            return pipeline.run(parts, scheduler, settings, kind)


class Decoder:
    """A VAE of any type: what it is given is cast to it, as users do who keep it in float32."""

    def __init__(self, vae):
        self.vae, self.config = vae, vae.config

    def decode(self, latents):
        return self.vae.decode(latents.to(next(self.vae.parameters()).dtype))


def runs(golden, texts=()):
    """Every golden run, or those with one of the texts in their name; but for the authors' deviations, which
    no port has."""
    folders = sorted(path.parent for path in (Path(golden) / "runs").glob("*/manifest.json"))
    for folder in folders:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        if manifest.get("settings", {}).get("deviations"):
            continue
        if not texts or any(text in folder.name for text in texts):
            yield Run(golden, folder)


def as_stored(taps, how):
    """The tensors as a file holds them. "kept": each in its own type; F32, F64: widened or rounded to that."""
    kinds = {"F32": F32, "F64": F64}
    for name, x in taps.items():
        x = x.to(kinds[how]) if how in kinds else x
        yield name, first(x).contiguous().clone()
