#!/usr/bin/env python3
"""Does a program give the stored bits? Runs of the plain path in both number types against golden/bits/.

    scripts/bits.py check FOLDER [--under COMMAND] [--threads 1,2,3] [--label TEXT] [--results FILE]
    scripts/bits.py write FOLDER
    scripts/bits.py table RESULTS

FOLDER holds mole and mole-f64 (build/cc). `check` runs each of RUNS in float32 and float64 and compares the SHA-256 sums
of every tap of the trace and of the picture's pixels with golden/bits/RUN.txt; the first tap that differs is named. It also
compares the conditional row of a guided step, which goes through the UNet with the unconditional one, with the same row
alone, and a picture after another with the picture alone.
--under runs the programs through an emulator ("qemu-s390x -L /usr/s390x-linux-gnu"). --results appends a line for the
table of docs/numbers.md, which `table` prints. `write` stores what a program gives: after a change of the numbers that is meant.

golden/bits/RUN.txt: "all", "pixels" and the name of each tap to the end of the first step, each with a sum of the float32
and one of the float64 run. A tap's sum is of its bytes, little endian, as the trace holds them, cut to 16 digits; that
of "all" is over the lines of all taps of all steps, name and full sum; that of "pixels" over 8-bit RGB, row by row. The
last line that is printed is "N passed,
N failed, 0 skipped"; status 1 when one failed.
"""

import argparse
import hashlib
import json
import struct
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
STORED = ROOT / "golden/bits"
TYPES = {"f32": "mole", "f64": "mole-f64"}
COMMON = ["--matmul", "plain", "--mole", "direct", "-q", "--width", "64", "--height", "48"]


def model(name):
    folder = f"golden/models/{name}"
    experts = [f"--{part}={folder}-mole/{part}.safetensors" for part in ("face", "hand", "gates")]
    return ["--model", folder, *experts]


RUNS = {
    "sd15": [*model("sd15-tiny"), "--prompt", "a portrait, waving", "--seed", "7", "--steps", "4"],
    "sdxl": ["--model", "golden/models/sdxl-tiny", "--prompt", "two hands", "--seed", "3", "--steps", "2"],
}
RUNS["sdxl"] += ["--scheduler", "euler", "--noise", "cuda"]
WHOLE = ("all", "pixels")


# ---- a run -------------------------------------------------------------------------------------------------


def generate(options, arguments, precision, out, more=(), threads="1"):
    """Runs the program; its picture is OUT.png, its trace OUT.safetensors unless the options name none."""
    command = [*options.under.split(), str(Path(options.folder) / TYPES[precision]), "generate", *arguments, *COMMON]
    command += ["--precision", precision, "--threads", threads, "-o", f"{out}.png", *more]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: status {done.returncode}: {done.stderr.strip()}")


def tensors(path):
    """{name: (shape, bytes)} of a trace, in its order."""
    data = Path(path).read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    header.pop("__metadata__", None)
    rows = sorted(header.items(), key=lambda item: item[1]["data_offsets"])
    start = 8 + length
    return {
        name: (tensor["shape"], data[start + tensor["data_offsets"][0] : start + tensor["data_offsets"][1]])
        for name, tensor in rows
    }


