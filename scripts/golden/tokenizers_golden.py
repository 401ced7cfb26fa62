"""Token ids of many strings, by transformers' CLIPTokenizer (its `tokenizers` implementation).

Its rules: NFC; runs of white space (Unicode's White_Space, so U+0085, U+00A0 and U+3000, but not
U+180E, U+200B or U+001C) become a space; lower case code point by code point, so that a final sigma
stays a medial one and a dotted capital I becomes i and U+0307; the specials are found in the raw
text, in lower case only. Newer letters than Unicode 15 are left out of the strings.
"""

from pathlib import Path

from transformers import CLIPTokenizer

from golden import clip_vocab, models, vocabulary
from golden.formats import dump_json, made_with
from golden.tokenizer_strings import strings

MAX_LENGTH = 77


# What a padding token that is also a character changes: it is found in the text, before all else.
EXCLAIMED = [
    "", "!", "!!", "a!", "a !", "! a", "a!b", "A!B", "wow!!", "wow !?", "?!", "!?", "a woman! a hand!", "it's!",
    "hands, face", "!<|endoftext|>!", "<|endoftext|>!", "\u00a1", "\uff01", "e\u0301!e\u0301",
    "a portrait of a smiling woman! " * 20,
]  # fmt: skip


def rows(tokenizer, texts):
    """Per string its ids; for every fifth and every over-long one also the padded row."""
    found = []
    for i, text in enumerate(texts):
        ids = tokenizer(text, add_special_tokens=False).input_ids
        row = {"text": text, "ids": ids}
        if i % 5 == 0 or len(ids) > MAX_LENGTH - 2:
            row["full"] = tokenizer(
                text, padding="max_length", max_length=MAX_LENGTH, truncation=True
            ).input_ids
        found.append(row)
    return found


def write(path, about, tokenizer, texts=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    entries = rows(tokenizer, texts or strings())
    dump_json(
        path,
        {
            "format": "mole-golden-tokenizer",
            "version": 1,
            "about": about,
            "made_with": made_with(),
            "vocab_size": len(tokenizer),
            "bos": tokenizer.bos_token_id,
            "eos": tokenizer.eos_token_id,
            "pad": tokenizer.pad_token_id,
            "max_length": MAX_LENGTH,
            "strings": entries,
        },
    )


def small(out):
    """With the tiny model's vocabulary."""
    about = "ids: no specials, not truncated. full: BOS, ids, EOS, padded or truncated to 77."
    write(Path(out) / "tokenizer/sd15-tiny.json", about, models.load(out, "tokenizer"))


def padded_with_0(out):
    """As v2.1 and XL's second tokenizer pad."""
    about = "As sd15-tiny.json, with the padding token !, id 0, which is found in a text as well."
    write(Path(out) / "tokenizer/sd21-tiny.json", about, models.load(out, "tokenizer", "sd21-tiny"), EXCLAIMED)


def clip(out):
    """With CLIP's vocabulary, which is fetched and not kept."""
    merges = clip_vocab.merges()
    ids = vocabulary.vocabulary(merges)
    assert len(ids) == clip_vocab.SIZE
    tokenizer = CLIPTokenizer(vocab=ids, merges=merges, model_max_length=MAX_LENGTH)
    about = "As sd15-tiny.json, with CLIP's own vocabulary (scripts/golden/clip_vocab.py makes it)."
    write(Path(out) / "tokenizer/clip-vit-l14.json", about, tokenizer)
