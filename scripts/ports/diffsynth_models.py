"""DiffSynth-Studio: its UNets of v1.5 and XL, VAE and text encoder on the inputs of a case.

    diffsynth_models.py CASE OUT.safetensors
"""

import importlib.util
import inspect
import json
import sys
from pathlib import Path

import mole_trace
import torch
from mole_trace.hooks import watch
from safetensors.torch import load_file

MODELS = Path(importlib.util.find_spec("diffsynth").submodule_search_locations[0]) / "models"


def module_of(name):
    """One file of its models; the package itself would want far more installed."""
    spec = importlib.util.spec_from_file_location(name, MODELS / f"{name}.py")
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def built(kind, config, folder):
    """A model of this class with the configuration's values and the folder's weights."""
    known = inspect.signature(kind).parameters
    model = kind(**{k: v for k, v in config.items() if k in known})
    model = getattr(model, "model", model)  # of the text encoder
    weights = load_file(next(folder.glob("*.safetensors")))
    missing, unused = model.load_state_dict({k: v.float() for k, v in weights.items()}, strict=False)
    if missing or unused:
        raise SystemExit(f"weights that do not fit: missing {missing[:3]}, unused {unused[:3]}")
    return model.eval()


case, out = Path(sys.argv[1]), sys.argv[2]
manifest = json.loads((case / "manifest.json").read_text())
tensors, part = load_file(case / "tensors.safetensors"), manifest["component"].partition("_decoder")[0]
folder = case / manifest["model"]["folder"] / part
config = json.loads((folder / "config.json").read_text())
given = {k: tensors[v] if isinstance(v, str) else v for k, v in manifest["inputs"].items()}
if part == "unet":
    xl = "addition_embed_type" in config and config["addition_embed_type"]
    kind = module_of("stable_diffusion_xl_unet").SDXLUNet2DConditionModel if xl else (
        module_of("stable_diffusion_unet").UNet2DConditionModel)
elif part == "vae":
    kind = module_of("stable_diffusion_vae").StableDiffusionVAE
else:
    kind = module_of("stable_diffusion_text_encoder").SDTextEncoder
model = built(kind, config, folder)
with mole_trace.Writer(out) as trace, torch.no_grad(), watch(model, part, trace, skip=["*.act", "*.nonlinearity"]):
    if part == "unet":
        added = {k: given[k] for k in ("text_embeds", "time_ids") if k in given}
        model(given["sample"], given["timestep"], given["encoder_hidden_states"], added_cond_kwargs=added or None)
    elif part == "vae":
        model.decode(given["latents"])
    else:
        model(given["input_ids"].long(), output_hidden_states=True)
