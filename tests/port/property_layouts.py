"""Property D: the same word on a trace in mixed layouts and under other names as on the plain one.

One trial: a mutant or the right port, a case, a precision, a cut; a way to store images, one to store
tokens and one to store rows, or a writer that ignores strides; and a way to name the taps. Exit code,
culprit, its stretch and every row's verdict and ratio must be those of the plain trace.

Where every number of a kind is wrong nobody can know a layout that no framework has: such a trial is
skipped. So is a writer that ignores strides of whose tensors fewer than three are right.
"""

import numpy as np
import property_common as common
import property_cuts as cuts
import property_wrong as wrong
from property_common import Result

QUICK = 4
NEAR = 0.1  # of the deviation: a tensor that is nearer to the truth speaks for its layout


def turn(*order):
    return lambda t: t.transpose(order)


def heads(t):
    """(B,T,C) as (B,h,T,d), if two heads make two axes."""
    return t.reshape(*t.shape[:2], 2, -1).transpose(0, 2, 1, 3) if t.shape[2] % 8 == 0 else t


# Axes -> name -> (function, whether frameworks have it, so that a shape alone is believed)
LAYOUTS = {
    4: {
        "plain": (lambda t: t, True),
        "NHWC": (turn(0, 2, 3, 1), True),
        "CHWN": (turn(1, 2, 3, 0), False),
        "HWCN": (turn(2, 3, 1, 0), False),
        "NCWH": (turn(0, 1, 3, 2), False),
        "transposed": (lambda t: t.T, False),
        "tokens": (lambda t: t.reshape(*t.shape[:2], -1).transpose(0, 2, 1), True),
        "ggml": (lambda t: t.reshape(t.shape[::-1]), False),
        "flat": (lambda t: t.reshape(t.shape[0], -1), True),
        "squeezed": (lambda t: t.squeeze(), True),
    },
    3: {
        "plain": (lambda t: t, True),
        "BCT": (turn(0, 2, 1), True),
        "TBC": (turn(1, 0, 2), True),
        "transposed": (lambda t: t.T, False),
        "images": (lambda t: t.transpose(0, 2, 1)[..., None], True),
        "heads": (heads, True),
        "ggml": (lambda t: t.reshape((*t.shape[::-1], 1)), False),
        "flat": (lambda t: t.reshape(-1, t.shape[2]), True),
    },
    2: {
        "plain": (lambda t: t, True),
        "transposed": (lambda t: t.T, True),
        "more": (lambda t: t[:, None, :, None], True),
    },
}  # fmt: skip


def memory_order(order):
    return lambda t: np.ascontiguousarray(t.transpose(order)).reshape(t.shape)


WRITERS = {
    "Fortran": {n: memory_order(tuple(range(n))[::-1]) for n in (2, 3, 4)},
    "channels last": {4: memory_order((0, 2, 3, 1))},
    "tokens last": {3: memory_order((0, 2, 1))},
}

NAMES = {
    "plain": lambda n: n,
    "compiled": lambda n: n.replace("unet", "unet._orig_mod", 1).replace("vae", "vae._orig_mod", 1),
    "module": lambda n: "module." + n if "/" not in n else n.replace("/", "/module.", 1),
    "output": lambda n: n if cuts.is_input(n) else n + ".output",
    "bare": lambda n: n.replace("unet.", "", 1).replace("vae.", "", 1).replace("text_encoder.", "", 1),
    "no text_model": lambda n: n.replace("text_model.", "", 1),
}


def bases():
    """(mutant or None, case, precision)"""
    for name in ("unet-step", "vae-decode", "text-encoder", "run-5-mole"):
        yield None, name, "f32"
    for mutant, case, precision in wrong.bases():
        if case != wrong.PICTURE:
            yield mutant, case, precision


def trials(full, count, rng):
    groups, index = {}, 0
    for base in bases():
        for _ in range(8 if base[0] else 40):
            groups.setdefault(base, []).append((index,))
            index += 1
    return list(groups.items()) if full else common.sample(groups, count, rng, QUICK)


