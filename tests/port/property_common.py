"""What the property tests share: golden cases, the port's traces, the comparator, units and limits."""

import functools
import json
import os
import random
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import cases
import safetensors_np

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
LIMIT = 16.0  # COMPARE_LIMIT of ref/compare/compare.h: what an error may be in units of rounding
SAFETY = 2.0  # what is so many times beyond a limit must be noticed
SMALL = 16  # taps of fewer numbers are judged together
UNIT = {"f64": 2.0**-53, "f32": 2.0**-24, "tf32": 2.0**-11, "cudnn": 2.0**-11, "f16": 2.0**-11, "bf16": 2.0**-8}


def case_folders():
    """Every golden run, by name; but for those with rounded gates, of which a right program in float32 has now
    and then another one."""
    files = sorted((ROOT / "golden/runs").glob("*/manifest.json"))
    return {f.parent.name: f.parent for f in files if '"bf16-gates"' not in f.read_text(encoding="utf-8")}


@functools.lru_cache(maxsize=4)
def case_of(name):
    return cases.Case(str(case_folders()[name]))


def pool(case):
    """What a port dumps of this case, as patterns for Trace: all of a component; of a pipeline the
    case's taps, and all taps of the first step, or there would be hundreds of thousands."""
    if case.component != "pipeline":
        return None
    return [*sorted(case.names()), "step.000/*", "text_encoder.*", "vae.*"]


@functools.lru_cache(maxsize=2)
def trace_of(name, precision, order="blas", mutant=None, compute="f32"):
    """name -> tensor, with NAME.in, in the order of execution. Not to be changed."""
    case = case_of(name)
    return cases.run(case, precision, order, mutant, True, pool(case), compute=compute).tensors


@functools.lru_cache(maxsize=3)
def truth_of(name):
    """Tap name -> float64 tensor, of the taps that the case holds: the right port's, which agrees with
    the golden ones to 1e-11 (check_golden.py), and is there also where the case holds fingerprints."""
    case = case_of(name)
    return cases.run(case, wanted=case.names()).tensors


# ---- units ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Unit:
    """What one unit of cumulative rounding is for a tap in float32, and the truth's rms."""

    f32: float
    rms: float

    def at(self, precision):
        """In another precision: proportional, and never below the comparator's floor (docs/cli.md)."""
        u = UNIT[precision]
        floor = 32 if precision == "f64" else 0.5
        return max(self.f32 * u / UNIT["f32"], floor * u * self.rms)


def error_of(tap):
    """rms of PyTorch's own float32 error; where the case holds it with both kinds of angles, the larger."""
    exact = tap.get("f32_error_exact_angles", {}).get("rms", 0.0)
    return max(tap["f32_error"]["rms"], exact)


@functools.lru_cache(maxsize=4)
def units_of(name):
    """Tap name -> Unit. Small taps count with at least the error made over all of them."""
    truth = truth_of(name)
    rms = {n: root_mean_square(x) for n, x in truth.items()}
    errors = {t["name"]: error_of(t) for t in case_of(name).taps}
    small = [n for n, x in truth.items() if x.size < SMALL and rms[n] > 0]
    pooled = root_mean_square(np.array([errors[n] / rms[n] for n in small])) if small else 0.0
    return {
        n: Unit(max(errors[n], pooled * rms[n] if n in small else 0.0), rms[n]) for n in truth
    }


def root_mean_square(x):
    return float(np.sqrt(np.mean(np.square(x, dtype=np.float64))))


# ---- the comparator ------------------------------------------------------------------------------


@dataclass
class Answer:
    code: int
    report: dict
    errors: str

    @property
    def differs(self):
        return self.code == 1

    def rows(self, *verdicts):
        return [r for r in self.report["rows"] if r["verdict"] in verdicts]

    @property
    def culprit(self):
        return self.report["culprit"]


def compare(mole, name, trace, *options):
    """`mole compare` of a golden case against a trace file -> Answer. Bad input raises nothing: code 3."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [mole, "compare", os.path.relpath(case_folders()[name], ROOT), str(trace)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            [*command, "--json", str(report), *options],
            cwd=ROOT, capture_output=True, text=True, errors="replace", env=environment,
        )  # fmt: skip
        text = report.read_text() if report.exists() else "{}"
    return Answer(done.returncode, json.loads(text), done.stderr.strip())


def write(path, tensors, kind="F32"):
    """A trace file. kind: F32 as it is; F16 or BF16, whose numbers they must be; F64 for float32 ones."""
    types = {"F16": np.float16, "F64": np.float64}
    if kind in types:
        tensors = {n: x.astype(types[kind]) for n, x in tensors.items()}
    bf16 = frozenset(tensors) if kind == "BF16" else ()
    safetensors_np.write(str(path), tensors, {"made_with": "tests/port"}, bf16)



# ---- trials --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Result:
    """One trial: its number, what was tried, passed / failed / skipped, why, and what to count it under."""

    index: int
    what: str
    state: str
    text: str
    groups: tuple


def chance(seed, prop, index):
    """The generator of one trial: the same whichever trials run beside it."""
    return random.Random(f"{seed}/{prop}/{index}")


def compared(names, answer):
    """Those that the comparison looks at: a case holds a part of a port's taps."""
    rows = {row["name"] for row in answer.report["rows"]} if answer.code in (0, 1) else names
    return [n for n in names if n in rows]


def sample(groups, count, rng, each):
    """About `count` trials, some of some traces: to make a trace costs more than to cut it."""
    chosen, left = [], count
    for base in rng.sample(list(groups), len(groups)):
        group = groups[base]
        some = sorted(rng.sample(group, min(each, left, len(group))))
        left -= len(some)
        chosen += [(base, some)] if some else []
    return chosen


class Keeper:
    """A trace file that is removed after its trial, unless the trial asks to keep it."""

    def __init__(self, path):
        self.path, self.kept = Path(path), False

    def __fspath__(self):
        return str(self.path)

    __str__ = __fspath__

    def keep(self):
        self.kept = True

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if not self.kept:
            self.path.unlink(missing_ok=True)
