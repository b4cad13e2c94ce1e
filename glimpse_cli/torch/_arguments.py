"""What callers may give: images, sizes, parameters and names, checked before any work, each error with its remedy."""

from collections.abc import Sequence
from math import inf
from numbers import Integral
from sys import float_info
from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor

from glimpse_cli.errors import ParameterError
from glimpse_cli.glimpse import Method

Parameter = float | Sequence[float] | Tensor

METHODS = get_args(Method)
PEAKS = {torch.uint8: 255.0, torch.uint16: 65535.0}  # the value that becomes 1
WHOLE: tuple[type, ...] = (Integral, torch.SymInt)  # NumPy's too, and the symbols of a traced shape
NUMBERS: tuple[type, ...] = (int, float, np.integer, np.floating, torch.SymFloat, torch.SymInt)
LARGEST = float_info.max
NO_NUMBERS = (str, bytes, bytearray, memoryview, np.complexfloating)  # of which `float` would make some all the same
FLOATS = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


def require_images(images: Tensor) -> None:
    """Refuse what is not (B, C, H, W) with pixels of a dtype we know."""
    require_tensor("images", images)
    if images.dim() != 4:
        raise ParameterError(
            f"images must be (B, C, H, W), got the shape {tuple(images.shape)}", hint="images[None] adds a batch of one"
        )
    if 0 in images.shape[2:]:
        raise ParameterError(f"images must have pixels, got the shape {tuple(images.shape)}")
    if images.dtype not in PEAKS and images.dtype not in FLOATS:
        raise ParameterError(
            f"images must be uint8, uint16 or floating, got {images.dtype}", hint="images.to(torch.float32)"
        )


def require_boxes(boxes: Tensor, images: Tensor) -> None:
    """Refuse boxes on another device, or that are not one or N for each image."""
    require_tensor("boxes", boxes)
    _require_device("boxes", boxes, images.device)
    B = images.shape[0]
    if boxes.dim() > 3 or (boxes.dim() > 1 and boxes.shape[0] not in (1, B)):
        raise ParameterError(
            f"boxes must broadcast to ({B}, 4) or ({B}, N, 4), got the shape {tuple(boxes.shape)}",
            hint="boxes[None] where all are of one image",
        )


def require_size(size: tuple[int, int]) -> None:
    """Refuse a size that is not two whole numbers of 1 or more; a tracer's are tensors, and must not be looked at."""
    pair = isinstance(size, Sequence) and len(size) == 2
    if not pair or not (torch.jit.is_tracing() or all(isinstance(n, WHOLE) and n >= 1 for n in size)):  # type: ignore[attr-defined,no-untyped-call]  # torch's
        raise ParameterError(f"a size is (height, width), two whole numbers of 1 or more, got {size!r}")


def require_eps(eps: float) -> None:
    """Refuse an eps that is no number, negative, or not finite as a float, which 10**400 is not."""
    if not isinstance(eps, NUMBERS) or not 0 <= eps <= LARGEST:
        raise ParameterError(f"eps must be a number of 0 or above, got {eps!r}", hint="0, or 1e-8 for the post")


def require_width(s: Parameter) -> None:
    """Refuse an s that is given as a number, or numbers, not above 0."""
    for value in () if isinstance(s, Tensor) else _numbers("s", s):
        if value <= 0:
            raise ParameterError(f"s must be above 0 px, got {value:g}")


def require_method(method: str) -> None:
    """Refuse an unknown method."""
    if method not in METHODS:
        raise ParameterError(f"method must be one of {', '.join(METHODS)}, got {method!r}")


