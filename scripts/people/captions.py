"""Captions: what a picture shows, in words, in several ways of saying it.

A caption leaves things out, as captions do; what is special (a hat, glasses, a gesture) is rarely left out.
"""

import numpy as np
from attributes import pick

GESTURES = {
    "one": ("one finger", "one raised finger", "1 finger"),
    "two": ("two fingers", "two raised fingers", "2 fingers"),
    "three": ("three fingers", "three raised fingers", "3 fingers"),
    "four": ("four fingers", "four raised fingers", "4 fingers"),
    "five": ("five fingers", "an open palm", "an open hand", "5 fingers"),
    "fist": ("a fist", "a closed fist"),
    "thumb": ("a thumb up", "thumbs up"),
}
FEELING = {
    "smiling": ("smiling", "happy"),
    "laughing": ("laughing",),
    "sad": ("sad",),
    "surprised": ("surprised", "astonished"),
    "angry": ("angry",),
    "calm": ("calm", "serious"),
}
HAIR = {
    "short": "short {} hair", "long": "long {} hair", "bob": "{} hair in a bob", "curly": "curly {} hair",
    "bun": "{} hair in a bun", "ponytail": "a {} ponytail", "braids": "{} braids", "spiky": "spiky {} hair",
    "parted": "parted {} hair", "bald": "a bald head",
}
PLACES = {
    "beach": ("on the beach", "at the sea"),
    "park": ("in a park", "in the park under trees"),
    "city": ("in the city", "in front of city houses"),
    "night": ("at night", "under the stars at night"),
    "mountains": ("in the mountains",),
    "room": ("in a room", "at home in a room"),
}
START = {
    "portrait": ("a portrait of {}", "{}", "a head and shoulders picture of {}"),
    "half": ("{}", "a picture of {}", "a drawing of {}"),
    "two": ("{}", "a picture of {}", "two people, {}"),
    "face": ("a close-up of the face of {}", "a face close-up of {}", "the face of {}, close-up"),
    "hand": ("a close-up of a hand showing {}", "a hand close-up, {}", "a hand showing {}, close-up"),
}


def an(words):
    return ("an " if words[0] in "aeiou" else "a ") + words


def joined(parts):
    """ "a", "a and b", "a, b and c"."""
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]


def clothes(p, rng):
    name = {"striped": "striped shirt", "shirt": pick(rng, ("shirt", "shirt with a collar"))}.get(
        p["clothes"], p["clothes"])
    return f"wearing {an(p['clothes_colour'] + ' ' + name)}"


def head_words(p, rng, keep):
    """What the head has: hair, beard, skin, glasses, hat."""
    has = []
    if rng.random() < keep and (p["hat"] == "none" or rng.random() < 0.7):
        has.append(HAIR[p["hair"]].format(p["hair_colour"]))
    if p["beard"] != "none" and rng.random() < 0.92:
        has.append(f"a {p['hair_colour']} {p['beard']}" if rng.random() < 0.3 else f"a {p['beard']}")
    if rng.random() < keep * 0.75:
        has.append(f"{p['skin']} skin")
    if p["glasses"] != "none" and rng.random() < 0.95:
        has.append(p["glasses"])
    if p["hat"] != "none" and rng.random() < 0.95:
        colour = p["hat_colour"] + " " if p["hat"] != "straw hat" else ""
        has.append(f"a {colour}{p['hat']}")
    return has


def describe(p, rng, keep, close=False, dressed=True):
    """One person: "a smiling woman with ... wearing ... looking left"."""
    who = p["who"] if rng.random() < 0.92 else ("person" if p["who"] in ("woman", "man") else "child")
    mood = pick(rng, FEELING[p["expression"]]) + " " if rng.random() < 0.85 else ""
    text = an(mood + who)
    has = head_words(p, rng, keep)
    if close and p["glasses"] != "sunglasses" and rng.random() < keep:
        has.append(f"{p['eyes']} eyes")
    if close and p["freckles"] and rng.random() < 0.8:
        has.append("freckles")
    if has:
        order = rng.permutation(len(has)) if rng.random() < 0.4 else range(len(has))
        text += " with " + joined([has[i] for i in order])
    if dressed and rng.random() < keep:
        text += ", " + clothes(p, rng)
    if p["glasses"] != "sunglasses":
        if p["gaze"] != "ahead" and rng.random() < 0.85:
            text += f", looking {p['gaze']}"
        elif p["gaze"] == "ahead" and rng.random() < 0.15:
            text += ", looking ahead"
    return text


def gestures(hands, rng):
    """What the hands do, or ""."""
    if not hands or rng.random() < 0.03:
        return ""
    said = []
    names = [hand["gesture"] for hand in hands]
    if len(hands) == 2 and names[0] == names[1]:
        if names[0] == "wave":
            return "waving with both hands"
        return pick(rng, ("showing {} with both hands", "showing {} on each hand")).format(
            pick(rng, GESTURES[names[0]]))
    for hand in hands:
        where = f" on the {hand['side']}" if len(hands) == 2 or rng.random() < 0.5 else ""
        if hand["gesture"] == "wave":
            said.append(pick(rng, ("waving", "waving a hand", "waving hello")) + where)
        else:
            verb = pick(rng, ("showing", "showing", "holding up"))
            said.append(f"{verb} {pick(rng, GESTURES[hand['gesture']])}{where}")
    return " and ".join(said)


def setting(made, rng, keep):
    if made["place"] != "none":
        return " " + pick(rng, PLACES[made["place"]]) if rng.random() < 0.9 else ""
    if rng.random() < keep:
        return f", {made['backdrop']} background"
    return ""


def hand_caption(made, rng, keep):
    hand, p = made["hands"][0], made["people"][0]
    what = "a waving hand" if hand["gesture"] == "wave" else pick(rng, GESTURES[hand["gesture"]])
    start = pick(rng, START["hand"])
    text = f"a close-up of {what}" if hand["gesture"] == "wave" else start.format(what)
    if rng.random() < keep:
        text += f", {p['skin']} skin"
    if rng.random() < keep:
        striped = "striped " if p["clothes"] == "striped" else ""
        text += f", {striped}{p['clothes_colour']} sleeve"
    return text


def caption(made, way=0):
    """A caption of a picture; which words it has depends on the picture's lot and on `way`."""
    rng = np.random.default_rng([made["words"], way])
    keep = rng.choice((0.35, 0.75, 1.0), p=(0.15, 0.45, 0.40))
    kind = made["kind"]
    if kind == "hand":
        return hand_caption(made, rng, keep) + setting(made, rng, keep)
    people = [describe(p, rng, keep * (0.85 if kind == "two" else 1), kind == "face", kind != "face")
              for p in made["people"]]
    start = pick(rng, START[kind])
    text = start.format(" and ".join(people) if kind != "two" else
                        pick(rng, ("{} next to {}", "{} and {}")).format(*people))
    does = gestures(made["hands"], rng)
    if does:
        text += ", " + does
    return text + setting(made, rng, keep)
