"""Small files for loaders: every dtype, odd values, shards, and other names of weights."""

import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel

from golden import components, units
from golden.formats import Case, dump_json, made_with, sha256
from golden.seeds import normal
from golden.weights import fill

DTYPES = {
    "f16": torch.float16,
    "bf16": torch.bfloat16,
    "f32": torch.float32,
    "f64": torch.float64,
}


def tensors_of(dtype):
    """The same tensors in each dtype; "odd" holds what only this dtype's limits show."""
    info = torch.finfo(dtype)
    small = info.smallest_normal
    odd = [0.0, -0.0, 1.0, -1.0, info.max, info.min, small, -small, small * info.eps]
    odd += [small * 0.5, -small * 0.75, 1 + info.eps, 1 - info.eps / 2, float("inf"), -float("inf")]
    return {
        "matrix": normal("io/matrix", (3, 5)).to(dtype),
        "kernel": normal("io/kernel", (2, 3, 1, 1)).to(dtype),
        "scalar": torch.tensor(0.3, dtype=dtype),
        "one": torch.tensor([2.5], dtype=dtype),
        "empty": torch.zeros(0, 4, dtype=dtype),
        "odd": torch.tensor(odd, dtype=torch.float64).to(dtype),
    }


def values(tensor):
    """The widened values as float64 in C's hexadecimal form, exactly."""
    return [v.hex() for v in tensor.double().flatten().tolist()]


def dtypes(out):
    """golden/io/<dtype>.safetensors and values.json."""
    folder = Path(out) / "io"
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for name, dtype in DTYPES.items():
        tensors = tensors_of(dtype)
        save_file(tensors, folder / f"{name}.safetensors", metadata={"format": "pt"})
        for key, tensor in tensors.items():
            place = {"file": f"{name}.safetensors", "tensor": key, "dtype": name.upper()}
            rows.append({**place, "shape": list(tensor.shape), "values": values(tensor)})
    mixed = {name: tensors_of(dtype)["matrix"] for name, dtype in DTYPES.items()}
    shards = {
        "model-00001-of-00002.safetensors": {k: mixed[k] for k in ("bf16", "f16")},
        "model-00002-of-00002.safetensors": {k: mixed[k] for k in ("f32", "f64")},
    }
    sharded = folder / "sharded"
    sharded.mkdir(exist_ok=True)
    weight_map, total = {}, 0
    for file, tensors in shards.items():
        save_file(tensors, sharded / file, metadata={"format": "pt"})
        for key, tensor in tensors.items():
            weight_map[key] = file
            total += tensor.numel() * tensor.element_size()
            place = {"file": f"sharded/{file}", "tensor": key, "dtype": key.upper()}
            rows.append({**place, "shape": list(tensor.shape), "values": values(tensor)})
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    text = json.dumps(index, indent=2, sort_keys=True) + "\n"
    (sharded / "model.safetensors.index.json").write_text(text)
    about = "Every tensor of the files beside, widened to float64, as C's %a writes it."
    head = {"format": "mole-golden-values", "version": 1, "about": about, "made_with": made_with()}
    dump_json(folder / "values.json", {**head, "tensors": rows})


def text_encoder_names(out):
    """A text encoder as transformers 5 writes it: no `text_model.` in the weights' names.

    Its activation is gelu, as in Stable Diffusion 2, and its weights are F32. The taps have the
    classic names all the same.
    """
    config = CLIPTextConfig(
        vocab_size=32,
        hidden_size=8,
        intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=12,
        hidden_act="gelu",
        bos_token_id=30,
        eos_token_id=31,
        pad_token_id=0,
        projection_dim=8,
    )
    folder = Path(out) / "io" / "text-encoder-names"
    shutil.rmtree(folder, ignore_errors=True)
    model = fill(CLIPTextModel(config), "names", None, torch.float32)
    model = model.eval().requires_grad_(False)
    model.save_pretrained(folder / "model" / "text_encoder")
    ids = torch.tensor([[30, 5, 7, 9, 31, 0, 0], [30, 1, 2, 3, 4, 29, 31]])
    measured = units.measure(model, "text_encoder.text_model", lambda m, dtype: m(ids))
    case = Case(folder, "run", "A text encoder whose weights lack `text_model.` in their names.")
    weights = "model/text_encoder/model.safetensors"
    entry = {"folder": "model", "face": None, "hand": None, "gates": None}
    entry["sha256"] = {weights: sha256(folder / weights)}
    inputs = {"input_ids": case.tensor("input/input_ids", ids)}
    components.write(case, measured, component="text_encoder", model=entry, inputs=inputs)
