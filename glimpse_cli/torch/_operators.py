"""The banded product as operators of torch, with rules for autograd, `torch.compile`, `torch.func` and `torch.vmap`.

To all of these an operator is opaque, so that what depends on the data (windows, runs) and on the device stays inside.
The gradient of the gradient is the dense form's.
"""

from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from glimpse_cli.torch import _banded
from glimpse_cli.torch._arguments import shares
from glimpse_cli.torch._axes import Axis
from glimpse_cli.torch._dense import dense, whole_precision


def form_of(device: torch.device) -> ModuleType:
    """The module that computes the product there; both have a `forward` and a `backward`."""
    if device.type == "cpu":
        return _banded
    from glimpse_cli.torch import _fused  # noqa: PLC0415 - Triton is there only where there is a GPU

    return _fused


def banded_glimpses(*inputs: Any) -> Tensor:
    """`banded` with gradients of every order: what callers call.

    `torch.func` knows the gradients of a Function, `torch.compile` those of an operator, and neither the other's: where
    a function that is compiled transforms another, only what is plain torch has gradients; so has where forward mode is
    nested in forward mode.
    """
    call: Any = Banded.apply
    if torch.compiler.is_compiling():
        call = dense if is_transformed() else banded
    elif torch.jit.is_tracing():  # type: ignore[attr-defined,no-untyped-call]  # torch's
        call = banded  # which a traced module is saved with, as it is not with a Function
    elif _pushed_twice():
        call = dense
    out: Tensor = call(*inputs)
    return out


def is_transformed() -> bool:
    """Whether a transform of `torch.func` is at work, as far as can be told: the compiler of torch 2.4 cannot ask."""
    asked = FROM_2_5 or not torch.compiler.is_compiling()
    return asked and torch._C._are_functorch_transforms_active()  # noqa: SLF001 - it has no other name


def _pushed_twice() -> bool:
    """Whether forward mode is nested in itself: of that torch drops the outer one where a Function has a rule."""
    levels = torch._C._functorch.get_interpreter_stack() or ()  # noqa: SLF001 - it has no other name
    return sum(level.key() == torch._C._functorch.TransformType.Jvp for level in levels) > 1  # noqa: SLF001 - likewise


