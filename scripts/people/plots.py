"""Curves as pictures, with Cairo."""

import math

import cairo

WIDTH, HEIGHT = 800, 420
LEFT, RIGHT, TOP, BOTTOM = 70, 20, 40, 45
COLOURS = ((0.12, 0.40, 0.78), (0.85, 0.33, 0.15), (0.20, 0.60, 0.30), (0.55, 0.30, 0.70))


def smooth(values, keep=0.9):
    """A running mean that starts at the first value."""
    made, mean = [], values[0]
    for value in values:
        mean = keep * mean + (1 - keep) * value
        made.append(mean)
    return made


def ticks(low, high):
    """1, 2 and 5 times powers of ten between two numbers."""
    made = []
    for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1):
        made.extend(m * 10.0**power for m in (1, 2, 5) if low <= m * 10.0**power <= high)
    return made


def curve(path, title, steps, lines):
    """Values above 0 against steps, on a logarithmic scale: pale as measured, dark smoothed."""
    values = [v for line in lines.values() for v in line if v > 0]
    low, high = min(values) * 0.95, max(values) * 1.05
    last = max(steps)

    def at(step, value):
        x = LEFT + (WIDTH - LEFT - RIGHT) * step / last
        part = math.log(max(value, low) / low) / math.log(high / low)
        return x, HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * part

    surface = cairo.ImageSurface(cairo.FORMAT_RGB24, WIDTH, HEIGHT)
    ctx = cairo.Context(surface)
    ctx.set_source_rgb(1, 1, 1)
    ctx.paint()
    ctx.set_font_size(13)
    ctx.set_line_width(1)

    def text(x, y, said, align=0.0):
        ctx.move_to(x - align * ctx.text_extents(said).x_advance, y)
        ctx.show_text(said)

    for value in ticks(low, high):
        _, y = at(0, value)
        ctx.set_source_rgb(0.88, 0.88, 0.88)
        ctx.move_to(LEFT, y)
        ctx.line_to(WIDTH - RIGHT, y)
        ctx.stroke()
        ctx.set_source_rgb(0.2, 0.2, 0.2)
        text(LEFT - 8, y + 4, f"{value:g}", 1.0)
    ctx.set_source_rgb(0.2, 0.2, 0.2)
    for i in range(5):
        step = last * i / 4
        text(at(step, low)[0], HEIGHT - BOTTOM + 20, f"{step:.0f}", 0.5)
    text(WIDTH / 2, HEIGHT - 8, "steps", 0.5)
    text(LEFT, 22, title)
    for n, (name, line) in enumerate(lines.items()):
        colour = COLOURS[n % len(COLOURS)]
        for shown, alpha, width in ((line, 0.3, 1), (smooth(line), 1, 2)):
            ctx.set_source_rgba(*colour, alpha)
            ctx.set_line_width(width)
            for step, value in zip(steps, shown):
                ctx.line_to(*at(step, value))
            ctx.stroke()
        text(LEFT + 160 + 130 * n, 22, name)
    surface.write_to_png(str(path))
