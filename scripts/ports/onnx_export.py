"""diffusers' UNet as an ONNX graph whose outputs are all of its taps.

    onnx_export.py CASE OUT.onnx [--f16]      also writes OUT.inputs.npz

Every module's output becomes an output of the graph under the module's path, so that a runtime that is given the
graph yields a trace without any code of its own.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from diffusers import UNet2DConditionModel
from mole_trace.hooks import watch
from safetensors.torch import load_file


class Taps(dict):
    """What `watch` writes into."""

    def tap(self, name, tensor):
        self[name] = tensor.clone()  # a tensor of the graph has one name: a module's output may be its child's


class WithTaps(torch.nn.Module):
    """A UNet that gives every tap."""

    def __init__(self, unet):
        super().__init__()
        self.unet = unet

    def taps(self, *args):
        made = Taps()
        with watch(self.unet, "unet", made):
            self.unet(*args)
        return made

    def forward(self, sample, timestep, context):
        return tuple(self.taps(sample, timestep, context).values())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("case", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--f16", action="store_true")
    options = parser.parse_args()
    manifest = json.loads((options.case / "manifest.json").read_text())
    tensors, kind = load_file(options.case / "tensors.safetensors"), torch.float16 if options.f16 else torch.float32
    folder = options.case / manifest["model"]["folder"] / "unet"
    model = WithTaps(UNet2DConditionModel.from_pretrained(folder, torch_dtype=kind)).eval()
    sample, context = (tensors[manifest["inputs"][k]].to(kind) for k in ("sample", "encoder_hidden_states"))
    inputs = (sample, torch.tensor([manifest["inputs"]["timestep"]]), context)
    with torch.no_grad():
        names = list(model.taps(*inputs))
        torch.onnx.export(model, inputs, str(options.out), input_names=["sample", "timestep", "context"],
                          output_names=names, dynamo=True, optimize=False, verbose=False)
    np.savez(options.out.with_suffix(".inputs.npz"), **dict(zip(("sample", "timestep", "context"),
                                                                (x.numpy() for x in inputs))))


if __name__ == "__main__":
    main()
