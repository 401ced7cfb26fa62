"""The laws that growth.py's points follow, and their plots as SVG, written by hand.

The same points give the same bytes. Colours are of middle lightness, so that the plots can be read on
light and on dark pages.
"""

import math
import os
from pathlib import Path

POWER, LINE = "power", "line"
# Series -> title, name of the axis, the law that is fitted.
KINDS = {
    "resolution": (
        "A UNet step against resolution, batch 1",
        "side of the picture in pixels",
        POWER,
    ),
    "vae": ("The VAE's decoder against resolution", "side of the picture in pixels", POWER),
    "batch": ("A UNet step against batch, 512 x 512", "batch", LINE),
    "rank": (
        "A UNet step against rank, two experts, 512 x 512, batch 1",
        "rank of the experts",
        LINE,
    ),
    "experts": (
        "A UNet step against experts of rank 256, 512 x 512, batch 1",
        "number of experts",
        LINE,
    ),
}
TEXT, GRID, MEASURED, FLOP = "#808080", "#8080804d", "#2f81c4", "#d0762a"
WIDTH, HEIGHT, PANEL = 860, 352, (330, 210)  # of the picture, of the field of one plot


# ---- laws -------------------------------------------------------------------------------------------


def least_squares(xs, ys):
    """Slope and intercept of the line through the points."""
    n, mx, my = len(xs), sum(xs) / len(xs), sum(ys) / len(ys)
    square = sum((x - mx) ** 2 for x in xs)
    slope = sum((x - mx) * (y - my) for x, y in zip(xs, ys)) / square if n > 1 and square else 0.0
    return slope, my - slope * mx


def fit(kind, xs, ys):
    """(function, parameters): y = c x^p, or y = a + b x. None where there is no such law."""
    if len(xs) < 2:
        return None
    if kind == POWER:
        if min(xs) <= 0 or min(ys) <= 0:
            return None
        p, logarithm = least_squares([math.log(x) for x in xs], [math.log(y) for y in ys])
        return lambda x: math.exp(logarithm + p * math.log(x)), (p, math.exp(logarithm))
    b, a = least_squares(xs, ys)
    return lambda x: a + b * x, (b, a)


def seconds(point):
    return min(point["seconds"])


def activations(point):
    """GiB beyond the weights."""
    return max(point["peak_rss_bytes"] - point["weights_bytes"], 0) / 2**30


def memory(kind):
    """What the right plot shows, and its name: where weights stay the same, what lies beyond them."""
    if kind == POWER:
        return activations, "peak memory beyond the weights, GiB"
    return lambda p: p["peak_rss_bytes"] / 2**30, "peak memory, GiB"


def laws(name, points):
    """Fits of time, of FLOP, of memory: each (function, parameters) or None."""
    kind = KINDS[name][2]
    xs = [p["x"] for p in points]
    of = lambda y: fit(kind, xs, [y(p) for p in points])  # noqa: E731
    return of(seconds), of(lambda p: p["gflop"]), of(memory(kind)[0])


def in_words(name, law, unit):
    """A law for people."""
    if law is None:
        return "no law"
    slope, start = law[1]
    if KINDS[name][2] == POWER:
        return f"side^{slope:.2f}"
    start = 0 if abs(start) < 1e-6 * abs(slope) else start
    return f"{start:.3g} {'-' if slope < 0 else '+'} {abs(slope):.3g} {name} {unit}"


# ---- drawing ----------------------------------------------------------------------------------------


def nice(top):
    """A step that divides 0..top into 4 to 8."""
    rough = top / 5 or 1
    power = 10 ** math.floor(math.log10(rough))
    return next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= rough * 0.999)


