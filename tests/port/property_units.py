"""Property E: how small a fault each case still sees.

For each case and precision the right port is compared, and of every tap

    limit x unit / rms(truth)

is taken: a fault smaller than this, relative to the tensor, passes as rounding. Isolated: what a module
may do wrong itself; cumulative: with all that it inherits. `unit` is what the comparator weighs by,
read from its report.
"""

import numpy as np
import property_common as common

PRECISIONS = ("f32", "f64")
LONG = ("run-50-mole",)
LIMIT_OF = {"isolated": "isolated_ratio", "cumulative": "ratio"}


def unit_in(row, which):
    """The unit that a row's error was divided by, or None where nothing was divided."""
    if which == "isolated" and row.get("unit"):
        return row["unit"]
    ratio, diff = row[LIMIT_OF[which]], row[which]
    if not isinstance(ratio, float) or not diff or not ratio or not isinstance(diff["rms"], float):
        return None
    return diff["rms"] / ratio


def smallest(report, which):
    """limit x unit / rms of every tap whose unit is known."""
    found = []
    for row in report["rows"]:
        unit = unit_in(row, which)
        if unit is not None and row[which]["truth_rms"]:
            found.append(common.LIMIT * unit / row[which]["truth_rms"])
    return found


def table_rows(_full):
    return [(case, p) for case in common.case_folders() if case not in LONG for p in PRECISIONS]


def row_of(mole, case, precision, out):
    """(case, precision, {which: (taps, median, worst)})"""
    tensors = common.trace_of(case, precision)
    names = common.case_of(case).names()
    with common.Keeper(out / f"units-{case}-{precision}.safetensors") as path:
        common.write(path, {n: x for n, x in tensors.items() if n in names})
        report = common.compare(mole, case, path).report
    found = {which: smallest(report, which) for which in LIMIT_OF}
    return case, precision, {
        w: (len(v), float(np.median(v)), max(v)) if v else (0, None, None) for w, v in found.items()
    }


def figure(x):
    return "-" if x is None else f"{x:.1e}"


def table(rows):
    """(the rows as Markdown, what they break)"""
    lines = [
        "| case | type | isolated, median | worst | cumulative, median | worst |",
        "|---|---|---|---|---|---|",
    ]
    for case, precision, found in rows:
        cells = [figure(x) for w in LIMIT_OF for x in found[w][1:]]
        lines.append(f"| {case} | {precision} | " + " | ".join(cells) + " |")
    return lines, [f"{case} {p}: no units" for case, p, found in rows if not found["cumulative"][0]]
