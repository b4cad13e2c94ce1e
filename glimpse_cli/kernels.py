"""A kernel is what is laid on every place of a comb: which pixels a sample reaches, and with what weights.

Each kernel turns n places on an axis of N pixels into **taps**: ``first``, the (n,) index of the first pixel of
every sample, and ``weights``, (n, K) float64, one for each of the K pixels from there on. Taps never leave the
image; what lies outside is the kernel's own affair, and so is its normalisation.
"""

from dataclasses import dataclass
from math import isfinite
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from glimpse_cli.combs import as_floats
from glimpse_cli.errors import ParameterError

Padding = Literal["zeros", "border", "reflection"]
PADDINGS = get_args(Padding)
MOST_WEIGHTS = 1 << 27  # of an axis: a gigabyte of them
Taps = tuple[NDArray[np.intp], NDArray[np.float64]]

POST_EPS = 1e-8  # the eps of the post's code: rows that reach no pixel turn black

# px: so far a place may lie before the middle of two pixels and still count as on it. Converting between spellings
# loses less.
TIE = 1e-9

# Pixels beyond hypot(D, k s) of a centre, D its distance to the nearest pixel, weigh exp(-k^2 / 2) of the heaviest
# one or less: 3e-7 for k = 5.5, 1e-14 for k = 8.
REACH_FLOAT32 = 5.5
REACH_FLOAT64 = 8.0

SHARPEST = 0.35  # of max(1, |d|): the s of the sharpest bells that do not alias (measured)


@dataclass(frozen=True, slots=True)
class Gaussian:
    """The post's Gaussian attention: a normalised bell of width s, ``exp(-((j - place) / s)^2 / 2)``.

    Args:
        s: width (standard deviation) in pixels, above 0.
        eps: added to each row's sum before dividing by it. ``0``, the default, is a softmax in log space: no row is
            ever dark and outside the image its edge is repeated for ever. ``1e-8`` is **the post**: a row that is
            centred between two pixels loses 60 % at s = 0.08 and all at s <= 0.06; outside the image the edge is
            repeated to about 5.3 s, then all is black.

    Raises:
        ParameterError: s is not above 0 or not finite; eps is negative or not finite.

    Source: A. Kosiorek, "Attention in Neural Networks and How to Use It" (2017), Gaussian attention.
    """

    s: float
    eps: float = 0.0

    def __post_init__(self) -> None:
        if not (isfinite(self.s) and self.s > 0):
            raise ParameterError(f"s must be above 0 px, got {self.s:g}")
        if not (isfinite(self.eps) and self.eps >= 0):
            raise ParameterError(f"eps must be 0 or above, got {self.eps:g}", hint="0, or 1e-8 for the post")
        as_floats(self, "s", "eps")

    @property
    def padding(self) -> Padding:
        """What eps makes of the outside: ``border`` for 0, ``zeros`` for anything above."""
        return "zeros" if self.eps else "border"

    def taps(self, places: NDArray[np.float64], N: int, reach: float = REACH_FLOAT64) -> Taps:
        """Pixels and weights of each place; rows sum to 1 (eps = 0) or less.

        Args:
            places: (n,) centres in pixels.
            N: pixels of the axis.
            reach: k: how many s of a bell are looked at.

        Raises:
            ParameterError: more weights than memory should be asked for.
        """
        nearest = _clip(np.floor(places + 0.5), N)
        distance = np.abs(places - nearest)
        with np.errstate(over="ignore", invalid="ignore", divide="ignore", under="ignore"):
            radius = np.hypot(distance, reach * self.s)
            low = np.minimum(_clip(np.ceil(places - radius), N), nearest)
            high = np.maximum(_clip(np.floor(places + radius), N), nearest)
            K = int((high - low).max()) + 1
            if K * places.size > MOST_WEIGHTS:
                raise ParameterError(
                    f"s = {self.s:g} px is too wide: {K} pixels for each of {places.size} samples",
                    why=f"at most {MOST_WEIGHTS:,} weights on an axis",
                )
            first = np.minimum(low, N - K)
            # (j - c)^2 - (nearest - c)^2 in a form that cancels nothing, however far outside c lies; in place all the
            # way, as a broad bell on a long axis is large
            bell = (first - nearest)[:, None] + np.arange(K)  # (n, K)
            bell *= bell + 2 * (nearest - places)[:, None]
            np.maximum(bell, 0, out=bell)
            bell /= self.s
            bell /= self.s
            bell *= -0.5
            np.exp(bell, out=bell)
            total = bell.sum(axis=1, keepdims=True)
            if self.eps:
                height = np.exp(np.square(distance / self.s) * -0.5)[:, None]
                total = total * height + self.eps
                bell *= height
            bell /= total
        return first.astype(np.intp), bell


