"""The ports: their environments, commands, traces and what `mole compare` must say of each."""

from dataclasses import dataclass

TORCH = ["torch==2.13.0", "numpy", "safetensors"]


@dataclass(frozen=True)
class Check:
    """A trace and its verdict. expected: patterns that the report must have; why: what a reader asks, if anything."""

    what: str
    case: str
    trace: str
    expected: tuple = (r"^verdict +agrees",)
    options: tuple = ()
    why: str = ""


@dataclass(frozen=True)
class Port:
    """environment: the name of its virtual environment; lines: arguments of pip, one call each."""

    name: str
    about: str
    environment: str
    lines: tuple
    packages: tuple
    commands: tuple
    checks: tuple
    heavy: bool = False

    def install(self):
        return [list(line) for line in self.lines]


DIFFERS = r"^verdict +DIFFERS"
UNET = "runs/unet-plain"
ONNX = (
    (*TORCH, "diffusers==0.42.1", "transformers==5.23.0", "accelerate==1.15.0", "onnx==1.23.2", "onnxscript==0.7.2",
     "onnxruntime==1.32.0", "openvino==2026.4.1"),
)
EXPORT = ("onnx_export.py", "golden/runs/unet-plain", "{out}/unet.onnx")

SETTINGS = ("default", "attention in products", "sliced attention", "channels last", "fused projections", "float16",
            "bfloat16", "float64")
WHY = {
    "channels last": "torch's GroupNorm for that layout takes mean and mean of squares in one pass, and loses digits "
                     "where the mean is large: a real loss, with its cause",
    "fused projections": "q, k and v are one product and no taps",
    "float64": "diffusers' sinusoid of the time is float32 also in a model of float64: the first tap has lost half of its "
               "digits, and the angle's error is named",
}
LOSSES = {
    "channels last": (DIFFERS, r"variance"),
    "float64": (DIFFERS, r"^culprit +#0 unet.time_proj ", r"angle"),
}