def unfiltered(kind, row, before):
    """A row of a PNG picture with 3 bytes a pixel, from what its filter left of it."""
    out = bytearray(row)
    for i, value in enumerate(row):
        left, up = out[i - 3] if i >= 3 else 0, before[i]
        corner = before[i - 3] if i >= 3 else 0
        nearest = min((left, up, corner), key=lambda x: abs(left + up - corner - x))
        out[i] = (value + (0, left, up, (left + up) // 2, nearest)[kind]) & 255
    return bytes(out)


def pixels(path):
    """8-bit RGB of a PNG file: what zlib and filters make of it differs between versions of libpng."""
    data, at, packed, width = Path(path).read_bytes(), 8, b"", 0
    while at < len(data):
        (length,), kind = struct.unpack(">I", data[at : at + 4]), data[at + 4 : at + 8]
        body = data[at + 8 : at + 8 + length]
        if kind == b"IHDR":
            width, depth, colour = struct.unpack(">I", body[:4])[0], body[8], body[9]
            if (depth, colour) != (8, 2):
                sys.exit(f"{path}: not 8-bit RGB")
        packed += body if kind == b"IDAT" else b""
        at += 12 + length
    raw, stride, rows = zlib.decompress(packed), 3 * width + 1, [bytes(3 * width)]
    for at in range(0, len(raw), stride):
        rows.append(unfiltered(raw[at], raw[at + 1 : at + stride], rows[-1]))
    return b"".join(rows[1:])


def sums(options, run, precision, folder, threads="1"):
    """{"all", "pixels", tap...: SHA-256}"""
    out = f"{folder}/{run}-{precision}"
    generate(options, RUNS[run], precision, out, ["--trace", f"{out}.safetensors"], threads)
    taps = {name: hashlib.sha256(data).hexdigest() for name, (_, data) in tensors(f"{out}.safetensors").items()}
    lines = "".join(f"{name} {digest}\n" for name, digest in taps.items())
    whole = {"all": lines.encode(), "pixels": pixels(f"{out}.png")}
    return {name: hashlib.sha256(data).hexdigest() for name, data in whole.items()} | taps


# ---- what is stored ----------------------------------------------------------------------------------------


def short(name, digest):
    return digest if name in WHOLE else digest[:16]


def is_stored(name):
    return name in WHOLE or name.startswith("step.000/") or not name.startswith("step.")


def write(options, folder):
    for run in RUNS:
        found = {precision: sums(options, run, precision, folder) for precision in TYPES}
        lines = [f"# Made by scripts/bits.py write: mole generate {' '.join(RUNS[run] + COMMON)}\n"]
        for name in filter(is_stored, found["f32"]):
            lines.append(f"{name} {' '.join(short(name, found[p][name]) for p in TYPES)}\n")
        (STORED / f"{run}.txt").write_text("".join(lines))
    return 0


def stored(run):
    """{precision: {name: sum}}"""
    rows = [line.split() for line in (STORED / f"{run}.txt").read_text().splitlines() if line[0] != "#"]
    return {p: {row[0]: row[1 + i] for row in rows} for i, p in enumerate(TYPES)}


def difference(found, expected):
    """The first name that differs, or None."""
    for name in [*expected, *filter(is_stored, found)]:
        if name not in WHOLE and short(name, found.get(name, "")) != expected.get(name):
            return name
    return next((name for name in WHOLE if found[name] != expected[name]), None)


# ---- alone and among others --------------------------------------------------------------------------------


def row_differs(both, alone):
    """The first tap of the first step whose second row is not what the row alone gives, and the number compared."""
    compared = 0
    for name, (shape, data) in alone.items():
        if not name.startswith("step.000/unet.") or both[name][0][1:] != shape[1:] or both[name][0][0] != 2 * shape[0]:
            continue
        compared += 1
        if both[name][1][len(data) :] != data:
            return name, compared
    return None, compared


def batch_differs(options, precision, folder):
    """What differs alone and among others, or None."""
    for guided, scale in (("both", "7.5"), ("alone", "1")):
        more = ["--trace", f"{folder}/{guided}.safetensors", "--scale", scale]
        generate(options, RUNS["sd15"], precision, f"{folder}/{guided}", more)
    name, compared = row_differs(tensors(f"{folder}/both.safetensors"), tensors(f"{folder}/alone.safetensors"))
    if name or compared < 1000:
        return f"the conditional row alone, in {name or 'too few taps'}"
    arguments = [*RUNS["sd15"]]
    arguments[arguments.index("--seed") + 1] = "6"
    generate(options, arguments, precision, f"{folder}/two", ["--images", "2", "--overwrite"])
    second = sorted(Path(folder).glob("two*.png"))[-1]
    return "the picture after another" if pixels(second) != pixels(f"{folder}/both.png") else None


# ---- a program against what is stored ----------------------------------------------------------------------


def check(options, folder):
    failed, cases, whole = [], 0, hashlib.sha256()
    for run in RUNS:
        expected = stored(run)
        for precision in TYPES:
            for threads in options.threads.split(","):
                found = sums(options, run, precision, folder, threads)
                whole.update((found["all"] + found["pixels"]).encode() if threads == "1" else b"")
                name, cases = difference(found, expected[precision]), cases + 1
                if name:
                    failed.append(f"{run} {precision}, {threads} threads: first in {name}")
    for precision in TYPES:
        name, cases = batch_differs(options, precision, folder), cases + 1
        if name:
            failed.append(f"{precision}: {name}")
    for what in failed:
        print(f"{options.label}: other bits: {what}")
    if options.results:
        with open(options.results, "a", encoding="utf-8") as out:
            threads = options.threads.replace(",", ", ")
            verdict = "other" if failed else "the same"
            out.write(f"{options.label} | {threads} | {whole.hexdigest()[:16]} | {verdict}\n")
    print(f"{cases - len(failed)} passed, {len(failed)} failed, 0 skipped")
    return 1 if failed else 0


def table(path):
    print("| compiler | machine | C library | threads | sum of all | bits |")
    print("|---|---|---|---|---|---|")
    for line in Path(path).read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            print(f"| {' '.join(line.split())} |")
    return 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("action", choices=["check", "write", "table"])
    parser.add_argument("folder")
    parser.add_argument("--under", default="", help="command that runs the programs")
    parser.add_argument("--threads", default="1", help="numbers of threads, 1 first")
    parser.add_argument("--label", default="this program", help="COMPILER | MACHINE | C LIBRARY, for --results")
    parser.add_argument("--results", help="file that gets a line")
    options = parser.parse_args()
    if options.action == "table":
        return table(options.folder)
    with tempfile.TemporaryDirectory() as folder:
        return (check if options.action == "check" else write)(options, folder)


if __name__ == "__main__":
    sys.exit(main())
