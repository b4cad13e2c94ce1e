"""One node of autograd from the numbers that a caller gave to the glimpses: what a training loop on the CPU runs.

Every operation that autograd sees costs it longer than a small glimpse takes. So here it sees one, and all that lies
between (float64, the comb, its axes, the product, and back) is done without it. Where more is asked for than gradients
(their own gradients, a transform, a compiler, a recorder), the plain way is taken, which torch understands.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import forward_ad

from glimpse_cli.torch import _whole
from glimpse_cli.torch._arguments import lined, working_dtype
from glimpse_cli.torch._axes import Axis, axis_backward, axis_of
from glimpse_cli.torch._dense import whole_precision
from glimpse_cli.torch._operators import at_once, banded_backward, glimpses_at_once, gradients_at_once
from glimpse_cli.torch._whole import Pair, both, column, counting

Plain = Callable[[Tensor, Tensor, Tensor, Tensor | None, "Look"], Tensor]


class Kernel(NamedTuple):
    """What is laid on the places: a method, with the Gaussian's eps or the others' padding.

    ``spread`` says that shift and scale stand in the place of first and step.
    """

    method: str
    eps: float = 0.0
    padding: str = "zeros"
    spread: bool = False


class Look(NamedTuple):
    """What of a glimpse is no tensor: its kernel, its size, and N an image."""

    kernel: Kernel
    size: Pair
    N: int


def is_eager(*tensors: Tensor | None) -> bool:
    """Whether gradients are all that can be asked for, on the CPU."""
    pushed = forward_ad._current_level >= 0  # noqa: SLF001 - it has no other name
    return at_once(*tensors) and not pushed and tensors[0] is not None and tensors[0].device.type == "cpu"


class Eager(torch.autograd.Function):
    """Glimpses (B, N, C, h, w) of images (B, C, H, W), in the dtype that they are computed in.

    ``first``, ``step`` and, for a Gaussian, ``s`` are as they were given. ``whole`` says by which form; ``plain`` gives
    the same from the same by operations that torch can differentiate.
    """

    @staticmethod
    def forward(  # noqa: PLR0917 - a Function's arguments are flat
        ctx: Any, images: Tensor, first: Tensor, step: Tensor, s: Tensor | None, look: Look, whole: bool, plain: Plain
    ) -> Tensor:
        ctx.look, ctx.whole, ctx.plain = look, whole, plain
        p, (method, eps, padding, _) = _places(images, first, step, look), look.kernel
        axes = axis_of(method, p, first if s is None else _across(s), _pixels(images), padding)
        kept: Any = ()
        if whole:
            with _unless_whole(images.device):
                out, kept = _whole.forward(images, axes, look.size, tap_name(method), eps)
        else:
            out = glimpses_at_once(*_apart(images, axes, look))
        ctx.save_for_backward(images, first, step, s, p, *axes, *kept)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        images, first, step, s, p, near, off, sharp, *kept = ctx.saved_tensors
        needs, look = ctx.needs_input_grad[:4], ctx.look
        compiled = torch.compiler.is_compiling()  # the backward alone, by torch's compiled autograd
        if torch.is_grad_enabled() or not (compiled or is_eager(images, grad)):
            return (*_plainly(ctx, grad, (images, first, step, s)), None, None, None)
        axes = Axis(near, off, sharp)
        to_images, to_off, to_sharp = _product_backward(ctx, grad, images, axes, kept)
        if to_off is None or to_sharp is None:
            return to_images, *(None,) * 6
        width = first if s is None else _across(s)
        method, padding = look.kernel.method, look.kernel.padding
        to_p, to_s = axis_backward(method, p, width, _pixels(images), padding, axes, to_off, to_sharp)
        middle, pattern = _pattern(images, look)
        to_first = to_p.sum(-1) if middle is None else (to_p * middle).sum(-1)
        found = (to_first, (to_p * pattern).sum(-1), to_s)
        fitted = (_fit(g, t) if need else None for g, t, need in zip(found, (first, step, s), needs[1:], strict=True))
        return to_images, *fitted, None, None, None


def _product_backward(
    ctx: Any, grad: Tensor, images: Tensor, axes: Axis, kept: list[Any]
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """The gradients of the images and of the axes, where they are needed."""
    to_images, to_places = ctx.needs_input_grad[0], any(ctx.needs_input_grad[1:4])
    if ctx.whole:
        name = tap_name(ctx.look.kernel.method)
        with _unless_whole(images.device):
            return _whole.backward(grad, images, axes, _whole.Kept(*kept), name, to_images, to_places)
    arguments = [grad, *_apart(images, axes, ctx.look), to_images, to_places]
    form = banded_backward if torch.compiler.is_compiling() else gradients_at_once
    images_grad, off_y, sharp_y, off_x, sharp_x = form(*arguments)
    to_axes = (both(off_y, off_x), torch.stack([sharp_y, sharp_x])) if to_places else (None, None)
    return images_grad if to_images else None, *to_axes


def _plainly(ctx: Any, grad: Tensor, inputs: tuple[Tensor | None, ...]) -> list[Tensor | None]:
    """The gradients where they are needed, by operations that torch can differentiate."""
    needs = ctx.needs_input_grad[:4]
    with torch.enable_grad():
        apart = [t if t is None else t.view_as(t) for t in inputs]  # one tensor may be several of them
        out = ctx.plain(*apart, ctx.look)
    wanted = [t for t, need in zip(apart, needs, strict=True) if need and t is not None]
    found = iter(torch.autograd.grad(out, wanted, grad, create_graph=torch.is_grad_enabled()))
    return [next(found) if need else None for need in needs]


def _across(parameter: Tensor, *last: int) -> Tensor:
    """A parameter as float64, y and x in front: (2, B, N, *last), or what broadcasts to it."""
    whole = parameter.double()
    turned = whole.permute(2, 0, 1) if whole.dim() == 3 else whole.t()
    return turned.reshape(*_front(parameter), *last)


def _front(parameter: Tensor) -> tuple[int, int, int]:
    """The shape of a parameter, y and x in front, with 1 for the axes that it has not."""
    B, N, pair = (1, 1, 1, *lined(parameter))[-3:]
    return pair, B, N


def _places(images: Tensor, first: Tensor, step: Tensor, look: Look) -> Tensor:
    """The places of both axes (2, B, N, n), float64."""
    first = _across(first, 1)
    middle, pattern = _pattern(images, look)
    if middle is not None:
        first = torch.addcmul(middle, middle, first)
    return torch.addcmul(first, _across(step, 1), pattern).expand(2, images.shape[0], look.N, -1)


def _pattern(images: Tensor, look: Look) -> tuple[Tensor | None, Tensor]:
    """How places follow: ``p_i = first + step pattern_i``; of a spread, first is ``middle (shift + 1)``."""
    if not look.kernel.spread:
        return None, counting(max(look.size))
    return _spread(look.size, (images.shape[2], images.shape[3]))


@lru_cache
def _spread(size: Pair, image_size: Pair) -> tuple[Tensor, Tensor]:
    """The middles of an image's axes, and what ``scale`` adds to each place (2, 1, 1, n): see `combs`."""
    with torch.inference_mode(False):
        middle = (column(*image_size) - 1) / 2
        i, n = counting(max(size)), column(*size)
        return middle, torch.where(n > 1, 2 * middle * i / (n - 1).clamp(min=1) - middle, 0.0)


