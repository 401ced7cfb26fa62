"""Writing golden cases: tensors.safetensors and manifest.json as docs/golden-format.md says."""

import hashlib
import json
import os
import platform
from pathlib import Path

import torch
from safetensors.torch import save_file

TENSORS = "tensors.safetensors"


def sha256(path):
    """Hex SHA-256 of a file."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def made_with():
    """The exact versions that the numbers come from."""
    import diffusers
    import numpy
    import safetensors
    import tokenizers
    import transformers

    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "diffusers": diffusers.__version__,
        "transformers": transformers.__version__,
        "tokenizers": tokenizers.__version__,
        "safetensors": safetensors.__version__,
        "numpy": numpy.__version__,
    }


def dump_json(path, value):
    """JSON with one line per entry of a top-level list, so that differences read well."""
    lines = []
    for key, entry in value.items():
        if isinstance(entry, list) and entry:
            rows = ",\n  ".join(json.dumps(row, ensure_ascii=False) for row in entry)
            lines.append(f" {json.dumps(key)}: [\n  {rows}\n ]")
        else:
            lines.append(f" {json.dumps(key)}: {json.dumps(entry, ensure_ascii=False)}")
    Path(path).write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def error_of(y32, y64):
    """PyTorch's own float32 error, as the manifest states it."""
    if y64.numel() == 0:
        return {"max_abs": 0.0, "rms": 0.0}
    delta = y32.double() - y64
    return {
        "max_abs": float(f"{delta.abs().max().item():.6e}"),
        "rms": float(f"{delta.square().mean().sqrt().item():.6e}"),
    }


class Case:
    """One folder of golden/: gathers tensors and entries, then writes them."""

    def __init__(self, folder, kind, about, **fields):
        self.folder = Path(folder)
        self.head = {
            "format": "mole-golden",
            "version": 1,
            "name": self.folder.name,
            "kind": kind,
            "about": about,
            "made_with": made_with(),
        }
        self.fields = fields
        self.tensors = {}
        self.keys = {}  # content -> key: equal outputs share one tensor

    def tensor(self, key, value):
        """Store a tensor under `key`; returns the key."""
        if key in self.tensors:
            raise ValueError(f"{self.folder}: tensor {key} stored twice")
        # A copy: safetensors refuses tensors that share memory.
        self.tensors[key] = value.detach().clone().contiguous()
        return key

    def output(self, name, key, y64, y32=None):
        """Store a float64 truth; returns its manifest entry. No y32: no error is stated."""
        assert y64.dtype == torch.float64, (name, y64.dtype)
        assert torch.isfinite(y64).all(), f"{self.folder}: {name} is not finite"
        # A container whose last child is its result (Attention and to_out.0) costs nothing.
        content = (tuple(y64.shape), hashlib.sha256(y64.contiguous().numpy().tobytes()).digest())
        if content not in self.keys:
            self.keys[content] = self.tensor(key, y64)
        entry = {"name": name, "tensor": self.keys[content], "shape": list(y64.shape)}
        if y32 is not None:
            assert y32.dtype == torch.float32 and y32.shape == y64.shape, (name, y32.dtype)
            entry["f32_error"] = error_of(y32, y64)
        return entry

    def write(self, **fields):
        """Write the folder; `fields` are those of the kind (calls, taps, ...)."""
        self.folder.mkdir(parents=True, exist_ok=True)
        files = {}
        if self.tensors:
            path = self.folder / TENSORS
            save_file(self.tensors, path)
            files[TENSORS] = {"sha256": sha256(path), "bytes": os.path.getsize(path)}
        head = {**self.head, "files": files, **self.fields}
        dump_json(self.folder / "manifest.json", {**head, **fields})
