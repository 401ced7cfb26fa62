"""The vocabulary: byte-pair encoding in CLIP's format, learned from the captions."""

import json
from pathlib import Path

import networks  # noqa: F401  (it sets the path to the package golden)
import numpy as np
from attributes import KINDS, sample
from captions import caption
from golden import vocabulary
from transformers import CLIPTokenizer

LENGTH = 77
CORPUS = 2500  # captions of each kind
CORPUS_SEED = 7000


def corpus(count=CORPUS):
    return "\n".join(caption(sample(CORPUS_SEED, kind, i)) for kind in KINDS for i in range(count))


def make_tokenizer(folder, merges):
    """Learn and write the vocabulary, in the old files and in the new one; give the tokenizer back."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    learned = vocabulary.train(corpus(), merges)
    ids = vocabulary.vocabulary(learned)
    CLIPTokenizer(vocab=ids, merges=learned, model_max_length=LENGTH).save_pretrained(folder)
    vocabulary.write(folder, learned)
    special = {"bos_token": vocabulary.BOS, "eos_token": vocabulary.EOS, "pad_token": vocabulary.EOS,
               "unk_token": vocabulary.EOS}
    (folder / "special_tokens_map.json").write_text(json.dumps(special, indent=2) + "\n")
    return CLIPTokenizer.from_pretrained(folder)


def encode(tokenizer, texts):
    """(n,77) uint16: begin, words, end, and end again as padding."""
    made = tokenizer(list(texts), padding="max_length", max_length=LENGTH, truncation=True)
    return np.asarray(made["input_ids"], np.uint16)
