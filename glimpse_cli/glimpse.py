"""Extract a glimpse with NumPy: ``By · I · Bxᵀ``, reading only the pixels that matter, a tile at a time."""

from dataclasses import dataclass
from math import ceil, prod
from threading import local
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from glimpse_cli.banks import Axis, Bank, Block, Floats
from glimpse_cli.combs import Box, Comb
from glimpse_cli.errors import ParameterError
from glimpse_cli.kernels import (
    POST_EPS,
    TIE,
    Gaussian,
    Hat,
    Kernel,
    Nearest,
    Padding,
    default_width,
    require_padding,
)

Method = Literal["gaussian", "stn", "hard"]

PEAKS = {np.dtype(np.uint8): 255, np.dtype(np.uint16): 65535}  # the value that becomes 1.0
MAX_VALUES = 100_000_000  # samples of one glimpse: refused before any memory is taken
MAX_SIDE = 32768
FARTHEST = 2.0**53  # pixels: beyond it float64 knows no fractions, nor every pixel

_CACHE = 1 << 18  # bytes that stay in the second-level cache until everyone has had his share of them
_STRIP = 1 << 20  # bytes of a strip of what lies between the two axes of a glimpse: all of it may be large
_NARROW = 128  # taps of all channels up to which they are weighed side by side
_ROWS = 96  # of a glimpse, from which on blocks are worth their making where one or two taps do
_KEPT = 1 << 22  # bytes that a thread keeps for its next glimpse, at most


class _Own(local):
    """What a thread has for itself."""

    memory: NDArray[np.uint8] = np.empty(0, np.uint8)


_own = _Own()


@dataclass(frozen=True, slots=True)
class Spec:
    """Where and how to look: an axis each for y and x, and the glimpse's size.

    Args:
        y: the vertical axis.
        x: the horizontal axis.
        size: (height, width) of the glimpse in samples, 1 or more each.

    Raises:
        ParameterError: a size below 1, or one too large to be meant (32768 a side, 100 million samples); places so far
            out that float64 cannot tell pixels apart (2**53).
    """

    y: Axis
    x: Axis
    size: tuple[int, int]

    def __post_init__(self) -> None:
        require_size(self.size)
        for axis, n in zip((self.y, self.x), self.size, strict=True):
            comb = axis.comb
            if max(abs(comb.first), abs(comb.first + comb.step * n)) > FARTHEST:
                raise ParameterError(f"u = {comb.first:g} px with d = {comb.step:g} px leaves what float64 can place")

    @classmethod
    def from_box(
        cls,
        box: Box,
        size: tuple[int, int],
        method: Method = "gaussian",
        s: float | None = None,
        padding: Padding = "border",
    ) -> "Spec":
        """The best crop of a box: its edge repeated outside the image, a width that neither blurs nor aliases.

        Args:
            box: in edge coordinates, pixels; may leave the image.
            size: (height, width) of the glimpse.
            method: ``gaussian``, ``stn`` or ``hard``.
            s: the Gaussian's width in pixels on both axes; by default ``0.35 * max(1, |d|)`` on each.
            padding: see `kernel_for`.

        Raises:
            ParameterError: a number no glimpse can have, or s with another method than gaussian.
        """
        require_size(size)
        h, w = size
        combs = Comb.from_box(box.y0, box.y1, h), Comb.from_box(box.x0, box.x1, w)
        y, x = (Axis(comb, kernel_for(method, padding, comb.step, s)) for comb in combs)
        return cls(y, x, size)

    def banks(self, image_size: tuple[int, int], dtype: type[np.floating] = np.float64) -> tuple[Bank, Bank]:
        """(By, Bx) for an image of (height, width) pixels."""
        (h, w), (H, W) = self.size, image_size
        return self.y.bank(h, H, dtype), self.x.bank(w, W, dtype)


def require_size(size: tuple[int, int]) -> None:
    """Refuse a glimpse's (height, width) that is below 1 a side, or too large to be meant."""
    h, w = size
    if min(h, w) < 1 or h % 1 or w % 1:
        raise ParameterError(f"a glimpse's size must be 1 or more a side, in whole numbers, got {w}x{h} (WxH)")
    if max(h, w) > MAX_SIDE or h * w > MAX_VALUES:
        raise ParameterError(
            f"a glimpse of {w}x{h} (WxH) is too large",
            why=f"at most {MAX_SIDE} a side and {MAX_VALUES:,} samples",
        )


