"""Pictures of people, drawn with Cairo: picture(seed, kind, index) is the same picture for ever.

    draw.py --sheet FILE [--kind NAME] [--seed N] [--first N]    a contact sheet to look at
"""

import argparse

import cairo
import numpy as np
from attributes import COLOURS, KINDS, SKIN, sample
from canvas import MASKS, Canvas
from captions import caption
from draw_hand import hand, sleeve_end, waves
from draw_head import behind, head
from draw_scene import arm, background, body

SIZE = 128


def raised(canvas, p, made, spec, top, wide, r, x, y, palm):
    """An arm with its hand at (x, y); the origin is the middle of the head."""
    left = spec["side"] == "left"
    side = -1 if left else 1
    angle = spec["angle"] - (side * -14 if spec["gesture"] == "wave" else 0)
    shoulder = (side * (wide - r * 0.32), top + r * 0.6)
    elbow = (side * (wide + r * 0.55), top + r * 1.75)
    arm(canvas, p, shoulder, elbow, (x + side * 0.5, y + palm * 0.95), r * 0.72)
    with canvas.at(x, y, palm, angle, mirror=not left):
        hand(canvas, spec["gesture"], SKIN[p["skin"]])
        if spec["gesture"] == "wave":
            waves(canvas)


def figure(canvas, made, p, x, y, r, hands=(), reach=43, palm=22):
    """A person whose head has the middle (x, y) and the half width r."""
    with canvas.at(x, y):
        with canvas.at(0, 0, r, p["tilt"]):
            behind(canvas, p)
        top, wide = body(canvas, p, r)
        with canvas.at(0, 0, r, p["tilt"]):
            head(canvas, p)
        for spec in hands:
            side = -1 if spec["side"] == "left" else 1
            raised(canvas, p, made, spec, top, wide, r, side * reach, 10, palm)


def compose(canvas, made):
    """Everything of one picture."""
    background(canvas, made)
    dx, dy = made["shift"]
    grow, people = made["grow"], made["people"]
    kind = made["kind"]
    if kind == "portrait":
        canvas.line = 2.6
        figure(canvas, made, people[0], 64 + dx, 58 + dy, 27 * grow)
    elif kind == "half":
        canvas.line = 1.9
        lean = 0
        if len(made["hands"]) == 1:
            lean = 8 if made["hands"][0]["side"] == "left" else -8
        figure(canvas, made, people[0], 64 + lean + dx, 46 + dy, 17.5 * grow, made["hands"])
    elif kind == "two":
        canvas.line = 2.0
        figure(canvas, made, people[0], 36 + dx, 58 + dy, 18 * grow)
        figure(canvas, made, people[1], 92 + dx, 58 + dy, 18 * grow)
    elif kind == "face":
        canvas.line = 3.4
        figure(canvas, made, people[0], 64 + dx, 70 + dy, 41 * grow)
    elif kind == "hand":
        canvas.line = 3.0
        close_up(canvas, made)


def close_up(canvas, made):
    """One hand with its cuff."""
    spec, p = made["hands"][0], made["people"][0]
    dx, dy = made["shift"]
    left = spec["side"] == "left"
    turn = (14 if left else -14) if spec["gesture"] == "wave" else 0
    with canvas.at(62 + dx if left else 66 + dx, 76 + dy, 39 * made["grow"], spec["angle"] + turn, not left):
        hand(canvas, spec["gesture"], SKIN[p["skin"]])
        sleeve_end(canvas, COLOURS[p["clothes_colour"]], p["clothes"] == "striped")
        if spec["gesture"] == "wave":
            waves(canvas)


def picture(seed, kind, index, size=SIZE):
    """{"image": (H,W,3) uint8, "face", "hand": (H,W) uint8 masks, "attributes", "caption"}."""
    made = sample(seed, kind, index)
    canvas = Canvas(size)
    compose(canvas, made)
    masks = {name: canvas.mask_pixels(name) for name in MASKS}
    return {"image": canvas.pixels(), **masks, "attributes": made, "caption": caption(made)}


# ---- contact sheets ---------------------------------------------------------------------------------

def tile(images, columns):
    """Equal pictures side by side, row by row, on white."""
    rows = -(-len(images) // columns)
    h, w = images[0].shape[:2]
    sheet = np.full((rows * (h + 4), columns * (w + 4), 3), 255, np.uint8)
    for i, image in enumerate(images):
        y, x = i // columns * (h + 4) + 2, i % columns * (w + 4) + 2
        sheet[y : y + h, x : x + w] = image
    return sheet


def save_png(path, rgb):
    """Write (H,W,3) uint8."""
    h, w = rgb.shape[:2]
    pixels = np.full((h, w, 4), 255, np.uint8)
    pixels[:, :, :3] = rgb[:, :, ::-1]
    cairo.ImageSurface.create_for_data(pixels, cairo.FORMAT_RGB24, w, h).write_to_png(str(path))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--sheet", required=True)
    parser.add_argument("--kind", choices=KINDS)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=40)
    parser.add_argument("--size", type=int, default=SIZE)
    parser.add_argument("--masks", action="store_true", help="show the masks beside the pictures")
    options = parser.parse_args()
    shown = []
    for i in range(options.first, options.first + options.count):
        kind = options.kind or KINDS[i % len(KINDS)]
        made = picture(options.seed, kind, i, options.size)
        print(i, kind, made["caption"])
        shown.append(made["image"])
        if options.masks:
            shown.append(np.stack([made["face"], made["hand"], 0 * made["face"]], -1))
    save_png(options.sheet, tile(shown, 8))


if __name__ == "__main__":
    main()
