"""open_clip: its text transformer on the tokens of a case.

    open_clip_text.py CASE OUT.safetensors
"""

import importlib.util
import json
import re
import sys
import types
from pathlib import Path
from unittest.mock import MagicMock

import mole_trace
import torch
from mole_trace.hooks import watch
from safetensors.torch import load_file

# Its text encoder needs nothing of torchvision, though the package imports it.
for name in ("torchvision", "torchvision.ops", "torchvision.ops.misc"):
    sys.modules[name] = MagicMock()
PLACE = importlib.util.find_spec("open_clip").submodule_search_locations
sys.modules["open_clip"] = types.ModuleType("open_clip")
sys.modules["open_clip"].__path__ = PLACE
from open_clip.transformer import QuickGELU, TextTransformer  # noqa: E402

case, out = Path(sys.argv[1]), sys.argv[2]
manifest = json.loads((case / "manifest.json").read_text())
part = manifest["component"]
folder = case / manifest["model"]["folder"] / part
config = json.loads((folder / "config.json").read_text())
width, projected = config["hidden_size"], part == "text_encoder_2"
text = TextTransformer(
    vocab_size=config["vocab_size"], width=width, heads=config["num_attention_heads"],
    layers=config["num_hidden_layers"], mlp_ratio=config["intermediate_size"] / width,
    output_dim=config["projection_dim"] if projected else None, output_tokens=True,
    act_layer=QuickGELU if config["hidden_act"] == "quick_gelu" else torch.nn.GELU,
)
NAMES = {"ln_1": "layer_norm1", "ln_2": "layer_norm2", "attn": "self_attn", "attn.out_proj": "self_attn.out_proj",
         "mlp": "mlp", "mlp.c_fc": "mlp.fc1", "mlp.gelu": "mlp.activation_fn", "mlp.c_proj": "mlp.fc2"}


def loaded():
    """The weights under open_clip's names: q, k and v in one."""
    weights, made = load_file(folder / "model.safetensors"), {}
    weights = {k.replace("text_model.", ""): v.float() for k, v in weights.items()}
    made["token_embedding.weight"] = weights["embeddings.token_embedding.weight"]
    made["positional_embedding"] = weights["embeddings.position_embedding.weight"]
    for leaf in ("weight", "bias"):
        made[f"ln_final.{leaf}"] = weights[f"final_layer_norm.{leaf}"]
        for i in range(config["num_hidden_layers"]):
            mine, theirs = f"transformer.resblocks.{i}", f"encoder.layers.{i}"
            qkv = [weights[f"{theirs}.self_attn.{x}_proj.{leaf}"] for x in "qkv"]
            made[f"{mine}.attn.in_proj_{leaf}"] = torch.cat(qkv)
            for name in ("ln_1", "ln_2", "attn.out_proj", "mlp.c_fc", "mlp.c_proj"):
                made[f"{mine}.{name}.{leaf}"] = weights[f"{theirs}.{NAMES[name]}.{leaf}"]
    if projected:
        made["text_projection"] = weights["text_projection.weight"].T
    return made


class Renamed:
    """A trace under transformers' names."""

    def __init__(self, trace):
        self.trace, self.prefix = trace, f"{part}.text_model"

    def tap(self, name, tensor):
        if match := re.fullmatch(r"text\.transformer\.resblocks\.(\d+)(?:\.(.*))?", name):
            layer, rest = match.groups()
            if rest in NAMES or rest is None:
                self.trace.tap(f"{self.prefix}.encoder.layers.{layer}" + (f".{NAMES[rest]}" if rest else ""), tensor)
        elif name == "text.ln_final":
            self.trace.tap(f"{self.prefix}.final_layer_norm", tensor)


text.load_state_dict(loaded())
ids = load_file(case / "tensors.safetensors")[manifest["inputs"]["input_ids"]].long()
with mole_trace.Writer(out) as trace, torch.no_grad(), watch(text.eval(), "text", Renamed(trace)):
    pooled, _ = text(ids)
    if projected:
        trace.tap(f"{part}.text_projection", pooled)
