"""One frozen place on any device: the weights are the NumPy path's, the sums torch's. What ``--device cuda`` runs."""

import numpy as np
import torch
from torch import Tensor

from glimpse_cli.banks import Bank
from glimpse_cli.errors import ParameterError
from glimpse_cli.glimpse import Spec
from glimpse_cli.torch._arguments import PEAKS, require_images, require_tensor, shares, working_dtype
from glimpse_cli.torch._dense import whole_precision


def extract(images: Tensor, spec: Spec) -> Tensor:
    """Cut one glimpse out of an image, or the same out of every image of a batch, on the device they are on.

    Args:
        images: (C, H, W) or (B, C, H, W), upright; uint8, uint16 or floating. Of a view only the part that is read
            is touched.
        spec: where and how, in plain numbers.

    Returns:
        (C, h, w) or (B, C, h, w): float32 in [0, 1] for uint8 and uint16, else in the dtype of the images.

    Raises:
        ParameterError: other shapes or dtypes, or a spec that is none.
    """
    require_tensor("images", images)
    if not isinstance(spec, Spec):
        raise ParameterError(f"spec must be a Spec, got {type(spec).__name__}", hint="Spec.from_box(box, size)")
    if images.dim() not in (3, 4):
        raise ParameterError(f"images must be (C, H, W) or (B, C, H, W), got the shape {tuple(images.shape)}")
    require_images(images if images.dim() == 4 else images[None])
    dtype = working_dtype(images.dtype)
    H, W = images.shape[-2:]
    by, bx = spec.banks((H, W), np.float64 if dtype == torch.float64 else np.float32)
    y, x = by.pixels, bx.pixels
    glimpse = contract(images[..., y.start : y.stop, x.start : x.stop], by, bx)
    return glimpse.to(images.dtype if images.is_floating_point() else dtype)


def contract(window: Tensor, by: Bank, bx: Bank) -> Tensor:
    """By · window · Bxᵀ for the part of an image that the banks read; as `glimpse_cli.glimpse.contract`.

    Args:
        window: (..., rows, columns): images at ``by.pixels`` and ``bx.pixels``, no more.
        by: the vertical bank, in float32 or, for a float64 window, float64.
        bx: the horizontal bank.

    Returns:
        (..., h, w) in the banks' dtype, integers scaled to [0, 1].
    """
    with whole_precision(window.device):
        rows = _weighed(window.to(working_dtype(window.dtype)).transpose(-1, -2), by)  # (..., columns, h)
        glimpse = shares(_weighed(rows.transpose(-1, -2), bx), window)
    return glimpse.clamp_(max=1) if window.dtype in PEAKS else glimpse  # weights sum to 1, but for their last digit


def _weighed(values: Tensor, bank: Bank) -> Tensor:
    """The last axis of values, which stands for ``bank.pixels``, weighed: (..., pixels) -> (..., n)."""
    K = bank.weights.shape[1]
    if K > 2:
        return torch.matmul(values, torch.from_numpy(bank.dense()).to(values.device).T)
    first = torch.from_numpy(bank.first - bank.pixels.start).to(values.device)
    w = torch.from_numpy(bank.weights).to(values.device)
    taps = [values.index_select(-1, first + k) * w[:, k] for k in range(K)]  # whole pixels stay what they are
    return sum(taps[1:], taps[0])
