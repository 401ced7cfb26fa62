"""Prompt weights and chunks of 75 tokens: the rules, written out, and their vectors.

The rules are those of the authors' generation script; original.py holds them against its
functions. A prompt is cut into items, tried in this order at each place:

    \\( \\) \\[ \\] \\\\ \\   ( [   :NUMBER)   ) ]   a run without \\ ( ) [ ] :   :

An item that begins with a backslash stands for its remaining characters. ( and [ open, :NUMBER)
and ) close a round bracket with the factor NUMBER or 1.1, ] a square one with 1/1.1; a closer
without its opener is text. What is open at the end closes with its usual factor.
"""

from pathlib import Path

import torch

from golden import models
from golden.calls import Calls
from golden.formats import dump_json
from golden.seeds import normal

BREAK = "BREAK"
ROUND, SQUARE = 1.1, 1 / 1.1


def number_close(text, at):
    """The NUMBER of `:NUMBER)` at this place, or None."""
    end = at + 1
    if text[end : end + 1] in ("+", "-"):
        end += 1
    digits = end
    # Any Unicode decimal digit counts, as in Python's \d.
    while end < len(text) and (text[end] == "." or text[end].isdecimal()):
        end += 1
    if end > digits and text[end : end + 1] == ")":
        return text[at + 1 : end]
    return None


def items(text):
    """Cut a prompt: (kind, text) with kind text, open, number, close."""
    at = 0
    while at < len(text):
        c = text[at]
        if c == "\\":
            escaped = text[at + 1 : at + 2]
            known = escaped and escaped in "()[]\\"
            yield "literal", escaped if known else ""
            at += 2 if known else 1
        elif c in "([":
            yield "open", c
            at += 1
        elif c == ":" and number_close(text, at) is not None:
            number = number_close(text, at)
            yield "number", number
            at += len(number) + 2
        elif c in ")]":
            yield "close", c
            at += 1
        elif c == ":":
            yield "text", c
            at += 1
        else:
            end = at
            while end < len(text) and text[end] not in "\\()[]:":
                end += 1
            yield "text", text[at:end]
            at = end


def parse(prompt):
    """[[text, weight], ...] of a prompt."""
    segments, opened = [], {"(": [], "[": []}

    def scale(start, factor):
        for segment in segments[start:]:
            segment[1] *= factor

    for kind, text in items(prompt.replace(BREAK, f"\\{BREAK}\\")):
        if kind == "open":
            opened[text].append(len(segments))
        elif kind == "number" and opened["("]:
            scale(opened["("].pop(), float(text))
        elif kind == "number":
            segments.append([f":{text})", 1.0])
        elif kind == "close" and opened["(" if text == ")" else "["]:
            scale(opened["(" if text == ")" else "["].pop(), ROUND if text == ")" else SQUARE)
        else:
            segments.append([text, 1.0])
    for start in opened["("]:
        scale(start, ROUND)
    for start in opened["["]:
        scale(start, SQUARE)
    merged = []
    for text, weight in segments or [["", 1.0]]:
        breaks = text.strip() == BREAK or (merged and merged[-1][0].strip() == BREAK)
        if merged and merged[-1][1] == weight and not breaks:
            merged[-1][0] += text
        else:
            merged.append([text, weight])
    return merged


def tokens_of(tokenizer, prompt, limit, pad):
    """Ids and their weights, at most `limit` of them."""
    ids, weights = [], []
    for text, weight in parse(prompt):
        if text.strip() == BREAK:  # fill up to a multiple of 77 (not 75)
            part, weight = [pad] * (77 - len(ids) % 77), 1.0
        else:
            part = tokenizer(text, add_special_tokens=False).input_ids
        ids += part
        weights += [weight] * len(part)
        if len(ids) > limit and text.strip() != BREAK:
            break
    return ids[:limit], weights[:limit]


