"""The product over whole axes: every pixel weighed for every sample, in two batched matrix products.

The right form for small images, on a GPU (nothing waits for the host to see a number) and where a gradient is
differentiated again; and the oracle of the banded form.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from glimpse_cli.torch._arguments import shares
from glimpse_cli.torch._axes import Axis, weights


def whole_precision(device: torch.device) -> AbstractContextManager[Any]:
    """Autocast switched off, where the device has it: a half of a weight would be no weight."""
    known = device.type in {"cpu", "cuda"} or torch.amp.is_autocast_available(device.type)  # torch 2.4 traces no asking
    return torch.autocast(device.type, enabled=False) if known else nullcontext()


def axis_mask(axis: Axis, N: int, kernel: str, eps: float) -> Tensor:
    """All weights of an axis of N pixels: (..., n) samples -> (..., n, N)."""
    pixels = torch.arange(N, device=axis.near.device)
    return weights(axis, pixels, kernel, eps)[0]


def dense(  # noqa: PLR0917 - as the operator `glimpse_cli.torch._operators.banded`
    images: Tensor,
    near_y: Tensor,
    off_y: Tensor,
    sharp_y: Tensor,
    near_x: Tensor,
    off_x: Tensor,
    sharp_x: Tensor,
    kernel: str,
    eps: float,
) -> Tensor:
    """Glimpses (B, N, C, h, w) of images (B, C, H, W), in the dtype of the offsets; of integers in shares of 1."""
    H, W = images.shape[-2:]
    y = axis_mask(Axis(near_y, off_y, sharp_y), H, kernel, eps)
    x = axis_mask(Axis(near_x, off_x, sharp_x), W, kernel, eps)
    return shares(product(images.to(off_y.dtype), y, x), images)


def product(images: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """``By . I . Bx^T`` for images (B, C, H, W), y (B, N, h, H), x (B, N, w, W): (B, N, C, h, w)."""
    (B, C, _, W), (_, N, h, _), w = images.shape, y.shape, x.shape[2]
    rows = torch.matmul(y.flatten(1, 2)[:, None], images)  # (B, C, N h, W)
    rows = rows.view(B, C, N, h, W).transpose(1, 2).reshape(B, N, C * h, W)
    return torch.matmul(rows, x.transpose(-1, -2)).view(B, N, C, h, w)
