"""Other programs that run a PyTorch model, for bench_torch.py: OpenVINO and ONNX Runtime, float32.

Each has two functions. The first takes torch, a module, its inputs (tensors) and a folder, and leaves the converted
model there: a conversion holds the weights several times, so it is a process of its own. The second takes that folder,
the inputs (arrays) and a number of threads, and returns what runs the model once and gives the result as an array.
"""

import subprocess
import sys
import tempfile

import bench_common as common


def to_openvino(torch, module, inputs, folder):
    import openvino as ov

    ov.save_model(ov.convert_model(module, example_input=inputs), f"{folder}/model.xml", compress_to_fp16=False)


def openvino(folder, inputs, threads):
    """Computed in float32, which OpenVINO would lower where the processor has bfloat16."""
    import openvino as ov

    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1}
    compiled = ov.Core().compile_model(f"{folder}/model.xml", "CPU", settings)
    return lambda: compiled(inputs)[0]


def to_onnxruntime(torch, module, inputs, folder):
    """A file with its weights beside it, as it is larger than 2 GiB."""
    names = [f"input{i}" for i in range(len(inputs))]
    torch.onnx.export(module, inputs, f"{folder}/model.onnx", input_names=names, opset_version=18, dynamo=False)


def onnxruntime(folder, inputs, threads):
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = ort.InferenceSession(f"{folder}/model.onnx", options, providers=["CPUExecutionProvider"])
    # What the export found no use for is no input of the graph.
    taken = {entry.name for entry in session.get_inputs()}
    feed = {f"input{i}": x for i, x in enumerate(inputs) if f"input{i}" in taken}
    return lambda: session.run(None, feed)[0]


ENGINES = {"openvino": (to_openvino, openvino), "onnxruntime": (to_onnxruntime, onnxruntime)}


def serve(o):
    """The program that measures one: converts in another, loads what that left, and speaks the protocol."""
    import numpy as np

    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        said = subprocess.run(
            [sys.executable, *sys.argv, "--convert", folder], stdout=subprocess.PIPE, text=True, check=False
        )
        if said.returncode:
            raise common.Failed(f"{o.engine}: the conversion ended with {said.returncode}")
        inputs = list(np.load(f"{folder}/inputs.npz").values())
        run = ENGINES[o.engine][1](folder, inputs, o.threads)
    common.answer(run, lambda result: np.isfinite(result).all(), int(said.stdout.split()[-1]))
