"""Proves the table of mutants.py: python3 tests/port/check_mutants.py [NAME...]

Each mutant is run on its case in float64 and compared with the case's truth: it must change
something, and the first tap that differs by more than 1e-9 of its scale must be the one that the
table names. Where the case holds fewer taps than the run records, the same for the right port's own
full trace. In float32 the first tap whose error is more than 8 times PyTorch's own (what the right
port stays below in every careful order of summation, see check_golden.py) must be the same one. Every
switch in the code must be in the table and the reverse. Status 1 when anything is not as stated.
"""

import glob
import os
import re
import sys

import numpy as np

import cases
import mutants
from check_golden import WORST, ratio

LIMIT = 1e-9
HERE = os.path.dirname(os.path.abspath(__file__))


def relative(candidate, truth):
    scale = np.abs(truth).max()
    return np.abs(candidate - truth).max() / (scale if scale else 1)


def first_wrong(got, truth):
    """(name, relative difference) of the first differing tap, in the truth's order; missing ones do
    not count: a porter may not have dumped them."""
    for name, values in truth.items():
        if name in got and got[name].shape == values.shape and relative(got[name], values) > LIMIT:
            return name, relative(got[name], values)
    return None, 0.0


class Bench:
    """Truths and full traces, each read or computed once."""

    def __init__(self):
        self.cases, self.full = {}, {}

    def case(self, name):
        if name not in self.cases:
            self.cases[name] = cases.Case(os.path.join(HERE, "../../golden/runs", name))
        return self.cases[name]

    def full_trace(self, name):
        if name not in self.full:
            self.full = {name: cases.run(self.case(name)).tensors}  # one at a time: they are large
        return self.full[name]

    def first_wrong_f32(self, m):
        """(name, ratio to PyTorch's error): the same in float32, with another measure."""
        case = self.case(m.case)
        got = cases.run(case, "f32", mutant=m.name, wanted=case.names()).tensors
        for name, (truth, error) in case.truth().items():
            if name in got and ratio(got[name], truth, error) > WORST:
                return name, ratio(got[name], truth, error)
        return None, 0.0

    def check(self, m):
        case = self.case(m.case)
        truth = {name: values for name, (values, _) in case.truth().items()}
        trace = cases.run(case, mutant=m.name, wanted=None if m.inside else case.names()).tensors
        changed = max((relative(trace[n], truth[n]) for n in truth if n in trace), default=0)
        found, by = first_wrong(trace, truth)
        found32, by32 = self.first_wrong_f32(m)
        good = found == found32 == m.culprit
        inside = ""
        if m.inside:
            inside, _ = first_wrong(trace, self.full_trace(m.case))
            good = good and inside == m.inside
        mark = "" if good else "   <- NOT AS STATED"
        if found32 != found:
            mark += f" (float32: {found32})"
        figures = f"{by:8.1e} {changed:8.1e} {by32:8.1e}"
        print(f"{m.name:28} {m.case:16} {figures}  {found} {inside}{mark}", flush=True)
        return good


def check_switches():
    """The names in mutant("...") of the port's files, against the table."""
    used = set()
    for path in glob.glob(os.path.join(HERE, "*.py")):
        if os.path.basename(path) not in ("mutants.py", "check_mutants.py"):
            with open(path, encoding="utf-8") as file:
                used |= set(re.findall(r'mutant\("([a-z0-9-]+)"\)', file.read()))
    odd = sorted(used ^ set(mutants.BY_NAME))
    if odd:
        print(f"in the code or in the table only: {', '.join(odd)}")
    for m in mutants.MUTANTS:
        assert m.cause in mutants.CAUSES, f"{m.name}: cause {m.cause}"
    assert len(mutants.BY_NAME) == len(mutants.MUTANTS), "two mutants of one name"
    return not odd


def main():
    names = sys.argv[1:] or [
        m.name for m in sorted(mutants.MUTANTS, key=lambda m: (m.inside == "", m.case))
    ]
    bench = Bench()
    print(
        f"{'mutant':28} {'case':16} there    at most  float32   first wrong (and in a full trace)"
    )
    good = [check_switches()] + [bench.check(mutants.BY_NAME[name]) for name in names]
    print(f"{sum(good) - good[0]} of {len(names)} mutants as stated")
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
