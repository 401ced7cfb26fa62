"""PyTorch as a port: its own passes, cut in every natural way, held against the golden runs by `mole compare`.

    .venv/bin/python scripts/golden/alarms.py [--mole PROGRAM] [--quick] [--own] [--jobs N] [--json FILE] [TEXT...]

Every pass of golden.ports is recorded once: float64, float32 with each kernel, bf16, f16 and mixtures of them. Its
taps are cut (golden.cuts). The cuts are stored by turns in the types that they have, with and without NAME.in, as F32,
and as F64; the whole and the result in all of these ways. All of these are right ports: a comparison that does not
agree is a false alarm. Where all that was dumped is float32 although products had fewer digits (autocast, tf32), no
numbers can show that: the comparison is told by --budget. One line per pass and way of storing says how many traces
agreed; one more per alarm says which. Status 1 when there is an alarm.

Real losses of digits are no false alarms, provided that the comparison names their cause (LOSSES below).

--own: by `mole compare --model`, which makes the truth itself and derives what rounding does; of the case only its
model, inputs and settings are used.

--quick: few passes and few cuts, some minutes. --part K/N: of all traces those with a number that leaves K when
divided by N, for several machines, or for a sample. TEXT: only passes with that text in "RUN: TYPE, PORT".
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import zlib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from safetensors.torch import save_file

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from golden import cuts, ports  # noqa: E402

GOLDEN = Path(__file__).resolve().parents[2] / "golden"
# (type, port): the word by which the comparison's text must name the cause.
LOSSES = {
    ("F32", "channels_last"): "variance",  # GroupNorm takes it in one pass
    ("F64", "channels_last"): "variance",
    ("F64", "float32 angles"): "angle",  # diffusers' sinusoid is float32 also in a model of float64
    ("F64", "attention in products"): "softmax",  # transformers takes it in float32 whatever the model
}
# Of XL's UNet in bfloat16: diffusers hands on the sizes and corners in the type of the model.
ROUNDED = "rounded to "
QUICK_PORTS = {"default", "channels_last", "autocast", "text in f32"}
QUICK_CUTS = {"all", "result", "blocks", "norms", "without sinusoid", "half, draw 0", "noise", "picture"}
QUICK_RUNS = {"text-encoder", "unet-step", "sdxl-unet", "vae-decode", "run-5-mole"}


def ways(port, inputs):
    """(stored, with NAME.in): the ways in which traces of one pass are stored."""
    made = [("kept", False), ("F32" if port.dtype == ports.F64 else "F64", False)]
    if port.dtype in (ports.BF16, ports.F16):
        made.append(("F32", False))
    return made + [("kept", True)] if inputs else made


def parts_of(run, port, options, names, kinds, stored):
    """(label, names, way): the first two cuts of a pass, all and the result, in every way; then one way after the
    other, beginning elsewhere in each pass; of a whole run every second cut."""
    whole, seed = run.component == "pipeline", f"{run.name} {port.dtype} {port.name}"
    parts = cuts.cuts(names, kinds, seed, 1 if whole or options.quick else options.draws)
    turn = zlib.crc32(seed.encode())
    for i, (label, kept) in enumerate(parts):
        if i < 2:
            yield from ((label, kept, way) for way in stored)
        elif not whole or (i + turn) % 2:
            yield label, kept, stored[(turn + i // (1 + whole)) % len(stored)]


def traces(run, port, options):
    """(description, tensors) of every trace of one pass."""
    outputs, inputs, kinds = run.taps(port)
    names = list(outputs)
    known = {tap["name"] for tap in json.loads((Path(run.folder) / "manifest.json").read_text())["taps"]}
    for label, kept, (stored, with_inputs) in parts_of(run, port, options, names, kinds, ways(port, inputs)):
        if options.quick and label not in QUICK_CUTS:
            continue
        if known.isdisjoint(kept):  # nothing to compare: that is refused, and no verdict
            continue
        options.count += 1
        if options.count % options.part[1] != options.part[0]:
            continue
        tensors = {name: outputs[name] for name in kept}
        if with_inputs:
            tensors.update({f"{n}.in": inputs[f"{n}.in"] for n in kept if f"{n}.in" in inputs})
        yield {
            "run": run.name,
            "type": ports.NAMES[port.dtype],
            "port": port.name,
            "stored": stored,
            "inputs": with_inputs,
            "cut": label,
            "taps": len(kept),
            "budget": port.budget if all(x.dtype == torch.float32 for x in tensors.values()) else None,
        }, dict(ports.as_stored(tensors, stored))


def own_reference(case):
    """Options that say what a case says: its model and what it does."""
    manifest = json.loads((Path(case) / "manifest.json").read_text())
    model, settings = manifest["model"], manifest.get("settings", {})
    words = ["--model", Path(case) / model["folder"]]
    for key in ("face", "hand", "gates"):
        words += [f"--{key}", Path(case) / model[key]] if model.get(key) else []
    for name in settings.get("deviations", []):
        words += ["--deviation", name]
    if manifest["component"] != "pipeline":
        timestep = manifest["inputs"].get("timestep")
        words += ["--timestep", str(timestep)] if timestep is not None else []
        return [*words, "--inputs", Path(case) / "tensors.safetensors"]
    names = {"seed": "seed", "num_inference_steps": "steps", "guidance_scale": "scale", "width": "width"}
    for key, option in {**names, "height": "height", "eta": "eta", "prompt": "prompt"}.items():
        words += [f"--{option}", str(settings[key])]
    for key, option in {"negative_prompt": "negative", "negative_rule": "negative-rule"}.items():
        words += [f"--{option}", settings[key]] if settings.get(key) is not None else []
    return words


def ask(mole, own, case, path, *more):
    """One comparison, on one thread, as several go on at once."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [mole, "compare", *more, *(own_reference(case) if own else [case]), path]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, errors="replace")


