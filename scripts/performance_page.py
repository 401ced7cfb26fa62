#!/usr/bin/env python3
"""docs/performance.md from docs/performance.json, and from nothing else.

    scripts/performance_page.py            write the page and its plots (docs/img/growth-*.svg)
    scripts/performance_page.py --check    are they what the JSON says? Status 1 if not

What the JSON does not hold is called not measured. Only the standard library is used.
"""

import argparse
import os
import sys
import textwrap
from pathlib import Path

import bench_common as common
import growth_plots

GIB, MIB = 2**30, 2**20
NAMES = {
    "text_encoder": "text encoder, batch 2",
    "unet.b1": "UNet step, batch 1",
    "unet.b2": "UNet step, batch 2",
    "unet_mole.b2": "UNet step with experts, batch 2",
    "vae_decoder": "VAE decode",
    "sdxl_unet_mole.b2": "XL's UNet step with experts, batch 2",
}


# ---- words and tables -------------------------------------------------------------------------------


def wrap(words):
    return textwrap.fill(words, 100, break_long_words=False, break_on_hyphens=False)


def table(head, rows):
    """Lines of a table; all columns but the first are numbers."""
    rule = "|---|" + "---:|" * (len(head) - 1)
    return ["| " + " | ".join(head) + " |", rule] + ["| " + " | ".join(r) + " |" for r in rows]


def spread(s, digits=2):
    """Median (least to greatest)."""
    return (
        "-"
        if s is None
        else f"{s['median']:.{digits}f} ({s['min']:.{digits}f} to {s['max']:.{digits}f})"
    )


def figure(x):
    """Three digits that mean something."""
    return "-" if x is None else f"{x:.0f}" if abs(x) >= 100 else f"{x:.3g}"


def sizes(x):
    return "-" if x is None else f"{x / MIB:.0f}"


# ---- goals ------------------------------------------------------------------------------------------


def components(stored):
    return stored.get("torch", {}).get("components", {})


def over_torch(key):
    return lambda stored: components(stored).get(key, {}).get("ratio", {}).get("tuned")


def share(key):
    return lambda stored: components(stored).get(key, {}).get("share")


def one(value):
    return None if value is None else {"median": value, "min": value, "max": value}


def over_weights(key):
    def get(stored):
        c = components(stored).get(key)
        return one(c["peak_rss_bytes"]["mole"] / c["weights_bytes"]["mole"]) if c else None

    return get


def faults(key):
    return lambda stored: one(components(stored).get(key, {}).get("faults", {}).get("mole"))


def run_over_weights(stored):
    r = stored.get("runs", {}).get("512")
    return one(r["peak_rss_bytes"] / r["weights_bytes"]) if r else None


def run_gib(stored):
    r = stored.get("runs", {}).get("1024")
    return one(r["peak_rss_bytes"] / GIB) if r else None


MOST, LEAST = "at most", "at least"
# What, how to find it, in which direction, the goal, the aim (None: no aim beyond), digits.
GOALS = [
    ("UNet, batch 1: GFLOP/s over the matrix product's", share("unet.b1"), LEAST, 0.75, 0.95, 2),
    ("UNet, batch 2: GFLOP/s over the matrix product's", share("unet.b2"), LEAST, 0.75, 0.95, 2),
    ("UNet, batch 1: time over PyTorch's", over_torch("unet.b1"), MOST, 0.85, 0.65, 2),
    ("UNet, batch 2: time over PyTorch's", over_torch("unet.b2"), MOST, 0.85, 0.65, 2),
    (
        "UNet with experts, batch 2: time over PyTorch's",
        over_torch("unet_mole.b2"),
        MOST,
        0.80,
        0.63,
        2,
    ),
    ("VAE decode: time over PyTorch's", over_torch("vae_decoder"), MOST, 1.05, 0.65, 2),
    ("text encoder, batch 2: time over PyTorch's", over_torch("text_encoder"), MOST, 1.0, None, 2),
    ("UNet step, batch 1: peak memory over weights", over_weights("unet.b1"), MOST, 1.20, None, 2),
    ("UNet step, batch 2: peak memory over weights", over_weights("unet.b2"), MOST, 1.20, None, 2),
    ("whole run with experts: peak memory over weights", run_over_weights, MOST, 1.25, None, 2),
    ("UNet, batch 2: page faults per step", faults("unet.b2"), MOST, 1000, 0, 0),
    ("UNet with experts, batch 2: page faults per step", faults("unet_mole.b2"), MOST, 1000, 0, 0),
    ("1024 x 1024 with experts: peak memory, GiB", run_gib, MOST, 24, None, 1),
]


