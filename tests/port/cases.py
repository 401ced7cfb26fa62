"""Golden cases: read one, run it. The format is docs/golden-format.md.

Of a case of kind fingerprint, which holds a few numbers of each tap, the tensors are made: by a run in
float64 that has to agree with these numbers.
"""

import hashlib
import math
import os

import numpy as np

import deviations
import mutants
import nn
import safetensors_np
import unet
from model import read_json
from pipeline import Pipeline
from safetensors_np import FileError
from trace import Trace

DTYPES = {"f32": np.float32, "f64": np.float64}
VALUES, FINGERPRINT_LIMIT = 32, 1e-11


def fingerprint(x):
    """Mean, deviation, least, most, norm, and 32 values: a row of `statistics`, a row of `values`."""
    flat = x.ravel()
    values = np.zeros(VALUES)
    k = np.arange(VALUES, dtype=np.uint64)
    with np.errstate(over="ignore"):
        spread = (k * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(32)
    places = (spread * np.uint64(flat.size)) >> np.uint64(32) if flat.size > VALUES else k[: flat.size]
    values[: len(places)] = flat[places.astype(np.int64)]
    norm = np.sqrt(np.square(flat).sum())
    return np.array([flat.mean(), flat.std(), flat.min(), flat.max(), norm, *values])


class Case:
    def __init__(self, folder):
        path = os.path.join(folder, "manifest.json")
        manifest = read_json(path)
        if manifest.get("format") != "mole-golden" or manifest.get("version") != 1:
            raise FileError(f"{path}: not a mole-golden manifest of version 1")
        self.kind = manifest["kind"]
        if self.kind not in ("run", "fingerprint"):
            raise FileError(
                f"{path}: a case of kind {self.kind}; this port runs kinds run and fingerprint"
            )
        if manifest["model"]["folder"].startswith("synth:"):
            raise FileError(f"{path}: a model made by formula; this port runs models in a folder")
        self.folder, self.name = folder, manifest["name"]
        self.component, self.taps = manifest["component"], manifest["taps"]
        self.settings, self.inputs = manifest.get("settings"), manifest["inputs"]
        self.model = manifest["model"]
        for file, about in manifest["files"].items():
            with open(os.path.join(folder, file), "rb") as data:
                if hashlib.sha256(data.read()).hexdigest() != about["sha256"]:
                    raise FileError(f"{folder}/{file}: not the file that manifest.json describes")
        self.tensors = safetensors_np.read(os.path.join(folder, "tensors.safetensors"))[0]
        self.worst = None  # of fingerprints: which tap a run is furthest from, and how far

    def make_tensors(self):
        """What the case's program computes in float64, held against the fingerprints."""
        self.worst = ("", 0.0)
        made = run(self, wanted=self.names()).tensors
        for row, tap in enumerate(self.taps):
            name = tap["name"]
            if name not in made or list(made[name].shape) != tap["shape"]:
                raise FileError(f"{self.folder}: {name} is missing or misshaped in a run of this port")
            known = np.concatenate([self.tensors[key][row] for key in ("statistics", "values")])
            off = np.abs(fingerprint(made[name]) - known)
            off[4] /= math.sqrt(made[name].size)  # the norm
            error = off.max() / np.abs(known[2:4]).max()
            if not error <= FINGERPRINT_LIMIT:
                raise FileError(f"{self.folder}: {name} is {error:.1e} of its scale off in float64")
            if error > self.worst[1]:
                self.worst = (name, error)
            self.tensors[name] = made[name]
            tap["tensor"] = name

    def truth(self):
        """Tap name -> (float64 values, PyTorch's float32 error), in order."""
        if self.kind == "fingerprint" and not self.worst:
            self.make_tensors()
        return {t["name"]: (self.tensors[t["tensor"]], t["f32_error"]) for t in self.taps}

    def names(self):
        return frozenset(t["name"] for t in self.taps)

    def path(self, name):
        """A file or folder that the manifest names, relative to the case."""
        return os.path.normpath(os.path.join(self.folder, self.model[name]))

    def experts(self):
        if self.model["face"] is None:
            return None
        return tuple(self.path(name) for name in ("face", "hand", "gates"))

    def tensor(self, name, dtype):
        return nn.rounded(self.tensors[self.inputs[name]].astype(dtype))


def run(
    case,
    precision="f64",
    order="blas",
    mutant=None,
    inputs=False,
    wanted=None,
    model=None,
    experts=None,
    forced=None,
    compute="f32",
):
    """Run a case -> Trace. wanted, forced: see Trace. model, experts: other files than the case's own. compute: see nn.COMPUTE;
    other than f32 it needs precision f32."""
    trace = Trace(DTYPES[precision], inputs, wanted, forced)
    mutants.use(mutant)
    deviations.use((case.settings or {}).get("deviations", ()))
    nn.use_order(order)
    nn.use_compute(compute)
    try:
        pipeline = Pipeline(
            model or case.path("folder"), experts or case.experts(), trace.dtype.type, trace
        )
        if case.component == "pipeline":
            pipeline.generate(case.settings)
        elif case.component == "text_encoder":
            pipeline.encode_ids(case.tensors[case.inputs["input_ids"]])
        elif case.component == "text_encoder_2":
            pipeline.encode_ids_2(case.tensors[case.inputs["input_ids"]])
        elif case.component == "unet":
            names = ("encoder_hidden_states", "text_embeds", "time_ids")
            given = [case.tensor(n, trace.dtype) if n in case.inputs else None for n in names[:2]]
            numbers = None  # embedded as they are; to round them is a mistake (mutant numbers-in-bf16)
            if names[2] in case.inputs:
                numbers = case.tensors[case.inputs[names[2]]].astype(trace.dtype)
            prompt = unet.Prompt(given[0], None, given[1], numbers)
            sample = case.tensor("sample", trace.dtype)
            pipeline.denoise(sample, case.inputs["timestep"], prompt)
        elif case.component == "vae_decoder":
            pipeline.decode(case.tensor("latents", trace.dtype))
        else:
            raise FileError(f"{case.folder}: component {case.component} is not known")
        if mutant is None:
            pipeline.check_weights()
    finally:
        mutants.use(None)
        deviations.use(())
        nn.use_order("blas")
        nn.use_compute("f32")
    return trace