def chunks(tokenizer, prompts, multiples, pad):
    """Per prompt the rows of 77 ids that the text encoder sees, and the rows of weights."""
    bos, eos = tokenizer.bos_token_id, tokenizer.eos_token_id
    cut = [tokens_of(tokenizer, prompt, 75 * multiples, pad) for prompt in prompts]
    longest = max(len(ids) for ids, _ in cut)
    count = max(1, min(multiples, -(-longest // 75)))
    out = []
    for ids, weights in cut:
        row = [bos, *ids, eos] + [pad] * (75 * count - len(ids))
        rows = [row[75 * c : 75 * c + 77] for c in range(count)]
        if count > 1:
            for r in rows:
                r[0] = bos
                if pad == eos:
                    r[-1] = row[-1]  # the pad of the row's end, or its EOS: the same id
                else:
                    if r[-1] not in (eos, pad):
                        r[-1] = eos
                    if r[1] == pad:
                        r[1] = eos
        weights = weights + [1.0] * (75 * count - len(weights))
        weighted = [[1.0, *weights[75 * c : 75 * c + 75], 1.0] for c in range(count)]
        out.append({"ids": rows, "weights": weighted})
    return out


PARSER = r"""
a ((red)) [blue] (green:1.3) x
((a)b:2)
((a:1.5):2)
(a:1.5
(a: 1.3)
[a:0.5]
x) y]
\(lit\)
normal text
an (important) word
(unbalanced
\(literal\]
(unnecessary)(parens)
a (((house:1.3)) [on] a (hill:0.5), sun, (((sky))).
[[[very small]]]
([mixed]) [(brackets)]
(a [b) c]
)(
][
()
[]
(())
(:1.5)
(a:)
(a:.)x
(a:.5)
(a:+2)
(a:-1)
(a:1.5.)y
(a:0)
a:1.3)
a:b:c
a :1.3
(a:b:1.2)
(a:1.2:1.3)
\\
\
a\b
\[x\] \\(y:1.4)
(back\)slash:1.2)
(BREAK)
a BREAK b
BREAKFAST
aBREAKb
BREAK BREAK
(a BREAK b:1.3)
hands, (five fingers:1.21), [bad]
(best quality), ((masterpiece)), (face:1.4), [[blurry]]
(手:1.5) と (顔)
(a:1,5)
(a:1e3)
(  spaced out  : 2 )
(a)(b:1.1)c
((((((((((deep))))))))))
one (two [three (four:2)] five:0.5) six
""".strip("\n").split("\n")
PARSER += ["", " ", "(multi\nline:1.2)", "(a:" + "1" * 5 + ")", "x" * 200]
UNPARSABLE = ["(a:1.2.3)", "(a:..)", "(a:.)", "(a:1.5.)y", "(a:.)x"]  # float() refuses these

LONG = "a portrait of a woman with both hands on the table, " * 9
CHUNKS = [  # prompts of one batch, multiples
    ([LONG, "a hand"], 1),
    ([LONG, "a hand"], 3),
    ([LONG + LONG + LONG, ""], 3),
    (["a (warm:1.4) light, [cold] wall", "bad hands"], 3),
    (["(" + LONG + ":1.2) end", "(short)"], 2),
    (["a " * 75, "a"], 3),
    (["a " * 76, "a " * 75], 3),
    (["a " * 74, ""], 1),
    (["a " * 150, "a " * 149], 3),
    (["a " * 151, "a " * 225], 3),
    (["a BREAK b", "c"], 3),
    (["", ""], 1),
]


def parser_rows():
    """The table of the parser; rows that end in an error carry null."""
    rows = []
    for text in dict.fromkeys([*PARSER, *UNPARSABLE]):
        try:
            rows.append({"text": text, "segments": parse(text)})
        except ValueError:
            rows.append({"text": text, "segments": None})
    return rows


def chunk_rows(tokenizer):
    """The table of the chunks, padded with EOS (v1) and with 0 (v2)."""
    rows = []
    for prompts, multiples in CHUNKS:
        for pad in (tokenizer.eos_token_id, 0):
            found = chunks(tokenizer, prompts, multiples, pad)
            head = {"prompts": prompts, "max_embeddings_multiples": multiples, "pad": pad}
            rows.append({**head, "rows": found})
    return rows


def prompts_json(out):
    """golden/prompts.json."""
    about = (
        "parser: a prompt and its [text, weight] segments (null: the number is no number, an "
        "error). chunks: a batch of prompts with the vocabulary of models/sd15-tiny; per prompt "
        "the rows of 77 ids that are encoded, and the weights of each position."
    )
    head = {"format": "mole-golden-prompts", "version": 1, "about": about}
    tables = {"parser": parser_rows(), "chunks": chunk_rows(models.load(out, "tokenizer"))}
    dump_json(Path(out) / "prompts.json", {**head, **tables})


def weight_embeddings(out):
    """How weights act on the text encoder's output."""
    about = "Rows times their weight, then scaled so that the mean of the whole stays."
    calls = Calls(out, "weight_embeddings", about, room="pipeline")
    for name, shape, weights in [
        ("usual", (2, 7, 5), [[1, 1.1, 1.1, 1, 1.3, 1, 1], [1, 1, 0.9, 0.5, 1, 1, 1]]),
        ("all-ones", (1, 4, 6), [[1, 1, 1, 1]]),
        ("two-chunks", (1, 154, 4), [[1.0 + 0.01 * (i % 7) for i in range(154)]]),
    ]:

        def function(embeddings, weights):
            weighted = embeddings * weights[:, :, None]
            means = embeddings.mean((1, 2)), weighted.mean((1, 2))
            return weighted * (means[0] / means[1])[:, None, None]

        tensors = {
            "embeddings": normal(f"weight_embeddings/{name}", shape, 1.0, 0.3),
            "weights": torch.tensor(weights, dtype=torch.float32),
        }
        calls.add(name, function, tensors)
    calls.write()
