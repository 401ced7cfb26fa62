"""Begin with a model that was trained before: its vocabulary, VAE and base as finished stages, and its experts."""

import json
import shutil

import experts
import networks
from data import BadState, write
from safetensors import SafetensorError
from safetensors.torch import load_file
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


def vacant(state, names):
    """Refuse to overwrite a stage."""
    for name in names:
        if state.checkpoint(name).exists():
            raise BadState(f"{state.checkpoint(name)}: this training has its own. Give another state folder.")


def adopt(state, folder):
    """Take the VAE and the base of a diffusers folder that this recipe made; refuses to overwrite a stage."""
    vacant(state, ("vae", "base"))
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


def file_of(path, expected):
    """The tensors of a weight file that are to be trained, each of the expected shape, in the recipe's order."""
    try:
        found = {k: v.float() for k, v in load_file(path).items() if not k.endswith(".alpha")}
    except (OSError, SafetensorError) as error:
        raise BadState(f"{path}: not a weight file ({error})") from None
    for key in sorted(expected.keys() | found.keys()):
        shapes = [tuple(made[key].shape) if key in made else None for made in (expected, found)]
        if shapes[0] != shapes[1]:
            raise BadState(f"{path}: {key}: expected {shapes[0]}, found {shapes[1]}: experts of another recipe. "
                           "Give the files that this recipe made.")
    return {key: found[key] for key in expected}


def adopt_experts(state, folder):
    """Take face, hand and gates of a folder, of the ranks that this recipe has; the base is there already."""
    vacant(state, (*experts.EXPERTS, "gates"))
    made = {}
    for name in experts.EXPERTS:
        o = state.recipe["stages"][name]
        layers = experts.add_expert(networks.make_unet(state.recipe), o["rank"], o["alpha"], 0)
        made[name] = file_of(folder / f"{name}.safetensors", experts.expert_parameters(layers))
    made["gates"] = file_of(folder / "gates.safetensors", experts.fresh_gates(networks.make_unet(state.recipe), 0))
    for name, weights in made.items():
        put(state, name, weights)
    state.say(f"experts and gates of {folder}")