def verdict(value, sense, goal, aim):
    """Of the median."""
    if value is None:
        return "not measured"
    reaches = (lambda g: value >= g) if sense == LEAST else (lambda g: value <= g)
    if aim is not None and reaches(aim):
        return "aim reached"
    return "reached" if reaches(goal) else "**missed**"


def goals(stored):
    rows = []
    for what, get, sense, goal, aim, digits in GOALS:
        found = get(stored)
        single = found is not None and found["min"] == found["max"]
        value = None if found is None else found["median"]
        reached = (
            "-" if found is None else f"{value:.{digits}f}" if single else spread(found, digits)
        )
        rows.append([what, f"{sense} {goal:g}", "" if aim is None else f"{aim:g}", reached])
        rows[-1].append(verdict(value, sense, goal, aim))
    return table(["what", "goal", "aim", "found", ""], rows)


# ---- sections ---------------------------------------------------------------------------------------


def the_machine(stored):
    m, bench = stored.get("machine", {}), stored.get("bench", {}).get("machine", {})
    v, settings = stored.get("torch", {}).get("versions", {}), stored.get("torch", {}).get(
        "settings", {}
    )
    rows = []

    def row(name, value):
        if value:
            rows.append([name, value])

    cpu = [m.get("cpu", ""), m.get("family", ""), ", ".join(m.get("vectors", []))]
    row("processor", ", ".join(x for x in cpu if x))
    row("cores", str(m.get("cores", "")))
    row("caches of a core", ", ".join(m.get("caches", [])))
    row("memory", f"{m['memory_bytes'] / GIB:.1f} GiB" if m.get("memory_bytes") else "")
    row("system", m.get("system"))
    row("matrix products", ", ".join(x for x in (bench.get("blas"), bench.get("kernel")) if x))
    compiler = bench.get("compiler", "")
    row("compiler", f"gcc {compiler}" if compiler[:1].isdigit() else compiler)
    row("threads", str(settings.get("threads", bench.get("threads", ""))))
    if v:
        parts = (
            f"PyTorch {v['torch']}, diffusers {v['diffusers']}, transformers {v['transformers']}"
        )
        row(
            "compared with",
            f"{parts}; its BLAS: {v['blas']}, oneDNN {v['onednn']}, loops for {v['vectors']}",
        )
    if not rows:
        return ["Not measured."]
    return ["| | |", "|---|---|"] + [f"| {name} | {value} |" for name, value in rows]


MEMORY = "Memory in MiB, and minor page faults of one run after the first:"


def against_torch(stored):
    found = components(stored)
    if not found:
        return ["Not measured."]
    times, memory, notes = [], [], []
    for key, c in found.items():
        name, s = NAMES[key], c["seconds"]
        rate = c["gflop"] / s["mole"]["median"]
        mine = [spread(s["mole"]), figure(rate), spread(c["share"])]
        for who in ("tuned", "stock"):
            mine += [figure(s[who]["median"]) if who in s else "-", spread(c["ratio"].get(who))]
        times.append([name, figure(c["gflop"]), str(c["counted"]), *mine])
        peaks = [sizes(c["peak_rss_bytes"].get(who)) for who in ("mole", "tuned", "stock")]
        faulty = [str(c["faults"].get(who, "-")) for who in ("mole", "tuned", "stock")]
        memory.append([name, sizes(c["weights_bytes"]["mole"]), *peaks, *faulty])
        notes += [wrap(f"{name}: {note}.") for note in c["notes"]]
    head = ["", "GFLOP", "rounds", "mole, s", "GFLOP/s", "of the matrix product"]
    head += ["PyTorch tuned, s", "mole over it", "PyTorch stock, s", "mole over it"]
    lines = table(head, times) + ["", MEMORY, ""]
    head = ["", "weights", "peak: mole", "tuned", "stock", "faults: mole", "tuned", "stock"]
    lines += table(head, memory)
    return lines + (["", *notes] if notes else [])


