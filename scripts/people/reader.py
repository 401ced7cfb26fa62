"""A network that reads attributes off a picture, and what of them a caption says.

    reader.py --state DIR [--steps N]     train it on drawings, keep DIR/reader.pt, print its errors

It learns from the labels of drawings that no model saw, roughened a little as a model's pictures are, and its errors
are stated on drawings that it never saw itself, as they are drawn and after the model's VAE.
"""

import re
import sys

import captions
import numpy as np
import torch
import torch.nn.functional as F
from attributes import (
    BACKDROPS,
    CLOTHES,
    COLOURS,
    EXPRESSIONS,
    FINGERS,
    GAZES,
    GESTURES,
    HAIR,
    HAT_COLOURS,
    HATS,
    KINDS,
    PEOPLE,
    PLACES,
    SKIN,
    STYLES,
    pick,
)
from data import as_input, lots
from draw import SIZE, picture
from torch import nn

SEED = 800  # of the reader's drawings; every set of the model has another
HEADS = {
    "kind": KINDS,
    "who": PEOPLE,
    "skin": tuple(SKIN),
    "hair": tuple(dict.fromkeys(style for styles in STYLES.values() for style in styles)),
    "hair colour": tuple(HAIR),
    "hat": ("none", *HATS),
    "hat colour": HAT_COLOURS,
    "glasses": ("none", "glasses", "sunglasses"),
    "beard": ("none", "beard", "moustache"),
    "expression": EXPRESSIONS,
    "gaze": GAZES,
    "clothes": CLOTHES,
    "clothes colour": tuple(COLOURS),
    "place": ("none", *PLACES),
    "backdrop": ("none", *BACKDROPS),
    "left": ("none", *GESTURES),
    "right": ("none", *GESTURES),
}
BODY = ("who", "hair", "hair colour", "hat", "hat colour", "glasses", "beard", "expression", "gaze", "clothes")
NOT_SEEN = {"hand": BODY, "face": ("clothes", "clothes colour")}
MIX = {"half": 0.45, "portrait": 0.15, "face": 0.1, "hand": 0.15, "two": 0.15}


def attributes_of(made, who=0):
    """head -> value of a picture's person; heads that a picture of this kind does not show are missing."""
    p = made["people"][who]
    values = {
        "kind": made["kind"], "place": made["place"], "backdrop": made["backdrop"],
        **{name: p[name.replace(" ", "_")] for name in (*BODY, "skin", "clothes colour")},
        **{side: "none" for side in ("left", "right")},
        **{hand["side"]: hand["gesture"] for hand in made["hands"]},
    }
    hidden = list(NOT_SEEN.get(made["kind"], ()))
    if p["hat"] in ("none", "straw hat"):
        hidden.append("hat colour")
    if p["hair"] == "bald":
        hidden.append("hair colour")
    if p["glasses"] == "sunglasses":
        hidden.append("gaze")
    return {name: value for name, value in values.items() if name not in hidden}


def labels(made, who=0):
    """(heads,) int64: the place of each value in its head; -1 where it is not shown."""
    values = attributes_of(made, who)
    return [HEADS[name].index(values[name]) if name in values else -1 for name in HEADS]


# ---- what a caption says ----------------------------------------------------------------------------

def stated(made, text, who=0):
    """head -> value of what `text` says of one person of a picture; gestures are in `gestures_stated`."""
    p, found = made["people"][who], {}

    def said(name, value, *phrases):
        if any(re.search(rf"\b{re.escape(phrase)}\b", text) for phrase in phrases):
            found[name] = value

    said("kind", made["kind"], *{"face": ("face",), "hand": ("hand",)}.get(made["kind"], ()))
    if made["kind"] == "hand":
        found["kind"] = "hand"
    said("skin", p["skin"], f"{p['skin']} skin")
    said("place", made["place"], *captions.PLACES.get(made["place"], ()))
    said("backdrop", made["backdrop"], f"{made['backdrop']} background")
    said("clothes colour", p["clothes_colour"], *(f"{p['clothes_colour']} {name}" for name in (*CLOTHES, "sleeve")))
    if made["kind"] == "hand":
        return found
    said("who", p["who"], p["who"])
    hair = captions.HAIR[p["hair"]].format(p["hair_colour"])
    said("hair", p["hair"], hair)
    if p["hair"] != "bald":
        said("hair colour", p["hair_colour"], hair)
    said("hat", p["hat"], p["hat"])
    said("hat colour", p["hat_colour"], f"{p['hat_colour']} {p['hat']}")
    said("glasses", p["glasses"], p["glasses"])
    said("beard", p["beard"], p["beard"])
    said("expression", p["expression"], *captions.FEELING[p["expression"]])
    said("gaze", p["gaze"], f"looking {p['gaze']}")
    said("clothes", p["clothes"], f"{p['clothes_colour']} {p['clothes']}")
    return found


def gestures_stated(made, text):
    """The gestures that the picture is to show: a list of names, or [] where the caption says none."""
    words = [*sum(captions.GESTURES.values(), ()), "waving"]
    if not any(word in text for word in words):
        return []
    return sorted(hand["gesture"] for hand in made["hands"])


def gestures_read(values):
    return sorted(values[side] for side in ("left", "right") if values[side] != "none")


def fingers(gestures):
    """How many fingers the hands show, each hand's number."""
    return sorted(FINGERS[name] for name in gestures)


# ---- the network ------------------------------------------------------------------------------------

