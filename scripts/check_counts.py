#!/usr/bin/env python3
"""How many instructions does a small run take, function by function? A guard that no busy machine can fool.

    scripts/check_counts.py --mole build/cc/mole [--write]

Times of a loaded machine say nothing; instructions do not depend on it. One guided step of the small model with
experts, and the decoded picture, run under valgrind's callgrind on one thread, with plain loops and with OpenBLAS.
valgrind shows the program a processor with AVX2, on any machine that has it, so this is the AVX2 code. The
instructions of each function of ref/ and of OpenBLAS's matrix product are compared with the stored ones
(tests/counts.txt): a loop that lost its vectors takes four times as many, lost tiles or repeated packing show in
sgemm's. Too many by more than MARGIN fail; too few by more than that are named, and --write stores what is found.

The counts are those of one compiler and one OpenBLAS, which the file names; with others the check is skipped.
The last line is "N passed, N failed, N skipped"; status 1 when one failed.
"""

import argparse
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
STORED = ROOT / "tests/counts.txt"
MARGIN = 0.05
LEAST = 0.004  # of a run: functions with fewer instructions are only in its sum
TINY = "golden/models/sd15-tiny"
RUN = ["generate", "--model", TINY, "--prompt", "a portrait, waving", "--seed", "7", "--steps", "1", "-q"]
RUN += ["--width", "64", "--height", "64", "--threads", "1", "--gates", f"{TINY}-mole/gates.safetensors"]
RUN += ["--face", f"{TINY}-mole/face.safetensors", "--hand", f"{TINY}-mole/hand.safetensors"]


def skip(why):
    print(f"SKIP instruction counts: {why}")
    print("0 passed, 0 failed, 1 skipped")
    sys.exit(0)


def said(*command):
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def environment(mole):
    """What the counts depend on besides the sources."""
    compiler = re.search(r"GCC: .* (\d+\.\d+\.\d+)", said("readelf", "-p", ".comment", mole))
    blas = said("pkg-config", "--modversion", "openblas")
    compiler = f"gcc {compiler[1]}" if compiler else "another compiler than gcc"
    return f"{compiler}, OpenBLAS {blas}, {platform.machine()}"


def functions(profile):
    """callgrind's file -> {function: its own instructions}, of ref/ and of sgemm."""
    names, counts, this, calls = {}, {}, None, False
    for line in Path(profile).read_text(errors="replace").splitlines():
        kind, _, rest = line.partition("=")
        if kind == "fn":
            number, _, name = rest.partition(" ")
            this = names.setdefault(number, name)
        elif kind == "cfn":
            number, _, name = rest.partition(" ")
            names.setdefault(number, name)
        elif kind == "calls":
            calls = True  # the next line has what the called function took
        elif re.match(r"[0-9+*-]", line):
            if not calls:
                counts[this] = counts.get(this, 0) + int(line.split()[1])
            calls = False
    return counts


def ours(mole):
    """The names of the program's own functions."""
    return {line.split()[-1] for line in said("nm", mole).splitlines() if line.split()[-2] in "tT"}


def measure(mole, way, known):
    with tempfile.TemporaryDirectory(prefix="counts-") as folder:
        profile = f"{folder}/profile"
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={profile}", mole, *RUN, "--matmul", way]
        variables = {**os.environ, "OPENBLAS_CORETYPE": "Haswell", "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            [*command, "-o", f"{folder}/picture.png"], cwd=ROOT, env=variables, capture_output=True, text=True, check=False
        )
        if done.returncode:
            sys.exit(f"check_counts.py: {' '.join(command[:4])} ...: status {done.returncode}\n{done.stderr[-2000:]}")
        found = functions(profile)
    found = {name: n for name, n in found.items() if name in known or name.startswith("sgemm_")}
    whole = sum(found.values())
    kept = {f"{way} {name}": n for name, n in sorted(found.items()) if n >= LEAST * whole}
    return {f"{way} (all)": whole, **kept}


def stored():
    """(what they were counted with, {name: count})."""
    lines = [line for line in STORED.read_text().splitlines() if line and not line.startswith("#")]
    return lines[0], {name: int(n) for name, _, n in (line.rpartition(" ") for line in lines[1:])}


def write(where, found):
    head = "# Instructions of one step of the small model: scripts/check_counts.py --write (make counts).\n"
    STORED.write_text(head + where + "\n" + "".join(f"{name} {n}\n" for name, n in found.items()))
    print(f"{STORED.relative_to(ROOT)}: {len(found)} counts, {where}")


def compare(before, found):
    """Whether nothing takes more instructions."""
    failed = 0
    for name, was in before.items():
        now = found.get(name)
        if now is None and was > 2 * LEAST * before[f"{name.split()[0]} (all)"]:
            failed += 1
            print(f"{name}: {was} instructions before, now fewer than are listed: renamed, or inlined? --write stores anew")
        elif now is not None and now > was * (1 + MARGIN):
            failed += 1
            print(f"{name}: {now} instructions, {now / was:.2f} of the {was} that are stored")
        elif now is not None and now < was * (1 - MARGIN):
            print(f"{name}: {now} instructions, {now / was:.2f} of the {was} that are stored: --write keeps that")
    for name in sorted(set(found) - set(before)):
        way = name.split()[0]
        if found[name] > 2 * LEAST * found[f"{way} (all)"]:
            failed += 1
            print(f"{name}: {found[name]} instructions, none are stored")
    print(f"{len(before) - failed} passed, {failed} failed, 0 skipped")
    return failed == 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mole", default="build/cc/mole")
    parser.add_argument("--write", action="store_true", help="store what is found")
    options = parser.parse_args()
    if not shutil.which("valgrind"):
        skip("no valgrind (scripts/setup.sh --counts)")
    if "avx2" not in Path("/proc/cpuinfo").read_text().split():
        skip("this processor has no AVX2")
    mole = str(Path(options.mole).resolve())
    where = environment(mole)
    if not options.write and stored()[0] != where:
        skip(f"they are of {stored()[0]}, this is {where}")
    known, found = ours(mole), {}
    for way in ("plain", "blas"):
        found.update(measure(mole, way, known))
    if options.write:
        write(where, found)
        return 0
    return not compare(stored()[1], found)


if __name__ == "__main__":
    sys.exit(main())
