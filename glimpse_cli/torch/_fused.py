"""The product on a GPU: what `glimpse_cli.torch._banded` gives, by kernels that make the masks on the fly.

As there, only what is reached is read, and nothing the size of a mask or of an image is held for a glimpse; but no
number comes back to the host. Triton compiles `glimpse_cli.torch._kernels` when they are first called.
"""

from functools import cache
from os import environ
from pathlib import Path
from shutil import which
from sysconfig import get_default_scheme, get_path
from typing import NamedTuple

import torch
from torch import Tensor

from glimpse_cli.torch._arguments import PEAKS
from glimpse_cli.torch._axes import Axis
from glimpse_cli.torch._banded import REACH, Gradients

# What a program owns of the result (TALL x WIDE), the strips in which it walks over what it reads, and its warps.
# Chosen by what they compile to: few instructions a pixel of a large picture seen by a large glimpse, hardly a spill.
GLIMPSES = {"TALL": 16, "WIDE": 32, "ROWS": 16, "COLUMNS": 64, "num_warps": 2, "num_stages": 3}
IMAGES = {"TALL": 32, "WIDE": 128, "ROWS": 16, "COLUMNS": 16, "num_warps": 4, "num_stages": 1}
PLACES = {"TALL": 16, "WIDE": 32, "ROWS": 32, "COLUMNS": 32, "num_warps": 4, "num_stages": 1}
AXIS = {"BLOCK": 16, "STRIP": 32, "num_warps": 1}


class Samples(NamedTuple):
    """An axis as the kernels take it: ``spans`` (3, M, n) int32, ``numbers`` (6, M, n), and M n."""

    spans: Tensor
    numbers: Tensor
    plane: int


def available(device: torch.device) -> bool:
    """Whether the kernels run there: CUDA from compute capability 8.0 on, with Triton and what it needs."""
    return _available(device)


vars(available)["_dynamo_marked_constant"] = True  # as `torch.compiler.assume_constant_result`, which loads a compiler


@cache
def _available(device: torch.device) -> bool:
    if device.type != "cuda" or torch.version.cuda is None or torch.cuda.get_device_capability(device) < (8, 0):
        return False
    try:
        import triton  # noqa: PLC0415 - only where there is a GPU
    except ImportError:
        return False
    major, minor = triton.__version__.split(".")[:2]
    return (int(major), int(minor)) >= (3, 3) and _compiles()


def _compiles() -> bool:
    """Whether Triton can compile the launchers of its kernels: it needs a C compiler and Python's headers."""
    compiler = environ.get("CC") or which("gcc") or which("clang")
    scheme = get_default_scheme().replace("posix_local", "posix_prefix")  # as Triton looks for them
    return compiler is not None and Path(get_path("include", scheme), "Python.h").exists()


def forward(images: Tensor, y: Axis, x: Axis, kernel: str, eps: float) -> Tensor:
    """Glimpses (B, N, C, h, w) of images (B, C, H, W): what `glimpse_cli.torch._dense.dense` gives."""
    from glimpse_cli.torch._kernels import glimpses_kernel  # noqa: PLC0415 - Triton is not always there

    (B, N, h), (_, C, _, W), w = y.near.shape, images.shape, x.near.shape[2]
    out = y.sharp.new_empty(B, N, C, h, w)
    with torch.cuda.device_of(images):  # type: ignore[no-untyped-call]  # torch's
        by, bx = _both(images, y, x, kernel, eps)
        glimpses_kernel[_programs(B * N, C, (h, w), GLIMPSES)](
            images, out, *by, *bx, *images.stride(), N, C, W, h, w,
            HAT=kernel == "hat", CHANNELS=_together(C), **GLIMPSES,
        )  # fmt: skip
    return out


def backward(  # noqa: PLR0917 - as `glimpse_cli.torch._banded.backward`
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
    from glimpse_cli.torch._kernels import images_gradient_kernel, places_gradient_kernel  # noqa: PLC0415 - likewise

    (B, N, C, h, w), (H, W) = grad.shape, images.shape[2:]
    grad = grad.contiguous()
    images_grad = places_grad = None
    with torch.cuda.device_of(images):  # type: ignore[no-untyped-call]  # torch's
        by, bx = _both(images, y, x, kernel, eps)
        if to_images:
            images_grad = torch.empty_like(images, memory_format=torch.contiguous_format)
            images_gradient_kernel[_programs(B, C, (H, W), IMAGES)](
                grad, images_grad, *by, *bx, H * W, N, C, H, W, h, w,
                HAT=kernel == "hat", CHANNELS=_together(C), ALL_Y=_power_of_2(h), ALL_X=_power_of_2(w), **IMAGES,
            )  # fmt: skip
        if to_places:
            groups = C // _together(C)
            parts_y = grad.new_empty(2, groups * _parts(w, PLACES["WIDE"]), B, N, h)
            parts_x = grad.new_empty(2, groups * _parts(h, PLACES["TALL"]), B, N, w)
            places_gradient_kernel[_programs(B * N, C, (h, w), PLACES)](
                grad, images, parts_y, parts_x, parts_y.stride(0), parts_x.stride(0), *by, *bx, *images.stride(),
                N, C, W, h, w, HAT=kernel == "hat", CHANNELS=_together(C), **PLACES,
            )  # fmt: skip
            (off_y, sharp_y), (off_x, sharp_x) = parts_y.sum(1), parts_x.sum(1)
            places_grad = Gradients(off_y.double(), sharp_y.sum(-1), off_x.double(), sharp_x.sum(-1))
    return images_grad, places_grad


def _both(images: Tensor, y: Axis, x: Axis, kernel: str, eps: float) -> tuple[Samples, Samples]:
    """The axes of glimpses of images (B, C, H, W) as the kernels take them; the peak of integers divides x's scale."""
    H, W = images.shape[2:]
    return _samples(y, H, kernel, eps, 1.0), _samples(x, W, kernel, eps, PEAKS.get(images.dtype, 1.0))


def _samples(axis: Axis, P: int, kernel: str, eps: float, peak: float) -> Samples:
    """An axis (B, N, n) on P pixels as the kernels take it."""
    from glimpse_cli.torch._kernels import axis_kernel  # noqa: PLC0415 - likewise

    B, N, n = axis.near.shape
    spans = axis.near.new_empty(3, B, N, n, dtype=torch.int32)
    numbers = axis.sharp.new_empty(6, B, N, n)
    axis_kernel[(B * N * _parts(n, AXIS["BLOCK"]),)](
        *(t.contiguous() for t in axis), spans, numbers, B * N * n, n, P, eps, peak,
        REACH=REACH[numbers.dtype], HAT=kernel == "hat", **AXIS,
    )  # fmt: skip
    return Samples(spans, numbers, B * N * n)


def _programs(planes: int, C: int, size: tuple[int, int], tile: dict[str, int]) -> tuple[int]:
    """How many programs a product takes: one a tile of each group of channels of each plane."""
    down, across = _parts(size[0], tile["TALL"]), _parts(size[1], tile["WIDE"])
    return (planes * C // _together(C) * down * across,)


def _together(C: int) -> int:
    """How many of C channels share their weights in a program: as many as registers hold, and none left over."""
    return next(k for k in (3, 2, 1) if C % k == 0)


def _parts(n: int, size: int) -> int:
    return -(-n // size)


def _power_of_2(n: int) -> int:
    """The power of two at or above n."""
    return 1 << (n - 1).bit_length()
