"""Backgrounds and bodies, in the pixels of the picture."""

import math

from attributes import BACKDROPS, COLOURS, SKIN
from canvas import INK, blend, box, closed, darker, ellipse, lighter, polygon, polyline

WHITE = (1, 1, 1)


def flat(canvas, colour, top=-10, bottom=140):
    canvas.shape(box(-10, top, 150, bottom - top), colour, 0)


def plain(canvas, colour):
    """A backdrop with a lighter disc behind the person."""
    flat(canvas, colour)
    canvas.shape(ellipse(64, 64, 56), lighter(colour, 0.35), 0)


def beach(canvas):
    flat(canvas, (0.62, 0.86, 0.98))
    canvas.shape(ellipse(20, 20, 13), (1.0, 0.87, 0.35), 0)
    flat(canvas, (0.18, 0.58, 0.80), 66, 100)
    for x in (10, 52, 94):
        canvas.curve([(x, 76), (x + 6, 72), (x + 12, 80), (x + 20, 76)], 0.9, (0.75, 0.92, 0.98))
    flat(canvas, (0.96, 0.86, 0.62), 92)


def park(canvas):
    flat(canvas, (0.70, 0.89, 0.98))
    canvas.shape(ellipse(64, 150, 130, 66), (0.55, 0.80, 0.42), 0)
    for x, y in ((14, 56), (114, 52)):
        canvas.shape(box(x - 4, y + 10, 8, 36), (0.52, 0.34, 0.22), 0.7)
        canvas.shape(ellipse(x, y, 20, 22), (0.25, 0.60, 0.32), 0.8)


def city(canvas):
    flat(canvas, (0.99, 0.83, 0.66))
    tones = ((0.55, 0.50, 0.68), (0.45, 0.42, 0.60), (0.62, 0.52, 0.66))
    for i, (x, width, top) in enumerate(((-4, 24, 38), (20, 18, 62), (38, 22, 30), (60, 18, 52), (78, 20, 24),
                                         (98, 16, 58), (114, 22, 40))):
        canvas.shape(box(x, top, width, 120), tones[i % 3], 0)
        for y in range(top + 6, 116, 12):
            for wx in range(x + 4, x + width - 4, 8):
                canvas.shape(box(wx, y, 4, 5), (1.0, 0.90, 0.55), 0)


def night(canvas):
    flat(canvas, (0.13, 0.16, 0.36))
    canvas.shape(ellipse(104, 22, 14), (0.99, 0.95, 0.75), 0)
    canvas.shape(ellipse(98, 18, 12), (0.13, 0.16, 0.36), 0)
    for x, y in ((14, 16), (36, 30), (60, 10), (80, 34), (118, 54), (10, 58), (24, 84), (110, 86)):
        star = [(x + r * math.sin(a), y - r * math.cos(a))
                for r, a in ((3.6 if i % 2 == 0 else 1.4, i * math.pi / 4) for i in range(8))]
        canvas.shape(polygon(star), (1.0, 0.95, 0.70), 0)


def mountains(canvas):
    flat(canvas, (0.66, 0.84, 0.95))
    for x, top, width in ((24, 30, 44), (104, 22, 50)):
        canvas.shape(polygon([(x - width, 112), (x, top), (x + width, 112)]), (0.48, 0.53, 0.66), 0)
        snow = [(x, top), (x + width * 0.26, top + 22), (x + 4, top + 17), (x - 3, top + 24),
                (x - width * 0.27, top + 22)]
        canvas.shape(polygon(snow), WHITE, 0)
    canvas.shape(ellipse(64, 140, 110, 46), (0.42, 0.70, 0.45), 0)


def room(canvas):
    flat(canvas, (0.96, 0.88, 0.76))
    canvas.shape(box(84, 10, 36, 44), (0.62, 0.84, 0.96), 0.9)
    canvas.curve([(102, 10), (102, 54)], 0.9)
    canvas.curve([(84, 32), (120, 32)], 0.9)
    canvas.shape(box(8, 14, 30, 24), (0.99, 0.98, 0.94), 0.9)
    canvas.shape(polygon([(10, 36), (20, 24), (26, 30), (31, 26), (36, 36)]), (0.40, 0.66, 0.50), 0)
    flat(canvas, (0.72, 0.50, 0.36), 106)


PLACES = {"beach": beach, "park": park, "city": city, "night": night, "mountains": mountains, "room": room}


def background(canvas, made):
    if made["place"] != "none":
        PLACES[made["place"]](canvas)
    else:
        plain(canvas, BACKDROPS[made["backdrop"]])


# ---- bodies -----------------------------------------------------------------------------------------

def stripes(canvas, colour, path, top, step):
    """Bars across a garment."""
    band = blend(colour, WHITE, 0.8) if sum(colour) < 2.6 else COLOURS["blue"]
    canvas.ctx.save()
    canvas.ctx.new_path()
    path(canvas.ctx)
    canvas.ctx.clip()
    for i in range(8):
        canvas.shape(box(-80, top + 2 * i * step, 160, step), band, 0)
    canvas.ctx.restore()
    canvas.ctx.new_path()
    path(canvas.ctx)
    canvas.ink()


