"""ONNX Runtime: an exported graph, all of its outputs.

    onnx_runtime.py GRAPH.onnx OUT.safetensors [--plain] [--int8]

--plain: no optimisation of the graph. --int8: weights and operands of matrix products quantised to 8 bits first.
"""

import sys
from pathlib import Path

import mole_trace
import numpy as np
import onnxruntime as ort
from onnxruntime.quantization import quantize_dynamic

graph, out = Path(sys.argv[1]), sys.argv[2]
inputs = graph.with_suffix(".inputs.npz")
options = ort.SessionOptions()
if "--plain" in sys.argv:
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
if "--int8" in sys.argv:
    quantised = graph.with_suffix(".int8.onnx")
    quantize_dynamic(graph, quantised, op_types_to_quantize=["MatMul", "Gemm"])
    graph = quantised
session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
names = [output.name for output in session.get_outputs()]
mole_trace.write(out, dict(zip(names, session.run(names, dict(np.load(inputs))))))
