"""The banded product on the CPU: each sample meets only the pixels near it.

First y, for all columns of a window, then x, straight into the glimpse. A block of neighbouring samples reads one run
of pixels, and weighs it by a small matrix. On y, where a sample reads far fewer rows than its run has, they are summed
instead, by torch's `embedding_bag`. Nothing is turned or padded, and of pictures in the working dtype the runs are
views; but what is summed must lie in one piece, so that a window that is not the whole picture is copied, or the rows
of it that are read. The backward makes the rows again rather than keep them, and adds to the gradient of the image run
by run or channel by channel: beside it nothing is held but a window and the rows of one glimpse.

Letters: M glimpses in all, C channels; a window is R rows by Q columns; a sample reads K pixels, a run has P at most.
"""

from collections.abc import Iterator, Sequence
from math import prod
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the name torch's users know it by
from torch import Tensor

from glimpse_cli.kernels import REACH_FLOAT32, REACH_FLOAT64
from glimpse_cli.torch._arguments import PEAKS, shares
from glimpse_cli.torch._axes import Axis, weights, weights_backward

REACH = {torch.float32: REACH_FLOAT32, torch.float64: REACH_FLOAT64}  # how many s away a pixel still matters
BLOCK = 32  # samples: shorter blocks multiply fewer zeros, longer ones are fewer calls and multiply faster
SLOWER = 2  # a multiply-add of a sum takes the time of so many of a product
SETUP = 4_000_000  # multiply-adds of a product in the time that sums take to begin
WHOLE = 0.8  # of an axis: a window that is longer is made all of it, for it is then the image itself, not a copy
FEW = 1 / 3  # of the rows of a window: where no more are read, to pick them out is faster than to copy all
BROAD = 4  # times as far as half of the glimpses reach at most: who reaches farther is computed apart
LANES = 16  # pixels: windows are multiples of it, as torch compiles `embedding_bag` anew for each width