@dataclass(frozen=True, slots=True)
class Hat:
    """Bilinear sampling, the spatial transformer's kernel: a hat two pixels wide.

    Args:
        padding: what lies outside. ``zeros``, the post's: every pixel outside the image is 0, so a value tapers to 0
            over one pixel. ``border`` repeats the edge pixel. ``reflection`` mirrors about the edge pixel's centre.

    Raises:
        ParameterError: an unknown padding.

    It does not anti-alias: with steps above 1.5 pixels it skips over the picture. It equals
    ``torch.nn.functional.grid_sample(..., mode="bilinear", align_corners=True)``.

    Source: the post, Spatial Transformer; Jaderberg et al., "Spatial Transformer Networks" (2015).
    """

    padding: Padding = "zeros"

    def __post_init__(self) -> None:
        require_padding(self.padding)

    def taps(self, places: NDArray[np.float64], N: int, reach: float = REACH_FLOAT64) -> Taps:  # noqa: ARG002 - every kernel is called alike
        """Pixels and weights of each place: (n, 2), or (n, 1) on an axis of one pixel."""
        places = _fold(places, N, self.padding)
        first = _clip(np.floor(places), max(N - 1, 1)).astype(np.intp)
        j = first[:, None] + np.arange(min(2, N))
        return first, np.maximum(0, 1 - np.abs(j - places[:, None]))


@dataclass(frozen=True, slots=True)
class Nearest:
    """Hard attention, the plain crop on any comb: the pixel ``floor(place + 1/2)``.

    A place up to 1e-9 px before the middle of two pixels is on it, and takes the second: so that a glimpse whose places
    lie there is the same in every spelling.

    Args:
        padding: what lies outside: ``zeros``, ``border`` (the edge pixel) or ``reflection`` about its centre.

    Raises:
        ParameterError: an unknown padding.
    """

    padding: Padding = "zeros"

    def __post_init__(self) -> None:
        require_padding(self.padding)

    def taps(self, places: NDArray[np.float64], N: int, reach: float = REACH_FLOAT64) -> Taps:  # noqa: ARG002 - every kernel is called alike
        """Pixels and weights of each place: (n, 1), 1 inside and 0 outside."""
        pixels = _fold(np.floor(places + (0.5 + TIE)), N, self.padding)
        inside = (pixels >= 0) & (pixels < N)
        return _clip(pixels, N).astype(np.intp), inside[:, None].astype(np.float64)


Kernel = Gaussian | Hat | Nearest


def default_width(step: float) -> float:
    """The Gaussian's s where none is given: ``0.35 * max(1, |d|)``, the sharpest that does not alias."""
    return SHARPEST * max(1.0, abs(step))


def require_padding(padding: str) -> None:
    """Refuse a padding that is none."""
    if padding not in PADDINGS:
        raise ParameterError(f"padding must be one of {', '.join(PADDINGS)}, got {padding!r}")


def _clip(pixels: NDArray[np.float64], N: int) -> NDArray[np.float64]:
    """Pixel indices brought into 0 .. N - 1 while still floats: places may be 1e300 pixels outside."""
    return np.minimum(np.maximum(pixels, 0), N - 1)


def _fold(places: NDArray[np.float64], N: int, padding: Padding) -> NDArray[np.float64]:
    """Places outside the image moved to where the padding finds their value."""
    if padding == "zeros":
        return places
    if padding == "border":
        return _clip(places, N)
    if N == 1:
        return np.zeros_like(places)
    period = 2 * (N - 1)
    wrapped = np.mod(np.abs(places), period)  # a negative one would be rounded as the period is
    folded: NDArray[np.float64] = np.minimum(wrapped, period - wrapped)
    return folded
