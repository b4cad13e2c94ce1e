"""One place seen by several methods, side by side: what each gave, what it attended to, and how they differ."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from math import ceil, floor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glimpse_cli.draw import paper
from glimpse_cli.draw.masks import DAY, OUTSIDE, Edges, mask_figure, outlined, view_room
from glimpse_cli.draw.outlines import Pixels
from glimpse_cli.draw.paper import QUIET, UNKNOWN, Page

WIDTH = 1600  # pixels of the page
MARGIN, GUTTER, LEAD = 48, 28, 30  # around the page, between columns, between bands
INPUT = 340  # pixels of the column that holds the input
CELL = 320  # pixels of a method's column at most
LEAST = 200  # and at least, for its words
ABREAST = 5  # methods side by side at most; more go on below
LABEL, NOTE = 19, 14  # pixels of type
HEAD = paper.line_height(LABEL) + paper.line_height(NOTE) + 8
AROUND = 8  # pixels of the image in a window at least: a box smaller than these is seen among its neighbours
BAR = 12  # height of the scale bar
LEGEND = HEAD + BAR + 5 + 2 * paper.line_height(NOTE)  # height of all that is said of the differences

# Blue below, white at zero, red above: as told apart by those who see no red or no green.
COLD_TO_WARM = np.array([(33, 88, 166), (142, 188, 224), (255, 255, 255), (240, 160, 128), (176, 32, 44)])


@dataclass(frozen=True, slots=True)
class PanelRow:
    """What one method made of the place.

    Args:
        label: its name, as ``gaussian s=0.70``.
        note: a quiet line below: size, milliseconds.
        glimpse: (h, w) or (h, w, C), floats in [0, 1] or uint8; all rows of a panel have one size.
        ay: (H,) column sums of its bank of y, on the whole image.
        ax: (W,) those of x.
    """

    label: str
    note: str
    glimpse: NDArray[Any]
    ay: NDArray[np.float64]
    ax: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Window:
    """A part of the upright image at its full resolution, on which the masks are shown; see `zoomed`.

    Args:
        pixels: (len(rows), len(cols), 3) uint8.
        rows: of the image.
        cols: of the image.
    """

    pixels: Pixels
    rows: range
    cols: range


def zoomed(
    image_size: tuple[int, int], box: Edges | None, size: tuple[int, int], methods: int, width: int = WIDTH
) -> tuple[range, range]:
    """Where to look closely: the box and what is around it, or the first corner of one too large to show each pixel of.

    Args:
        image_size: (height, width).
        box: (x0, y0, x1, y1) in edge coordinates; None is the whole image.
        size: (height, width) of the glimpses.
        methods: how many rows the panel will have.
        width: as it will be given to `panel`.

    Returns:
        (rows, cols) of the image, never empty.
    """
    x0, y0, x1, y1 = box or (0, 0, image_size[1], image_size[0])
    room, side = view_room(_mask_side(size, _room(methods, width)), DAY), max(x1 - x0, y1 - y0, AROUND)
    wanted = max(ceil(1.12 * side), ceil(side) + 2)
    seen = room // max(1, room // wanted)  # pixels, each of them a whole number of pixels of the page
    whole = max(ceil(x1) - floor(x0), ceil(y1) - floor(y0)) <= seen
    around = (seen - side) / 2 if whole else 0.2 * seen
    return _window(y0, y1, image_size[0], around, seen), _window(x0, x1, image_size[1], around, seen)


def panel(
    preview: Pixels,
    image_size: tuple[int, int],
    box: Edges | None,
    window: Window,
    rows: Sequence[PanelRow],
    *,
    title: str = "input",
    mirrored: tuple[bool, bool] = (False, False),
    reference: tuple[str, NDArray[Any]] | None = None,
    width: int = WIDTH,
) -> Pixels:
    """The page of ``glimpse compare``.

    The input with the box in green stands on the left. Each method has a column: its glimpse, below it what it
    attended to in the window, below that its signed difference to the reference, or to the first method where there is
    none; all on one scale.

    Args:
        preview: (ph, pw, 3), the whole upright picture, reduced or as it is.
        image_size: (height, width) of the image itself.
        box: (x0, y0, x1, y1) in edge coordinates of the image, or None.
        window: where the masks are shown.
        rows: one a method; one or more.
        title: what the input is called.
        mirrored: (y, x), whether the glimpses run against the axis, as for `masks.mask_figure`.
        reference: what the glimpses differ from: its name, and a glimpse like theirs.
        width: pixels of the page at most; it is narrower where less is needed.

    Returns:
        (height, width, 3) uint8.
    """
    lines, abreast = _grid(len(rows))
    room = _room(len(rows), width)
    label, other = reference or (rows[0].label, rows[0].glimpse)
    differences = [_difference(row.glimpse, other) for row in rows]
    differ = reference is not None or len(rows) > 1
    reach = _reach(differences)
    shown = [paper.scaled(paper.rgb(row.glimpse), (room, room)) for row in rows]
    masks = [_mask(row, box, window, _mask_side(row.glimpse.shape[:2], room), mirrored) for row in rows]
    heats = [paper.scaled(_heat(difference / reach), (room, room)) for difference in differences]
    part = _part(window, box, image_size)
    drawn = partial(outlined, preview, image_size, box, palette=DAY, mirrored=mirrored, part=part)
    place = _place(drawn, shown[0].shape[0])

    bands = [shown, masks, heats] if differ else [shown, masks]
    cell = max(min(LEAST, room), *(picture.shape[1] for band in bands for picture in band))
    beside = (place.shape[0], HEAD + paper.line_height(NOTE), LEGEND)  # what stands on the left of each band
    tops = _tops([max(least, *(each.shape[0] for each in band)) for band, least in zip(bands, beside, strict=False)])
    page = Page.blank(2 * MARGIN + lines * tops[-1] - LEAD, 2 * MARGIN + INPUT + abreast * (GUTTER + cell))
    _set_input(page, place, title, image_size)
    _set_attention(page, MARGIN + tops[1], window, part=part is not None)
    if differ:
        _set_words(page, (MARGIN + tops[2], MARGIN), "difference", f"to {label}")
        _set_scale(page, MARGIN + tops[2] + HEAD, reach, np.stack(differences))
    for k, row in enumerate(rows):
        at = MARGIN + k // abreast * tops[-1], MARGIN + INPUT + GUTTER + k % abreast * (cell + GUTTER)
        _set_words(page, at, row.label, row.note, cell)
        for band, below in zip(bands, tops, strict=False):
            page.set_picture(band[k], (at[0] + below, at[1]))
            if band is not masks:  # these have their own ground
                page.set_hairline(band[k].shape[:2], (at[0] + below, at[1]))
    if differ and reference is None:
        below = MARGIN + tops[2] + heats[0].shape[0] + 5  # on it, the words would hide what is no number
        page.set_text("the first", (below, MARGIN + INPUT + GUTTER), NOTE, QUIET)
    return page.pixels


def _grid(methods: int) -> tuple[int, int]:
    """Lines of methods, and methods abreast."""
    lines = ceil(methods / ABREAST)
    return lines, ceil(methods / lines)


def _room(methods: int, width: int) -> int:
    """Pixels of a method's column at most."""
    return max(64, min(CELL, (width - 2 * MARGIN - INPUT) // _grid(methods)[1] - GUTTER))


def _mask_side(size: tuple[int, int], room: int) -> int:
    """Pixels of the long side of a mask: that of the glimpse above it."""
    return max(min(LEAST, room), *paper.fitted(size, (room, room)))


def _window(low: float, high: float, N: int, around: float, longest: int) -> range:
    first = floor(low) - floor(around)  # of what is around, whole pixels: so that the last one of the box has room
    length = min(N, longest, max(1, ceil(high - low + 2 * around), ceil(high) - first))
    start = min(max(first, 0), N - length)
    return range(start, start + length)


def _difference(glimpse: NDArray[Any], other: NDArray[Any]) -> NDArray[np.float32]:
    """(h, w): of each pixel, the difference of the channel that differs most, with its sign; NaN of infinities."""
    with np.errstate(invalid="ignore", over="ignore"):
        difference = np.atleast_3d(_unit(glimpse) - _unit(other))
    difference[~np.isfinite(difference)] = np.nan
    most = np.abs(difference).argmax(axis=2)[..., None]
    return np.take_along_axis(difference, most, axis=2)[..., 0]


def _unit(glimpse: NDArray[Any]) -> NDArray[np.float32]:
    peak = 255 if glimpse.dtype == np.uint8 else 1
    return glimpse.astype(np.float32) / np.float32(peak)


def _reach(differences: Sequence[NDArray[np.float32]]) -> float:
    """The end of the scale: what 99.5 % of differences stay within, rounded up to two digits; a grey level at least.

    A few pixels on hard edges differ most; a scale that reached them would leave all others pale.
    """
    known = (np.abs(difference[~np.isnan(difference)]) for difference in differences)
    most = max(float(np.quantile(values, 0.995, method="higher")) if values.size else 0.0 for values in known)
    if most <= 1 / 255:
        return 1 / 255
    digit = 10.0 ** (np.floor(np.log10(most)) - 1)
    return float(np.ceil(most / digit - 1e-6) * digit)


def _heat(values: NDArray[np.float32]) -> Pixels:
    """(h, w, 3) colours of values from -1 to 1; beyond is as at the end, a NaN is magenta."""
    stops = np.linspace(-1, 1, len(COLD_TO_WARM))
    unknown = np.isnan(values)
    known = np.where(unknown, 0, values)
    channels = [np.interp(known, stops, channel) for channel in COLD_TO_WARM.T]
    colours = (np.stack(channels, axis=-1) + 0.5).astype(np.uint8)
    colours[unknown] = UNKNOWN
    return colours


def _mask(row: PanelRow, box: Edges | None, window: Window, longest: int, mirrored: tuple[bool, bool]) -> Pixels:
    """What a method attended to in the window."""
    rows, cols = window.rows, window.cols
    return mask_figure(
        window.pixels,
        (len(rows), len(cols)),
        row.ay[rows.start : rows.stop],
        row.ax[cols.start : cols.stop],
        box and (box[0] - cols.start, box[1] - rows.start, box[2] - cols.start, box[3] - rows.start),
        longest=longest,
        mirrored=mirrored,
        follow=False,
        palette=DAY,
    )


def _place(drawn: Callable[[int], Pixels], height: int) -> Pixels:
    """The input with its box, not much higher than the glimpses beside it; ``drawn`` so many pixels long."""
    height = max(height, INPUT * 2 // 3)
    place = drawn(INPUT)
    return place if place.shape[0] <= height else drawn(max(64, INPUT * height // place.shape[0]))


def _tops(heights: Sequence[int]) -> list[int]:
    """Where each band begins below the top of a line of methods, and where the next line does."""
    return [HEAD + sum(heights[:k]) + k * LEAD for k in range(len(heights) + 1)]


def _set_words(page: Page, at: tuple[int, int], label: str, note: str, room: int = INPUT) -> None:
    page.set_text(paper.shortened(label, LABEL, room), at, LABEL)
    page.set_text(paper.shortened(note, NOTE, room), (at[0] + paper.line_height(LABEL), at[1]), NOTE, QUIET)


def _part(window: Window, box: Edges | None, image_size: tuple[int, int]) -> Edges | None:
    """What a window shows, if that is but a part of what the box holds of the image."""
    (H, W), rows, cols = image_size, window.rows, window.cols
    x0, y0, x1, y1 = box or (0, 0, W, H)
    held = [(max(low, 0.0), min(high, N)) for low, high, N in ((y0, y1, H), (x0, x1, W))]
    whole = all(
        pixels.start <= low and high <= pixels.stop for pixels, (low, high) in zip((rows, cols), held, strict=True)
    )
    nothing = any(low >= high for low, high in held)
    return None if whole or nothing else (cols.start, rows.start, cols.stop, rows.stop)


def _set_attention(page: Page, top: int, window: Window, *, part: bool) -> None:
    rows, cols = window.rows, window.cols
    _set_words(
        page, (top, MARGIN), "attention", f"x {cols.start} to {cols.stop - 1}, y {rows.start} to {rows.stop - 1}"
    )
    if part:
        said = top + paper.line_height(LABEL) + paper.line_height(NOTE), MARGIN
        page.set_text("a part: the white frame in the input", said, NOTE, QUIET)


def _set_input(page: Page, place: Pixels, title: str, image_size: tuple[int, int]) -> None:
    _set_words(page, (MARGIN, MARGIN), title, f"{image_size[1]} x {image_size[0]}")
    page.set_picture(place, (MARGIN + HEAD - OUTSIDE, MARGIN - OUTSIDE))


def _set_scale(page: Page, top: int, reach: float, differences: NDArray[np.float32]) -> None:
    """The colours of the differences, and the largest of these, which the scale may not reach."""
    length = INPUT * 2 // 3
    page.set_picture(_heat(np.linspace(-1, 1, length, dtype=np.float32)[None]).repeat(BAR, 0), (top, MARGIN))
    page.set_hairline((BAR, length), (top, MARGIN))
    for place, text, anchor in ((0, f"-{reach:.2g}", "l"), (0.5, "0", "m"), (1, f"+{reach:.2g}", "r")):
        page.set_text(text, (top + BAR + 5, round(MARGIN + place * length)), NOTE, QUIET, anchor=anchor)
    unknown = np.isnan(differences)
    said = f"largest {np.abs(differences).max(initial=0, where=~unknown):.2g}"
    said += " · magenta: no number" if unknown.any() else ""
    page.set_text(said, (top + BAR + 5 + paper.line_height(NOTE), MARGIN), NOTE, QUIET)
