"""CLIP's tokenizer: text -> ids, by byte pair encoding. No prompt weights: brackets are text."""

import os
import unicodedata

from model import read_json
from mutants import mutant
from safetensors_np import FileError

CONTRACTIONS = ("'s", "'t", "'re", "'ve", "'m", "'ll", "'d")


def byte_letters():
    """A printable character for each byte: itself where it is one, else the next from U+0100 on."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in printable]
    return {**{b: chr(b) for b in printable}, **{b: chr(256 + i) for i, b in enumerate(others)}}


def kind(c):
    """L letter, N number, S white space, else another character."""
    if c.isspace() and not "\x1c" <= c <= "\x1f":  # Python's idea of a space, less four controls
        return "S"
    return unicodedata.category(c)[0] if unicodedata.category(c)[0] in "LN" else "P"


def words(text):
    """Contractions, runs of letters, single numbers, runs of other characters."""
    at = 0
    while at < len(text):
        end, k = at + 1, kind(text[at])
        short = next((c for c in CONTRACTIONS if text.startswith(c, at)), None)
        if short:
            end = at + len(short)
        elif k in "LP":
            while end < len(text) and kind(text[end]) == k:
                end += 1
        if k != "S":
            yield text[at:end]
        at = end


class Tokenizer:
    def __init__(self, folder):
        self.vocab = read_json(os.path.join(folder, "vocab.json"))
        special = read_json(os.path.join(folder, "special_tokens_map.json"))
        names = {k: v if isinstance(v, str) else v["content"] for k, v in special.items()}
        # A padding token is found in texts too: with v2.1's, "!" is never part of a word.
        special = (names[f"{kind}_token"] for kind in ("bos", "eos", "pad"))
        self.special = {token: self.vocab[token] for token in special}
        self.bos, self.eos = self.vocab[names["bos_token"]], self.vocab[names["eos_token"]]
        self.pad = self.vocab[names["pad_token"]]
        self.length = read_json(os.path.join(folder, "tokenizer_config.json"))["model_max_length"]
        path = os.path.join(folder, "merges.txt")
        try:
            with open(path, encoding="utf-8") as file:
                lines = file.read().split("\n")[1:]
        except OSError as error:
            raise FileError(f"{path}: {error.strerror}") from error
        self.rank = {tuple(line.split()): i for i, line in enumerate(lines) if line.strip()}
        self.letters = byte_letters()

    def merge(self, word):
        """Pieces of a word: join the pair that stands first in merges.txt, until none is left."""
        pieces = [self.letters[b] for b in word.encode("utf-8")]
        if not mutant("end-of-word-missing"):
            pieces[-1] += "</w>"
        while len(pieces) > 1:
            pairs = list(zip(pieces, pieces[1:]))
            best = min(pairs, key=lambda pair: self.rank.get(pair, len(self.rank)))
            if best not in self.rank:
                break
            joined, at = [], 0
            while at < len(pieces):
                pair = tuple(pieces[at : at + 2]) == best
                joined.append("".join(best) if pair else pieces[at])
                at += 2 if pair else 1
            pieces = joined
        return pieces

    def ids(self, text):
        """Without BOS and EOS; neither cut nor padded."""
        for token in self.special:
            before, found, after = text.partition(token)
            if found:
                return [*self.ids(before), self.special[token], *self.ids(after)]
        text = unicodedata.normalize("NFC", text)
        # One character at a time: str.lower() knows the final sigma, CLIP does not.
        text = "".join(c.lower() for c in text)
        parts = text.split() if mutant("words-by-space") else words(text)
        pieces = [piece for word in parts for piece in self.merge(word)]
        return [self.vocab.get(piece, self.eos) for piece in pieces]

    def encode(self, text):
        """(ids, real): BOS, ids, EOS, padding, as many as the folder says; real: not padding."""
        ids = [self.bos, *self.ids(text)[: self.length - 2], self.eos]
        if mutant("begin-token-missing"):
            ids = ids[1:]
        pad = 0 if mutant("padding-id") else self.pad
        if mutant("padding-id-end"):
            pad = self.eos
        left = self.length - len(ids)
        return ids + [pad] * left, [True] * len(ids) + [False] * left
