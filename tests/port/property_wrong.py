"""Property B: a wrong port is noticed where its fault is visible, and the accused stretch holds the fault.

One trial: a mutant, a golden case, a precision, a kind of cut. Three runs of the port in float64 say what
is true of this dump, independently of the comparator:

  visible   on some dumped tap of the case the mutant is further from the right port than the limit times
            the tap's unit, times two for safety
  alone     right port with every dumped tap, once computed, replaced by the mutant's: where it had
            computed another tensor, the mutant is wrong between that tap and the dumped ones before it
  altered   the same with all taps in the place of the dumped ones: the layers that the mutant alters

Visible: exit code 1. Noticed: the culprit is in `alone`, and it or a tap of its stretch's `between` in
`altered`. `between` holds no dumped tap, and `from` is one.
"""

import functools

import cases
import mutants
import numpy as np
import property_common as common
import property_cuts as cuts
from property_common import LIMIT, SAFETY, Result

PICTURE = "run-5-mole"  # shows every mutant but one
FULL = {"f32": 8, "f64": 2}  # trials of each mutant and case
QUICK = 8  # trials of each trace, in a sample

EQUAL = 1e-11  # of a tensor's scale: beyond it two float64 tensors are not the same


def bases():
    """(mutant, case, precision)"""
    for m in mutants.MUTANTS:
        for case in dict.fromkeys((m.case, PICTURE)):
            for precision in FULL:
                yield m.name, case, precision


def trials(full, count, rng):
    everything = [base for base in bases() for _ in range(FULL[base[2]])]
    kinds, groups = list(cuts.KINDS), {}
    for index, base in enumerate(everything):
        kind = kinds[(index * 7 + index // len(kinds)) % len(kinds)]
        groups.setdefault(base, []).append((index, kind, cuts.INPUTS[index % len(cuts.INPUTS)]))
    return list(groups.items()) if full else common.sample(groups, count, rng, QUICK)


def differ(a, b):
    """Whether two float64 tensors are not the same function's."""
    if a.shape != b.shape:
        return True
    scale = np.abs(b).max() if b.size else 0
    return bool(np.abs(a - b).max() > EQUAL * scale) if b.size else False


def views(case, dumped):
    """What a comparator may start from: all that was dumped; of a pipeline, whose case holds few taps,
    those alone; those and every NAME.in."""
    known = common.case_of(case).names()
    held = [n for n in dumped if owner(n) in known]
    fed = [n for n in dumped if n in known or cuts.is_input(n)]
    return {frozenset(dumped), frozenset(held), frozenset(fed)}


def wrong_alone(case, mutated, dumped):
    """Names of `dumped` at which the right port, started from the mutant's dumped tensors, disagrees."""
    golden, found = common.case_of(case), set()
    for view in views(case, dumped):
        forced = {n: mutated[n] for n in view}
        inputs = any(map(cuts.is_input, view))
        trace = cases.run(golden, "f64", inputs=inputs, wanted=view, forced=forced).tensors
        found |= {n for n in trace if differ(trace[n], mutated[n])}
    return found


@functools.lru_cache(maxsize=4)
def altered_by(mutant, case):
    """The taps and inputs that the mutant alters itself, seen by all taps, with NAME.in and without."""
    mutated = common.trace_of(case, "f64", "blas", mutant)
    outputs = [n for n in mutated if not cuts.is_input(n)]
    return frozenset(wrong_alone(case, mutated, outputs) | wrong_alone(case, mutated, list(mutated)))


def visible_at(case, precision, mutated, dumped):
    """(tap, times the limit) where the fault shows most among the dumped taps that the case holds."""
    truth, units, best = common.truth_of(case), common.units_of(case), (None, 0.0)
    for n in dumped:
        if n not in units:
            continue
        if mutated[n].shape != truth[n].shape:
            return n, np.inf
        error = common.root_mean_square(mutated[n] - truth[n])
        unit = units[n].at(precision)
        ratio = error / (LIMIT * unit) if unit else (np.inf if error else 0.0)
        best = max(best, (n, ratio), key=lambda pair: pair[1])
    return best


def check_stretch(answer, dumped, altered):
    """What is wrong with the accused stretch, or None."""
    culprit = answer.culprit["name"]
    stretch = answer.culprit.get("stretch")
    if stretch is None:
        return None if culprit in altered else f"accuses {culprit} and names no stretch"
    between = set(stretch["between"])
    if stretch["to"] != culprit:
        return f"accuses {culprit} and a stretch to {stretch['to']}"
    if between & dumped:
        return f"{sorted(between & dumped)[0]} is dumped, and said to lie within the stretch"
    if stretch["from"] is not None and stretch["from"] not in dumped:
        return f"{stretch['from']} is not dumped, and said to be the last before the stretch"
    if not altered & (between | {culprit, owner(culprit)}):
        return f"the stretch to {culprit} holds no altered layer ({len(between)} between)"
    return None


def owner(name):
    return name[: -len(".in")] if cuts.is_input(name) else name


def judge(answer, case, mutant, precision, kept):
    """(state, text): what the answer to a wrong trace is worth."""
    mutated = common.trace_of(case, "f64", "blas", mutant)
    tap, times = visible_at(case, precision, mutated, kept)
    if answer.code not in (0, 1):
        return "failed", f"exit code {answer.code}: {answer.errors}"
    if answer.code == 0:
        if times > SAFETY:
            return "failed", f"missed: {times:.3g} times the limit at {tap}"
        return "passed", f"not visible: at most {times:.3g} times the limit"
    if not answer.culprit:
        return "failed", "exit code 1 without a culprit"
    culprit = answer.culprit["name"]
    alone = {owner(n) for n in wrong_alone(case, mutated, kept)}
    if owner(culprit) not in alone:
        return "failed", f"accuses {culprit}, which is right for what was dumped before it"
    wrong = check_stretch(answer, set(kept), altered_by(mutant, case))
    return ("failed", wrong) if wrong else ("passed", f"named {culprit}")


def run(mole, seed, base, group, keep):
    mutant, case, precision = base
    tensors = common.trace_of(case, precision, "blas", mutant)
    known = common.case_of(case).names()
    for index, kind, inputs in group:
        rng = common.chance(seed, "wrong", index)
        kept = cuts.cut(kind, inputs, list(tensors), known, rng)
        what = f"{mutant} in {case} {precision} {kind}, .in {inputs}"
        if kept is None:
            yield Result(index, what, "skipped", f"{case} has no taps of kind {kind}", (kind,))
            continue
        with keep(index) as path:
            common.write(path, {n: tensors[n] for n in kept})
            answer = common.compare(mole, case, path)
            state, text = judge(answer, case, mutant, precision, common.compared(kept, answer))
            if state == "failed":
                path.keep()
        sort = text.split(":")[0].split(" ")[0]
        yield Result(index, what, state, text, (precision, f"{precision} {sort}"))
