"""Dump the tensors of a Stable Diffusion run as a trace that `mole compare` reads.

NumPy alone for arrays (Writer, write, read); mole_trace.hooks watches modules of PyTorch.
"""

from mole_trace.trace import TraceError, Writer, read, types, write

__all__ = ["TraceError", "Writer", "read", "types", "write"]
