"""The mutant gallery by statistics: what is noticed, and where, when no tensor was kept.

  python3 tests/port/gallery_statistics.py --mole build/cc/mole --write docs/resolution.md    the table anew
  python3 tests/port/gallery_statistics.py --mole build/cc/mole --check docs/resolution.md    is it still true?

Each wrong port of mutants.py dumps its trace in float32, `mole inspect --statistics` makes statistics of it, and
`mole compare` is given these in three forms (FORMS). The tap that is named first is the mutant's culprit, right
behind it (at most NEAR taps), or later; a tap before the culprit would be an untrue sentence, and fails. So do
statistics of the right port, in every order of summation, if they raise an alarm. `make gallery` holds whole traces
to the same.
"""

import argparse
import json
import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import gallery  # noqa: E402
import mutants  # noqa: E402
from nn import ORDERS  # noqa: E402

# What of the statistics is kept.
FORMS = {
    "statistics and values": {"mean", "deviation", "min", "max", "norm", "values"},
    "statistics without values": {"mean", "deviation", "min", "max", "norm"},
    "mean, min, max, norm (msprobe)": {"mean", "min", "max", "norm"},
}
ALWAYS = {"name", "dtype", "shape"}
NEAR = 4
PLACES = ("culprit", "right behind", "later", "unnoticed", "before")
BEGIN, END = "<!-- table: tests/port/gallery_statistics.py -->", "<!-- end of table -->"


def statistics_of(mole, trace):
    """The taps that `mole inspect --statistics` writes."""
    code, out, err = gallery.run([mole, "inspect", "--statistics", str(trace)])
    if code:
        raise RuntimeError(err.strip())
    return json.loads(out)["taps"]


def kept(taps, fields):
    """Of each tap these fields."""
    return {"taps": [{key: tap[key] for key in tap if key in fields | ALWAYS} for tap in taps]}


def place_of(report, expected):
    """Where the first tap that is named lies, of the case's taps, seen from the expected one."""
    if not report["culprit"]:
        return "unnoticed"
    names = [row["name"] for row in report["rows"] if row["candidate_name"]]
    behind = names.index(report["culprit"]["name"]) - names.index(expected)
    if behind < 0:
        return "before"
    return "culprit" if behind == 0 else "right behind" if behind <= NEAR else "later"


def compare_forms(mole, case, trace):
    """The report on each form of the trace's statistics."""
    taps = statistics_of(mole, trace)
    for form, fields in FORMS.items():
        path = trace.with_suffix(".statistics.json")
        path.write_text(json.dumps(kept(taps, fields)))
        yield form, gallery.compare(mole, case, path)


def judge(mole, mutant, scratch):
    trace = scratch / f"{mutant.name}.safetensors"
    gallery.port(trace, mutant.case, "f32", "--mutant", mutant.name)
    places = {form: place_of(report, mutant.culprit)
              for form, (report, _) in compare_forms(mole, mutant.case, trace)}
    trace.unlink()
    return mutant.name, places


def right_ports(mole, scratch):
    """(case, dtype, order, form, agrees) of the unaltered port."""
    for case in gallery.CLEAN:
        for dtype in ("f64", "f32"):
            for order in ORDERS:
                trace = scratch / f"right-{case}-{dtype}-{order}.safetensors"
                gallery.port(trace, case, dtype, "--order", order)
                for form, (_, code) in compare_forms(mole, case, trace):
                    yield case, dtype, order, form, code == 0
                trace.unlink()


def table(rows, right):
    """The lines between the marks."""
    total, whole = len(rows), f"{len(rows)} of {len(rows)}"
    lines = [
        "| compared | noticed | culprit named | right behind it | later |",
        "|---|---|---|---|---|",
        f"| whole tensors ([mutants.md](mutants.md)) | {whole} | {whole} | 0 | 0 |",
    ]
    for form in FORMS:
        count = Counter(places[form] for _, places in rows)
        noticed = total - count["unnoticed"]
        lines.append(f"| {form} | {noticed} of {total} | {count['culprit']} of {total} | "
                     f"{count['right behind']} | {count['later']} |")
    lines.append("")
    for form in FORMS:
        for place in ("later", "unnoticed"):
            names = [name for name, places in rows if places[form] == place]
            if names:
                lines.append(f"* {form}, {place}: " + ", ".join(f"`{name}`" for name in names))
    agree = sum(good for *_, good in right)
    lines += ["", f"The unaltered port raises no alarm in {agree} of {len(right)} comparisons "
              f"({len(ORDERS)} orders of summation, both precisions, {len(gallery.CLEAN)} cases, "
              f"{len(FORMS)} forms)."]
    return "\n".join(lines)


def placed(path, text):
    """The page with the table between its marks."""
    page = Path(path).read_text()
    before, rest = page.split(BEGIN)
    return f"{before}{BEGIN}\n{text}\n{END}{rest.split(END, 1)[1]}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--mole", default="build/cc/mole", help="the program to test")
    parser.add_argument("--only", metavar="NAME", help="mutants whose name holds this")
    parser.add_argument("--write", metavar="FILE", help="write the table")
    parser.add_argument("--check", metavar="FILE", help="fail unless the table is that of FILE")
    parser.add_argument("--jobs", type=int, default=2)
    args = parser.parse_args()
    mole = str(Path(args.mole).resolve())
    chosen = [m for m in mutants.MUTANTS if not args.only or args.only in m.name]
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(args.jobs) as workers:
        scratch = Path(folder)
        rows = list(workers.map(lambda m: judge(mole, m, scratch), chosen))
        right = [] if args.only else list(right_ports(mole, scratch))
    for name, places in rows:
        print(f"{name}: " + ", ".join(places[form] for form in FORMS))
    broken = [f"{name}, {form}: a tap before the culprit is named"
              for name, places in rows for form in FORMS if places[form] == "before"]
    broken += [f"false alarm: {' '.join(what)}" for *what, good in right if not good]
    text = table(rows, right)
    if args.write:
        Path(args.write).write_text(placed(args.write, text))
    if args.check and placed(args.check, text) != Path(args.check).read_text():
        broken.append(f"{args.check}: the table is another one; --write writes it")
    print(text, *broken, sep="\n")
    print(f"{len(rows) + len(right) - len(broken)} passed, {len(broken)} failed, 0 skipped")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
