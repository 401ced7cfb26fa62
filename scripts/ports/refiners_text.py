"""refiners: its CLIP text encoder on the tokens of a case.

    refiners_text.py CASE OUT.safetensors
"""

import json
import sys
from pathlib import Path

import mole_trace
import torch
from refiners.foundationals.clip.text_encoder import CLIPTextEncoder
from safetensors.torch import load_file

LAYERS = ("layer_norm1", "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.out_proj", "layer_norm2",
          "mlp.fc1", "mlp.fc2")

case, out = Path(sys.argv[1]), sys.argv[2]
manifest = json.loads((case / "manifest.json").read_text())
folder = case / manifest["model"]["folder"] / "text_encoder"
config = json.loads((folder / "config.json").read_text())
text = CLIPTextEncoder(
    embedding_dim=config["hidden_size"], vocabulary_size=config["vocab_size"], num_layers=config["num_hidden_layers"],
    num_attention_heads=config["num_attention_heads"], feedforward_dim=config["intermediate_size"],
    use_quick_gelu=config["hidden_act"] == "quick_gelu",
)
weights = {k.replace("text_model.", ""): v.float() for k, v in load_file(folder / "model.safetensors").items()}
# Its layers with weights stand in the order in which they act.
named = ["embeddings.token_embedding", "embeddings.position_embedding"]
named += [f"encoder.layers.{i}.{part}" for i in range(config["num_hidden_layers"]) for part in LAYERS]
named.append("final_layer_norm")
leaves = [m for m in text.modules() if next(m.children(), None) is None and next(m.parameters(), None) is not None]
with mole_trace.Writer(out) as trace, torch.no_grad():
    for name, module in zip(named, leaves, strict=True):
        for leaf, parameter in module.named_parameters():
            parameter.copy_(weights[f"{name}.{leaf}"])
        if not name.startswith("embeddings."):
            tap = f"text_encoder.text_model.{name}"
            module.register_forward_hook(lambda m, args, y, tap=tap: trace.tap(tap, y))
    x = load_file(case / "tensors.safetensors")[manifest["inputs"]["input_ids"]].long()
    for part in list(text)[2:]:  # after its tokenizer, and what moves tokens to a device
        x = part(x)
