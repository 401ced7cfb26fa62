"""refiners: its UNet of v1.5, which has the full size only, with formula-made weights.

    refiners_unet.py CASE MODEL_FOLDER OUT.safetensors

Its layers have names of their own. They are executed in the order of the reference's, so that the n-th layer with
weights is the n-th such tap of the case; a shape that does not fit ends the program.
"""

import json
import sys
from pathlib import Path

import mole_trace
import torch
from golden import synth
from refiners.foundationals.latent_diffusion import SD1UNet
from safetensors.torch import load_file

case, folder, out = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
manifest = json.loads((case / "manifest.json").read_text())
weights = load_file(folder / "unet" / "diffusion_pytorch_model.safetensors")
named = [tap["name"] for tap in manifest["taps"] if f"{tap['name'].removeprefix('unet.')}.weight" in weights]


def given(name):
    """An input of the case, which is a formula."""
    entry = manifest["inputs"][name]
    return torch.from_numpy(synth.numbers(entry["formula"], entry["shape"]))


def call(unet):
    unet.set_timestep(torch.tensor([manifest["inputs"]["timestep"]]))
    unet.set_clip_text_embedding(given("encoder_hidden_states"))
    return unet(given("sample"))


unet = SD1UNet(in_channels=4)
order, handles = [], []
for module in unet.modules():
    if next(module.children(), None) is None and next(module.parameters(), None) is not None:
        handles.append(module.register_forward_hook(lambda m, args, y: order.append(m)))
with torch.no_grad():
    call(unet)
for handle in handles:
    handle.remove()
if len(order) != len(named):
    raise SystemExit(f"{len(order)} layers with weights were executed, the case has {len(named)}")
with mole_trace.Writer(out) as trace, torch.no_grad():
    for name, module in zip(named, order):
        for leaf, parameter in module.named_parameters():
            value = weights[f"{name.removeprefix('unet.')}.{leaf}"]
            if value.shape != parameter.shape:
                raise SystemExit(f"{name}.{leaf}: expected {tuple(parameter.shape)}, found {tuple(value.shape)}")
            parameter.copy_(value)
        module.register_forward_hook(lambda m, args, y, name=name: trace.tap(name, y))
    call(unet)