def working_dtype(dtype: torch.dtype) -> torch.dtype:
    """What weights and sums are computed in: float64 for float64, float32 for all else."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def shares(numbers: Tensor, images: Tensor) -> Tensor:
    """Numbers made of pixels, or their gradient, divided by the peak where the pixels are integers."""
    return numbers / PEAKS[images.dtype] if images.dtype in PEAKS else numbers


def aligned(images: Tensor, **parameters: Parameter) -> tuple[list[Tensor], int, bool]:
    """Each parameter as a tensor, as it was given, N, and whether N was spoken of.

    Raises:
        ParameterError: a shape that does not broadcast to (B, 2) or (B, N, 2), a number that is not finite, or a
            tensor on another device.
    """
    given = {name: as_tensor(name, value, images.device) for name, value in parameters.items()}
    B = images.shape[0]
    shape = _common((B, 1, 2), *(lined(t) for t in given.values()))
    if shape is None or len(shape) != 3 or shape[0] != B or shape[2] != 2:
        shapes = ", ".join(f"{name} {tuple(t.shape)}" for name, t in given.items())
        raise ParameterError(
            f"parameters must broadcast to ({B}, 2) or ({B}, N, 2), got {shapes}",
            why="they are pairs (y, x) for each image of the batch, or for each of N glimpses of each image",
        )
    return list(given.values()), shape[1], any(t.dim() == 3 for t in given.values())


def in_line(parameter: Tensor) -> Tensor:
    """What `aligned` gave, as float64 that broadcasts to (B, N, 2)."""
    whole = parameter.double()
    return whole.unsqueeze(1) if whole.dim() == 2 else whole


def lined(parameter: Tensor) -> tuple[int, ...]:
    """The shape of a parameter, with an axis for the N glimpses of each image where it has one for images."""
    shape = tuple(parameter.shape)
    return (shape[0], 1, shape[1]) if len(shape) == 2 else shape


def alike(*last: int, **given: Tensor) -> list[Tensor]:
    """Tensors as float64 of one shape, which ends in ``last``: 2 for pairs (y, x).

    Raises:
        ParameterError: what is no tensor, or shapes that do not broadcast so.
    """
    for name, value in given.items():
        require_tensor(name, value)
    shape = _common(last, *(tuple(t.shape) for t in given.values()))
    if shape is None or shape[len(shape) - len(last) :] != last:
        wanted = ", ".join(map(str, ("...", *last)))
        shapes = ", ".join(f"{name} {tuple(t.shape)}" for name, t in given.items())
        raise ParameterError(f"parameters must broadcast to ({wanted}), got {shapes}")
    return [t.double().expand(shape) for t in given.values()]


def as_tensor(name: str, value: Parameter, device: torch.device) -> Tensor:
    """A parameter on the device; numbers are made there in float64, as copying them would make a GPU wait."""
    if not isinstance(value, Tensor):
        made = [torch.full((1,), v, dtype=torch.float64, device=device) for v in _numbers(name, value)]
        return made[0] if len(made) == 1 else torch.cat(made)
    require_tensor(name, value)
    _require_device(name, value, device)
    return value


def _common(*shapes: tuple[int, ...]) -> tuple[int, ...] | None:
    """The shape that shapes broadcast to; None where they do not.

    Looked at before torch does, as a compiled graph cannot catch its error, and not by `torch.broadcast_shapes`, which
    loads what the compiler needs.
    """
    common = []
    for axis in range(-max(map(len, shapes)), 0):
        longest: int = 1
        for n in (shape[axis] for shape in shapes if len(shape) >= -axis):
            if n != 1 and longest != 1 and n != longest:  # noqa: PLR1714 - a compiler looks for no symbol in a tuple
                return None
            longest = longest if n == 1 else n
        common.append(longest)
    return tuple(common)


def require_tensor(name: str, value: object) -> None:
    """Refuse what is no tensor, or not one of real numbers that all have a place in memory."""
    if not isinstance(value, Tensor):
        raise ParameterError(f"{name} must be a tensor, got {type(value).__name__}", hint=f"torch.as_tensor({name})")
    if value.layout != torch.strided:
        raise ParameterError(f"{name} must be dense, got the layout {value.layout}", hint=f"{name}.to_dense()")
    if value.is_complex():
        raise ParameterError(f"{name} must be real, got {value.dtype}", hint=f"{name}.real")


def _require_device(name: str, value: Tensor, device: torch.device) -> None:
    if value.device != device:
        raise ParameterError(
            f"{name} is on {value.device} and the images on {device}", hint=f"{name}.to({str(device)!r})"
        )


def _numbers(name: str, value: float | Sequence[float]) -> list[float]:
    # a pair may be an array of NumPy's; a number may be a symbol of the compiler's, which is asked for nothing else
    several = not isinstance(value, (int, float)) and getattr(value, "ndim", isinstance(value, Sequence))
    listed: Sequence[Any] = value if several else [value]  # type: ignore[assignment]
    if any(isinstance(v, Tensor) for v in listed):
        raise ParameterError(
            f"{name} is a pair of tensors", hint=f"torch.stack([{name}_y, {name}_x], dim=-1), which keeps gradients"
        )
    try:
        none = any(isinstance(v, NO_NUMBERS) for v in (value, *listed))
        values = [] if none else [float(v) for v in listed]
    except (TypeError, ValueError, OverflowError):
        values = []
    if len(values) not in (1, 2) or not all(abs(v) < inf for v in values):  # isfinite would end a compiled graph
        raise ParameterError(f"{name} must be a finite number, a pair (y, x) or a tensor, got {value!r}")
    return values
