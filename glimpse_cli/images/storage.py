"""How a loaded picture keeps its pixels, and how a window of it becomes numbers.

Three ways: 8 bits in any of Pillow's modes, 16 bits, and numbers that mean themselves (float, 32-bit integers).
Pillow has no 16-bit colour. Such a picture is decoded twice, for its high bytes and for its low bytes.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from glimpse_cli.errors import PictureError
from glimpse_cli.images.colour import Colour, colour_of, grey_curve
from glimpse_cli.images.loading import Loaded

Pixels = NDArray[Any]
Rectangle = tuple[int, int, int, int]  # x0, y0, x1, y1 in the stored frame, half-open

_WHITE16 = 65535.0
_MID_GREY = 128
_NO_NUMBER = (214, 0, 214)  # what a NaN is for the eye, as in drawings: black is a value
_NUMBERS, _UNSIGNED = 339, 1  # TIFF: what its numbers are


@dataclass(frozen=True)
class Stored:
    """A picture as it was stored, before its orientation.

    Args:
        channels: 1 to 4.
        peak: the value of white.
        read: a rectangle's pixels, (h, w) or (h, w, C), which may be views.
        shrink: the whole picture as uint8 RGB with no side longer than this.
        notes: what a person should know about the numbers.
    """

    channels: int
    peak: float
    read: Callable[[Rectangle], Pixels]
    shrink: Callable[[int], NDArray[np.uint8]]
    notes: tuple[str, ...] = ()


def storage_of(loaded: Loaded, name: str, *, icc: bool) -> Stored:
    """The way to read what was loaded.

    Args:
        loaded: in any mode of the allowed formats.
        name: as errors show it.
        icc: convert its ICC profile to sRGB.

    Raises:
        PictureError: no pixel of a float picture is a number.
    """
    mode = loaded.image.mode
    if mode.startswith("I;16"):
        return _grey16(loaded, icc=icc)
    if mode in {"I", "F"}:
        return _own_values(loaded, name)
    colour, note = colour_of(loaded.image, icc=icc)
    low = None if colour.managed else loaded.low  # ImageCms has no 16 bits
    notes = [note] if note else []
    if loaded.bits > 8 and low is None:
        notes.append(f"its {loaded.bits} bits a sample became 8")
    eight = _eight(loaded.image, colour, tuple(notes))
    return eight if low is None else _colour16(loaded, low, eight)


def _eight(image: Image.Image, colour: Colour, notes: tuple[str, ...]) -> Stored:
    colour.convert(image.crop((0, 0, 1, 1)))  # what a palette or a profile can raise, it raises here

    def read(box: Rectangle) -> Pixels:
        return np.asarray(colour.convert(image.crop(box)))

    def shrink(longest: int) -> NDArray[np.uint8]:
        return _shrunk(image, colour.convert, longest)

    return Stored(len(colour.mode), 255.0, read, shrink, notes)


def _colour16(loaded: Loaded, low: Image.Image, eight: Stored) -> Stored:
    high, clear = loaded.image, loaded.clear

    def read(box: Rectangle) -> Pixels:
        values: Pixels = np.asarray(high.crop(box)).astype(np.uint16) << 8
        values |= np.asarray(low.crop(box))
        return values if clear is None else _with_alpha(values, (values != np.array(clear)).any(axis=2))

    return Stored(eight.channels, _WHITE16, read, eight.shrink, eight.notes)


def _grey16(loaded: Loaded, *, icc: bool) -> Stored:
    image, tags = loaded.image, getattr(loaded.image, "tag_v2", {})
    white_is_zero = tags.get(262) == 0  # Pillow leaves such a picture negative
    clear = image.info.get("transparency")
    curve, note = grey_curve(image) if icc else (None, None)

    def read(box: Rectangle) -> Pixels:
        stored: Pixels = np.asarray(image.crop(box)).astype(np.uint16)
        values = stored << 4 | stored >> 8 if loaded.bits == 12 else stored
        if white_is_zero:
            values = 65535 - values
        if curve is not None:
            values = np.interp(values / 257, range(256), list(curve))
            values = np.floor(values * 257 + 0.5).astype(np.uint16)
        return values if clear is None else _with_alpha(values[..., None], stored != clear)

    def shrink(longest: int) -> NDArray[np.uint8]:
        high = Image.new("LA" if clear is not None else "L", image.size)
        for box in _bands(image):
            high.paste(Image.fromarray((read(box) >> 8).astype(np.uint8)), box)
        return _shrunk(high, _as_is, longest)

    return Stored(1 if clear is None else 2, _WHITE16, read, shrink, (note,) if note else ())


def _with_alpha(values: Pixels, opaque: Pixels) -> Pixels:
    return np.dstack([values, opaque * np.uint16(_WHITE16)])


def _own_values(loaded: Loaded, name: str) -> Stored:
    """Float pictures, and integers of 32 bits: these are 16-bit grey if all of them lie in [0, 65535]."""
    image = loaded.image
    low, high, odd = _range(image)
    if image.mode == "I" and low < 0 and set(getattr(image, "tag_v2", {}).get(_NUMBERS, [_UNSIGNED])) == {_UNSIGNED}:
        image = _unsigned(image)
        low, high, odd = _range(image)
    if low > high:
        raise PictureError(f"{name} is corrupt", why="none of its pixels is a finite number")
    sixteen = image.mode == "I" and low >= 0 and high <= _WHITE16
    notes = []
    if odd:
        notes.append(f"{odd} of its {image.width * image.height} pixels are NaN or infinite")
    if sixteen and image.format == "TIFF":
        notes.append("its 32-bit integers lie in [0, 65535] and were taken as 16-bit grey")

    def read(box: Rectangle) -> Pixels:
        return np.asarray(image.crop(box))

    def shrink(longest: int) -> NDArray[np.uint8]:
        black, white = (0.0, _WHITE16) if sixteen else (min(low, 0.0), max(high, 1.0))
        with np.errstate(invalid="ignore"):  # a signalling NaN is a NaN
            values = np.asarray(_smaller(image, longest)).astype(np.float64)
        grey = np.nan_to_num((values - black) * (255 / (white - black)), nan=0, posinf=255, neginf=0)
        seen = np.clip(grey + 0.5, 0, 255).astype(np.uint8)[..., None].repeat(3, axis=2)
        seen[np.isnan(values)] = _NO_NUMBER
        return seen

    return Stored(1, _WHITE16 if sixteen else 1.0, read, shrink, tuple(notes))


def _unsigned(image: Image.Image) -> Image.Image:
    """As floats, which is what a window is made of: Pillow's integers of 32 bits are signed."""
    whole = Image.new("F", image.size)
    for box in _bands(image):
        values = np.asarray(image.crop(box)).view(np.uint32)
        whole.paste(Image.fromarray(values.astype(np.float32)), box)
    return whole


