"""mole-trace list FILE | convert IN OUT: look into a trace; make one of .npz or .npy files."""

import argparse
import os
import sys

import numpy as np

from mole_trace import TraceError, Writer, types


def arrays(path):
    """Names and arrays of an .npz or a folder of .npy, which has no order but that of names. What
    is no array of numbers is there as the words that say so."""
    if os.path.isdir(path):
        for file in sorted(os.listdir(path)):
            if file.endswith(".npy"):
                yield file[: -len(".npy")], loaded(lambda f=file: load(os.path.join(path, f)))
        return
    archive = load(path)
    if isinstance(archive, np.ndarray):
        raise TraceError(f"{path}: one array without a name; an .npz or a folder is needed")
    with archive:
        for name in archive.files:
            yield name, loaded(lambda n=name: archive[n])


def load(path):
    return np.load(path, allow_pickle=False)


def loaded(get):
    try:
        array = get()
    except ValueError as error:
        if not str(error).startswith("Object arrays"):
            raise
        return "Python objects"
    if not isinstance(array, np.ndarray):
        return "no array"
    return array if array.dtype.kind in "fiub" or array.dtype.name == "void16" else str(array.dtype)


def convert(source, target):
    left_out = []
    with Writer(target) as trace:
        for name, array in arrays(source):
            if isinstance(array, str):
                left_out.append(f"{name} ({array})")
            else:
                trace.tap(name, array)
        said = "; left out: " + ", ".join(left_out) if left_out else ""
        if not trace.entries:
            raise TraceError(f"{source}: no arrays of numbers in it{said}")
        print(f"{target}: {len(trace.entries)} taps{said}")


def show(path):
    taps, metadata = types(path)
    for key, value in sorted(metadata.items()):
        print(f"# {key}: {value}")
    for name, (shape, kind) in taps.items():
        print(f"{name} {shape} {kind}")


def main(argv=None):
    parser = argparse.ArgumentParser(prog="mole-trace", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    listing = commands.add_parser("list", help="names, shapes and types")
    listing.add_argument("file")
    converting = commands.add_parser("convert", help="make a trace")
    converting.add_argument("source", help=".npz, or a folder of .npy")
    converting.add_argument("target", help=".safetensors")
    a = parser.parse_args(argv)
    try:
        if a.command == "list":
            show(a.file)
        else:
            convert(a.source, a.target)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (TraceError, OSError, ValueError) as error:
        print(f"mole-trace: {error}", file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
