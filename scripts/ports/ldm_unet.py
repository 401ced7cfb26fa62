"""The original latent-diffusion code (as the package stable-diffusion-sdkit has it): its UNet on the inputs of a case.

    ldm_unet.py CASE OUT.safetensors [bf16]      bf16: under autocast, as its scripts run

The taps bear the names of its modules: `mole compare --map ldm`. A checkpoint of your own is loaded with
load_state_dict as it is; here the weights come from a diffusers folder and change their names (`ldm_name`).
"""

import json
import re
import sys
from pathlib import Path

import mole_trace
import torch
from ldm.modules import attention
from ldm.modules.diffusionmodules import openaimodel
from ldm.modules.diffusionmodules.util import GroupNorm32
from mole_trace.hooks import watch
from safetensors.torch import load_file

RESNET = {"norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1", "norm2": "out_layers.0",
          "conv2": "out_layers.3", "conv_shortcut": "skip_connection"}
ALONE = {"conv_in": "input_blocks.0.0", "conv_norm_out": "out.0", "conv_out": "out.2",
         "time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2"}


def ldm_name(name, layers, levels):
    """A weight's name in LDM, of its name in diffusers."""
    path, _, leaf = name.rpartition(".")
    if path in ALONE:
        return f"{ALONE[path]}.{leaf}"
    if match := re.match(r"mid_block\.(resnets|attentions)\.(\d)\.(.*)", name):
        kind, i, rest = match.groups()
        block = f"middle_block.{1 if kind == 'attentions' else 2 * int(i)}"
    else:
        side, level, kind, i, rest = re.match(r"(down|up)_blocks\.(\d)\.(\w+)\.(\d)\.(.*)", name).groups()
        level, i = int(level), int(i)
        if side == "down":
            number = 1 + level * (layers + 1) + (layers if kind == "downsamplers" else i)
            block = f"input_blocks.{number}.{int(kind == 'attentions')}"
            rest = rest.replace("conv.", "op.") if kind == "downsamplers" else rest
        else:
            last = kind == "upsamplers"
            number = level * (layers + 1) + (layers if last else i)
            block = f"output_blocks.{number}.{(1 if level == 0 else 2) if last else int(kind == 'attentions')}"
    if kind == "resnets":
        part, _, leaf = rest.rpartition(".")
        rest = f"{RESNET[part]}.{leaf}"
    return f"{block}.{rest}"


case, out = Path(sys.argv[1]), sys.argv[2]
manifest = json.loads((case / "manifest.json").read_text())
tensors = load_file(case / "tensors.safetensors")
folder = case / manifest["model"]["folder"] / "unet"
config = json.loads((folder / "config.json").read_text())
widths, groups = config["block_out_channels"], config["norm_num_groups"]
openaimodel.normalization = lambda channels: GroupNorm32(groups, channels)  # 32 in the code, too many for a tiny model
attention.Normalize = lambda channels: torch.nn.GroupNorm(groups, channels, eps=1e-6)
unet = openaimodel.UNetModel(
    image_size=config["sample_size"], in_channels=config["in_channels"], out_channels=config["out_channels"],
    model_channels=widths[0], channel_mult=[w // widths[0] for w in widths], num_res_blocks=config["layers_per_block"],
    attention_resolutions=[2**i for i, t in enumerate(config["down_block_types"]) if "Attn" in t],
    num_heads=config["attention_head_dim"], use_spatial_transformer=True, transformer_depth=1,
    context_dim=config["cross_attention_dim"], legacy=False, use_checkpoint=False,
)
weights = load_file(folder / "diffusion_pytorch_model.safetensors")
named = {ldm_name(k, config["layers_per_block"], len(widths)): v.float() for k, v in weights.items()}
unet.load_state_dict(named)
sample, context = (tensors[manifest["inputs"][k]] for k in ("sample", "encoder_hidden_states"))
t = torch.full((len(sample),), manifest["inputs"]["timestep"])
cast = torch.autocast("cpu", torch.bfloat16, enabled="bf16" in sys.argv)
with mole_trace.Writer(out) as trace, torch.no_grad(), watch(unet.eval(), "model.diffusion_model", trace, inputs=True), cast:
    unet(sample, timesteps=t, context=context)