def _pixels(images: Tensor) -> Tensor:
    """How many pixels there are on y and on x, beside the places."""
    return column(images.shape[2], images.shape[3])


def _apart(images: Tensor, axes: Axis, look: Look) -> list[Any]:
    """What `glimpse_cli.torch._operators.banded` takes."""
    near, off = axes.near.long(), axes.off
    sharp = axes.sharp.to(working_dtype(images.dtype)).expand(near.shape[:3])
    y, x = ((near[k, ..., :n], off[k, ..., :n], sharp[k]) for k, n in enumerate(look.size))
    return [images, *y, *x, tap_name(look.kernel.method), look.kernel.eps]


def tap_name(method: str) -> str:
    """What the pixels are weighed by."""
    return "gaussian" if method == "gaussian" else "hat"


def _unless_whole(device: torch.device) -> AbstractContextManager[Any]:
    """`whole_precision`, which takes its time, where autocast is on."""
    return whole_precision(device) if torch.is_autocast_enabled(device.type) else nullcontext()


def _fit(grad: Tensor, like: Tensor) -> Tensor:
    """A gradient (2, B, N) as that of a parameter which was broadcast."""
    front = _front(like)
    grad = (grad if grad.shape == front else grad.sum_to_size(front)).to(like.dtype)
    return grad.permute(1, 2, 0).reshape(like.shape)
