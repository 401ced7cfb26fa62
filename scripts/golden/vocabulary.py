"""A small vocabulary in CLIP's format, trained on corpus.txt with plain byte-pair encoding."""

import collections
import json
import re
from pathlib import Path

BOS, EOS = "<|startoftext|>", "<|endoftext|>"
MERGES = 500


def byte_symbols():
    """The printable character that stands for each byte, in the order of CLIP's vocabulary.

    Bytes that print as themselves come first; the other 68 are moved to U+0100 and on.
    """
    plain = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAC + 1), *range(0xAE, 0xFF + 1)]
    moved = [b for b in range(256) if b not in plain]
    pairs = [(b, chr(b)) for b in plain] + [(b, chr(256 + i)) for i, b in enumerate(moved)]
    return dict(pairs)


def merge_pair(word, pair):
    """`word` with every occurrence of `pair` joined."""
    joined, i = [], 0
    while i < len(word):
        if i + 1 < len(word) and (word[i], word[i + 1]) == pair:
            joined.append(word[i] + word[i + 1])
            i += 2
        else:
            joined.append(word[i])
            i += 1
    return tuple(joined)


def train(text, count):
    """The `count` most frequent merges, ties broken by the symbols themselves; fewer if every word is whole."""
    symbols = byte_symbols()
    words = collections.Counter()
    for word in re.findall(r"'s|'t|'re|'ve|'m|'ll|'d|[a-z]+|[0-9]|[^\sa-z0-9]+", text.lower()):
        spelled = [symbols[b] for b in word.encode()]
        words[tuple(spelled[:-1] + [spelled[-1] + "</w>"])] += 1
    merges = []
    while len(merges) < count:
        pairs = collections.Counter()
        for word, n in words.items():
            for pair in zip(word, word[1:]):
                pairs[pair] += n
        if not pairs:
            break
        best = min(pairs, key=lambda p: (-pairs[p], p))
        merges.append(best)
        updated = collections.Counter()
        for word, n in words.items():
            updated[merge_pair(word, best)] += n
        words = updated
    return merges


def vocabulary(merges, inside=False):
    """Token -> id in CLIP's order: bytes, bytes that end a word, merges, the two specials.

    inside: the specials stand before the merges, so that the end token is not the largest id.
    """
    singles = list(byte_symbols().values())
    words = ["".join(m) for m in merges]
    tokens = singles + [s + "</w>" for s in singles] + [BOS, EOS] * inside + words + [BOS, EOS] * (not inside)
    ids = {token: i for i, token in enumerate(tokens)}
    assert len(ids) == len(tokens)
    return ids


def write(folder, merges, inside=False):
    """vocab.json and merges.txt as CLIP's tokenizer files have them."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    ids = json.dumps(vocabulary(merges, inside), ensure_ascii=False)
    (folder / "vocab.json").write_text(ids + "\n", encoding="utf-8")
    lines = ["#version: 0.2"] + [" ".join(m) for m in merges]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def train_tiny():
    """The merges of the tiny model."""
    corpus = (Path(__file__).parent / "corpus.txt").read_text(encoding="utf-8")
    return train(corpus, MERGES)
