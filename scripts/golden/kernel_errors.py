"""The float32 error of each of PyTorch's kernels on golden/runs/unet-step, and ours against each.

    python scripts/golden/kernel_errors.py --out golden --mole build/cc/mole

prints the table of docs/numbers.md. The golden data keep the largest error of any kernel
(components.KERNELS); this says what each of them makes. Per kernel: its rms error in units of that
largest one, median over all taps; then our error in units of the kernel's, median and worst over the
taps of at least 16 numbers, with BLAS and with plain loops.
"""

import argparse
import statistics
import subprocess
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from golden import components, models  # noqa: E402
from golden.seeds import normal  # noqa: E402

CASE, SHAPE, TOKENS, TIMESTEP, SMALL = "unet-step", (2, 4, 5, 4), 5, 981, 16


def peers(out):
    """{kernel: {tap: rms error}}, and {tap: count of numbers}; with exact timestep angles."""
    sample = normal(f"{CASE}/sample", SHAPE)
    context = normal(f"{CASE}/context", (SHAPE[0], TOKENS, models.HIDDEN))
    unet = components.load_unet(out, True)

    def call(model, dtype):
        components.run_unet(model, sample, TIMESTEP, context, dtype, True)

    truth = components.record(unet, "unet", call, torch.float64)
    errors = {}
    for kernel in components.KERNELS:
        taps = components.record(unet, "unet", call, torch.float32, kernels=kernel)
        errors[kernel] = {
            name: (taps[name].double() - truth[name]).square().mean().sqrt().item() for name in truth
        }
    return errors, {name: truth[name].numel() for name in truth}


def ours(out, program, way, largest):
    """{tap: our rms error}: `mole verify` prints it in units of the largest error of any kernel."""
    command = [program, "verify", "--matmul", way, "--all", f"{out}/runs/{CASE}"]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    rows = [line.split() for line in lines if line.startswith("  ") and line.split()[-1] in largest]
    return {row[4]: float(row[2]) * largest[row[4]] for row in rows}


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
    largest = {name: max(errors[kernel][name] for kernel in errors) for name in count}
    mine = {way: ours(args.out, args.mole, way, largest) for way in ("blas", "plain")}
    print("| kernel | of the largest | blas median | blas worst | plain median | plain worst |")
    print("|---|---|---|---|---|---|")
    for kernel, error in errors.items():
        share = statistics.median(error[n] / largest[n] for n in count if largest[n] > 0)
        cells = [f"{share:.2f}"]
        for way in mine.values():
            ratios = [way[n] / error[n] for n in way if count[n] >= SMALL and error[n] > 0]
            cells += [f"{statistics.median(ratios):.2f}", f"{max(ratios):.1f}"]
        print(f"| {kernel} | " + " | ".join(cells) + " |")
    usual, channels_last = group_norm_errors()
    print(f"\nGroupNorm on 1 +- 0.01: {usual:.1e}, channels-last {channels_last:.1e}")


if __name__ == "__main__":
    main()
