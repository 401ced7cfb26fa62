"""The diagrams of the course: SVG, from numbers that the plain functions of docs/course/code/ compute.

    scripts/with_numpy.sh scripts/course_diagrams.py DIR [--check]     write DIR/*.svg, or hold them against these
"""

import argparse
import os
import sys

import numpy as np

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
sys.path.insert(0, os.path.join(ROOT, "docs", "course", "code"))
from bpe import bpe  # noqa: E402
from conv2d import conv2d  # noqa: E402
from ddim import guided  # noqa: E402
from group_norm import group_norm  # noqa: E402
from noise import alphas_cumprod  # noqa: E402
from silu import silu  # noqa: E402
from unet_shapes import unet_shapes  # noqa: E402

INK, PALE, LINE = "#222222", "#eef2f7", "#8896a8"
BLUE, RED, GREEN, ORANGE = "#2f6fb2", "#c0392b", "#2e8b57", "#d08a1d"


class Drawing:
    """An SVG picture of rectangles, lines and words; readable on dark pages as well, since it brings its white."""

    def __init__(self, width, height, title):
        self.parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
            f'height="{height}" font-family="sans-serif" font-size="13" role="img">',
            f"<title>{title}</title>",
            '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
            f'orient="auto"><path d="M0,0 L8,4 L0,8 z" fill="{INK}"/></marker></defs>',
            f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        ]

    def box(self, x, y, w, h, lines, fill=PALE, edge=LINE, size=13):
        self.parts.append(f'<rect x="{x:g}" y="{y:g}" width="{w:g}" height="{h:g}" rx="4" fill="{fill}" '
                          f'stroke="{edge}"/>')
        lines = [lines] if isinstance(lines, str) else lines
        step = size + 4
        for i, line in enumerate(lines):
            self.text(x + w / 2, y + h / 2 + (i - (len(lines) - 1) / 2) * step + size / 3, line, size=size)

    def text(self, x, y, words, anchor="middle", size=13, colour=INK, bold=False):
        words = words.replace("&", "&amp;").replace("<", "&lt;")
        weight = ' font-weight="bold"' if bold else ""
        self.parts.append(f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}" font-size="{size}" '
                          f'fill="{colour}"{weight}>{words}</text>')

    def line(self, x1, y1, x2, y2, colour=INK, width=1.3, arrow=True, dash=""):
        tip = ' marker-end="url(#tip)"' if arrow else ""
        dash = f' stroke-dasharray="{dash}"' if dash else ""
        self.parts.append(f'<line x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}" stroke="{colour}" '
                          f'stroke-width="{width}"{tip}{dash}/>')

    def path(self, points, colour=INK, width=1.3, dash="", arrow=False):
        tip = ' marker-end="url(#tip)"' if arrow else ""
        dash = f' stroke-dasharray="{dash}"' if dash else ""
        where = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self.parts.append(f'<polyline points="{where}" fill="none" stroke="{colour}" stroke-width="{width}"'
                          f"{tip}{dash}/>")

    def grid(self, x, y, numbers, title, cell=52, limit=2.5):
        """Numbers in cells: blue below zero, orange above."""
        self.text(x, y - 8, title, anchor="start", bold=True)
        for r, row in enumerate(numbers):
            for c, value in enumerate(row):
                share = min(abs(value) / limit, 1)
                far = (47, 111, 178) if value < 0 else (208, 138, 29)
                fill = "#" + "".join(f"{round(255 + (f - 255) * share * 0.75):02x}" for f in far)
                self.box(x + c * cell, y + r * 26, cell, 26, f"{value:.2f}", fill=fill, size=12)

    def whole(self):
        return "\n".join([*self.parts, "</svg>", ""])