def glimpses_at_once(  # noqa: PLR0917 - an operator's arguments are flat
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
    """Glimpses (B, N, C, h, w) of images (B, C, H, W) of any dtype, of integers in shares of their peak."""
    y, x = Axis(near_y, off_y, sharp_y), Axis(near_x, off_x, sharp_x)
    with whole_precision(images.device):
        out: Tensor = form_of(images.device).forward(images, y, x, kernel, eps)
    return out


def gradients_at_once(  # noqa: PLR0917 - an operator's arguments are flat
    grad: Tensor,
    images: Tensor,
    near_y: Tensor,
    off_y: Tensor,
    sharp_y: Tensor,
    near_x: Tensor,
    off_x: Tensor,
    sharp_x: Tensor,
    kernel: str,
    eps: float,
    to_images: bool,
    to_places: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The gradients of images, off_y, sharp_y, off_x, sharp_x; those not asked for are empty."""
    y, x = Axis(near_y, off_y, sharp_y), Axis(near_x, off_x, sharp_x)
    images_grad = places_grad = None
    if grad.numel():
        form = form_of(images.device)
        with whole_precision(images.device):
            images_grad, places_grad = form.backward(grad, images, y, x, kernel, eps, to_images, to_places)
    if images_grad is None:
        images_grad = images.new_zeros(images.shape) if to_images else grad.new_zeros(0)
    if places_grad is None:
        places_grad = [t.new_zeros(t.shape if to_places else 0) for t in (off_y, sharp_y, off_x, sharp_x)]
    return images_grad, *places_grad


operator: Any = partial(torch.library.custom_op, mutates_args=(), device_types=("cpu", "cuda"))
banded = operator("glimpse_cli::banded")(glimpses_at_once)
banded_backward = operator("glimpse_cli::banded_backward")(gradients_at_once)


def at_once(*inputs: Any) -> bool:
    """Whether nothing watches the call that must see an operator: the first that is called loads torch's compiler."""
    if torch.compiler.is_compiling() or torch.jit.is_tracing() or is_transformed():  # type: ignore[attr-defined,no-untyped-call]  # torch's
        return False
    watched = torch._C._len_torch_dispatch_stack() > 0  # noqa: SLF001 - it has no other name
    tensors = [t for t in inputs if isinstance(t, Tensor)]
    plain = all(type(t) in {Tensor, torch.nn.Parameter} and t.device.type in {"cpu", "cuda"} for t in tensors)
    batched = any(map(torch._C._functorch.is_legacy_batchedtensor, tensors))  # noqa: SLF001 - autograd's own, likewise
    return plain and not watched and not batched


def _outline(images: Tensor, near_y: Tensor, _off: Tensor, sharp_y: Tensor, near_x: Tensor, *_: Any) -> Tensor:
    """What `banded` gives, but for the numbers."""
    return sharp_y.new_empty(*near_y.shape[:2], images.shape[1], near_y.shape[2], near_x.shape[2])


def _outline_backward(*inputs: Any) -> tuple[Tensor, ...]:
    """What `banded_backward` gives, but for the numbers."""
    grad, images, _, off_y, sharp_y, _, off_x, sharp_x, _, _, to_images, to_places = inputs
    first = images.new_empty(images.shape) if to_images else grad.new_empty(0)
    return first, *(t.new_empty(t.shape if to_places else 0) for t in (off_y, sharp_y, off_x, sharp_x))


class Banded(torch.autograd.Function):
    """`banded` with its gradient; it takes and gives the same. Forward mode goes through the dense form."""

    generate_vmap_rule = True

    @staticmethod
    def forward(images: Tensor, *rest: Any) -> Tensor:
        out: Tensor = (glimpses_at_once if at_once(images, *rest) else banded)(images, *rest)
        return out

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ARG004 - torch's signature
        *tensors, ctx.kernel, ctx.eps = inputs
        ctx.save_for_backward(*tensors)
        ctx.save_for_forward(*tensors)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        to_images, *needs = ctx.needs_input_grad
        to_places = any(needs)
        settings = ctx.kernel, ctx.eps, to_images, to_places
        found = BandedBackward.apply(grad, *ctx.saved_tensors, *settings)  # type: ignore[no-untyped-call]  # torch's
        off_y, sharp_y, off_x, sharp_x = found[1:] if to_places else [None] * 4
        return found[0] if to_images else None, None, off_y, sharp_y, None, off_x, sharp_x, None, None

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor | None) -> Tensor:
        glimpses, inputs = _dense_of(ctx)
        out: Tensor = _push(glimpses, inputs, [tangents[k] for k in (0, 2, 3, 5, 6)])
        return out


class BandedBackward(torch.autograd.Function):
    """`banded_backward` with its gradient, the second one, all through the dense form."""

    generate_vmap_rule = True

    @staticmethod
    def forward(grad: Tensor, *rest: Any) -> tuple[Tensor, ...]:
        out: tuple[Tensor, ...] = (gradients_at_once if at_once(grad, *rest) else banded_backward)(grad, *rest)
        return out

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:  # noqa: ARG004 - likewise
        *tensors, ctx.kernel, ctx.eps, ctx.to_images, ctx.to_places = inputs
        ctx.save_for_backward(*tensors)
        ctx.save_for_forward(*tensors)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        gradients, inputs = _dense_backward_of(ctx)
        wanted = [g for g, asked in zip(grads, _asked(ctx), strict=True) if asked]
        with whole_precision(inputs[0].device):
            to_grad, images, off_y, sharp_y, off_x, sharp_x = torch.func.vjp(gradients, *inputs)[1](wanted)
        return to_grad, images, None, off_y, sharp_y, None, off_x, sharp_x, None, None, None, None

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor | None) -> tuple[Tensor, ...]:
        gradients, inputs = _dense_backward_of(ctx)
        found = iter(_push(gradients, inputs, [tangents[k] for k in (0, 1, 3, 4, 6, 7)]))
        return tuple(next(found) if asked else inputs[0].new_zeros(0) for asked in _asked(ctx))


