"""Reads and writes safetensors files with NumPy alone.

The format: 8 bytes (little endian) with the length of a JSON header, the header, then the numbers.
The header maps a tensor's name to its dtype, its shape and the bytes that hold it, row-major.
NumPy has no bfloat16: BF16 is widened to float32 while reading, which loses nothing.
"""

import json
import os

import numpy as np

DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}
DTYPES.update({"I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "|i1", "U8": "|u1", "BOOL": "|b1"})
NAMES = {np.dtype(code): name for name, code in DTYPES.items() if name != "BF16"}


class FileError(Exception):
    """A file that is not what it should be; the message names it and says what to do."""


def decode(data, entry, path, name):
    """One tensor of the bytes after the header."""
    kind, shape = entry["dtype"], entry["shape"]
    begin, end = entry["data_offsets"]
    if kind not in DTYPES:
        raise FileError(f"{path}: {name} is of type {kind}; this reader knows {', '.join(DTYPES)}")
    dtype = np.dtype(DTYPES[kind])
    count = 1
    for size in shape:
        count *= size
    if not 0 <= begin <= end <= len(data) or end - begin != count * dtype.itemsize:
        raise FileError(
            f"{path}: {name} {shape} of {kind} needs {count * dtype.itemsize} bytes, the header "
            f"gives {begin}..{end} of {len(data)}; fetch or write the file again"
        )
    array = np.frombuffer(data[begin:end], dtype)
    if kind == "BF16":
        array = (array.astype(np.uint32) << 16).view(np.float32)
    return array.reshape(shape)


def read(path):
    """(tensors, metadata): name -> array in the order of the data, name -> text."""
    try:
        with open(path, "rb") as file:
            start = file.read(8)
            length = int.from_bytes(start, "little")
            if len(start) < 8 or length > os.path.getsize(path) - 8:
                raise FileError(
                    f"{path}: shorter than its own header; fetch or write the file again"
                )
            header = json.loads(file.read(length))
            data = memoryview(file.read())
        metadata = header.pop("__metadata__", {})
        names = sorted(header, key=lambda name: header[name]["data_offsets"])
        return {name: decode(data, header[name], path, name) for name in names}, metadata
    except OSError as error:
        raise FileError(f"{path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FileError(f"{path}: not a safetensors file ({error})") from error


def little(dtype):
    return dtype.newbyteorder("<") if dtype.itemsize > 1 else dtype


def bf16_bits(x):
    """float32 numbers that bfloat16 holds, as its bits: the upper half of theirs."""
    return (np.asarray(x, np.float32, order="C").view(np.uint32) >> 16).astype(np.uint16)


def write(path, tensors, metadata, bf16=()):
    """Write name -> array in the dictionary's order; the file appears whole or not at all.
    bf16: names whose arrays are written as bfloat16, which must hold their numbers."""
    tensors = {n: bf16_bits(x) if n in bf16 else x for n, x in tensors.items()}
    header, offset = {"__metadata__": metadata}, 0
    for name, array in tensors.items():
        kind = "BF16" if name in bf16 else NAMES[little(array.dtype)]
        header[name] = {
            "dtype": kind,
            "shape": list(array.shape),
            "data_offsets": [offset, offset + array.nbytes],
        }
        offset += array.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # so that the numbers are aligned
    temporary = f"{path}.tmp.{os.getpid()}"
    try:
        with open(temporary, "wb") as file:
            file.write(len(text).to_bytes(8, "little") + text)
            for array in tensors.values():
                file.write(np.ascontiguousarray(array).tobytes())
        os.replace(temporary, path)
    except OSError as error:
        if os.path.exists(temporary):
            os.remove(temporary)
        raise FileError(f"{path}: cannot be written: {error.strerror}") from error
