"""The banded product on the CPU: each block of samples meets only the pixels it reaches.

A block of neighbouring samples reads one run of pixels, so it is one small matrix product. How many samples make a
block follows from an estimate (`_block_length`): short blocks multiply fewer zeros, long ones cost fewer calls.

`banded` is an operator of torch, opaque to autograd, `torch.compile` and `torch.vmap`, with a rule for each. Its
backward makes the rows again and goes the same way; nothing it holds is larger than the window of one glimpse, but
the gradient of the images themselves. The gradient of the gradient is the dense form's.
"""

from collections.abc import Sequence
from itertools import starmap
from typing import Any, NamedTuple

import torch
from torch import Tensor

from glimpse_cli.torch._axes import Axis, weights, weights_backward
from glimpse_cli.torch._dense import dense

REACH = {torch.float32: 5.5, torch.float64: 8.0}  # how many s away a pixel still matters: for 1e-6, for 1e-14
CALL = 200_000  # multiply-adds that take as long as starting one small matrix product, about 5 us


class Block(NamedTuple):
    """Samples ``rows`` of an axis, the ``pixels`` they read, and where those stand in a row of `Bands.tiles`."""

    rows: slice
    pixels: slice
    taps: slice


class Bands(NamedTuple):
    """An axis of M glimpses, ready to multiply.

    ``pixels`` (M, n, K) are the taps of each sample, ``w`` their weights, ``dark`` the share of eps. ``tiles``
    (M, n, P) are the same weights with the rows of a block aligned, and ``windows`` the pixels of each glimpse.
    """

    axis: Axis
    pixels: Tensor
    w: Tensor
    dark: Tensor | None
    starts: Tensor
    tiles: Tensor
    blocks: list[list[Block]]
    windows: list[slice]