def map_of_all():
    d = Drawing(800, 270, "From a prompt and a seed to a picture")
    d.box(10, 20, 110, 44, ["prompt", "what to draw"], fill="#fff7e6", size=12)
    d.box(160, 20, 130, 44, ["tokens", "chapter 5"], size=12)
    d.box(330, 20, 130, 44, ["text encoder", "chapter 5"], size=12)
    d.box(10, 150, 110, 44, ["seed", "chapter 1"], fill="#fff7e6", size=12)
    d.box(160, 150, 130, 44, ["latents: noise", "chapters 1, 2"], size=12)
    d.parts.append(f'<rect x="320" y="95" width="300" height="160" rx="8" fill="none" stroke="{BLUE}" '
                   'stroke-dasharray="5 4"/>')
    d.text(470, 113, "once per step", size=12, colour=BLUE)
    d.box(335, 125, 140, 62, ["UNet", "chapters 3, 4, 6", "experts: 8"], size=12)
    d.box(500, 150, 105, 44, ["guidance, step", "chapter 7"], size=12)
    d.box(645, 150, 70, 44, ["VAE", "chapter 2"], size=12)
    d.box(740, 150, 52, 44, "PNG", fill="#e9f7ef", size=12)
    d.line(120, 42, 160, 42)
    d.line(290, 42, 330, 42)
    d.line(395, 64, 395, 125)
    d.text(405, 84, "one vector per token", anchor="start", size=12)
    d.line(120, 172, 160, 172)
    d.line(290, 165, 335, 160)
    d.line(475, 165, 500, 168)
    d.line(605, 172, 645, 172)
    d.line(715, 172, 740, 172)
    d.path([(552, 194), (552, 235), (400, 235), (400, 187)], arrow=True)
    d.text(476, 229, "latents with less noise", size=12)
    return d


def block():
    x = np.array([[1, 2, 3, 4], [3, 3, 5, 9.0]]).reshape(1, 2, 1, 4)
    w = np.zeros((2, 2, 3, 3))
    w[0, 0, 1] = w[1, 1, 1] = [0.5, 1, 0.5]
    n = group_norm(x, np.ones(2), np.zeros(2), 1, 1e-5)
    s = silu(n)
    c = conv2d(s, w, np.zeros(2))
    d = Drawing(800, 240, "Eight numbers in a block: GroupNorm, SiLU, convolution, sum")
    places = [(20, 40), (290, 40), (560, 40), (560, 160), (290, 160)]
    names = ["x", "group_norm, one group", "silu", "conv (0.5, 1, 0.5)", "x + conv"]
    for (px, py), name, numbers in zip(places, names, (x, n, s, c, x + c)):
        d.grid(px, py, numbers[0, :, 0], name)
    d.line(232, 66, 284, 66)
    d.line(502, 66, 554, 66)
    d.line(664, 96, 664, 134)
    d.line(556, 186, 504, 186)
    d.path([(124, 96), (124, 186), (284, 186)], arrow=True)
    return d


def tokens():
    with open(os.path.join(ROOT, "golden/models/sd15-tiny/tokenizer/merges.txt"), encoding="utf-8") as file:
        rank = {tuple(line.split()): i for i, line in enumerate(file.read().split("\n")[1:]) if line}
    d = Drawing(800, 190, "The word waving becomes pieces, the prompt a row of 77")
    steps, word = [], "waving"
    for most in range(len(rank) + 1):  # the state after each merge that changes it
        allowed = {pair: r for pair, r in rank.items() if r < most}
        pieces = bpe(word, allowed)
        if not steps or pieces != steps[-1]:
            steps.append(pieces)
    for i, pieces in enumerate(steps):
        d.text(12, 30 + 24 * i, "merge " + str(i) if i else "letters", anchor="start", size=12)
        at = 90
        for piece in pieces:
            wide = 16 + 9 * len(piece)
            d.box(at, 14 + 24 * i, wide, 20, piece, fill="#fff7e6", size=12)
            at += wide + 6
    row = ["<start>", "a", "w o man", "wa v ing", "her", "hand", "<end>", "<end>", "...", "<end>"]
    at = 12
    for piece in row:
        wide = 22 + 8 * len(piece)
        d.box(at, 150, wide, 26, piece, size=12)
        at += wide + 4
    d.text(12, 142, "one row of the text encoder, always 77 tokens", anchor="start", size=12)
    return d


