"""What people type -> where and how to look, checked before any file is opened.

A place has exactly one of three spellings; a `Look` adds size, method, padding and width and, once the image's size
is known, becomes a `Spec`. `spellings` is the way back: every spelling of a spec that exists.
"""

import re
from contextlib import suppress
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, Literal, NamedTuple

from glimpse_cli.combs import Box, Comb
from glimpse_cli.errors import ParameterError

if TYPE_CHECKING:
    from glimpse_cli.glimpse import Method, Spec
    from glimpse_cli.kernels import Padding

BoxFormat = Literal["xyxy", "xywh", "cxcywh"]

# float() would also take nan, inf, 1_0, digits of other scripts and blanks
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_SIZE = re.compile(r"(\d{1,9})(?:[xX](\d{1,9}))?", re.ASCII)
_COMMA = "a point for decimals (0.5): a comma separates y from x"


class Pair(NamedTuple):
    """A number for each axis, y first."""

    y: float
    x: float


@dataclass(frozen=True, slots=True)
class BoxPlace:
    """A box in edge coordinates: the best crop of that area.

    Args:
        numbers: x0, y0, x1, y1, in pixels, or in fractions of the image where ``normalized``.
        normalized: the numbers are fractions: ``0, 0, 1, 1`` is the whole image.
        margin: the box's width and height grow by this share, about its middle; 0 or above.
        keep_aspect: the box grows, about its middle, until it has the glimpse's aspect.
    """

    numbers: tuple[float, float, float, float]
    normalized: bool = False
    margin: float = 0.0
    keep_aspect: bool = False

    def box(self, image_size: tuple[int, int], size: tuple[int, int]) -> Box:
        """The box in pixels of an image of (height, width), for a glimpse of (height, width)."""
        x0, y0, x1, y1 = self.numbers
        Box(x0, y0, x1, y1)  # refused as it was written, not as it has become
        if self.normalized:
            H, W = image_size
            x0, y0, x1, y1 = x0 * W, y0 * H, x1 * W, y1 * H
        width, height = (x1 - x0) * (1 + self.margin), (y1 - y0) * (1 + self.margin)
        if self.keep_aspect:
            h, w = size
            width, height = max(width, height * w / h), max(height, width * h / w)
        if (width, height) == (x1 - x0, y1 - y0):
            return Box(x0, y0, x1, y1)  # to the last bit what was asked for
        x, y = (x0 + x1) / 2, (y0 + y1) / 2
        return Box(x - width / 2, y - height / 2, x + width / 2, y + height / 2)

    def combs(self, image_size: tuple[int, int], size: tuple[int, int]) -> tuple[Comb, Comb]:
        """The (y, x) combs."""
        box, (h, w) = self.box(image_size, size), size
        return Comb.from_box(box.y0, box.y1, h), Comb.from_box(box.x0, box.x1, w)


@dataclass(frozen=True, slots=True)
class CombPlace:
    """The post's Gaussian numbers in pixels, literal: u, the centre of the first sample, and the step d."""

    u: Pair
    d: Pair

    def combs(self, image_size: tuple[int, int], size: tuple[int, int]) -> tuple[Comb, Comb]:  # noqa: ARG002 - the places share one signature
        """The (y, x) combs."""
        return Comb(self.u.y, self.d.y), Comb(self.u.x, self.d.x)


@dataclass(frozen=True, slots=True)
class GridPlace:
    """The post's spatial transformer numbers, literal: scale and shift in [-1, 1] of the image."""

    scale: Pair
    shift: Pair

    def combs(self, image_size: tuple[int, int], size: tuple[int, int]) -> tuple[Comb, Comb]:
        """The (y, x) combs."""
        (H, W), (h, w) = image_size, size
        return (
            Comb.from_scale_shift(self.scale.y, self.shift.y, h, H),
            Comb.from_scale_shift(self.scale.x, self.shift.x, w, W),
        )


Place = BoxPlace | CombPlace | GridPlace


@dataclass(frozen=True, slots=True)
class Look:
    """Where and how to look, whatever the image.

    Args:
        place: one of the three spellings.
        size: (height, width) of the glimpse.
        method: ``gaussian``, ``stn`` or ``hard``; by default stn for (scale, shift), else gaussian.
        padding: ``zeros``, ``border`` or ``reflection``; by default border for a box and zeros for raw numbers.
        s: the Gaussian's width in pixels on (y, x); by default ``0.35 * max(1, |d|)`` on each axis.

    Raises:
        ParameterError: a number no glimpse can have, on any image.
    """

    place: Place
    size: tuple[int, int] = (64, 64)
    method: "Method | None" = None
    padding: "Padding | None" = None
    s: Pair | None = None

    def __post_init__(self) -> None:
        self.spec((2, 2))  # a place is right or wrong whatever the image

    def spec(self, image_size: tuple[int, int]) -> "Spec":
        """What this is on an image of (height, width) pixels."""
        from glimpse_cli.banks import Axis  # noqa: PLC0415 - numpy: `glimpse --help` does not pay for it
        from glimpse_cli.glimpse import Spec, kernel_for, require_size  # noqa: PLC0415 - likewise

        require_size(self.size)
        method, padding = self.method, self.padding
        if method is None:
            method = "stn" if isinstance(self.place, GridPlace) else "gaussian"
        if padding is None:
            padding = "border" if isinstance(self.place, BoxPlace) else "zeros"
        combs = self.place.combs(image_size, self.size)
        widths = self.s or (None, None)
        y, x = (Axis(comb, kernel_for(method, padding, comb.step, s)) for comb, s in zip(combs, widths, strict=True))
        return Spec(y, x, self.size)


