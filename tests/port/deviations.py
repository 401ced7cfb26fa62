"""Where the authors' program computes something else than their method says: switches that a golden case names
in settings.deviations. None is on unless a case turns it on."""

from safetensors_np import FileError

NAMES = ("prompt-suffixes", "vae-without-attention", "text-projection-unturned", "bf16-gates")
POSITIVE, NEGATIVE = " best quality, 8K", " poor quality, unclear hand, bad face "
_on = frozenset()


def use(names):
    global _on
    unknown = sorted(set(names) - set(NAMES))
    if unknown:
        raise FileError(f"no deviation is called {unknown[0]}; there are: {', '.join(NAMES)}")
    _on = frozenset(names)


def deviates(name):
    assert name in NAMES
    return name in _on


def prompts(positive, negative):
    """What is encoded of the two; None is a negative prompt that is not given."""
    if not deviates("prompt-suffixes"):
        return positive, negative
    return positive + POSITIVE, (negative or "") + NEGATIVE
