"""One picture and its looks, from bytes to bytes: load, compute, encode. No folder, no pool, no journal.

Crop, batch and compare all come through here. The three steps are apart, so that a worker may load, a GPU compute a
batch of windows (`Sight.keep` cuts them out to travel), and another worker encode. What comes out depends on nothing
but the bytes and the settings.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from glimpse_cli import draw, images
from glimpse_cli.banks import Axis, Bank, Floats
from glimpse_cli.errors import GlimpseError, ParameterError, PictureError, Reason
from glimpse_cli.files import shown
from glimpse_cli.glimpse import PEAKS, Spec, contract, coverage
from glimpse_cli.kernels import Gaussian, Hat
from glimpse_cli.places import BoxPlace, Look, Place, spellings

MaskFormat = Literal["png", "npy"]
Contract = Callable[[NDArray[Any], Bank, Bank], Floats]
Read = Callable[[range, range], NDArray[Any]]

ALIASES_ABOVE = 1.5  # |d| from which a kernel of one or two pixels skips over the picture
DARK_BELOW = 0.99  # the share of a row's weight that the post's eps may take before it is worth a word
BAND = 1 << 18  # pixels converted at a time: they stay in the cache, and a whole picture is never copied


@dataclass(frozen=True, slots=True)
class Reading:
    """How pictures are read.

    Args:
        frame: which frame or page, from 0.
        icc: convert to sRGB from the picture's own profile.
        max_pixels: the most pixels that are decoded.
    """

    frame: int = 0
    icc: bool = True
    max_pixels: int = images.MAX_PIXELS


@dataclass(frozen=True, slots=True)
class Writing:
    """What is written.

    Args:
        format: png, jpg, webp, tiff or npy.
        quality: 1 to 100 for jpg and webp.
        mask: a mask beside every glimpse: the figure (png), the numbers (npy), or none.
    """

    format: str = "png"
    quality: int | None = None
    mask: MaskFormat | None = None


@dataclass(frozen=True)
class Sight:
    """One look on one picture, and the way to its pixels.

    Args:
        spec: where and how, on this picture.
        image_size: (height, width) of the picture.
        read: the picture at some rows and columns, those of the banks' pixels at least.
        coverage: the share of sample places inside the picture.
        warnings: what a person should know about this look.
    """

    spec: Spec
    image_size: tuple[int, int]
    read: Read
    coverage: float
    warnings: tuple[str, ...]

    @property
    def method(self) -> str:
        """``gaussian``, ``stn`` or ``hard``."""
        kernel = self.spec.x.kernel
        return "gaussian" if isinstance(kernel, Gaussian) else "stn" if isinstance(kernel, Hat) else "hard"

    def banks(self) -> tuple[Bank, Bank]:
        """(By, Bx) in float32; made anew each time, since a picture may have thousands of sights."""
        return self.spec.banks(self.image_size, np.float32)

    def keep(self) -> "Sight":
        """The same with its window cut out, so that it can be pickled and the picture forgotten."""
        rows, columns = (bank.pixels for bank in self.banks())
        return replace(self, read=_Window(self.read(rows, columns), rows.start, columns.start))


@dataclass(frozen=True, slots=True)
class _Window:
    """A part of a picture that is read like the picture."""

    pixels: NDArray[Any]
    top: int
    left: int

    def __call__(self, rows: range, columns: range) -> NDArray[Any]:
        top, left = self.top, self.left
        return self.pixels[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]


@dataclass(frozen=True)
class Loaded:
    """A picture's facts and its sights; a look that cannot be is an error in its place.

    Args:
        size: (height, width), upright.
        alpha: whether the last channel is alpha.
        peak: the value of white: 255, 65535, or 1 for a float picture.
        orientation: EXIF's, 1 to 8, already applied.
        frames: how many the file holds.
        warnings: what a person should know about this picture.
        sights: one for each look, in order.
        preview: (h, w, 3) uint8, the whole picture, at most `draw.PREVIEW` a side; only where a mask is drawn.
    """

    size: tuple[int, int]
    alpha: bool
    peak: float
    orientation: int
    frames: int
    warnings: tuple[str, ...]
    sights: tuple[Sight | GlimpseError, ...]
    preview: NDArray[np.uint8] | None = None


def load(data: bytes, name: str, looks: Sequence[Look], reading: Reading, *, preview: bool = False) -> Loaded:
    """Decode a picture and place its looks on it; their windows are read when they are computed.

    Args:
        data: the whole file.
        name: what errors call it.
        looks: where and how, any number.
        reading: how it is read.
        preview: also reduce the whole picture, for a mask to be drawn on.

    Raises:
        PictureError: the bytes are not a picture that can be used.
    """
    picture = images.decode(data, name=name, frame=reading.frame, icc=reading.icc, max_pixels=reading.max_pixels)
    return Loaded(
        size=picture.size,
        alpha=picture.alpha,
        peak=picture.peak,
        orientation=picture.orientation,
        frames=picture.frames,
        warnings=picture.warnings,
        sights=tuple(_sight(picture, look) for look in looks),
        preview=picture.preview(draw.PREVIEW) if preview else None,
    )


def out_of_memory(name: str) -> PictureError:
    """The error of a picture for which the memory does not suffice."""
    return PictureError(f"{shown(name)} is too large", Reason.TOO_LARGE, why="out of memory")


def compute(loaded: Loaded, sight: Sight, run: Contract = contract) -> Floats:
    """The glimpse of one sight.

    Args:
        loaded: what `load` gave.
        sight: one of its sights.
        run: computes By · window · Bxᵀ: `glimpse.contract`, or another device's.

    Returns:
        (h, w) or (h, w, C), in [0, 1] (a float picture's own values); colour is weighed by alpha, so that what is
        transparent has no say in it.
    """
    weigh = loaded.alpha and sight.method != "hard"  # the nearest pixel keeps its colour, however transparent
    parts, (By, Bx) = [], sight.banks()
    for rows in _bands(By, len(Bx.pixels)):
        part = By.part(rows)
        window = sight.read(part.pixels, Bx.pixels)
        parts.append(run(_premultiplied(window) if weigh else window, part, Bx))
    glimpse = parts[0] if len(parts) == 1 else np.concatenate(parts)
    return _divided(glimpse) if weigh else glimpse


def encode(loaded: Loaded, glimpse: Floats, writing: Writing) -> bytes:
    """One glimpse as a file, as deep as the picture was where the format can: 16 bits, or a float's own values."""
    wanted = {255: 8, 65535: 16}.get(int(loaded.peak), 32)
    depth = wanted if wanted in images.DEPTHS[writing.format] else 8
    return images.encode(glimpse, format=writing.format, depth=depth, quality=writing.quality)


def doubts(loaded: Loaded, glimpse: Floats, writing: Writing, *, stacked: bool = False) -> list[str]:
    """What is lost between the numbers of a glimpse and its file, a line each; of a stack, by its 8 bits of RGB."""
    found, form = [], "a stack" if stacked and writing.format != "npy" else writing.format
    unknown = int(np.count_nonzero(~np.isfinite(glimpse)))
    if unknown:
        found.append(f"{unknown} of {glimpse.size} values of the glimpse are not finite")
    if loaded.alpha and (form == "jpg" or stacked):
        found.append(f"{'a stack' if stacked else form} has no alpha: white shows through")
    if form in {"npy", "tiff"}:
        return found
    keep = "npy keeps" if stacked else "npy and tiff keep"
    if loaded.peak == 1:
        known = glimpse[np.isfinite(glimpse)]
        low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
        if low < 0 or high > 1:
            found.append(f"a float picture's {low:.4g} to {high:.4g} are cut to [0, 1]; {keep} them")
    elif loaded.peak > 255 and form != "png":
        found.append(f"16 bits become 8 in {form}; {'npy keeps' if stacked else 'png, tiff and npy keep'} them")
    return found


def encode_mask(loaded: Loaded, sight: Sight, form: MaskFormat) -> bytes:
    """The mask of one look as a file: the post's figure, or the (H, W) attention itself as float32."""
    H, W = loaded.size
    ay, ax = (bank.column_sums(N) for bank, N in zip(sight.banks(), (H, W), strict=True))
    if form == "npy":
        return images.encode(np.multiply.outer(ay, ax).astype(np.float32), format="npy")
    if loaded.preview is None:
        raise ValueError("a mask picture needs a preview: load(..., preview=True)")
    y, x = sight.spec.y.comb, sight.spec.x.comb
    figure = draw.mask_figure(
        loaded.preview, loaded.size, ay, ax, outline(sight.spec), mirrored=(y.step < 0, x.step < 0)
    )
    return images.encode_picture(figure)


def outline(spec: Spec) -> tuple[float, float, float, float]:
    """(x0, y0, x1, y1): the cells a glimpse samples, in edge coordinates, whichever way its combs run."""
    (y0, y1), (x0, x1) = (
        sorted((comb.first + 0.5 - comb.step / 2, comb.first + 0.5 + comb.step * (n - 0.5)))
        for comb, n in zip((spec.y.comb, spec.x.comb), spec.size, strict=True)
    )
    return x0, y0, x1, y1


def report(loaded: Loaded, sight: Sight) -> dict[str, Any]:
    """What was done, for ``--json`` and manifests: sizes, every spelling of the place, coverage, warnings."""
    (H, W), (h, w) = loaded.size, sight.spec.size
    return {
        "input_size": {"width": W, "height": H},
        "method": sight.method,
        "size": {"width": w, "height": h},
        "padding": sight.spec.x.kernel.padding,
        "place": spellings(sight.spec, loaded.size),
        "coverage": sight.coverage,
        "warnings": [*loaded.warnings, *sight.warnings],
        "orientation": loaded.orientation,
        "frames": loaded.frames,
    }


def _sight(picture: images.Picture, look: Look) -> Sight | GlimpseError:
    try:
        spec = look.spec(picture.size)
        covered = coverage(picture.size, spec)
        warnings = (*_unusual(look.place, picture.size), *_warnings(spec, picture.size, covered))
        return Sight(spec, picture.size, picture.window, covered, warnings)
    except ParameterError as error:  # right on other pictures, impossible on this one
        return error


def _bands(by: Bank, width: int) -> Iterator[slice]:
    """The rows of a glimpse in blocks whose windows, so many pixels wide, are small and hardly overlap."""
    h, K = by.weights.shape
    count = max(1, len(by.pixels) // max(BAND // width, 4 * K))
    step = -(-h // count)
    return (slice(top, min(top + step, h)) for top in range(0, h, step))


def _premultiplied(window: NDArray[Any]) -> Floats:
    """Colour weighed by alpha, in [0, 1]."""
    weighed = window.astype(np.float32)
    weighed /= PEAKS.get(window.dtype, 1)
    weighed[:, :, :-1] *= weighed[:, :, -1:]
    return weighed


def _divided(glimpse: Floats) -> Floats:
    """The way back; where nothing is left of alpha, nothing is left of colour."""
    colour, alpha = glimpse[:, :, :-1], glimpse[:, :, -1:]
    np.divide(colour, alpha, out=colour, where=alpha > 0)
    return glimpse


def _unusual(place: Place, image_size: tuple[int, int]) -> Iterator[str]:
    """A box of pixels that looks like one of fractions."""
    fractions = (
        isinstance(place, BoxPlace)
        and not (place.normalized or place.margin)
        and all(0 <= n <= 1 for n in place.numbers)
    )
    if fractions and max(image_size) > 1:
        yield "the box lies inside the first pixel; fractions of the picture need --normalized"


def _warnings(spec: Spec, image_size: tuple[int, int], covered: float) -> list[str]:
    found = []
    if covered == 0:
        found.append("the glimpse lies wholly outside the picture: coverage 0")
    for name, axis, n, N in zip("yx", (spec.y, spec.x), spec.size, image_size, strict=True):
        step = abs(axis.comb.step)
        if not isinstance(axis.kernel, Gaussian):
            if step > ALIASES_ABOVE:
                found.append(f"d_{name} is {step:.3g}: above {ALIASES_ABOVE} only the gaussian anti-aliases")
        elif axis.kernel.eps and (dark := _darkened(axis, n, N)):
            rows = f"row {dark[0]} of a_{name} is" if len(dark) == 1 else f"rows {_runs(dark)} of a_{name} are"
            found.append(f"{rows} darkened by the post's eps, over 5 s from every pixel; with padding border none is")
    return found


def _darkened(axis: Axis, n: int, N: int) -> list[int]:
    """The rows that lose much of their weight to eps: narrow bells between two pixels, and what lies far outside."""
    return np.flatnonzero(axis.bank(n, N).weights.sum(axis=1) < DARK_BELOW).tolist()


def _runs(numbers: list[int]) -> str:
    """``0-3, 7, 9-12``: sorted numbers for people."""
    members = set(numbers)
    starts = [n for n in numbers if n - 1 not in members]
    ends = [n for n in numbers if n + 1 not in members]
    return ", ".join(f"{a}" if a == b else f"{a}-{b}" for a, b in zip(starts, ends, strict=True))
