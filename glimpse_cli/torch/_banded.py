"""The banded product on the CPU: each block of samples meets only the pixels it reaches.

A block of neighbouring samples reads one run of pixels. The runs are gathered, and all blocks of an axis are one
batched matrix product: y first, for all columns and channels at once, and then, turned round, x. Few and large calls
matter more than few multiply-adds, as every parallel call may have to wait for a core that is busy elsewhere.

Glimpses go through in parties of as many as stay in the cache. The backward makes the rows again rather than keep them:
nothing is held that is larger than the windows of one party, but the gradient of the images themselves.

Letters: M glimpses in all, G in a party, C channels; a window is R rows by Q columns; an axis has k blocks of b samples
that read P pixels each.
"""

from collections.abc import Iterator, Sequence
from math import prod
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from glimpse_cli.torch._axes import Axis, weights, weights_backward

REACH = {torch.float32: 5.5, torch.float64: 8.0}  # how many s away a pixel still matters: for 1e-6, for 1e-14
BLOCK = 16  # samples: shorter blocks multiply fewer zeros, longer ones gather less and multiply faster
PARTY = 400_000  # numbers in the windows and rows of a party: about what a second-level cache holds


class Bands(NamedTuple):
    """An axis of M glimpses in blocks. The last block may have too many samples: k b >= n; those weigh nothing.

    A sample reads the ``pixels`` (M, n, K) with the weights ``w``, of which eps took ``dark``. A block reads ``runs``
    (M, k, P); ``tiles`` (M, k b, P) are the weights again, now from ``starts`` (M, n, 1), the run's first pixel. All
    runs of glimpse m lie in ``windows[m]``, and the longest has ``lengths[m]`` pixels.
    """

    axis: Axis
    pixels: Tensor
    w: Tensor
    dark: Tensor | None
    starts: Tensor
    runs: Tensor
    tiles: Tensor
    windows: list[tuple[int, int]]
    lengths: list[int]


class Runs(NamedTuple):
    """The blocks of a party on one axis: ``tiles`` (G k, b, P), and where in the windows their pixels stand.

    ``places`` (G k P) counts the pixels of the windows one after the other, ``length`` each and ``pixels`` in all.
    """

    tiles: Tensor
    places: Tensor
    length: int
    pixels: int


class Gradients(NamedTuple):
    """What `backward` gives: for ``off`` and ``sharp`` of y and of x."""

    off_y: Tensor
    sharp_y: Tensor
    off_x: Tensor
    sharp_x: Tensor


class Room:
    """Memory of a dtype that each party uses anew: fresh pages would cost as much as the products."""

    def __init__(self, dtype: torch.dtype) -> None:
        self._dtype = dtype
        self._flat: dict[str, Tensor] = {}

    def take(self, name: str, *shape: int) -> Tensor:
        """Room for a tensor, holding anything; what had the name before is lost."""
        flat = self._flat.get(name)
        if flat is None or flat.numel() < prod(shape):
            flat = self._flat[name] = torch.empty(prod(shape), dtype=self._dtype)
        return flat[: prod(shape)].view(shape)


def forward(images: Tensor, y: Axis, x: Axis, kernel: str, eps: Sequence[float]) -> Tensor:
    """Glimpses (B, N, C, h, w) of images (B, C, H, W): what `glimpse_cli.torch._dense.dense` gives."""
    (B, N, h), C, w = y.near.shape, images.shape[1], x.near.shape[2]
    out = y.off.new_empty(B, N, C, h, w)
    if not out.numel():
        return out
    by, bx = _bands(y, images.shape[2], kernel, eps[0]), _bands(x, images.shape[3], kernel, eps[1])
    room = Room(out.dtype)
    for party in _parties(by, bx, C):
        ry, rx = _runs(by, party), _runs(bx, party)
        _, columns = _read(images, N, by, bx, ry, rx, party, room)
        glimpses = room.take("glimpses", len(rx.tiles), columns.shape[2], rx.tiles.shape[1])  # (G k, h C, b)
        torch.bmm(columns.transpose(1, 2), rx.tiles.transpose(1, 2), out=glimpses)
        blocks, target = _by_block(glimpses, len(party), C), out.flatten(0, 1)[party.start : party.stop]
        if target.numel() == blocks.numel():
            target.view(blocks.shape).copy_(blocks)
        else:
            target.copy_(blocks.flatten(3)[..., :h, :w])
    return out


