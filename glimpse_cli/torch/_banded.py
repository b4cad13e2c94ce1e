"""The banded product on the CPU: each block of samples meets only the pixels it reaches.

A block of neighbouring samples reads one run of pixels, and weighs it by a small matrix. The runs are views of the
image: y first, for all its columns, then x, straight into the glimpse. So nothing is gathered, turned or padded, and of
pictures in the working dtype nothing is copied. The backward makes the rows again rather than keep them, and adds
to the gradient of the image run by run: beside it nothing is held but the rows of one glimpse.

Letters: M glimpses in all, C channels; a window is R rows by Q columns; a sample reads K pixels, a run has P at most.
"""

from collections.abc import Iterator
from math import prod
from typing import NamedTuple

import torch
from torch import Tensor

from glimpse_cli.torch._axes import Axis, weights, weights_backward

REACH = {torch.float32: 5.5, torch.float64: 8.0}  # how many s away a pixel still matters: for 1e-6, for 1e-14
BLOCK = 32  # samples: shorter blocks multiply fewer zeros, longer ones are fewer calls and multiply faster


class Bands(NamedTuple):
    """An axis of M glimpses in blocks of samples.

    A sample reads the ``pixels`` (M, n, K) with the weights ``w``, of which eps took ``dark``. All that glimpse m reads
    lies in ``windows[m]``, and what its blocks read in the ``runs[m]``, counted from there; ``tiles`` (M, n, P) are the
    weights again, now from ``starts`` (M, n, 1), the first pixel of the sample's run.
    """

    axis: Axis
    pixels: Tensor
    w: Tensor
    dark: Tensor | None
    starts: Tensor
    tiles: Tensor
    windows: list[tuple[int, int]]
    runs: list[list[tuple[int, int]]]
    block: int


class Gradients(NamedTuple):
    """What `backward` gives: for ``off`` and ``sharp`` of y and of x."""

    off_y: Tensor
    sharp_y: Tensor
    off_x: Tensor
    sharp_x: Tensor


class Room:
    """Memory of a dtype that each glimpse uses anew: fresh pages would cost as much as the products."""

    def __init__(self, dtype: torch.dtype) -> None:
        self._dtype = dtype
        self._flat: dict[str, Tensor] = {}

    def take(self, name: str, *shape: int) -> Tensor:
        """Room for a tensor, holding anything; what had the name before is lost."""
        flat = self._flat.get(name)
        if flat is None or flat.numel() < prod(shape):
            flat = self._flat[name] = torch.empty(prod(shape), dtype=self._dtype)
        return flat[: prod(shape)].view(shape)


