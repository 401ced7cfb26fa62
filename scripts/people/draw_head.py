"""Heads: the face is 2 wide with its middle at the origin, the chin at 1.2, the crown at -1.2."""

import math

from attributes import COLOURS, EYES, HAIR, SKIN
from canvas import INK, blend, box, closed, darker, ellipse, lighter, mirrored, polygon

WHITE = (0.99, 0.99, 0.98)
LIP = (0.80, 0.25, 0.28)
MOUTH = (0.50, 0.10, 0.13)


def face_path(who):
    """The outline of a face: men's jaws are broader, children's rounder."""
    jaw, chin = {"man": (0.76, 1.24), "woman": (0.58, 1.22), "boy": (0.78, 1.08), "girl": (0.72, 1.08)}[who]
    return closed(
        mirrored([(0, -1.2), (-0.62, -1.2), (-1.0, -0.85), (-1.0, -0.1), (-1.0, 0.55), (-jaw, chin), (0, chin)])
    )


# ---- hair -------------------------------------------------------------------------------------------

def locks(canvas, centres, radius, colour):
    """Round curls with one outline around them all."""
    for x, y in centres:
        canvas.ctx.new_path()
        ellipse(x, y, radius)(canvas.ctx)
        canvas.ink(2)
    for x, y in centres:
        canvas.ctx.new_path()
        ellipse(x, y, radius)(canvas.ctx)
        canvas.fill(colour)


def cloud(radius, start, end, count):
    """Centres along an arc around the head, in degrees from the right, anticlockwise."""
    angles = [math.radians(start + (end - start) * i / (count - 1)) for i in range(count)]
    return [(radius * math.cos(a), -0.25 - radius * math.sin(a)) for a in angles]


def back_hair(canvas, p):
    """What hangs behind the neck and the shoulders."""
    style, colour = p["hair"], HAIR[p["hair_colour"]]
    shade = darker(colour, 0.12)
    if style == "long":
        left = [(0, -1.38), (-0.8, -1.42), (-1.22, -0.9), (-1.22, -0.1), (-1.22, 0.8), (-1.45, 1.3),
                (-1.38, 2.0), (-0.9, 2.2), (-0.4, 2.1), (0, 2.1)]
        canvas.shape(closed(mirrored(left)), shade)
    elif style == "bob":
        left = [(0, -1.38), (-0.8, -1.42), (-1.28, -0.9), (-1.28, 0.0), (-1.28, 0.6), (-1.34, 0.9),
                (-1.16, 1.12), (-0.8, 1.2), (-0.4, 1.1), (0, 1.1)]
        canvas.shape(closed(mirrored(left)), shade)
    elif style == "curly":
        locks(canvas, cloud(1.10, -38, 218, 11) + [(0, -0.3)], 0.42, shade)
    elif style == "bun":
        canvas.shape(ellipse(0, -1.55, 0.46), colour)
        canvas.curve([(-0.22, -1.62), (-0.1, -1.8), (0.15, -1.8), (0.24, -1.6)], 0.6, darker(colour, 0.4))
    elif style == "ponytail":
        tail = [(0.75, -1.05), (1.35, -1.35), (1.75, -0.8), (1.62, 0.0), (1.56, 0.5), (1.6, 0.8), (1.40, 1.15),
                (1.15, 0.6), (1.25, -0.2), (0.75, -0.6)]
        canvas.shape(closed(tail + [(0.7, -0.8), (0.7, -0.9), (0.75, -1.05)]), shade)
    elif style == "braids":
        for side in (-1, 1):
            for y in (0.55, 0.95, 1.35, 1.75):
                canvas.shape(ellipse(side * (1.02 + 0.05 * y), y, 0.27, 0.25), colour, 0.9)
            canvas.shape(ellipse(side * 1.12, 2.02, 0.15), LIP, 0.8)


