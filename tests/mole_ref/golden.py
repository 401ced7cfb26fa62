"""Golden cases as NumPy arrays (docs/golden-format.md): a reader of its own, for tests."""

import json
import pathlib
import struct

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "golden"
TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8"}


def tensors(path):
    """Every tensor of a safetensors file by name."""
    data = path.read_bytes()
    (length,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8:8 + length])
    header.pop("__metadata__", None)
    found = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        flat = np.frombuffer(data[8 + length + begin:8 + length + end], TYPES[entry["dtype"]])
        found[name] = flat.reshape(entry["shape"])
    return found


class Case:
    """A folder with manifest.json and tensors.safetensors."""

    def __init__(self, name):
        folder = GOLDEN / name
        self.manifest = json.loads((folder / "manifest.json").read_text())
        self.tensors = tensors(folder / "tensors.safetensors")

    def calls(self):
        """(id, attributes, inputs as arrays, the manifest's entry, outputs by name)"""
        for call in self.manifest["calls"]:
            inputs = {name: [self.tensors[key] for key in keys] if isinstance(keys, list)
                      else None if keys is None else self.tensors[keys]
                      for name, keys in call["inputs"].items()}
            outputs = {output["name"]: self.tensors[output["tensor"]] for output in call["outputs"]}
            yield call["id"], call["attrs"], inputs, call, outputs

    def taps(self):
        """name -> truth, in the order of execution"""
        return {tap["name"]: self.tensors[tap["tensor"]] for tap in self.manifest["taps"]}


def error(candidate, truth):
    """max |difference| / max |truth|; Inf for another shape, or where a NaN is."""
    if candidate.shape != truth.shape or np.isnan(candidate).any():
        return np.inf
    if truth.size == 0:
        return 0.0
    finite = np.isfinite(truth)
    if not np.array_equal(candidate[~finite], truth[~finite]):
        return np.inf
    most = np.abs(candidate - truth, where=finite, out=np.zeros(truth.shape)).max()
    scale = np.abs(truth[finite]).max() if finite.any() else 0.0
    return most / scale if scale else (0.0 if most == 0 else np.inf)
