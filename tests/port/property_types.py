"""Property D: a port that computes in a short type is weighed by what that type can hold.

A right port in float16, bfloat16, tf32 or tf32 of convolutions alone (nn.COMPUTE) is never accused, whatever it dumps. A wrong one is
noticed wherever its fault is larger than what the type resolves. Both figures are computed here, per tap
that the case holds, each module started from the right port's tensors:

  fault     rms of what the mutant changes, in float64
  resolves  the limit times the rms error that the right port makes in that type (at least half a
            rounding of the tensor's own rms)

`table` prints both beside what `mole compare` said.
"""

import functools
import re

import cases
import mutants
import nn
import numpy as np
import property_common as common
import property_cuts as cuts
import property_right as right
import property_wrong as wrong
from property_common import LIMIT, SAFETY, UNIT, Result

TYPES = ("f32", "f16", "bf16")
SHORT = ("tf32", "cudnn", "f16", "bf16")
STORED = {"f32": ("F32", "F64"), "tf32": ("F32",), "cudnn": ("F32",), "f16": ("F16", "F32"), "bf16": ("BF16", "F32")}
QUICK = 6
LONG = ("run-50-mole",)


def bases():
    """(mutant or None, case, computing type)"""
    for case in common.case_folders():
        if case not in LONG:
            yield from ((None, case, compute) for compute in SHORT)
    for m in mutants.MUTANTS:
        yield from ((m.name, m.case, compute) for compute in TYPES)


def trials(full, count, rng):
    groups, index = {}, 0
    for base in bases():
        for kind in cuts.KINDS if base[0] is None else ("all",):
            stored = STORED[base[2]]
            groups.setdefault(base, []).append((index, kind, stored[index % len(stored)]))
            index += 1
    return list(groups.items()) if full else common.sample(groups, count, rng, QUICK)


# ---- what a type resolves ------------------------------------------------------------------------


def started_from(case, tensors, precision, compute="f32", mutant=None):
    """Every tap of the case, each computed from the given tensors of the taps before it."""
    golden = common.case_of(case)
    return cases.run(
        golden, precision, mutant=mutant, wanted=golden.names(), forced=tensors, compute=compute
    ).tensors


@functools.lru_cache(maxsize=2)
def right_taps(case):
    golden = common.case_of(case)
    return cases.run(golden, "f64", wanted=golden.names()).tensors


@functools.lru_cache(maxsize=8)
def resolution(case, compute):
    """Tap -> what the type resolves there, absolute."""
    nn.use_compute(compute)
    start = {n: nn.rounded(x.astype(np.float32)) for n, x in right_taps(case).items()}
    nn.use_compute("f32")
    ours = started_from(case, start, "f32", compute)
    truth = started_from(case, {n: x.astype(np.float64) for n, x in start.items()}, "f64")
    found = {}
    for n, x in truth.items():
        least = UNIT[compute] / 2 * common.root_mean_square(x)
        found[n] = LIMIT * max(common.root_mean_square(ours[n] - x), least)
    return found


@functools.lru_cache(maxsize=8)
def faults(mutant, case):
    """Tap -> what the mutant changes there by itself, absolute; only where it changes something."""
    start = right_taps(case)
    changed = started_from(case, start, "f64", mutant=mutant)
    # A tensor of another shape could not be held against the right one at all.
    return {
        n: common.root_mean_square(x - start[n]) if x.shape == start[n].shape else np.inf
        for n, x in changed.items()
        if wrong.differ(x, start[n])
    }


def strongest(mutant, case, compute):
    """(tap, fault / resolves) where the fault stands out most."""
    resolves = resolution(case, compute)
    ratios = {n: f / resolves[n] for n, f in faults(mutant, case).items() if resolves[n] > 0}
    best = max(ratios, key=ratios.get)
    return best, ratios[best]


# TF32 leaves no grid. Of a whole trace it is found from the errors of its products; a part is compared as it.
PRODUCTS = {
    "tf32": re.compile(r"\.(conv\w*|proj_in|proj_out|to_[qkv]|fc[12]|[qkv]_proj)(\.mole\.base)?$"),
    "cudnn": re.compile(r"\.(conv1|conv2|conv_in|conv_out)$"),
}


def shows_products(compute, names):
    return compute in PRODUCTS and sum(bool(PRODUCTS[compute].search(n)) for n in names) >= 8


# ---- trials --------------------------------------------------------------------------------------


def judge_right(answer, compute, kind):
    text = right.judge(answer)
    if text:
        return "failed", text
    budget = answer.report["budget"]["name"]
    if kind == "all" and compute in ("f16", "bf16") and not budget.startswith(compute):
        return "failed", f"is taken for {budget}"
    names = [row["name"] for row in answer.report["rows"]]
    noticed = any("computed in TF32" in note for note in answer.report["notes"])
    if kind == "all" and shows_products(compute, names) and not noticed:
        return "failed", "nobody noticed TF32"
    return "passed", ""