PORTS = (
    Port(
        "diffusers", "the library that the names come from, in the settings that people use.",
        "onnx", ONNX, ("diffusers", "torch"),
        tuple(("diffusers_unet.py", "golden/runs/unet-plain", f"{{out}}/diffusers-{i}.safetensors", name)
              for i, name in enumerate(SETTINGS)),
        tuple(Check(name, UNET, f"diffusers-{i}.safetensors", LOSSES.get(name, (r"^verdict +agrees",)),
                    why=WHY.get(name, "")) for i, name in enumerate(SETTINGS)),
    ),
    Port(
        "onnxruntime",
        "diffusers' UNet exported to ONNX with every tap as an output of the graph, run by ONNX Runtime. It computes what "
        "the graph says; as many outputs as that keep it from fusing across them.",
        "onnx", ONNX, ("onnxruntime",),
        (
            EXPORT,
            ("onnx_runtime.py", "{out}/unet.onnx", "{out}/ort.safetensors"),
            ("onnx_runtime.py", "{out}/unet.onnx", "{out}/ort-plain.safetensors", "--plain"),
            ("onnx_runtime.py", "{out}/unet.onnx", "{out}/ort-int8.safetensors", "--int8"),
            ("onnx_export.py", "golden/runs/unet-plain", "{out}/unet-f16.onnx", "--f16"),
            ("onnx_runtime.py", "{out}/unet-f16.onnx", "{out}/ort-f16.safetensors"),
        ),
        (
            Check("float32", UNET, "ort.safetensors"),
            Check("float32, graph not optimised", UNET, "ort-plain.safetensors"),
            Check("float16", UNET, "ort-f16.safetensors",
                  why="the transformers' GroupNorms lose most: they use up to three quarters of what float16 is granted"),
            Check("8 bits", UNET, "ort-int8.safetensors", (DIFFERS, r"^culprit +#1 unet.time_embedding.linear_1 "),
                  why="quantised weights and operands: every quantised product is wrong by itself, by about one per cent; "
                      "the first is the time embedding's. The exporter writes only products of two dimensions as Gemm, and "
                      "the quantiser found the weights of no other: 24 layers of 529 taps"),
        ),
    ),
    Port(
        "openvino", "the same graph, read and run by OpenVINO's CPU plugin.",
        "onnx", ONNX, ("openvino",),
        (EXPORT, ("openvino_runtime.py", "{out}/unet.onnx", "{out}/ov.safetensors")),
        (Check("float32", UNET, "ov.safetensors"),),
    ),
    Port(
        "onnx-reference", "the same graph, run by ONNX's reference evaluator, which is NumPy.",
        "onnx", ONNX, ("onnx",),
        (EXPORT, ("onnx_reference.py", "{out}/unet.onnx", "{out}/onnx-reference.safetensors")),
        (Check("float32", UNET, "onnx-reference.safetensors"),),
    ),
    Port(
        "latent-diffusion",
        "the original code, whose names `--map ldm` translates. Its 32 groups are 8 here, since the model is narrow.",
        "ldm",
        (
            (*TORCH, "einops==0.8.2", "omegaconf==2.4.0", "pillow==12.0.0", "tqdm"),
            ("--no-deps", "stable-diffusion-sdkit==2.1.5"),
        ),
        ("stable-diffusion-sdkit",),
        (
            ("ldm_unet.py", "golden/runs/unet-plain", "{out}/ldm.safetensors"),
            ("ldm_unet.py", "golden/runs/unet-plain", "{out}/ldm-bf16.safetensors", "bf16"),
        ),
        (
            Check("float32", UNET, "ldm.safetensors", options=("--map", "ldm")),
            Check("bfloat16", UNET, "ldm-bf16.safetensors", options=("--map", "ldm")),
        ),
    ),
    Port(
        "open_clip",
        "its text transformer with the text encoders of v1.5, v2.1 and XL; q, k and v are one product, so they are no taps.",
        "openclip",
        ((*TORCH, "ftfy", "regex", "tqdm", "huggingface_hub"), ("--no-deps", "open_clip_torch==3.3.0")),
        ("open_clip_torch",),
        tuple(("open_clip_text.py", f"golden/runs/{case}", f"{{out}}/open-clip-{case}.safetensors")
              for case in ("text-encoder", "sd21-text-encoder", "sdxl-text-encoder-2")),
        tuple(Check(what, f"runs/{case}", f"open-clip-{case}.safetensors") for what, case in (
            ("v1.5's text encoder", "text-encoder"), ("v2.1's text encoder", "sd21-text-encoder"),
            ("XL's second text encoder, with projection", "sdxl-text-encoder-2"))),
    ),
    Port(
        "DiffSynth-Studio",
        "its own UNet, VAE and text encoder; the linear layer of time is computed for one row, which stands for all.",
        "diffsynth",
        (tuple(TORCH), ("--no-deps", "diffsynth==2.1.12")),
        ("diffsynth",),
        tuple(("diffsynth_models.py", f"golden/runs/{case}", f"{{out}}/diffsynth-{case}.safetensors")
              for case in ("unet-plain", "text-encoder", "vae-decode")),
        (
            Check("UNet", UNET, "diffsynth-unet-plain.safetensors"),
            Check("text encoder", "runs/text-encoder", "diffsynth-text-encoder.safetensors"),
            Check("VAE's decoder", "runs/vae-decode", "diffsynth-vae-decode.safetensors",
                  (r"^verdict +agrees", r"stored as \(B,T,C1,C2\)")),
        ),
    ),
    Port(
        "KerasHub",
        "its CLIP text encoder, run by JAX. **A defect was found:** the last LayerNorm has Keras' epsilon of 1e-6, CLIP's "
        "is 1e-5 (the norms of its layers have 1e-5). The rms error is 1.4e-6 of the tensor's: no picture shows it.",
        "keras",
        (("keras-hub==0.32.0", "keras==3.15.1", "jax==0.10.2", "safetensors", "numpy"),),
        ("keras-hub", "keras", "jax"),
        (("keras_text.py", "golden/runs/text-encoder", "{out}/keras-text.safetensors"),),
        (
            Check("v1.5's text encoder", "runs/text-encoder", "keras-text.safetensors",
                  (DIFFERS, r"^culprit +#\d+ text_encoder.text_model.final_layer_norm ",
                   r"^ +cause +LayerNorm with epsilon 1e-06 instead of 1e-05"),
                  why="the layer and the constant are named; before it everything agrees"),
        ),
    ),
    Port(
        "refiners", "its CLIP text encoder, with the quick GELU of v1.5 and the erf GELU of v2.1.",
        "refiners", ((*TORCH, "pillow==12.0.0", "refiners==0.4.0"),), ("refiners",),
        tuple(("refiners_text.py", f"golden/runs/{case}", f"{{out}}/refiners-{case}.safetensors")
              for case in ("text-encoder", "sd21-text-encoder")),
        tuple(Check(what, f"runs/{case}", f"refiners-{case}.safetensors") for what, case in (
            ("v1.5's text encoder", "text-encoder"), ("v2.1's text encoder", "sd21-text-encoder"))),
    ),
)
