"""Property C: the form of a trace changes no verdict.

One trial: the right port or a mutant, a precision, a cut, and a form: another layout, another type,
other names (property_names.py). The same taps in the plain form and in this one must get the same
verdict and the same culprit.
"""

import mutants
import numpy as np
import property_common as common
import property_cuts as cuts
from property_common import Result
from property_names import NAMES, renamed

CASES = ("unet-step", "unet-step-plain", "unet-plain", "vae-decode", "text-encoder")
WHOLE = ("all", "nine-tenths", "half", "no-time", "resnets-attentions")
ROUNDS = 6  # of the right port in each case and form; each mutant once in each form
QUICK = 6


def tokens(x):
    return x.reshape(*x.shape[:2], -1).swapaxes(1, 2) if x.ndim == 4 else x


def images_only(change):
    return lambda x: change(x) if x.ndim == 4 else x


# name -> how each tensor changes; None: this trace cannot be had in this form
LAYOUTS = {
    "nhwc": images_only(lambda x: x.transpose(0, 2, 3, 1)),
    "tokens-for-images": tokens,
    "flat-images": images_only(lambda x: x.reshape(*x.shape[:2], -1)),
    "channels-before-tokens": lambda x: x.swapaxes(1, 2) if x.ndim == 3 else x,
    "reversed-sizes": lambda x: x.reshape(x.shape[::-1]),  # ggml names the innermost first
    "transposed": lambda x: x.T,  # Fortran's and Julia's order of axes
    "no-batch": lambda x: x[0] if x.shape[0] == 1 else None,
    "one-more-axis": lambda x: x[None],
    "flat": lambda x: x.reshape(-1),
}
TYPES = {"stored-as-f64": "F64"}
FORMS = (*LAYOUTS, *TYPES, *NAMES)


def bases():
    """(mutant or None, case, precision)"""
    known = common.case_folders()
    yield from ((None, c, p) for c in CASES if c in known for p in ("f32", "f64"))
    yield from ((m.name, m.case, "f32") for m in mutants.MUTANTS if m.case in CASES)


def trials(full, count, rng):
    groups, index = {}, 0
    for base in bases():
        for form in FORMS:
            for _ in range(ROUNDS if base[0] is None else 1):
                kind, inputs = WHOLE[index % len(WHOLE)], cuts.INPUTS[index // 5 % len(cuts.INPUTS)]
                groups.setdefault(base, []).append((index, form, kind, inputs))
                index += 1
    return list(groups.items()) if full else common.sample(groups, count, rng, QUICK)


def formed(form, tensors):
    """(our names that this form has, theirs -> tensor, type), or None where the form cannot be."""
    if form in NAMES:
        names = {n: renamed(NAMES[form], n) for n in tensors}
        ours, new = [], {}
        for n, theirs in names.items():
            if theirs and theirs not in new:
                ours.append(n)
                new[theirs] = tensors[n]
        return ours, new, "F32"
    change = LAYOUTS.get(form, lambda x: x)
    new = {n: change(x) for n, x in tensors.items()}
    if any(x is None for x in new.values()):
        return None
    return list(tensors), new, TYPES.get(form, "F32")


def said(answer):
    culprit = answer.culprit["name"] if answer.culprit else None
    return {0: "agrees", 1: "differs"}.get(answer.code, f"exit code {answer.code}"), culprit


def judge(plain, other, form):
    """What is wrong with the other form's answer, or None."""
    if plain.code not in (0, 1):
        return f"plain: exit code {plain.code}: {plain.errors}"
    if other.code not in (0, 1):
        return f"exit code {other.code}: {other.errors}"
    if said(plain) != said(other):
        return f"plain: {' '.join(map(str, said(plain)))}; {form}: {' '.join(map(str, said(other)))}"
    if plain.report["compared"] != other.report["compared"]:
        return f"compares {other.report['compared']} taps, plain {plain.report['compared']}"
    return None


def run(mole, seed, base, group, keep):
    mutant, case, precision = base
    tensors = common.trace_of(case, precision, "blas", mutant)
    known = common.case_of(case).names()
    for index, form, kind, inputs in group:
        rng = common.chance(seed, "forms", index)
        what = f"{mutant or 'right'} in {case} {precision} as {form}, {kind}, .in {inputs}"
        kept = cuts.cut(kind, inputs, list(tensors), known, rng)
        found = kept and formed(form, {n: tensors[n] for n in kept})
        nothing = not found or found[1].keys() == set(kept) and form in NAMES
        if nothing or precision == "f64" and form in TYPES:
            yield Result(index, what, "skipped", f"{case} has no such form", (form,))
            continue
        ours, new, kind = found
        with keep(index) as path:
            common.write(path, {n: tensors[n] for n in ours})
            plain = common.compare(mole, case, path)
            common.write(path, {n: np.ascontiguousarray(x) for n, x in new.items()}, kind)
            wrong = judge(plain, common.compare(mole, case, path), form)
            if wrong:
                path.keep()
        yield Result(index, what, "failed" if wrong else "passed", wrong or "", (form,))