def the_u():
    widths, size = [320, 640, 1280, 1280], 64
    d = Drawing(800, 470, "The UNet of v1.5 as a U, with shapes and names of taps")
    rows = unet_shapes(widths, size)
    joined = {name: where for name, _, where in rows if isinstance(where, str)}
    for i, width in enumerate(widths):
        side = size >> i
        y, wide = 60 + 92 * i, 190
        cross = "ResNet + Transformer" if i < 3 else "ResNet"
        left, right = 20 + 30 * i, 590 - 30 * i
        d.box(left, y, wide, 62, [f"unet.down_blocks.{i}", f"2 x {cross}", f"({width}, {side}, {side})"], size=12)
        d.box(right, y, wide, 62, [f"unet.up_blocks.{3 - i}", f"3 x {cross}", f"({width}, {side}, {side})"], size=12)
        d.line(left + wide, y + 20, right, y + 20, colour=GREEN, dash="4 3")
        d.text((left + wide + right) / 2, y + 15, "skips", size=11, colour=GREEN)
        d.text((left + wide + right) / 2, y + 38, joined[f"up_blocks.{3 - i}.resnets.0"].replace("of ", "first: "),
               size=11)
        if i < 3:
            d.line(left + 60, y + 62, left + 90, y + 92)
            d.text(left + 92, y + 80, "downsamplers.0", anchor="start", size=11)
            d.line(right + 100, y + 92, right + 130, y + 62)
            d.text(right + 98, y + 80, "upsamplers.0", anchor="end", size=11)
    d.box(300, 424, 200, 40, ["unet.mid_block (1280, 8, 8)", "ResNet, Transformer, ResNet"], size=11)
    d.line(250, 398, 300, 436)
    d.line(500, 436, 550, 398)
    d.box(20, 10, 190, 32, "unet.conv_in (320, 64, 64)", size=12)
    d.box(590, 10, 190, 32, "unet.conv_out (4, 64, 64)", size=12)
    d.line(90, 42, 90, 60)
    d.line(690, 60, 690, 42)
    d.text(400, 24, "text to every Transformer, timestep to every ResNet", size=12)
    return d


def arrows():
    d = Drawing(800, 330, "Guidance: from the prediction without the prompt past the one with it")
    u, c = np.array([1.0, 0.3]), np.array([1.15, 0.5])
    g = guided(u, c, 7.5)

    def at(p):
        return 60 + 280 * p[0], 300 - 140 * p[1]

    d.line(40, 300, 770, 300, colour=LINE)
    d.line(60, 320, 60, 20, colour=LINE)
    d.text(764, 318, "first number", anchor="end", size=12)
    d.text(68, 28, "second number", anchor="start", size=12)
    d.line(*at((0, 0)), *at(u), colour=BLUE, width=2.2)
    d.line(*at((0, 0)), *at(c), colour=GREEN, width=2.2)
    d.line(*at(u), *at(g), colour=RED, width=1.6, dash="6 4")
    d.line(*at((0, 0)), *at(g), colour=RED, width=2.2)
    points = ((u, "uncond", BLUE, 8, 18, "start"), (c, "cond, scale 1", GREEN, 12, 4, "start"),
              (g, "scale 7.5", RED, -12, -4, "end"))
    for p, name, colour, dx, dy, anchor in points:
        x, y = at(p)
        d.parts.append(f'<circle cx="{x:g}" cy="{y:g}" r="4" fill="{colour}"/>')
        d.text(x + dx, y + dy, f"{name} ({p[0]:.2f}, {p[1]:.2f})", anchor=anchor, colour=colour)
    return d