def lines_of(text, *starts):
    return [" ".join(line.split()) for line in text.splitlines() if line.split()[:1] and line.split()[0] in starts]


def judge(options, case, row, tensors):
    """Add to `row` what the comparison says of the trace."""
    with tempfile.TemporaryDirectory(prefix="alarms-") as folder:
        path, report = Path(folder) / "trace.safetensors", Path(folder) / "report.json"
        save_file(tensors, path)
        budget = ["--budget", row["budget"]] if row["budget"] else []
        said = ask(options.mole, options.own, case, path, "--json", report, *budget)
        row["code"] = said.returncode
        row["said"] = lines_of(said.stdout, "verdict", "culprit", "cause", "ratio", "precision") or [said.stderr.strip()]
        row["text"] = said.stdout + said.stderr if said.returncode else ""
        taps = taps_of(report)
        row["wrong"] = [tap for tap in taps if tap["verdict"] in ("differs", "shape", "not-finite")]
        row["share"], row["nearest"] = nearest(taps)
        if said.returncode and options.keep:
            name = "-".join(str(row[k]).replace(" ", "_") for k in ("run", "type", "port", "stored", "cut"))
            path.rename(Path(options.keep) / f"{name}.safetensors")
    row["result"] = result_of(row)
    return row


def taps_of(report):
    """What the JSON says of each tap."""
    try:
        return json.loads(report.read_text())["rows"]
    except (OSError, ValueError, KeyError):
        return []


def nearest(taps):
    """The largest part of its limit that a tap's own error takes, and the tap."""
    shares = [(tap["isolated_ratio"] / tap["limit"], tap["name"]) for tap in taps if known(tap)]
    return max(shares, default=(0, None))


def known(tap):
    return all(isinstance(tap.get(key), (int, float)) for key in ("isolated_ratio", "limit"))


def result_of(row):
    """agrees; loss: a real loss of digits with its cause; unnamed: without it; alarm; refused."""
    if row["code"] == 0:
        return "agrees"
    if row["code"] != 1:
        return "refused"
    word = LOSSES.get((row["type"], row["port"]))
    if not word and row["run"].startswith("sdxl-unet") and row["type"] == "BF16":
        word = ROUNDED
    return "alarm" if not word else "loss" if word in row["text"] else "unnamed"


def one_pass(run, port, options, pool, rows):
    """Record a pass, compare its traces, print their lines."""
    jobs = []
    for row, tensors in traces(run, port, options):
        jobs.append(pool.submit(judge, options, run.folder, row, tensors))
    groups = {}
    for job in jobs:
        row = job.result()
        rows.append(row)
        groups.setdefault((row["stored"], row["inputs"]), []).append(row)
    for (stored, inputs), group in groups.items():
        counts = ", ".join(f"{n} {what}" for what, n in Counter(row["result"] for row in group).items())
        how = f"{stored}{', with inputs' if inputs else ''}"
        share, tap = max((row["share"], row["nearest"] or "") for row in group)
        near = f"; {share:.0%} of a limit at {tap}" if tap else ""
        print(f"{run.name}: {ports.NAMES[port.dtype]}, {port.name}, {how}: {len(group)} traces: {counts}{near}")
        for row in group:
            if row["result"] in ("alarm", "unnamed", "refused"):
                print(f"    {row['result']}: {row['cut']} ({row['taps']} taps): {'; '.join(row['said'])}")
    sys.stdout.flush()


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mole", default="build/cc/mole")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--own", action="store_true")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--draws", type=int, default=2, help="random cuts of each kind")
    parser.add_argument("--part", type=part, default=(0, 1), metavar="K/N")
    parser.add_argument("--json", help="every trace and what was said of it")
    parser.add_argument("--keep", help="a folder for the traces that are called wrong")
    parser.add_argument("texts", nargs="*", metavar="TEXT")
    parser.set_defaults(count=-1)
    return parser.parse_args()


def part(text):
    """K/N as two numbers."""
    k, n = (int(piece) for piece in text.split("/"))
    if not 0 <= k < n:
        raise ValueError(text)
    return k, n


def wanted(run, port, options):
    if run.component not in port.parts or (port.types and run.component != "pipeline"):
        return False
    if options.quick and (run.name not in QUICK_RUNS or port.name not in QUICK_PORTS):
        return False
    label = f"{run.name}: {ports.NAMES[port.dtype]}, {port.name}"
    return not options.texts or any(text in label for text in options.texts)


def main():
    """See above."""
    options, rows = arguments(), []
    torch.set_num_threads(1)
    if options.keep:
        Path(options.keep).mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(options.jobs) as pool:
        for run in ports.runs(GOLDEN):
            for port in ports.ports():
                if wanted(run, port, options):
                    one_pass(run, port, options, pool, rows)
    if options.json:
        Path(options.json).write_text(json.dumps(rows, indent=1) + "\n")
    counts = Counter(row["result"] for row in rows)
    print(", ".join(f"{n} {what}" for what, n in sorted(counts.items())))
    good = counts["agrees"] + counts["loss"]
    print(f"{good} passed, {len(rows) - good} failed, 0 skipped")
    return good < len(rows)


if __name__ == "__main__":
    sys.exit(main())
