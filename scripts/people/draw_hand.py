"""Hands. The palm is 1 wide with its middle at the origin, the fingers point up, the thumb to the right."""

import math

from canvas import blend, box, closed, darker, mirrored, polyline

# Index finger to little finger: where it leaves the palm, how long it is, and how it leans.
BASES = (0.385, 0.13, -0.125, -0.375)
LENGTHS = (0.98, 1.10, 1.02, 0.80)
LEANS = (19, 6, -8, -22)
WIDTH = 0.215
RAISED = {"one": 1, "two": 2, "three": 3, "four": 4, "five": 4, "wave": 4, "fist": 0}
KNUCKLES = -0.40

PALM = closed(
    [(0.49, -0.40), (0.52, -0.05), (0.54, 0.20), (0.34, 0.52), (0.20, 0.66), (-0.20, 0.66),
     (-0.34, 0.52), (-0.50, 0.25), (-0.50, -0.10), (-0.485, -0.38), (-0.30, -0.52), (0.30, -0.56),
     (0.49, -0.40)]
)
WRIST = box(-0.27, 0.30, 0.54, 0.75, 0.1)


def finger(i, gesture):
    """The middle line of a stretched finger."""
    lean = LEANS[i]
    if gesture == "one":
        lean = 4
    elif gesture == "two":
        lean = (15, -5)[i]
    elif gesture == "three":
        lean = (16, 3, -11)[i]
    angle = math.radians(lean)
    x, y = BASES[i], KNUCKLES + 0.06 * abs(i - 1.2) / 1.8
    return [(x, y + 0.15), (x, y), (x + LENGTHS[i] * math.sin(angle), y - LENGTHS[i] * math.cos(angle))]


def union(canvas, limbs, shapes, skin):
    """Limbs and shapes with one outline around them all."""
    ctx, edge = canvas.ctx, 2 * canvas.line / canvas.zoom
    for path in shapes:
        ctx.new_path()
        path(ctx)
        canvas.ink(2)
        canvas.mask("hand", path)
        canvas.mask("hand", path, edge)
    for points, width in limbs:
        polyline(ctx, points)
        canvas.ctx.set_line_width(width + edge)
        ctx.stroke()
        canvas.mask("hand", lambda c, p=points: polyline(c, p), width + edge)
    for path in shapes:
        ctx.new_path()
        path(ctx)
        canvas.fill(skin)
    ctx.set_source_rgb(*skin)
    for points, width in limbs:
        polyline(ctx, points)
        ctx.set_line_width(width)
        ctx.stroke()


def folded(canvas, i, skin, reach=0.33):
    """A finger bent over the palm."""
    x = BASES[i] * 0.97
    canvas.limbs([([(x, KNUCKLES - 0.02), (x, KNUCKLES + reach)], WIDTH * 0.93)], skin, 0.85, "hand")


def thumb_across(canvas, skin, y=0.16):
    points = [(0.40, y + 0.10), (0.22, y), (-0.08, y - 0.03)]
    canvas.limbs([(points, 0.235)], skin, 0.85, "hand")


def thumb_up(canvas, skin):
    """A fist seen from the side with the thumb on top."""
    fist = box(-0.46, -0.44, 0.92, 0.98, 0.28)
    union(canvas, [([(-0.14, -0.10), (-0.17, -0.55), (-0.10, -1.10)], 0.32)], [WRIST, fist], skin)
    for y in (-0.29, -0.055, 0.175, 0.39):
        length = 0.34 if y < 0.3 else 0.28
        canvas.limbs([([(0.02, y), (0.02 + length, y)], 0.19)], skin, 0.8, "hand")
    canvas.curve([(-0.02, -0.44), (-0.02, -0.38), (-0.04, -0.34), (-0.10, -0.30)], 0.7, darker(skin, 0.5))


def waves(canvas):
    """The arcs that say that a hand moves."""
    for side in (-1, 1):
        for radius in (1.45, 1.75):
            canvas.ctx.new_path()
            middle = -90 + side * 42
            canvas.ctx.arc(0, 0.25, radius, math.radians(middle - 9), math.radians(middle + 9))
            canvas.ink(0.9)


def hand(canvas, gesture, skin):
    """One hand, at the origin of the canvas."""
    if gesture == "thumb":
        thumb_up(canvas, skin)
        return
    raised = RAISED[gesture]
    limbs = [(finger(i, gesture), WIDTH) for i in range(raised)]
    open_thumb = gesture in ("five", "wave")
    if open_thumb:
        limbs.append(([(0.22, 0.30), (0.52, 0.02), (0.86, -0.30)], 0.25))
    union(canvas, limbs, [WRIST, PALM], skin)
    shade = darker(skin, 0.35)
    if raised == 4:
        canvas.curve([(-0.36, -0.10), (-0.15, -0.20), (0.10, -0.20), (0.30, -0.14)], 0.6, shade)
    if open_thumb:
        canvas.curve([(0.30, -0.02), (0.05, 0.02), (0.02, 0.30), (0.10, 0.46)], 0.6, shade)
    for i in reversed(range(raised, 4)):
        folded(canvas, i, skin, 0.38 if gesture == "fist" else 0.32)
    if not open_thumb:
        thumb_across(canvas, skin, 0.08 if gesture == "fist" else 0.10)


def sleeve_end(canvas, colour, stripes):
    """The cuff below a hand."""
    cuff = box(-0.42, 0.86, 0.84, 0.34, 0.08)
    forearm = closed(mirrored([(0, 1.05), (-0.36, 1.05), (-0.36, 1.05), (-0.36, 1.05), (-0.44, 1.6),
                               (-0.50, 2.0), (-0.52, 2.6), (-0.2, 2.6), (-0.2, 2.6), (0, 2.6)]))
    canvas.shape(forearm, colour)
    if stripes:
        for y in (1.35, 1.65, 1.95):
            canvas.curve([(-0.38, y), (-0.1, y + 0.05), (0.1, y + 0.05), (0.38, y)], 2.0,
                         blend(colour, (1, 1, 1), 0.75))
    canvas.shape(cuff, darker(colour, 0.12))