@torch.library.custom_op("glimpse_cli::banded", mutates_args=(), device_types="cpu")
def banded(  # noqa: PLR0917 - an operator's arguments are flat
    images: Tensor,
    near_y: Tensor,
    off_y: Tensor,
    near_x: Tensor,
    off_x: Tensor,
    sharp: Tensor,
    kernel: str,
    eps: Sequence[float],
) -> Tensor:
    """Glimpses (B, N, C, h, w) of images (B, C, H, W), in the dtype of ``off_y``.

    Args:
        images: any dtype; only the window of each glimpse is converted.
        near_y: nearest pixels (B, N, h), int64.
        off_y: places less nearest pixels (B, N, h).
        near_x: likewise (B, N, w).
        off_x: likewise.
        sharp: 1 / 2 s^2, (B, N, 2) as (y, x).
        kernel: "gaussian" or "hat".
        eps: of the Gaussian, (y, x).
    """
    (_, N, h), w = near_y.shape, near_x.shape[2]
    out = off_y.new_empty(*near_y.shape[:2], images.shape[1], h, w)
    if out.numel():
        y, x = _both_bands(images, near_y, off_y, near_x, off_x, sharp, kernel, eps)
        for m, glimpse in enumerate(out.flatten(0, 1)):
            rows = _rows(images[m // N][:, :, x.windows[m]].to(out.dtype), y, m)
            _columns(rows, x, m, glimpse)
    return out


@torch.library.custom_op("glimpse_cli::banded_backward", mutates_args=(), device_types="cpu")
def banded_backward(  # noqa: PLR0917 - an operator's arguments are flat
    grad: Tensor,
    images: Tensor,
    near_y: Tensor,
    off_y: Tensor,
    near_x: Tensor,
    off_x: Tensor,
    sharp: Tensor,
    kernel: str,
    eps: Sequence[float],
    to_images: bool,
    to_places: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The gradients of images, ``off_y``, ``off_x`` and ``sharp``; those not asked for are empty."""
    N = near_y.shape[1]
    images_grad = grad.new_zeros(images.shape if to_images else (0,))
    off_y_grad, off_x_grad, sharp_grad = (grad.new_zeros(t.shape if to_places else 0) for t in (off_y, off_x, sharp))
    if grad.numel():
        y, x = _both_bands(images, near_y, off_y, near_x, off_x, sharp, kernel, eps)
        y_grad, x_grad = (torch.zeros_like(bands.tiles) if to_places else None for bands in (y, x))
        for m, one in enumerate(grad.contiguous().flatten(0, 1)):
            window = images[m // N][:, :, x.windows[m]].to(one.dtype)
            rows = _rows(window, y, m) if to_places else None
            rows_grad = _columns_backward(one, window.shape[2], rows, x, m, x_grad)
            target = images_grad[m // N][:, :, x.windows[m]] if to_images else None
            _rows_backward(rows_grad, window, y, m, target, y_grad)
        if y_grad is not None and x_grad is not None:
            places_y, sharp_y = _places_backward(y_grad, y, kernel)
            places_x, sharp_x = _places_backward(x_grad, x, kernel)
            off_y_grad, off_x_grad = places_y.view_as(off_y), places_x.view_as(off_x)
            sharp_grad = torch.stack([sharp_y, sharp_x], dim=-1).view_as(sharp)
    return images_grad.to(images.dtype), off_y_grad, off_x_grad, sharp_grad


def _both_bands(  # noqa: PLR0917 - likewise
    images: Tensor,
    near_y: Tensor,
    off_y: Tensor,
    near_x: Tensor,
    off_x: Tensor,
    sharp: Tensor,
    kernel: str,
    eps: Sequence[float],
) -> tuple[Bands, Bands]:
    C, H, W = images.shape[1:]
    sharp = sharp.flatten(0, 1)
    x = _bands(Axis(near_x.flatten(0, 1), off_x.flatten(0, 1), sharp[:, 1]), W, kernel, eps[1], C * near_y.shape[2])
    across = C * max(window.stop - window.start for window in x.windows)
    y = _bands(Axis(near_y.flatten(0, 1), off_y.flatten(0, 1), sharp[:, 0]), H, kernel, eps[0], across)
    return y, x


def _bands(axis: Axis, N: int, kernel: str, eps: float, across: int) -> Bands:
    """The bands of M glimpses on an axis of N pixels; ``across`` numbers go through each tap of each sample."""
    low, high = _support(axis, N, kernel)
    n = low.shape[1]
    K = int((high - low).amax())
    low = low.clamp(max=N - K)
    length = _block_length(n, K, float((low[:, -1] - low[:, 0]).abs().amax()) / max(n - 1, 1), across)
    rows = [slice(i, min(i + length, n)) for i in range(0, n, length)]
    lows = torch.stack([low[:, r].amin(1) for r in rows], dim=1)
    highs = torch.stack([low[:, r].amax(1) for r in rows], dim=1) + K
    pixels = low[..., None] + torch.arange(K)
    w, dark = weights(axis, pixels, kernel, eps)
    starts = lows.repeat_interleave(torch.tensor([r.stop - r.start for r in rows]), dim=1)[..., None]
    tiles = w.new_zeros(*low.shape, int((highs - lows).amax())).scatter_(-1, pixels - starts, w)
    blocks = [
        list(starmap(_block, zip(rows, a, z, strict=True))) for a, z in zip(lows.tolist(), highs.tolist(), strict=True)
    ]
    windows = [slice(a, z) for a, z in zip(lows.amin(1).tolist(), highs.amax(1).tolist(), strict=True)]
    return Bands(axis, pixels, w, dark, starts, tiles, blocks, windows)


def _support(axis: Axis, N: int, kernel: str) -> tuple[Tensor, Tensor]:
    """The pixels [low, high) each sample reaches, of which there is always one."""
    if kernel == "hat":
        low, high = axis.near, axis.near + 1
    else:
        # A pixel matters within hypot(distance of the nearest, k s): see the exponent relative to the nearest.
        off = axis.off.double().nan_to_num()
        reach = (off * off + REACH[axis.off.dtype] ** 2 / (2 * axis.sharp.double().nan_to_num()[:, None])).sqrt()
        low = axis.near + (off - reach).clamp(min=-N).ceil().long()
        high = axis.near + (off + reach).clamp(max=N).floor().long()
    return low.clamp(0, N - 1), high.clamp(0, N - 1) + 1


def _block_length(n: int, K: int, step: float, across: int) -> int:
    """How many samples make a block: the least of what its calls and its multiply-adds cost, in multiply-adds.

    A block of b samples reads K + (b - 1) step pixels, for each of its samples and each of ``across`` numbers.
    """

    def cost(b: int) -> float:
        return -(-n // b) * CALL + n * (K + (b - 1) * step) * across

    return min((b for b in (8, 16, 24, 32, 48, 64, 96, 128, 192, 256, n) if b <= n), key=cost)


def _block(rows: slice, low: int, high: int) -> Block:
    return Block(rows, slice(low, high), slice(0, high - low))


def _rows(window: Tensor, y: Bands, m: int) -> Tensor:
    """``By . window``: (C, H, columns) -> (C, h, columns)."""
    C, _, columns = window.shape
    out = window.new_empty(C, y.tiles.shape[1], columns)
    for rows, pixels, taps in y.blocks[m]:
        tile = y.tiles[m, rows, taps]
        torch.bmm(tile.expand(C, *tile.shape), window[:, pixels], out=out[:, rows])
    return out


def _columns(rows: Tensor, x: Bands, m: int, out: Tensor) -> None:
    """``rows . Bx^T`` into out: (C, h, columns) -> (C, h, w)."""
    start = x.windows[m].start
    flat, flat_out = rows.flatten(0, 1), out.flatten(0, 1)
    for samples, pixels, taps in x.blocks[m]:
        run = slice(pixels.start - start, pixels.stop - start)
        torch.mm(flat[:, run], x.tiles[m, samples, taps].t(), out=flat_out[:, samples])


def _columns_backward(  # noqa: PLR0917 - one product and its two gradients
    grad: Tensor, columns: int, rows: Tensor | None, x: Bands, m: int, x_grad: Tensor | None
) -> Tensor:
    """The gradient of the rows, and of the weights of x into x_grad."""
    start = x.windows[m].start
    out = grad.new_zeros(*grad.shape[:2], columns)
    flat, flat_out = grad.flatten(0, 1), out.flatten(0, 1)
    for samples, pixels, taps in x.blocks[m]:
        run = slice(pixels.start - start, pixels.stop - start)
        flat_out[:, run].addmm_(flat[:, samples], x.tiles[m, samples, taps])
        if x_grad is not None and rows is not None:
            torch.mm(flat[:, samples].t(), rows.flatten(0, 1)[:, run], out=x_grad[m, samples, taps])
    return out


def _rows_backward(  # noqa: PLR0917 - likewise
    rows_grad: Tensor, window: Tensor, y: Bands, m: int, target: Tensor | None, y_grad: Tensor | None
) -> None:
    """The gradient of the window, added to target, and of the weights of y into y_grad."""
    C = window.shape[0]
    for rows, pixels, taps in y.blocks[m]:
        tile = y.tiles[m, rows, taps].t()
        if target is not None:
            target[:, pixels].baddbmm_(tile.expand(C, *tile.shape), rows_grad[:, rows])
        if y_grad is not None:
            torch.sum(rows_grad[:, rows] @ window[:, pixels].transpose(1, 2), dim=0, out=y_grad[m, rows, taps])


def _places_backward(tiles_grad: Tensor, bands: Bands, kernel: str) -> tuple[Tensor, Tensor]:
    grad = tiles_grad.gather(-1, bands.pixels - bands.starts)
    return weights_backward(grad, bands.w, bands.dark, bands.axis, bands.pixels, kernel)


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ARG001 - torch's signature
    *tensors, ctx.kernel, ctx.eps = inputs
    ctx.save_for_backward(*tensors)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    needs = ctx.needs_input_grad
    to_images, to_places = needs[0], needs[2] or needs[4] or needs[5]
    images, off_y, off_x, sharp = banded_backward(grad, *ctx.saved_tensors, ctx.kernel, ctx.eps, to_images, to_places)
    grads = (images if to_images else None, *((off_y, off_x, sharp) if to_places else (None, None, None)))
    return grads[0], None, grads[1], None, grads[2], grads[3], None, None


def _setup_twice(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:  # noqa: ARG001 - torch's signature
    *tensors, ctx.kernel, ctx.eps, ctx.to_images, ctx.to_places = inputs
    ctx.save_for_backward(*tensors)


def _backward_twice(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
    grad, images, near_y, off_y, near_x, off_x, sharp = ctx.saved_tensors
    keep = [wanted for wanted, part in zip(grads, (0, 1, 1, 1), strict=True) if (ctx.to_images, ctx.to_places)[part]]

    def forward(images: Tensor, off_y: Tensor, off_x: Tensor, sharp: Tensor) -> Tensor:
        return dense(images, near_y, off_y, near_x, off_x, sharp, ctx.kernel, ctx.eps)

    def backward(grad: Tensor, *inputs: Tensor) -> list[Tensor]:
        found = torch.func.vjp(forward, *inputs)[1](grad)
        return [*(found[:1] if ctx.to_images else ()), *(found[1:] if ctx.to_places else ())]

    back = torch.func.vjp(backward, grad, images, off_y, off_x, sharp)[1](keep)
    return back[0], back[1], None, back[2], None, back[3], back[4], None, None, None, None


def _outline(images: Tensor, near_y: Tensor, off_y: Tensor, near_x: Tensor, *_: Any) -> Tensor:
    return off_y.new_empty(*near_y.shape[:2], images.shape[1], near_y.shape[2], near_x.shape[2])


def _outline_backward(grad: Tensor, images: Tensor, *rest: Any) -> tuple[Tensor, ...]:
    _, off_y, _, off_x, sharp, _, _, to_images, to_places = rest
    first = torch.empty_like(images) if to_images else images.new_empty(0)
    return first, *(torch.empty_like(t) if to_places else grad.new_empty(0) for t in (off_y, off_x, sharp))


banded.register_fake(_outline)
banded.register_autograd(_backward, setup_context=_setup)
banded_backward.register_fake(_outline_backward)
banded_backward.register_autograd(_backward_twice, setup_context=_setup_twice)
