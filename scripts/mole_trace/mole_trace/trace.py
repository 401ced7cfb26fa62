"""The trace file: safetensors with the taps in the order of execution.

8 bytes of header length, a JSON header, the numbers. The metadata say format "mole-trace", version
"1" and the precision, "f32" or "f64", in which all floating-point tensors are stored.
"""

import contextlib
import json
import os
import shutil

import numpy as np

STORED = {"f32": np.dtype("<f4"), "f64": np.dtype("<f8")}
CODES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2"}
CODES.update({"I8": "|i1", "U8": "|u1", "BOOL": "|b1"})
LIMIT = 100_000_000  # bytes of header: more is refused, as by the safetensors library


class TraceError(Exception):
    """A tap or a file that cannot be; the message says which and why."""


class Writer:
    """Use as a context. Other keywords than precision become metadata (texts)."""

    def __init__(self, path, precision=None, **metadata):
        """precision: "f32", "f64", or None: that of the first tap, float64 or else float32."""
        if precision not in (None, *STORED):
            raise TraceError(f"precision {precision!r}: not 'f32' or 'f64'")
        self.path, self.precision = os.fspath(path), precision
        self.metadata = {str(k): str(v) for k, v in metadata.items()}
        self.entries, self.size, self.prefix = {}, 0, ""
        # The header stands first and is known last: the numbers wait in a file of their own.
        self.spool_path = f"{self.path}.tmp.{os.getpid()}.data"
        try:
            self.spool = open(self.spool_path, "wb")
        except OSError as error:
            raise TraceError(f"{self.path}: cannot be written: {error.strerror}") from error

    def __enter__(self):
        return self

    def __exit__(self, kind, value, traceback):
        if kind is None:
            self.close()
        else:
            self.discard()

    def tap(self, name, array):
        """Append an array (what numpy.asarray takes) as `name`, after the step's prefix."""
        if self.spool is None:
            raise TraceError(f"{self.path}: {name} comes after the end")
        if not isinstance(name, str) or not name or name == "__metadata__":
            raise TraceError(f"{name!r} is no name for a tap")
        name = self.prefix + name
        if name in self.entries:
            raise TraceError(f"{name} comes twice; a further pass needs a step: with trace.step(k)")
        array = self.stored(name, np.asarray(array))
        kind = array.dtype.str[1:]
        self.entries[name] = {
            "dtype": {"f": "F", "i": "I"}[kind[0]] + str(8 * int(kind[1:])),
            "shape": list(array.shape),
            "data_offsets": [self.size, self.size + array.nbytes],
        }
        self.size += array.nbytes
        try:
            self.spool.write(array.tobytes())
        except OSError as error:
            self.discard()
            raise TraceError(f"{self.path}: {name}: {error.strerror}") from error

    def stored(self, name, array):
        """The array in the trace's type; whole numbers as int64."""
        if array.dtype.kind in "iub":
            return array.astype("<i8")
        if array.dtype.kind != "f" or array.dtype.itemsize > 8:
            raise TraceError(f"{name} is of type {array.dtype}, which a trace cannot hold")
        if self.precision is None:
            self.precision = "f64" if array.dtype.itemsize == 8 else "f32"
        if self.precision == "f32" and array.dtype.itemsize == 8:
            raise TraceError(
                f"{name} is float64 in a trace of float32, and would lose bits; "
                "convert it, or open the trace with precision='f64'"
            )
        return array.astype(STORED[self.precision])

    @contextlib.contextmanager
    def step(self, k):
        """Taps within belong to denoising step k, from 0: "step.000/" stands before their names."""
        before, self.prefix = self.prefix, f"step.{k:03d}/"
        try:
            yield self
        finally:
            self.prefix = before

    def close(self):
        """Write the file. It appears whole or not at all."""
        if self.spool is None:
            return
        about = {"format": "mole-trace", "version": "1", "precision": self.precision or "f32"}
        header = {"__metadata__": {**self.metadata, **about}, **self.entries}
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        temporary = f"{self.path}.tmp.{os.getpid()}"
        try:
            if len(text) > LIMIT:
                raise TraceError(f"{self.path}: {len(self.entries)} taps are too many for one file")
            self.spool.close()
            with open(self.spool_path, "rb") as numbers, open(temporary, "wb") as file:
                file.write(len(text).to_bytes(8, "little") + text)
                shutil.copyfileobj(numbers, file, 1 << 20)
            os.replace(temporary, self.path)
        except OSError as error:
            raise TraceError(f"{self.path}: cannot be written: {error.strerror}") from error
        finally:
            self.discard()
            remove(temporary)

    def discard(self):
        """End without a file."""
        if self.spool is not None:
            with contextlib.suppress(OSError):  # a full disk, which was or will be reported
                self.spool.close()
            self.spool = None
        remove(self.spool_path)


def remove(path):
    with contextlib.suppress(FileNotFoundError):
        os.remove(path)


def write(path, arrays, precision=None, **metadata):
    """A trace of a dictionary of arrays, in its order."""
    with Writer(path, precision, **metadata) as trace:
        for name, array in arrays.items():
            trace.tap(name, array)


def read(path):
    """(arrays by name, metadata) of a trace, in order."""
    try:
        with open(path, "rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > min(LIMIT, os.path.getsize(path)):
                raise TraceError(f"{path}: not a safetensors file, or cut off")
            header = json.loads(file.read(length))
            metadata = header.pop("__metadata__", {})
            arrays = {}
            for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
                begin, end = entry["data_offsets"]
                file.seek(8 + length + begin)
                data = np.frombuffer(file.read(end - begin), CODES[entry["dtype"]])
                arrays[name] = data.reshape(entry["shape"])
        return arrays, metadata
    except OSError as error:
        raise TraceError(f"{path}: {error.strerror}") from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise TraceError(f"{path}: not a trace that this package reads ({error})") from error
