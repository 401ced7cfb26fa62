"""The float32 error of each of PyTorch's kernels on golden/runs/unet-step, and ours against each.

    python scripts/golden/kernel_errors.py --out golden --mole build/cc/mole

prints the table of docs/numbers.md. The unit of the golden data is the rms over units.CAREFUL; this says
what each kernel makes. Per kernel: its rms error in that unit, median and worst over the taps of at least 16
numbers; then our error in units of the kernel's, median and worst, with BLAS and with plain loops. Timestep
angles are exact.
"""

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from golden import components, models, units  # noqa: E402
from golden.seeds import normal  # noqa: E402

CASE, SHAPE, TOKENS, TIMESTEP, SMALL = "unet-step", (2, 4, 5, 4), 5, 981, 16


def peers(out):
    """{kernel: {tap: rms error}}, and {tap: count of numbers}; with exact timestep angles."""
    sample = normal(f"{CASE}/sample", SHAPE)
    context = normal(f"{CASE}/context", (SHAPE[0], TOKENS, models.TEXT["hidden_size"]))
    unet = components.load_unet(out, True)

    def call(model, dtype):
        components.run_unet(model, sample, TIMESTEP, context, dtype, True)

    truth = units.record(unet, "unet", call, torch.float64).taps
    errors = {
        kernel: units.Errors(
            units.record(unet, "unet", call, torch.float32, kernels=kernel).taps, truth
        ).rms
        for kernel in units.KERNELS
    }
    return errors, {name: truth[name].numel() for name in truth}


def stated(out):
    """{tap: the case's unit}."""
    taps = json.loads((Path(out) / "runs" / CASE / "manifest.json").read_text(encoding="utf-8"))["taps"]
    return {tap["name"]: tap["f32_error_exact_angles"]["rms"] for tap in taps}


def ours(out, program, way, unit):
    """{tap: our rms error}: `mole verify` prints it in units of the case."""
    command = [program, "verify", "--matmul", way, "--all", f"{out}/runs/{CASE}"]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    rows = [line.split() for line in lines if line.startswith("  ") and line.split()[-1] in unit]
    return {row[4]: float(row[2]) * unit[row[4]] for row in rows}


def group_norm_errors():
    """Relative rms error of GroupNorm on numbers 1 +- 0.01 in 4 groups, for both memory layouts."""
    functional = torch.nn.functional
    noise = torch.randn(1, 16, 8, 8, generator=torch.Generator().manual_seed(0))
    x = 1 + 0.01 * noise
    truth = functional.group_norm(x.double(), 4, eps=1e-5)
    layouts = (torch.contiguous_format, torch.channels_last)
    results = [functional.group_norm(x.contiguous(memory_format=m), 4, eps=1e-5) for m in layouts]
    return [((y.double() - truth).norm() / truth.norm()).item() for y in results]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", default="golden")
    parser.add_argument("--mole", default="build/cc/mole")
    args = parser.parse_args()
    torch.set_num_threads(1)
    errors, count = peers(args.out)
    unit = stated(args.out)
    mine = {way: ours(args.out, args.mole, way, unit) for way in ("blas", "plain")}
    many = [name for name in count if count[name] >= SMALL]
    print("| kernel | median | worst | blas median | blas worst | plain median | plain worst |")
    print("|---|---|---|---|---|---|---|")
    for kernel, error in errors.items():
        columns = [[error[n] / unit[n] for n in many if unit[n] > 0]]
        columns += [[way[n] / error[n] for n in many if error[n] > 0] for way in mine.values()]
        cells = [f"{statistics.median(c):.2f} | {max(c):.1f}" for c in columns]
        print(f"| {kernel} | " + " | ".join(cells) + " |")
    usual, channels_last = group_norm_errors()
    print(f"\nGroupNorm on 1 +- 0.01: {usual:.1e}, channels-last {channels_last:.1e}")


if __name__ == "__main__":
    main()