def fringe(canvas, p):
    """What lies over the forehead."""
    style, colour = p["hair"], HAIR[p["hair_colour"]]
    if style == "bald":
        canvas.curve([(-0.55, -0.85), (-0.4, -1.0), (-0.25, -1.06), (-0.1, -1.08)], 0.8, (1, 1, 1))
        return
    if style == "curly":
        locks(canvas, cloud(0.98, 28, 152, 6), 0.36, colour)
        return
    cap = {
        # From the left temple over the crown to the right temple, and back along the hair line.
        "short": [(-1.04, -0.05), (-1.18, -1.0), (-0.75, -1.5), (0.05, -1.46), (0.85, -1.5), (1.18, -1.0),
                  (1.04, -0.05), (0.95, -0.35), (0.9, -0.5), (0.72, -0.66), (0.2, -0.62), (-0.35, -0.72),
                  (-0.6, -0.98), (-0.66, -0.7), (-0.9, -0.55), (-1.04, -0.05)],
        "spiky": None,
        "parted": [(-1.05, 0.0), (-1.2, -1.0), (-0.8, -1.48), (0.0, -1.42), (0.85, -1.48), (1.2, -1.0),
                   (1.05, 0.0), (1.0, -0.5), (0.75, -0.8), (-0.35, -1.05), (-0.45, -0.75), (-0.9, -0.6),
                   (-1.05, 0.0)],
        "long": [(-1.12, 0.5), (-1.28, -1.0), (-0.75, -1.46), (0.0, -1.42), (0.75, -1.46), (1.28, -1.0),
                 (1.12, 0.5), (0.98, 0.1), (0.95, -0.55), (0.0, -1.02), (-0.95, -0.55), (-0.98, 0.1),
                 (-1.12, 0.5)],
        "bob": [(-1.2, 0.6), (-1.3, -1.0), (-0.8, -1.46), (0.0, -1.44), (0.8, -1.46), (1.3, -1.0), (1.2, 0.6),
                (0.95, 0.3), (0.9, -0.2), (0.86, -0.50), (0.4, -0.58), (-0.4, -0.58), (-0.86, -0.50),
                (-0.9, -0.2), (-0.95, 0.3), (-1.2, 0.6)],
    }
    cap["bun"] = cap["ponytail"] = [
        (-1.03, -0.1), (-1.16, -1.0), (-0.75, -1.42), (0.0, -1.40), (0.75, -1.42), (1.16, -1.0), (1.03, -0.1),
        (0.85, -0.65), (0.5, -0.85), (0.0, -0.85), (-0.5, -0.85), (-0.85, -0.65), (-1.03, -0.1)]
    cap["braids"] = [
        (-1.06, 0.45), (-1.2, -1.0), (-0.75, -1.44), (0.0, -1.40), (0.75, -1.44), (1.2, -1.0), (1.06, 0.45),
        (0.95, -0.1), (0.8, -0.7), (0.0, -0.98), (-0.8, -0.7), (-0.95, -0.1), (-1.06, 0.45)]
    if style == "spiky":
        points = [(-1.06, -0.05), (-1.3, -0.75), (-1.0, -0.95), (-1.05, -1.45), (-0.6, -1.3), (-0.4, -1.8),
                  (0.0, -1.4), (0.35, -1.85), (0.55, -1.35), (1.0, -1.5), (1.0, -0.95), (1.3, -0.75),
                  (1.06, -0.05), (0.85, -0.5), (0.55, -0.78), (0.3, -0.6), (0.0, -0.82), (-0.3, -0.6),
                  (-0.55, -0.8), (-0.85, -0.5)]
        canvas.shape(polygon(points), colour)
    else:
        canvas.shape(closed(cap[style]), colour)
        if style in ("long", "braids"):
            canvas.curve([(0, -1.40), (0.02, -1.02)], 0.6, darker(colour, 0.4))
        else:
            canvas.curve([(-0.7, -1.12), (-0.5, -1.28), (-0.3, -1.33), (-0.1, -1.33)], 0.8, lighter(colour, 0.4))