def judge_wrong(answer, case, mutant, compute):
    tap, times = strongest(mutant, case, compute)
    if answer.code not in (0, 1):
        return "failed", f"exit code {answer.code}: {answer.errors}"
    if answer.code == 0:
        if times > SAFETY:
            return "failed", f"missed: {times:.3g} times what {compute} resolves at {tap}"
        return "passed", f"not resolved: {times:.3g} times what {compute} resolves at {tap}"
    culprit = answer.culprit["name"] if answer.culprit else None
    if culprit not in faults(mutant, case):
        return "failed", f"accuses {culprit}, which the mutant does not alter"
    return "passed", f"named {culprit}"


def run(mole, seed, base, group, keep):
    mutant, case, compute = base
    tensors = common.trace_of(case, "f32", "blas", mutant, compute)
    known = common.case_of(case).names()
    for index, kind, stored in group:
        rng = common.chance(seed, "types", index)
        inputs = "none" if mutant else rng.choice(cuts.INPUTS)
        what = f"{mutant or 'right'} in {case} {compute} stored as {stored}, {kind}, .in {inputs}"
        kept = cuts.cut(kind, inputs, list(tensors), known, rng)
        if kept is None:
            yield Result(index, what, "skipped", f"{case} has no taps of kind {kind}", (kind,))
            continue
        with keep(index) as path:
            common.write(path, {n: tensors[n] for n in kept}, stored)
            held = [n for n in kept if n in known]
            told = compute in PRODUCTS and not (kind == "all" and shows_products(compute, held))
            answer = common.compare(mole, case, path, *(["--budget", "tf32"] if told else []))
            if mutant:
                state, text = judge_wrong(answer, case, mutant, compute)
            else:
                state, text = judge_right(answer, compute, kind)
            if state == "failed":
                path.keep()
        sort = "wrong " + text.split(":")[0].split(" ")[0] if mutant else f"right stored as {stored}"
        yield Result(index, what, state, text, (compute, f"{compute} {sort}"))


# ---- the table -----------------------------------------------------------------------------------

# One of each kind, from the smallest faults to the largest; --full shows all.
SHOWN = (
    "groupnorm-eps-transformer", "layernorm-eps", "eps-outside-root", "variance-unbiased", "geglu-tanh",
    "geglu-quick", "clip-gelu", "conv-kernel-transposed", "nhwc-flatten", "timestep-sin-first",
    "attention-scale-of-all-heads", "alpha-not-divided", "gate-softmax", "upsample-half-pixel",
)  # fmt: skip


def table_rows(full):
    return [(m.name,) for m in mutants.MUTANTS if full or m.name in SHOWN]


def row_of(mole, mutant, out):
    """One mutant -> (name, tap, fault relative to the tensor, [(type, resolution, exit code, broken)])."""
    m = mutants.BY_NAME[mutant]
    names, cells = common.case_of(m.case).names(), []
    tap, _ = strongest(mutant, m.case, "f32")
    scale = common.root_mean_square(right_taps(m.case)[tap])
    for compute in TYPES:
        tensors = common.trace_of(m.case, "f32", "blas", mutant, compute)
        with common.Keeper(out / f"{mutant}-{compute}.safetensors") as path:
            common.write(path, {n: x for n, x in tensors.items() if n in names})
            answer = common.compare(mole, m.case, path)
        state, text = judge_wrong(answer, m.case, mutant, compute)
        broken = f"{mutant} {compute}: {text}" if state == "failed" else None
        cells.append((compute, resolution(m.case, compute)[tap] / scale, answer.code, broken))
    return mutant, tap, faults(mutant, m.case)[tap] / scale, cells


def figure(x):
    return f"{x:.1e}" if np.isfinite(x) else "other shape"


def table(rows):
    """(the rows as Markdown, what they break)"""
    types = " | ".join(f"{t} resolves | noticed" for t in TYPES)
    lines = [
        f"| mutant | tap where it stands out most | fault | {types} |",
        "|---|---|---|" + "---|---|" * len(TYPES),
    ]
    for mutant, tap, fault, cells in rows:
        said = " | ".join(f"{r:.1e} | {'yes' if code == 1 else 'no'}" for _, r, code, _ in cells)
        lines.append(f"| `{mutant}` | `{tap}` | {figure(fault)} | {said} |")
    for compute, *_ in rows[0][3]:
        codes = [code for _, _, _, cells in rows for t, _, code, _ in cells if t == compute]
        lines.append(f"| noticed in {compute} | | | {codes.count(1)} of {len(codes)} |" + " |" * 5)
    return lines, [b for *_, cells in rows for *_, b in cells if b]
