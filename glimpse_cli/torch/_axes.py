"""An axis laid on pixels: places to nearest pixels and offsets, and these to weights, as tensors.

`glimpse_cli.combs` says what a comb is and `glimpse_cli.kernels` what a kernel is; here are the same formulas for
batches, differentiable. A place p becomes a pixel ``near`` and what is left, ``off = p - near``. The split is made in
float64, so that from there on float32 is exact enough at any place of any image, and no exponent cancels:
``-(j - p)^2 / 2 s^2`` relative to the nearest pixel is ``-m (m - 2 off) * sharp`` with ``m = j - near`` and
``sharp = 1 / 2 s^2``. Where p is all but in the middle of two pixels ``m - 2 off`` is what float32 cannot see of
``off``, and a narrow bell lives on it: so ``off`` is float64 still, and is split in two (`_fall`).
"""

from math import log
from typing import NamedTuple

import torch
from torch import Tensor

from glimpse_cli.kernels import TIE

FARTHEST = 1e9  # px; farther out a place is moved here, so that a runaway parameter leaves finite gradients
NARROWEST = 1e-8  # px; a bell this narrow is the nearest pixel, whatever its s: float64 places are no finer
BLACK = 1e3  # exponent of eps at which nothing is left to the bell, in float64 too

Pixels = int | Tensor  # of an axis; a tensor where several axes of unlike lengths are one, to broadcast with places


class Axis(NamedTuple):
    """The samples of an axis: ``near`` (..., n) int64, ``off`` (..., n) float64, ``sharp`` (...) as it is worked in.

    Made with no dtype, all are float64.
    """

    near: Tensor
    off: Tensor
    sharp: Tensor


def places(first: Tensor, step: Tensor, n: int) -> Tensor:
    """The n places of combs (...), float64: (..., n) pixels."""
    i = torch.arange(n, dtype=torch.float64, device=first.device)
    return first[..., None] + step[..., None] * i


def axis_of(  # noqa: PLR0917 - a private verb of three call sites
    method: str, p: Tensor, s: Tensor, N: Pixels, padding: str, dtype: torch.dtype | None = None
) -> Axis:
    """The samples of a method at places p (..., n) of an axis of N pixels; s (...) is the Gaussian's."""
    if method == "gaussian":
        return gaussian_axis(p, s, N, dtype)
    return (hat_axis if method == "stn" else nearest_axis)(p, N, padding, dtype)


def gaussian_axis(p: Tensor, s: Tensor, N: Pixels, dtype: torch.dtype | None) -> Axis:
    """Bells of width s (...) around places p (..., n) of an axis of N pixels."""
    near = p.detach().round().clamp(min=0).clamp(max=N - 1)
    off = (p - near).clamp(-FARTHEST, FARTHEST)
    return _worked(near, off, (s * s).clamp(min=NARROWEST**2).mul(2).reciprocal(), dtype)


def hat_axis(p: Tensor, N: Pixels, padding: str, dtype: torch.dtype | None) -> Axis:
    """Two-pixel hats: ``1 - off`` of pixel ``near`` and ``off`` of the next, outside by the padding.

    At a pixel's centre the slope is that to the next pixel, as in `grid_sample`, not 0: a spatial transformer that
    begins at the identity must still learn.
    """
    if padding == "zeros":
        p = p.clamp(min=-2).clamp(max=N + 1)  # all of it is black there
        near = p.detach().floor()
    else:
        p = _inside(p, N, padding)
        near = p.detach().floor().clamp(max=N - 2).clamp(min=0)
    return _worked(near, p - near, torch.ones_like(p[..., 0]), dtype)


def nearest_axis(p: Tensor, N: Pixels, padding: str, dtype: torch.dtype | None) -> Axis:
    """The pixel of each place, as `kernels.Nearest` finds it: a hat whose places are whole. Outside by the padding."""
    half = p.new_full((), 0.5 + TIE)  # a tensor: of two numbers as close as this and 0.5 a tracer keeps the first alone
    p = (p.detach() + half).floor()
    p = p.clamp(min=-2).clamp(max=N + 1) if padding == "zeros" else _inside(p, N, padding)
    nothing = p - p  # but NaN where the place is no number, which a pixel's index cannot be
    return _worked(p, nothing, torch.ones_like(p[..., 0]), dtype)