# ---- hats -------------------------------------------------------------------------------------------

HAT_LINE = -0.62


def hat(canvas, p):
    colour = COLOURS[p["hat_colour"]]
    if p["hat"] == "cap":
        dome = [(-1.12, -0.55), (-1.15, -1.2), (-0.75, -1.68), (0, -1.68), (0.75, -1.68), (1.15, -1.2),
                (1.12, -0.55)]
        canvas.shape(closed(dome + [(0.4, -0.75), (-0.4, -0.75), (-1.12, -0.55)]), colour)
        canvas.curve([(0, -1.66), (0.02, -0.75)], 0.7, darker(colour, 0.35))
        brim = [(-1.15, -0.58), (-0.7, -1.0), (0.7, -1.0), (1.15, -0.58), (1.25, -0.42), (0.95, -0.38),
                (0.75, -0.46), (0.3, -0.56), (-0.3, -0.56), (-0.75, -0.46), (-0.95, -0.38), (-1.25, -0.42),
                (-1.15, -0.58)]
        canvas.shape(closed(brim), darker(colour, 0.22))
        canvas.shape(ellipse(0, -1.69, 0.1), colour, 0.8)
    elif p["hat"] == "woolly hat":
        canvas.shape(ellipse(0, -1.82, 0.3), WHITE)
        dome = [(-1.14, -0.7), (-1.2, -1.35), (-0.7, -1.78), (0, -1.78), (0.7, -1.78), (1.2, -1.35), (1.14, -0.7)]
        canvas.shape(closed(dome + [(0.4, -0.7), (-0.4, -0.7), (-1.14, -0.7)]), colour)
        canvas.shape(box(-1.2, -0.95, 2.4, 0.42, 0.18), lighter(colour, 0.45))
        for x in (-0.8, -0.4, 0.0, 0.4, 0.8):
            canvas.curve([(x, -0.87), (x, -0.61)], 0.6, darker(colour, 0.15))
    elif p["hat"] == "straw hat":
        straw = (0.95, 0.80, 0.46)
        canvas.shape(ellipse(0, -0.68, 1.85, 0.36), straw)
        dome = [(-0.92, -0.7), (-0.95, -1.3), (-0.7, -1.72), (0, -1.72), (0.7, -1.72), (0.95, -1.3), (0.92, -0.7)]
        canvas.shape(closed(dome + [(0.4, -0.55), (-0.4, -0.55), (-0.92, -0.7)]), straw)
        band = [(-0.93, -0.92), (-0.4, -0.78), (0.4, -0.78), (0.93, -0.92), (0.93, -0.8), (0.93, -0.75),
                (0.92, -0.68), (0.4, -0.52), (-0.4, -0.52), (-0.92, -0.68), (-0.93, -0.75), (-0.93, -0.8),
                (-0.93, -0.92)]
        canvas.shape(closed(band), (0.82, 0.25, 0.25), 0.7)


# ---- the face ---------------------------------------------------------------------------------------

EYE_X, EYE_Y = 0.42, 0.02
LOOK = {"ahead": (0, 0), "left": (-0.105, 0.0), "right": (0.105, 0.0), "up": (0, -0.12)}


def eyes(canvas, p):
    """Whites, irises that follow the gaze, and lashes."""
    dx, dy = LOOK[p["gaze"]]
    tall = {"surprised": 0.31, "laughing": 0.20, "angry": 0.22}.get(p["expression"], 0.26)
    for side in (-1, 1):
        x = side * EYE_X
        white = ellipse(x, EYE_Y, 0.235, tall)
        canvas.shape(white, WHITE, 0.8)
        canvas.ctx.save()
        canvas.ctx.new_path()
        white(canvas.ctx)
        canvas.ctx.clip()
        canvas.shape(ellipse(x + dx, EYE_Y + dy, 0.155, 0.17), EYES[p["eyes"]], 0)
        canvas.shape(ellipse(x + dx, EYE_Y + dy, 0.09, 0.10), INK, 0)
        canvas.shape(ellipse(x + dx + 0.05, EYE_Y + dy - 0.06, 0.04), (1, 1, 1), 0)
        canvas.ctx.restore()
        if p["who"] in ("woman", "girl"):
            canvas.curve([(x - side * 0.12, EYE_Y - tall * 0.92), (x + side * 0.1, EYE_Y - tall * 1.15),
                          (x + side * 0.2, EYE_Y - tall * 0.8), (x + side * 0.34, EYE_Y - tall * 0.95)], 1.25)