def pairs(results, this, other):
    """Operations measured both ways: (name, this one's result, the other's)."""
    named = {r["name"]: r for r in results}
    for name, r in named.items():
        words = name.split(".")
        if this in words:
            against = named.get(".".join(other if w == this else w for w in words))
            if against:
                yield ".".join(w for w in words if w != this), r, against


def operations(stored):
    results = stored.get("bench", {}).get("results", [])
    names = {
        "unet": f"UNet step, batch {stored.get('bench', {}).get('settings', {}).get('batch', '?')}"
    }
    names["unet_mole"] = names["unet"].replace("step", "step with experts")
    names = {**NAMES, **names}
    rows = [
        [
            names.get(r["name"], f"`{r['name']}`"),
            figure(r["gflop"]) if r["gflop"] else "-",
            *(figure(1000 * r[k]) for k in ("median_s", "min_s", "max_s")),
            figure(r["gflops"]) if r["gflop"] else "-",
            f"{r['share']:.2f}" if r["gflop"] else "-",
        ]
        for r in results
    ]
    if not rows:
        return ["Not measured."]
    lines = table(
        ["", "GFLOP", "median, ms", "min", "max", "GFLOP/s", "of the matrix product"], rows
    )
    for this, other, title in (
        ("winograd", "tiles", "A 3x3 convolution by Winograd's products, against tiles:"),
        ("stacked", "direct", "A layer with experts in the stacked form, against the direct one:"),
    ):
        both = [
            [
                f"`{n}`",
                *(figure(1000 * r["median_s"]) for r in (a, b)),
                f"{b['median_s'] / a['median_s']:.2f}",
            ]
            for n, a, b in pairs(results, this, other)
        ]
        if both:
            lines += ["", title, ""] + table(
                ["", f"{this}, ms", f"{other}, ms", "times faster"], both
            )
    return lines


def profile(stored):
    """Where the time of a run goes: one list of rows, each with a name (kind) and seconds."""
    found = stored.get("profile", {})
    rows = found.get("kinds") or found.get("rows") or []
    if not rows:
        return []
    whole = sum(r["seconds"] for r in rows) or 1
    body = [
        [
            r.get("kind") or r.get("name"),
            figure(r["seconds"]),
            f"{100 * r['seconds'] / whole:.1f} %",
            figure(r["gflop"] / r["seconds"]) if r.get("gflop") and r["seconds"] else "-",
        ]
        for r in rows
    ]
    return ["## Where the time goes", "", *table(["", "s", "share", "GFLOP/s"], body), ""]


SERIES_WORDS = {
    "resolution": "Convolutions and linear layers grow with the number of pixels, side^2; attention with "
    "its square, side^4. So the exponent lies a little above 2 and grows with the side.",
    "vae": "Convolutions, side^2, and one attention at the side of the latents, side^4.",
    "batch": "Every FLOP is there once more for each picture of the batch, the weights only once: a line. "
    "What is left at batch 0 does not depend on the batch: reading the weights.",
    "rank": "A line in the rank, as the FLOP of two thin products are. Where the rank is so large that "
    "the thin products cost more than a whole one, they are multiplied out beforehand, and the time "
    "grows no more.",
    "experts": "A line in their number, for the same reason.",
}


