"""A white page on which pictures and words are set, as in print."""

from dataclasses import dataclass
from functools import cache
from math import ceil
from typing import Any
from unicodedata import combining, normalize

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont, features

from glimpse_cli.draw.outlines import RULED, WHITE, Colour, Pixels, rule_faintly

INK: Colour = (30, 32, 36)
QUIET: Colour = (102, 106, 114)  # 5.4 : 1 on white
HAIR: Colour = (220, 222, 226)
UNKNOWN: Colour = (214, 0, 214)  # what is no number

THINNEST = 12  # pixels of a side of a picture that is reduced: 1000 x 3 must be seen

# What Pillow's own typeface has no letters for, and what reads the same: it has those of ASCII and little else.
PLAIN = str.maketrans(
    {"×": "x", "−": "-", "–": "-", "—": "-", "…": "...", "‘": "'", "’": "'", "“": '"', "”": '"'}  # noqa: RUF001 - these are the letters meant
    | {"Æ": "AE", "æ": "ae", "Œ": "OE", "œ": "oe", "ß": "ss", "Þ": "Th", "þ": "th", "Ŋ": "Ng", "ŋ": "ng"}
    | dict(zip("ÐðĐđĦħıŁłØøŦŧ", "DdDdHhiLlOoTt", strict=True))
)


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a fixed size; places on it are (y, x)."""

    image: Image.Image

    @classmethod
    def blank(cls, height: int, width: int) -> "Page":
        """A white page of so many pixels."""
        return cls(Image.new("RGB", (width, height), WHITE))

    def set_picture(self, picture: Pixels, at: tuple[int, int]) -> None:
        """Lay a (h, w, 3) picture on the page, its first corner at (y, x)."""
        self.image.paste(Image.fromarray(np.ascontiguousarray(picture)), at[::-1])

    def set_hairline(self, size: tuple[int, int], at: tuple[int, int]) -> None:
        """A light line of one pixel just around such a picture."""
        (height, width), (top, left) = size, at
        ImageDraw.Draw(self.image).rectangle((left - 1, top - 1, left + width, top + height), outline=HAIR)

    def set_text(self, text: str, at: tuple[int, int], size: int, colour: Colour = INK, *, anchor: str = "l") -> None:
        """A line of text below (y, x), which is above its left end, its middle (``m``) or its right end (``r``)."""
        text = plain(text)
        left = at[1] - {"l": 0, "m": 0.5, "r": 1}[anchor] * width_of(text, size)
        ImageDraw.Draw(self.image).text((round(left), at[0]), text, colour, _font(size))

    @property
    def pixels(self) -> Pixels:
        """The page as (h, w, 3) uint8."""
        return np.asarray(self.image)


def plain(text: str) -> str:
    """A text in letters that Pillow's typeface has: accents are dropped, and what is left over becomes ``?``."""
    letters = "".join(c for c in normalize("NFKD", text.translate(PLAIN)) if not combining(c))
    return "".join(c if c.isascii() or c in "·±" else "?" for c in letters)


def width_of(text: str, size: int) -> float:
    """Pixels that a line of text takes."""
    return _font(size).getlength(plain(text))


def line_height(size: int) -> int:
    """Pixels from one line to the next."""
    return round(1.4 * size)


def shortened(text: str, size: int, room: float) -> str:
    """A text without some of its middle, so that it fits; both ends tell a name from others, the last most."""
    text = plain(text)
    if width_of(text, size) <= room:
        return text
    for kept in range(len(text) - 1, 1, -1):
        short = f"{text[: kept // 3]}...{text[len(text) - (kept - kept // 3) :]}"
        if width_of(short, size) <= room:
            return short
    return text[:1]


def rgb(picture: NDArray[Any]) -> Pixels:
    """A glimpse as uint8 (h, w, 3): grey or colour, alpha over white; floats are in [0, 1], a NaN is magenta.

    Args:
        picture: (h, w) or (h, w, C), C from 1 to 4: grey, grey and alpha, colour, colour and alpha.
    """
    values = picture if picture.ndim == 3 else picture[..., None]
    unknown = np.isnan(values).any(axis=2)
    if values.dtype != np.uint8:
        values = (np.clip(np.nan_to_num(values), 0, 1) * 255 + 0.5).astype(np.uint8)
    colour, alpha = np.split(values, [values.shape[2] - (values.shape[2] + 1) % 2], axis=2)
    if alpha.size:
        colour = (255 - (255 - colour.astype(np.float32)) * (alpha / np.float32(255)) + 0.5).astype(np.uint8)
    picture = np.broadcast_to(colour, (*colour.shape[:2], 3)).copy()
    picture[unknown] = UNKNOWN
    return picture


def fitted(size: tuple[int, int], room: tuple[int, int]) -> tuple[int, int]:
    """The largest (height, width) that fits: a whole number of times the size, or less than once.

    A side that would be too thin to be seen is stretched, to a whole number of times as well.
    """
    factor = min(room[0] / size[0], room[1] / size[1])
    times = int(factor) if factor >= 1 else factor
    height, width = (max(round(side * times), _least(side, most)) for side, most in zip(size, room, strict=True))
    return height, width


def _least(side: int, most: int) -> int:
    """Pixels that a side is shown with at least, of most."""
    least = min(THINNEST, most)
    return least if side >= least else min(side * ceil(least / side), most)


def scaled(picture: Pixels, room: tuple[int, int]) -> Pixels:
    """A picture as large as fits into (height, width): its pixels as squares of a whole size, or reduced."""
    size = fitted(picture.shape[:2], room)
    grows = size[0] >= picture.shape[0] and size[1] >= picture.shape[1]
    image = Image.fromarray(np.ascontiguousarray(picture))
    large = np.array(image.resize(size[::-1], Image.Resampling.NEAREST if grows else Image.Resampling.BOX))
    times = min(size[0] // picture.shape[0], size[1] // picture.shape[1])
    if times >= RULED:
        rule_faintly(large, *(np.arange(times, side, times) for side in size))
    return large


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own typeface; where Pillow has no FreeType, its bitmap letters of one size."""
    return ImageFont.load_default(size) if features.check("freetype2") else ImageFont.load_default()
