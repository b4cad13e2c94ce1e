"""What a good reduction of a box would be: Pillow's own LANCZOS filter, written out as a matrix."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

LOBES = 3  # of Pillow's LANCZOS: it reads this many steps around every sample
_COLUMNS = 512  # pixels of an axis whose weights are asked for at a time


def lanczos_axis(low: float, high: float, n: int, N: int) -> tuple[range, NDArray[np.float32]]:
    """The weights with which ``resize(..., LANCZOS, box=)`` makes n samples of [low, high) of an axis of N pixels.

    Every single pixel is resized on its own: what comes out is its column.

    Args:
        low: where the box begins, in edge coordinates; 0 or above.
        high: where it ends, above ``low``; N or below.
        n: samples, 1 or more.
        N: pixels.

    Returns:
        the pixels that are read, and their (n, pixels) weights; rows sum to 1.
    """
    around = LOBES * max(1.0, (high - low) / n) + 2
    pixels = range(max(0, int(low - around)), min(N, int(high + around) + 1))
    edges = max(0.0, low - pixels.start), min(float(len(pixels)), high - pixels.start)
    weights = np.empty((n, len(pixels)), np.float32)
    for start in range(0, len(pixels), _COLUMNS):
        columns = weights[:, start : start + _COLUMNS]
        ones = Image.fromarray(np.eye(len(pixels), columns.shape[1], -start, dtype=np.float32))
        box = (0, edges[0], ones.width, edges[1])
        columns[:] = np.asarray(ones.resize((ones.width, n), Image.Resampling.LANCZOS, box=box))
    return pixels, weights
