"""OpenVINO: an exported ONNX graph, all of its outputs.

    openvino_runtime.py GRAPH.onnx OUT.safetensors [HINT]     HINT: f32, bf16 (what the CPU plugin computes in)
"""

import sys
from pathlib import Path

import mole_trace
import numpy as np
import openvino as ov

graph, out = Path(sys.argv[1]), sys.argv[2]
model = ov.Core().compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": (sys.argv[3:] or ["f32"])[0]})
found = model(dict(np.load(graph.with_suffix(".inputs.npz"))))
mole_trace.write(out, {name: found[output] for output in model.outputs for name in output.names})