def brows(canvas, p):
    """(inner, outer) heights tell the mood."""
    inner, outer = {"smiling": (-0.44, -0.42), "laughing": (-0.46, -0.42), "sad": (-0.58, -0.34),
                    "surprised": (-0.60, -0.56), "angry": (-0.24, -0.50), "calm": (-0.38, -0.38)}[p["expression"]]
    bend = -0.10 if p["expression"] not in ("angry", "sad") else 0.0
    middle = (inner + outer) / 2 + bend
    hair = HAIR[p["hair_colour"]]
    colour = darker(hair, 0.5) if p["hair_colour"] != "black" else INK
    width = 1.7 if p["who"] in ("man", "boy") else 1.25
    for side in (-1, 1):
        canvas.curve([(side * 0.20, inner), (side * 0.35, middle), (side * 0.48, middle), (side * 0.66, outer)],
                     width, colour)


def mouth(canvas, p):
    mood = p["expression"]
    lip = LIP if p["who"] == "woman" else INK
    if mood == "smiling":
        canvas.curve([(-0.38, 0.58), (-0.2, 0.84), (0.2, 0.84), (0.38, 0.58)], 1.3, lip)
    elif mood == "laughing":
        path = closed([(-0.44, 0.50), (-0.2, 0.56), (0.2, 0.56), (0.44, 0.50), (0.42, 1.02), (-0.42, 1.02),
                       (-0.44, 0.50)])
        canvas.shape(path, MOUTH)
        canvas.ctx.save()
        canvas.ctx.new_path()
        path(canvas.ctx)
        canvas.ctx.clip()
        canvas.shape(box(-0.5, 0.40, 1.0, 0.26), WHITE, 0)
        canvas.shape(ellipse(0, 0.95, 0.24, 0.14), (0.93, 0.45, 0.47), 0)
        canvas.ctx.restore()
        canvas.ctx.new_path()
        path(canvas.ctx)
        canvas.ink(1.0, lip)
    elif mood == "sad":
        canvas.curve([(-0.30, 0.82), (-0.18, 0.62), (0.18, 0.62), (0.30, 0.82)], 1.3, lip)
    elif mood == "surprised":
        canvas.shape(ellipse(0, 0.73, 0.17, 0.22), MOUTH, 1.1)
    elif mood == "angry":
        canvas.shape(box(-0.34, 0.60, 0.68, 0.24, 0.08), WHITE, 1.0)
        for x in (-0.12, 0.12):
            canvas.curve([(x, 0.62), (x, 0.82)], 0.7)
        canvas.curve([(-0.32, 0.72), (0.32, 0.72)], 0.7)
    else:
        canvas.curve([(-0.24, 0.70), (-0.1, 0.72), (0.1, 0.72), (0.24, 0.70)], 1.3, lip)


def beard(canvas, p):
    colour = HAIR[p["hair_colour"]]
    if p["beard"] == "beard":
        left = [(-1.01, -0.02), (-1.05, 0.75), (-0.82, 1.42), (0, 1.42), (0.82, 1.42), (1.05, 0.75), (1.01, -0.02),
                (0.86, 0.35), (0.70, 0.42), (0.5, 0.40), (0.3, 0.36), (0.2, 0.40), (0, 0.42), (-0.2, 0.40),
                (-0.3, 0.36), (-0.5, 0.40), (-0.70, 0.42), (-0.86, 0.35), (-1.01, -0.02)]
        canvas.shape(closed(left), colour)
        canvas.shape(ellipse(0, 0.71, 0.44, 0.24), SKIN[p["skin"]], 0)
    elif p["beard"] == "moustache":
        left = [(0, 0.40), (-0.25, 0.30), (-0.45, 0.42), (-0.62, 0.66), (-0.35, 0.66), (-0.15, 0.60), (0, 0.54)]
        canvas.shape(closed(mirrored(left)), colour)