def growth(stored):
    series = stored.get("growth", {}).get("series", {})
    lines = []
    for name, (title, axis, kind) in growth_plots.KINDS.items():
        points = sorted(series.get(name, []), key=lambda p: p["x"])
        if len(points) < 2:
            continue
        time_law, flop_law, memory_law = growth_plots.laws(name, points)
        words = lambda law, unit: growth_plots.in_words(name, law, unit)  # noqa: E731
        lines += [
            f"### {title}",
            "",
            wrap(SERIES_WORDS[name]),
            "",
            f"![{title}](img/growth-{name}.svg)",
            "",
        ]
        beyond = "Peak memory beyond the weights" if kind == growth_plots.POWER else "Peak memory"
        said = f"Time: {words(time_law, 's')}. FLOP: {words(flop_law, 'GFLOP')}. "
        lines += [wrap(f"{said}{beyond}: {words(memory_law, 'GiB')}."), ""]
        rows = [
            [
                f"{p['x']:g}",
                figure(p["gflop"]),
                figure(growth_plots.seconds(p)),
                figure(p["gflop"] / growth_plots.seconds(p)),
                sizes(p["peak_rss_bytes"]),
                f"{p['peak_rss_bytes'] / p['weights_bytes']:.2f}",
                str(p["faults"]),
            ]
            for p in points
        ]
        head = [axis, "GFLOP", "s", "GFLOP/s", "peak, MiB", "over weights", "faults"]
        lines += table(head, rows) + [""]
    return lines or ["Not measured.", ""]


def runs(stored):
    rows = [
        [
            f"{r['side']} x {r['side']}, steps: {r['steps']}",
            f"{r['seconds']:.1f}",
            sizes(r["peak_rss_bytes"]),
            sizes(r["weights_bytes"]),
            f"{r['peak_rss_bytes'] / r['weights_bytes']:.3f}",
        ]
        for r in stored.get("runs", {}).values()
    ]
    return (
        table(["", "s", "peak, MiB", "weights, MiB", "peak over weights"], rows)
        if rows
        else ["Not measured."]
    )


PAGE = """# Performance

Made by `scripts/performance_page.py` from [performance.json](performance.json); `make bench`
measures, and makes both anew. Figures of one machine, on one day. Ratios taken in turns travel
further than seconds do.

## The machine

{machine}

## Goals

Medians, in brackets the least and the greatest round. PyTorch is the one with the tuned allocator
(below).

{goals}

## Against PyTorch

float32, pictures of 512 x 512, rank 256. "Tuned" is PyTorch with an allocator that keeps its memory
(glibc's `MALLOC_MMAP_THRESHOLD_`, `MALLOC_TRIM_THRESHOLD_`, `MALLOC_TOP_PAD_`), "stock" PyTorch as
it comes.

{torch}

## Other processors

Time over PyTorch's (tuned), the same components and rules; in brackets the least and the greatest round. "Held to AVX2"
is a processor with AVX-512 on which mole is built for AVX2 alone (`make clones`) with OpenBLAS's kernels for it, and
PyTorch, oneDNN and MKL are told to use nothing wider.

{kinds}

## Components and operations

`mole bench`, all in turns in one program; operations at the shapes that the UNet has at 512 x 512
with guidance.

{operations}

{profile}## How cost grows

Dots are measured, the least of a few runs each; the dashed line is the fitted law; the other line
is the time that the FLOP would take at the rate of one point: 512 pixels, or the first of the
series.

{growth}## Whole runs

`mole generate` with two experts of rank 256, from the start of the program to its end, making the
weights included.

{runs}

## How it was measured

* Nothing is downloaded: weights come from a formula (`synth:sd15`), PyTorch's are random. Of both
  only the shapes matter for the time.
* FLOP are 2 for a multiplication with its addition. A convolution counts as the definition does it,
  though Winograd's form needs fewer; an expert as the authors compute it. GFLOP/s are therefore
  effective ones and can lie above what the machine does.
* The yardstick is a product of two matrices of 2048 x 2048 in the same BLAS and with the same
  threads, taken before each program in each round. "Of the matrix product" is the effective rate
  over it.
* Comparisons are made in rounds: each program runs the component once, in an order that is reversed
  from round to round, after a run that does not count. A round with a yardstick below 0.85 of the
  best one's, or of what it was before anything was measured, was disturbed and does not count, nor one in
  which other programs had more than 0.05 of the processors' time. Ratios are taken within a round.
* Programs are given the same work. One part of it mole does once per prompt, in the first step:
  keys and values of the text, which PyTorch makes in every step. That is what a run of many steps
  does; it is less than 1 % of the FLOP of a step, with experts too, and is not counted in mole's.
* PyTorch with experts is the authors' formulation, layer by layer: `base(x) + sum D G E`, with `E`
  from two thin products, a sigmoid of a linear map for each gate, the global one on the mean of `E`
  over tokens.
* Peak memory is the kernel's count of resident memory (VmHWM), mapped files and the program's own
  code included.
* `OPENBLAS_CORETYPE` and `OPENBLAS_L2_SIZE` are taken out of the environment: OpenBLAS chooses its
  kernel.

## What is not measured

More threads, float16 or bfloat16 arithmetic, GPUs; reading weights from a disk;
PyTorch compiled (`torch.compile`) or quantised; other programs that draw such pictures.
"""