def spellings(spec: "Spec", image_size: tuple[int, int]) -> dict[str, dict[str, float] | None]:
    """Every spelling of a spec on an image of (height, width) pixels; None where one does not exist.

    Returns:
        ``box`` with x0, y0, x1, y1 (None where a step is not above 0), ``u``, ``s`` (None but for the Gaussian), ``d``,
        ``scale`` and ``shift`` (None where the image is one pixel wide or high), each with y and x. Any that is not
        None, with the same method, padding and s, gives the same glimpse.
    """
    (y, x), (h, w), (H, W) = (spec.y, spec.x), spec.size, image_size
    place: dict[str, dict[str, float] | None] = dict.fromkeys(("box", "u", "s", "d", "scale", "shift"))
    with suppress(ParameterError):  # a comb that does not advance
        (y0, y1), (x0, x1) = y.comb.box(h), x.comb.box(w)
        place["box"] = {"x0": x0, "y0": y0, "x1": x1, "y1": y1}
    place["u"] = {"y": y.comb.first, "x": x.comb.first}
    place["d"] = {"y": y.comb.step, "x": x.comb.step}
    widths = {name: axis.kernel.s for name, axis in (("y", y), ("x", x)) if hasattr(axis.kernel, "s")}
    place["s"] = widths or None
    with suppress(ParameterError):  # an axis of one pixel
        (scale_y, shift_y), (scale_x, shift_x) = y.comb.scale_shift(h, H), x.comb.scale_shift(w, W)
        place["scale"] = {"y": scale_y, "x": scale_x}
        place["shift"] = {"y": shift_y, "x": shift_x}
    return place


def parse_number(text: str, name: str) -> float:
    """A decimal number, strictly.

    Args:
        text: as typed.
        name: what it is, for the error: ``-u``, ``column x0``.

    Raises:
        ParameterError: not a number (nan, inf, 1_0 and digits of other scripts are none), or beyond float64.
    """
    if not _NUMBER.fullmatch(text.strip()):
        raise ParameterError(f"{name}: {text!a} is not a number")
    value = float(text)
    if not isfinite(value):
        raise ParameterError(f"{name}: {text!a} is too large a number")
    return value


def parse_pair(text: str, name: str) -> Pair:
    """``12.5`` for both axes, ``Y,X`` or ``y=12.5,x=80``.

    Raises:
        ParameterError: another count of values, an axis twice or missing, not a number.
    """
    if text.startswith("=") and (rest := text.lstrip("=")):  # -u=3 is -u with the value =3
        raise ParameterError(f"{name}: {text!a} is not a number", hint=f"{name} {rest}")
    parts = text.split(",")
    if any("=" in part for part in parts):
        axes = dict(part.strip().partition("=")[::2] for part in parts)
        if len(parts) != 2 or set(axes) != {"y", "x"}:
            raise ParameterError(f"{name}: {text!a} does not name y and x once each", hint=f"{name} y=12.5,x=80")
        return Pair(parse_number(axes["y"], name), parse_number(axes["x"], name))
    if len(parts) > 2:
        raise ParameterError(
            f"{name} takes one value for both axes or Y,X, got {len(parts)} values: {text!a}", hint=_COMMA
        )
    values = [parse_number(part, name) for part in parts]
    return Pair(values[0], values[-1])


def parse_width(text: str, name: str = "-s") -> Pair:
    """`parse_pair` for the Gaussian's width, which is above 0."""
    width = parse_pair(text, name)
    for axis, value in zip("yx", width, strict=True):
        if value <= 0:
            comma = "," in text and "=" not in text
            raise ParameterError(
                f"{name}: s must be above 0 px, got s_{axis} = {value:g} from {text}", hint=_COMMA if comma else None
            )
    return width


def parse_size(text: str) -> tuple[int, int]:
    """``WxH`` or ``N``, as people say it -> (height, width).

    Raises:
        ParameterError: not of that form, below 1, or too large.
    """
    from glimpse_cli.glimpse import require_size  # noqa: PLC0415 - numpy: `glimpse --help` does not pay for it

    match = _SIZE.fullmatch(text.strip())
    if not match:
        raise ParameterError(f"--size: {text!a} is not a size", hint="--size 64x48 (width x height) or --size 64")
    width = int(match[1])
    size = (int(match[2] or width), width)
    require_size(size)
    return size


def parse_box(text: str, form: BoxFormat = "xyxy") -> tuple[float, float, float, float]:
    """Four numbers in one of three formats -> x0, y0, x1, y1.

    Raises:
        ParameterError: not four numbers.
    """
    parts = text.split(",")
    if len(parts) != 4:
        raise ParameterError(
            f"--box takes four numbers, got {len(parts)}: {text!a}", hint=f"--box {','.join(_BOX_NAMES[form])}"
        )
    a, b, c, d = (parse_number(part, "--box") for part in parts)
    for side, value in (("width", c), ("height", d)) if form != "xyxy" else ():
        if value <= 0:
            raise ParameterError(f"--box: a box's {side} must be above 0, got {value:g} from {text}")
    return box_numbers(a, b, c, d, form)


_BOX_NAMES: dict[BoxFormat, tuple[str, ...]] = {
    "xyxy": ("X0", "Y0", "X1", "Y1"),
    "xywh": ("X", "Y", "WIDTH", "HEIGHT"),
    "cxcywh": ("CENTRE_X", "CENTRE_Y", "WIDTH", "HEIGHT"),
}


def box_numbers(a: float, b: float, c: float, d: float, form: BoxFormat) -> tuple[float, float, float, float]:
    """Four numbers of a format -> x0, y0, x1, y1."""
    if form == "xyxy":
        return a, b, c, d
    if form == "xywh":
        return a, b, a + c, b + d
    return a - c / 2, b - d / 2, a + c / 2, b + d / 2