def body(canvas, p, r):
    """Neck and shoulders below a head of half width `r` at the origin."""
    skin, colour = SKIN[p["skin"]], COLOURS[p["clothes_colour"]]
    child = p["who"] in ("girl", "boy")
    wide = r * {"man": 2.15, "woman": 1.8, "boy": 1.6, "girl": 1.55}[p["who"]]
    top, neck = r * (1.72 if not child else 1.5), r * (0.46 if p["who"] == "man" else 0.36)
    torso = closed([(-neck * 1.5, top - r * 0.16), (-wide * 0.7, top), (-wide, top + r * 0.1), (-wide, top + r * 1.1),
                    (-wide, 140), (-wide, 140), (-wide, 150), (0, 150), (0, 150), (wide, 150), (wide, 140),
                    (wide, 140), (wide, top + r * 1.1), (wide, top + r * 0.1), (wide * 0.7, top),
                    (neck * 1.5, top - r * 0.16), (0, top - r * 0.05), (0, top - r * 0.05),
                    (-neck * 1.5, top - r * 0.16)])
    if p["clothes"] == "hoodie":
        canvas.shape(ellipse(0, top - r * 0.12, r * 1.02, r * 0.52), darker(colour, 0.2))
    canvas.shape(box(-neck, r * 0.7, 2 * neck, top - r * 0.5, r * 0.1), darker(skin, 0.12))
    canvas.shape(torso, colour)
    if p["clothes"] == "striped":
        stripes(canvas, colour, torso, top + r * 0.25, r * 0.26)
    collar(canvas, p, r, top, neck, skin, colour)
    return top, wide


def collar(canvas, p, r, top, neck, skin, colour):
    """What tells the garments apart, at the neck."""
    below = darker(skin, 0.06)
    edge = top - r * 0.16
    if p["clothes"] in ("t-shirt", "striped"):
        hole = [(-neck * 1.45, edge), (-neck * 1.2, edge + r * 0.42), (neck * 1.2, edge + r * 0.42),
                (neck * 1.45, edge)]
        canvas.shape(closed(hole + [(0, edge - 0.1 * r), (0, edge - 0.1 * r), hole[0]]), below, 0)
        canvas.curve(hole, 1.0)
    elif p["clothes"] == "shirt":
        canvas.shape(polygon([(-neck, edge), (0, edge + r * 0.55), (neck, edge)]), below, 0.8)
        for side in (-1, 1):
            flap = [(side * neck * 1.3, edge - r * 0.12), (0, edge + r * 0.52), (side * r * 0.5, edge + r * 0.72),
                    (side * neck * 2.1, edge + r * 0.12)]
            canvas.shape(polygon(flap), lighter(colour, 0.35), 0.9)
        canvas.curve([(0, edge + r * 0.55), (0, 140)], 0.8, darker(colour, 0.5))
        for i in range(4):
            canvas.shape(ellipse(r * 0.14, edge + r * (0.95 + 0.5 * i), r * 0.06), WHITE, 0.5)
    elif p["clothes"] == "sweater":
        canvas.shape(box(-neck * 1.35, edge - r * 0.28, neck * 2.7, r * 0.46, r * 0.14), lighter(colour, 0.25))
    elif p["clothes"] == "hoodie":
        for side in (-1, 1):
            canvas.curve([(side * neck * 0.7, edge + r * 0.2), (side * neck * 0.75, edge + r * 0.95)], 1.0, WHITE)
        hole = [(-neck * 1.45, edge), (-neck * 0.9, edge + r * 0.40), (neck * 0.9, edge + r * 0.40),
                (neck * 1.45, edge)]
        canvas.shape(closed(hole + [(0, edge - 0.1 * r), (0, edge - 0.1 * r), hole[0]]), below, 0)
        canvas.curve(hole, 1.0)


def arm(canvas, p, shoulder, elbow, wrist, width):
    """A raised arm: sleeve to the wrist, or to the elbow for a t-shirt."""
    skin, colour = SKIN[p["skin"]], COLOURS[p["clothes_colour"]]
    if p["clothes"] == "t-shirt":
        canvas.limbs([([elbow, wrist], width * 0.72)], skin)
        canvas.limbs([([shoulder, elbow], width)], colour)
        return
    canvas.limbs([([shoulder, elbow, wrist], width)], colour)
    if p["clothes"] == "striped":
        band = blend(colour, WHITE, 0.8) if sum(colour) < 2.6 else COLOURS["blue"]
        length = math.dist(elbow, wrist)
        dx, dy = (wrist[0] - elbow[0]) / length, (wrist[1] - elbow[1]) / length
        for s in (0.15, 0.5, 0.85):
            x, y = elbow[0] + dx * length * s, elbow[1] + dy * length * s
            polyline(canvas.ctx, [(x + dy * width * 0.4, y - dx * width * 0.4),
                                  (x - dy * width * 0.4, y + dx * width * 0.4)])
            canvas.ctx.set_source_rgb(*band)
            canvas.ctx.set_line_width(3.2)
            canvas.ctx.set_line_cap(0)
            canvas.ctx.stroke()
            canvas.ctx.set_line_cap(1)
    canvas.ctx.set_source_rgb(*INK)
