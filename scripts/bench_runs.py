#!/usr/bin/env python3
"""Whole runs of `mole generate`: their time, peak memory and page faults, weights of every part counted.

    scripts/bench_runs.py --mole build/cc/mole             both runs
    scripts/bench_runs.py --mole build/cc/mole --only 1024 this one

512: two steps at 512 x 512 with the experts of rank 256. 1024: one step at 1024 x 1024 with them. The
numbers are what the kernel says of the ended program; the bytes of weights are the parameters that `mole
inspect` counts, as float32. Results go into the section `runs` of the JSON file.
"""

import os
import re
import resource
import subprocess
import sys
import tempfile
import time

import bench_common as common

RUNS = {"512": (512, 2), "1024": (1024, 1)}  # name -> side, steps


def experts():
    return ["--face", common.EXPERTS["face"], "--hand", common.EXPERTS["hand"], "--gates", "synth:"]


def weights(o):
    """Bytes of all parameters as float32."""
    command = [o.mole, "inspect", "--model", o.model, *experts()]
    said = subprocess.run(command, capture_output=True, text=True, env=common.environment())
    if said.returncode:
        raise common.Failed(said.stderr.strip())
    return 4 * sum(int(n) for n in re.findall(r"^ +parameters +(\d+)$", said.stdout, re.MULTILINE))


def run(o, side, steps):
    """One run to its end."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            o.mole,
            "generate",
            "--model",
            o.model,
            *experts(),
            "--prompt",
            "a portrait, two hands",
        ]
        command += [
            "--width",
            str(side),
            "--height",
            str(side),
            "--steps",
            str(steps),
            "--seed",
            "1",
            "-q",
        ]
        command += ["--threads", str(o.threads), "-o", os.path.join(folder, "picture.png")]
        start = time.perf_counter()
        program = subprocess.Popen(
            command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env=common.environment(),
        )
        said = program.stderr.read()
        _, status, usage = os.wait4(program.pid, 0)
        program.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.perf_counter() - start
        program.stderr.close()
    if program.returncode:
        raise common.Failed(said.strip() or f"mole generate: status {program.returncode}")
    unit = 1 if sys.platform == "darwin" else 1024
    return {
        "side": side,
        "steps": steps,
        "seconds": round(seconds, 3),
        "peak_rss_bytes": usage.ru_maxrss * unit,
        "faults": usage.ru_minflt,
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 3),
        "page_bytes": resource.getpagesize(),
    }


def main():
    parser = common.parser(__doc__)
    add = parser.add_argument
    add("--only", action="append", default=[], choices=list(RUNS), help="this run")
    o = parser.parse_args()
    try:
        bytes_of_weights = weights(o)
        for name in o.only or RUNS:
            result = {
                **run(o, *RUNS[name]),
                "weights_bytes": bytes_of_weights,
                "threads": o.threads,
            }
            runs = {**common.load(o.json).get("runs", {}), name: result}
            common.store(o.json, "runs", {k: runs[k] for k in RUNS if k in runs})
            peak = result["peak_rss_bytes"]
            print(
                f"{name}: {result['seconds']:.1f} s, peak {peak / 2**20:.0f} MiB, "
                f"{peak / bytes_of_weights:.3f} of the weights",
                flush=True,
            )
    except (common.Failed, OSError) as error:
        common.say(f"bench_runs.py: {error}")
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