def layer():
    d = Drawing(800, 330, "A linear layer with two experts and their gates")
    d.box(20, 140, 80, 40, "x (B,T,d)", fill="#fff7e6")
    d.box(180, 20, 190, 36, "W x + bias (frozen)")
    for i, (name, y) in enumerate((("face", 90), ("hand", 220))):
        d.box(180, y, 70, 36, "down")
        d.box(270, y, 40, 36, "up")
        d.box(330, y, 60, 36, "x a / r")
        d.line(250, y + 18, 270, y + 18)
        d.line(310, y + 18, 330, y + 18)
        d.text(184, y - 8, f"{name} expert", anchor="start", size=12)
        d.box(460, y - 18, 130, 32, "local gate (B,T)", fill="#e9f7ef", size=12)
        d.box(460, y + 32, 130, 32, "global gate (B)", fill="#fdecea", size=12)
        d.line(100, 160, 180, y + 18)
        d.path([(140, 160), (140, y + 76), (430, y + 76), (430, y + 2), (460, y)], colour=GREEN, arrow=True)
        d.line(390, y + 18, 460, y + 46, colour=RED)
        d.text(398, y + 54, "mean", anchor="start", size=11, colour=RED)
        d.path([(390, y + 14), (440, y + 18), (630, y + 18)], arrow=True)
        d.text(642, y + 23, "x", bold=True)
        d.line(590, y - 2, 636, y + 12, colour=GREEN)
        d.line(590, y + 48, 636, y + 26, colour=RED)
        d.path([(652, y + 18), (690, y + 18), (706, 172 if i else 152)], arrow=True)
    d.path([(60, 140), (60, 38), (180, 38)], arrow=True)
    d.path([(370, 38), (718, 38), (718, 146)], arrow=True)
    d.text(718, 166, "+", size=20, bold=True)
    d.line(728, 161, 752, 161)
    d.text(756, 166, "y", anchor="start", bold=True)
    return d


def numbers():
    """All numbers of a toy type with two bits behind the point and three exponents."""
    d = Drawing(800, 150, "The numbers of a small floating-point type lie denser near zero")
    toy = sorted({(1 + m / 4) * 2.0**e for e in range(-1, 3) for m in range(4)} | {0.0, 8.0})
    d.line(30, 80, 785, 80, colour=LINE, arrow=False)
    for x in toy:
        d.line(30 + 92 * x, 70, 30 + 92 * x, 90, width=1.6, arrow=False)
    for x in (0, 0.5, 1, 2, 4, 8):
        d.text(30 + 92 * x, 108, f"{x:g}")
    d.text(30, 40, "a type with two binary digits behind the point: 4 numbers between 1 and 2, 4 between 2 and 4, 4 "
           "between 4 and 8", anchor="start")
    d.text(30, 138, "float32 has 23 such digits: 8388608 numbers between 1 and 2, and as many between 2 and 4",
           anchor="start")
    return d


def angle():
    d = Drawing(800, 330, "x, noise and velocity as directions")
    a = float(alphas_cumprod()[300])
    x = np.array([a**0.5, (1 - a) ** 0.5])
    v = np.array([-x[1], x[0]])

    def at(p):
        return 330 + 240 * p[0], 290 - 240 * p[1]

    d.line(*at((-0.9, 0)), *at((1.2, 0)), colour=LINE)
    d.line(*at((0, -0.1)), *at((0, 1.12)), colour=LINE)
    d.path([at((np.cos(t), np.sin(t))) for t in np.linspace(0, np.pi / 2, 60)], colour=LINE, dash="3 3")
    d.line(*at((0, 0)), *at((1, 0)), colour=BLUE, width=2.2)
    d.line(*at((0, 0)), *at((0, 1)), colour=ORANGE, width=2.2)
    d.line(*at((0, 0)), *at(x), colour=INK, width=2.6)
    d.line(*at((0, 0)), *at(v), colour=RED, width=2.2)
    d.text(*at((0.86, -0.08)), "x0: t = 0", colour=BLUE)
    d.text(at((0, 1))[0] + 10, at((0, 1))[1] + 4, "noise: t = 999, nearly", anchor="start", colour=ORANGE)
    d.text(at(x)[0] + 8, at(x)[1], f"x at t = 300: {x[0]:.2f} x0 + {x[1]:.2f} noise", anchor="start")
    d.text(at(v)[0], at(v)[1] - 8, f"v = {v[1]:.2f} noise - {x[1]:.2f} x0", anchor="middle", colour=RED)
    return d