class Bands(NamedTuple):
    """An axis of M glimpses in blocks of samples; blocks of one are summed.

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


class Part(NamedTuple):
    """Some of the glimpses, by their numbers, and their bands of y and x."""

    members: list[int]
    by: Bands
    bx: Bands


class Turned(NamedTuple):
    """Bands the other way, from pixels to the samples that read them: for glimpse m, in the order of its pixels."""

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
        self._dtype = dtype
        self._flat: dict[str, Tensor] = {}

    def take(self, name: str, *shape: int) -> Tensor:
        """Room for a tensor, holding anything; what had the name before is lost."""
        flat = self._flat.get(name)
        if flat is None or flat.numel() < prod(shape):
            flat = self._flat[name] = torch.empty(prod(shape), dtype=self._dtype, device="cpu")
        return flat[: prod(shape)].view(shape)


def forward(images: Tensor, y: Axis, x: Axis, kernel: str, eps: float) -> Tensor:
    """Glimpses (B, N, C, h, w) of images (B, C, H, W): what `glimpse_cli.torch._dense.dense` gives."""
    (B, N, h), C, w = y.near.shape, images.shape[1], x.near.shape[2]
    out = y.sharp.new_empty(B, N, C, h, w)
    if not out.numel():
        return out
    room, glimpses = Room(out.dtype), out.view(B * N, C * h, w)
    for members, by, bx in _parts(images, y, x, kernel, eps):
        for m, number in enumerate(members):
            rows = _rows(_window(images[number // N], by, bx, m, room), by, m, room)
            for samples, run, tile in _blocks(bx, m):
                torch.mm(rows[:, run], tile.t(), out=glimpses[number, :, samples])
    return shares(out, images).clamp_(max=1) if images.dtype in PEAKS else out  # rounding leaves a last digit more


def backward(  # noqa: PLR0917 - what `forward` took and gave, and what is wanted
    grad: Tensor,
    images: Tensor,
    y: Axis,
    x: Axis,
    kernel: str,
    eps: float,
    to_images: bool,
    to_places: bool,
) -> tuple[Tensor | None, Gradients | None]:
    """The gradients of the images, in their dtype, and of the places, where they are wanted."""
    grad = shares(grad, images)
    images_grad = _zeros(images.shape, grad.dtype) if to_images else None
    places_grad = Gradients(*(t.new_empty(t.shape) for t in (*y[1:], *x[1:]))) if to_places else None
    room = Room(grad.dtype)
    for part in _parts(images, y, x, kernel, eps):
        found = _part_backward(grad.flatten(0, 1), images, images_grad, part, kernel, room, to_places)
        for into, gradient in zip(places_grad or (), found, strict=False):
            into.flatten(0, 1)[part.members] = gradient.to(into.dtype)
    if images_grad is not None:
        images_grad = images_grad.to(images.dtype)
    return images_grad, places_grad


def _part_backward(  # noqa: PLR0917 - all that `backward` holds
    grad: Tensor,
    images: Tensor,
    images_grad: Tensor | None,
    part: Part,
    kernel: str,
    room: Room,
    to_places: bool,
) -> tuple[Tensor, ...]:
    """The gradients of a part's places, where they are wanted; those of the images are added to ``images_grad``."""
    (members, by, bx), (M, C, h, w) = part, grad.shape
    N = M // len(images)
    turned = _turned(by, images.shape[2]) if by.block == 1 and images_grad is not None else None
    tiles_y, tiles_x = torch.zeros_like(by.tiles), torch.zeros_like(bx.tiles)
    for m, number in enumerate(members):
        given = grad[number].reshape(C * h, w)
        if to_places:
            window = _window(images[number // N], by, bx, m, room)
            rows = _rows(window, by, m, room)
        (y0, y1), (x0, x1) = by.windows[m], bx.windows[m]
        rows_grad = room.take("rows gradient", C * h, x1 - x0).zero_()
        for samples, run, tile in _blocks(bx, m):
            some = given[:, samples]
            rows_grad[:, run].addmm_(some, tile)
            if to_places:
                torch.mm(some.t(), rows[:, run], out=tiles_x[m, samples, : tile.shape[1]])
        rows_grad = rows_grad.view(C, h, -1)
        if images_grad is not None:
            _spread(rows_grad, by, turned, m, images_grad[number // N, :, y0:y1, x0:x1])
        if to_places:
            _weigh_back(rows_grad, window, by, m, tiles_y[m])
    return (*_to_places(by, tiles_y, kernel), *_to_places(bx, tiles_x, kernel)) if to_places else ()


def _zeros(shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """Zeros that the system makes where they are touched; torch would write them all, and only windows matter."""
    return torch.from_numpy(np.zeros(tuple(shape), np.float64 if dtype == torch.float64 else np.float32))


def _count(n: int) -> Tensor:
    """0 to n - 1, on the CPU whatever torch's default device is."""
    return torch.arange(n, device="cpu")


def _parts(images: Tensor, y: Axis, x: Axis, kernel: str, eps: float) -> Iterator[Part]:
    """The bands of axes (B, N, h) and (B, N, w) on images (B, C, H, W), those that reach far apart from the others.

    All samples of a part are given as many pixels as the broadest needs: one broad bell would cost as much as if all
    were.
    """
    _, C, H, W = images.shape
    y, x = (Axis(*(t.flatten(0, 1) for t in axis)) for axis in (y, x))
    (low_y, high_y), (low_x, high_x) = _support(y, H, kernel), _support(x, W, kernel)
    reach = (high_y - low_y).amax(1) + (high_x - low_x).amax(1)
    broad = reach > BROAD * reach.median()
    apart = 0 < int(broad.sum()) < len(broad)  # all may be, where no place is a number
    for chosen in (~broad, broad) if apart else (slice(None),):
        bx = _bands(Axis(*(t[chosen] for t in x)), (low_x[chosen], high_x[chosen]), W, kernel, eps)
        columns = C * max(stop - start for start, stop in bx.windows)
        by = _bands(Axis(*(t[chosen] for t in y)), (low_y[chosen], high_y[chosen]), H, kernel, eps, columns)
        yield Part(_count(len(reach))[chosen].tolist(), by, bx)


def _bands(  # noqa: PLR0917 - an axis, and what is laid on it
    axis: Axis, span: tuple[Tensor, Tensor], N: int, kernel: str, eps: float, columns: int = 0
) -> Bands:
    """The bands of an axis (M, n) on N pixels, each of so many columns where they may be summed.

    Args:
        axis: the samples.
        span: the pixels [low, high) of each.
        N: pixels of the images.
        kernel: "gaussian" or "hat".
        eps: of the Gaussian.
        columns: of the windows, in all channels.
    """
    low, high = span
    (M, n), K = low.shape, int((high - low).amax())
    if K == N:
        return _everywhere(axis, N, kernel, eps)
    first = low.clamp(max=N - K)
    k = -(-n // BLOCK)
    b = -(-n // k)
    blocks = _count(k * b).clamp(max=n - 1)
    of_block = first[:, blocks].view(M, k, b)  # the last sample fills the last block
    lows, highs = of_block.amin(2), of_block.amax(2) + K
    P = int((highs - lows).amax())
    if n * columns * (P - SLOWER * K) > SETUP:
        lows, highs, P, b = first, first + K, K, 1
    windows = _windows(lows.amin(1), highs.amax(1), N)
    pixels = first[..., None] + _count(K)
    starts = lows.repeat_interleave(b, dim=1)[:, :n, None]
    w, dark = weights(axis, pixels, kernel, eps)
    tiles = w.new_zeros(M, n, P).scatter_(-1, pixels - starts, w)
    runs = torch.stack([lows, highs], dim=2) - windows[:, :1, None]
    return Bands(axis, pixels, w, dark, starts, tiles, windows.tolist(), runs.tolist(), b)


def _everywhere(axis: Axis, N: int, kernel: str, eps: float) -> Bands:
    """The bands of an axis (M, n) of which a sample reaches all N pixels: one block, whose tile is the weights."""
    (M, n), pixels = axis.near.shape, _count(N)
    w, dark = weights(axis, pixels, kernel, eps)
    return Bands(axis, pixels, w, dark, pixels[:1], w, [(0, N)] * M, [[(0, N)]] * M, max(n, 2))


def _windows(low: Tensor, high: Tensor, N: int) -> Tensor:
    """The windows (M, 2) of the pixels [low, high), or a little more."""
    length = (high - low + LANES - 1) // LANES * LANES
    length = torch.where(length > WHOLE * N, N, length)
    low = torch.minimum(low, N - length)
    return torch.stack([low, low + length], dim=1)


def _turned(bands: Bands, N: int) -> Turned:
    """Bands on N pixels, turned."""
    M, _, K = bands.pixels.shape
    pixels, order = bands.pixels.flatten(1).sort(dim=1)
    first = torch.searchsorted(pixels, _count(N).repeat(M, 1))
    return Turned(order // K, bands.w.flatten(1).gather(1, order), first)


def _support(axis: Axis, N: int, kernel: str) -> tuple[Tensor, Tensor]:
    """The pixels [low, high) of each sample, at least one."""
    if kernel == "hat":
        low, high = axis.near, axis.near + 1
    else:
        # A pixel matters within hypot(distance of the nearest, k s): so reads the exponent relative to the nearest.
        off, sharp = axis.off.nan_to_num(), axis.sharp.double().nan_to_num()
        reach = (off * off + REACH[axis.sharp.dtype] ** 2 / (2 * sharp[:, None])).sqrt()
        low = axis.near + (off - reach).clamp(min=-N).ceil().long()
        high = axis.near + (off + reach).clamp(max=N).floor().long()
    return low.clamp(0, N - 1), high.clamp(0, N - 1) + 1


def _blocks(bands: Bands, m: int) -> Iterator[tuple[slice, slice, Tensor]]:
    """The blocks of glimpse m: their samples, the pixels they read in its window, and the weights (b, P)."""
    for i, (start, stop) in enumerate(bands.runs[m]):
        samples = slice(i * bands.block, (i + 1) * bands.block)
        yield samples, slice(start, stop), bands.tiles[m, samples, : stop - start]


def _window(image: Tensor, by: Bands, bx: Bands, m: int, room: Room) -> Tensor:
    """What glimpse m reads of its image (C, H, W), in the working dtype: (C, R, Q), a view where it can be.

    Where samples that read `FEW` of its rows are summed, only these are copied, in their order: (C, h K, Q).
    """
    (y0, y1), (x0, x1) = by.windows[m], bx.windows[m]
    window = image[:, y0:y1, x0:x1]
    if window.dtype == bx.w.dtype and (window.stride(2) == 1 if by.block > 1 else window.is_contiguous()):
        return window
    few = by.block == 1 and by.pixels[m].numel() <= FEW * (y1 - y0)
    if few and window.dtype != torch.uint16:  # which torch 2.4 does not index
        window = window[:, by.pixels[m].flatten() - y0]
    return room.take("window", *window.shape).copy_(window)


def _rows(window: Tensor, by: Bands, m: int, room: Room) -> Tensor:
    """The rows of a window (C, R, Q) weighed: (C h, Q)."""
    C, _, Q = window.shape
    if by.block == 1:
        pixels, w = _in_table(window, by, m), by.w[m].repeat(C, 1)
        return F.embedding_bag(pixels, window.flatten(0, 1), mode="sum", per_sample_weights=w)
    rows = room.take("rows", C, by.tiles.shape[1], Q)
    for samples, run, tile in _blocks(by, m):
        torch.bmm(tile.expand(C, -1, -1), window[:, run], out=rows[:, samples])
    return rows.flatten(0, 1)


def _in_table(window: Tensor, by: Bands, m: int) -> Tensor:
    """Where the pixels of glimpse m are in its window (C, R, Q), its channels one below the other: (C h, K)."""
    (C, R, _), (h, K), (y0, y1) = window.shape, by.pixels[m].shape, by.windows[m]
    if y1 - y0 > R:  # only what is read was copied
        return _count(C * h * K).view(C * h, K)
    below = _count(C) * R - y0
    return (by.pixels[m] + below[:, None, None]).flatten(0, 1)


def _spread(rows_grad: Tensor, by: Bands, turned: Turned | None, m: int, target: Tensor) -> None:
    """The gradient of the rows (C, h, Q) added to that of their window (C, R, Q)."""
    if turned is None:
        for samples, run, tile in _blocks(by, m):
            target[:, run].baddbmm_(tile.t().expand(len(target), -1, -1), rows_grad[:, samples])
        return
    first = turned.first[m, slice(*by.windows[m])]
    for part, to in zip(rows_grad, target, strict=True):
        to.add_(F.embedding_bag(turned.samples[m], part, first, mode="sum", per_sample_weights=turned.w[m]))


def _weigh_back(rows_grad: Tensor, window: Tensor, by: Bands, m: int, tiles: Tensor) -> None:
    """The gradient of the weights, from that of the rows (C, h, Q), into their tiles (h, P)."""
    if by.block == 1:
        pixels = _in_table(window, by, m)
        rows, K = pixels.shape
        dots = torch.ops.aten._embedding_bag_per_sample_weights_backward(  # noqa: SLF001 - it has no other name
            rows_grad.flatten(0, 1),
            window.flatten(0, 1),
            pixels.flatten(),
            _count(rows) * K,
            _count(rows).repeat_interleave(K),
            0,
        )
        torch.sum(dots.view(-1, *tiles.shape), dim=0, out=tiles)
        return
    for samples, run, tile in _blocks(by, m):
        tiles[samples, : tile.shape[1]] = torch.bmm(rows_grad[:, samples], window[:, run].transpose(1, 2)).sum(0)


def _to_places(bands: Bands, tiles: Tensor, kernel: str) -> tuple[Tensor, Tensor]:
    """The gradients of ``off`` and ``sharp``, from those of the weights in their tiles."""
    grad = tiles if bands.tiles is bands.w else tiles.gather(-1, bands.pixels - bands.starts)
    return weights_backward(grad, bands.w, bands.dark, bands.axis, bands.pixels, kernel)
