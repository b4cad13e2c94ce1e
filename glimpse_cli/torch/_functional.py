"""Glimpses of batches of images, differentiable in the images and in every number that says where to look.

Convention: images (B, C, H, W); a pair is (y, x), a size (height, width). A parameter is a number, a pair, or a tensor
that broadcasts to (B, 2), or to (B, N, 2) for N glimpses of each image, which then come out as (B, N, C, h, w) and
otherwise as (B, C, h, w). Pixel j has its centre at coordinate j.

uint8 and uint16 images come out as float32 in [0, 1], floating images in their own dtype. Weights are float32 at least
(float64 for float64 images), under autocast too, and places are float64. Nothing here makes a GPU wait for the host,
so what stands in a tensor is not checked: a NaN gives NaN, and an s of 0 the nearest pixel.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from glimpse_cli.errors import ParameterError
from glimpse_cli.kernels import POST_EPS, SHARPEST, require_padding
from glimpse_cli.torch._arguments import (
    Parameter,
    aligned,
    alike,
    as_tensor,
    in_line,
    require_boxes,
    require_eps,
    require_images,
    require_method,
    require_size,
    require_tensor,
    require_width,
    shares,
    working_dtype,
)
from glimpse_cli.torch._axes import Axis, axis_of, places
from glimpse_cli.torch._dense import axis_mask, dense
from glimpse_cli.torch._eager import Eager, Kernel, Look, is_eager, tap_name
from glimpse_cli.torch._fused import available as fused_on
from glimpse_cli.torch._operators import banded_glimpses, is_transformed
from glimpse_cli.torch._spellings import Pair, box_to_comb, scale_shift_to_comb

SMALL = 4_000_000  # multiply-adds of the dense form in the time that the banded one takes to begin a glimpse
CALL = 5  # times as long it takes to begin a call
PIXEL = 8  # multiply-adds in the time that the dense form takes to read a pixel, or to write its gradient


def gaussian_glimpse(  # noqa: PLR0917 - the post's names in the post's order
    images: Tensor, u: Parameter, s: Parameter, d: Parameter, size: Pair, eps: float = 0.0
) -> Tensor:
    """Gaussian attention: ``By . I . Bx^T`` with a normalised bell of width s at each ``u + i d``.

    Args:
        images: (B, C, H, W).
        u: the centre of the **first** sample (not of the window), pixels.
        s: the width (standard deviation) of the bells, pixels, above 0.
        d: the step between centres, pixels; negative mirrors.
        size: (height, width) of the glimpse.
        eps: added to the sum each bell is divided by. **0, the default, is a softmax**: no row is ever dark, outside
            the image its edge is repeated for ever, and gradients are finite everywhere. **1e-8 is the post**, to the
            letter: rows between two pixels turn dark at s < 0.1, and all is black some 6 s outside.

    Returns:
        (B, C, h, w), or (B, N, C, h, w).

    Raises:
        ParameterError: shapes that do not fit, a number that is not finite, s given as a number that is not above 0.

    Source: A. Kosiorek, "Attention in Neural Networks and How to Use It" (2017), Gaussian attention.
    """
    require_images(images)
    require_width(s)
    require_eps(eps)
    (u, s, d), N, several = aligned(images, u=u, s=s, d=d)
    return _look(images, (u, d, s), N, size, Kernel("gaussian", eps=eps), several)


def stn_glimpse(images: Tensor, scale: Parameter, shift: Parameter, size: Pair, padding: str = "zeros") -> Tensor:
    """A spatial transformer without rotation: bilinear at the comb of (scale, shift).

    It equals ``F.grid_sample(images, F.affine_grid(...), align_corners=True)``. It does not anti-alias: where the step
    is above 1.5 pixels it skips over the picture, and so do its gradients.

    Args:
        images: (B, C, H, W).
        scale: half the extent of the glimpse, -1 and +1 being the centres of the edge pixels; negative mirrors.
        shift: the middle of the glimpse in the same unit.
        size: (height, width) of the glimpse; an axis of one sample looks at the middle, as in torch.
        padding: outside: "zeros" (the post's), "border" or "reflection".

    Returns:
        (B, C, h, w), or (B, N, C, h, w).

    Raises:
        ParameterError: shapes that do not fit, a number that is not finite, an unknown padding.

    Source: the post, Spatial Transformer; Jaderberg et al., "Spatial Transformer Networks" (2015).
    """
    require_images(images)
    (scale, shift), N, several = aligned(images, scale=scale, shift=shift)
    return _look(images, (shift, scale, None), N, size, Kernel("stn", padding=padding, spread=True), several)


def hard_glimpse(images: Tensor, u: Parameter, d: Parameter, size: Pair, padding: str = "zeros") -> Tensor:
    """Hard attention: the nearest pixel of each place ``u + i d``; differentiable in the images alone.

    Args:
        images: (B, C, H, W).
        u: the first place, pixels.
        d: the step, pixels.
        size: (height, width) of the glimpse.
        padding: outside: "zeros", "border" or "reflection".

    Returns:
        (B, C, h, w), or (B, N, C, h, w).

    Raises:
        ParameterError: shapes that do not fit, a number that is not finite, an unknown padding.
    """
    require_images(images)
    (u, d), N, several = aligned(images, u=u, d=d)
    return _look(images, (u, d, None), N, size, Kernel("hard", padding=padding), several)


def box_glimpse(  # noqa: PLR0917 - the first three are what most callers give
    images: Tensor,
    boxes: Tensor,
    size: Pair,
    method: str = "gaussian",
    s: Parameter | None = None,
    padding: str | None = None,
) -> Tensor:
    """The best crop of boxes: each is divided into h x w cells, and the middle of each cell is looked at.

    Args:
        images: (B, C, H, W).
        boxes: (B, 4), or (B, N, 4) for several an image, as x0, y0, x1, y1 in edge coordinates, where pixel j covers
            [j, j + 1): ``0, 0, W, H`` is the whole image. They may leave the image.
        size: (height, width) of the glimpse.
        method: "gaussian", "stn" or "hard".
        s: the Gaussian's width, pixels; by default ``0.35 max(1, |d|)``, which neither blurs nor aliases.
        padding: outside: "border", the default; "zeros", for the Gaussian the post's eps of 1e-8; or "reflection",
            which the Gaussian has not.

    Returns:
        (B, C, h, w), or (B, N, C, h, w).

    Raises:
        ParameterError: shapes that do not fit, an unknown method or padding, s with another method than "gaussian".
    """
    require_images(images)
    kernel = _kernel(method, "border" if padding is None else padding, s)
    require_boxes(boxes, images)
    u, d = box_to_comb(boxes, size)
    (u, d, s), N, several = aligned(images, u=u, d=d, s=default_width(d) if s is None else s)
    return _look(images, (u, d, s if method == "gaussian" else None), N, size, kernel, several)


def gaussian_mask(  # noqa: PLR0917 - the post's names in the post's order
    u: Tensor, s: Tensor, d: Tensor, n: int, N: int, eps: float = 0.0
) -> Tensor:
    """The weights of one axis, the post's ``A``: row i is the bell at ``u + i d`` over the N pixels of the image.

    Args:
        u: the first centres (...), pixels; s and d likewise, or what broadcasts with them.
        s: the widths, pixels.
        d: the steps, pixels.
        n: samples of the glimpse on this axis.
        N: pixels of the image on this axis.
        eps: see `gaussian_glimpse`.

    Returns:
        (..., n, N), float64 where u is and float32 otherwise; rows sum to 1, or with eps to less.
    """
    require_size((n, N))
    require_eps(eps)
    first, width, step = alike(u=u, s=s, d=d)
    axis = axis_of("gaussian", places(first, step, n), width, N, "", working_dtype(u.dtype))
    return axis_mask(axis, N, "gaussian", eps)


def glimpse_mask(  # noqa: PLR0917 - as `box_glimpse`
    image_size: Pair,
    u: Tensor,
    d: Tensor,
    size: Pair,
    method: str = "gaussian",
    s: Parameter | None = None,
    padding: str | None = None,
) -> Tensor:
    """What a glimpse attends to: how much each pixel weighs in its sum, the gradient of that sum.

    Of a box: ``glimpse_mask((H, W), *box_to_comb(boxes, size), size)``

    Args:
        image_size: (H, W) of the image.
        u: the first places (..., 2) as (y, x), pixels.
        d: the steps (..., 2), pixels.
        size: (h, w) of the glimpse.
        method: "gaussian", "stn" or "hard".
        s: the Gaussian's widths (..., 2), pixels, a number or a pair; by default ``0.35 max(1, |d|)``.
        padding: as for `box_glimpse`.

    Returns:
        (..., H, W), float64 where u is and float32 otherwise.
    """
    require_size(size)
    require_size(image_size)
    kernel = _kernel(method, "border" if padding is None else padding, s)
    first, step = alike(2, u=u, d=d)
    s = default_width(step) if s is None else as_tensor("s", s, u.device)
    y, x = _axes(alike(2, u=first, d=step, s=s), size, image_size, kernel, working_dtype(u.dtype))
    name = tap_name(method)
    rows, columns = (axis_mask(axis, N, name, kernel.eps).sum(-2) for axis, N in zip((y, x), image_size, strict=True))
    return rows[..., :, None] * columns[..., None, :]


def default_width(d: Tensor) -> Tensor:
    """The Gaussian's s where none is given, ``0.35 max(1, |d|)``: the sharpest that does not alias."""
    require_tensor("d", d)
    return SHARPEST * d.double().abs().clamp(min=1)


def _kernel(method: str, padding: str, s: Parameter | None) -> Kernel:
    """The kernel of a method with a padding, which for the Gaussian chooses its eps."""
    require_method(method)
    require_padding(padding)
    if method != "gaussian":
        if s is not None:
            raise ParameterError(f"s is the gaussian's width; {method} has none", hint='method="gaussian", or no s')
        return Kernel(method, padding=padding)
    if padding == "reflection":
        raise ParameterError("the gaussian has no padding 'reflection'", hint='"border", or "zeros" for the post')
    if s is not None:
        require_width(s)
    return Kernel(method, eps=POST_EPS if padding == "zeros" else 0.0)


def _look(  # noqa: PLR0917 - what all glimpses have in common
    images: Tensor, given: tuple[Tensor, Tensor, Tensor | None], N: int, size: Pair, kernel: Kernel, several: bool
) -> Tensor:
    """Glimpses (B, N, C, h, w), or without N where one was asked for, in the dtype they are promised in."""
    require_size(size)
    require_padding(kernel.padding)
    look = Look(kernel, (size[0], size[1]), N)
    if kernel.method != "hard" and is_eager(images, *given):
        out: Tensor = Eager.apply(images, *given, look, _is_little(images, N, size), _plain)  # type: ignore[no-untyped-call]  # torch's
    else:
        out = _plain(images, *given, look)
    out = out.to(images.dtype if images.is_floating_point() else out.dtype)
    return out if several else out.squeeze(1)


def _plain(images: Tensor, first: Tensor, step: Tensor, s: Tensor | None, look: Look) -> Tensor:
    """Glimpses (B, N, C, h, w) in the dtype they are computed in, by operations that torch can differentiate."""
    kernel, size, N = look
    shape = images.shape[0], N, 2
    first, step, width = (in_line(t).expand(shape) for t in (first, step, step if s is None else s))
    image_size = images.shape[2], images.shape[3]
    if kernel.spread:
        first, step = scale_shift_to_comb(step, first, size, image_size)
    y, x = _axes((first, step, width), size, image_size, kernel, working_dtype(images.dtype))
    return _pick(images, y, x) if kernel.method == "hard" else _weigh(images, y, x, kernel)


def _axes(
    combs: Sequence[Tensor], size: Pair, image_size: Pair, kernel: Kernel, dtype: torch.dtype
) -> tuple[Axis, Axis]:
    """The axes of first places, steps and, for the Gaussian, widths (..., 2) as (y, x), float64, pixels."""

    def axis(k: int) -> Axis:
        first, step, s = (t[..., k] for t in combs)
        return axis_of(kernel.method, places(first, step, size[k]), s, image_size[k], kernel.padding, dtype)

    return axis(0), axis(1)


def _weigh(images: Tensor, y: Axis, x: Axis, kernel: Kernel) -> Tensor:
    """The glimpses by the form that is estimated to be faster.

    On the CPU dense where that is little work, else banded. On a GPU the kernels of `glimpse_cli.torch._fused` where
    they run, but for float64, and else dense, as it makes nothing wait.
    """
    if images.device.type == "cpu":
        whole = _is_little(images, y.near.shape[1], (y.near.shape[-1], x.near.shape[-1]))
    else:
        whole = y.sharp.dtype == torch.float64 or not fused_on(images.device)
    form = dense if whole else banded_glimpses
    return form(images, *y, *x, tap_name(kernel.method), kernel.eps)


def _is_little(images: Tensor, N: int, size: Pair) -> bool:
    """Whether the dense form takes less time than the banded one takes to begin, on the CPU.

    That is so where a glimpse is at most `SMALL` multiply-adds, C h W (H + w), or all B N of them, with `PIXEL` for
    each pixel, are at most SMALL (B N + `CALL`). The estimate looks at sizes alone, so that whoever traces a call takes
    the same way; where a size is left open, as in an export, it would be closed by that, and the banded form serves
    all. Within a transform of `torch.func` a glimpse may stand for many.
    """
    (B, C, H, W), (h, w) = images.shape, size
    if any(isinstance(n, torch.SymInt) for n in (C, H, W, h, w)):
        return False
    glimpse = C * h * W * (H + w)
    if glimpse <= SMALL:
        return True
    if any(isinstance(n, torch.SymInt) for n in (B, N)) or is_transformed():
        return False
    return B * (N * glimpse + PIXEL * C * H * W) <= SMALL * (B * N + CALL)


def _pick(images: Tensor, y: Axis, x: Axis) -> Tensor:
    """The pixels themselves, 0 where there is none, NaN where the place is no number."""
    (B, _, H, W) = images.shape
    rows, columns = y.near[..., :, None], x.near[..., None, :]
    image = torch.arange(B, device=images.device)[:, None, None, None]
    outside = (y.off[..., :, None] + x.off[..., None, :]).to(y.sharp.dtype)  # 0 or NaN
    inside = (rows >= 0) & (rows < H) & (columns >= 0) & (columns < W) & (outside == 0)
    odd = images.dtype == torch.uint16  # which torch 2.4 does not index
    pixels = images.view(torch.int16) if odd else images
    values = pixels[image, :, rows.clamp(0, H - 1), columns.clamp(0, W - 1)]  # (B, N, h, w, C)
    values = shares((values.view(torch.uint16) if odd else values).to(y.sharp.dtype), images)
    return torch.where(inside[..., None], values, outside[..., None]).movedim(-1, 2)
