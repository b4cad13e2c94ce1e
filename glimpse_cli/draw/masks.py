"""The picture of a mask: by night but for what a glimpse attends to, a profile on each axis, the box in green."""

from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from glimpse_cli.banks import Axis
from glimpse_cli.combs import Comb
from glimpse_cli.draw.outlines import GROUND, RULED, Colour, Pixels, Rect, draw_frame, draw_outline, rule_faintly
from glimpse_cli.kernels import Gaussian

Curve = NDArray[np.float64]
Edges = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Palette:
    """The greys around a picture."""

    ground: Colour
    trough: Colour  # where a profile stands, and where a box leaves the picture
    peak: Colour  # the highest weight around a display pixel
    mean: Colour  # the mean weight of a display pixel
    margin: int  # pixels of ground around a figure at its full length


NIGHT = Palette(GROUND, (28, 29, 33), (82, 88, 98), (206, 211, 218), 12)
DAY = Palette((255, 255, 255), (242, 243, 245), (196, 200, 207), (74, 78, 86), 0)  # for a white page

# What is not attended to is seen by night: darker, with little colour of its own, and blue. Any way to dim a picture
# leaves some colour as it is; here that is an indigo which photographs hardly have, where a grey would be as common as
# shade. So black, white and every grey that is attended to stands out from the same that is not, by its hue where
# nothing can be darker.
NIGHT_BLUE: Colour = (10, 10, 72)
CLEAR = 0.34  # how much of the picture is left by night
COLOURFUL = 0.4  # how much of its colours, of that
LUMA = (0.299, 0.587, 0.114)

LONGEST = 1024  # pixels, the long side of a mask figure
PREVIEW = 950  # pixels, the long side of a preview that fills such a figure: a longer one is reduced again
SQUARES = 640  # a picture at most half as long is enlarged to this, so that its pixels are squares
THINNEST = 24  # pixels, the short side of a picture as it is shown: 1 x 1000 must be seen
LINE_2 = 280  # pixels of the canvas from which on lines are two pixels wide
OUTSIDE = 3  # pixels around an outlined picture, for the outline of all of it
FAR = 1.6  # times the usual weight: a higher one is left out of what brightness is measured by
ABOVE = 1.1  # times the usual weight: what is full brightness then
BROKEN = slice(3, 5)  # rows of a strip where a weight that is higher than it has a gap
FINE = 8  # parts of a display pixel that attention is averaged from at most
SOFT = 0.8  # of a display pixel: the width of the bell under which teeth too fine to be shown melt


@dataclass(frozen=True, slots=True)
class _Span:
    """One axis of the figure in its pixels: where the view starts, and in it the picture of N image pixels."""

    N: int
    start: int
    before: int  # what the view shows before the picture, where the box leaves it
    shown: int  # what the picture takes
    after: int

    @property
    def picture(self) -> slice:
        return slice(self.start + self.before, self.start + self.before + self.shown)

    @property
    def view(self) -> slice:
        return slice(self.start, self.picture.stop + self.after)

    def interval(self, low: float, high: float) -> tuple[int, int]:
        """Two edge coordinates of the image as pixels of the figure; far outside is cut."""
        scale, origin = self.shown / self.N, self.picture.start
        first, last = (round(min(max(origin + edge * scale, -9999), 9999)) for edge in (low, high))
        return first, last


def mask_figure(
    preview: Pixels,
    image_size: tuple[int, int],
    ay: Curve,
    ax: Curve,
    box: Edges | None = None,
    *,
    longest: int = LONGEST,
    mirrored: tuple[bool, bool] = (False, False),
    follow: bool = True,
    palette: Palette = NIGHT,
) -> Pixels:
    """The picture dimmed to what a glimpse attends to, with a_x as a strip above and a_y as a strip beside it.

    The attention is the outer product of ``ay`` and ``ax``, brought to full brightness where it is highest, but for
    weights that stand far above the others.
    Where the picture is reduced the attention is averaged with it: the teeth of a comb too fine to be shown melt into
    an even tone instead of a moire. The strips then show both the mean (bright) and the highest weight (dark, behind).
    Small pictures are enlarged, each pixel a square. Where the box leaves the picture, the view follows it.

    Args:
        preview: (ph, pw, 3), the whole upright picture, reduced or as it is; best no longer than `PREVIEW`.
        image_size: (height, width) of the image itself.
        ay: (height,) column sums of the bank of y, 0 or more; ``ax`` (width,) those of x.
        ax: see ``ay``.
        box: (x0, y0, x1, y1) in edge coordinates of the image, outlined just around what it holds; None draws none.
        longest: pixels of the long side at most, strips and margins included; 64 or more.
        mirrored: (y, x), whether the glimpse runs against the axis. A green corner then marks its first sample; the
            box is that of the same places in ascending order.
        follow: whether the view goes after a box that leaves the picture.
        palette: the greys around the picture.

    Returns:
        (h, w, 3) uint8, max(h, w) <= longest.
    """
    margin, strip, gap = _frame(longest, palette)
    start, after = margin + strip + gap, max(margin, gap)  # the outline of a box that ends with the picture has room
    y, x = _spans(preview, image_size, box if follow else None, view_room(longest, palette), start)
    fine_y, fine_x = _means(ay, y.shown), _means(ax, x.shown)
    picture = _dimmed(_fitted(preview, (y.shown, x.shown)), _levels(fine_y), _levels(fine_x))
    figure = _laid_out(picture, y, x, after, palette)
    _draw_profile(figure[margin : margin + strip, x.view], x, ax, fine_x, palette)
    _draw_profile(figure[y.view, margin : margin + strip].transpose(1, 0, 2), y, ay, fine_y, palette)
    # Lines keep to the view and the gap around it, never over a strip: a box that goes on is left open.
    canvas = figure[start - gap : y.view.stop + gap, start - gap : x.view.stop + gap]
    _draw_box(canvas, box, (y, x), start - gap, mirrored)
    return figure


