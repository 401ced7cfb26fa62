"""Property A: a right port is never accused, whatever it dumps.

One trial: a golden case, a precision, an order of summation, a kind of cut, with or without NAME.in.
The unaltered port's trace, cut so, must agree: exit code 0, and no row that failed.
"""

import nn
import property_common as common
import property_cuts as cuts
from property_common import Result

LONG = ("run-50-mole",)  # of these only the fast order
ROUNDS = 3  # of every kind of cut, where the case holds every tap; of a pipeline, which holds few, one
QUICK = 6  # trials of each trace, in a sample


def bases():
    """(case, precision, order) of every trace that is cut."""
    for name in common.case_folders():
        for precision in ("f32", "f64"):
            for order in ["blas"] if name in LONG else nn.ORDERS:
                yield name, precision, order


def rounds(case):
    return 1 if common.case_of(case).component == "pipeline" else ROUNDS


def trials(full, count, rng):
    """Groups of trials that share a trace: [(base, [(index, kind, inputs)])]. A trial's own chance
    comes from the seed and its index, so that it can be run alone."""
    everything = [(b, k) for b in bases() for _ in range(rounds(b[0])) for k in cuts.KINDS]
    groups = {}
    for index, (base, kind) in enumerate(everything):
        groups.setdefault(base, []).append((index, kind, cuts.INPUTS[index % len(cuts.INPUTS)]))
    return list(groups.items()) if full else common.sample(groups, count, rng, QUICK)


def judge(answer):
    """What is wrong with the answer to a right trace, or None."""
    if answer.code not in (0, 1):
        return f"exit code {answer.code}: {answer.errors}"
    wrong = answer.rows("differs", "shape", "not-finite")
    if answer.code == 0 and not wrong and not answer.culprit:
        return None
    row = (wrong or answer.rows("suspicious", "inherited") or [{}])[0]
    figures = ", ".join(f"{k} {row[k]:.2f}" for k in ("ratio", "isolated_ratio", "bound_used")
                        if isinstance(row.get(k), float))  # fmt: skip
    return f"{len(wrong)} accused of {answer.report['compared']}, first {row.get('name')} ({figures})"


def run(mole, seed, base, group, keep):
    """The trials of one trace -> results."""
    case, precision, order = base
    tensors = common.trace_of(case, precision, order)
    known = common.case_of(case).names()
    for index, kind, inputs in group:
        rng = common.chance(seed, "right", index)
        kept = cuts.cut(kind, inputs, list(tensors), known, rng)
        what = f"{case} {precision} {order} {kind}, .in {inputs}"
        if kept is None:
            yield Result(index, what, "skipped", f"{case} has no taps of kind {kind}", (kind,))
            continue
        with keep(index) as path:
            common.write(path, {n: tensors[n] for n in kept})
            wrong = judge(common.compare(mole, case, path))
            if wrong:
                path.keep()
        yield Result(index, what, "failed" if wrong else "passed", wrong or "", (kind, f"{case} {precision}"))
