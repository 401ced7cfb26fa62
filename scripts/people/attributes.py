"""What a picture shows, drawn by lot: the attributes of people, gestures and places.

A picture is fixed by (seed, kind, index): the three seed one random generator, and nothing else is random.
The lots are balanced on purpose: every skin goes with every hair, hat and expression.
"""

import zlib

import numpy as np

KINDS = ("portrait", "half", "two", "face", "hand")

SKIN = {
    "pale": (0.99, 0.87, 0.79),
    "light": (0.96, 0.76, 0.62),
    "tan": (0.82, 0.60, 0.42),
    "brown": (0.66, 0.44, 0.29),
    "dark": (0.46, 0.29, 0.21),
}
HAIR = {
    "black": (0.16, 0.13, 0.17),
    "brown": (0.44, 0.26, 0.15),
    "blond": (0.98, 0.82, 0.36),
    "red": (0.86, 0.35, 0.13),
    "grey": (0.66, 0.66, 0.70),
    "blue": (0.25, 0.45, 0.90),
    "pink": (0.97, 0.52, 0.72),
}
COLOURS = {
    "red": (0.87, 0.20, 0.22),
    "orange": (0.97, 0.58, 0.16),
    "yellow": (0.98, 0.84, 0.25),
    "green": (0.28, 0.68, 0.36),
    "blue": (0.20, 0.42, 0.85),
    "purple": (0.55, 0.32, 0.75),
    "white": (0.96, 0.96, 0.97),
    "black": (0.24, 0.24, 0.28),
}
BACKDROPS = {
    "light blue": (0.66, 0.85, 0.97),
    "yellow": (1.00, 0.91, 0.58),
    "pink": (0.99, 0.79, 0.84),
    "green": (0.68, 0.87, 0.66),
    "lilac": (0.82, 0.76, 0.95),
    "grey": (0.80, 0.81, 0.84),
    "orange": (0.99, 0.74, 0.50),
    "turquoise": (0.50, 0.83, 0.82),
}
PLACES = ("beach", "park", "city", "night", "mountains", "room")
EYES = {"brown": (0.35, 0.20, 0.10), "blue": (0.15, 0.45, 0.85), "green": (0.15, 0.60, 0.35)}
PEOPLE = ("woman", "man", "girl", "boy")
STYLES = {
    "woman": ("long", "bob", "curly", "bun", "ponytail", "short"),
    "girl": ("long", "bob", "curly", "bun", "ponytail", "braids"),
    "man": ("short", "spiky", "curly", "bald", "long", "parted"),
    "boy": ("short", "spiky", "curly", "parted"),
}
HAT_COLOURS = ("red", "yellow", "green", "blue", "purple")
HATS = ("cap", "woolly hat", "straw hat")
EXPRESSIONS = ("smiling", "laughing", "sad", "surprised", "angry", "calm")
GAZES = ("ahead", "left", "right", "up")
CLOTHES = ("t-shirt", "shirt", "sweater", "hoodie", "striped")
GESTURES = ("one", "two", "three", "four", "five", "fist", "thumb", "wave")
FINGERS = {"one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "wave": 5, "fist": 0, "thumb": 1}


def generator(seed, kind, index):
    """The random generator of one picture."""
    return np.random.default_rng([int(seed), zlib.crc32(kind.encode()), int(index)])


def pick(rng, names, weights=None):
    names = list(names)
    if weights is not None:
        weights = np.asarray(weights, float) / sum(weights)
    return names[int(rng.choice(len(names), p=weights))]


def person(rng, kind, who=None):
    """The attributes of one person."""
    who = who or pick(rng, PEOPLE, (3, 3, 1, 1))
    adult = who in ("woman", "man")
    made = {
        "who": who,
        "skin": pick(rng, SKIN),
        "hair": pick(rng, STYLES[who]),
        "hair_colour": pick(rng, HAIR, (3, 3, 3, 3, 2 if adult else 0, 1, 1)),
        "hat": pick(rng, ("none", *HATS), (6, 1, 1, 1)),
        "hat_colour": pick(rng, HAT_COLOURS),
        "glasses": pick(rng, ("none", "glasses", "sunglasses"), (6, 2, 1)),
        "beard": pick(rng, ("none", "beard", "moustache"), (4, 2, 1)) if who == "man" else "none",
        "expression": pick(rng, EXPRESSIONS),
        "gaze": pick(rng, GAZES, (5, 2, 2, 1)),
        "eyes": pick(rng, EYES),
        "clothes": pick(rng, CLOTHES),
        "clothes_colour": pick(rng, COLOURS),
        "tilt": float(rng.uniform(-4, 4)),
        "freckles": bool(rng.random() < (0.4 if not adult else 0.1)),
    }
    if made["hair"] == "bald" and made["hat"] == "none" and rng.random() < 0.3:
        made["hair"] = "short"
    if made["hat"] == "straw hat":
        made["hat_colour"] = "yellow"
    return made


def place(rng, kind):
    """Where the picture is: a scene, or a plain backdrop."""
    scenes = 0.0 if kind in ("face", "hand") else 0.6
    if rng.random() < scenes:
        return {"place": pick(rng, PLACES), "backdrop": "none"}
    return {"place": "none", "backdrop": pick(rng, BACKDROPS)}


def sample(seed, kind, index):
    """All attributes of one picture: {"kind", "people": [...], "place", "backdrop", "hands": [...], ...}.

    "left" and "right" are those of the picture, not of the person.
    """
    rng = generator(seed, kind, index)
    made = {"seed": int(seed), "kind": kind, "index": int(index), **place(rng, kind)}
    count = 2 if kind == "two" else 1
    made["people"] = [person(rng, kind) for _ in range(count)]
    made["hands"] = []
    if kind == "half":
        both = rng.random() < 0.45
        sides = ("left", "right") if both else (pick(rng, ("left", "right")),)
        same = rng.random() < 0.5
        first = pick(rng, GESTURES)
        for side in sides:
            gesture = first if same or side == sides[0] else pick(rng, GESTURES)
            made["hands"].append({"side": side, "gesture": gesture})
    elif kind == "hand":
        made["hands"].append({"side": pick(rng, ("left", "right")), "gesture": pick(rng, GESTURES)})
    for hand in made["hands"]:
        hand["angle"] = float(rng.uniform(-6, 6))
    made["shift"] = [float(rng.uniform(-2.5, 2.5)), float(rng.uniform(-2, 2))]
    made["grow"] = float(rng.uniform(0.97, 1.03))
    made["words"] = int(rng.integers(2**31))
    return made
