"""The banded product on the CPU: each sample meets only the pixels it reaches.

First y, for all columns of a window: each row of the result is a weighted sum of a few rows of the picture, which is
what `embedding_bag` does. Then x, straight into the glimpse: a block of neighbouring samples reads one run of pixels,
and weighs it by a small matrix. So nothing is turned or padded, and of pictures in the working dtype nothing is copied
but windows narrower than the picture. The backward makes the rows again rather than keep them, and adds to the gradient
of the image channel by channel: beside it nothing is held but the rows of one glimpse.

Letters: M glimpses in all, C channels; a window is R rows by Q columns; a sample reads K pixels, a run has P at most.
"""

from collections.abc import Iterator
from math import prod
from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 - the name torch's users know it by
from torch import Tensor

from glimpse_cli.torch._axes import Axis, weights, weights_backward

REACH = {torch.float32: 5.5, torch.float64: 8.0}  # how many s away a pixel still matters: for 1e-6, for 1e-14
BLOCK = 32  # samples: shorter blocks multiply fewer zeros, longer ones are fewer calls and multiply faster
LANES = 16  # pixels: windows are multiples of it, as torch compiles its sum of rows anew for each width


class Taps(NamedTuple):
    """An axis of M glimpses: a sample reads the ``pixels`` (M, n, K) with the weights ``w``; eps took ``dark``."""

    axis: Axis
    pixels: Tensor
    w: Tensor
    dark: Tensor | None


class Blocks(NamedTuple):
    """The same in blocks of samples.

    All that glimpse m reads lies in ``windows[m]``, and what its blocks read in the ``runs[m]``, counted from there;
    ``tiles`` (M, n, P) are the weights again, now from ``starts`` (M, n, 1), the first pixel of the sample's run.
    """

    starts: Tensor
    tiles: Tensor
    windows: list[tuple[int, int]]
    runs: list[list[tuple[int, int]]]
    block: int

    def of(self, m: int) -> Iterator[tuple[slice, slice, Tensor]]:
        """The blocks of glimpse m: their samples, the pixels they read in its window, and the weights (b, P)."""
        for i, (start, stop) in enumerate(self.runs[m]):
            samples = slice(i * self.block, (i + 1) * self.block)
            yield samples, slice(start, stop), self.tiles[m, samples, : stop - start]


class Turned(NamedTuple):
    """The other way, from pixels to the samples that read them: for glimpse m, in the order of its pixels."""

    samples: Tensor  # (M, n K)
    w: Tensor  # (M, n K)
    first: Tensor  # (M, N), where those of a pixel begin


class Gradients(NamedTuple):
    """What `backward` gives: for ``off`` and ``sharp`` of y and of x."""

    off_y: Tensor
    sharp_y: Tensor
    off_x: Tensor
    sharp_x: Tensor


class Room:
    """Memory of a dtype that each glimpse uses anew: fresh pages would cost as much as the products."""

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype
        self._flat: dict[str, Tensor] = {}

    def take(self, name: str, *shape: int) -> Tensor:
        """Room for a tensor, holding anything; what had the name before is lost."""
        flat = self._flat.get(name)
        if flat is None or flat.numel() < prod(shape):
            flat = self._flat[name] = torch.empty(prod(shape), dtype=self.dtype)
        return flat[: prod(shape)].view(shape)


