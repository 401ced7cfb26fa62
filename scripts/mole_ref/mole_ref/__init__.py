"""The reference's operations and models on NumPy arrays.

    import mole_ref
    ref = mole_ref.load("f64")
    y = ref.group_norm(x, weight, bias, groups=32, eps=1e-5)

A view of libmole-f64 (or "f32") through ctypes: mole.h has every contract. docs/library.md shows more.
"""

from .library import Error, find
from .reference import Reference

__all__ = ["Error", "Reference", "find", "load"]
__version__ = "0.1.0"


def load(precision="f64", path=None):
    """The reference that computes in "f64" or "f32". Both may be loaded in one process.

    path: the shared library, or a folder that holds it; without it, see `find`.
    """
    return Reference(precision, path)