def choose(rng):
    """Layouts by number of axes {4: (name, function, likely)}, the writer's name or None, the names' name."""
    if rng.random() < 0.25:
        writer = rng.choice(list(WRITERS))
        return {n: (writer, f, False) for n, f in WRITERS[writer].items()}, writer
    layouts = {}
    for axes, ways in LAYOUTS.items():
        name = rng.choice(list(ways))
        if name != "plain":
            layouts[axes] = (name, *ways[name])
    return layouts, None


def telling(tensors, truth, axes):
    """How many tensors of so many axes are near the truth, and have an order."""
    count = 0
    for n, t in tensors.items():
        if t.ndim != axes or n not in truth or truth[n].shape != t.shape:
            continue
        exact, spread = truth[n], truth[n].std()
        if sum(d > 1 for d in t.shape) > 1 and spread > 0:
            count += common.root_mean_square(t - exact) < NEAR * spread
    return count


def of_kind(tensors, axes):
    return any(t.ndim == axes and t.size > 1 for t in tensors.values())


def undecidable(tensors, truth, layouts, writer):
    """Why nobody can tell the layout, or None."""
    for axes, (name, _, likely) in layouts.items():
        right = telling(tensors, truth, axes)
        if writer and of_kind(tensors, axes) and right < 3:
            return f"{right} tensors of {axes} axes are right"
        if not likely and of_kind(tensors, axes) and right < 1:
            return f"{name}: no tensor of {axes} axes is right"
    return None


def changed(tensors, layouts, rename):
    out = {}
    for n, t in tensors.items():
        way = layouts.get(t.ndim)
        out[rename(n)] = np.ascontiguousarray(way[1](t)) if way else t
    return out


def stretch_of(answer):
    culprit = answer.culprit or {}
    return culprit.get("name"), (culprit.get("stretch") or {}).get("between")


def difference(plain, other):
    """What the two answers differ in, or None."""
    if plain.code != other.code:
        return f"exit code {other.code}, not {plain.code}: {other.errors}"
    if plain.code > 1:
        return None
    if stretch_of(plain) != stretch_of(other):
        return f"accuses {stretch_of(other)[0]}, not {stretch_of(plain)[0]}"
    rows = {r["name"]: r for r in other.report["rows"]}
    for row in plain.report["rows"]:
        twin = rows.pop(row["name"], {})
        for key in ("verdict", "ratio", "isolated_ratio"):
            if row.get(key) != twin.get(key):
                return f"{row['name']}: {key} {twin.get(key)}, not {row.get(key)}"
    return f"{next(iter(rows))} is one row more" if rows else None


def run(mole, seed, base, group, keep):
    mutant, case, precision = base
    whole = common.trace_of(case, precision, "blas", mutant)
    right = common.trace_of(case, "f64", "blas")
    known = common.case_of(case).names()
    for (index,) in group:
        rng = common.chance(seed, "layouts", index)
        layouts, writer = choose(rng)
        names = rng.choice(list(NAMES))
        kind = "all" if rng.random() < 0.5 else rng.choice(list(cuts.KINDS))
        ways = writer or " ".join(f"{axes}:{way[0]}" for axes, way in layouts.items()) or "plain"
        what = f"{mutant} in {case} {precision} {kind}, {ways}, names {names}"
        kept = cuts.cut(kind, rng.choice(cuts.INPUTS), list(whole), known, rng)
        tensors = {n: whole[n] for n in kept or ()}
        if not kept:
            yield Result(index, what, "skipped", "no taps of this kind", (writer or "no writer",))
            continue
        with keep(index) as path:
            common.write(path, tensors)
            plain = common.compare(mole, case, path)
            why = undecidable({n: tensors[n] for n in common.compared(kept, plain)}, right, layouts, writer)
            if why:
                yield Result(index, what, "skipped", why, (writer or "no writer",))
                continue
            common.write(path, changed(tensors, layouts, NAMES[names]))
            text = difference(plain, common.compare(mole, case, path))
            if text:
                path.keep()
        yield Result(index, what, "failed" if text else "passed", text or "", (writer or "no writer", names))