class Reader(nn.Module):
    """Five halvings of the picture; all heads look at the last 4 x 4 places."""

    WIDTHS = (24, 48, 96, 128, 128)

    def __init__(self):
        super().__init__()
        layers, before = [], 3
        for width in self.WIDTHS:
            layers += [nn.Conv2d(before, width, 3, 2, 1), nn.GroupNorm(8, width), nn.SiLU(),
                       nn.Conv2d(width, width, 3, 1, 1), nn.GroupNorm(8, width), nn.SiLU()]
            before = width
        self.body = nn.Sequential(*layers, nn.Flatten(), nn.Dropout(0.1), nn.Linear(16 * before, 256), nn.SiLU())
        self.heads = nn.Linear(256, sum(len(values) for values in HEADS.values()))

    def forward(self, x):
        return self.heads(self.body(x)).split([len(values) for values in HEADS.values()], dim=1)


def person_of_two(image, who):
    """One of two people as a picture of its own: the half of the picture, as large as the whole."""
    half = SIZE // 2
    part = image[half // 2 - 6 : half // 2 - 6 + half, who * half : (who + 1) * half]
    return part.repeat(2, 0).repeat(2, 1)


def example(rng, index):
    """(picture, labels) of a drawing."""
    kind = pick(rng, MIX, list(MIX.values()))
    made = picture(SEED, kind, index)
    if kind != "two":
        return made["image"], labels(made["attributes"])
    who = int(rng.integers(2))
    return person_of_two(made["image"], who), labels(made["attributes"], who)


def roughened(x, rng):
    """Pictures as a model might make them: blurred, noisy, paler."""
    if rng.random() < 0.6:
        keep = float(rng.uniform(0.3, 1.0))
        x = keep * x + (1 - keep) * F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3, 1)
    g = torch.Generator().manual_seed(int(rng.integers(2**62)))
    x = x * float(rng.uniform(0.9, 1.05)) + float(rng.uniform(-0.05, 0.05))
    return x + float(rng.uniform(0, 0.06)) * torch.randn(x.shape, generator=g)


def batch(recipe, step, count):
    rng = lots(recipe, "reader", step)
    made = [example(rng, int(rng.integers(2**31))) for _ in range(count)]
    return roughened(as_input([image for image, _ in made]), rng), torch.tensor([label for _, label in made])


def loss_of(outputs, truth):
    parts = [F.cross_entropy(o, truth[:, i], ignore_index=-1, reduction="sum") for i, o in enumerate(outputs)]
    return sum(parts) / len(truth)


def train(state, steps, count=48, rate=1.5e-3):
    """Train and keep a reader; a kept one is taken."""
    path = state.folder / "reader.pt"
    torch.manual_seed(state.recipe["seed"] + 4)
    made = Reader()
    if path.exists():
        made.load_state_dict(torch.load(path, weights_only=True))
        return made.eval()
    optimizer = torch.optim.AdamW(made.parameters(), lr=rate, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
    for step in range(steps):
        x, truth = batch(state.recipe, step, count)
        with torch.autocast("cpu", torch.bfloat16, enabled=state.bfloat16):
            outputs = made(x)
        loss = loss_of([o.float() for o in outputs], truth)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if (step + 1) % 50 == 0:
            state.say(f"reader {step + 1} of {steps}: loss {loss.item():.3f}")
    scratch = path.with_suffix(".new")
    torch.save(made.state_dict(), scratch)
    scratch.replace(path)
    return made.eval()


@torch.no_grad()
def read(reader, images):
    """head -> value, for each picture (H,W,3) uint8."""
    made = []
    for at in range(0, len(images), 32):
        best = torch.stack([o.argmax(1) for o in reader(as_input(images[at : at + 32]))], 1)
        made.extend({name: HEADS[name][i] for name, i in zip(HEADS, row)} for row in best.tolist())
    return made


def accuracy(reader, images, truths):
    """head -> (right, asked) over pictures; truths: head -> value of each, for the heads that are asked."""
    made = {name: [0, 0] for name in (*HEADS, "gestures", "fingers")}
    for values, truth in zip(read(reader, images), truths):
        for name, value in truth.items():
            if name == "gestures":
                found = gestures_read(values)
                made["gestures"][0] += found == value
                made["fingers"][0] += fingers(found) == fingers(value)
                made["fingers"][1] += 1
            else:
                made[name][0] += values[name] == value
            made[name][1] += 1
    return {name: tuple(pair) for name, pair in made.items() if pair[1]}


def drawings(recipe, count, name="reader held-out"):
    """(pictures, what they show) that no reader and no model was trained on."""
    rng, images, truths = lots(recipe, name), [], []
    for index in range(count):
        kind = pick(rng, MIX, list(MIX.values()))
        made = picture(SEED + 1, kind, index)
        who = index % 2 if kind == "two" else 0
        truth = attributes_of(made["attributes"], who)
        truth.pop("left"), truth.pop("right")
        if made["attributes"]["hands"]:
            truth["gestures"] = sorted(h["gesture"] for h in made["attributes"]["hands"])
        images.append(person_of_two(made["image"], who) if kind == "two" else made["image"])
        truths.append(truth)
    return images, truths


def share(pair):
    return pair[0] / pair[1]


def main():
    import argparse
    from pathlib import Path

    from loop import State
    from recipe import FULL

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--state", required=True, type=Path)
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--bfloat16", action="store_true")
    options = parser.parse_args()
    state = State(options.state, FULL, options.bfloat16)
    reader = train(state, options.steps)
    for name, pair in accuracy(reader, *drawings(FULL, 600)).items():
        print(f"{name:15} {100 * share(pair):6.1f} % of {pair[1]}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
