"""How a loaded picture keeps its pixels, and how a window of it becomes numbers.

Three ways: 8 bits in any of Pillow's modes, 16 bits, and numbers that mean themselves (float, 32-bit integers).
Pillow has no 16-bit colour. Such a picture is decoded twice, for its high bytes and for its low bytes.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

from glimpse_cli.colour import colour_of
from glimpse_cli.errors import PictureError, Reason

Pixels = NDArray[Any]
Rectangle = tuple[int, int, int, int]  # x0, y0, x1, y1 in the stored frame, half-open

_MID_GREY = 128


@dataclass(frozen=True)
class Stored:
    """A picture as it was stored, before its orientation.

    Args:
        channels: 1 to 4.
        peak: the value of white.
        read: a rectangle's pixels, (h, w) or (h, w, C).
        shrink: the whole picture as uint8 RGB with no side longer than this.
    """

    channels: int
    peak: float
    read: Callable[[Rectangle], Pixels]
    shrink: Callable[[int], NDArray[np.uint8]]


def storage_of(image: ImageFile.ImageFile, second: Image.Image | None, *, icc: bool) -> tuple[Stored, list[str]]:
    """The way to read ``image``, which was loaded, and what a person should know about it.

    Args:
        image: in any mode of the allowed formats.
        second: the same picture decoded from its low bytes, for 16-bit colour.
        icc: convert its ICC profile to sRGB.
    """
    if image.mode.startswith("I;16"):
        return _grey16(image, icc=icc)
    if image.mode in {"I", "F"}:
        return _own_values(image)
    if second is not None:
        return _colour16(image, second, icc=icc)
    return _eight(image, icc=icc)


def swapped_tiles(image: ImageFile.ImageFile) -> list[Any]:
    """The tiles of 16-bit colour with their bytes swapped, so that Pillow keeps the low one; empty for others.

    Pillow reads ``RGB;16B`` into 8 bits by taking the high byte of each pair. Told that the pairs are
    little-endian, it takes the other.
    """
    other = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}
    swapped = []
    for tile in image.tile:
        raw, *rest = (tile.args,) if isinstance(tile.args, str) else tile.args or ("",)
        base, _, order = str(raw).partition(";16")
        if base not in {"RGB", "RGBA", "RGBX"} or order not in other:
            return []
        raw = f"{base};16{other[order]}"
        swapped.append(tile._replace(args=raw if isinstance(tile.args, str) else (raw, *rest)))
    return swapped


def _eight(image: Image.Image, *, icc: bool) -> tuple[Stored, list[str]]:
    colour, note = colour_of(image, icc=icc)

    def read(box: Rectangle) -> Pixels:
        return np.array(colour.convert(image.crop(box)))

    def shrink(longest: int) -> NDArray[np.uint8]:
        return _shrunk(image, colour.convert, longest)

    return Stored(len(colour.mode), 255.0, read, shrink), [note] if note else []


def _grey16(image: Image.Image, *, icc: bool) -> tuple[Stored, list[str]]:
    tags = getattr(image, "tag_v2", {})
    white_is_zero = tags.get(262) == 0  # Pillow leaves such a picture negative
    twelve = tags.get(258) == (12,)
    clear = image.info.get("transparency")

    def read(box: Rectangle) -> Pixels:
        values: Pixels = np.array(image.crop(box)).astype(np.uint16)
        if white_is_zero:
            values = 65535 - values
        if twelve:
            values = values << 4 | values >> 8
        if clear is None:
            return values
        return np.dstack([values, np.where(values == clear, 0, 65535).astype(np.uint16)])

    def shrink(longest: int) -> NDArray[np.uint8]:
        high = (read((0, 0, *image.size)) >> 8).astype(np.uint8)
        return _shrunk(Image.fromarray(high), _as_is, longest)

    notes = (
        ["its ICC profile was not used: 16-bit grey is read as it is"] if icc and "icc_profile" in image.info else []
    )
    return Stored(1 if clear is None else 2, 65535.0, read, shrink), notes


def _colour16(high: Image.Image, low: Image.Image, *, icc: bool) -> tuple[Stored, list[str]]:
    eight, notes = _eight(high, icc=icc)
    colour, _ = colour_of(high, icc=icc)
    if colour.transform is not None:
        return eight, [*notes, "its 16 bits became 8: its ICC profile was converted to sRGB"]
    clear = high.info.get("transparency")

    def read(box: Rectangle) -> Pixels:
        values = np.array(high.crop(box)).astype(np.uint16) << 8
        values |= np.array(low.crop(box))
        if clear is None:
            return values
        opaque = (values != np.array(clear, np.uint16)).any(axis=2)
        return np.dstack([values, opaque * np.uint16(65535)])

    return Stored(eight.channels, 65535.0, read, eight.shrink), notes


def _own_values(image: Image.Image) -> tuple[Stored, list[str]]:
    """Float pictures, and integers of 32 bits: these are 16-bit grey if all of them lie in [0, 65535]."""
    everything = np.asarray(image)
    finite = everything[np.isfinite(everything)] if image.mode == "F" else everything
    notes = []
    if not finite.size:
        raise PictureError("no pixel is a finite number", Reason.CORRUPT)
    if finite.size < everything.size:
        notes.append(f"{everything.size - finite.size} of its pixels are NaN or infinite")
    low, high = float(finite.min()), float(finite.max())
    whole16 = image.mode == "I" and low >= 0 and high <= 65535
    if not whole16 and (low < 0 or high > 1):
        notes.append(f"its values go from {low:g} to {high:g}: npy keeps them, other formats clip to [0, 1]")

    def read(box: Rectangle) -> Pixels:
        return np.array(image.crop(box)).astype(np.uint16 if whole16 else np.float32)

    def shrink(longest: int) -> NDArray[np.uint8]:
        black, white = (0, 65535) if whole16 else (min(low, 0), max(high, 1))
        scaled = np.nan_to_num((everything - black) * (255 / (white - black)), nan=0, posinf=255, neginf=0)
        return _shrunk(Image.fromarray(scaled.astype(np.uint8)), _as_is, longest)

    return Stored(1, 65535.0 if whole16 else 1.0, read, shrink), notes


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


_PREMULTIPLIED = {"LA": "La", "RGBA": "RGBa"}


def _smaller(image: Image.Image, longest: int) -> Image.Image:
    side = max(image.size)
    if side <= longest:
        return image
    mode = image.mode
    small = image.convert(_PREMULTIPLIED[mode]) if mode in _PREMULTIPLIED else image
    if side // longest > 1:
        small = small.reduce(side // longest)
    scale = longest / side
    width, height = (max(1, round(length * scale)) for length in image.size)
    small = small.resize((width, height), Image.Resampling.BILINEAR)
    return small if small.mode == mode else small.convert(mode)
