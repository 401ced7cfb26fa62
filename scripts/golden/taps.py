"""Recording the output of every module on the way, in the order of execution."""

import math

import diffusers.models.embeddings as embeddings
import torch
from diffusers.models.activations import GEGLU
from diffusers.models.attention import BasicTransformerBlock, FeedForward
from diffusers.models.attention_processor import Attention
from diffusers.models.autoencoders import vae
from diffusers.models.downsampling import Downsample2D
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from diffusers.models.unets import unet_2d_blocks as blocks
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.models.upsampling import Upsample2D
from torch import nn
from transformers.activations import GELUActivation, QuickGELUActivation
from transformers.models.clip import modeling_clip as clip

from golden.mole import MoleLayer

ACTIVATIONS = (nn.SiLU, GELUActivation, QuickGELUActivation)
WEIGHTED = (nn.Linear, nn.Conv2d, nn.GroupNorm, nn.LayerNorm, MoleLayer)  # their inputs are recorded too
LEAVES = (nn.Linear, nn.Conv2d, nn.GroupNorm, nn.LayerNorm, *ACTIVATIONS)
BLOCKS = (
    blocks.CrossAttnDownBlock2D,
    blocks.DownBlock2D,
    blocks.UNetMidBlock2DCrossAttn,
    blocks.UpBlock2D,
    blocks.CrossAttnUpBlock2D,
    blocks.UNetMidBlock2D,
    blocks.UpDecoderBlock2D,
    vae.Decoder,
    UNet2DConditionModel,
)
CONTAINERS = (
    ResnetBlock2D,
    Transformer2DModel,
    BasicTransformerBlock,
    Attention,
    FeedForward,
    GEGLU,
    Upsample2D,
    Downsample2D,
    embeddings.Timesteps,
    embeddings.TimestepEmbedding,
    clip.CLIPTextEmbeddings,
    clip.CLIPEncoderLayer,
    clip.CLIPAttention,
    clip.CLIPMLP,
)


def first(output):
    """The tensor of a module's output: itself, or the first of a tuple."""
    while not isinstance(output, torch.Tensor):
        output = output[0]
    return output


class Recorder:
    """Taps of one forward pass: use as a context, then read `.taps` and `.inputs` (name -> tensor).

    force: taps of another pass (the truth); each output, once recorded, is replaced by them, so that
    every module starts from right numbers and shows its own error alone.
    """

    def __init__(self, model, prefix, only_blocks=False, force=None):
        self.model, self.prefix, self.only_blocks = model, prefix, only_blocks
        self.force = force
        self.taps, self.inputs, self.handles, self.layers = {}, {}, [], []

    def name_of(self, path):
        return f"{self.prefix}.{path}" if path else self.prefix

    def keep(self, name, value):
        if name in self.taps:
            raise ValueError(f"{name} is executed twice: it cannot be a tap")
        self.taps[name] = value.detach().clone()
        return self.force[name].to(value.dtype) if self.force else value

    def watch(self, path, module):
        name = self.name_of(path)

        def hook(module, inputs, output):
            value = self.keep(name, first(output))
            if not self.force or not isinstance(output, (torch.Tensor, tuple)):
                return None  # what the model goes on with stays its own
            return value if isinstance(output, torch.Tensor) else (value, *output[1:])

        self.handles.append(module.register_forward_hook(hook))
        if isinstance(module, WEIGHTED):
            see = lambda module, args: self.inputs.update({name: args[0].detach().clone()})
            self.handles.append(module.register_forward_pre_hook(see))

    def __enter__(self):
        kinds = BLOCKS if self.only_blocks else BLOCKS + CONTAINERS + LEAVES
        edges = ("conv_in", "time_embedding", "conv_out") if self.only_blocks else ()
        wrapped = set()
        for path, module in self.model.named_modules():
            if isinstance(module, MoleLayer):
                wrapped.add(f"{path}.base")
                if self.only_blocks:
                    continue
                self.watch(path, module)
                name = self.name_of(path)
                module.probe = lambda part, value, n=name: self.keep(f"{n}.{part}", value)
                self.layers.append(module)
            elif path in wrapped or path.endswith(".nonlinearity"):
                continue  # the base of a MoLE layer has its own tap; nonlinearity runs twice
            elif isinstance(module, kinds) or path in edges:
                self.watch(path, module)
        return self

    def __exit__(self, *exc):
        for handle in self.handles:
            handle.remove()
        for layer in self.layers:
            layer.probe = None


def exact_timestep_embedding(
    timesteps,
    embedding_dim,
    flip_sin_to_cos=False,
    downscale_freq_shift=1,
    scale=1,
    max_period=10000,
):
    """What diffusers' get_timestep_embedding computes, with every step in float64."""
    half = embedding_dim // 2
    k = torch.arange(half, dtype=torch.float64)
    frequency = torch.exp(-math.log(max_period) * k / (half - downscale_freq_shift))
    angle = scale * (timesteps[:, None].double() * frequency)
    parts = [torch.cos(angle), torch.sin(angle)]
    out = torch.cat(parts if flip_sin_to_cos else parts[::-1], dim=-1)
    return nn.functional.pad(out, (0, embedding_dim % 2))


class ExactTimesteps:
    """The one replacement in the libraries: diffusers computes the angles in float32 always.

    Within this context a float64 run of the UNet computes them in float64.
    """

    def __enter__(self):
        self.stock = embeddings.get_timestep_embedding
        embeddings.get_timestep_embedding = exact_timestep_embedding

    def __exit__(self, *exc):
        embeddings.get_timestep_embedding = self.stock