def backward(  # noqa: PLR0917 - what `forward` took and gave, and what is wanted
    grad: Tensor,
    images: Tensor,
    y: Axis,
    x: Axis,
    kernel: str,
    eps: Sequence[float],
    images_grad: Tensor | None,
    to_places: bool,
) -> Gradients | None:
    """The gradients of the places, where they are wanted; that of the images is added to images_grad."""
    _, N, C, h, w = grad.shape
    by, bx = _bands(y, images.shape[2], kernel, eps[0]), _bands(x, images.shape[3], kernel, eps[1])
    tiles_y, tiles_x = torch.zeros_like(by.tiles), torch.zeros_like(bx.tiles)
    room = Room(grad.dtype)
    for party in _parties(by, bx, C):
        G, ry, rx = len(party), _runs(by, party), _runs(bx, party)
        given = room.take("glimpses", len(rx.tiles), by.tiles.shape[1] * C, rx.tiles.shape[1])
        part, spare = grad.flatten(0, 1)[party.start : party.stop], (bx.tiles.shape[1] - w, by.tiles.shape[1] - h)
        padded = pad(part, (0, spare[0], 0, spare[1])) if any(spare) else part.contiguous()
        blocks = _by_block(given, G, C)
        blocks.copy_(padded.view(blocks.shape))
        given = given.transpose(1, 2)
        if to_places:
            rows, columns = _read(images, N, by, bx, ry, rx, party, room)
            _correlate(given, columns, tiles_x, party)
        columns_grad = _spread(rx, given, "columns", room)  # (G Q, h C)
        rows_grad = _turn(columns_grad.view(G, rx.length, -1), "rows", room).view(*ry.tiles.shape[:2], -1)
        if to_places:
            _correlate(rows_grad, rows, tiles_y, party)
        if images_grad is not None:
            windows = _spread(ry, rows_grad, "rows", room).view(G, ry.length, C, rx.length)
            for m, window in zip(party, windows, strict=True):
                (y0, y1), (x0, x1) = by.windows[m], bx.windows[m]
                images_grad[m // N, :, y0:y1, x0:x1] += window[: y1 - y0, :, : x1 - x0].transpose(0, 1)
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
    lengths = (highs - lows).amax(1)
    windows = torch.stack([lows.amin(1), highs.amax(1)], dim=1)
    P = int(lengths.amax())
    runs = torch.minimum(lows[..., None] + torch.arange(P), windows[:, 1, None, None] - 1)
    pixels = first[..., None] + torch.arange(K)
    starts = lows.repeat_interleave(b, dim=1)[:, :n, None]
    w, dark = weights(axis, pixels, kernel, eps)
    tiles = w.new_zeros(M, k * b, P)
    tiles[:, :n].scatter_(-1, pixels - starts, w)
    return Bands(axis, pixels, w, dark, starts, runs, tiles, windows.tolist(), lengths.tolist())


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


def _parties(y: Bands, x: Bands, C: int) -> Iterator[range]:
    """All glimpses, as many at a time as `PARTY` allows, but at least one."""
    R, Q = (max(high - low for low, high in bands.windows) for bands in (y, x))
    G = max(1, PARTY // (C * Q * (R + y.tiles.shape[1])))
    M = len(y.windows)
    return (range(m, min(m + G, M)) for m in range(0, M, G))


def _runs(bands: Bands, party: range) -> Runs:
    part = slice(party.start, party.stop)
    P = max(bands.lengths[part])
    length = max(high - low for low, high in bands.windows[part])
    shifts = torch.tensor([g * length - low for g, (low, _) in enumerate(bands.windows[part])])
    index = bands.runs[part, :, :P] + shifts[:, None, None]
    tiles = bands.tiles[part, :, :P].reshape(index.shape[0] * index.shape[1], -1, P)
    return Runs(tiles, index.flatten(), length, length * len(party))


def _read(  # noqa: PLR0917 - both axes, bands and runs
    images: Tensor, N: int, by: Bands, bx: Bands, ry: Runs, rx: Runs, party: range, room: Room
) -> tuple[Tensor, Tensor]:
    """The runs of a party: rows (G k, P, C Q) of the windows, and columns (G k, P, h C) of those rows weighed."""
    G, C = len(party), images.shape[1]
    windows = room.take("windows", G, ry.length, C, rx.length)
    if G > 1:
        windows.zero_()  # of smaller windows the rest is not read, but must be a number
    for m, window in zip(party, windows, strict=True):
        (y0, y1), (x0, x1) = by.windows[m], bx.windows[m]
        window[: y1 - y0, :, : x1 - x0] = images[m // N, :, y0:y1, x0:x1].transpose(0, 1)
    rows = _gather(ry, windows.view(G * ry.length, -1), "rows", room)
    weighed = _weigh(ry, rows, "weighed rows", room)
    turned = _turn(weighed.view(G, -1, rx.length), "columns", room)  # (G, Q, h C)
    return rows, _gather(rx, turned.flatten(0, 1), "columns", room)


def _gather(runs: Runs, values: Tensor, name: str, room: Room) -> Tensor:
    """The runs (G k, P, L) of values (G length, L)."""
    out = room.take(f"{name} in runs", len(runs.places), values.shape[1])
    return torch.index_select(values, 0, runs.places, out=out).view(len(runs.tiles), -1, values.shape[1])


def _weigh(runs: Runs, values: Tensor, name: str, room: Room) -> Tensor:
    """Runs (G k, P, L) weighed: (G k, b, L)."""
    return torch.bmm(runs.tiles, values, out=room.take(name, *runs.tiles.shape[:2], values.shape[2]))


def _spread(runs: Runs, grad: Tensor, name: str, room: Room) -> Tensor:
    """The gradient of values (G length, L), from that of their runs weighed (G k, b, L)."""
    (blocks, _, P), L = runs.tiles.shape, grad.shape[2]
    of_runs = torch.bmm(runs.tiles.transpose(1, 2), grad, out=room.take(f"{name} in runs", blocks, P, L))
    out = room.take(f"{name} gradient", runs.pixels, L).zero_()
    return out.index_add_(0, runs.places, of_runs.flatten(0, 1))


def _correlate(grad: Tensor, values: Tensor, tiles: Tensor, party: range) -> None:
    """The gradient of the weights, from that of weighed runs (G k, b, L) and the runs (G k, P, L), into tiles."""
    found = torch.bmm(grad, values.transpose(1, 2))
    tiles[party.start : party.stop, :, : found.shape[2]] = found.view(len(party), -1, found.shape[2])


def _turn(values: Tensor, name: str, room: Room) -> Tensor:
    """Rows and columns exchanged: (G, a, b) -> (G, b, a)."""
    G, a, b = values.shape
    out = room.take(f"{name} turned", G, b, a)
    for one, turned in zip(values, out, strict=True):
        turned.copy_(one.t())  # one by one: torch has a fast way for matrices alone
    return out


def _by_block(glimpses: Tensor, G: int, C: int) -> Tensor:
    """A view (G, C, h, k, b) of glimpses (G k, h C, b)."""
    blocks, rows, b = glimpses.shape
    return glimpses.view(G, blocks // G, rows // C, C, b).permute(0, 3, 2, 1, 4)


def _to_places(bands: Bands, tiles: Tensor, kernel: str) -> tuple[Tensor, Tensor]:
    """The gradients of ``off`` and ``sharp``, from those of the weights in their tiles."""
    n = bands.pixels.shape[1]
    grad = tiles[:, :n].gather(-1, bands.pixels - bands.starts)
    return weights_backward(grad, bands.w, bands.dark, bands.axis, bands.pixels, kernel)
