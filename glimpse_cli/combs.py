"""A comb is where an axis is sampled: evenly spaced places ``first + step * i``, in pixels.

Pixel j has its centre at coordinate j. A box edge is in edge coordinates, where pixel j covers [j, j + 1).
N is the number of pixels of the image on an axis, n the number of samples of the glimpse on it.

======================  ========================================  =========================
spelling                first centre (u)                          step (d)
======================  ========================================  =========================
Gaussian (u, d)         u                                         d
STN (scale, shift)      (N - 1) / 2 * (shift - scale + 1)         (N - 1) * scale / (n - 1)
box edges (x0, x1)      x0 + d / 2 - 1 / 2                        (x1 - x0) / n
======================  ========================================  =========================

All arithmetic is float64: float32 is off by 6e-3 px at 100 000 pixels.
"""

from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING

from glimpse_cli.errors import ParameterError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Comb:
    """Evenly spaced sampling places on one axis: ``first + step * i`` for i = 0 .. n - 1.

    Args:
        first: u, the centre of the **first** sample in pixels (not of the window, as DRAW's g). Any finite number.
        step: d, the distance between centres in pixels. Negative mirrors, 0 repeats one place.

    Raises:
        ParameterError: a value is NaN or infinite.

    Source: A. Kosiorek, "Attention in Neural Networks and How to Use It" (2017), Gaussian attention: u and d.
    """

    first: float
    step: float

    def __post_init__(self) -> None:
        for name, value in (("u, the first centre,", self.first), ("d, the step,", self.step)):
            if not isfinite(value):
                raise ParameterError(f"{name} must be a finite number of pixels, got {value}")
        as_floats(self, "first", "step")

    @classmethod
    def from_box(cls, x0: float, x1: float, n: int) -> "Comb":
        """Divide [x0, x1) into n equal cells and sample the middle of each.

        Args:
            x0: lower edge in edge coordinates, pixels; may lie outside the image.
            x1: upper edge, above x0.
            n: samples of the glimpse on this axis, 1 or more.

        Raises:
            ParameterError: x1 <= x0, n < 1, or a value is not finite.
        """
        _require_count("n", n)
        x0, x1, n = float(x0), float(x1), int(n)
        if not x1 > x0:
            raise ParameterError(f"a box must end after it begins, got [{x0}, {x1})")
        step = (x1 - x0) / n
        return cls(x0 + step / 2 - 0.5, step)

    @classmethod
    def from_scale_shift(cls, scale: float, shift: float, n: int, N: int) -> "Comb":
        """The comb of a spatial transformer: -1 and +1 are the centres of the first and the last pixel.

        This is ``align_corners=True`` of torch and Sonnet's ``AffineGridWarper``. One exception: for ``n = 1``
        the sample sits at the middle of the grid, ``(N - 1) / 2 * (shift + 1)``, as in torch, and the step is 0;
        Sonnet puts it at ``-scale + shift``. For ``N = 1`` every sample is pixel 0.

        Args:
            scale: half the extent of the glimpse in [-1, 1] units; negative mirrors.
            shift: the middle of the glimpse in [-1, 1] units.
            n: samples of the glimpse on this axis, 1 or more.
            N: pixels of the image on this axis, 1 or more.

        Raises:
            ParameterError: a count is below 1, or a value is not finite.

        Source: the post, Spatial Transformer; Jaderberg et al., "Spatial Transformer Networks" (2015).
        """
        _require_count("n", n)
        _require_count("N", N)
        for name, value in (("scale", scale), ("shift", shift)):
            if not isfinite(value):
                raise ParameterError(f"{name} must be a finite number, got {value}")
        scale, shift, n, N = float(scale), float(shift), int(n), int(N)
        half = (N - 1) / 2
        if n == 1:
            return cls(half * (shift + 1), 0.0)
        return cls(half * (shift - scale + 1), (N - 1) * scale / (n - 1))

    def box(self, n: int) -> tuple[float, float]:
        """The edges [x0, x1) of which this comb samples n cells, in edge coordinates.

        Raises:
            ParameterError: the step is 0 or negative, or so small that it vanishes: such a comb has no box.
        """
        _require_count("n", n)
        if self.step <= 0:
            raise ParameterError(f"a comb has a box only if its step d is above 0, got {self.step}")
        x0 = self.first + 0.5 - self.step / 2
        x1 = x0 + n * self.step
        if x1 <= x0:
            raise ParameterError(f"a step d of {self.step:g} px at {self.first:g} px is too small for a box in float64")
        return x0, x1

    def scale_shift(self, n: int, N: int) -> tuple[float, float]:
        """The spatial transformer's (scale, shift) of this comb on an axis of N pixels; for n = 1 the scale is 0.

        Raises:
            ParameterError: N is 1, where every (scale, shift) reads pixel 0 and none can be recovered.
        """
        _require_count("n", n)
        _require_count("N", N)
        if N == 1:
            raise ParameterError("(scale, shift) cannot be recovered on an axis of one pixel")
        extent = self.step * (n - 1)
        return extent / (N - 1), (2 * self.first + extent) / (N - 1) - 1

    def places(self, n: int) -> "NDArray[np.float64]":
        """The n sampling places in pixels, float64, in the order of the glimpse's samples."""
        import numpy as np  # noqa: PLC0415 - `glimpse --help` reads this module and pays for no numpy

        _require_count("n", n)
        return self.first + self.step * np.arange(n, dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle of the image, half-open, in edge coordinates: pixel j covers [j, j + 1).

    ``Box(0, 0, W, H)`` is the whole image. It may leave the image on any side and needs no integer.

    Args:
        x0: left edge in pixels.
        y0: upper edge in pixels.
        x1: right edge, above x0.
        y1: lower edge, above y0.

    Raises:
        ParameterError: a value is not finite, or the box is empty or inverted.
    """

    x0: float
    y0: float
    x1: float
    y1: float

    def __post_init__(self) -> None:
        for name, value in (("x0", self.x0), ("y0", self.y0), ("x1", self.x1), ("y1", self.y1)):
            if not isfinite(value):
                raise ParameterError(f"a box's {name} must be a finite number of pixels, got {value}")
        for low, high, axis in ((self.x0, self.x1, "x"), (self.y0, self.y1, "y")):
            if not high > low:
                raise ParameterError(
                    f"a box's {axis}1 must be above its {axis}0, got {axis}0 = {low:g} and {axis}1 = {high:g}",
                    hint="a negative -d or --scale mirrors a glimpse; in a table, a negative d or scale",
                )
        as_floats(self, "x0", "y0", "x1", "y1")


def as_floats(frozen: object, *names: str) -> None:
    """Make Python's floats of fields: float32 numbers, as arrays have them, would be reckoned with in float32."""
    for name in names:
        value = getattr(frozen, name)
        if type(value) is not float:
            object.__setattr__(frozen, name, float(value))


def _require_count(name: str, value: int) -> None:
    if value < 1 or value % 1:  # also what is no number
        raise ParameterError(f"{name} must be a whole number of 1 or more, got {value}")
