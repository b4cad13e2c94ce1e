"""The picture of a comparison, and its glimpses as pictures of their own."""

from pathlib import PurePath

import numpy as np
from numpy.typing import NDArray

from glimpse_cli import draw
from glimpse_cli.banks import Floats
from glimpse_cli.compare.columns import three_digits
from glimpse_cli.compare.lenses import values
from glimpse_cli.compare.rows import Comparison, Row
from glimpse_cli.files import shown as shown_name
from glimpse_cli.items import Loaded, outline

Pixels = NDArray[np.uint8]


def figure(comparison: Comparison) -> Pixels:
    """(height, width, 3): the input with its box, each glimpse, what it attended to, and where they differ.

    Args:
        comparison: of one picture, loaded with its preview.
    """
    loaded, rows = comparison.loaded, comparison.rows
    spec = rows[0].sight.spec
    box = outline(spec)
    if loaded.preview is None:
        raise ValueError("a figure needs a preview: load(..., preview=True)")
    seen = draw.zoomed(loaded.size, box, spec.size, len(rows))
    window = draw.Window(shown(values(rows[0].sight.read(*seen), alpha=loaded.alpha), alpha=loaded.alpha), *seen)
    panels = [_panel_row(row, label, loaded) for row, label in zip(rows, comparison.labels, strict=True)]
    mirrored = spec.y.comb.step < 0, spec.x.comb.step < 0
    title, reference = shown_name(PurePath(comparison.name).name), None
    other = comparison.compared_with
    if comparison.reference is not None and other is not None and np.isfinite(other).all():  # else nothing were left
        reference = comparison.reference, _opaque(other, alpha=loaded.alpha)
    return draw.panel(
        loaded.preview, loaded.size, box, window, panels, title=title, mirrored=mirrored, reference=reference
    )


def shown(seen: Floats, *, alpha: bool) -> Pixels:
    """(h, w, 3) for the eye, alpha laid over mid-grey, what is no number in magenta.

    Args:
        seen: (h, w, C), white at 1, colour weighed by alpha.
        alpha: whether the last channel is alpha.
    """
    return draw.rgb(_opaque(seen, alpha=alpha))


def _opaque(seen: Floats, *, alpha: bool) -> Floats:
    return seen[..., :-1] + (1 - seen[..., -1:]) / 2 if alpha else seen


def _panel_row(row: Row, label: str, loaded: Loaded) -> draw.PanelRow:
    (H, W), (h, w), (by, bx) = loaded.size, row.sight.spec.size, row.sight.banks()
    return draw.PanelRow(
        label=label,
        note=f"{w} x {h}" if row.ms is None else f"{w} x {h} · {three_digits(row.ms)} ms",
        glimpse=_opaque(row.glimpse, alpha=loaded.alpha),
        ay=by.column_sums(H),
        ax=bx.column_sums(W),
    )
