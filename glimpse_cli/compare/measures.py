"""How far one glimpse is from another, in numbers; and what a bank does to noise."""

from dataclasses import dataclass
from importlib.util import find_spec
from math import inf, log10
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glimpse_cli.banks import Bank, Floats

WEIGHTY = 1e-3  # of an even share of a sample: what a pixel must weigh to be counted as seen
_SSIM_WINDOW = 7  # pixels a side of the window in which structures are compared


@dataclass(frozen=True, slots=True)
class Difference:
    """A glimpse against another, over all samples and channels; white is 1.

    Args:
        mae: mean absolute difference.
        max: largest absolute difference.
        psnr: peak signal to noise ratio in dB; infinite where the two are identical.
        ssim: structural similarity; None without scikit-image, or for glimpses below 7 samples a side.
    """

    mae: float
    max: float
    psnr: float
    ssim: float | None


def difference(glimpse: Floats, reference: Floats) -> Difference:
    """Compare two glimpses (h, w, C) in [0, 1]."""
    apart = np.abs(glimpse.astype(np.float64) - reference)
    square = float(np.mean(np.square(apart)))
    psnr = inf if square == 0 else -10 * log10(square)
    return Difference(float(apart.mean()), float(apart.max()), psnr, _ssim(glimpse, reference))


def has_ssim() -> bool:
    """Whether scikit-image is there to compute it."""
    return find_spec("skimage") is not None


def _ssim(glimpse: Floats, reference: Floats) -> float | None:
    if min(glimpse.shape[:2]) < _SSIM_WINDOW or not has_ssim():
        return None
    from skimage.metrics import structural_similarity  # noqa: PLC0415 - an extra, and half a second

    one, other = glimpse.astype(np.float64), reference.astype(np.float64)
    similarity: Any = structural_similarity  # it has no types
    return float(similarity(one, other, data_range=1.0, channel_axis=2, win_size=_SSIM_WINDOW))


def noise_gain(by: Bank, bx: Bank) -> float:
    """What becomes of the variance of white noise: the sum of squared weights of a sample, mean over all samples."""
    gains = [float(np.mean(np.square(bank.weights, dtype=np.float64).sum(axis=1))) for bank in (by, bx)]
    return gains[0] * gains[1]


def pixels_read(ay: NDArray[np.float64], ax: NDArray[np.float64]) -> int:
    """How many pixels any sample takes a share of, however small, from the column sums of both banks."""
    return int(np.count_nonzero(ay)) * int(np.count_nonzero(ax))


def pixels_seen(ay: NDArray[np.float64], ax: NDArray[np.float64], pixels: float) -> int:
    """How many of them weigh more than `WEIGHTY` in the glimpse's sum, if so many ``pixels`` share a sample."""
    ascending = np.sort(ax)
    with np.errstate(divide="ignore"):
        least = WEIGHTY / pixels / ay  # what a column must weigh for a pixel of this row to count
    return int((ax.size - np.searchsorted(ascending, least, side="right")).sum())
