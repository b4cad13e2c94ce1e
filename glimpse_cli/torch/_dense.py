"""The product over whole axes: every pixel weighed for every sample, in two batched matrix products.

The right form for small images, on a GPU (nothing waits for the host to see a number) and where a gradient is
differentiated again; and the oracle of the banded form.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from glimpse_cli.torch._arguments import PEAKS, shares
from glimpse_cli.torch._axes import Axis, weights


def whole_precision(device: torch.device) -> AbstractContextManager[Any]:
    """Autocast switched off, where the device has it: a half of a weight would be no weight."""
    return torch.autocast(device.type, enabled=False) if _has_autocast(device) else nullcontext()


def _has_autocast(device: torch.device) -> bool:
    return device.type in {"cpu", "cuda"} or torch.amp.is_autocast_available(device.type)  # torch 2.4 traces no asking


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
    """Glimpses (B, N, C, h, w) of images (B, C, H, W), in the dtype of ``sharp``; of integers in shares of 1."""
    H, W = images.shape[-2:]
    y = axis_mask(Axis(near_y, off_y, sharp_y), H, kernel, eps)
    x = axis_mask(Axis(near_x, off_x, sharp_x), W, kernel, eps)
    out = shares(product(images.to(sharp_y.dtype), y, x), images)
    return _at_most_1(out) if images.dtype in PEAKS else out


def _at_most_1(glimpses: Tensor) -> Tensor:
    """Without what rounding left above 1, and with the slopes that would be there without rounding."""
    return glimpses - (glimpses.detach() - 1).clamp(min=0)


def product(images: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """``By . I . Bx^T`` for images (B, C, H, W), y (B, N, h, H), x (B, N, w, W): (B, N, C, h, w)."""
    (B, C, _, W), (_, N, h, _), w = images.shape, y.shape, x.shape[2]
    multiply: Any = Whole.apply if _is_halved(images.device) else torch.matmul
    with whole_precision(images.device):
        rows = multiply(y.flatten(1, 2)[:, None], images)  # (B, C, N h, W)
        rows = rows.view(B, C, N, h, W).transpose(1, 2).reshape(B, N, C * h, W)
        out: Tensor = multiply(rows, x.transpose(-1, -2)).view(B, N, C, h, w)
    return out


def _is_halved(device: torch.device) -> bool:
    """Whether autocast is on; forward mode computes at once, and takes what is plain torch."""
    pushed = forward_ad._current_level >= 0  # noqa: SLF001 - it has no other name
    return not pushed and _has_autocast(device) and torch.is_autocast_enabled(device.type)


class Whole(torch.autograd.Function):
    """`torch.matmul` where autocast is on: of whole precision, and so are its gradients of every order.

    A region without autocast around the product is not enough: its gradients are made elsewhere, where autocast may be
    on, as it is for a compiler that makes them along with the product.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(a: Tensor, b: Tensor) -> Tensor:
        with whole_precision(a.device):
            return torch.matmul(a, b)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:  # noqa: ARG004 - torch's signature
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        a, b = ctx.saved_tensors
        # a compiler makes no gradients of gradients; that of torch 2.4 knows no function within its own backward
        multiply: Any = Whole.forward if torch.compiler.is_compiling() else Whole.apply
        to_a, to_b = multiply(grad, b.transpose(-1, -2)), multiply(a.transpose(-1, -2), grad)
        return to_a.sum_to_size(a.shape), to_b.sum_to_size(b.shape)
