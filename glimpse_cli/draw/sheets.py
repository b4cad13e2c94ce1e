"""Many glimpses on one page, each under its name."""

from collections.abc import Sequence
from math import ceil

from glimpse_cli.draw import paper
from glimpse_cli.draw.outlines import Pixels

MARGIN, GUTTER = 32, 20  # pixels around the page, and between glimpses
TYPE = 13  # pixels of type


def contact_sheet(
    glimpses: Sequence[Pixels],
    names: Sequence[str],
    columns: int | None = None,
    cell: int = 160,
) -> Pixels:
    """Many glimpses on a white page, row by row, each with its name above it.

    Args:
        glimpses: uint8 (h, w) or (h, w, C), of any sizes; one or more.
        names: one each, escaped already; a long one loses its middle.
        columns: by default as many as make a page a little wider than high.
        cell: pixels of a glimpse's long side: small ones are enlarged with their pixels as squares, large ones reduced.

    Returns:
        (height, width, 3) uint8.
    """
    shown = [paper.scaled(paper.rgb(glimpse), (cell, cell)) for glimpse in glimpses]
    head = paper.line_height(TYPE) + 2
    height = head + max(picture.shape[0] for picture in shown) + GUTTER
    width = max(cell // 2, *(picture.shape[1] for picture in shown)) + GUTTER  # half a cell: a name needs some room
    columns = min(columns or ceil((1.4 * len(shown) * height / width) ** 0.5), len(shown))
    page = paper.Page.blank(
        2 * MARGIN - GUTTER + ceil(len(shown) / columns) * height, 2 * MARGIN - GUTTER + columns * width
    )
    for k, (picture, name) in enumerate(zip(shown, names, strict=True)):
        top, left = MARGIN + k // columns * height, MARGIN + k % columns * width
        page.set_text(paper.shortened(name, TYPE, width - GUTTER), (top, left), TYPE, paper.QUIET)
        page.set_picture(picture, (top + head, left))
        page.set_hairline(picture.shape[:2], (top + head, left))
    return page.pixels
