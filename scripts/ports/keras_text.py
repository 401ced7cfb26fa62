"""KerasHub: its CLIP text encoder, run by JAX, on the tokens of a case.

    keras_text.py CASE OUT.safetensors
"""

import json
import os
import sys
from pathlib import Path

os.environ["KERAS_BACKEND"] = "jax"

import keras  # noqa: E402
import mole_trace  # noqa: E402
import numpy as np  # noqa: E402
from keras_hub.src.models.clip.clip_text_encoder import CLIPTextEncoder  # noqa: E402
from safetensors.numpy import load_file  # noqa: E402

case, out = Path(sys.argv[1]), sys.argv[2]
manifest = json.loads((case / "manifest.json").read_text())
folder = case / manifest["model"]["folder"] / "text_encoder"
config = json.loads((folder / "config.json").read_text())
width, layers = config["hidden_size"], config["num_hidden_layers"]
model = CLIPTextEncoder(
    vocabulary_size=config["vocab_size"], embedding_dim=width, hidden_dim=width, num_layers=layers,
    num_heads=config["num_attention_heads"], intermediate_dim=config["intermediate_size"],
    intermediate_activation=config["hidden_act"], intermediate_output_index=layers - 2, max_sequence_length=77,
)
weights = {k.replace("text_model.", ""): v.astype("float32")
           for k, v in load_file(folder / "model.safetensors").items()}
heads = config["num_attention_heads"]


def linear(dense, name):
    """A Dense or EinsumDense with a Linear's weights."""
    kernel, bias = weights[f"{name}.weight"].T, weights[f"{name}.bias"]
    dense.set_weights([kernel.reshape(dense.kernel.shape), bias.reshape(dense.bias.shape)])


def norm(layer, name):
    layer.set_weights([weights[f"{name}.weight"], weights[f"{name}.bias"]])


model.embedding.token_embedding.set_weights([weights["embeddings.token_embedding.weight"]])
model.embedding.position_embedding.set_weights([weights["embeddings.position_embedding.weight"]])
outputs = {"text_encoder.text_model.embeddings": model.embedding.output}
for i, layer in enumerate(model.encoder_layers):
    name = f"encoder.layers.{i}"
    norm(layer.layer_norm_1, f"{name}.layer_norm1")
    norm(layer.layer_norm_2, f"{name}.layer_norm2")
    for part, theirs in (("query", "q_proj"), ("key", "k_proj"), ("value", "v_proj"), ("output", "out_proj")):
        linear(getattr(layer.attention, f"_{part}_dense"), f"{name}.self_attn.{theirs}")
    linear(layer.dense_1, f"{name}.mlp.fc1")
    linear(layer.dense_2, f"{name}.mlp.fc2")
    outputs[f"text_encoder.text_model.{name}"] = layer.output
norm(model.layer_norm, "final_layer_norm")
outputs["text_encoder.text_model.final_layer_norm"] = model.layer_norm.output
ids = load_file(case / "tensors.safetensors")[manifest["inputs"]["input_ids"]].astype("int32")
found = keras.Model(model.inputs, outputs)({model.inputs[0].name: ids})
mole_trace.write(out, {name: np.asarray(value) for name, value in found.items()})
