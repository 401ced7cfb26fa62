"""diffusers: its UNet on the inputs of a case, in one of its settings.

    diffusers_unet.py CASE OUT.safetensors SETTING      SETTING: one of SETTINGS below
"""

import json
import sys
from pathlib import Path

import mole_trace
import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from mole_trace.hooks import watch
from safetensors.torch import load_file

TYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float64": torch.float64}
SETTINGS = {
    "default": lambda unet: None,
    "attention in products": lambda unet: unet.set_attn_processor(AttnProcessor()),
    "sliced attention": lambda unet: unet.set_attention_slice(1),
    "channels last": lambda unet: unet.to(memory_format=torch.channels_last),
    "fused projections": lambda unet: unet.fuse_qkv_projections(),
    **{name: lambda unet: None for name in TYPES},
}

case, out, setting = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
manifest, kind = json.loads((case / "manifest.json").read_text()), TYPES.get(sys.argv[3], torch.float32)
tensors = load_file(case / "tensors.safetensors")
unet = UNet2DConditionModel.from_pretrained(case / manifest["model"]["folder"] / "unet", torch_dtype=kind)
SETTINGS[setting](unet)
sample, context = (tensors[manifest["inputs"][k]].to(kind) for k in ("sample", "encoder_hidden_states"))
with mole_trace.Writer(out) as trace, torch.no_grad(), watch(unet, "unet", trace, inputs=True):
    unet(sample, manifest["inputs"]["timestep"], context)
