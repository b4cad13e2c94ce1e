"""The product over whole axes without a tape: what `glimpse_cli.torch._dense` gives, in a third of the operations.

For small jobs of the CPU, where it takes longer to begin an operation of torch than to do it. So both axes are one, of
P pixels, the longer side of the image, and of n samples, the longer of the glimpse: (2, B, N, n). What of it no image
or glimpse has weighs nothing.

First x, for the rows of all channels at once, then y, for the columns of all channels: each product is one of few and
large matrices, forward and backward, and what is turned is the glimpse, which is small.
"""

from functools import lru_cache
from math import inf, log
from typing import Any, NamedTuple

import torch
from torch import Tensor

from glimpse_cli.torch._arguments import PEAKS, shares, working_dtype
from glimpse_cli.torch._axes import Axis

Pair = tuple[int, int]


class Kept(NamedTuple):
    """What the backward needs: the weights (2, B, N, n, P), what eps took of them, and columns (B N, w C, H)."""

    w: Tensor
    dark: Tensor | None
    columns: Tensor


@lru_cache
def counting(n: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """0 to n - 1, on the CPU; made once, and never written to."""
    with torch.inference_mode(False):  # else it could not be used outside of it
        return torch.arange(n, dtype=dtype, device="cpu")


@lru_cache
def column(y: float, x: float) -> Tensor:
    """A pair as float64 (2, 1, 1, 1), beside the samples of both axes; likewise."""
    with torch.inference_mode(False):
        return torch.tensor([y, x], dtype=torch.float64, device="cpu").view(2, 1, 1, 1)


@lru_cache
def _beyond(image_size: Pair, dtype: torch.dtype) -> Tensor:
    """0 for a pixel of an axis, and -inf where it has none: (2, 1, 1, 1, P); likewise."""
    with torch.inference_mode(False):
        outside = counting(max(image_size)) >= column(*image_size)[..., None]
        return torch.zeros(outside.shape, dtype=dtype, device="cpu").masked_fill_(outside, -inf)


def forward(images: Tensor, axes: Axis, size: Pair, kernel: str, eps: float) -> tuple[Tensor, Kept]:
    """Glimpses (B, N, C, h, w) of images (B, C, H, W), in the dtype that they are worked in, and what to keep.

    Args:
        images: of any dtype.
        axes: both axes, (2, B, N, n) and (2, B, N), of float64.
        size: (h, w).
        kernel: "gaussian" or "hat".
        eps: of the Gaussian.
    """
    (B, C, H, W), N, (h, w) = images.shape, axes.near.shape[2], size
    weights, dark = _weights(axes, (H, W), kernel, eps, working_dtype(images.dtype))
    y, x = _halves(weights, (H, W), size)
    columns = torch.bmm(x, _as_rows(images).transpose(1, 2)).view(B * N, w * C, H)
    out = torch.bmm(columns, y.transpose(1, 2)).view(B, N, w, C, h).permute(0, 1, 3, 4, 2).contiguous()
    out = shares(out, images).clamp_(max=1) if images.dtype in PEAKS else out  # rounding leaves a last digit more
    return out, Kept(weights, dark, columns)


def backward(  # noqa: PLR0917 - what `forward` took and gave, and what is wanted
    grad: Tensor, images: Tensor, axes: Axis, kept: Kept, kernel: str, to_images: bool, to_places: bool
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """The gradients of the images, in their dtype, and of ``off`` and ``sharp``, where they are wanted."""
    (B, C, H, W), (_, N, _, h, w) = images.shape, grad.shape
    y, x = _halves(kept.w, (H, W), (h, w))
    grad = shares(grad, images).permute(0, 1, 4, 2, 3).reshape(B * N, w * C, h)
    to_columns = torch.bmm(grad, y).view(B, N * w, C * H)
    images_grad = to_off = to_sharp = None
    if to_images:
        images_grad = torch.bmm(to_columns.transpose(1, 2), x).view(B, C, H, W).to(images.dtype)
    if to_places:
        to_y = torch.bmm(grad.transpose(1, 2), kept.columns).view(B, N, h, H)
        to_x = torch.bmm(to_columns, _as_rows(images)).view(B, N, w, W)
        to_off, to_sharp = (_hat_backward if kernel == "hat" else _gaussian_backward)(both(to_y, to_x), kept, axes)
    return images_grad, to_off, to_sharp


def _weights(axes: Axis, image_size: Pair, kernel: str, eps: float, dtype: torch.dtype) -> tuple[Tensor, Tensor | None]:
    """As `glimpse_cli.torch._axes.weights`, of all pixels, and in place."""
    near, off, sharp = axes.near.to(dtype)[..., None], axes.off.to(dtype)[..., None], axes.sharp[..., None, None]
    m = counting(max(image_size), dtype) - near
    if kernel == "hat":
        return m.sub_(off).abs_().neg_().add_(1).clamp_(min=0), None
    logits = torch.sub(m, off, alpha=2)
    if dtype != torch.float64:
        logits.sub_((axes.off[..., None] - off).to(dtype), alpha=2)
    logits.mul_(m).mul_(-sharp.to(dtype))
    if image_size[0] != image_size[1]:
        logits += _beyond(image_size, dtype)
    if eps == 0:
        return torch.softmax(logits, dim=-1), None
    dark = (off * off * sharp).add_(log(eps)).to(dtype)
    both = torch.softmax(torch.cat([logits, dark], dim=-1), dim=-1)
    return both[..., :-1], both[..., -1:]


def _gaussian_backward(to_w: Tensor, kept: Kept, axes: Axis) -> tuple[Tensor, Tensor]:
    """From the gradient of the weights, overwritten, to those of ``off`` and ``sharp``: `weights_backward` of _axes."""
    off, sharp = axes.off, axes.sharp[..., None]
    to_w *= kept.w
    dot = to_w.sum(-1, keepdim=True)
    logits = to_w.addcmul_(kept.w, dot, value=-1)
    m = counting(to_w.shape[-1], to_w.dtype) - axes.near.to(to_w.dtype)[..., None]
    once = logits.mul_(m).sum(-1).double()
    twice = logits.mul_(m).sum(-1)
    to_off, to_sharp = once * sharp, once * off * 2 - twice  # a bell falls by m (m - 2 off) sharp
    to_off *= 2
    if kept.dark is not None:
        lost = (kept.dark * dot)[..., 0].double() * off
        to_off -= 2 * sharp * lost
        to_sharp -= off * lost
    return to_off, to_sharp.sum(-1)


def _hat_backward(to_w: Tensor, kept: Kept, axes: Axis) -> tuple[Tensor, Tensor]:  # noqa: ARG001 - as the Gaussian's
    """Likewise; a hat has no width."""
    m = counting(to_w.shape[-1], to_w.dtype) - axes.near.to(to_w.dtype)[..., None]
    slope = (m == 1).to(to_w.dtype).add_(m == 0, alpha=-1)
    return to_w.mul_(slope).sum(-1).double(), torch.zeros_like(axes.sharp)


def _halves(together: Tensor, image_size: Pair, size: Pair) -> tuple[Tensor, Tensor]:
    """What stands for both axes (2, B, N, n, P) as y (B N, h, H) and x (B, N w, W)."""
    (H, W), (h, w) = image_size, size
    y, x = together.unbind(0)
    return y[:, :, :h, :H].flatten(0, 1), x[:, :, :w, :W].flatten(1, 2)


def both(y: Tensor, x: Tensor) -> Tensor:
    """What stands for both axes, of y (B, N, h, ...) and x (B, N, w, ...); 0 where one of them has nothing."""
    if y.shape == x.shape:
        return torch.stack([y, x])
    sides = [max(pair) for pair in zip(y.shape[2:], x.shape[2:], strict=True)]
    together = y.new_zeros(2, *y.shape[:2], *sides)
    for k, half in enumerate((y, x)):
        there: tuple[Any, ...] = k, ..., *map(slice, half.shape[2:])
        together[there] = half
    return together


def _as_rows(images: Tensor) -> Tensor:
    """Images (B, C, H, W) as (B, C H, W), in the dtype that they are worked in."""
    return images.to(working_dtype(images.dtype)).flatten(1, 2)
