"""The outline of a box on a picture: green, cased in dark, and found at a glance however tiny or far off the box is."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Colour = tuple[int, int, int]
Places = NDArray[np.intp]

GREEN: Colour = (64, 230, 110)
WHITE: Colour = (255, 255, 255)
GROUND: Colour = (18, 19, 22)  # what pictures lie on, and the casing of lines
CASING = 0.6  # opacity
FAINT = 0.08  # opacity
RULED = 12  # pixels of a square from which on squares are ruled

SMALLEST = 3  # pixels inside the outline of a box, however small it is
FINDABLE = 24  # a box shorter than this on both sides gets ticks that point at it
TICK = 14
CORNER = 10
ARROW = 16
EDGE = 4  # between the tip of an arrow and the edge of the canvas


@dataclass(frozen=True, slots=True)
class Rect:
    """Pixels [top, bottom) x [left, right) of a canvas; it may leave the canvas."""

    top: int
    left: int
    bottom: int
    right: int

    def grown(self, by: int) -> "Rect":
        """Every edge moved outwards, or inwards by a negative number."""
        return Rect(self.top - by, self.left - by, self.bottom + by, self.right + by)

    def at_least(self, side: int) -> "Rect":
        """The same middle, and no side shorter than this."""
        dy, dx = max(0, side - (self.bottom - self.top)), max(0, side - (self.right - self.left))
        top, left = self.top - dy // 2, self.left - dx // 2
        return Rect(top, left, self.bottom + dy - dy // 2, self.right + dx - dx // 2)

    def frame(self, width: int) -> "tuple[Rect, ...]":
        """Four lines just around it, none upon another."""
        return (
            Rect(self.top - width, self.left - width, self.top, self.right + width),
            Rect(self.bottom, self.left - width, self.bottom + width, self.right + width),
            Rect(self.top, self.left - width, self.bottom, self.left),
            Rect(self.top, self.right, self.bottom, self.right + width),
        )

    def ticks(self, width: int) -> "tuple[Rect, ...]":
        """Four lines that point at the middles of its sides."""
        y, x = (self.top + self.bottom - width) // 2, (self.left + self.right - width) // 2
        return (
            Rect(self.top - TICK, x, self.top, x + width),
            Rect(self.bottom, x, self.bottom + TICK, x + width),
            Rect(y, self.left - TICK, y + width, self.left),
            Rect(y, self.right, y + width, self.right + TICK),
        )


def draw_outline(canvas: Pixels, rect: Rect, width: int, mirrored: tuple[bool, bool] = (False, False)) -> None:
    """Outline a box just around what it holds.

    Args:
        canvas: (h, w, 3), drawn upon. Lines end at its edges; a box of which no line lies on it becomes arrows.
        rect: the box in pixels of the canvas.
        width: pixels of the line.
        mirrored: (y, x), whether a glimpse runs against the axis: its first sample then has a filled corner.
    """
    rect = rect.at_least(SMALLEST)
    tiny = max(rect.bottom - rect.top, rect.right - rect.left) < FINDABLE
    for line in rect.grown(width).frame(1) + (() if tiny else rect.grown(-1).frame(1)):
        _paint(canvas, line, GROUND, CASING)
    for line in rect.frame(width):
        _paint(canvas, line, GREEN)
    for line in rect.grown(width + 4).ticks(width) if tiny else ():
        _paint(canvas, line.grown(1), GROUND, CASING)
        _paint(canvas, line, GREEN)
    if any(mirrored):
        _draw_corner(canvas, rect, mirrored)
    _draw_arrows(canvas, rect)


def draw_frame(canvas: Pixels, rect: Rect) -> None:
    """Frame a part of a picture, just inside it: a white line between dark ones, thinner than a box's.

    Args:
        canvas: (h, w, 3), drawn upon.
        rect: the part in pixels of the canvas, on which it lies.
    """
    inside = rect.grown(-2).at_least(SMALLEST)
    for line in inside.grown(1).frame(1) + inside.grown(-1).frame(1):
        _paint(canvas, line, GROUND, CASING)
    for line in inside.frame(1):
        _paint(canvas, line, WHITE)


def rule_faintly(picture: Pixels, rows: Places, columns: Places) -> None:
    """Some rows and columns of a picture a little lighter where they are dark, a little darker where they are light."""
    across, down = (_fainted(lines) for lines in (picture[rows], picture[:, columns]))
    picture[rows], picture[:, columns] = across, down


def _fainted(lines: Pixels) -> Pixels:
    dark = lines.max(axis=-1, keepdims=True) < 128
    return (lines + FAINT * (np.where(dark, 255.0, 0.0) - lines) + 0.5).astype(np.uint8)


def _paint(canvas: Pixels, rect: Rect, colour: Colour, opacity: float = 1.0) -> None:
    part = canvas[max(rect.top, 0) : max(rect.bottom, 0), max(rect.left, 0) : max(rect.right, 0)]
    part[:] = part + opacity * (np.array(colour) - part)


def _draw_corner(canvas: Pixels, rect: Rect, mirrored: tuple[bool, bool]) -> None:
    side = min(CORNER, (rect.bottom - rect.top) // 2, (rect.right - rect.left) // 2)
    for k in range(side):
        row = rect.bottom - 1 - k if mirrored[0] else rect.top + k
        first = rect.right - (side - k) if mirrored[1] else rect.left
        _paint(canvas, Rect(row, first, row + 1, first + side - k), GREEN)


def _draw_arrows(canvas: Pixels, rect: Rect) -> None:
    """Where no line is on the canvas: an arrow head towards a box beside it, or four from inside one around it."""
    height, width = canvas.shape[:2]
    y = (rect.top >= height) - (rect.bottom <= 0)
    x = (rect.left >= width) - (rect.right <= 0)
    around = rect.top < 0 and rect.left < 0 and rect.bottom >= height and rect.right >= width
    for direction in ((-1, 0), (1, 0), (0, -1), (0, 1)) if around else ((y, x),) if y or x else ():
        seen_y, seen_x = np.clip([rect.top, rect.bottom], 0, height), np.clip([rect.left, rect.right], 0, width)
        _draw_arrow(canvas, seen_y.mean(), seen_x.mean(), direction)


def _draw_arrow(canvas: Pixels, y: float, x: float, direction: tuple[int, int]) -> None:
    """An arrow head at the canvas's edge in that direction, beside (y, x) as near as it can be."""
    tips = []
    for place, side, sign in zip((y, x), canvas.shape, direction, strict=False):
        target = place if not sign else sign * np.inf
        tips.append(min(max(target, EDGE), side - EDGE))
    top, left = (max(0, int(tip) - ARROW - EDGE) for tip in tips)
    part = canvas[top : int(tips[0]) + ARROW + EDGE, left : int(tips[1]) + ARROW + EDGE]
    dy, dx = np.array(direction) / np.hypot(*direction)
    rows, cols = np.mgrid[: part.shape[0], : part.shape[1]] + 0.5
    rows, cols = tips[0] - top - rows, tips[1] - left - cols  # from the tip, backwards
    along, across = rows * dy + cols * dx, np.abs(rows * dx - cols * dy)
    for size, colour in ((2, GROUND), (0, GREEN)):
        inside = np.clip(along * 0.55 + size - across + 0.5, 0, 1) * np.clip(ARROW + size - along + 0.5, 0, 1)
        part[:] = part + inside[..., None] * (np.array(colour) - part)
