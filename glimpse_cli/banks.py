"""A bank is an axis made concrete for an image: which pixels it reads, and with what weights.

With one bank an axis, ``glimpse = By · I · Bxᵀ``, and the mask is the outer product of their column sums: the
gradient of the glimpse's sum, and what the picture of the mask shows.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glimpse_cli.combs import Comb
from glimpse_cli.errors import ParameterError
from glimpse_cli.kernels import REACH_FLOAT32, REACH_FLOAT64, Kernel

Floats = NDArray[np.floating[Any]]  # float32 or float64
Block = tuple[slice, slice, Floats]  # the rows of a matrix, the columns they read, and their weights


@dataclass(frozen=True, slots=True)
class Axis:
    """How one axis of the image is sampled: a kernel laid on every place of a comb."""

    comb: Comb
    kernel: Kernel

    def bank(self, n: int, N: int, dtype: type[np.floating] = np.float64) -> "Bank":
        """The weights of n samples on N pixels.

        Places are float64 always; the weights have ``dtype``, and float32 ones stop at the reach float32 can see.

        Raises:
            ParameterError: the image has no pixel on this axis.
        """
        if N < 1:
            raise ParameterError(f"an image needs at least one pixel on every axis, got {N}")
        reach = REACH_FLOAT64 if dtype is np.float64 else REACH_FLOAT32
        first, weights = self.kernel.taps(self.comb.places(n), N, reach)
        return Bank(first, weights.astype(dtype, copy=False))


@dataclass(frozen=True, slots=True, eq=False)
class Bank:
    """A banded (n, N) matrix: row i weighs the K pixels from ``first[i]`` on.

    Args:
        first: (n,) index of each row's first pixel.
        weights: (n, K), of which any may be 0; first + K never exceeds N.
    """

    first: NDArray[np.intp]
    weights: Floats

    @property
    def pixels(self) -> range:
        """The stretch of the axis that is read; nothing outside it matters."""
        return range(int(self.first.min()), int(self.first.max()) + self.weights.shape[1])

    @property
    def columns(self) -> NDArray[np.intp]:
        """(n, K) the pixel that each weight is of."""
        return self.first[:, None] + np.arange(self.weights.shape[1])

    def column_sums(self, N: int) -> NDArray[np.float64]:
        """(N,) how much of each pixel goes into the glimpse: one side of the mask."""
        sums = np.bincount(self.columns.ravel(), self.weights.ravel(), minlength=N)
        return sums.astype(np.float64, copy=False)

    def part(self, rows: slice) -> "Bank":
        """The bank of some of the rows."""
        return Bank(self.first[rows], self.weights[rows])

    def dense(self) -> Floats:
        """(n, len(pixels)) the matrix written out, over the pixels it reads."""
        ((_, _, matrix),) = self.blocks(self.first.size)
        return matrix

    def blocks(self, size: int, C: int = 1) -> Iterator[Block]:
        """The matrix as dense blocks of so many rows.

        Args:
            size: rows of a block; the last one may have fewer.
            C: channels that lie side by side on the axis, each weighed on its own: C rows of the matrix for one of the
                bank, and C columns for a pixel.

        Yields:
            The rows of the matrix, the columns they read (counted from ``pixels.start``), and their weights.
        """
        n, K = self.weights.shape
        offsets = self.first - self.first.min()
        tops = np.arange(0, n, size)
        starts = np.minimum.reduceat(offsets, tops)
        stops = np.maximum.reduceat(offsets, tops) + K
        P = int((stops - starts).max())
        matrix = np.zeros((n, P), self.weights.dtype)
        places = offsets - starts.repeat(size)[:n] + np.arange(0, matrix.size, P)
        matrix.ravel()[places[:, None] + np.arange(K)] = self.weights
        if C > 1:
            apart = np.zeros((n, C, P, C), matrix.dtype)
            for c in range(C):
                apart[:, c, :, c] = matrix
            matrix = apart.reshape(n * C, P * C)
        for top, start, stop in zip(tops.tolist(), starts.tolist(), stops.tolist(), strict=True):
            rows = slice(top * C, min(top + size, n) * C)
            yield rows, slice(start * C, stop * C), matrix[rows, : (stop - start) * C]
