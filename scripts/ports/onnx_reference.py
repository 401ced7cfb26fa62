"""ONNX's own reference evaluator, which is NumPy.

    onnx_reference.py GRAPH.onnx OUT.safetensors
"""

import sys
from pathlib import Path

import mole_trace
import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator

graph, out = Path(sys.argv[1]), sys.argv[2]
model = onnx.load(graph)
names = [output.name for output in model.graph.output]
found = ReferenceEvaluator(model).run(names, dict(np.load(graph.with_suffix(".inputs.npz"))))
mole_trace.write(out, dict(zip(names, found)))