def kernel_for(method: Method, padding: Padding, step: float, s: float | None = None) -> Kernel:
    """The kernel of a method.

    Args:
        method: ``gaussian``, ``stn`` or ``hard``.
        padding: for the Gaussian ``zeros`` is the post's eps of 1e-8 and ``border`` its eps = 0.
        step: d of the comb, from which the Gaussian's default width follows.
        s: the Gaussian's width in pixels.

    Raises:
        ParameterError: an unknown method or padding, reflection for the Gaussian, s for another method.
    """
    require_padding(padding)
    if method == "gaussian":
        if padding == "reflection":
            raise ParameterError(
                "the gaussian has no padding 'reflection'",
                hint="--padding border, or zeros (the post); the methods stn and hard have reflection",
            )
        return Gaussian(default_width(step) if s is None else s, POST_EPS if padding == "zeros" else 0.0)
    if method not in get_args(Method):
        raise ParameterError(f"method must be one of {', '.join(get_args(Method))}, got {method!r}")
    if s is not None:
        raise ParameterError(
            f"s is the gaussian's width; the method {method} has none", hint="leave -s out, or --method gaussian"
        )
    return Hat(padding) if method == "stn" else Nearest(padding)


def extract(image: NDArray[Any], spec: Spec) -> Floats:
    """Cut a glimpse out of an image.

    Args:
        image: (H, W) or (H, W, C), upright; uint8, uint16, float32 or float64. Any number of channels, each on its
            own (alpha is a channel like any other).
        spec: where and how.

    Returns:
        (h, w) or (h, w, C). uint8 and uint16 give float32 in [0, 1] (by / 255, / 65535); float32 stays float32 and
        float64 is computed and returned in float64. Values are sampled as they are encoded (sRGB), not linearised.
        What lies outside the image follows each kernel's padding.

    Raises:
        ParameterError: another dtype, another number of dimensions, or an image without pixels.
    """
    if image.ndim not in (2, 3) or 0 in image.shape:
        raise ParameterError(f"an image is (H, W) or (H, W, C), none of them 0, got shape {image.shape}")
    by, bx = spec.banks((image.shape[0], image.shape[1]), working_dtype(image.dtype))
    y, x = by.pixels, bx.pixels
    return contract(image[y.start : y.stop, x.start : x.stop], by, bx)


def mask(image_size: tuple[int, int], spec: Spec) -> NDArray[np.float32]:
    """What a glimpse attends to: (H, W) float32, how much each pixel of the image weighs in the glimpse's sum.

    It is the gradient of the sum of the glimpse with respect to the image, for every method.

    Args:
        image_size: (height, width) of the image in pixels.
        spec: where and how.
    """
    (H, W), (by, bx) = image_size, spec.banks(image_size)
    return np.multiply.outer(by.column_sums(H), bx.column_sums(W)).astype(np.float32)


def coverage(image_size: tuple[int, int], spec: Spec) -> float:
    """The share of sample places inside the image, [-1/2, N - 1/2) on both axes: 1 is all, 0 is none."""
    share = 1.0
    for axis, n, N in zip((spec.y, spec.x), spec.size, image_size, strict=True):
        places = axis.comb.places(n) + TIE  # as `Nearest` has it
        share *= float(np.mean((places >= -0.5) & (places < N - 0.5)))
    return share


def working_dtype(dtype: np.dtype[Any]) -> type[np.float32] | type[np.float64]:
    """What an image of this dtype is computed in, and comes out as."""
    if dtype == np.float64:
        return np.float64
    if dtype in PEAKS or dtype == np.float32:
        return np.float32
    hint = "image.astype(numpy.float32)" if dtype.isnative else "image.astype(image.dtype.newbyteorder('='))"
    raise ParameterError(f"an image is uint8, uint16, float32 or float64, got {dtype}", hint=hint)


