"""Other programs that run a PyTorch model, for bench_torch.py: OpenVINO and ONNX Runtime, float32.

Each function takes torch, a module, its inputs (tensors) and a number of threads, converts the module, and returns
what runs it once and gives the result as a tensor. The PyTorch model may be dropped afterwards.
"""

import tempfile


def openvino(torch, module, inputs, threads):
    """Computed in float32, which OpenVINO would lower where the processor has bfloat16."""
    import openvino as ov

    converted = ov.convert_model(module, example_input=inputs)
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1}
    compiled = ov.Core().compile_model(converted, "CPU", settings)
    arrays = [x.numpy() for x in inputs]
    return lambda: torch.from_numpy(compiled(arrays)[0])


def onnxruntime(torch, module, inputs, threads):
    """Exported to a file with its weights beside it, as it is larger than 2 GiB."""
    import onnxruntime as ort

    with tempfile.TemporaryDirectory(prefix="bench-onnx-") as folder:
        path = f"{folder}/model.onnx"
        names = [f"input{i}" for i in range(len(inputs))]
        torch.onnx.export(module, inputs, path, input_names=names, opset_version=18, dynamo=False)
        options = ort.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    # What the export found no use for is no input of the graph.
    taken = {entry.name for entry in session.get_inputs()}
    feed = {name: x.numpy() for name, x in zip(names, inputs) if name in taken}
    return lambda: torch.from_numpy(session.run(None, feed)[0])


ENGINES = {"openvino": openvino, "onnxruntime": onnxruntime}
