"""The spellings of a place on tensors: boxes, (u, d) and (scale, shift), both ways, differentiable.

The formulas of `glimpse_cli.combs`, for tensors (..., 2) as (y, x) and boxes (..., 4) as x0, y0, x1, y1.
``size`` is the glimpse's and ``image_size`` the image's, both (height, width). All arithmetic and all results are
float64: float32 is off by 6e-3 px at 100 000 pixels.
"""

import torch
from torch import Tensor

from glimpse_cli.errors import ParameterError
from glimpse_cli.torch._arguments import alike, require_size, require_tensor

Pair = tuple[int, int]


def box_to_comb(boxes: Tensor, size: Pair) -> tuple[Tensor, Tensor]:
    """Boxes (..., 4) as x0, y0, x1, y1, edge coordinates -> (u, d), each (..., 2) as (y, x), pixels."""
    require_size(size)
    require_tensor("boxes", boxes)
    if boxes.shape[-1:] != (4,):
        raise ParameterError(
            f"boxes must end in 4 numbers, x0, y0, x1, y1, got the shape {tuple(boxes.shape)}",
            hint="torch.stack([x0, y0, x1, y1], dim=-1)",
        )
    x0, y0, x1, y1 = boxes.double().unbind(-1)
    first = torch.stack([y0, x0], dim=-1)
    d = (torch.stack([y1, x1], dim=-1) - first) / _pair(size, boxes)
    return first + d / 2 - 0.5, d


def comb_to_box(u: Tensor, d: Tensor, size: Pair) -> Tensor:
    """(u, d), each (..., 2) as (y, x), pixels -> boxes (..., 4) as x0, y0, x1, y1; empty where d is 0."""
    require_size(size)
    u, d = alike(2, u=u, d=d)
    low = u + 0.5 - d / 2
    high = low + _pair(size, d) * d
    return torch.stack([low[..., 1], low[..., 0], high[..., 1], high[..., 0]], dim=-1)


def scale_shift_to_comb(scale: Tensor, shift: Tensor, size: Pair, image_size: Pair) -> tuple[Tensor, Tensor]:
    """(scale, shift), each (..., 2) as (y, x), -1 and +1 the centres of the edge pixels -> (u, d) in pixels.

    A glimpse of one sample sits at the middle, as in torch: ``(N - 1) / 2 * (shift + 1)``, and its d is 0. (Sonnet
    puts it at ``-scale + shift``.)
    """
    require_size(size)
    require_size(image_size)
    scale, shift = alike(2, scale=scale, shift=shift)
    n, N = _pair(size, scale), _pair(image_size, scale)
    reach = torch.where(n == 1, 0.0, scale)
    return (N - 1) / 2 * (shift - reach + 1), (N - 1) * reach / (n - 1).clamp(min=1)


def comb_to_scale_shift(u: Tensor, d: Tensor, size: Pair, image_size: Pair) -> tuple[Tensor, Tensor]:
    """(u, d) in pixels -> (scale, shift), each (..., 2) as (y, x); the scale of one sample is 0.

    Raises:
        ParameterError: an axis of the image is one pixel long, where every (scale, shift) reads that pixel.
    """
    require_size(size)
    require_size(image_size)
    if 1 in image_size:
        raise ParameterError(
            f"(scale, shift) cannot be recovered on an axis of one pixel, got the image size {image_size}"
        )
    u, d = alike(2, u=u, d=d)
    extent = d * (_pair(size, d) - 1)
    last = _pair(image_size, d) - 1
    return extent / last, (2 * u + extent) / last - 1


def _pair(size: Pair, like: Tensor) -> Tensor:
    """A size as (y, x) on the tensor's device, made there: copying it would make a GPU wait."""
    return torch.stack([torch.full((), n, dtype=torch.float64, device=like.device) for n in size])
