"""PyTorch as a port: its own float32 and float64 traces, held against the golden truth by `mole compare`.

    .venv/bin/python scripts/golden/alarms.py MOLE [KERNELS...]

MOLE is the program. Every case is run in float64, and in float32 once with each of the kernels (default: all
of golden.units.KERNELS). Status 1 when one of them is called wrong: a false alarm.

In memory order channels_last PyTorch's GroupNorm takes the variance in one pass, which loses digits where the mean
is large: norms of that pass are called wrong with reason, and not counted, as long as nothing else is.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from safetensors.torch import save_file

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from golden import components, models  # noqa: E402
from golden.components import LONG, SHORT, load_unet, run_unet  # noqa: E402
from golden.seeds import normal  # noqa: E402
from golden.units import KERNELS, record  # noqa: E402


def passes(golden):
    """Of each case its name, the model, the prefix of its taps and the call, as golden.components makes them."""
    tokenizer = models.load(golden, "tokenizer")
    ids = tokenizer(
        [LONG, SHORT], padding="max_length", max_length=77, truncation=True, return_tensors="pt"
    ).input_ids
    yield (
        "text-encoder",
        models.load(golden, "text_encoder"),
        "text_encoder.text_model",
        lambda m, dtype: m(ids),
    )
    sample, context = (
        normal("unet-step/sample", (2, 4, 5, 4)),
        normal("unet-step/context", (2, 5, models.HIDDEN)),
    )
    yield (
        "unet-step",
        load_unet(golden, True),
        "unet",
        lambda m, dtype: run_unet(m, sample, 981, context, dtype),
    )
    vae = models.load(golden, "vae")
    vae.encoder = vae.quant_conv = None
    latents = normal("vae-decode/latents", (1, 4, 3, 4), 1 / 0.18215)
    yield "vae-decode", vae, "vae", lambda m, dtype: m.decode(latents.to(dtype)).sample


def verdict(mole, case, taps, folder):
    """What the comparison says of a trace, in a line; its exit code; the rows of taps that are wrong."""
    path = Path(folder) / "trace.safetensors"
    save_file({name: x.contiguous().clone() for name, x in taps.items()}, path)
    command = [mole, "compare", "--all", case, path]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    said = run.stdout.splitlines()
    lines = [line for line in said if line.startswith(("verdict", "culprit"))]
    wrong = [line for line in said if line.endswith("DIFFERS")]
    return "; ".join(" ".join(line.split()) for line in lines) or run.stderr, run.returncode, wrong


def main():
    """See above."""
    if len(sys.argv) < 2 or not set(sys.argv[2:]) <= set(KERNELS):
        sys.exit(__doc__)
    torch.set_num_threads(1)
    golden, alarms = Path(components.__file__).resolve().parents[2] / "golden", 0
    settings = [(torch.float64, "default")]
    settings += [(torch.float32, kernels) for kernels in sys.argv[2:] or KERNELS]
    with tempfile.TemporaryDirectory() as folder:
        for name, model, prefix, call in passes(golden):
            for dtype, kernels in settings:
                taps = record(model, prefix, call, dtype, kernels=kernels).taps
                said, code, wrong = verdict(sys.argv[1], golden / "runs" / name, taps, folder)
                print(f"{name}, {str(dtype)[6:]}, {kernels}: {said}", flush=True)
                one_pass = kernels == "channels_last" and all("norm" in row for row in wrong)
                alarms += code != 0 and not (code == 1 and wrong and one_pass)
    print(f"{alarms} false alarms")
    return alarms > 0


if __name__ == "__main__":
    sys.exit(main())