def _dense_of(ctx: Any) -> tuple[Callable[..., Tensor], list[Tensor]]:
    """`dense` of what has gradients, and that: images, off_y, sharp_y, off_x, sharp_x."""
    images, near_y, off_y, sharp_y, near_x, off_x, sharp_x = ctx.saved_tensors[-7:]
    images = images if images.is_floating_point() else shares(images.to(sharp_y.dtype), images)

    def glimpses(*inputs: Tensor) -> Tensor:
        images, off_y, sharp_y, off_x, sharp_x = inputs
        return dense(images, near_y, off_y, sharp_y, near_x, off_x, sharp_x, ctx.kernel, ctx.eps)

    return glimpses, [images, off_y, sharp_y, off_x, sharp_x]


def _dense_backward_of(ctx: Any) -> tuple[Callable[..., list[Tensor]], list[Tensor]]:
    """The gradients of `dense` that are asked for, from that of its glimpses and its inputs, and these."""
    glimpses, inputs = _dense_of(ctx)

    def gradients(grad: Tensor, *inputs: Tensor) -> list[Tensor]:
        found = torch.func.vjp(glimpses, *inputs)[1](grad)
        return [g for g, asked in zip(found, _asked(ctx), strict=True) if asked]

    return gradients, [ctx.saved_tensors[0], *inputs]


def _asked(ctx: Any) -> list[bool]:
    """Which of the gradients of `_dense_of`'s inputs are asked for."""
    return [ctx.to_images] + [ctx.to_places] * 4


def _push(function: Callable[..., Any], inputs: list[Tensor], tangents: list[Tensor | None]) -> Any:
    """How what the function gives changes as its inputs change by the tangents, of which None is no change."""
    moving = [k for k, t in enumerate(tangents) if t is not None]  # the others may be integers, which never do

    def of_moving(*moved: Tensor) -> Any:
        now = dict(zip(moving, moved, strict=True))
        return function(*(now.get(k, still) for k, still in enumerate(inputs)))

    # pulling back is linear, and to pull that back again is to push: forward modes of torch do not nest
    with whole_precision(inputs[0].device):
        pulled = torch.func.vjp(of_moving, *(inputs[k] for k in moving))
        return torch.func.vjp(pulled[1], pulled[0])[1](tuple(tangents[k] for k in moving))[0]


def _batched(info: Any, in_dims: tuple[int | None, ...], *inputs: Any) -> tuple[Tensor, int]:
    """One more axis, of v: v x N glimpses of each image where v is of the places alone, else v x B images."""
    v = info.batch_size
    images, *places = inputs[:7]
    if in_dims[0] is None:
        rest = [_in_front(t, dim, v).transpose(0, 1).flatten(1, 2) for t, dim in zip(places, in_dims[1:7], strict=True)]
        out = banded(images, *rest, *inputs[7:])
        return out.unflatten(1, (v, -1)), 1
    out = banded(
        *(_in_front(t, dim, v).flatten(0, 1) for t, dim in zip(inputs[:7], in_dims, strict=False)), *inputs[7:]
    )
    return out.unflatten(0, (v, -1)), 0


def _batched_backward(
    info: Any, in_dims: tuple[int | None, ...], *inputs: Any
) -> tuple[tuple[Tensor, ...], tuple[int, ...]]:
    """One more axis, of v: v x B images, as each v has gradients of its own."""
    v = info.batch_size
    tensors = (_in_front(t, dim, v).flatten(0, 1) for t, dim in zip(inputs[:8], in_dims, strict=False))
    found = banded_backward(*tensors, *inputs[8:])
    return tuple(t.unflatten(0, (v, -1)) if t.dim() > 1 else t.expand(v, 0) for t in found), (0,) * len(found)


def _in_front(t: Tensor, dim: int | None, v: int) -> Tensor:
    return t.expand(v, *t.shape) if dim is None else t.movedim(dim, 0)


banded.register_fake(_outline)
banded.register_autograd(Banded.backward, setup_context=Banded.setup_context)
banded_backward.register_fake(_outline_backward)
FROM_2_5 = hasattr(banded, "register_vmap")  # of torch
if FROM_2_5:
    banded.register_vmap(_batched)
    banded_backward.register_vmap(_batched_backward)