def view_room(longest: int = LONGEST, palette: Palette = NIGHT) -> int:
    """Pixels that the long side of the view has in such a mask figure."""
    margin, strip, gap = _frame(longest, palette)
    return longest - margin - strip - gap - max(margin, gap)


def outlined(
    preview: Pixels,
    image_size: tuple[int, int],
    box: Edges | None,
    longest: int = LONGEST,
    palette: Palette = NIGHT,
    *,
    mirrored: tuple[bool, bool] = (False, False),
    part: Edges | None = None,
) -> Pixels:
    """The picture with a box on it, the view following a box that leaves it; arguments as for `mask_figure`.

    Args:
        preview: as there, like those not named here.
        image_size: of the image itself.
        box: outlined in green.
        longest: pixels.
        palette: the greys around.
        mirrored: (y, x).
        part: what is shown elsewhere, framed in white; in edge coordinates, inside the image.
    """
    y, x = _spans(preview, image_size, box, longest - 2 * OUTSIDE, OUTSIDE)
    figure = _laid_out(np.asarray(_fitted(preview, (y.shown, x.shown))), y, x, OUTSIDE, palette)
    _draw_box(figure, box, (y, x), 0, mirrored)
    if part is not None:
        draw_frame(figure, _rect(part, (y, x), 0))
    return figure


def _frame(longest: int, palette: Palette) -> tuple[int, int, int]:
    """Pixels of the margin, of a strip and of the gap below it: thinner in smaller figures, by the square root."""
    unit = min(1.0, (longest / LONGEST) ** 0.5)
    return ceil(unit * palette.margin), ceil(unit * 44), ceil(unit * 6)