def contract(window: NDArray[Any], by: Bank, bx: Bank) -> Floats:
    """By · window · Bxᵀ for the part of an image that the banks read.

    Args:
        window: (rows, columns) or (rows, columns, C): the image at ``by.pixels`` and ``bx.pixels``, no more.
        by: the vertical bank, in float32 or, for a float64 window, float64.
        bx: the horizontal bank.

    Returns:
        (h, w) or (h, w, C), integers scaled to [0, 1].
    """
    cube = window if window.ndim == 3 else window[:, :, None]
    h, w, K = by.first.size, bx.first.size, (by.weights.shape[1], bx.weights.shape[1])
    # floats may be infinite, and products meet pixels that no sample reaches: 0 inf is NaN
    exact = np.issubdtype(cube.dtype, np.floating)
    # blocks pay where samples lie close, and there are rows enough to repay the making of the columns' ones
    close = h >= _ROWS and h * w > 2 * cube.shape[0] * cube.shape[1]
    few = max(K) <= 2 and (exact or not close)
    with np.errstate(invalid="ignore", over="ignore"):  # a picture may hold infinities: they are the caller's
        glimpse = (_gathered if few else _banded)(cube, by, bx)
    if not exact:
        glimpse /= PEAKS[cube.dtype]  # its inverse would not do: 255 becomes exactly 1
        if glimpse.max() > 1:  # weights sum to 1, but for their last digit
            np.minimum(glimpse, 1, out=glimpse)
    return glimpse if window.ndim == 3 else glimpse[:, :, 0]