def forward(images: Tensor, y: Axis, x: Axis, kernel: str, eps: float) -> Tensor:
    """Glimpses (B, N, C, h, w) of images (B, C, H, W): what `glimpse_cli.torch._dense.dense` gives."""
    (B, N, h), C, w = y.near.shape, images.shape[1], x.near.shape[2]
    out = y.off.new_empty(B, N, C, h, w)
    if not out.numel():
        return out
    ty, tx = _taps(y, images.shape[2], kernel, eps), _taps(x, images.shape[3], kernel, eps)
    rows_read, blocks = _windows(ty.pixels), _blocks(tx, images.shape[3])
    room = Room(out.dtype)
    for m, glimpse in enumerate(out.view(B * N, C * h, w)):
        table, pixels = _table(images[m // N], ty.pixels[m], rows_read[m], blocks.windows[m], room)
        rows = _sums(table, pixels, ty.w[m].repeat(C, 1))
        for samples, run, tile in blocks.of(m):
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
    ty, tx = _taps(y, images.shape[2], kernel, eps), _taps(x, images.shape[3], kernel, eps)
    rows_read, blocks = _windows(ty.pixels), _blocks(tx, images.shape[3])
    turned = None if images_grad is None else _turned(ty, images.shape[2])
    w_grad, tiles_grad = torch.empty_like(ty.w), torch.zeros_like(blocks.tiles)
    room = Room(grad.dtype)
    for m, given in enumerate(grad.reshape(B * N, C * h, w)):
        (y0, y1), (x0, x1) = rows_read[m], blocks.windows[m]
        if to_places:
            table, pixels = _table(images[m // N], ty.pixels[m], rows_read[m], blocks.windows[m], room)
            rows = _sums(table, pixels, ty.w[m].repeat(C, 1))
        rows_grad = room.take("rows gradient", C * h, x1 - x0).zero_()
        for samples, run, tile in blocks.of(m):
            part = given[:, samples]
            rows_grad[:, run].addmm_(part, tile)
            if to_places:
                torch.mm(part.t(), rows[:, run], out=tiles_grad[m, samples, : tile.shape[1]])
        if to_places:
            torch.sum(_dots(rows_grad, table, pixels).view(C, h, -1), dim=0, out=w_grad[m])
        if turned is not None:
            for target, part in zip(images_grad[m // N, :, y0:y1, x0:x1], rows_grad.view(C, h, -1), strict=True):
                target += F.embedding_bag(
                    turned.samples[m], part, turned.first[m, y0:y1], mode="sum", per_sample_weights=turned.w[m]
                )
    if not to_places:
        return None
    x_grad = tiles_grad.gather(-1, tx.pixels - blocks.starts)
    found = (
        *weights_backward(w_grad, ty.w, ty.dark, ty.axis, ty.pixels, kernel),
        *weights_backward(x_grad, tx.w, tx.dark, tx.axis, tx.pixels, kernel),
    )
    return Gradients(*(t.view_as(like) for t, like in zip(found, (*y[1:], *x[1:]), strict=True)))


def _taps(axis: Axis, N: int, kernel: str, eps: float) -> Taps:
    """The taps of an axis (B, N, n) on N pixels."""
    axis = Axis(*(t.flatten(0, 1) for t in axis))
    low, high = _support(axis, N, kernel)
    K = int((high - low).amax())
    pixels = low.clamp(max=N - K)[..., None] + torch.arange(K)
    return Taps(axis, pixels, *weights(axis, pixels, kernel, eps))


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


def _windows(pixels: Tensor) -> list[tuple[int, int]]:
    """The pixels [low, high) that each glimpse reads."""
    windows: list[tuple[int, int]] = torch.stack([pixels.amin((1, 2)), pixels.amax((1, 2)) + 1], dim=1).tolist()
    return windows


def _blocks(taps: Taps, N: int) -> Blocks:
    """The taps on N pixels in blocks. A window of most of the pixels is one of all: it needs no copy."""
    first, K = taps.pixels[..., 0], taps.pixels.shape[2]
    M, n = first.shape
    k = -(-n // BLOCK)
    b = -(-n // k)
    blocks = torch.arange(k * b).clamp(max=n - 1)
    of_block = first[:, blocks].view(M, k, b)  # the last sample fills the last block
    lows, highs = of_block.amin(2), of_block.amax(2) + K
    left = lows.amin(1)
    width = (highs.amax(1) - left + LANES - 1) // LANES * LANES
    width = torch.where(width > 0.75 * N, N, width)
    left = left.clamp(max=N - width)
    starts = lows.repeat_interleave(b, dim=1)[:, :n, None]
    tiles = taps.w.new_zeros(M, n, int((highs - lows).amax())).scatter_(-1, taps.pixels - starts, taps.w)
    runs = torch.stack([lows, highs], dim=2) - left[:, None, None]
    return Blocks(starts, tiles, torch.stack([left, left + width], dim=1).tolist(), runs.tolist(), b)


def _turned(taps: Taps, N: int) -> Turned:
    """The taps on N pixels, turned."""
    M, _, K = taps.pixels.shape
    pixels, order = taps.pixels.flatten(1).sort(dim=1)
    first = torch.searchsorted(pixels, torch.arange(N).repeat(M, 1))
    return Turned(order // K, taps.w.flatten(1).gather(1, order), first)


def _table(
    image: Tensor, pixels: Tensor, rows: tuple[int, int], columns: tuple[int, int], room: Room
) -> tuple[Tensor, Tensor]:
    """A window of an image (C, H, W), its channels one below the other, and where there the pixels (h, K) are: (C h, K).

    It is in the working dtype and in one piece: the image itself where it can be.
    """
    C, H, W = image.shape
    if columns[1] - columns[0] == W and image.dtype == room.dtype and image.is_contiguous():
        rows = (0, H)
        table = image.view(C * H, W)
    else:
        window = image[:, slice(*rows), slice(*columns)]
        table = room.take("window", *window.shape).copy_(window).flatten(0, 1)
    above = torch.arange(C) * (rows[1] - rows[0]) - rows[0]
    return table, (pixels + above[:, None, None]).flatten(0, 1)


def _sums(table: Tensor, pixels: Tensor, w: Tensor) -> Tensor:
    """Rows of a table weighed and summed: pixels and w (n, K) -> (n, Q)."""
    return F.embedding_bag(pixels, table, mode="sum", per_sample_weights=w)


def _dots(rows: Tensor, table: Tensor, pixels: Tensor) -> Tensor:
    """The dot products of each of the rows (n, Q) with those pixels (n, K) of a table: the gradients of the weights."""
    n, K = pixels.shape
    of = torch.arange(n).repeat_interleave(K)
    first = torch.arange(0, n * K, K)
    dots: Tensor = torch.ops.aten._embedding_bag_per_sample_weights_backward(  # noqa: SLF001 - it has no other name
        rows, table, pixels.flatten(), first, of, 0
    )
    return dots