def _spans(
    preview: Pixels, image_size: tuple[int, int], box: Edges | None, room: int, start: int
) -> tuple[_Span, _Span]:
    """Both axes of the view: the picture, and the box as far as it is followed outside."""
    sides = preview.shape[:2]
    squares = min(SQUARES, room) if sides == image_size else 0

    def growth(length: float) -> float:
        return room / length if length > room else max(1, squares // ceil(length))

    lengths = [side * ceil(THINNEST / (side * growth(max(sides)))) for side in sides]  # a few lines are stretched
    edges = ((box[1], box[3]), (box[0], box[2])) if box else [(0, N) for N in image_size]
    outside = [
        (_followed(-low * length / N, max(lengths)), _followed((high - N) * length / N, max(lengths)))
        for (low, high), N, length in zip(edges, image_size, lengths, strict=True)
    ]
    grow = growth(max(length + sum(beyond) for length, beyond in zip(lengths, outside, strict=True)))
    y, x = (
        _Span(N, start, int(grow * before), max(1, round(grow * length)), int(grow * after))
        for N, length, (before, after) in zip(image_size, lengths, outside, strict=True)
    )
    return y, x


def _followed(beyond: float, side: float) -> float:
    """How far a view goes after a box: all the way for the picture's long side, else far enough to say that it left."""
    return max(0.0, beyond) if beyond <= side else side / 4


def _laid_out(picture: Pixels, y: _Span, x: _Span, margin: int, palette: Palette) -> Pixels:
    """The picture in its view on the ground, its pixels ruled where they are large."""
    figure = np.empty((y.view.stop + margin, x.view.stop + margin, 3), np.uint8)
    _fill(figure, palette.ground)
    _fill(figure[y.view, x.view], palette.trough)
    figure[y.picture, x.picture] = picture
    _draw_squares(figure[y.picture, x.picture], y, x)
    return figure


def _fill(part: Pixels, colour: Colour) -> None:
    part[:1] = colour
    part[1:] = part[:1]  # whole rows at a time are ten times as fast


def _fitted(picture: Pixels, size: tuple[int, int]) -> Image.Image:
    """A picture reduced by averaging, or enlarged with its pixels as squares."""
    grows = size[0] >= picture.shape[0] and size[1] >= picture.shape[1]
    image = Image.fromarray(np.ascontiguousarray(picture))
    return image.resize(size[::-1], Image.Resampling.NEAREST if grows else Image.Resampling.BOX)


def _means(sums: Curve, shown: int) -> Curve:
    """(shown,) weights of the display pixels: the mean over each, or the weight of the pixel it is a part of."""
    N = len(sums)
    if shown >= N:
        return np.asarray(sums[np.arange(shown) * N // shown])
    if FINE * shown < N:  # an axis of 100 million pixels must not become a bank of as many weights
        edges = np.arange(FINE * shown) * N // (FINE * shown)
        sums = np.add.reduceat(sums, edges) / np.diff(edges, append=N)
    N = len(sums)
    bank = Axis(Comb.from_box(0, N, shown), Gaussian(SOFT * N / shown)).bank(shown, N, np.float32)
    means: Curve = np.einsum("ij,ij->i", bank.weights, sums[bank.columns])
    return means


def _peaks(sums: Curve, shown: int) -> Curve:
    """(shown,) highest weights around the display pixels; from three of them, so that fine teeth give no moire."""
    N = len(sums)
    if shown >= N:
        return _means(sums, shown)
    pairs = (sums + np.append(sums[1:], 0)) / 2  # a hat may lie on two pixels, and weighs as much as on one
    own = np.pad(np.maximum.reduceat(pairs, np.arange(shown) * N // shown), 1)
    peaks: Curve = np.max((own[:-2], own[1:-1], own[2:]), axis=0)
    return peaks


def _levels(weights: Curve) -> NDArray[np.float32]:
    """Weights as brightness in [0, 1]."""
    return np.clip(weights / _full(weights), 0, 1).astype(np.float32)


def _full(weights: Curve) -> float:
    """The weight that is shown as full brightness: the highest, unless it stands far above the rest.

    It does where samples outside the image all repeat its edge pixel, which would leave all others dark.
    """
    highest = float(weights.max())
    if highest <= 0:
        return 1.0
    attended = weights[weights > highest / 1000]
    usual = float(np.quantile(attended, 0.75, method="higher"))
    return highest if highest <= FAR * usual else ABOVE * usual


def _dimmed(picture: Image.Image, cy: NDArray[np.float32], cx: NDArray[np.float32]) -> Pixels:
    """The picture where attention is 1, the same by night where attention is 0, and between them in proportion."""
    mixed = CLEAR * (COLOURFUL * np.eye(3) + (1 - COLOURFUL) * np.array(LUMA))  # colour, and grey of its brightness
    matrix = np.column_stack((mixed, (1 - CLEAR) * np.array(NIGHT_BLUE)))
    night = picture.convert("RGB", tuple(matrix.ravel().tolist()))
    attention = Image.fromarray((np.outer(cy, cx * 255) + 0.5).astype(np.uint8))
    return np.asarray(Image.composite(picture, night, attention))


def _draw_squares(picture: Pixels, y: _Span, x: _Span) -> None:
    """Faint lines between the pixels, where these are large enough to be seen as squares."""
    if min(y.shown // y.N, x.shown // x.N) >= RULED:
        rule_faintly(picture, *(np.arange(1, span.N) * span.shown // span.N for span in (y, x)))


def _draw_profile(trough: Pixels, span: _Span, sums: Curve, means: Curve, palette: Palette) -> None:
    """Fill a (height, length, 3) strip from its last row upwards: the peaks, and the means before them.

    What is higher than the strip has a gap below its end, as a broken column has.
    """
    _fill(trough, palette.trough)
    peaks = _peaks(sums, span.shown)
    inside = trough[:, span.before : span.before + span.shown]
    rows = np.arange(trough.shape[0], 0, -1)[:, None]
    for weights, colour in ((peaks, palette.peak), (means, palette.mean)):
        level = np.clip(weights / _full(peaks), 0, 1).astype(np.float32)
        cover = np.clip(level * trough.shape[0] - rows + 1, 0, 1)  # of a pixel, so that the slope is smooth
        inside[:] = inside + cover[..., None] * (np.array(colour, np.float32) - inside)
    inside[BROKEN, peaks > 1.01 * _full(peaks)] = palette.trough


def _draw_box(
    canvas: Pixels,
    box: Edges | None,
    spans: tuple[_Span, _Span],
    corner: int,
    mirrored: tuple[bool, bool],
) -> None:
    """Outline a box on a canvas that begins at (corner, corner) of the figure."""
    if box is None:
        return
    draw_outline(canvas, _rect(box, spans, corner), 2 if max(canvas.shape) > LINE_2 else 1, mirrored)


def _rect(box: Edges, spans: tuple[_Span, _Span], corner: int) -> Rect:
    """A box in pixels of a canvas that begins at (corner, corner) of the figure."""
    (y, x), (x0, y0, x1, y1) = spans, box
    (top, bottom), (left, right) = y.interval(y0, y1), x.interval(x0, x1)
    return Rect(top - corner, left - corner, bottom - corner, right - corner)
