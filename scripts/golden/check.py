"""Are the golden data what the scripts make? Made anew in a scratch folder, and compared."""

import json
from pathlib import Path

import torch
from safetensors.torch import load_file

TRUTH = 1e-13  # of the tensor's scale: other machines' BLAS sums in another order
UNCOMPARED = {"made_with", "sha256", "bytes"}  # these vary with the machine
# So do these; that they are stated is compared.
MEASURED = {"f32_error", "f32_error_exact_angles", "f32_isolated", "f32_orders", "f32_in"}


def stripped(value):
    """A JSON value without what varies."""
    if isinstance(value, dict):
        kept = {k: stripped(v) for k, v in value.items() if k not in UNCOMPARED}
        return {k: "measured" if k in MEASURED else v for k, v in kept.items()}
    if isinstance(value, list):
        return [stripped(v) for v in value]
    return value


def same_tensor(old, new):
    """None, or what differs. float64 is truth and has a tolerance; all else is exact."""
    if old.dtype != new.dtype or old.shape != new.shape:
        return f"{old.dtype} {list(old.shape)} became {new.dtype} {list(new.shape)}"
    if torch.equal(*(tensor.reshape(-1).view(torch.uint8) for tensor in (old, new))):
        return None
    if old.dtype != torch.float64 or not (old.isfinite().all() and new.isfinite().all()):
        return "values differ"
    worst = ((old - new).abs().max() / old.abs().max().clamp(min=1e-300)).item()
    return None if worst <= TRUTH else f"values differ by {worst:.1e} of the scale"


def same_file(old, new):
    """What differs between two files, as lines."""
    if old.suffix == ".safetensors":
        a, b = load_file(old), load_file(new)
        lines = [f"{key}: only in one of the two" for key in sorted(a.keys() ^ b.keys())]
        for key in sorted(a.keys() & b.keys()):
            difference = same_tensor(a[key], b[key])
            if difference:
                lines.append(f"{key}: {difference}")
        return lines
    if old.suffix == ".json":
        a, b = (stripped(json.loads(p.read_text(encoding="utf-8"))) for p in (old, new))
        return [] if a == b else ["contents differ"]
    return [] if old.read_bytes() == new.read_bytes() else ["bytes differ"]


def compare(committed, made, within=None):
    """Print what differs; True when nothing does. `within`: only folders and files so named."""
    ok, count = True, 0
    committed, made = Path(committed), Path(made)
    files = {p.relative_to(root) for root in (committed, made) for p in root.rglob("*")}
    for name in sorted(files):
        if (committed / name).is_dir() or (made / name).is_dir():
            continue
        if within is not None and not any(str(name).startswith(part) for part in within):
            continue
        count += 1
        if not (committed / name).exists() or not (made / name).exists():
            where = "made anew" if (made / name).exists() else "committed"
            lines = [f"only among the {where} files"]
        else:
            lines = same_file(committed / name, made / name)
        for line in lines[:10]:
            print(f"golden-check: {name}: {line}")
        if len(lines) > 10:
            print(f"golden-check: {name}: and {len(lines) - 10} more")
        ok = ok and not lines
    print(f"golden-check: {count} files compared: {'all agree' if ok else 'THEY DIFFER'}")
    return ok