def kind_of(stored):
    """A machine in a column's head."""
    m = stored.get("machine", {})
    vectors = "AVX-512" if "avx512f" in m.get("vectors", []) else "AVX2"
    held = ", held to AVX2" if stored.get("torch", {}).get("settings", {}).get("avx2") else ""
    return f"{m.get('cpu', '?')}, {m.get('family', '')}, {vectors}{held}"


def kinds(stored, others):
    """A column for each stored file that compares with PyTorch."""
    found = [one for one in (stored, *others) if components(one)]
    rows = []
    for key, name in NAMES.items():
        cells = []
        for one in found:
            c = components(one).get(key)
            seconds = figure(c["seconds"]["mole"]["median"]) if c else None
            cells.append(f"{spread(c['ratio'].get('tuned'))}; {seconds} s" if c else "-")
        if set(cells) != {"-"}:
            rows.append([name, *cells])
    return table(["", *map(kind_of, found)], rows) if rows else ["Not measured."]


def page(stored, others=()):
    def lines(made):
        return "\n".join(made)

    found = profile(stored)
    return PAGE.format(
        machine=lines(the_machine(stored)),
        goals=lines(goals(stored)),
        torch=lines(against_torch(stored)),
        kinds=lines(kinds(stored, others)),
        operations=lines(operations(stored)),
        profile=lines(found) + "\n" if found else "",
        growth=lines(growth(stored)) + "\n",
        runs=lines(runs(stored)),
    )


def write(path, text):
    new = Path(f"{path}.tmp.{os.getpid()}")
    new.write_text(text)
    new.replace(path)


def difference(path, text):
    """None, or where the file is not the text."""
    try:
        found = Path(path).read_text()
    except OSError as error:
        return f"{path}: {error.strerror}"
    if found == text:
        return None
    have, want = found.splitlines() + ["(the end)"], text.splitlines() + ["(the end)"]
    n = next(
        (i for i, (a, b) in enumerate(zip(have, want)) if a != b), min(len(have), len(want)) - 1
    )
    return f"{path}:{n + 1}: expected: {want[n]}\n    found: {have[n]}"


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--json", default="docs/performance.json", help="the numbers (docs/performance.json)")
    add(
        "--page",
        default="docs/performance.md",
        help="the page (docs/performance.md); plots: img/ beside it",
    )
    add("--check", action="store_true", help="write nothing, compare")
    o = parser.parse_args()
    images = Path(o.page).parent / "img"
    try:
        if not Path(o.json).exists():
            raise common.Failed(f"{o.json}: no such file; make bench measures and writes it")
        stored = common.load(o.json)
        others = [common.load(path) for path in sorted(Path(o.json).parent.glob("performance-*.json"))]
        texts = {o.page: page(stored, others)}
        for name, svg in growth_plots.plots(stored.get("growth", {}).get("series", {})).items():
            texts[images / name] = svg
        if not o.check:
            images.mkdir(parents=True, exist_ok=True)
            for path, text in texts.items():
                write(path, text)
            return 0
        wrong = [d for d in (difference(p, t) for p, t in texts.items()) if d]
    except (common.Failed, OSError) as error:
        common.say(f"performance_page.py: {error}")
        return 3
    except (KeyError, TypeError, ValueError) as error:
        common.say(
            f"performance_page.py: {o.json}: not as the measuring scripts write it: {error!r}"
        )
        return 3
    for text in wrong:
        common.say(f"performance_page.py: {text}")
    if wrong:
        common.say("performance_page.py: scripts/performance_page.py writes them anew")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
