"""MNN: an exported ONNX graph, converted, all of its outputs.

    mnn_runtime.py GRAPH.onnx OUT.safetensors
"""

import subprocess
import sys
from pathlib import Path

import mole_trace
import MNN
import numpy as np
import onnx

graph, out = Path(sys.argv[1]), sys.argv[2]
converted = graph.with_suffix(".mnn")
subprocess.run([Path(sys.executable).parent / "mnnconvert", "-f", "ONNX", "--modelFile", graph, "--MNNModel", converted,
                "--bizCode", "MNN"], check=True, stdout=subprocess.DEVNULL)
inputs = dict(np.load(graph.with_suffix(".inputs.npz")))
names = [output.name for output in onnx.load(graph, load_external_data=False).graph.output]
net = MNN.nn.load_module_from_file(str(converted), list(inputs), names)
given = []
for value in inputs.values():
    value, kind = (value, MNN.expr.float) if value.dtype == np.float32 else (value.astype(np.int32), MNN.expr.int)
    given.append(MNN.expr.const(value, list(value.shape), MNN.expr.NCHW, kind))
found = net.forward(given)
mole_trace.write(out, {n: np.array(MNN.expr.convert(v, MNN.expr.NCHW).read()) for n, v in zip(names, found)})