def spectacles(canvas, p):
    if p["glasses"] == "glasses":
        for side in (-1, 1):
            canvas.ctx.new_path()
            ellipse(side * 0.45, 0.03, 0.38, 0.37)(canvas.ctx)
            canvas.ink(1.25)
        canvas.curve([(-0.1, -0.02), (-0.05, -0.1), (0.05, -0.1), (0.1, -0.02)], 1.1)
        for side in (-1, 1):
            canvas.curve([(side * 0.82, -0.05), (side * 1.0, -0.12)], 1.1)
    elif p["glasses"] == "sunglasses":
        dark = (0.16, 0.15, 0.20)
        for side in (-1, 1):
            lens = [(side * 0.10, -0.20), (side * 0.3, -0.28), (side * 0.7, -0.28), (side * 0.86, -0.20),
                    (side * 0.9, 0.2), (side * 0.75, 0.36), (side * 0.48, 0.36), (side * 0.2, 0.36),
                    (side * 0.08, 0.15), (side * 0.10, -0.20)]
            canvas.shape(closed(lens), dark)
            canvas.curve([(side * 0.45 - 0.16, 0.08), (side * 0.45 + 0.04, -0.12)], 1.0, (0.62, 0.66, 0.75))
            canvas.curve([(side * 0.85, -0.15), (side * 1.0, -0.2)], 1.2)
        canvas.curve([(-0.12, -0.16), (0.12, -0.16)], 1.3)


def features(canvas, p):
    skin = SKIN[p["skin"]]
    if p["expression"] in ("smiling", "laughing") or p["who"] in ("girl", "boy"):
        for side in (-1, 1):
            canvas.shape(ellipse(side * 0.64, 0.44, 0.20, 0.14), blend(skin, (0.95, 0.35, 0.35), 0.38), 0)
    if p["freckles"]:
        for x, y in ((0.52, 0.36), (0.66, 0.42), (0.58, 0.50), (0.76, 0.34)):
            for side in (-1, 1):
                canvas.shape(ellipse(side * x, y, 0.032), darker(skin, 0.45), 0)
    beard(canvas, p)
    canvas.curve([(0.0, 0.14), (0.12, 0.34), (0.12, 0.40), (-0.08, 0.38)], 0.9, darker(skin, 0.55))
    mouth(canvas, p)
    eyes(canvas, p)
    brows(canvas, p)
    spectacles(canvas, p)


def ears(canvas, p):
    skin = SKIN[p["skin"]]
    for side in (-1, 1):
        canvas.shape(ellipse(side * 1.0, 0.12, 0.19, 0.27), skin, 1.0, "face")
        canvas.curve([(side * 1.04, 0.02), (side * 1.12, 0.08), (side * 1.08, 0.2), (side * 1.0, 0.2)], 0.6,
                     darker(skin, 0.4))


def hats_clip(canvas, p):
    """Nothing of the hair shows above the brim of a hat."""
    return canvas.clip_below(HAT_LINE if p["hat"] != "none" else -50)


def behind(canvas, p):
    """What is drawn before the body: hair that hangs behind it."""
    with hats_clip(canvas, p):
        back_hair(canvas, p)


def head(canvas, p):
    """The head without what hangs behind the body."""
    ears(canvas, p)
    canvas.shape(face_path(p["who"]), SKIN[p["skin"]], 1.0, "face")
    features(canvas, p)
    with hats_clip(canvas, p):
        fringe(canvas, p)
    if p["hat"] != "none":
        hat(canvas, p)