def _gathered(cube: NDArray[Any], by: Bank, bx: Bank) -> Floats:
    """One or two taps an axis: pick the pixels, weigh them, add them up; some rows of the glimpse at a time."""
    (_, W, C), (h, Ky), (w, Kx), dtype = cube.shape, by.weights.shape, bx.weights.shape, by.weights.dtype
    rows, columns = by.columns - by.first.min(), (bx.columns - bx.first.min()).T  # (h, Ky), (Kx, w)
    together = C & -C  # channels are moved as one word, as far as a power of two divides them
    words = C // together
    taps = (columns[:, :, None] * words + np.arange(words)).ravel()
    across = bx.weights.T.repeat(C, axis=1)  # (Kx, w C)
    apart = Kx * w * (1 + words / C) < W  # few pixels of a line are wanted: they are picked before lines are added up
    length = across.size if apart else W * C
    most = max(Ky * length, across.size)  # numbers at once for a row of the glimpse
    count = max(1, _STRIP // max(most * dtype.itemsize, Ky * W * C * cube.itemsize))
    glimpse = np.empty((h, w * C), dtype)
    for top in range(0, h, count):
        part = slice(top, min(top + count, h))
        n = part.stop - top
        lines = cube[rows[part]].reshape(n, Ky, W * C)
        if apart:
            lines = _picked(lines, taps, together, np.empty((n, Ky, length), cube.dtype))
        room, sums = _memory(dtype, (n * most,), (n, length))
        values, pairs = room[: lines.size].reshape(lines.shape), room[: n * across.size].reshape(n, -1)
        values[...] = lines
        np.einsum("nkl,nk->nl", values, by.weights[part], out=sums)
        if not apart:
            sums = _picked(sums, taps, together, pairs)
        np.einsum("nkl,kl->nl", sums.reshape(n, Kx, -1), across, out=glimpse[part])
    if np.issubdtype(cube.dtype, np.floating):  # what reaches no pixel is black, though the one beside it be infinite
        glimpse[~by.weights.any(axis=1)] = 0
        glimpse[:, ~across.any(axis=0)] = 0
    return glimpse.reshape(h, w, C)


def _picked(lines: NDArray[Any], taps: NDArray[np.intp], together: int, out: NDArray[Any]) -> NDArray[Any]:
    """The words at some places of every line, as many values together as one of them."""
    word = f"V{together * lines.itemsize}"
    np.take(lines.view(word), taps, axis=-1, out=out.view(word), mode="wrap")  # none is outside; the fastest mode
    return out


def _banded(cube: NDArray[Any], by: Bank, bx: Bank) -> Floats:
    """Products of dense blocks, an axis after the other, channels side by side."""
    (R, W, C), (h, w), dtype = cube.shape, (by.first.size, bx.first.size), by.weights.dtype
    # side by side, channels meet zeros for each other: faster while these are few, but of floats 0 inf would be NaN
    g = 1 if C > 4 or C * bx.weights.shape[1] > _NARROW or np.issubdtype(cube.dtype, np.floating) else C
    down, across = list(by.blocks(_block_size(by))), list(bx.blocks(_block_size(bx), g))
    glimpse = np.empty((C // g, h, w * g), dtype)
    columns_first = h > R and 2 * R * w < 3 * h * W  # enlarged, and not far more lies between the axes then
    (_columns_first if columns_first else _rows_first)(cube, down, across, glimpse)
    return glimpse.reshape(C // g, h, w, g).transpose(1, 2, 0, 3).reshape(h, w, C)


def _rows_first(cube: NDArray[Any], down: list[Block], across: list[Block], glimpse: Floats) -> None:
    """Rows of the glimpse over all columns of the image, then their columns: a strip at a time."""
    (R, W, C), (_, h, _), dtype = cube.shape, glimpse.shape, glimpse.dtype
    size, longest = down[0][0].stop, max(pixels.stop - pixels.start for _, pixels, _ in down)
    count = max(1, _STRIP // (size * W * C * dtype.itemsize))
    step = min(max(_CACHE // (longest * dtype.itemsize), 256), W * C)
    lines, tile = _memory(dtype, (min(count * size, h), W * C), (longest * step,))
    flat = cube.reshape(R, W * C)
    for first in range(0, len(down), count):
        strip = down[first : first + count]
        top, bottom = strip[0][0].start, strip[-1][0].stop
        for left in range(0, W * C, step):
            part = slice(left, min(left + step, W * C))
            for rows, pixels, matrix in strip:
                shape = (pixels.stop - pixels.start, part.stop - left)
                values = tile[: prod(shape)].reshape(shape)
                values[...] = flat[pixels, part]  # converted once, into memory that stays in the cache
                np.matmul(matrix, values, out=lines[rows.start - top : rows.stop - top, part])
        _columns(lines[: bottom - top].reshape(-1, W, C), across, glimpse[:, top:bottom])


def _columns_first(cube: NDArray[Any], down: list[Block], across: list[Block], glimpse: Floats) -> None:
    """Columns of the glimpse in all rows of the image, then its rows, which are more: a strip of columns at a time."""
    (R, _, C), groups, dtype = cube.shape, len(glimpse), glimpse.dtype
    g, product = C // groups, np.multiply if R == 1 else np.matmul  # of one row a matmul is slow
    count = max(1, _STRIP // (R * across[0][0].stop * groups * dtype.itemsize))
    for first in range(0, len(across), count):
        strip = across[first : first + count]
        left, right = strip[0][0].start, strip[-1][0].stop
        start, stop = min(pixels.start for _, pixels, _ in strip), max(pixels.stop for _, pixels, _ in strip)
        own = [(_moved(columns, left), _moved(pixels, start), matrix) for columns, pixels, matrix in strip]
        window = cube[:, start // g : stop // g]
        n = max(1, _STRIP // (window.shape[1] * C * dtype.itemsize))
        lines, between = _memory(dtype, (min(n, R), *window.shape[1:]), (groups, R, right - left))
        for top in range(0, R, n):
            some = lines[: R - top]
            some[...] = window[top : top + n]
            _columns(some, own, between[:, top : top + n])
        for rows, pixels, matrix in down:
            product(matrix, between[:, pixels], out=glimpse[:, rows, left:right])


def _moved(part: slice, start: int) -> slice:
    return slice(part.start - start, part.stop - start)


def _columns(lines: Floats, across: list[Block], glimpse: Floats) -> None:
    """The columns of a glimpse (groups, n, samples), of n lines (n, W, C) of floats; as many channels a group."""
    g = lines.shape[2] // len(glimpse)
    for group, part in enumerate(glimpse):
        rows = lines[:, :, group * g : group * g + g].reshape(len(lines), -1)
        for columns, pixels, matrix in across:
            np.matmul(rows[:, pixels], matrix.T, out=part[:, columns])


def _memory(dtype: np.dtype[Any], first: tuple[int, ...], second: tuple[int, ...]) -> tuple[Floats, Floats]:
    """Two arrays in memory that a thread keeps for its next glimpse: fresh memory costs more than its use.

    What the call before gave is overwritten.
    """
    start = -(-prod(first) * dtype.itemsize // 64) * 64
    size = start + prod(second) * dtype.itemsize
    memory = _own.memory
    if memory.size < size:
        memory = np.empty(size, np.uint8)
        if size <= _KEPT:
            _own.memory = memory
    return np.ndarray(first, dtype, memory.data), np.ndarray(second, dtype, memory.data, start)


def _block_size(bank: Bank) -> int:
    """Rows of a dense block: few zeros where steps are wide, few blocks where steps are narrow or bells are broad."""
    n, K = bank.weights.shape
    step = len(bank.pixels) / n  # about |d|
    rows: float = max(8 / min(step, 1), K / (4 * step))
    return 8 * ceil(rows / 8)  # of eights the products are made
