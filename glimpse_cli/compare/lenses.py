"""A method at a place as two matrices: so that any two are compared alike, Pillow's LANCZOS among them.

A glimpse is ``Y · I · Xᵀ``. The difference of two methods is split at the glimpse's Nyquist frequency, 1 / (2 d)
cycles a pixel on each axis. The image is the sum of what lies below it on both axes (``low``, all that samples d apart
can show) and of the rest. Methods are linear, so their difference is the sum of that on ``low``, called blur, and of
that on the rest, called aliasing: what frequencies that the glimpse cannot show leave in it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glimpse_cli.banks import Bank, Floats
from glimpse_cli.glimpse import PEAKS
from glimpse_cli.images.reference import lanczos_axis
from glimpse_cli.items import Loaded, Sight, outline

_BAND = 128  # rows of a window turned into floats at a time
NOTHING = 1e-5  # largest difference that is still the rounding of float32 work
_EDGE = 1e-6  # pixels by which a box may leave the image and still be inside: rounding of its spellings


@dataclass(frozen=True, slots=True, eq=False)
class Lens:
    """A linear way to look, an axis at a time.

    Args:
        y: (h, len(rows)) weights.
        x: (w, len(cols)) weights.
        rows: of the image.
        cols: of the image.
    """

    y: Floats
    x: Floats
    rows: range
    cols: range


@dataclass(frozen=True, slots=True)
class Split:
    """Two shares of a difference's energy, which sum to 1."""

    aliasing: float
    blur: float


def lens_of(by: Bank, bx: Bank) -> Lens:
    """A method, from its banks."""
    return Lens(by.dense(), bx.dense(), by.pixels, bx.pixels)


def lanczos(sight: Sight, image_size: tuple[int, int]) -> Lens | None:
    """Pillow's ``resize(size, LANCZOS, box=)`` of a sight's box, mirrored where it is; None where it leaves the image.

    A step of 0 has no box either.
    """
    (h, w), (H, W) = sight.spec.size, image_size
    x0, y0, x1, y1 = outline(sight.spec)
    steps = sight.spec.y.comb.step, sight.spec.x.comb.step
    if 0 in steps or min(x0, y0) < -_EDGE or x1 > W + _EDGE or y1 > H + _EDGE:
        return None
    (rows, y), (cols, x) = lanczos_axis(max(0.0, y0), min(H, y1), h, H), lanczos_axis(max(0.0, x0), min(W, x1), w, W)
    return Lens(y[:: 1 if steps[0] > 0 else -1], x[:: 1 if steps[1] > 0 else -1], rows, cols)


def seen_through(lens: Lens, loaded: Loaded, sight: Sight) -> Floats:
    """(h, w, C): a glimpse of a picture, in [0, 1], colour weighed by alpha; float32 work, a band of rows at a time."""
    lines: Any = 0
    for part, rows in _bands(lens.rows):
        band = values(sight.read(rows, lens.cols), alpha=loaded.alpha)
        lines += lens.y[:, part] @ band.reshape(len(rows), -1)
    lines = lines.reshape(lens.y.shape[0], len(lens.cols), -1)
    glimpse: Floats = np.einsum("hwc,vw->hvc", lines, lens.x, optimize=True)
    return glimpse


def values(pixels: NDArray[Any], *, alpha: bool) -> Floats:
    """Pixels or a glimpse as (h, w, C) float32 with white at 1, colour weighed by alpha: what of it is seen."""
    cube = pixels[..., None] if pixels.ndim == 2 else pixels
    found = cube.astype(np.float32) / np.float32(PEAKS.get(pixels.dtype, 1))
    if alpha:
        found[..., :-1] *= found[..., -1:]
    return found


def split(apart: Floats, lens: Lens, reference: Lens, loaded: Loaded, sight: Sight) -> Split | None:
    """How much of the difference of two lenses is aliasing and how much is blur; None where there is no difference.

    "Low" is the picture's cosine spectrum, in the window that both lenses read, below the Nyquist frequency of the
    sight's comb: a mirror stands at each edge of the window, and the energies of the two parts are compared.

    Args:
        apart: (h, w, C), what one lens gives less what the reference gives.
        lens: the one.
        reference: the other.
        loaded: the picture.
        sight: how the one looks at it.
    """
    if np.abs(apart).max() <= NOTHING:
        return None
    rows, cols = _union(lens.rows, reference.rows), _union(lens.cols, reference.cols)
    steps = sight.spec.y.comb.step, sight.spec.x.comb.step
    waves = Lens(_cosines(len(rows), steps[0]), _cosines(len(cols), steps[1]), rows, cols)
    spectrum = seen_through(waves, loaded, sight)  # (modes of y, modes of x, C)
    low = _of(spectrum, lens, waves) - _of(spectrum, reference, waves)
    blur, aliasing = (float(np.square(part, dtype=np.float64).sum()) for part in (low, apart - low))
    return Split(aliasing / (aliasing + blur), blur / (aliasing + blur))


def _of(spectrum: Floats, lens: Lens, waves: Lens) -> Floats:
    """What a lens makes of the picture that a spectrum describes."""
    y = lens.y @ _part(waves.y, waves.rows, lens.rows).T
    x = lens.x @ _part(waves.x, waves.cols, lens.cols).T
    glimpse: Floats = np.einsum("hk,klc,vl->hvc", y, spectrum, x, optimize=True)
    return glimpse


def _cosines(length: int, step: float) -> NDArray[np.float32]:
    """(modes, length) orthonormal cosines of an axis, those of fewer than 1 / (2 |step|) cycles a pixel.

    Mode k has k / (2 length) cycles a pixel; at a step of 1 or less all are there, and the rest is empty.
    """
    modes = min(length, int(np.ceil(length / max(abs(step), 1.0))))
    k, j = np.arange(modes)[:, None], np.arange(length)
    waves: NDArray[np.float64] = np.cos(np.pi * k * (j + 0.5) / length) * (2 / length) ** 0.5
    waves[0] /= 2**0.5
    return waves.astype(np.float32)


def _bands(rows: range) -> Iterator[tuple[slice, range]]:
    """The rows of a window in blocks: their places in it, and in the image."""
    for top in range(0, len(rows), _BAND):
        yield slice(top, top + _BAND), rows[top : top + _BAND]


def _part(waves: Floats, of: range, wanted: range) -> Floats:
    return waves[:, wanted.start - of.start : wanted.stop - of.start]


def _union(one: range, other: range) -> range:
    return range(min(one.start, other.start), max(one.stop, other.stop))