class Axes:
    """One field with its axes; log for a power law."""

    def __init__(self, kind, left, xs, ys, x_name, y_name):
        self.log, self.left, self.top = kind == POWER, left, 64
        self.x_name, self.y_name, self.xs = x_name, y_name, xs
        if self.log:
            self.x0, self.x1 = min(xs) / 1.12, max(xs) * 1.12
            low, high = min(ys) / 1.4, max(ys) * 1.4
            self.y0, self.y1 = low, high
            decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
            marks = [m * 10.0**d for d in decades for m in (1, 2, 5)]
            self.ticks = [t for t in marks if low <= t <= high]
        else:
            step = nice(max(ys) * 1.08)
            self.x0, self.x1 = 0, max(xs) * 1.06
            self.y0, self.y1 = 0, step * math.ceil(max(ys) * 1.08 / step)
            self.ticks = [step * i for i in range(round(self.y1 / step) + 1)]

    def at(self, value, low, high, length):
        if self.log:
            value, low, high = math.log(value), math.log(low), math.log(high)
        return (value - low) / (high - low) * length

    def x(self, value):
        return self.left + self.at(value, self.x0, self.x1, PANEL[0])

    def y(self, value):
        return self.top + PANEL[1] - self.at(value, self.y0, self.y1, PANEL[1])

    def frame(self):
        right, bottom = self.left + PANEL[0], self.top + PANEL[1]
        out = [text(self.left, self.top - 10, self.y_name)]
        for tick in self.ticks:
            y = self.y(tick)
            out.append(line(self.left, y, right, y, GRID))
            out.append(text(self.left - 6, y + 4, f"{tick:.4g}", "end"))
        last = None
        for x in self.xs:
            here = self.x(x)
            out.append(line(here, bottom, here, bottom + 4, TEXT))
            if last is None or here - last > 24:
                out.append(text(here, bottom + 18, f"{x:g}", "middle"))
                last = here
        out.append(line(self.left, bottom, right, bottom, TEXT))
        out.append(text(self.left + PANEL[0] / 2, bottom + 38, self.x_name, "middle"))
        return out

    def curve(self, function, colour, dash):
        steps = []
        for i in range(41):
            share = i / 40
            if self.log:
                value = self.xs[0] * (self.xs[-1] / self.xs[0]) ** share
            else:
                value = self.xs[0] + (self.xs[-1] - self.xs[0]) * share
            y = function(value)
            if self.y0 <= y <= self.y1 * 1.0001:
                steps.append(f"{self.x(value):.1f},{self.y(y):.1f}")
        dash = f' stroke-dasharray="{dash}"' if dash else ""
        return f'<polyline points="{" ".join(steps)}" fill="none" stroke="{colour}" stroke-width="1.5"{dash}/>'

    def dots(self, ys):
        return [
            f'<circle cx="{self.x(x):.1f}" cy="{self.y(y):.1f}" r="4" fill="{MEASURED}"/>'
            for x, y in zip(self.xs, ys)
        ]


def line(x0, y0, x1, y1, colour, dash=""):
    dash = f' stroke-dasharray="{dash}"' if dash else ""
    return (
        f'<line x1="{x0:.1f}" y1="{y0:.1f}" x2="{x1:.1f}" y2="{y1:.1f}" stroke="{colour}"{dash}/>'
    )


def text(x, y, words, anchor="start", size=12):
    words = words.replace("&", "&amp;").replace("<", "&lt;")
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}">{words}</text>'


def legend(x, y, colour, words, dash=None):
    mark = (
        f'<circle cx="{x + 9:.1f}" cy="{y - 4:.1f}" r="4" fill="{colour}"/>'
        if dash is None
        else line(x, y - 4, x + 18, y - 4, colour, dash)
    )
    return [mark, text(x + 24, y, words)]


def flop_law(points, kind):
    """Seconds if every FLOP took the same time as at 512 pixels (other series: as in the first point)."""
    anchor = next((p for p in points if kind == POWER and p["x"] == 512), points[0])
    return lambda p: seconds(anchor) * p["gflop"] / anchor["gflop"]


def plot(name, points):
    """The SVG of one series."""
    title, x_name, kind = KINDS[name]
    points = sorted(points, key=lambda p: p["x"])
    xs = [p["x"] for p in points]
    time_law, _, memory_law = laws(name, points)
    by_flop, (of_memory, memory_name) = flop_law(points, kind), memory(kind)
    times, work, sizes = ([f(p) for p in points] for f in (seconds, by_flop, of_memory))
    out = [text(62, 24, title, size=15)]
    left = Axes(kind, 62, xs, times + work, x_name, "seconds")
    out += left.frame()
    out.append(
        '<polyline points="'
        + " ".join(f"{left.x(x):.1f},{left.y(y):.1f}" for x, y in zip(xs, work))
        + f'" fill="none" stroke="{FLOP}" stroke-width="1.5"/>'
    )
    if time_law:
        out.append(left.curve(time_law[0], MEASURED, "5 4"))
    out += left.dots(times)
    if kind == LINE or min(sizes) > 0:
        right = Axes(kind, 62 + PANEL[0] + 84, xs, sizes, x_name, memory_name)
        out += right.frame()
        if memory_law:
            out.append(right.curve(memory_law[0], MEASURED, "5 4"))
        out += right.dots(sizes)
    y = HEIGHT - 10
    out += legend(62, y, MEASURED, "measured")
    out += legend(156, y, FLOP, "as the FLOP grow", "")
    out += legend(300, y, MEASURED, in_words(name, time_law, "s"), "5 4")
    if memory_law:
        out += legend(62 + PANEL[0] + 84, y, MEASURED, in_words(name, memory_law, "GiB"), "5 4")
    body = "\n".join(out)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'width="{WIDTH}" height="{HEIGHT}" font-family="sans-serif" fill="{TEXT}">\n'
        f"<title>{title}</title>\n{body}\n</svg>\n"
    )


def plots(series):
    """File name -> SVG, of every series that has points."""
    return {f"growth-{n}.svg": plot(n, p) for n, p in series.items() if n in KINDS and len(p) > 1}


def draw(series, folder):
    """Write them, each under a temporary name first."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    for name, svg in plots(series).items():
        new = Path(folder) / f"{name}.tmp.{os.getpid()}"
        new.write_text(svg)
        new.replace(Path(folder) / name)
