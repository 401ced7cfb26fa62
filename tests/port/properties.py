"""Properties of `mole compare`: what must hold for any trace, tried on random ones.

    python3 tests/port/properties.py                     a sample: about a minute
    python3 tests/port/properties.py --full              all: 2,000 right traces, 1,000 wrong ones and more
    python3 tests/port/properties.py --only wrong --trial 17 --seed 1     one trial again

  right    a right port is never accused, whatever it dumps (property_right.py)
  wrong    a visible fault is noticed, and lies in the accused stretch (property_wrong.py)
  forms    layouts, types and names of the tensors change no verdict (property_forms.py)
  layouts  ways to store images, tokens and rows, mixed, under other names too (property_layouts.py)
  rows     one row of a batch, as a port dumps it that runs them one by one (property_rows.py)
  types    right and wrong of ports that compute in float16, bfloat16, tf32 (property_types.py)

The NumPy port of this folder makes the traces. A trial that fails leaves its trace in --out, and prints
the command that runs it again. Status: 0 all hold, 1 not all, 2 usage.
"""

import argparse
import os
import random
import sys
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before NumPy is loaded: trials run side by side

import property_common as common  # noqa: E402
import property_forms as forms  # noqa: E402
import property_layouts as layouts  # noqa: E402
import property_right as right  # noqa: E402
import property_rows as rows  # noqa: E402
import property_types as types  # noqa: E402
import property_units as units  # noqa: E402
import property_wrong as wrong  # noqa: E402

PROPERTIES = {"right": right, "wrong": wrong, "forms": forms, "layouts": layouts, "rows": rows, "types": types}
QUICK = {"right": 150, "wrong": 100, "forms": 60, "layouts": 60, "rows": 40, "types": 60}
TABLES = {"types": types, "units": units}  # modules with table_rows, row_of and table
KEPT = 20  # traces of failed trials that stay, per property


def arguments(argv):
    p = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("--mole", default=str(common.ROOT / "build/cc/mole"), help="the program to test")
    p.add_argument("--only", choices=PROPERTIES, action="append", help="this property (repeatable)")
    p.add_argument("--full", action="store_true", help="every trial")
    p.add_argument("--count", type=int, metavar="N", help="so many trials of each property")
    p.add_argument("--trial", type=int, metavar="N", help="this trial alone, with --only")
    p.add_argument("--base", default="", metavar="TEXT", help="trials on traces with this in their description: a case")
    p.add_argument("--match", default="", metavar="TEXT", help="trials with this in their line")
    p.add_argument("--seed", default="1")
    p.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    p.add_argument("--out", default=str(common.ROOT / "out/properties"), metavar="DIR")
    p.add_argument("--table", choices=TABLES, help="print this table instead, as Markdown (types: --full for every mutant)")
    p.add_argument("-v", "--verbose", action="store_true", help="a line for every trial")
    a = p.parse_args(argv)
    if a.trial is not None and len(a.only or ()) != 1:
        p.error("--trial needs one --only")
    if not Path(a.mole).exists():
        p.error(f"{a.mole} is missing: run make, or say --mole FILE")
    a.mole = str(Path(a.mole).resolve())
    return a


def groups_of(name, a):
    """The groups of trials that were asked for."""
    prop, rng = PROPERTIES[name], random.Random(f"{a.seed}/{name}")
    everything = a.full or a.trial is not None
    groups = prop.trials(everything, a.count or QUICK[name], rng)
    if a.trial is not None:
        groups = [(b, [t for t in g if t[0] == a.trial]) for b, g in groups]
    return [(base, group) for base, group in groups if group and a.base in " ".join(map(str, base))]


def work(job):
    """In a worker: one group -> its results."""
    name, mole, seed, base, group, out = job

    def keep(index):
        return common.Keeper(Path(out) / f"{name}-{index}.safetensors")

    return list(PROPERTIES[name].run(mole, seed, base, group, keep))


def again(name, a, result):
    only = f"--only {name} --trial {result.index} --seed {a.seed}"
    return f"python3 tests/port/properties.py {only}"


def say(name, a, r):
    """A line for one trial, if it failed or all are to be seen."""
    if a.match in r.what and (a.verbose or r.state == "failed"):
        print(f"{r.state} {name} {r.index}: {r.what}: {r.text}", flush=True)
    if a.match in r.what and r.state == "failed":
        print(f"    {again(name, a, r)}", flush=True)


def report(name, a, results):
    """Print the table of counts; returns the number of each state."""
    failed = [r for r in results if r.state == "failed"]
    for r in failed[KEPT:]:
        (Path(a.out) / f"{name}-{r.index}.safetensors").unlink(missing_ok=True)
    table = {}
    for r in results:
        for group in r.groups:
            table.setdefault(group, Counter())[r.state] += 1
    for group, states in sorted(table.items()):
        print(f"{name}: {group}: " + ", ".join(f"{n} {s}" for s, n in sorted(states.items())))
    return Counter(r.state for r in results)


def row(job):
    """In a worker: one row of a table."""
    name, mole, arguments_of_row, out = job
    return TABLES[name].row_of(mole, *arguments_of_row, Path(out))


def print_table(a):
    jobs = [(a.table, a.mole, r, a.out) for r in TABLES[a.table].table_rows(a.full)]
    with ProcessPoolExecutor(a.jobs) as workers:
        lines, broken = TABLES[a.table].table(list(workers.map(row, jobs)))
    print("\n".join(lines))
    for line in broken:
        print(line, file=sys.stderr)
    return 1 if broken else 0


def main(argv):
    a = arguments(argv)
    Path(a.out).mkdir(parents=True, exist_ok=True)
    if a.table:
        return print_table(a)
    total = Counter()
    with ProcessPoolExecutor(a.jobs) as workers:
        for name in a.only or PROPERTIES:
            jobs = [(name, a.mole, a.seed, b, g, a.out) for b, g in groups_of(name, a)]
            results = []
            for done in as_completed([workers.submit(work, job) for job in jobs]):
                for r in done.result():
                    say(name, a, r)
                    results.append(r)
            results = [r for r in results if a.match in r.what]
            total += report(name, a, sorted(results, key=lambda r: r.index))
            if not results:
                print(f"no trial of {name} fits")
                total["failed"] += 1
    print(f"{total['passed']} passed, {total['failed']} failed, {total['skipped']} skipped")
    return 1 if total["failed"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