def chain():
    d = Drawing(800, 150, "A chain of taps: right, wrong by itself, inherited")
    taps = [("norm1", "agrees"), ("conv1", "agrees"), ("norm2", "DIFFERS"), ("conv2", "inherited"),
            ("resnets.0", "inherited"), ("attentions.0", "inherited")]
    colours = {"agrees": "#e9f7ef", "DIFFERS": "#f5b7b1", "inherited": "#fdebd0"}
    for i, (name, verdict) in enumerate(taps):
        x = 14 + 132 * i
        d.box(x, 50, 104, 46, [name, verdict], fill=colours[verdict], size=12)
        if i:
            d.line(x - 28, 73, x, 73)
    d.text(330, 38, "culprit", colour=RED, bold=True)
    d.text(14, 128, "Error against the truth: small, small, large, large, large, large. Only one module computes "
           "something wrong.", anchor="start")
    return d


def unet_cost(size=64, batch=2, text=77, context=768, widths=(320, 640, 1280, 1280)):
    """Multiplications and additions of one UNet pass of v1.5, in thousand millions: 3x3, linear, attention."""
    conv = linear = attention = 0.0

    def resnet(i, o, p):
        nonlocal conv, linear
        conv += 2 * p * 9 * (i * o + o * o)
        linear += 2 * p * i * o * (i != o) + 2 * 1280 * o

    def transformer(c, p):
        nonlocal linear, attention
        linear += 2 * p * c * c * (2 + 4 + 2 + 12) + 2 * 2 * text * context * c
        attention += 4 * p * c * (p + text)

    skips, p, c = [widths[0]], size * size, widths[0]
    conv += 2 * p * 9 * 4 * c
    for i, o in enumerate(widths):
        for _ in range(2):
            resnet(c, o, p)
            c = o
            if i < 3:
                transformer(o, p)
            skips.append(o)
        if i < 3:
            p //= 4
            conv += 2 * p * 9 * o * o
            skips.append(o)
    for _ in range(2):
        resnet(c, c, p)
    transformer(c, p)
    for i, o in enumerate(reversed(widths)):
        for _ in range(3):
            resnet(c + skips.pop(), o, p)
            c = o
            if i:
                transformer(o, p)
        if i < 3:
            p *= 4
            conv += 2 * p * 9 * o * o
    conv += 2 * p * 9 * c * 4
    return [round(batch * n / 1e9) for n in (conv, linear, attention)]


def cost():
    d = Drawing(800, 170, "What a pass of the UNet costs")
    parts = list(zip(("3x3 convolutions", "linear layers", "attention"), unet_cost(batch=1), (BLUE, GREEN, ORANGE)))
    most = max(n for _, n, _ in parts)
    for i, (name, n, colour) in enumerate(parts):
        y = 40 + 38 * i
        d.text(150, y + 17, name, anchor="end")
        d.parts.append(f'<rect x="160" y="{y}" width="{520 * n / most:.0f}" height="24" fill="{colour}"/>')
        d.text(168 + 520 * n / most, y + 17, str(n), anchor="start")
    title = "One pass of v1.5's UNet for one latent of 64x64: thousand millions of multiplications and additions"
    d.text(12, 22, title, anchor="start")
    return d


DIAGRAMS = {"00-map": map_of_all, "03-block": block, "05-tokens": tokens, "06-u": the_u, "07-guidance": arrows,
            "08-layer": layer, "09-numbers": numbers, "10-angle": angle, "11-chain": chain, "12-cost": cost}


def make(folder, check=False):
    """-> the names of those that differ; without check they are written."""
    wrong = []
    for name, draw in DIAGRAMS.items():
        path, text = os.path.join(folder, f"{name}.svg"), draw().whole()
        if not check:
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
            continue
        with open(path, encoding="utf-8") as file:
            if file.read() != text:
                wrong.append(path)
    return wrong


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("folder")
    p.add_argument("--check", action="store_true")
    a = p.parse_args()
    wrong = make(a.folder, a.check)
    for path in wrong:
        print(f"{path} is not what scripts/course_diagrams.py draws")
    if not wrong:
        print(f"{len(DIAGRAMS)} diagrams")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
