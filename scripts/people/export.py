"""The files of the model: a diffusers folder, face, hand and gates, all in F16."""

import experts
import networks

from data import BadState
from stages import expert_files, gate_tensors, trained_base


def export(state, common):
    """Write DIR/model with everything that is trained so far; the folder."""
    folder = state.folder / "model"
    unet, text = trained_base(state, common)
    common.vae.register_to_config(scaling_factor=common.scale)
    networks.save_folder(folder, state.recipe, state.folder / "tokenizer", common.tokenizer, text, unet,
                         common.vae)
    try:
        files = expert_files(state)
    except BadState as error:
        state.say(f"the model has no experts yet: {error}")
        return folder
    for name, tensors in files.items():
        experts.write(folder / f"{name}.safetensors", tensors)
    try:
        gates = gate_tensors(state, unet)
    except BadState as error:
        state.say(f"the model has no gates yet: {error}")
        return folder
    experts.write(folder / "gates.safetensors", gates)
    return folder