def _range(image: Image.Image) -> tuple[float, float, int]:
    """The least and the greatest finite value, (inf, -inf) if there is none, and how many are not finite."""
    low, high, odd = np.inf, -np.inf, 0
    for box in _bands(image):
        values = np.asarray(image.crop(box))
        finite = np.isfinite(values)
        odd += values.size - int(np.count_nonzero(finite))
        if finite.any():
            low = min(low, float(values[finite].min()))
            high = max(high, float(values[finite].max()))
    return low, high, odd


def _bands(image: Image.Image) -> Iterator[Rectangle]:
    width, height = image.size
    step = max(1, 2**18 // width)
    return ((0, top, width, min(top + step, height)) for top in range(0, height, step))


def _as_is(image: Image.Image) -> Image.Image:
    return image


def _shrunk(image: Image.Image, convert: Callable[[Image.Image], Image.Image], longest: int) -> NDArray[np.uint8]:
    """Reduce, then convert what is left: a hundredth of the work. Palettes cannot be averaged: they go first."""
    if image.mode in {"1", "P", "PA"} or "transparency" in image.info:
        image, convert = convert(image), _as_is
    small = _smaller(image, longest)
    small = convert(small)
    if small.mode in {"LA", "RGBA"}:
        ground = Image.new("RGBA", small.size, (_MID_GREY,) * 3 + (255,))
        small = Image.alpha_composite(ground, small.convert("RGBA"))
    return np.array(small.convert("RGB"))


def _smaller(image: Image.Image, longest: int) -> Image.Image:
    """Whole factors first, for speed, then the rest; Pillow weighs colour by alpha in both."""
    side = max(image.size)
    if side <= longest:
        return image
    width, height = (max(1, round(length * longest / side)) for length in image.size)
    small = image.reduce(side // longest) if side >= 2 * longest else image
    return small.resize((width, height), Image.Resampling.BILINEAR)
