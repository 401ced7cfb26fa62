"""mole-trace list FILE | convert IN OUT: look into a trace; make one of .npz or .npy files."""

import argparse
import os
import sys

import numpy as np

from mole_trace import TraceError, Writer, read


def arrays(path):
    """Names and arrays of an .npz or a folder of .npy; a folder has no order but that of names."""
    if os.path.isdir(path):
        for file in sorted(os.listdir(path)):
            if file.endswith(".npy"):
                yield file[: -len(".npy")], np.load(os.path.join(path, file), allow_pickle=False)
        return
    archive = np.load(path, allow_pickle=False)
    if isinstance(archive, np.ndarray):
        raise TraceError(f"{path}: one array without a name; an .npz or a folder is needed")
    with archive:
        for name in archive.files:
            yield name, archive[name]


def convert(source, target):
    with Writer(target) as trace:
        for name, array in arrays(source):
            trace.tap(name, array)
        if not trace.entries:
            raise TraceError(f"{source}: no arrays in it")
        print(f"{target}: {len(trace.entries)} taps")


def show(path):
    tensors, metadata = read(path)
    for key, value in sorted(metadata.items()):
        print(f"# {key}: {value}")
    for name, x in tensors.items():
        print(f"{name} {tuple(x.shape)} {x.dtype}")


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