def forward(images: Tensor, y: Axis, x: Axis, kernel: str, eps: float) -> Tensor:
    """Glimpses (B, N, C, h, w) of images (B, C, H, W): what `glimpse_cli.torch._dense.dense` gives."""
    (B, N, h), C, w = y.near.shape, images.shape[1], x.near.shape[2]
    out = y.off.new_empty(B, N, C, h, w)
    if not out.numel():
        return out
    by, bx = _bands(y, images.shape[2], kernel, eps), _bands(x, images.shape[3], kernel, eps)
    room = Room(out.dtype)
    for m, glimpse in enumerate(out.view(B * N, C * h, w)):
        rows = _rows(_window(images[m // N], by, bx, m, room), by, m, room)
        for samples, run, tile in _blocks(bx, m):
            torch.mm(rows[:, run], tile.t(), out=glimpse[:, samples])
    return out


def backward(  # noqa: PLR0917 - what `forward` took and gave, and what is wanted
    grad: Tensor,
    images: Tensor,
    y: Axis,
    x: Axis,
    kernel: str,
    eps: float,
    images_grad: Tensor | None,
    to_places: bool,
) -> Gradients | None:
    """The gradients of the places, where they are wanted; that of the images is added to images_grad."""
    B, N, C, h, w = grad.shape
    by, bx = _bands(y, images.shape[2], kernel, eps), _bands(x, images.shape[3], kernel, eps)
    tiles_y, tiles_x = torch.zeros_like(by.tiles), torch.zeros_like(bx.tiles)
    room = Room(grad.dtype)
    for m, given in enumerate(grad.reshape(B * N, C * h, w)):
        if to_places:
            window = _window(images[m // N], by, bx, m, room)
            rows = _rows(window, by, m, room)
        (y0, y1), (x0, x1) = by.windows[m], bx.windows[m]
        rows_grad = room.take("rows gradient", C * h, x1 - x0).zero_()
        for samples, run, tile in _blocks(bx, m):
            part = given[:, samples]
            rows_grad[:, run].addmm_(part, tile)
            if to_places:
                torch.mm(part.t(), rows[:, run], out=tiles_x[m, samples, : tile.shape[1]])
        rows_grad = rows_grad.view(C, h, -1)
        for samples, run, tile in _blocks(by, m):
            part = rows_grad[:, samples]
            if images_grad is not None:
                target = images_grad[m // N, :, y0:y1, x0:x1][:, run]
                target.baddbmm_(tile.t().expand(C, -1, -1), part)
            if to_places:
                tiles_y[m, samples, : tile.shape[1]] = torch.bmm(part, window[:, run].transpose(1, 2)).sum(0)
    if not to_places:
        return None
    found = (*_to_places(by, tiles_y, kernel), *_to_places(bx, tiles_x, kernel))
    return Gradients(*(t.view_as(like) for t, like in zip(found, (*y[1:], *x[1:]), strict=True)))


def _bands(axis: Axis, N: int, kernel: str, eps: float) -> Bands:
    """The bands of an axis (B, N, n) on N pixels."""
    axis = Axis(*(t.flatten(0, 1) for t in axis))
    low, high = _support(axis, N, kernel)
    (M, n), K = low.shape, int((high - low).amax())
    first = low.clamp(max=N - K)
    k = -(-n // BLOCK)
    b = -(-n // k)
    blocks = torch.arange(k * b).clamp(max=n - 1)
    of_block = first[:, blocks].view(M, k, b)  # the last sample fills the last block
    lows, highs = of_block.amin(2), of_block.amax(2) + K
    windows = torch.stack([lows.amin(1), highs.amax(1)], dim=1)
    pixels = first[..., None] + torch.arange(K)
    starts = lows.repeat_interleave(b, dim=1)[:, :n, None]
    w, dark = weights(axis, pixels, kernel, eps)
    tiles = w.new_zeros(M, n, int((highs - lows).amax())).scatter_(-1, pixels - starts, w)
    runs = torch.stack([lows, highs], dim=2) - windows[:, :1, None]
    return Bands(axis, pixels, w, dark, starts, tiles, windows.tolist(), runs.tolist(), b)


def _support(axis: Axis, N: int, kernel: str) -> tuple[Tensor, Tensor]:
    """The pixels [low, high) of each sample, at least one."""
    if kernel == "hat":
        low, high = axis.near, axis.near + 1
    else:
        # A pixel matters within hypot(distance of the nearest, k s): so reads the exponent relative to the nearest.
        off, sharp = axis.off.double().nan_to_num(), axis.sharp.double().nan_to_num()
        reach = (off * off + REACH[axis.off.dtype] ** 2 / (2 * sharp[:, None])).sqrt()
        low = axis.near + (off - reach).clamp(min=-N).ceil().long()
        high = axis.near + (off + reach).clamp(max=N).floor().long()
    return low.clamp(0, N - 1), high.clamp(0, N - 1) + 1


def _blocks(bands: Bands, m: int) -> Iterator[tuple[slice, slice, Tensor]]:
    """The blocks of glimpse m: their samples, the pixels they read in its window, and the weights (b, P)."""
    for i, (start, stop) in enumerate(bands.runs[m]):
        samples = slice(i * bands.block, (i + 1) * bands.block)
        yield samples, slice(start, stop), bands.tiles[m, samples, : stop - start]


def _window(image: Tensor, by: Bands, bx: Bands, m: int, room: Room) -> Tensor:
    """What glimpse m reads of its image (C, H, W), in the working dtype: (C, R, Q), a view where it can be."""
    (y0, y1), (x0, x1) = by.windows[m], bx.windows[m]
    window = image[:, y0:y1, x0:x1]
    if window.dtype == bx.w.dtype and window.stride(2) == 1:
        return window
    return room.take("window", *window.shape).copy_(window)


def _rows(window: Tensor, by: Bands, m: int, room: Room) -> Tensor:
    """The rows of a window (C, R, Q) weighed: (C h, Q)."""
    C, _, Q = window.shape
    rows = room.take("rows", C, by.tiles.shape[1], Q)
    for samples, run, tile in _blocks(by, m):
        torch.bmm(tile.expand(C, -1, -1), window[:, run], out=rows[:, samples])
    return rows.flatten(0, 1)


def _to_places(bands: Bands, tiles: Tensor, kernel: str) -> tuple[Tensor, Tensor]:
    """The gradients of ``off`` and ``sharp``, from those of the weights in their tiles."""
    grad = tiles.gather(-1, bands.pixels - bands.starts)
    return weights_backward(grad, bands.w, bands.dark, bands.axis, bands.pixels, kernel)
