"""Held-out captions drawn by the program, as one picture: nothing is chosen, the n-th caption has seed n.

    grid.py --mole PROGRAM --model FOLDER -o FILE.png [--count 24] [--columns 8] [-- OPTIONS of mole generate]

Prints the captions.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

sys.dont_write_bytecode = True

import cairo  # noqa: E402
import numpy as np  # noqa: E402
from attributes import sample  # noqa: E402
from captions import caption  # noqa: E402
from draw import save_png, tile  # noqa: E402

HELD = 901  # a seed of drawings that nothing was trained on
ORDER = ("half", "portrait", "half", "two", "half", "face", "half", "hand")


def read_png(path):
    """(H,W,3) uint8."""
    surface = cairo.ImageSurface.create_from_png(str(path))
    shape = (surface.get_height(), surface.get_stride() // 4, 4)
    return np.ndarray(shape, np.uint8, surface.get_data())[:, : surface.get_width(), 2::-1].copy()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--mole", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("-o", dest="out", required=True)
    parser.add_argument("--count", type=int, default=24)
    parser.add_argument("--columns", type=int, default=8)
    parser.add_argument("options", nargs="*")
    options = parser.parse_args()
    shown = []
    with tempfile.TemporaryDirectory() as folder:
        for n in range(options.count):
            prompt, path = caption(sample(HELD, ORDER[n % len(ORDER)], n)), Path(folder) / f"{n}.png"
            subprocess.run([options.mole, "generate", "-q", "--model", options.model, "--prompt", prompt, "--seed", str(n),
                            "-o", str(path), *options.options], check=True, stdout=subprocess.DEVNULL)
            shown.append(read_png(path))
            print(n, prompt, flush=True)
    save_png(options.out, tile(shown, options.columns))


if __name__ == "__main__":
    main()
