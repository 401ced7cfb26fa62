"""The trace file: safetensors with the taps in the order of execution, each in the type it has.

8 bytes of header length, a JSON header, the numbers. The metadata say format "mole-trace", version
"1" and the precision: the type that most floating-point taps have, as "bf16".
"""

import collections
import contextlib
import json
import os
import shutil
import sys

import numpy as np

CODES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "C64": "<c8", "BOOL": "|b1"}
CODES.update({"I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "|i1"})
CODES.update({"U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "|u1"})
# Types that NumPy has not, by their name in PyTorch and in ml_dtypes (JAX, TensorFlow): their bits.
OTHERS = {
    "bfloat16": "BF16",
    "float8_e4m3fn": "F8_E4M3",
    "float8_e5m2": "F8_E5M2",
    "float8_e4m3fnuz": "F8_E4M3FNUZ",
    "float8_e5m2fnuz": "F8_E5M2FNUZ",
    "float8_e8m0fnu": "F8_E8M0",
    "void16": "BF16",  # as numpy.load gives what ml_dtypes saved
}
BITS = {code: "<u2" if code == "BF16" else "|u1" for code in OTHERS.values()}
FLOATS = {"F64", "F32", "F16", *BITS}
PRECISIONS = {"f32": "F32", "f64": "F64"}
LIMIT = 100_000_000  # bytes of header: more is refused, as by the safetensors library


class TraceError(Exception):
    """A tap or a file that cannot be; the message says which and why."""


def of_torch(tensor):
    """(array, code) of a PyTorch tensor; code None: as the array says."""
    tensor = tensor.detach().cpu()
    library, _, kind = str(tensor.dtype).rpartition(".")
    code = OTHERS.get(kind)
    if code is not None:
        torch = sys.modules[library]
        tensor = tensor.view(torch.int16 if code == "BF16" else torch.uint8)
    return tensor.numpy(), code


def small_values(code):
    """What the 256 values of a type of 8 bits stand for, as float32."""
    bits = np.arange(256)
    if code == "F8_E8M0":
        values = np.where(bits == 255, np.nan, 2.0 ** (bits - 127.0))
        return values.astype(np.float32)
    places, fnuz = 3 if "E4M3" in code else 2, code.endswith("FNUZ")
    bias = (7 if places == 3 else 15) + fnuz
    exponent, mantissa = (bits & 127) >> places, bits & (1 << places) - 1
    normal = (mantissa + (1 << places)) * 2.0 ** (exponent - bias - places)
    values = np.where(exponent == 0, mantissa * 2.0 ** (1 - bias - places), normal)
    values = np.where(bits & 128, -values, values)
    if fnuz:
        values[128] = np.nan
    elif code == "F8_E4M3":
        values[[127, 255]] = np.nan
    else:
        values[[124, 252]] = np.inf, -np.inf
        values[[125, 126, 127, 253, 254, 255]] = np.nan
    return values.astype(np.float32)


def widened(bits, code):
    """float32 of the bits of a type that NumPy has not, which loses nothing."""
    if code == "BF16":
        return (bits.astype("<u4") << 16).view("<f4")
    return small_values(code)[bits]


def bits_given(name, array, code):
    """Integers that are the bits of a type that NumPy has not."""
    size = np.dtype(BITS[code]).itemsize if code in BITS else 0
    if array.dtype.kind not in "iu" or array.dtype.itemsize != size:
        raise TraceError(f"{name}: {array.dtype} holds no bits of the type {code}")
    return array.astype(array.dtype.newbyteorder("<"), copy=False)


def same_kind(dtype, kind):
    """The same but for the order of bytes."""
    return dtype.kind == np.dtype(kind).kind and dtype.itemsize == np.dtype(kind).itemsize


class Writer:
    """Use as a context. Other keywords than precision become metadata (texts)."""

    def __init__(self, path, precision=None, **metadata):
        """precision: None, and every tap keeps its type; "f32" or "f64": that in which all
        floating-point taps are stored."""
        if precision not in (None, *PRECISIONS):
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

    def tap(self, name, array, dtype=None):
        """Append an array (a tensor of PyTorch, or what numpy.asarray takes) as `name`, after the
        step's prefix. dtype: "BF16", "F8_E4M3" ..., when the array holds such numbers' bits as
        unsigned integers: for libraries whose bfloat16 does not become an array."""
        if self.spool is None:
            raise TraceError(f"{self.path}: {name} comes after the end")
        if not isinstance(name, str) or not name or name == "__metadata__":
            raise TraceError(f"{name!r} is no name for a tap")
        name = self.prefix + name
        if name in self.entries:
            raise TraceError(f"{name} comes twice; a further pass needs a step: with trace.step(k)")
        array, code = self.stored(name, array, dtype)
        self.entries[name] = {
            "dtype": code,
            "shape": list(array.shape),
            "data_offsets": [self.size, self.size + array.nbytes],
        }
        self.size += array.nbytes
        try:
            self.spool.write(array.tobytes())
        except OSError as error:
            self.discard()
            raise TraceError(f"{self.path}: {name}: {error.strerror}") from error

    def stored(self, name, array, dtype):
        """The array as it goes to the file, little endian, and the name of its type there."""
        if dtype is None and hasattr(array, "detach"):
            array, dtype = of_torch(array)
        array = np.asarray(array)
        code = dtype or OTHERS.get(array.dtype.name)
        if dtype is not None:
            array = bits_given(name, array, dtype)
        elif code is not None:
            array = np.ascontiguousarray(array).view(BITS[code]).reshape(array.shape)
        else:
            code = next((c for c, kind in CODES.items() if same_kind(array.dtype, kind)), None)
        if code is None:
            raise TraceError(f"{name} is of type {array.dtype}, which a trace cannot hold")
        return self.converted(name, array, code)

    def converted(self, name, array, code):
        wanted = PRECISIONS.get(self.precision)
        if wanted is None or code not in FLOATS:
            return array.astype(BITS.get(code) or CODES[code], copy=False), code
        if code == "F64" and wanted != "F64":
            raise TraceError(
                f"{name} is float64 in a trace of float32, and would lose bits; "
                "convert it, or open the trace with precision='f64'"
            )
        return (widened(array, code) if code in BITS else array).astype(CODES[wanted]), wanted

    def most(self):
        """The type of most floating-point taps, as "bf16"."""
        codes = (entry["dtype"] for entry in self.entries.values())
        count = collections.Counter(code for code in codes if code in FLOATS)
        return count.most_common(1)[0][0].lower() if count else self.precision or "f32"

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
        about = {"format": "mole-trace", "version": "1", "precision": self.most()}
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


def entries(file, path):
    """((name, entry) in order, metadata, where the numbers start) of an open trace."""
    length = int.from_bytes(file.read(8), "little")
    if length > min(LIMIT, os.path.getsize(path)):
        raise TraceError(f"{path}: not a safetensors file, or cut off")
    header = json.loads(file.read(length))
    metadata = header.pop("__metadata__", None) or {}
    ordered = sorted(header.items(), key=lambda item: item[1]["data_offsets"])
    if ordered and 8 + length + ordered[-1][1]["data_offsets"][1] > os.path.getsize(path):
        raise TraceError(f"{path}: cut off")
    return ordered, metadata, 8 + length


@contextlib.contextmanager
def failing(path):
    """What goes wrong with a file's content, as a TraceError."""
    try:
        yield
    except OSError as error:
        raise TraceError(f"{path}: {error.strerror}") from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise TraceError(f"{path}: not a trace that this package reads ({error})") from error


def types(path):
    """(shapes and types by name, metadata) of a trace, in order, without its numbers."""
    with failing(path), open(path, "rb") as file:
        ordered, metadata, _ = entries(file, path)
        return {name: (tuple(e["shape"]), str(e["dtype"])) for name, e in ordered}, metadata


def read(path):
    """(arrays by name, metadata) of a trace, in order; types that NumPy has not as float32, which
    holds their numbers."""
    arrays = {}
    with failing(path), open(path, "rb") as file:
        ordered, metadata, start = entries(file, path)
        for name, entry in ordered:
            code, (begin, end) = entry["dtype"], entry["data_offsets"]
            file.seek(start + begin)
            kind = BITS.get(code) or CODES[code]
            data = np.frombuffer(file.read(end - begin), kind)
            array = widened(data, code) if code in BITS else data
            arrays[name] = array.reshape(entry["shape"])
    return arrays, metadata
