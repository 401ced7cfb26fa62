"""Begin with a model that was trained before: its vocabulary, VAE and base as finished stages."""

import json
import shutil

import networks
from data import BadState, write
from stages import trained_vae
from words import CLIPTokenizer


def read(module, found, folder):
    """A part of a model folder into the module of the recipe; (names, float32 weights)."""
    expected, values = module.state_dict(), {k: v.float() for k, v in found.state_dict().items()}
    for name in sorted(expected.keys() | values.keys()):
        shapes = [tuple(made[name].shape) if name in made else None for made in (expected, values)]
        if shapes[0] != shapes[1]:
            raise BadState(f"{folder}: {name}: expected {shapes[0]}, found {shapes[1]}: a model of another recipe. "
                           "Give the folder that this recipe made.")
    module.load_state_dict(values)
    return {name: p.detach() for name, p in module.named_parameters()}


def put(state, name, weights):
    """A finished stage without an optimizer: further steps, if the recipe has more one day, begin with a new one."""
    values = list(weights.values())
    state.save(name, {"step": state.recipe["stages"][name]["steps"], "names": list(weights), "parameters": values,
                      "average": values, "optimizer": {}, "curves": [], "seconds": 0.0})


def adopt(state, folder):
    """Take the VAE and the base of a diffusers folder that this recipe made; refuses to overwrite a stage."""
    for name in ("vae", "base"):
        if state.checkpoint(name).exists():
            raise BadState(f"{state.checkpoint(name)}: this training has its own. Give another state folder.")
    try:
        parts = [kind.from_pretrained(folder, subfolder=name) for name, kind in networks.PARTS.items()]
        scale = json.loads((folder / "vae" / "config.json").read_text())["scaling_factor"]
        shutil.copytree(folder / "tokenizer", state.folder / "tokenizer", dirs_exist_ok=True)
    except (OSError, ValueError, KeyError) as error:
        raise BadState(f"{folder}: not a model folder ({error})") from None
    vae, unet, text = parts
    tokenizer = CLIPTokenizer.from_pretrained(state.folder / "tokenizer")
    made = {f"unet.{k}": v for k, v in read(networks.make_unet(state.recipe), unet, folder).items()}
    words = networks.make_text(state.recipe, tokenizer)
    made |= {f"text.{k}": v for k, v in read(words, text, folder).items()}
    put(state, "vae", read(networks.make_vae(state.recipe), vae, folder))
    put(state, "base", made)
    write(state.folder / "scale.json", json.dumps({"scale": scale, "maker": trained_vae(state)[1]}))
    state.say(f"vae and base of {folder}")
