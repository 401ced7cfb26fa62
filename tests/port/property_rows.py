"""Property E: a port that runs the rows of a batch one after the other is judged by the row that it dumped.

One trial: a golden case whose taps have a batch, a mutant or the right port, a precision, a cut, a row, and
whether axis 0 is dumped with it. The right port agrees. A wrong one is noticed where the whole trace shows its
fault in numbers of this row: where the first wrong tap of the whole is off there by more than ten limits.
A cut in which no tensor tells the rows apart is skipped: nobody can know which row it is.
"""

import property_common as common
import property_cuts as cuts
import property_right as right
import property_wrong as wrong
from property_common import LIMIT, Result

QUICK = 4
APART = 0.05  # of a tensor's deviation: rows that differ by more tell which of them is there


def bases():
    """(mutant or None, case, precision)"""
    for name in ("unet-step", "unet-mole", "sd21-unet-mole", "text-encoder", "run-5-mole"):
        for precision in ("f32", "f64"):
            yield None, name, precision
    for mutant, case, precision in wrong.bases():
        if case in ("unet-step", "unet-mole", "sd21-unet-mole"):
            yield mutant, case, precision


def trials(full, count, rng):
    groups, index = {}, 0
    for base in bases():
        for _ in range(4 if base[0] else 20):
            groups.setdefault(base, []).append((index,))
            index += 1
    return list(groups.items()) if full else common.sample(groups, count, rng, QUICK)


def batch_of(tensors):
    """The rows of most tensors."""
    sizes = [t.shape[0] for t in tensors.values() if t.ndim]
    return max(set(sizes), key=sizes.count)


def tells(t):
    """Its rows are not alike."""
    return common.root_mean_square(t - t.mean(0)) > APART * t.std() > 0


def one_row(tensors, batch, row, axis):
    cut = slice(row, row + 1) if axis else row
    return {n: t[cut] if t.ndim and t.shape[0] == batch else t for n, t in tensors.items()}


def seen_in(row, answer, tensors, exact):
    """Whether the first wrong tap of the whole trace is beyond doubt in this row."""
    found = next(r for r in answer.report["rows"] if r["verdict"] == "differs")
    name = found["name"]
    if name not in tensors or name not in exact or not found["isolated"]:
        return False
    error = common.root_mean_square(tensors[name][row].astype(float) - exact[name][row])
    unit = found["cumulative"]["rms"] / max(found["ratio"] or 0, 1e-9)
    return bool(found["ratio"]) and error > 10 * LIMIT * unit


def text_of(code, wrong_port, answer):
    if not wrong_port:
        return right.judge(answer)
    return None if answer.code == code else f"exit code {answer.code}, not {code}: {answer.errors}"


def run(mole, seed, base, group, keep):
    mutant, case, precision = base
    whole = common.trace_of(case, precision, "blas", mutant)
    exact = common.trace_of(case, "f64", "blas")
    known = common.case_of(case).names()
    batch = batch_of({n: t for n, t in whole.items() if n in known})
    for (index,) in group:
        rng = common.chance(seed, "rows", index)
        kind = "all" if rng.random() < 0.4 else rng.choice(list(cuts.KINDS))
        row, axis = rng.randrange(batch), rng.random() < 0.5
        what = f"{mutant} in {case} {precision} {kind}, row {row} of {batch}{'' if axis else ', without axis 0'}"
        kept = cuts.cut(kind, rng.choice(cuts.INPUTS), list(whole), known, rng)
        tensors = {n: whole[n] for n in kept or ()}
        rows = [n for n in tensors if n in known and tensors[n].ndim and tensors[n].shape[0] == batch]
        if batch < 2 or not any(exact[n].shape == tensors[n].shape and tells(exact[n]) for n in rows):
            yield Result(index, what, "skipped", "no tensor tells the rows apart", ("skipped",))
            continue
        with keep(index) as path:
            common.write(path, tensors)
            plain = common.compare(mole, case, path)
            if mutant and not (plain.differs and seen_in(row, plain, tensors, exact)):
                yield Result(index, what, "skipped", "the fault does not show in this row", ("skipped",))
                continue
            common.write(path, one_row(tensors, batch, row, axis))
            text = text_of(plain.code, mutant, common.compare(mole, case, path))
            if text:
                path.keep()
        yield Result(index, what, "failed" if text else "passed", text or "", (f"row {row}", case))
