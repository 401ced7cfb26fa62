"""A Cairo surface with two masks beside it, and the few strokes that the drawings are made of.

Coordinates are those of a picture of 128 x 128 pixels, whatever its real size. Lines keep their width in
pixels of that picture under every scale.
"""

import contextlib
import math

import cairo
import numpy as np

UNIT = 128
INK = (0.13, 0.10, 0.14)
MASKS = ("face", "hand")


def blend(a, b, t):
    """The colour `t` of the way from a to b."""
    return tuple(x + (y - x) * t for x, y in zip(a, b))


def darker(colour, t=0.22):
    return blend(colour, (0.05, 0.02, 0.10), t)


def lighter(colour, t=0.3):
    return blend(colour, (1, 1, 1), t)


class Canvas:
    """What is drawn goes to `ctx`; what `mask` is told goes to the mask of that name as well."""

    def __init__(self, size):
        self.size = size
        self.surface = cairo.ImageSurface(cairo.FORMAT_RGB24, size, size)
        self.ctx = cairo.Context(self.surface)
        self.mask_surfaces = {m: cairo.ImageSurface(cairo.FORMAT_A8, size, size) for m in MASKS}
        self.mask_ctx = {m: cairo.Context(s) for m, s in self.mask_surfaces.items()}
        self.zoom = 1.0
        for c in self.all():
            c.scale(size / UNIT, size / UNIT)
            c.set_line_join(cairo.LINE_JOIN_ROUND)
            c.set_line_cap(cairo.LINE_CAP_ROUND)
        self.line = 2.0

    def all(self):
        return (self.ctx, *self.mask_ctx.values())

    @contextlib.contextmanager
    def at(self, x, y, scale=1.0, angle=0.0, mirror=False):
        """Draw with the origin at (x, y), turned by `angle` degrees, enlarged, perhaps mirrored."""
        for c in self.all():
            c.save()
            c.translate(x, y)
            c.rotate(math.radians(angle))
            c.scale(-scale if mirror else scale, scale)
        self.zoom *= scale
        yield
        self.zoom /= scale
        for c in self.all():
            c.restore()

    @contextlib.contextmanager
    def clip_below(self, y):
        """Draw only what lies below `y`."""
        self.ctx.save()
        self.ctx.rectangle(-50, y, 100, 100)
        self.ctx.clip()
        yield
        self.ctx.restore()

    def fill(self, colour, alpha=1.0, keep=False):
        self.ctx.set_source_rgba(*colour, alpha)
        self.ctx.fill_preserve() if keep else self.ctx.fill()

    def ink(self, width=1.0, colour=INK):
        """Stroke the path with the outline's width times `width`."""
        self.ctx.set_source_rgb(*colour)
        self.ctx.set_line_width(self.line * width / self.zoom)
        self.ctx.stroke()

    def shape(self, path, colour, line=1.0, mask=None):
        """Fill and outline `path(ctx)`."""
        self.ctx.new_path()
        path(self.ctx)
        self.fill(colour, keep=line > 0)
        if line > 0:
            self.ink(line)
        if mask:
            self.mask(mask, path)

    def mask(self, name, path, width=None):
        """Add a filled path, or one stroked with `width`, to one mask; take it from the others."""
        for other, c in self.mask_ctx.items():
            c.set_operator(cairo.OPERATOR_OVER if other == name else cairo.OPERATOR_DEST_OUT)
            c.set_source_rgba(1, 1, 1, 1)
            c.new_path()
            path(c)
            if width is None:
                c.fill()
            else:
                c.set_line_width(width)
                c.stroke()

    def curve(self, points, width=1.0, colour=INK):
        """A stroke through cubic Bezier points: start, then three for each piece; or two points."""
        trace(self.ctx, points)
        self.ink(width, colour)

    def limbs(self, limbs, colour, line=1.0, mask=None):
        """Thick lines with round ends, [(points, width), ...], as one outlined body."""
        for points, width in limbs:
            polyline(self.ctx, points)
            self.ctx.set_source_rgb(*INK)
            self.ctx.set_line_width(width + 2 * self.line * line / self.zoom)
            self.ctx.stroke()
            if mask:
                full = width + 2 * self.line * line / self.zoom
                self.mask(mask, lambda c, p=points: polyline(c, p), full)
        for points, width in limbs:
            polyline(self.ctx, points)
            self.ctx.set_source_rgb(*colour)
            self.ctx.set_line_width(width)
            self.ctx.stroke()

    def pixels(self):
        """(H,W,3) uint8, RGB."""
        self.surface.flush()
        flat = np.frombuffer(self.surface.get_data(), np.uint8)
        return flat.reshape(self.size, -1, 4)[:, : self.size, 2::-1].copy()

    def mask_pixels(self, name):
        """(H,W) uint8, 0 outside to 255 inside."""
        surface = self.mask_surfaces[name]
        surface.flush()
        flat = np.frombuffer(surface.get_data(), np.uint8)
        return flat.reshape(self.size, surface.get_stride())[:, : self.size].copy()


def trace(ctx, points):
    ctx.new_path()
    ctx.move_to(*points[0])
    if len(points) == 2:
        ctx.line_to(*points[1])
    for i in range(1, len(points) - 2, 3):
        ctx.curve_to(*points[i], *points[i + 1], *points[i + 2])


def polyline(ctx, points):
    ctx.new_path()
    ctx.move_to(*points[0])
    for point in points[1:]:
        ctx.line_to(*point)


def closed(points):
    """path(ctx) of a closed curve of cubic Bezier points."""

    def path(ctx):
        trace(ctx, points)
        ctx.close_path()

    return path


def polygon(points):
    def path(ctx):
        polyline(ctx, points)
        ctx.close_path()

    return path


def ellipse(x, y, rx, ry=None, angle=0.0):
    """path(ctx) of an ellipse."""

    def path(ctx):
        ctx.save()
        ctx.translate(x, y)
        ctx.rotate(math.radians(angle))
        ctx.scale(rx, rx if ry is None else ry)
        ctx.new_sub_path()
        ctx.arc(0, 0, 1, 0, 2 * math.pi)
        ctx.close_path()
        ctx.restore()

    return path


def box(x, y, width, height, radius=0.0):
    """path(ctx) of a rectangle with round corners."""

    def path(ctx):
        if radius <= 0:
            ctx.rectangle(x, y, width, height)
            return
        ctx.new_sub_path()
        for i, (cx, cy) in enumerate(
            (
                (x + width - radius, y + radius),
                (x + width - radius, y + height - radius),
                (x + radius, y + height - radius),
                (x + radius, y + radius),
            )
        ):
            ctx.arc(cx, cy, radius, math.pi / 2 * (i - 1), math.pi / 2 * i)
        ctx.close_path()

    return path


def mirrored(points):
    """A left half of Bezier points from top to bottom, closed by its mirror image."""
    right = [(-x, y) for x, y in reversed(points[:-1])]
    return points + right