def weights(axis: Axis, pixels: Tensor, kernel: str, eps: float) -> tuple[Tensor, Tensor | None]:
    """The weights of pixels (..., n, K) for each sample, and what share ``eps`` takes (..., n, 1), if any.

    Args:
        axis: the samples.
        pixels: the pixels asked for, int64, the support of each sample or more.
        kernel: "gaussian" or "hat".
        eps: added to the bell's sum; 0 is a softmax.
    """
    m, off = _around(axis, pixels)
    if kernel == "hat":
        return (1 - off) * (m == 0) + off * (m == 1), None
    sharp = axis.sharp[..., None, None]
    logits = -_fall(axis, m, off) * sharp
    if eps == 0:
        return torch.softmax(logits, dim=-1), None
    dark = log(eps) + off * off * sharp  # eps beside a sum whose largest term has been divided out
    dark = dark.clamp(max=BLACK)  # or its second derivatives are no numbers far outside
    both = torch.softmax(torch.cat([logits, dark], dim=-1), dim=-1)
    return both[..., :-1], both[..., -1:]


def weights_backward(  # noqa: PLR0917 - what `weights` took and gave
    grad: Tensor, w: Tensor, dark: Tensor | None, axis: Axis, pixels: Tensor, kernel: str
) -> tuple[Tensor, Tensor]:
    """The gradients of ``off`` and ``sharp``, from that of `weights`: for the banded product, which has no tape."""
    m, off = _around(axis, pixels)
    if kernel == "hat":
        return (grad * ((m == 1).to(m) - (m == 0).to(m))).sum(-1), torch.zeros_like(axis.sharp)
    dot = (grad * w).sum(-1, keepdim=True)
    logits = w * (grad - dot)
    to_off = 2 * axis.sharp[..., None] * (m * logits).sum(-1)
    to_sharp = -(_fall(axis, m, off) * logits).sum((-2, -1))
    if dark is not None:
        lost = -dark * dot
        to_off = to_off + (2 * off * axis.sharp[..., None, None] * lost)[..., 0]
        to_sharp = to_sharp + (off * off * lost).sum((-2, -1))
    return to_off, to_sharp


def axis_backward(  # noqa: PLR0917 - what `axis_of` took and gave
    method: str, p: Tensor, s: Tensor, N: Tensor, padding: str, axis: Axis, to_off: Tensor, to_sharp: Tensor
) -> tuple[Tensor, Tensor]:
    """The gradients of places and, for the Gaussian, of s, from those of `axis_of` with no dtype: without a tape."""
    if method == "gaussian":
        to_s = (to_sharp * axis.sharp * axis.sharp * s).mul_(-4).masked_fill_(s * s < NARROWEST**2, 0)
        return to_off.masked_fill(axis.off.abs() == FARTHEST, 0), to_s
    last = N - 1
    if padding == "border":
        to_off = to_off.masked_fill((p < 0) | (p > last), 0)
    elif padding == "reflection":
        turned = (p.abs() % (2 * last).clamp(min=1) > last) ^ (p < 0)
        to_off = torch.where(turned, -to_off, to_off)
    return to_off if padding == "zeros" else to_off.masked_fill(last == 0, 0), to_sharp


def _worked(near: Tensor, off: Tensor, sharp: Tensor, dtype: torch.dtype | None) -> Axis:
    return Axis(near, off, sharp) if dtype is None else Axis(near.long(), off, sharp.to(dtype))


def _around(axis: Axis, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """``m`` (..., n, K) of pixels and ``off`` (..., n, 1), both in the working dtype."""
    dtype = axis.sharp.dtype
    return (pixels - axis.near[..., None]).to(dtype), axis.off[..., None].to(dtype)


def _fall(axis: Axis, m: Tensor, off: Tensor) -> Tensor:
    """How far bells have fallen, ``m (m - 2 off)`` (..., n, K), with all that float64 knows of ``off``.

    Near the middle of two pixels ``m - 2 off`` cancels but is exact; so what rounding took is subtracted after it.
    """
    rest = (axis.off[..., None] - off).detach().to(off.dtype)
    return m * (m - 2 * off - 2 * rest)


def _inside(p: Tensor, N: Pixels, padding: str) -> Tensor:
    """Places folded into [0, N - 1]: the edge repeated ("border"), or mirrored about the edge pixel's centre."""
    last = N - 1 if isinstance(N, Tensor) else p.new_full((), N - 1)
    # nothing branches on its value, which a tracer would decide for images of every size
    if padding == "border":
        folded = p.clamp(min=0).clamp(max=last)
    else:
        period = (2 * last).clamp(min=1)
        p = torch.where(p < 0, -p, p) % period  # as `kernels` has it; `abs` would have no slope at 0
        folded = torch.where(p > last, period - p, p)
    return torch.where(last > 0, folded, p * 0)  # one pixel has no slope
